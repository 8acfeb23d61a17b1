//! Plain values that only make sense in a range: each function reads one and says its range when it is left.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::Size;

/// Reads a count of at least 1.
pub fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(D::Error::custom("0 is too few\nat least 1")),
        count => Ok(count),
    }
}

/// Reads a count of at least 1 that may be absent.
pub fn positive_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    positive(deserializer).map(Some)
}

/// Reads how many frames a message may have: 1, so none is cut into pieces, to 2^24.
pub fn fragments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        count @ 1..=0x100_0000 => Ok(count),
        count => Err(D::Error::custom(format!("{count} is no number of frames\nfrom 1 to 16777216"))),
    }
}

/// Reads a share: above 0, at most 1.
pub fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    // Written so that NaN, which TOML has, is refused too.
    if !(share > 0.0 && share <= 1.0) {
        return Err(D::Error::custom(format!("`{share}` is no share\nabove 0 and at most 1, as 0.9")));
    }
    Ok(share)
}

/// Reads a share that may be nothing: from 0 to 1.
pub fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let ratio = f64::deserialize(deserializer)?;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(D::Error::custom(format!("`{ratio}` is no share\nfrom 0 to 1, as 0.1")));
    }
    Ok(ratio)
}

/// Reads the largest head of a request: 8k, which browsers with cookies need, to 64k.
pub fn header_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
    let size = Size::deserialize(deserializer)?;
    if !(Size(8 << 10)..=Size(64 << 10)).contains(&size) {
        return Err(D::Error::custom(format!("{} bytes are no limit for a head\nfrom \"8k\" to \"64k\"", size.0)));
    }
    Ok(size)
}

/// Reads what all sessions together may keep: at least one read of 64 KiB each way.
pub fn buffer_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
    let size = Size::deserialize(deserializer)?;
    if size < Size(128 << 10) {
        return Err(D::Error::custom(format!("{} bytes are too few for one session\nat least \"128k\"", size.0)));
    }
    Ok(size)
}

/// Reads the status of a refusal for a limit's sake, in the range of nginx's `limit_req_status`.
pub fn refusal_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let status = u16::deserialize(deserializer)?;
    if !(400..=599).contains(&status) {
        return Err(D::Error::custom(format!("{status} is no status of a refusal\nfrom 400 to 599")));
    }
    Ok(status)
}

/// Reads the status of a refusal for the token's sake.
pub fn token_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    match u16::deserialize(deserializer)? {
        status @ (401 | 403) => Ok(status),
        status => Err(D::Error::custom(format!("{status} is no status of a refused token\n401 or 403"))),
    }
}

/// Reads the text of a notice: 1 to 4096 bytes, a frame that no client has to put together.
pub fn notice_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.len() {
        1..=4096 => Ok(text),
        length => Err(D::Error::custom(format!("a text of {length} bytes\nfrom 1 to 4096 bytes"))),
    }
}
