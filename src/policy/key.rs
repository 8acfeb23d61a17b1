//! What limits and caps count by: a client's address, or anything else hashed to a fixed size.
//!
//! A key has 128 bits whatever it stands for, so that a long one costs no more memory than a short one and none is
//! skipped for its length.

pub mod rule;
mod shared;
mod shown;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

/// One key of a zone or of a keyed cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    // Two words, since a `u128` would be aligned to 16 and pad every entry and permit that holds one.
    high: u64,
    low: u64,
}

impl Key {
    /// The key of a client's address. An IPv6 client is its /64, which is what one customer gets (RFC 6177); an IPv4-mapped
    /// address is the IPv4 one.
    ///
    /// No two networks share a key: an IPv4 key has a `low` that no /64 has.
    #[must_use]
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self { high: 0, low: 1 << 32 | u64::from(ip.to_bits()) },
            IpAddr::V6(ip) => Self { high: (ip.to_bits() >> 64) as u64, low: 0 },
        }
    }

    /// 64 bits of it that have nothing to do with those under another seed, the same on every gateway.
    #[must_use]
    pub fn mixed(self, seed: u64) -> u64 {
        // Stafford's mix 13, the end of SplitMix64: every bit of its input moves half of its output.
        let mix = |word: u64| {
            let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        mix(mix(mix(self.high ^ seed).wrapping_add(self.low)) ^ seed)
    }
}

/// Makes keys of subjects and the like. Seeded at random, so that nobody outside can find two that meet.
///
/// Zones and caps that outlive a reload need the same hasher before and after it: clone it.
#[derive(Clone, Debug, Default)]
pub struct KeyHasher {
    high: RandomState,
    low: RandomState,
}

impl KeyHasher {
    /// The key of any number of bytes: two SipHashes under independent seeds.
    #[must_use]
    pub fn key(&self, bytes: &[u8]) -> Key {
        Key { high: self.high.hash_one(bytes), low: self.low.hash_one(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Key {
        Key::of_ip(text.parse().unwrap())
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        assert_eq!(ip("2001:db8:1:2::1"), ip("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(ip("2001:db8:1:2::1"), ip("2001:db8:1:3::1"));
    }

    #[test]
    fn an_ipv4_client_is_one_address_however_it_is_written() {
        assert_eq!(ip("192.0.2.1"), ip("::ffff:192.0.2.1"));
        assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
    }

    #[test]
    fn no_ipv4_address_meets_an_ipv6_network() {
        for v4 in ["0.0.0.0", "0.0.0.1", "255.255.255.255"] {
            for v6 in ["::", "::1", "0:0:0:1::", "ffff:ffff:ffff:ffff::"] {
                assert_ne!(ip(v4), ip(v6), "{v4} {v6}");
            }
        }
    }

    #[test]
    fn a_long_key_counts_to_its_last_byte() {
        let hasher = KeyHasher::default();
        let (mut a, mut b) = (vec![b'x'; 10_000], vec![b'x'; 10_000]);
        (a[9_999], b[9_999]) = (b'a', b'b');
        assert_ne!(hasher.key(&a), hasher.key(&b));
        assert_ne!(hasher.key(&a), hasher.key(&a[..9_998]));
        assert_eq!(hasher.key(&a), hasher.clone().key(&a));
    }

    #[test]
    fn each_hasher_and_each_half_has_its_own_seed() {
        let (one, other) = (KeyHasher::default(), KeyHasher::default());
        assert_ne!(one.key(b"alice"), other.key(b"alice"));
        assert_ne!(one.key(b"alice").high, one.key(b"alice").low);
    }
}
