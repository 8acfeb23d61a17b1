//! Which of several servers that may have a handshake gets it.

use crate::policy::key::Key;

/// What a weight of 1 counts, so that a part of it is a whole number.
const UNIT: u64 = 1000;

/// A server that may have the handshake.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its place among all.
    pub at: usize,
    /// Its share, as [`share`] says it. Never 0.
    pub share: u64,
    /// Sessions that it has, handshakes under way included.
    pub in_use: usize,
    /// What its address hashes to.
    pub seed: u64,
}

/// A weight as it counts now: all of it, or less for a server that is back since `since` and starts slowly.
#[must_use]
pub fn share(weight: u32, since: Option<u64>, slow_start: u64, now: u64) -> u64 {
    let whole = u64::from(weight) * UNIT;
    let Some(since) = since else { return whole };
    let elapsed = now.saturating_sub(since);
    if elapsed >= slow_start {
        return whole;
    }
    // A hundredth at first, or nothing would ever go there.
    (u128::from(whole) * u128::from(elapsed) / u128::from(slow_start)).max(u128::from(whole / 100)) as u64
}

/// nginx's smooth weighted round robin: each candidate gains its share, the one that has most pays what all gained. So
/// that of weights 5, 1 and 1 the first does not get five in a row. `current` is what each server has, by its place.
pub fn in_turn(candidates: &[Candidate], current: &mut [i64]) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<usize> = None;
    for candidate in candidates {
        let share = candidate.share as i64;
        current[candidate.at] += share;
        total += share;
        if best.is_none_or(|best| current[candidate.at] > current[best]) {
            best = Some(candidate.at);
        }
    }
    current[best?] -= total;
    best
}

/// The one that would have the fewest sessions for its share with one more; among equals in turn.
pub fn least(candidates: &[Candidate], current: &mut [i64]) -> Option<usize> {
    let load = |candidate: &Candidate| (candidate.in_use as u128 + 1, u128::from(candidate.share));
    let less = |(one, of_one): (u128, u128), (other, of_other): (u128, u128)| one * of_other < other * of_one;
    let mut fewest: Vec<Candidate> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        match fewest.first() {
            Some(first) if less(load(first), load(candidate)) => {}
            Some(first) if less(load(candidate), load(first)) => fewest = vec![*candidate],
            Some(_) | None => fewest.push(*candidate),
        }
    }
    in_turn(&fewest, current)
}

/// Weighted rendezvous hashing: each server draws a number for the key, and the highest wins. When one goes, its keys
/// alone move, to the others by their shares; when one comes, it takes its share of each of the others' and nothing else
/// moves.
pub fn by_key(candidates: &[Candidate], key: Key) -> Option<usize> {
    let draw = |candidate: &Candidate| {
        // Within 0 and 1 and neither of them: 53 bits are what a float holds.
        let unit = ((key.mixed(candidate.seed) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -(candidate.share as f64) / unit.ln()
    };
    let best = candidates.iter().max_by(|one, other| draw(one).total_cmp(&draw(other)).then(one.seed.cmp(&other.seed)));
    best.map(|best| best.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let of = |(at, weight): (usize, &u32)| Candidate {
            at,
            share: share(*weight, None, 0, 0),
            in_use: 0,
            seed: at as u64 * 7919 + 1,
        };
        weights.iter().enumerate().map(of).collect()
    }

    fn key(number: u64) -> Key {
        Key::shared(&number.to_be_bytes())
    }

    #[test]
    fn weights_of_5_1_and_1_give_nginx_s_sequence() {
        // The sequence that nginx's change (2012) gives as its example: a a b a c a a.
        let (all, mut current) = (candidates(&[5, 1, 1]), [0; 3]);
        let sequence: Vec<usize> = (0..14).filter_map(|_| in_turn(&all, &mut current)).collect();
        assert_eq!(sequence, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn the_fewest_sessions_for_its_weight_and_among_equals_in_turn() {
        let mut all = candidates(&[1, 2]);
        (all[0].in_use, all[1].in_use) = (1, 2);
        let mut current = [0; 2];
        assert_eq!(least(&all, &mut current), Some(1), "3/2 is less than 2/1");
        all[1].in_use = 3;
        let both: Vec<Option<usize>> = (0..3).map(|_| least(&all, &mut current)).collect();
        assert!(both.contains(&Some(0)) && both.contains(&Some(1)), "{both:?}");
        all[1].in_use = 4;
        assert_eq!(least(&all, &mut current), Some(0));
        assert_eq!(least(&[], &mut current), None);
    }

    #[test]
    fn a_slow_start_begins_with_a_hundredth_and_ends_with_all() {
        let at = |now| share(2, Some(1000), 10_000, now);
        assert_eq!([at(1000), at(1050), at(6000), at(10_999), at(11_000)], [20, 20, 1000, 1999, 2000]);
        assert_eq!(share(2, None, 10_000, 0), 2000);
        assert_eq!(share(1, Some(5), 0, 5), 1000);
    }

    /// nginx's `ngx_http_upstream_get_peer`, written down as that is: over weights as they are.
    fn nginx(weights: &[u32], turns: usize) -> Vec<usize> {
        let mut peers: Vec<(i64, i64)> = weights.iter().map(|weight| (i64::from(*weight), 0)).collect();
        let turn = |_| {
            let total: i64 = peers.iter().map(|(weight, _)| weight).sum();
            peers.iter_mut().for_each(|(weight, current)| *current += *weight);
            let most = peers.iter().map(|(_, current)| *current).max().unwrap();
            let best = peers.iter().position(|(_, current)| *current == most).unwrap();
            peers[best].1 -= total;
            best
        };
        (0..turns).map(turn).collect()
    }

    proptest! {
        #[test]
        fn turns_are_nginx_s_and_each_round_is_exactly_by_weight(weights in prop::collection::vec(1_u32..20, 1..8)) {
            let (all, mut current) = (candidates(&weights), vec![0; weights.len()]);
            let round: usize = weights.iter().sum::<u32>() as usize;
            let sequence: Vec<usize> = (0..3 * round).filter_map(|_| in_turn(&all, &mut current)).collect();
            prop_assert_eq!(&sequence, &nginx(&weights, 3 * round));
            for round in sequence.chunks(round) {
                for (at, weight) in weights.iter().enumerate() {
                    prop_assert_eq!(round.iter().filter(|got| **got == at).count(), *weight as usize);
                }
            }
        }

        #[test]
        fn when_a_server_goes_its_keys_alone_move(
            weights in prop::collection::vec(1_u32..10, 2..12), gone: prop::sample::Index, first: u32,
        ) {
            let all = candidates(&weights);
            let gone = gone.index(all.len());
            let left: Vec<Candidate> = all.iter().copied().filter(|candidate| candidate.at != gone).collect();
            for number in 0..500 {
                let key = key(u64::from(first) << 32 | number);
                let before = by_key(&all, key).unwrap();
                let after = by_key(&left, key).unwrap();
                prop_assert!(before == gone || after == before, "a key of {before} moved to {after}");
                prop_assert_ne!(after, gone);
            }
        }

        #[test]
        fn keys_are_spread_by_weight(weights in prop::collection::vec(1_u32..5, 1..8)) {
            let all = candidates(&weights);
            let mut got = vec![0_f64; weights.len()];
            let keys = 4000;
            for number in 0..keys {
                got[by_key(&all, key(number)).unwrap()] += 1.0;
            }
            let total: u32 = weights.iter().sum();
            for (got, weight) in got.iter().zip(&weights) {
                let share = f64::from(*weight) / f64::from(total);
                // Six standard deviations: the keys are always the same, so that it is so or is not.
                let bound = 6.0 * (keys as f64 * share * (1.0 - share)).sqrt();
                prop_assert!((got - keys as f64 * share).abs() <= bound, "{got} of {keys} for a share of {share}");
            }
        }
    }

    #[test]
    fn about_an_nth_of_the_keys_moves_when_one_of_n_goes_also_of_addresses_in_a_row() {
        let all = candidates(&[1; 10]);
        let left = &all[1..];
        let address = |number: u32| Key::of_ip(std::net::IpAddr::from(number.to_be_bytes()));
        let moved =
            (0..10_000).filter(|n| by_key(&all, address(0x0a00_0000 + n)) != by_key(left, address(0x0a00_0000 + n)));
        let moved = moved.count();
        assert!((850..1150).contains(&moved), "{moved} of 10000");
    }
}
