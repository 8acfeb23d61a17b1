//! wsgate: a WebSocket security gateway.
//!
//! The modules stand in the order in which they build on each other; a file uses only what stands above it, and siblings.
//! `docs/architecture.md` tells the way of one connection through them.

pub mod deny;
pub mod id;
pub mod now;

pub mod config;
pub mod material;

pub mod policy;

pub mod access_log;
pub mod books;
pub mod handover;
pub mod keyset;
pub mod metrics;
pub mod outward;
pub mod pool;
pub mod revocation_file;
pub mod session;
pub mod spans;
pub mod store;
pub mod stream;
pub mod tls;
pub mod upstream;

pub mod leases;

pub mod admin;
pub mod cli;
pub mod connection;
pub mod drain;
pub mod gateway;
pub mod handshake;
pub mod listener;
pub mod load;
pub mod relay;
pub mod reload;
pub mod revoking;
