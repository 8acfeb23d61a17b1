//! One direction between two local sockets, polled by hand.

use super::*;

/// Bytes of memory that a direction holds on to.
pub(in crate::session) fn kept_by(pump: &Pump) -> usize {
    pump.kept.capacity() + pump.insert.as_ref().map_or(0, Vec::capacity)
}
