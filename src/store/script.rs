//! The scripts that decide on the server, and how their arguments are written.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

use crate::config::value::Rate;

macro_rules! live {
    ($($part:literal),+) => {
        LazyLock::new(|| Script::new(concat!(include_str!("lua/live.lua"), $(include_str!($part)),+)))
    };
}

macro_rules! stored {
    ($part:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("lua/stored.lua"), include_str!($part))))
    };
}

/// Several limits, all or none.
pub(super) static CHARGE: LazyLock<Script> = live!("lua/bucket.lua", "lua/charge.lua");
/// A chunk of a budget.
pub(super) static LEASE: LazyLock<Script> = live!("lua/bucket.lua", "lua/lease.lua");
/// Slots of several caps, all or none.
pub(super) static TAKE: LazyLock<Script> = live!("lua/take.lua");
/// What a node holds.
pub(super) static STATE: LazyLock<Script> = live!("lua/state.lua");
/// That a node lives.
pub(super) static BEAT: LazyLock<Script> = live!("lua/beat.lua");

/// Some of the revocations.
pub(super) static PAGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/page.lua")));
/// These revocations.
pub(super) static LOOK: LazyLock<Script> = stored!("lua/look.lua");
/// Revocations in the place of others.
pub(super) static SWAP: LazyLock<Script> = stored!("lua/swap.lua");

/// All of them, to be there before anybody asks.
pub(super) fn all() -> [&'static Script; 8] {
    [&CHARGE, &LEASE, &TAKE, &STATE, &BEAT, &PAGE, &LOOK, &SWAP]
}

/// What the scripts take for a bound that nothing reaches: 2^51 units, far below where doubles stop being exact.
const MOST: u64 = 1 << 51;

/// Units as an argument.
pub(super) fn units(units: u64) -> u64 {
    units.min(MOST)
}

/// Appends a rate as two arguments, in lowest terms: so that the products of the scripts stay exact.
pub(super) fn rate(call: &mut ScriptInvocation<'_>, rate: Rate) {
    let divisor = gcd(rate.units, rate.period_ms).max(1);
    call.arg(units(rate.units / divisor)).arg(rate.period_ms / divisor);
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
