//! What is counted of ordinary requests, once each.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::histogram::Histogram;

use super::counts::{Shared, Tally};
use super::family;
use super::scrape::{Samples, by_route};
use crate::deny::{Deny, Direction};

/// Seconds: a page's picture takes milliseconds, a long poll half a minute, a stream of events hours.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 3600.0];

/// The classes of status codes: no other label that an upstream could choose.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Of one route.
#[derive(Debug)]
pub(super) struct RequestCounts {
    began: Shared,
    ended: Shared,
    results: Tally,
    classes: [Shared; CLASSES.len()],
    seconds: Histogram,
    bytes: [Shared; Direction::ALL.len()],
}

/// How a request ended: whole or for which reason, the upstream's status if it answered, how long it took in milliseconds,
/// and what went either way, by [`Direction::index`].
pub type RequestEnd = (Result<(), Deny>, Option<u16>, u64, [u64; 2]);

impl RequestCounts {
    pub(super) fn new() -> Self {
        Self {
            began: Shared::default(),
            ended: Shared::default(),
            results: Tally::new(),
            classes: Default::default(),
            seconds: Histogram::new(SECONDS),
            bytes: Default::default(),
        }
    }

    pub(super) fn began(&self) {
        self.began.up();
    }

    pub(super) fn ended(&self, end: Option<RequestEnd>) {
        self.ended.up();
        let Some((result, status, duration_ms, bytes)) = end else { return };
        self.results.up(result.err());
        let class = status.and_then(|status| self.classes.get(usize::from(status / 100).wrapping_sub(1)));
        class.into_iter().for_each(Shared::up);
        self.seconds.observe(duration_ms as f64 / 1e3);
        for (count, bytes) in self.bytes.iter().zip(bytes) {
            count.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Requests under way.
    pub(super) fn active(&self) -> u64 {
        // `ended` first: one that begins and ends between the two loads must not count as minus one.
        let ended = self.ended.get();
        self.began.get().saturating_sub(ended)
    }
}

pub(super) fn scrape(named: &super::counts::Named, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    by_route(named, to, &family::REQUESTS, |out, route| {
        for (result, count) in route.requests.results.results() {
            if count > 0 || result.is_none_or(Deny::of_request) {
                out.counter([&route.name, result.map_or("forwarded", Deny::label)], count)?;
            }
        }
        Ok(())
    })?;
    by_route(named, to, &family::REQUEST_ANSWERS, |out: &mut Samples<'_>, route| {
        let mut classes = CLASSES.iter().zip(&route.requests.classes).skip(1);
        classes.try_for_each(|(class, count)| out.counter([&route.name, *class], count.get()))
    })?;
    by_route(named, to, &family::REQUEST_SECONDS, |out, route| out.histogram([&route.name], &route.requests.seconds))?;
    by_route(named, to, &family::REQUEST_BYTES, |out, route| {
        let mut both = Direction::ALL.iter().zip(&route.requests.bytes);
        both.try_for_each(|(direction, count)| out.counter([&route.name, direction.label()], count.get()))
    })?;
    by_route(named, to, &family::REQUESTS_ACTIVE, |out, route| out.gauge([&route.name], route.requests.active()))
}
