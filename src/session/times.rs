//! When something has to happen in a session by itself.

use super::Session;
use super::pump::Pump;
use crate::deny::{Direction, Side};

impl Session {
    /// The next moment at which something has to happen by itself.
    pub(super) fn due(&self, now: u64) -> u64 {
        // A turn that has come and was not taken waits for the receiver, not for the clock.
        let turns = [self.up.waits_until(), self.down.waits_until()];
        let turn = turns.into_iter().flatten().filter(|&until| until > now).min().unwrap_or(u64::MAX);
        let leave = Direction::ALL.map(|direction| self.leave_at(direction)).into_iter().min().unwrap_or(u64::MAX);
        if let Some(deadline) = self.deadline {
            return deadline.min(turn).min(leave);
        }
        let ping = match self.pinged {
            Some(at) => at.saturating_add(self.route.terms.ping_timeout),
            None => self.ping_at(now),
        };
        let expiry = self.route.terms.expiry.next(&self.told, self.exit.ends());
        self.idle_at().min(self.slow_at().0).min(expiry).min(ping).min(turn).min(leave)
    }

    /// Until when a frame waits for its rate, whichever way it flows.
    fn turn(&self) -> Option<u64> {
        [self.up.waits_until(), self.down.waits_until()].into_iter().flatten().max()
    }

    /// When a receiver that goes on taking nothing has waited for too long, and which.
    pub(super) fn slow_at(&self) -> (u64, Side) {
        let at = |pump: &Pump| pump.waits_since().map_or(u64::MAX, |since| since + self.route.terms.send_timeout);
        let (up, down) = (at(&self.up), at(&self.down));
        if up < down { (up, Side::Upstream) } else { (down, Side::Client) }
    }

    pub(super) fn idle_at(&self) -> u64 {
        let last = self.up.heard().max(self.down.heard()).max(self.turn().unwrap_or(0));
        last.saturating_add(self.route.terms.idle_timeout)
    }

    /// The client's silence counts only while it is listened to.
    pub(super) fn ping_at(&self, now: u64) -> u64 {
        match self.route.terms.ping_interval {
            Some(interval) if self.up.is_reading() => self.up.heard().saturating_add(interval),
            Some(interval) => self.up.waits_until().unwrap_or(0).max(now).saturating_add(interval),
            None => u64::MAX,
        }
    }

    /// Until when what waits in this direction may still get its turn, since its sender leaves behind it.
    pub(super) fn leave_at(&self, direction: Direction) -> u64 {
        let pump = match direction {
            Direction::ToUpstream => &self.up,
            Direction::ToClient => &self.down,
        };
        pump.leaves().map_or(u64::MAX, |leaves| leaves.since.saturating_add(self.route.terms.close_timeout))
    }
}
