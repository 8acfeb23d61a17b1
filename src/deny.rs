//! The words for every end: one enum, one table; and the words for the two sides of a session.
//!
//! A reason is the same word in the HTTP response, the Close frame, the log line, the metric label and the docs.
//! `wsgate reasons` prints this table and `docs/reasons.md` is generated from it. Nothing here decides anything.

use std::fmt;

/// Whose doing a refusal or an end was, for the operator who has to look for the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What the client sent, or did not send.
    Client,
    /// The backend behind the gateway.
    Upstream,
    /// A bound that the operator set was reached.
    Limit,
    /// The operator's own act: a drain, a reload, a kick.
    Operator,
    /// The gateway itself.
    Gateway,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Client => "client",
            Fault::Upstream => "upstream",
            Fault::Limit => "limit",
            Fault::Operator => "operator",
            Fault::Gateway => "gateway",
        })
    }
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the upstream.
    ToUpstream,
    /// From the upstream to the client.
    ToClient,
}

impl Direction {
    /// Both, in the order of [`Direction::index`].
    pub const ALL: [Self; 2] = [Self::ToUpstream, Self::ToClient];

    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ToUpstream => "to_upstream",
            Self::ToClient => "to_client",
        }
    }

    /// Where its count stands in a pair of counts.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Who ended a session: the side whose Close came first or whose connection broke, or the gateway on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Side {
    Client,
    Upstream,
    Gateway,
}

impl Side {
    /// All three, in the order of [`Side::index`].
    pub const ALL: [Self; 3] = [Self::Client, Self::Upstream, Self::Gateway];

    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }

    /// Where its count stands among those of the three.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Everything that the table says of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The one word: metric label, log field, Close reason, first word of the response body.
    pub label: &'static str,
    /// HTTP status before the 101; none where it can only happen in a session.
    pub status: Option<u16>,
    /// WebSocket close code after the 101 (RFC 6455 s7.4); none where it can only happen before, or nobody is left to tell.
    pub close: Option<u16>,
    /// Whose doing it was.
    pub fault: Fault,
    /// One sentence for a person.
    pub sentence: &'static str,
}

macro_rules! reasons {
    ($($variant:ident $label:literal $status:tt $close:tt $fault:ident $sentence:literal;)*) => {
        /// Why a handshake was refused or a session was ended. Never matched with `_`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Deny {
            $(#[doc = $sentence] $variant,)*
        }

        impl Deny {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Deny] = &[$(Deny::$variant),*];

            /// This reason's row.
            #[must_use]
            pub const fn row(self) -> Row {
                match self {
                    $(Deny::$variant => Row {
                        label: $label,
                        status: reasons!(@code $status),
                        close: reasons!(@code $close),
                        fault: Fault::$fault,
                        sentence: $sentence,
                    },)*
                }
            }
        }
    };
    (@code -) => { None };
    (@code $code:literal) => { Some($code) };
}

reasons! {
    NotWebsocket      "not_websocket"      426 -    Client   "the request does not ask for a WebSocket of version 13";
    BadHandshake      "bad_handshake"      400 -    Client   "the opening handshake, or another request, is malformed or ambiguous";
    HandshakeTimeout  "handshake_timeout"  408 -    Client   "TLS or the request did not arrive in time";
    BadProxyHeader    "bad_proxy_header"   400 -    Client   "the connection does not begin with a PROXY header of a trusted proxy";
    NoRoute           "no_route"           404 -    Client   "no route has this host and path";
    OriginMissing     "origin_missing"     403 4003 Client   "the route wants an Origin and there is none";
    OriginForbidden   "origin_forbidden"   403 4003 Client   "the Origin is not on the route's list";
    CertificateMissing "certificate_missing" 403 4003 Client "a client certificate is wanted, and there is none, or none that names its bearer";
    CertificateExpired "certificate_expired" 403 4001 Client "the client certificate's lifetime is over";
    TokenMissing      "token_missing"      403 4001 Client   "the route wants a token and there is none";
    TokenInvalid      "token_invalid"      403 4001 Client   "the token is malformed, or its signature or a claim does not hold";
    TokenExpired      "token_expired"      403 4001 Client   "the token's lifetime is over";
    TokenForbidden    "token_forbidden"    403 4003 Client   "the token's claims do not allow this route";
    TokenRevoked      "token_revoked"      403 4001 Operator "the token was revoked";
    KeysUnavailable   "keys_unavailable"   503 1013 Gateway  "the keys that tokens are checked with could not be fetched";
    HandshakeRate     "handshake_rate"     429 4029 Limit    "more handshakes than the route's rates allow";
    IpCap             "ip_cap"             429 4029 Limit    "too many connections from this address";
    SubjectCap        "subject_cap"        429 4029 Limit    "too many connections of this subject";
    ZoneCap           "zone_cap"           429 4029 Limit    "too many connections of what a zone counts by";
    RouteCap          "route_cap"          503 1013 Limit    "the route holds all the connections it may";
    TotalCap          "total_cap"          503 1013 Limit    "the gateway holds all the connections it may";
    Overloaded        "overloaded"         503 1013 Limit    "the gateway is behind with its work and lets nobody new in for a moment";
    ZoneFull          "zone_full"          503 1013 Limit    "a zone remembers as many keys as it may, and all of them owe something";
    StoreUnavailable  "store_unavailable"  503 1013 Gateway  "Redis did not answer, and without it no limit can be told";
    MessageRate       "message_rate"       -   4029 Limit    "more messages than the route's rates allow";
    ByteRate          "byte_rate"          -   4029 Limit    "more bytes than the route's rates allow";
    ControlRate       "control_rate"       -   4029 Limit    "more pings and pongs than the route's rates allow";
    TooManyFragments  "too_many_fragments" -   1008 Client   "a message has more frames than the route allows";
    MessageTooBig     "message_too_big"    -   1009 Client   "a message is larger than the route allows";
    BadFrame          "bad_frame"          -   1002 Client   "a frame breaks RFC 6455";
    BadRenewal        "bad_renewal"        400 -    Client   "a renewal is a POST of one token that names a subject, as text/plain or where the route looks for one";
    NoSession         "no_session"         404 -    Client   "no live session of this subject can be renewed by this token";
    BodyTooBig        "body_too_big"       413 -    Client   "a request's body is larger than the route allows";
    PreflightRefused  "preflight_refused"  403 -    Client   "a page asks for a method or a header that the route's cors does not allow";
    UpstreamConnect   "upstream_connect"   502 1014 Upstream "no connection to the upstream could be made";
    UpstreamRefused   "upstream_refused"   502 1014 Upstream "the upstream's answer is none, or is no valid 101 to a handshake";
    UpstreamTimeout   "upstream_timeout"   504 1014 Upstream "the upstream did not answer in time";
    UpstreamFull      "upstream_full"      503 1013 Limit    "every server of the upstream holds all the connections it may, and the queue for them is full or too slow";
    UpstreamDrained   "upstream_drained"   -   1012 Operator "the server that the session was on is being taken out";
    UpstreamLost      "upstream_lost"      -   1014 Upstream "the upstream's connection ended without a Close";
    ClientLost        "client_lost"        499 -    Client   "the client's connection ended without a Close";
    IdleTimeout       "idle_timeout"       -   1001 Client   "nothing was received for the idle timeout, or a ping stayed unanswered";
    LifetimeOver      "lifetime_over"      -   1001 Operator "the session is as old as the route lets one be";
    SlowConsumer      "slow_consumer"      -   1008 Client   "the receiver did not take its messages in time, or there is no room left to keep them";
    Draining          "draining"           503 1012 Operator "the gateway is shutting down";
    PolicyChanged     "policy_changed"     -   1008 Operator "the configuration changed and no longer allows this session";
    Kicked            "kicked"             -   1008 Operator "an operator ended this session";
    Internal          "internal"           500 1011 Gateway  "the gateway failed; this is a bug";
}

impl Deny {
    /// The one word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// Its place in [`Deny::ALL`], for counts that stand in an array.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether a handshake can end with it in this version.
    #[must_use]
    pub const fn of_handshake(self) -> bool {
        self.row().status.is_some() && !self.reserved() && !self.of_renewal_alone() && !self.of_request_alone()
    }

    /// Whether a renewal can be refused for it.
    #[must_use]
    pub const fn of_renewal(self) -> bool {
        let of_both = matches!(
            self,
            Deny::HandshakeTimeout
                | Deny::OriginMissing
                | Deny::OriginForbidden
                | Deny::CertificateMissing
                | Deny::CertificateExpired
                | Deny::TokenForbidden
                | Deny::KeysUnavailable
                | Deny::HandshakeRate
                | Deny::ZoneFull
                | Deny::StoreUnavailable
                | Deny::ClientLost
                | Deny::Draining
                | Deny::Internal
        );
        !self.reserved() && (of_both || self.about_token() || self.of_renewal_alone())
    }

    const fn of_renewal_alone(self) -> bool {
        matches!(self, Deny::BadRenewal | Deny::NoSession)
    }

    /// Whether an ordinary request can be refused, or its answer cut short, for it.
    #[must_use]
    pub const fn of_request(self) -> bool {
        let of_handshake = self.of_handshake() && !matches!(self, Deny::NotWebsocket | Deny::NoRoute);
        let of_stream = matches!(
            self,
            Deny::UpstreamLost | Deny::IdleTimeout | Deny::LifetimeOver | Deny::SlowConsumer | Deny::Kicked
        );
        of_handshake || of_stream || self.of_request_alone()
    }

    const fn of_request_alone(self) -> bool {
        matches!(self, Deny::BodyTooBig | Deny::PreflightRefused)
    }

    /// Whether a session can end with it in this version: what has no status can't happen before, and of what has one
    /// only these happen to a live session too.
    #[must_use]
    pub const fn of_session(self) -> bool {
        let both = matches!(
            self,
            Deny::CertificateExpired
                | Deny::TokenExpired
                | Deny::TokenRevoked
                | Deny::IpCap
                | Deny::SubjectCap
                | Deny::ZoneCap
                | Deny::ClientLost
                | Deny::Draining
                | Deny::StoreUnavailable
                | Deny::Internal
        );
        !self.reserved() && (self.row().status.is_none() || both)
    }

    /// Whether the word is kept for what a later version raises: it is in the table, and nothing raises it yet.
    #[must_use]
    pub const fn reserved(self) -> bool {
        false
    }

    /// Whether the client's token is at fault, so that 401 with `WWW-Authenticate` may be the answer.
    #[must_use]
    pub const fn about_token(self) -> bool {
        matches!(self, Deny::TokenMissing | Deny::TokenInvalid | Deny::TokenExpired | Deny::TokenRevoked)
    }
}

impl fmt::Display for Deny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_label_is_one_lower_case_word_and_unique() {
        let mut seen = HashSet::new();
        for deny in Deny::ALL {
            let label = deny.label();
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{label}");
            assert!(seen.insert(label), "{label} stands twice");
        }
        assert!(!seen.is_empty());
    }

    #[test]
    fn every_index_is_a_place_in_its_table() {
        assert!(Deny::ALL.iter().enumerate().all(|(at, deny)| deny.index() == at));
        assert!(Side::ALL.iter().enumerate().all(|(at, side)| side.index() == at));
        assert!(Direction::ALL.iter().enumerate().all(|(at, direction)| direction.index() == at));
    }

    #[test]
    fn every_reason_of_this_version_ends_a_handshake_a_renewal_or_a_session() {
        for deny in Deny::ALL {
            let raised = deny.of_handshake() || deny.of_session() || deny.of_renewal() || deny.of_request();
            assert_ne!(deny.reserved(), raised, "{deny}");
        }
    }

    #[test]
    fn a_renewal_is_refused_for_its_keys_and_its_certificate_too() {
        for deny in [Deny::KeysUnavailable, Deny::CertificateMissing, Deny::CertificateExpired] {
            assert!(deny.of_renewal(), "{deny}");
        }
    }

    #[test]
    fn what_ends_a_session_has_a_close_code_unless_nobody_is_left_to_tell() {
        for deny in Deny::ALL.iter().filter(|d| d.of_session() && **d != Deny::ClientLost) {
            assert!(deny.row().close.is_some(), "{deny}");
        }
    }

    #[test]
    fn a_label_fits_the_reason_of_a_close_frame() {
        // RFC 6455 s5.5: a control frame's payload is at most 125 bytes, two of them the code.
        assert!(Deny::ALL.iter().all(|d| d.label().len() <= 123));
    }

    #[test]
    fn close_codes_may_stand_on_the_wire() {
        for code in Deny::ALL.iter().filter_map(|d| d.row().close) {
            assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "{code}");
        }
    }
}
