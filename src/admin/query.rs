//! What the lists' queries have in common.

/// Entries of a list whose query names no limit.
pub(super) const DEFAULT_LIMIT: usize = 1000;

const MAX_LIMIT: usize = 100_000;

/// Reads `limit`.
///
/// # Errors
/// It is no number in its range.
pub(super) fn limit(value: &str) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or(format!("limit is a whole number from 1 to {MAX_LIMIT}"))
}
