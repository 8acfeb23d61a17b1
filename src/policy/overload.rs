//! Whether a worker is so far behind with its work that it lets nobody new in: judged from how late its ticks come.
//!
//! A handshake costs a hundred times what a message does, and all of them come at once when a gateway or a network comes
//! back. Those who are in come first.

use serde::Serialize;

/// Samples in a row that have to be over a bound: one alone is a machine that was suspended, or a debugger.
pub const IN_A_ROW: usize = 3;

/// How many times the bound closes sockets before TLS is spoken on them: there the handshake of TLS is what costs, and a
/// refusal behind it comes too late.
const FAR: u64 = 2;

/// How a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// It keeps up.
    Keeps,
    /// New handshakes are refused.
    Behind,
    /// New sockets that would speak TLS are closed.
    FarBehind,
}

impl Pace {
    /// Of a worker whose last ticks were late by `late_ms` at the least, where `bound_ms` is allowed.
    #[must_use]
    pub const fn of(late_ms: u64, bound_ms: u64) -> Self {
        if late_ms > bound_ms.saturating_mul(FAR) {
            Self::FarBehind
        } else if late_ms > bound_ms {
            Self::Behind
        } else {
            Self::Keeps
        }
    }
}

/// How late one worker's last ticks were, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks([u64; IN_A_ROW]);

impl Ticks {
    /// Notes one more, and says by how much all of the last were late.
    pub fn note(&mut self, late_ms: u64) -> u64 {
        self.0.rotate_left(1);
        self.0[IN_A_ROW - 1] = late_ms;
        self.0.into_iter().fold(u64::MAX, u64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paces(ticks: &[u64]) -> Vec<Pace> {
        let mut noted = Ticks::default();
        ticks.iter().map(|late| Pace::of(noted.note(*late), 500)).collect()
    }

    #[test]
    fn one_late_tick_or_two_are_a_hiccup() {
        assert_eq!(paces(&[3_600_000, 0, 9000, 9000, 500, 9000, 9000]), [Pace::Keeps; 7]);
    }

    #[test]
    fn a_worker_is_behind_when_all_of_its_last_ticks_were_over_the_bound_and_no_longer() {
        let expected = [Pace::Keeps, Pace::Keeps, Pace::Behind, Pace::Behind, Pace::Keeps, Pace::Keeps, Pace::Keeps];
        assert_eq!(paces(&[501, 501, 501, 9000, 500, 501, 501]), expected);
    }

    #[test]
    fn far_behind_is_twice_the_bound() {
        assert_eq!(
            paces(&[1001, 1001, 1000, 1001, 1001, 1001])[2..],
            [Pace::Behind, Pace::Behind, Pace::Behind, Pace::FarBehind]
        );
        assert_eq!(Pace::of(u64::MAX, u64::MAX), Pace::Keeps);
    }
}
