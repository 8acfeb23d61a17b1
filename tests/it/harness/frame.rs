//! A frame, written and read without any of the gateway's own code.

/// Of the client's frames in these tests.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One frame; `first` holds FIN, RSV and opcode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(first: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { first, payload: payload.into() }
    }

    pub fn text(text: &str) -> Self {
        Self::new(0x81, text)
    }

    pub fn binary(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(0x82, payload)
    }

    pub fn ping(payload: &str) -> Self {
        Self::new(0x89, payload)
    }

    pub fn pong(payload: &str) -> Self {
        Self::new(0x8a, payload)
    }

    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(0x88, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// The code and the reason of a Close.
    pub fn as_close(&self) -> (u16, &str) {
        assert_eq!(self.first, 0x88, "not a Close: {self:?}");
        let (code, reason) = self.payload.split_first_chunk().expect("a code");
        (u16::from_be_bytes(*code), std::str::from_utf8(reason).unwrap())
    }

    /// As it goes over the wire.
    pub fn bytes(&self, masked: bool) -> Vec<u8> {
        let mut bytes = self.header(self.payload.len() as u64, masked);
        if masked {
            bytes.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            bytes.extend_from_slice(&self.payload);
        }
        bytes
    }

    /// The header alone, of a payload of this length.
    pub fn header(&self, length: u64, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match length {
            0..=125 => bytes.push(mask | length as u8),
            126..=0xffff => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        if masked {
            bytes.extend(MASK);
        }
        bytes
    }

    /// The frame at the front of `bytes` and its length there, if it is whole. Whether it is masked is asserted.
    pub fn read(bytes: &[u8], masked: bool) -> Option<(Self, usize)> {
        let &[first, second, ..] = bytes else { return None };
        assert_eq!(second & 0x80 != 0, masked, "the mask bit");
        let (mut at, length) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
            short => (2, usize::from(short)),
        };
        let mut mask = [0; 4];
        if masked {
            mask = *bytes.get(at..)?.first_chunk()?;
            at += 4;
        }
        let payload = bytes.get(at..at.checked_add(length)?)?;
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        Some((Self { first, payload }, at + length))
    }
}
