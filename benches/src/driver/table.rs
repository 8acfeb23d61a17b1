//! Samples to tables: medians, and ratios between proxies of one and the same round.

use std::fmt::Write;

use super::{Report, Sample, What};

/// The middle, and how far the rounds lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(below, above), min, max })
    }
}

/// All tables of `report`, as Markdown.
pub(super) fn markdown(report: &Report) -> String {
    let samples = &report.samples;
    let mut out = format!("{}\n\n", report.machine);
    for proxy in &report.proxies {
        let _ = writeln!(out, "- {proxy}");
    }
    out += "\n## CPU time of the proxy, plain: us, times the floor (least to most of the rounds)\n\n";
    cpu(&mut out, samples, |p| !p.ends_with(" wss"), "floor");
    out += "\n## CPU time of the proxy, over TLS: us, times nginx over TLS (least to most)\n\n";
    cpu(&mut out, samples, |p| p.ends_with(" wss"), "nginx wss");
    out += "\n## Memory of an idle connection after one message: KiB resident\n\n| proxy | KiB |\n|---|--:|\n";
    for sample in samples.iter().filter(|s| s.what == What::Idle) {
        let _ = writeln!(out, "| {} | {:.2} |", sample.proxy, sample.value);
    }
    out += "\n## As the clients see it, medians of the rounds\n\n";
    out += "| proxy | what | a second | p50 us | p99 us |\n|---|---|--:|--:|--:|\n";
    for proxy in proxies(samples, |_| true) {
        for what in columns(samples) {
            seen(&mut out, samples, proxy, what);
        }
    }
    out
}

fn cpu(out: &mut String, samples: &[Sample], of: impl Fn(&str) -> bool, base: &str) {
    let columns = columns(samples);
    let heads: Vec<String> = columns.iter().map(|w| head(*w)).collect();
    let _ = writeln!(out, "| proxy | {} |\n|---|{}", heads.join(" | "), "--:|".repeat(columns.len()));
    for proxy in proxies(samples, of) {
        let cells: Vec<String> = columns.iter().map(|what| cell(samples, proxy, base, *what)).collect();
        let _ = writeln!(out, "| {proxy} | {} |", cells.join(" | "));
    }
}

fn cell(samples: &[Sample], proxy: &str, base: &str, what: What) -> String {
    let values = |name: &str| -> Vec<(usize, f64)> {
        samples.iter().filter(|s| s.proxy == name && s.what == what).map(|s| (s.round, s.value)).collect()
    };
    let (own, base) = (values(proxy), values(base));
    let Some(cost) = Spread::of(own.iter().map(|(_, v)| *v).collect()) else {
        return "-".to_owned();
    };
    let ratios = own.iter().filter_map(|(round, v)| Some(v / base.iter().find(|(r, _)| r == round)?.1));
    match Spread::of(ratios.collect()) {
        Some(r) => format!("{:.2}, **{:.2}** ({:.2} to {:.2})", cost.median, r.median, r.min, r.max),
        None => format!("{:.2}", cost.median),
    }
}

fn seen(out: &mut String, samples: &[Sample], proxy: &str, what: What) {
    let of: Vec<&Sample> = samples.iter().filter(|s| s.proxy == proxy && s.what == what).collect();
    let median = |value: fn(&Sample) -> Option<f64>| {
        Spread::of(of.iter().filter_map(|s| value(s)).collect()).map_or(0.0, |spread| spread.median)
    };
    let (rate, p50, p99) =
        (median(|s| s.per_second), median(|s| s.latency_us.map(|l| l.p50)), median(|s| s.latency_us.map(|l| l.p99)));
    let _ = writeln!(out, "| {proxy} | {} | {rate:.0} | {p50:.0} | {p99:.0} |", head(what));
}

/// In the order of their first appearance.
fn proxies(samples: &[Sample], of: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for sample in samples.iter().filter(|s| of(&s.proxy)) {
        if !names.contains(&sample.proxy.as_str()) {
            names.push(&sample.proxy);
        }
    }
    names
}

fn columns(samples: &[Sample]) -> Vec<What> {
    let mut columns = Vec::new();
    for sample in samples.iter().filter(|s| s.what != What::Idle) {
        if !columns.contains(&sample.what) {
            columns.push(sample.what);
        }
    }
    columns
}

fn head(what: What) -> String {
    match what {
        What::Echo(size) if size % 1024 == 0 => format!("echo {} KiB", size / 1024),
        What::Echo(size) => format!("echo {size} B"),
        What::Handshake => "handshake".to_owned(),
        What::Idle => "idle".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(round: usize, proxy: &str, value: f64) -> Sample {
        Sample { round, proxy: proxy.into(), what: What::Echo(64), value, per_second: None, latency_us: None }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(Spread::of(vec![2.0]), Some(Spread { median: 2.0, min: 2.0, max: 2.0 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // Twice as slow a machine in round 1 changes the costs and not the ratio.
        let samples =
            [sample(0, "floor", 10.0), sample(0, "nginx", 12.0), sample(1, "floor", 20.0), sample(1, "nginx", 24.0)];
        assert_eq!(cell(&samples, "nginx", "floor", What::Echo(64)), "18.00, **1.20** (1.20 to 1.20)");
        assert_eq!(cell(&samples, "nginx", "absent", What::Echo(64)), "18.00");
        assert_eq!(cell(&samples, "absent", "floor", What::Echo(64)), "-");
    }
}
