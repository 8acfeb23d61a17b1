//! The message that all clients send, made once, and what must come back.
//!
//! Its first bytes differ for each client and turn, so that an echo that went to the wrong client is seen.

use crate::wire;

const MASK: [u8; 4] = [0x5A, 0xC3, 0x17, 0xE8];

/// The bytes of one size, masked and not.
pub(crate) struct Message {
    header: Vec<u8>,
    echoed_header: Vec<u8>,
    masked: Vec<u8>,
    payload: Vec<u8>,
}

/// The bytes that differ: the client's number and its turn.
pub(crate) const STAMP: usize = 8;

impl Message {
    /// A binary message of `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        // Not periodic in any power of two, so that shifted or swapped blocks differ.
        let payload: Vec<u8> = (0..size as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29) as u8).collect();
        let mut masked = payload.clone();
        wire::apply_mask(&mut masked, MASK, 0);
        Self {
            header: wire::binary_header(size, Some(MASK)),
            echoed_header: wire::binary_header(size, None),
            masked,
            payload,
        }
    }

    fn stamped(&self) -> usize {
        STAMP.min(self.payload.len())
    }

    /// Header and stamp of what is sent into `sent`, of what must come back into `expected`.
    pub(crate) fn heads(&self, stamp: [u8; STAMP], sent: &mut Vec<u8>, expected: &mut Vec<u8>) {
        let stamp = &stamp[..self.stamped()];
        expected.clear();
        expected.extend_from_slice(&self.echoed_header);
        expected.extend_from_slice(stamp);
        sent.clear();
        sent.extend_from_slice(&self.header);
        sent.extend_from_slice(stamp);
        wire::apply_mask(&mut sent[self.header.len()..], MASK, 0);
    }

    /// What is sent behind the head.
    pub(crate) fn sent_body(&self) -> &[u8] {
        &self.masked[self.stamped()..]
    }

    /// What comes back behind the head.
    pub(crate) fn expected_body(&self) -> &[u8] {
        &self.payload[self.stamped()..]
    }
}
