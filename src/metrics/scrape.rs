//! One scrape: every count is read and written down, none is changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::exemplar::Exemplar;

use super::counts::{CapFill, Counts, LimitCounts, NO_ROUTE, Named, RouteCounts};
use super::family::{self, Family};
use super::reloads::ReloadCounts;
use super::traffic::Traffic;
use super::{process, requests, upstreams};
use crate::deny::{Deny, Direction, Side};

/// Reads [`Counts`] for a registry.
pub(super) struct Scrape(pub(super) Arc<Counts>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counts, to) = (&*self.0, &mut encoder);
        let named = counts.named.load();
        handshakes(counts, &named, to)?;
        sessions(&named, to)?;
        requests::scrape(&named, to)?;
        family(to, &family::HTTP_CONNECTIONS, |out| out.gauge([], (counts.sources.http_connections)()))?;
        traffic(&named, to)?;
        limits(counts, &named, to)?;
        key_sets(counts, to)?;
        listeners(counts, to)?;
        revocations(counts, to)?;
        redis(counts, to)?;
        reloads(&counts.sources.reloads, to)?;
        let ends = (counts.sources.certificates)();
        family(to, &family::CERTIFICATE_ENDS, |out| {
            ends.iter().try_for_each(|one| out.gauge([&one.listener, &one.certificate], one.not_after))
        })?;
        upstreams::encode(&(counts.sources.upstreams)(), to)?;
        itself(counts, to)
    }
}

fn handshakes(counts: &Counts, named: &Named, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    family(to, &family::HANDSHAKES, |out| {
        for route in &named.routes {
            for (result, count) in route.handshakes.results() {
                if count > 0 || result.is_none_or(|deny| deny.of_handshake() && !before_route(deny)) {
                    out.counter([&route.name, result.map_or("admitted", Deny::label)], count)?;
                }
            }
        }
        for (result, count) in counts.unrouted.results() {
            if count > 0 || result.is_some_and(without_route) {
                out.counter([NO_ROUTE, result.map_or("admitted", Deny::label)], count)?;
            }
        }
        Ok(())
    })?;
    by_route(named, to, &family::HANDSHAKE_SECONDS, |out, route| {
        out.histogram([&route.name], &route.handshake_seconds)
    })?;
    family(to, &family::HANDSHAKES_IN_FLIGHT, |out| out.gauge([], (counts.sources.in_flight)()))
}

/// What is decided before a route is looked for.
fn before_route(deny: Deny) -> bool {
    matches!(
        deny,
        Deny::NotWebsocket | Deny::BadHandshake | Deny::HandshakeTimeout | Deny::BadProxyHeader | Deny::NoRoute
    )
}

/// What can end a handshake that has no route: also what may come at any moment, and what TLS refuses as a route would.
fn without_route(deny: Deny) -> bool {
    let any_time = matches!(deny, Deny::TotalCap | Deny::ClientLost | Deny::Draining | Deny::Internal);
    before_route(deny) || any_time || deny == Deny::CertificateMissing
}

fn sessions(named: &Named, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    family(to, &family::SESSIONS, |out| {
        for (route, on_workers) in named.routes.iter().zip(named.traffic_by_route()) {
            out.gauge([&route.name], sum(on_workers, Traffic::active))?;
        }
        Ok(())
    })?;
    family(to, &family::WORKER_SESSIONS, |out| {
        for (worker, routes) in named.traffic.iter().enumerate() {
            out.gauge([&worker.to_string()], sum(routes.iter(), Traffic::active))?;
        }
        Ok(())
    })?;
    by_route(named, to, &family::SESSIONS_ENDED, |out, route| {
        for side in Side::ALL {
            for (reason, count) in route.ended[side.index()].results() {
                if count > 0 || ends(side, reason) {
                    out.counter([&route.name, side.label(), reason.map_or("closed", Deny::label)], count)?;
                }
            }
        }
        Ok(())
    })?;
    by_route(named, to, &family::SESSIONS_EXPIRED, |out, route| out.counter([&route.name], route.expired.get()))?;
    by_route(named, to, &family::RENEWALS, |out, route| {
        for (result, count) in route.renewals.results() {
            if count > 0 || result.is_none_or(Deny::of_renewal) {
                out.counter([&route.name, result.map_or("renewed", Deny::label)], count)?;
            }
        }
        Ok(())
    })?;
    by_route(named, to, &family::SESSION_SECONDS, |out, route| out.histogram([&route.name], &route.session_seconds))?;
    by_route(named, to, &family::SESSION_MESSAGES, |out, route| {
        for direction in Direction::ALL {
            out.histogram([&route.name, direction.label()], &route.session_messages[direction.index()])?;
        }
        Ok(())
    })
}

/// Whether a session can end so: a side closes, is lost, breaks a rule or takes nothing, and everything else the gateway does. Only what
/// clients send has a largest size.
fn ends(side: Side, reason: Option<Deny>) -> bool {
    let of_either = [None, Some(Deny::BadFrame), Some(Deny::TooManyFragments), Some(Deny::SlowConsumer)];
    let of_client = [Some(Deny::ClientLost), Some(Deny::MessageTooBig)];
    let of_upstream = [Some(Deny::UpstreamLost)];
    match side {
        Side::Client => of_either.contains(&reason) || of_client.contains(&reason),
        Side::Upstream => of_either.contains(&reason) || of_upstream.contains(&reason),
        Side::Gateway => {
            let of_a_side = [&of_either[..], &of_client, &of_upstream].concat().contains(&reason);
            !of_a_side && reason.is_some_and(Deny::of_session)
        }
    }
}

fn traffic(named: &Named, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (described, read) in
        [(family::MESSAGES, Traffic::messages_of as fn(&Traffic, Direction) -> u64), (family::BYTES, Traffic::bytes_of)]
    {
        family(to, &described, |out| {
            for (route, on_workers) in named.routes.iter().zip(named.traffic_by_route()) {
                for direction in Direction::ALL {
                    let total = sum(on_workers.clone(), |traffic| read(traffic, direction));
                    out.counter([&route.name, direction.label()], total)?;
                }
            }
            Ok(())
        })?;
    }
    for (described, read) in
        [(family::DELAYED, Traffic::delayed_count as fn(&Traffic) -> u64), (family::DROPPED, Traffic::dropped_count)]
    {
        family(to, &described, |out| {
            for (route, on_workers) in named.routes.iter().zip(named.traffic_by_route()) {
                out.counter([&route.name], sum(on_workers, read))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn limits(counts: &Counts, named: &Named, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    family(to, &family::EXCEEDED, |out| exceeded(&named.limits, out))?;
    let (kept, most) = (counts.sources.buffered)();
    family(to, &family::BUFFERED, |out| out.gauge([], kept))?;
    family(to, &family::BUFFERED_LIMIT, |out| out.gauge([], most))?;
    let lags = (counts.sources.worker_lags)();
    family(to, &family::WORKER_LAG, |out| {
        let mut workers = lags.iter().enumerate();
        workers.try_for_each(|(worker, late)| out.gauge([&worker.to_string()], *late as f64 / 1e3))
    })?;
    let zones = (counts.sources.zones)();
    family(to, &family::ZONE_ENTRIES, |out| zones.iter().try_for_each(|zone| out.gauge([&zone.zone], zone.entries)))?;
    family(to, &family::ZONE_CAPACITY, |out| zones.iter().try_for_each(|zone| out.gauge([&zone.zone], zone.capacity)))?;
    family(to, &family::ZONE_FULL, |out| zones.iter().try_for_each(|zone| out.counter([&zone.zone], zone.full)))?;
    caps(&(counts.sources.caps)(), to)?;
    family(to, &family::CAP_WARNINGS, |out| out.counter([], counts.cap_warnings.get()))
}

fn caps(caps: &[CapFill], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    // Of a cap by key the sum over its keys says nothing beside the limit of one.
    let whole = || caps.iter().filter(|cap| cap.keys.is_none());
    let by_key = || caps.iter().filter_map(|cap| Some((cap.labels(), cap.keys?)));
    family(to, &family::CAP_USED, |out| whole().try_for_each(|cap| out.gauge(scope_and_route(cap), cap.used)))?;
    family(to, &family::CAP_LIMIT, |out| {
        whole().try_for_each(|cap| cap.limit.map_or(Ok(()), |limit| out.gauge(scope_and_route(cap), limit)))
    })?;
    family(to, &family::CAP_KEYS, |out| by_key().try_for_each(|(labels, keys)| out.gauge(labels, keys.keys)))?;
    family(to, &family::CAP_KEYS_NEAR, |out| {
        by_key().try_for_each(|(labels, keys)| out.gauge(labels, keys.keys_near_limit))
    })
}

fn scope_and_route(cap: &CapFill) -> [&str; 2] {
    let [scope, route, _] = cap.labels();
    [scope, route]
}

/// What has no name of its own, such as the caps of one route, is told in one sum.
fn exceeded(limits: &[Arc<LimitCounts>], out: &mut Samples<'_>) -> fmt::Result {
    let mut sums: BTreeMap<[&str; 6], u64> = BTreeMap::new();
    for limit in limits {
        let info = &limit.info;
        let direction = info.direction.map_or("", Direction::label);
        let dry_run = if info.dry_run { "true" } else { "false" };
        for action in info.actions {
            let labels = [&*info.route, info.what.label(), &*info.zone, direction, action.label(), dry_run];
            *sums.entry(labels).or_default() += limit.of(*action);
        }
    }
    sums.into_iter().try_for_each(|(labels, sum)| out.counter(labels, sum))
}

fn key_sets(counts: &Counts, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let sets = (counts.sources.key_sets)();
    family(to, &family::KEYS_AGE, |out| {
        sets.iter().try_for_each(|set| set.age_ms.map_or(Ok(()), |age| out.gauge([&set.jwt], age as f64 / 1e3)))
    })?;
    family(to, &family::KEYS, |out| sets.iter().try_for_each(|set| out.gauge([&set.jwt], set.keys)))?;
    family(to, &family::KEYS_REFRESHES, |out| {
        sets.iter().try_for_each(|set| {
            out.counter([&set.jwt, "ok"], set.fetched)?;
            out.counter([&set.jwt, "failed"], set.failed)
        })
    })?;
    family(to, &family::UNKNOWN_KIDS, |out| sets.iter().try_for_each(|set| out.counter([&set.jwt], set.unknown_kids)))
}

fn listeners(counts: &Counts, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let all = &counts.listeners;
    family(to, &family::ACCEPTED, |out| all.iter().try_for_each(|one| out.counter([&one.name], one.accepted.get())))?;
    family(to, &family::ACCEPT_ERRORS, |out| {
        all.iter().try_for_each(|one| out.counter([&one.name], one.errors.get()))
    })?;
    family(to, &family::SHED, |out| all.iter().try_for_each(|one| out.counter([&one.name], one.shed.get())))
}

fn revocations(counts: &Counts, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let (now, capacity) = (counts.sources.revocations)();
    family(to, &family::REVOCATIONS, |out| out.gauge([], now))?;
    family(to, &family::REVOCATIONS_CAPACITY, |out| out.gauge([], capacity))?;
    family(to, &family::REVOCATION_FILE_ERRORS, |out| out.counter([], counts.revocation_file_errors.get()))?;
    family(to, &family::UPGRADE_FAILURES, |out| out.counter([], counts.upgrade_failures.get()))?;
    let shared = || counts.sources.shared_revocations.iter();
    family(to, &family::REVOCATIONS_LOADED, |out| {
        shared().try_for_each(|shared| out.gauge([], shared.loaded_at() as f64 / 1e3))
    })?;
    family(to, &family::REVOCATIONS_UNPUBLISHED, |out| {
        shared().try_for_each(|shared| out.gauge([], shared.unpublished_count()))
    })?;
    family(to, &family::REVOCATIONS_BROKEN, |out| {
        shared().try_for_each(|shared| out.counter([], shared.broken_count()))
    })
}

fn redis(counts: &Counts, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let store = || counts.sources.redis.iter();
    family(to, &family::REDIS_SECONDS, |out| {
        let mut all = store().flat_map(|store| store.histograms());
        all.try_for_each(|(operation, seconds)| out.histogram([operation.label()], seconds))
    })?;
    family(to, &family::REDIS_ERRORS, |out| {
        let mut all = store().flat_map(|store| store.failures());
        all.try_for_each(|(operation, kind, count)| out.counter([operation.label(), kind.label()], count))
    })?;
    family(to, &family::REDIS_BREAKER, |out| store().try_for_each(|store| out.gauge([], store.breaker_state())))?;
    family(to, &family::REDIS_FALLBACKS, |out| {
        let mut all = store().flat_map(|store| store.fallbacks());
        all.try_for_each(|(to, count)| out.counter([to.label()], count))
    })
}

fn reloads(counts: &ReloadCounts, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    family(to, &family::RELOADS, |out| {
        out.counter(["ok"], counts.ok.get())?;
        out.counter(["failed"], counts.failed.get())
    })?;
    family(to, &family::RELOAD_SUCCESSFUL, |out| out.gauge([], u64::from(counts.was_successful())))?;
    family(to, &family::RELOAD_SUCCEEDED_AT, |out| out.gauge([], counts.taken_at() as f64 / 1e3))?;
    family(to, &family::CONFIG, |out| out.metric.encode_info(&[("hash", counts.hash())]))
}

fn itself(counts: &Counts, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    family(to, &family::TRACE_SPANS, |out| {
        let mut all = counts.sources.spans.results();
        all.try_for_each(|(result, count)| out.counter([result], count))
    })?;
    family(to, &family::LOG_DROPPED, |out| out.counter([], (counts.sources.log_dropped)()))?;
    family(to, &family::LOG_ERRORS, |out| out.counter([], (counts.sources.log_errors)()))?;
    family(to, &family::LOG_SUPPRESSED, |out| {
        let all = (counts.sources.log_suppressed)();
        let mut can_happen = all.iter().filter(|(deny, _)| deny.of_handshake() || deny.of_renewal());
        can_happen.try_for_each(|(deny, count)| out.counter([deny.label()], *count))
    })?;
    family(to, &family::BUILD, |out| out.metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))]))?;
    family(to, &family::START_TIME, |out| out.gauge([], counts.started_wall_ms as f64 / 1e3))?;
    for (described, value) in [
        (family::RESIDENT, process::resident()),
        (family::OPEN_FDS, process::open_fds()),
        (family::MAX_FDS, process::max_fds()),
    ] {
        family(to, &described, |out| value.map_or(Ok(()), |value| out.gauge([], value)))?;
    }
    family(to, &family::CPU, |out| out.counter([], process::cpu_seconds()))
}

fn sum<'a>(all: impl Iterator<Item = &'a Arc<Traffic>>, read: impl Fn(&Traffic) -> u64) -> u64 {
    all.map(|traffic| read(traffic)).fold(0, u64::wrapping_add)
}

/// Writes the samples of one family.
pub(super) struct Samples<'a> {
    metric: MetricEncoder<'a>,
    family: &'a Family,
}

pub(super) fn family(
    to: &mut DescriptorEncoder<'_>,
    family: &Family,
    samples: impl FnOnce(&mut Samples<'_>) -> fmt::Result,
) -> fmt::Result {
    let (stem, unit) = family.stem();
    let metric = to.encode_descriptor(stem, family.help, unit.as_ref(), family.metric_type())?;
    samples(&mut Samples { metric, family })
}

pub(super) fn by_route(
    named: &Named,
    to: &mut DescriptorEncoder<'_>,
    described: &Family,
    mut samples: impl FnMut(&mut Samples<'_>, &RouteCounts) -> fmt::Result,
) -> fmt::Result {
    family(to, described, |out| named.routes.iter().try_for_each(|route| samples(out, route)))
}

impl Samples<'_> {
    pub(super) fn counter<const N: usize>(&mut self, values: [&str; N], count: impl EncodeCounterValue) -> fmt::Result {
        self.labelled(values, |metric| metric.encode_counter(&count, None::<&Exemplar<NoLabelSet, f64>>))
    }

    pub(super) fn gauge<const N: usize>(&mut self, values: [&str; N], value: impl EncodeGaugeValue) -> fmt::Result {
        self.labelled(values, |metric| metric.encode_gauge(&value))
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        values: [&str; N],
        histogram: &impl EncodeMetric,
    ) -> fmt::Result {
        let labels = self.labels(values);
        histogram.encode(self.metric.encode_family(&labels)?)
    }

    fn labelled<const N: usize>(
        &mut self,
        values: [&str; N],
        sample: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let labels = self.labels(values);
        if labels.is_empty() {
            return sample(&mut self.metric);
        }
        sample(&mut self.metric.encode_family(&labels)?)
    }

    /// The family's labels with these values; an empty value is an absent label in Prometheus.
    fn labels<'v, const N: usize>(&self, values: [&'v str; N]) -> Vec<(&'static str, &'v str)> {
        debug_assert_eq!(self.family.labels.len(), N, "{}", self.family.name);
        self.family.labels.iter().copied().zip(values).filter(|(_, value)| !value.is_empty()).collect()
    }
}
