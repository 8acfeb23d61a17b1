//! How long a body is waited for: a client that sends hardly anything may not hold its place for ever.

/// Bytes that buy one more second, as Apache's `MinRate`.
const BYTES_A_SECOND: u64 = 500;

/// The waiting for one body. What the upstream takes to read it does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    received: u64,
    waited: u64,
    /// Since when it is being waited.
    since: Option<u64>,
}

impl Patience {
    /// Nothing is there; until when it may be waited for more.
    pub fn wait(&mut self, timeout: u64, now: u64) -> u64 {
        let since = *self.since.get_or_insert(now);
        let earned = self.received.saturating_mul(1000) / BYTES_A_SECOND;
        since.saturating_add(timeout.saturating_add(earned).saturating_sub(self.waited))
    }

    /// So many bytes came.
    pub fn received(&mut self, bytes: u64, now: u64) {
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(now.saturating_sub(since));
        }
        self.received = self.received.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_does_not_buy_time_without_end() {
        let mut patience = Patience::default();
        let mut now = 0;
        let mut bytes = 0;
        loop {
            let until = patience.wait(30_000, now);
            now += 10_000;
            if now > until {
                break;
            }
            patience.received(1, now);
            bytes += 1;
        }
        assert_eq!((now, bytes), (40_000, 3));
    }

    #[test]
    fn who_sends_500_bytes_a_second_is_waited_for() {
        let mut patience = Patience::default();
        for second in 0..3600 {
            let now = second * 1000;
            assert!(patience.wait(1000, now) >= now + 1000, "second {second}");
            patience.received(500, now + 1000);
        }
    }

    #[test]
    fn what_the_upstream_takes_is_not_the_clients() {
        let mut patience = Patience::default();
        assert_eq!(patience.wait(1000, 0), 1000);
        patience.received(0, 400);
        assert_eq!(patience.wait(1000, 900_000), 900_600);
        assert_eq!(patience.wait(1000, 900_300), 900_600, "asked twice, it began once");
    }
}
