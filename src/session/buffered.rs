//! Bytes that wait in memory: kept by one direction of a session, and counted over all of them for as long as they are.
//!
//! The count is touched when something begins to be kept or is let go, never while the receiver takes all.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pump::READ;

/// Bytes of one read while memory is scarce: what a receiver does not take is then a sixteenth of what it may be else.
const SCARCE_READ: usize = 4 * 1024;

/// What all sessions together keep, and the most that it may be.
#[derive(Debug)]
pub struct Buffered {
    bytes: AtomicU64,
    limit: u64,
}

impl Buffered {
    /// Nothing yet, and no more than `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), limit })
    }

    /// Bytes that are kept now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // Relaxed, here and below: the count guards no other memory.
        self.bytes.load(Ordering::Relaxed)
    }

    /// The most that may be kept.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// How much may be read at once, all of which may have to be kept: little while more than half of the limit is taken,
    /// so that many more sessions can meet a slow receiver before one has to end for it.
    #[must_use]
    #[inline]
    pub fn read_size(&self) -> usize {
        if self.bytes() > self.limit / 2 { SCARCE_READ } else { READ }
    }

    /// Counts so many bytes more, if they fit.
    fn take(&self, more: u64) -> bool {
        let sum = |bytes: u64| bytes.checked_add(more).filter(|sum| *sum <= self.limit);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
    }

    /// Counts what was `before` bytes and is now `after`, whether or not that fits.
    fn change(&self, before: usize, after: usize) {
        match after.cmp(&before) {
            std::cmp::Ordering::Greater => self.bytes.fetch_add((after - before) as u64, Ordering::Relaxed),
            std::cmp::Ordering::Less => self.bytes.fetch_sub((before - after) as u64, Ordering::Relaxed),
            std::cmp::Ordering::Equal => return,
        };
    }
}

/// What one direction keeps. Counted by the memory that it takes; given back by `Drop` too.
#[derive(Debug)]
pub struct Kept {
    bytes: Vec<u8>,
    total: Arc<Buffered>,
}

impl Kept {
    /// Keeps a copy of `first`, which came with the handshake.
    #[must_use]
    pub fn new(first: &[u8], total: Arc<Buffered>) -> Self {
        let mut kept = Self { bytes: Vec::new(), total };
        kept.push(first);
        kept
    }

    /// Makes room for so many bytes more, all at once: a buffer that grows would take up to twice as much. False: all
    /// sessions together keep so much that these do not fit.
    #[must_use]
    pub fn make_room(&mut self, more: usize) -> bool {
        let fits = self.book(more);
        if fits {
            self.reserve_booked(more, more);
        }
        fits
    }

    /// Counts so many bytes more for a read that may find less, if they fit. [`Kept::push_booked`] is to follow.
    #[must_use]
    pub fn book(&self, more: usize) -> bool {
        self.total.take(more as u64)
    }

    /// Keeps what that read found, and counts no more than it.
    pub fn push_booked(&mut self, bytes: &[u8], booked: usize) {
        self.reserve_booked(bytes.len(), booked);
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes memory for so many bytes more; `booked` are counted already.
    fn reserve_booked(&mut self, more: usize, booked: usize) {
        let counted = self.bytes.capacity() + booked;
        self.bytes.reserve_exact(more);
        self.total.change(counted, self.bytes.capacity());
    }

    /// Keeps these too. Without [`Kept::make_room`] before it, only what is small or soon gone.
    pub fn push(&mut self, bytes: &[u8]) {
        self.counted(|kept| kept.extend_from_slice(bytes));
    }

    /// Keeps this frame in front of the rest.
    pub fn put_front(&mut self, mut frame: Vec<u8>) {
        self.counted(|kept| {
            frame.reserve_exact(kept.len());
            frame.extend_from_slice(kept);
            *kept = frame;
        });
    }

    /// Lets the first so many go; all of the memory, if nothing is left.
    pub fn let_go(&mut self, first: usize) {
        self.counted(|kept| {
            kept.drain(..first);
            if kept.is_empty() {
                *kept = Vec::new();
            }
        });
    }

    /// Lets all go but the first so many.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Lets all go.
    pub fn clear(&mut self) {
        self.counted(|kept| *kept = Vec::new());
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    fn counted(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.capacity();
        change(&mut self.bytes);
        self.total.change(before, self.bytes.capacity());
    }
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_by_its_memory_until_it_is_let_go() {
        let total = Buffered::new(1000);
        let mut kept = Kept::new(b"first", total.clone());
        assert_eq!(total.bytes(), kept.capacity() as u64);
        assert!(kept.make_room(500));
        assert_eq!(total.bytes(), kept.capacity() as u64);
        kept.push(&[7; 500]);
        kept.put_front(vec![1, 2, 3]);
        assert_eq!((total.bytes(), kept.len(), &kept[..8]), (508, 508, &b"\x01\x02\x03first"[..]));
        kept.let_go(8);
        assert_eq!((total.bytes(), &kept[..]), (508, &[7; 500][..]), "memory that is not given back still counts");
        kept.let_go(500);
        assert_eq!((total.bytes(), kept.capacity()), (0, 0));
        let other = Kept::new(b"other", total.clone());
        kept.push(b"more");
        assert_eq!(total.bytes(), (kept.capacity() + other.capacity()) as u64);
        drop((kept, other));
        assert_eq!(total.bytes(), 0);
    }

    #[test]
    fn what_does_not_fit_is_not_counted_and_takes_no_memory() {
        let total = Buffered::new(100);
        let (mut one, mut other) = (Kept::new(b"", total.clone()), Kept::new(b"", total.clone()));
        assert!(one.make_room(60));
        assert!(!other.make_room(41));
        assert_eq!((total.bytes(), other.capacity()), (60, 0));
        assert!(other.make_room(40));
        assert_eq!((total.bytes(), total.limit()), (100, 100));
        other.push(b"one more, whether or not it fits: it is small and soon gone");
        assert_eq!(total.bytes(), 60 + other.capacity() as u64);
        drop(one);
        assert_eq!(total.bytes(), other.capacity() as u64);
    }

    #[test]
    fn a_read_is_counted_before_it_is_kept_and_by_what_it_found_after_it() {
        let total = Buffered::new(100);
        let mut kept = Kept::new(b"", total.clone());
        assert!(kept.book(80));
        assert_eq!(total.bytes(), 80);
        assert!(!kept.book(21), "no more than the limit");
        kept.push_booked(b"found", 80);
        assert_eq!((total.bytes(), &kept[..], kept.capacity()), (5, &b"found"[..], 5));
        assert!(kept.book(95));
        kept.push_booked(b"", 95);
        assert_eq!((total.bytes(), kept.capacity()), (5, 5), "a read that found nothing");
    }

    #[test]
    fn reads_are_small_while_more_than_half_is_taken() {
        let total = Buffered::new(100);
        let (mut kept, mut more) = (Kept::new(b"", total.clone()), Kept::new(b"", total.clone()));
        assert!(kept.make_room(50));
        assert_eq!(total.read_size(), READ);
        assert!(more.make_room(1));
        assert_eq!(total.read_size(), SCARCE_READ);
        drop((kept, more));
        assert_eq!(total.read_size(), READ);
    }
}
