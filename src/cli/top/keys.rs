//! What is typed, key by key. A terminal sends the arrows as several bytes, of which the first is that of Escape.

use std::io::{self, Read};
use std::thread;

use tokio::sync::mpsc;

/// Reads that may wait.
const WAITING: usize = 64;

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Arrows, and what has their place.
    Up,
    /// Likewise.
    Down,
    /// A screen at once.
    PageUp,
    /// Likewise.
    PageDown,
    /// To the first.
    Home,
    /// To the last.
    End,
    /// Return.
    Enter,
    /// By itself.
    Tab,
    /// By itself.
    Escape,
    /// Also as Delete.
    Backspace,
    /// Ctrl-C, which is no signal in a raw terminal; Ctrl-D.
    Interrupt,
    /// Any other.
    Char(char),
}

/// The keys as they come.
pub(super) struct Keys {
    reads: mpsc::Receiver<Vec<u8>>,
    waiting: std::collections::VecDeque<Key>,
}

impl Keys {
    /// From standard input. The thread is not waited for at the end, since nothing interrupts its read.
    pub(super) fn read() -> Self {
        let (sender, reads) = mpsc::channel(WAITING);
        thread::spawn(move || {
            let mut buffer = [0; 256];
            let mut input = io::stdin().lock();
            while let Ok(count @ 1..) = input.read(&mut buffer) {
                if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { reads, waiting: Default::default() }
    }

    /// None once there are no more.
    pub(super) async fn next(&mut self) -> Option<Key> {
        loop {
            if let Some(key) = self.waiting.pop_front() {
                return Some(key);
            }
            self.waiting.extend(parse(&self.reads.recv().await?));
        }
    }
}

/// The keys of one read: a terminal writes what belongs to one key at once.
fn parse(bytes: &[u8]) -> Vec<Key> {
    const SEQUENCES: [(&str, Key); 14] = [
        ("\u{1b}[A", Key::Up),
        ("\u{1b}OA", Key::Up),
        ("\u{1b}[B", Key::Down),
        ("\u{1b}OB", Key::Down),
        ("\u{1b}[5~", Key::PageUp),
        ("\u{1b}[6~", Key::PageDown),
        ("\u{1b}[H", Key::Home),
        ("\u{1b}OH", Key::Home),
        ("\u{1b}[1~", Key::Home),
        ("\u{1b}[F", Key::End),
        ("\u{1b}OF", Key::End),
        ("\u{1b}[4~", Key::End),
        ("\u{1b}[3~", Key::Backspace),
        ("\r", Key::Enter),
    ];
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &*text;
    let mut keys = Vec::new();
    while let Some(first) = rest.chars().next() {
        if let Some((sequence, key)) = SEQUENCES.iter().find(|(sequence, _)| rest.starts_with(sequence)) {
            keys.push(*key);
            rest = &rest[sequence.len()..];
            continue;
        }
        rest = &rest[first.len_utf8()..];
        match first {
            '\u{1b}' if rest.starts_with(['[', 'O']) => {
                // A sequence that is not known: up to its last byte, which is a letter or a tilde.
                let end = rest[1..].find(|c: char| c.is_ascii_alphabetic() || c == '~').map_or(rest.len(), |at| at + 2);
                rest = &rest[end.min(rest.len())..];
            }
            '\u{1b}' => keys.push(Key::Escape),
            '\u{3}' | '\u{4}' => keys.push(Key::Interrupt),
            '\u{7f}' | '\u{8}' => keys.push(Key::Backspace),
            '\n' => keys.push(Key::Enter),
            '\t' => keys.push(Key::Tab),
            c if c.is_control() => {}
            c => keys.push(Key::Char(c)),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_the_bytes_of_a_terminal() {
        assert_eq!(parse(b"\x1b[A\x1bOBj\t"), [Key::Up, Key::Down, Key::Char('j'), Key::Tab]);
        assert_eq!(
            parse(b"\x1b[6~\x1b[F\r\x7f\x03"),
            [Key::PageDown, Key::End, Key::Enter, Key::Backspace, Key::Interrupt]
        );
        assert_eq!(parse(b"\x1b"), [Key::Escape]);
        assert_eq!(parse("ü".as_bytes()), [Key::Char('ü')]);
        // What is not known is no letter either.
        assert_eq!(parse(b"\x1b[1;5Aq\x1b[200~\x01"), [Key::Char('q')]);
        for start in ["\u{1b}[", "\u{1b}O", "\u{1b}[1;"] {
            assert_eq!(parse(start.as_bytes()), [], "{start:?}");
        }
    }
}
