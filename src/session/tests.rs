//! Sessions between two local sockets: what arrives, how they end, and that they rest in between.

mod any;
mod ends;
mod expiry;
mod leave;
mod rest;
pub(super) mod rig;
mod slow;
mod turn;

use super::*;
use crate::deny::Direction::{ToClient, ToUpstream};
use crate::policy::route::Terms;
use crate::session::frame::Control;
use crate::session::frame::tests::wire::{self, Wire};
use rig::{LONG, Rig, TERMS, run, run_by_the_wall};

/// Messages are spaced at this rate.
fn delayed(rate: &str) -> String {
    format!("messages = {{ rate = \"{rate}\", on_excess = \"delay\" }}")
}
