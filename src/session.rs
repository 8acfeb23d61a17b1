//! What lives after the 101.

pub mod live;
