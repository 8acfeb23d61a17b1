//! Sessions between two local sockets: what arrives, how they end, and that they rest in between.

mod ends;
mod rig;

use super::*;
use crate::deny::Direction::{ToClient, ToUpstream};
use crate::session::frame::tests::wire::{self, Wire};
use rig::{LONG, Rig, TERMS, run};
