//! What checks say of a server: down after so many bad ones in a row, up again after so many good ones.

/// How many checks in a row turn it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Good ones, from down to up.
    pub rise: u32,
    /// Bad ones, from up to down.
    pub fall: u32,
}

/// What is known of one server by its checks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    /// None before the first check: then it is taken for up.
    up: Option<bool>,
    /// Checks in a row that say otherwise.
    streak: u32,
}

impl Health {
    /// Whether it counts as up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.unwrap_or(true)
    }

    /// A check is over. Present: what the server has become by it.
    pub fn check(&mut self, good: bool, terms: Terms) -> Option<bool> {
        let Some(up) = self.up else {
            // Nothing is known, so one check is more than nothing.
            self.up = Some(good);
            return (!good).then_some(false);
        };
        if good == up {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        if self.streak < if up { terms.fall } else { terms.rise } {
            return None;
        }
        *self = Self { up: Some(good), streak: 0 };
        Some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { rise: 2, fall: 3 };

    fn after(checks: &str) -> Vec<Option<bool>> {
        let mut health = Health::default();
        assert!(health.is_up());
        checks.chars().map(|check| health.check(check == '+', TERMS)).collect()
    }

    #[test]
    fn the_first_check_decides_alone_and_then_it_takes_several_in_a_row() {
        assert_eq!(after("-"), [Some(false)]);
        assert_eq!(after("+---"), [None, None, None, Some(false)]);
        assert_eq!(after("+--+---"), [None, None, None, None, None, None, Some(false)]);
        assert_eq!(after("-++"), [Some(false), None, Some(true)]);
        assert_eq!(after("-+-++"), [Some(false), None, None, None, Some(true)]);
    }
}
