//! The terminal: taken when it is opened, given back when it drops, whatever ends the command, a panic too.

use std::io::{self, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::draw::{Line, Size, Style};

/// The other screen, so that what was there comes back; no cursor; no line goes on in the next one.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Around a frame, so that a terminal that knows of it shows a frame when it is whole; others do nothing.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[?2026l";

/// An open terminal.
pub(super) struct Screen {
    before: Termios,
    /// `NO_COLOR` is not set: <https://no-color.org>.
    colors: bool,
}

impl Screen {
    /// Takes the terminal: keys come at once, and are not shown.
    pub(super) fn open() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let screen = Self { before, colors: std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) };
        // A panic says what it has to say before anything drops: it is to be seen.
        let (before, usual) = (screen.before.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            restore(&before);
            usual(panic);
        }));
        write(ENTER)?;
        Ok(screen)
    }

    /// As it is now; 80 by 24 where it does not say.
    pub(super) fn size(&self) -> Size {
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(Size { columns: 80, rows: 24 }, |size| Size {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
        })
    }

    /// Draws a frame in one write, so that it does not flicker.
    pub(super) fn show(&self, lines: &[Line]) -> io::Result<()> {
        let mut frame = String::from(BEGIN);
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                frame += "\r\n";
            }
            // Nothing of the frame before stays, in this line or below the last one. What is cleared after a line that fills
            // the width would be its last character.
            frame += if at + 1 == lines.len() { "\x1b[J" } else { "\x1b[K" };
            let begin = self.code(line.style);
            frame += &format!("{begin}{}\x1b[0m", line.text);
        }
        frame += END;
        write(&frame)
    }

    fn code(&self, style: Style) -> &'static str {
        match style {
            Style::Plain => "",
            Style::Title => "\x1b[1m",
            Style::Chosen => "\x1b[7m",
            Style::Dim if self.colors => "\x1b[2m",
            Style::Warned if self.colors => "\x1b[33m",
            Style::Bad if self.colors => "\x1b[31m",
            Style::Dim | Style::Warned | Style::Bad => "",
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The hook did it already, and twice would write over what the panic said.
        if !std::thread::panicking() {
            restore(&self.before);
        }
    }
}

fn restore(before: &Termios) {
    // Where the terminal is gone, there is nobody to tell.
    let _ = write(LEAVE);
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
