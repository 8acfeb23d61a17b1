//! One measurement: how many, how fast, and what it cost the process that is watched.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Span;
use crate::{Result, proc};

/// A measurement goes on until so many are complete: a machine that stood still for a moment is no failure, and the CPU
/// time of a proxy that stood still too is none.
const LEAST: u64 = 20;

/// What one run of `load` found; its form on standard output, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Echoes, or handshakes with their Close, that ended within the measurement.
    pub done: u64,
    /// The measurement's real length.
    pub seconds: f64,
    /// CPU time that the watched process used meanwhile.
    pub cpu_ns: Option<u64>,
    /// From the sending to the last byte of the echo, or from the connect to the end.
    pub latency_us: Percentiles,
}

/// Of all latencies of one measurement, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

impl Percentiles {
    /// By rank, from nanoseconds in any order. All zero where there are none.
    pub(crate) fn of(mut ns: Vec<u32>) -> Self {
        ns.sort_unstable();
        let at = |share: f64| {
            let rank = (ns.len() as f64 * share).ceil() as usize;
            ns.get(rank.max(1) - 1).map_or(0.0, |ns| f64::from(*ns) / 1000.0)
        };
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

/// The span that is running.
pub(crate) struct Window {
    span: Span,
    warm_at: Instant,
    /// Since when it is measured, and the watched process's CPU time then.
    begun: Option<(Instant, Option<u64>)>,
    done: u64,
    latencies_ns: Vec<u32>,
    end: Option<(Instant, Option<u64>)>,
}

impl Window {
    pub(crate) fn begin(span: Span, now: Instant) -> Self {
        Self { span, warm_at: now + span.warmup, begun: None, done: 0, latencies_ns: Vec::new(), end: None }
    }

    /// How long one wait for events may be, so that the ends of the measurement are not overslept by much.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(20)
    }

    /// True once the measurement is complete. Reads the CPU time at its two ends.
    pub(crate) fn over(&mut self, now: Instant) -> Result<bool> {
        match self.begun {
            None if now >= self.warm_at => self.begun = Some(self.sample()?),
            Some((begun, _)) if now >= begun + self.span.length && self.done >= LEAST => {
                self.end = Some(self.sample()?);
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn sample(&self) -> Result<(Instant, Option<u64>)> {
        Ok((Instant::now(), self.span.watch.map(proc::cpu_ns).transpose()?))
    }

    /// One more is complete that began at `since`.
    pub(crate) fn done(&mut self, since: Instant) {
        if self.begun.is_some() {
            self.done += 1;
            self.latencies_ns.push(u32::try_from(since.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn result(self) -> Result<Measured> {
        let (Some((begun, cpu_before)), Some((end, cpu_after))) = (self.begun, self.end) else {
            return Err("the measurement is not over".into()); // its callers wait for it
        };
        Ok(Measured {
            done: self.done,
            seconds: (end - begun).as_secs_f64(),
            cpu_ns: cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before)),
            latency_us: Percentiles::of(self.latencies_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_go_by_rank() {
        let of = Percentiles::of((1..=1000).rev().map(|us| us * 1000).collect());
        assert_eq!(of, Percentiles { p50: 500.0, p90: 900.0, p99: 990.0, max: 1000.0 });
        assert_eq!(Percentiles::of(vec![7000]), Percentiles { p50: 7.0, p90: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }

    #[test]
    fn what_ends_while_warming_up_does_not_count() {
        let start = Instant::now();
        let span = Span { warmup: Duration::from_secs(1), length: Duration::from_secs(1), watch: None };
        let mut window = Window::begin(span, start);
        window.done(start);
        assert!(!window.over(start + Duration::from_secs(1)).unwrap());
        for _ in 0..LEAST {
            window.done(start);
        }
        assert!(window.over(start + Duration::from_secs(3)).unwrap());
        assert_eq!(window.result().unwrap().done, LEAST);
    }

    #[test]
    fn a_measurement_waits_for_something_to_measure() {
        let start = Instant::now();
        let mut window = Window::begin(Span { warmup: Duration::ZERO, length: Duration::ZERO, watch: None }, start);
        assert!(!window.over(start).unwrap());
        assert!(!window.over(start + Duration::from_secs(60)).unwrap());
        assert!(window.result().is_err());
    }
}
