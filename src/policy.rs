//! Decisions, pure: no socket, no clock, no file, no log. What a handshake needs to know is an argument, the answer is a value.
//!
//! The order in which a handshake is judged ([`stages`]) has reasons: what costs nothing first; the Origin before the rate, so
//! that a hostile page can't spend a victim's budget; the rate by address before the signature, so that a flood can't buy
//! CPU; caps last, since they are the one thing that is held.

pub mod account;
pub mod again;
pub mod assertion;
pub mod bucket;
pub mod cap;
pub mod certificate;
pub mod claims;
pub mod client_ip;
pub mod compile;
pub mod expiry;
pub mod flow;
pub mod forward;
pub mod identity;
pub mod key;
pub mod lease;
pub mod limit;
pub mod meter;
pub mod origin;
pub mod overload;
pub mod pool;
pub mod proxy_protocol;
pub mod rates;
pub mod raw;
pub mod relay;
pub mod remote;
pub mod renew;
pub mod request;
pub mod require;
pub mod revocation;
pub mod roll;
pub mod route;
pub mod slots;
pub mod spread;
pub mod stages;
pub mod target;
pub mod tell;
pub mod token;
pub mod trace;
pub mod upward;
pub mod zone;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::config::ForwardedHeader;
use crate::deny::Deny;
use again::Asked;
use cap::Cap;
use certificate::Certificate;
use client_ip::Forwarded;
use compile::Carried;
use identity::Identity;
use lease::wishes::Wishes;
use limit::Exceeded;
use meter::open::Meters;
use pool::settings::Upstream;
use remote::Remote;
use renew::Lineage;
use request::Opening;
use revocation::Revocations;
use roll::Roll;
use route::{Captures, Matcher, Route};
use tell::Telling;
use token::published::{Behind, Published};
use trace::Sampling;
use upward::Vouched;
use zone::Zone;

pub use slots::{Near, Permits};

/// Everything that decides, compiled from one config; never changed.
#[derive(Debug)]
pub struct Policy {
    /// In the order of the file.
    pub routes: Vec<Arc<Route>>,
    /// Every upstream of theirs, and every section that is one.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Every host and path that leads to one of them, the most particular first.
    ranked: Vec<(Matcher, Arc<Route>)>,
    /// Every host and path at which sessions of one of them are renewed, likewise.
    renewals: Vec<(Matcher, Arc<Route>)>,
    /// The cap over all routes.
    pub total: Arc<Cap>,
    /// Every zone, those of a single route too.
    pub zones: Vec<Arc<Zone>>,
    /// Leases that want more of their budgets.
    pub wishes: Arc<Wishes>,
    /// Where routes and limits are counted.
    pub roll: Arc<Roll>,
    /// Every key set that is fetched, by the name of its `[jwt.NAME]`.
    pub key_sets: Vec<Arc<Published>>,
    /// How many refusals are told by a Close.
    pub telling: Arc<Telling>,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// In which header.
    pub forwarded_header: ForwardedHeader,
    /// Tokens that no longer hold, whatever they say.
    pub revocations: Arc<Revocations>,
    /// The store that several gateways share; none where each counts for itself.
    pub remote: Option<Remote>,
    /// Which handshakes are recorded for OpenTelemetry; none without `[tracing]`.
    pub sampling: Option<Sampling>,
    /// How many handshakes got a place in an order so far.
    admissions: Arc<AtomicU64>,
    carried: Carried,
}

/// One handshake, as far as it is known before anything is decided. Prints nothing in which a token may stand.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// Host and path.
    pub opening: &'a Opening,
    /// The query, as it came.
    pub query: Option<&'a str>,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// Whose handshake it is: see [`Policy::client`].
    pub client: IpAddr,
    /// The certificate that the client presented; TLS has checked it.
    pub certificate: Option<&'a Certificate>,
}

impl fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("opening", self.opening).field("client", &self.client).finish_non_exhaustive()
    }
}

/// The answer, with what is to be said of it either way.
#[derive(Debug)]
pub struct Decision {
    /// The route, once there was one.
    pub route: Option<Arc<Route>>,
    /// What stood where the route has `{name}`.
    pub captures: Captures,
    /// The subject, once a token or a certificate was good.
    pub subject: Option<Arc<str>>,
    /// The limits that were exceeded, whatever became of this handshake.
    pub exceeded: Vec<Exceeded>,
    /// Caps that just came near their limit, whatever became of this handshake.
    pub near: Near,
    /// When its turn comes by the rate, in [`Now::mono`].
    turn: u64,
    /// Yes or no.
    pub verdict: Result<Admission, Denial>,
}

/// The yes. What it holds is given back when it is dropped.
#[derive(Debug)]
pub struct Admission {
    /// The slots of the session to be.
    pub permits: Permits,
    /// What its traffic will be measured by.
    pub meters: Meters,
    /// Milliseconds that the handshake has to wait for its turn.
    pub wait_ms: u64,
    /// When the identity ends, in [`Now::mono`].
    pub expires: Option<u64>,
    /// When the certificate behind it ends, likewise; no renewal of a token moves that.
    pub certificate_ends: Option<u64>,
    /// Whose session it will be.
    pub identity: Identity,
    /// What the upstream is told of that.
    pub vouched: Vouched,
    /// Which tokens may renew it.
    pub lineage: Option<Lineage>,
    /// What stood where the route has `{name}`.
    pub captures: Captures,
    /// What the session has to remember to be judged again.
    pub asked: Option<Box<Asked>>,
}

/// The no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub deny: Deny,
    /// The status, which an operator may have chosen.
    pub status: u16,
    /// Seconds after which it is worth trying again.
    pub retry_after: Option<u64>,
    /// More about it, for the log alone.
    pub why: &'static str,
    /// Present: a newer key set might say otherwise.
    pub behind: Option<Behind>,
}

impl Denial {
    /// With the reason's own status.
    #[must_use]
    pub fn new(deny: Deny, why: &'static str) -> Self {
        Self { deny, status: deny.row().status.unwrap_or(500), retry_after: None, why, behind: None }
    }
}

impl Policy {
    /// The address that counts as the client's: the peer's, or what a trusted proxy says of it.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.forwarded(peer, headers).client
    }

    /// The same with what the proxy that named it says beside it.
    #[must_use]
    pub fn forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> Forwarded {
        let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let trusted = &self.trusted_proxies;
        match self.forwarded_header {
            ForwardedHeader::XForwardedFor => {
                let client = client_ip::client_ip(peer, trusted, values("x-forwarded-for"));
                Forwarded { client, proto: None, host: None }
            }
            ForwardedHeader::Forwarded => client_ip::by_forwarded(peer, trusted, values("forwarded")),
        }
    }

    /// Whether a peer is a proxy that speaks for others.
    #[must_use]
    pub fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

impl Decision {
    /// Nothing is known yet.
    #[must_use]
    pub fn undecided() -> Self {
        Self {
            route: None,
            captures: Captures::default(),
            subject: None,
            exceeded: Vec::new(),
            near: Near::default(),
            turn: 0,
            verdict: Err(Denial::new(Deny::Internal, "undecided")),
        }
    }

    /// Milliseconds until its turn comes, from this moment of [`Now::mono`] on.
    #[must_use]
    pub fn wait_ms(&self, now: u64) -> u64 {
        self.turn.saturating_sub(now)
    }
}
