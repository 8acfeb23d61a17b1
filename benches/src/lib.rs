//! A side-by-side of wsgate with what else could stand in its place, on one machine, over loopback.
//!
//! Four programs: `echo` is the backend, `floor` a relay that looks at nothing, `load` the clients, and `bench` starts
//! them around one proxy after the other and prints ratios. The modules stand in the order in which they build on each
//! other. `docs/performance.md` says what is measured and how to read it.

#![allow(
    clippy::disallowed_methods,
    reason = "measuring is reading clocks; and /proc and certificates of our own making are files without a bound to keep"
)]

pub mod proc;
pub mod wire;

mod outlet;

pub mod echo;
pub mod floor;
pub mod load;

pub mod driver;

/// What a tool of this crate returns: its error is a sentence for the person who started it.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
