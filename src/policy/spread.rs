//! When each of many is told to go: spread over a time, so that they do not all come back at once; and with a jitter, so
//! that two gateways that drain together, or the same clients in the next drain, do not beat in step.

/// The moment of the one at `index` of `count`, in milliseconds from the start. The window has a part of its own for each,
/// and `seed` draws the moment in it; but the first is told at once, since there is nobody to keep apart from.
#[must_use]
pub fn moment(index: usize, count: usize, window_ms: u64, seed: u64) -> u64 {
    if index == 0 || window_ms == 0 {
        return 0;
    }
    // In units of a `count`th of a millisecond: a part is `window_ms` long, and what is drawn is less than a part. So no
    // moment is before one of a lower index, nor behind the window.
    let (index, count, window) = (index as u128, count.max(1) as u128, u128::from(window_ms));
    let drawn = u128::from(draw(seed, index as u64)) % window;
    let at = (index.min(count - 1) * window + drawn) / count;
    // Less than the window, which is one.
    u64::try_from(at).unwrap_or(window_ms)
}

/// A number that is even over all of `u64` and the same for the same two: the output of SplitMix64 (Steele, Lea, Flood,
/// 2014) from the state that they make. Not for secrets.
#[must_use]
pub fn draw(seed: u64, of: u64) -> u64 {
    let state = seed.wrapping_add(of.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs of the authors' own program from the state 1234567.
        let published = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423_u64];
        assert_eq!([0, 1, 2].map(|of| draw(1_234_567, of)), published);
    }

    #[test]
    fn one_alone_goes_at_once_and_so_do_all_where_there_is_no_time() {
        assert_eq!(moment(0, 1, 20_000, 7), 0);
        assert_eq!([0, 1, 99].map(|index| moment(index, 100, 0, 7)), [0, 0, 0]);
    }

    #[test]
    fn two_gateways_with_as_many_sessions_do_not_beat_in_step() {
        let moments = |seed| (1..1000).map(move |index| moment(index, 1000, 20_000, seed));
        let together = moments(1).zip(moments(2)).filter(|(one, other)| one == other).count();
        // A part is 20 ms long: by chance one in twenty meets.
        assert!(together < 100, "{together} of 999 at the same millisecond");
        let parts: Vec<u64> = moments(1).enumerate().map(|(at, moment)| moment - 20 * (at as u64 + 1)).collect();
        let mean = parts.iter().sum::<u64>() as f64 / parts.len() as f64;
        assert!((8.5..10.5).contains(&mean), "in the middle of their parts on average: {mean}");
    }

    proptest! {
        #[test]
        fn each_has_a_part_of_the_window_and_none_is_before_its_forerunner(
            count in 1..200_usize, window in 0..100_000_u64, seed: u64,
        ) {
            let moments: Vec<u64> = (0..count).map(|index| moment(index, count, window, seed)).collect();
            prop_assert!(moments.is_sorted());
            for (index, at) in moments.iter().enumerate().skip(1) {
                let part = |index: usize| index as f64 * window as f64 / count as f64;
                prop_assert!(*at as f64 >= part(index).floor() && (*at as f64) <= part(index + 1), "{index}: {at}");
            }
        }

        #[test]
        fn no_number_is_too_large(index: usize, count: usize, window: u64, seed: u64) {
            prop_assert!(moment(index, count, window, seed) <= window);
        }
    }
}
