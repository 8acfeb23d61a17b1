//! The older text format of Prometheus, 0.0.4, made from OpenMetrics: for scrapers that don't ask for OpenMetrics.
//!
//! Samples are written alike in both. The lines before them differ: here a counter is described by the name of its
//! samples, there is no `info`, no unit and no end mark.

use super::family::{self, Kind};

/// How an exemplar begins behind its sample.
const EXEMPLAR: &str = " # {connection_id=\"";

/// The content type of OpenMetrics.
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of the older format.
pub(super) const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the scraper's `Accept` names OpenMetrics.
pub(super) fn wants_openmetrics(accept: Option<&str>) -> bool {
    accept.is_some_and(|accept| accept.to_ascii_lowercase().contains("application/openmetrics-text"))
}

/// A sample without its exemplar, which this format has not. No label's value is taken for one: there a quote is escaped.
fn sample(line: &str) -> &str {
    line.split_once(EXEMPLAR).map_or(line, |(sample, _)| sample)
}

/// The same samples in the older format.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len() + 1024);
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            out.push_str(sample(line));
            out.push('\n');
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (Some(keyword @ ("HELP" | "TYPE")), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let family = family::ALL.iter().find(|family| family.described() == name);
        let name = family.map_or(name, |family| family.name);
        let info = keyword == "TYPE" && family.is_some_and(|family| family.kind == Kind::Info);
        let rest = if info { "gauge" } else { rest };
        out.extend(["# ", keyword, " ", name, " ", rest, "\n"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_describes_counters_by_the_name_of_their_samples() {
        let modern = "# HELP wsgate_accepted Connections\n# TYPE wsgate_accepted counter\nwsgate_accepted_total 1\n\
                      # HELP wsgate_build Version\n# TYPE wsgate_build info\nwsgate_build_info{version=\"1\"} 1\n\
                      # TYPE wsgate_bytes counter\n# UNIT wsgate_bytes bytes\nwsgate_bytes_total{a=\" # {connection_id=\\\"b\"} 2 # {connection_id=\"c\"} 1.0\n# EOF\n";
        let older = "# HELP wsgate_accepted_total Connections\n# TYPE wsgate_accepted_total counter\nwsgate_accepted_total 1\n\
                     # HELP wsgate_build_info Version\n# TYPE wsgate_build_info gauge\nwsgate_build_info{version=\"1\"} 1\n\
                     # TYPE wsgate_bytes_total counter\nwsgate_bytes_total{a=\" # {connection_id=\\\"b\"} 2\n";
        assert_eq!(classic(modern), older);
    }

    #[test]
    fn openmetrics_is_for_those_who_name_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.2";
        assert!(wants_openmetrics(Some(prometheus)));
        assert!(!wants_openmetrics(Some("text/plain, */*")));
        assert!(!wants_openmetrics(None));
    }
}
