//! The gateway from outside: real sockets, a gateway of its own for each test, and both of its neighbours played by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "tests")]

mod harness;

// The opening handshake, and what a client is told that does not get in.
mod handshake;
// Ordinary requests beside it.
mod requests;
// The upstream's half of it.
mod upstream;
// Several servers behind one name.
mod pools;
// What is said to the upstream of the client.
mod headers;
// What the upstream is told of who asks.
mod upward;
// Who may open a session.
mod admission;
// What a token must claim, and of which issuer it may be.
mod claims;
// Clients' certificates: who gets in, and as whom.
mod certificates;
// Tokens that are bound to one, and TLS sessions that are resumed.
mod bound;
// Keys that are fetched while the gateway runs.
mod keysets;
// Where a token may stand, and where it is never seen.
mod tokens;
// Refusals that a browser can read.
mod told;
// Tokens that are ended before their time.
mod revocation;
// Sessions that an operator ends.
mod kick;
// Limits of handshakes by every kind of key.
mod zones;
// What a handshake is charged, here and in a store that gateways share.
mod charges;
// How often, and how many at once.
mod limits;
// How many at once by any key, and who goes when there is no room.
mod caps;
// How the gateway is, in one look.
mod status;
// How a session ends.
mod closing;
// What may stand in its stream.
mod frames;
// How much a client may say.
mod rates;
// How much of what else flows, and what sessions may do together.
mod flow;
// And how little a flood does.
mod floods;
// How long an identity lasts.
mod expiry;
// And how it lasts longer.
mod renew;
// How long both may say nothing.
mod silence;
// A reader that is slower than its writer.
mod pressure;
// Many that never read.
mod slow;
// A worker that is behind with its work.
mod overload;
// What a live socket holds.
mod slots;
// What a collector of traces is told.
mod traces;
// Another config, while it runs.
mod reload;
// The gateway's own end, and what is said of every other.
mod ends;
// The way in, and TLS.
mod listener;
// Who comes that way, where a proxy stands in front.
mod proxied;
// What flows, where several gateways count it together.
mod leases;
// What several gateways count together.
mod store;
// The binary itself, short of descriptors.
mod descriptors;
// What the code must not become.
mod invariants;
