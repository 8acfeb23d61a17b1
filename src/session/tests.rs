//! Sessions between two local sockets: what arrives, how they end, and that they rest in between.

mod any;
mod ends;
mod expiry;
mod rest;
pub(super) mod rig;
mod slow;

use super::*;
use crate::config::OnExcess;
use crate::deny::Direction::{ToClient, ToUpstream};
use crate::policy::bucket::Limit;
use crate::policy::route::{MessageLimit, Terms};
use crate::session::frame::Control;
use crate::session::frame::tests::wire::{self, Wire};
use rig::{LONG, Rig, TERMS, run};

/// Messages are spaced at this rate.
fn delayed(rate: &str) -> Option<Arc<MessageLimit>> {
    let limit = Limit { rate: rate.parse().unwrap(), burst: u64::MAX, delay: 0 };
    Some(Arc::new(MessageLimit { limit, on_excess: OnExcess::Delay }))
}
