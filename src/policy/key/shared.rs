//! Keys that several gateways have to agree on: the same text gives the same key on each of them, and it goes over the wire.
//!
//! The hash has no secret in it, so whoever knows a subject can tell its key; two texts of one key would take 2^64 tries.

use aws_lc_rs::digest::{SHA256, digest};

use super::Key;

impl Key {
    /// The key of any number of bytes, the same in every process: the first half of their SHA-256.
    #[must_use]
    pub fn shared(bytes: &[u8]) -> Self {
        let digest = digest(&SHA256, bytes);
        let mut halves = digest
            .as_ref()
            .chunks_exact(8)
            .map(|chunk| chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        Self { high: halves.next().unwrap_or_default(), low: halves.next().unwrap_or_default() }
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        format!("{:016x}{:016x}", self.high, self.low)
    }

    /// What [`Key::to_hex`] printed.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let (high, low) = text.split_at_checked(16).filter(|_| text.len() == 32)?;
        let word = |half: &str| half.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u64::from_str_radix(half, 16).ok());
        Some(Self { high: word(high)??, low: word(low)?? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_key_is_half_a_sha_256_on_every_machine() {
        // FIPS 180-4's example: "abc".
        assert_eq!(Key::shared(b"abc").to_hex(), "ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(Key::shared(b"abc"), Key::shared(b"abd"));
    }

    #[test]
    fn a_key_is_read_as_it_was_printed_and_nothing_else_is() {
        for key in [Key::shared(b"a"), Key::of_ip([192, 0, 2, 1].into()), Key { high: 0, low: u64::MAX }] {
            assert_eq!(Key::from_hex(&key.to_hex()), Some(key));
        }
        for text in [
            "",
            "0",
            &"0".repeat(31),
            &"0".repeat(33),
            &"g".repeat(32),
            &format!("+{}", "0".repeat(31)),
            &"ä".repeat(16),
        ] {
            assert_eq!(Key::from_hex(text), None, "{text}");
        }
    }
}
