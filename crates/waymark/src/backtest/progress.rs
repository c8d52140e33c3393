//! A progress bar on stderr, where that is a terminal.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// One bar.
pub struct Progress {
    what: &'static str,
    total: u64,
    begun: Instant,
    shown: Instant,
    is_on: bool,
    is_drawn: bool,
}

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(100);

impl Progress {
    /// A bar that is full at `total`; drawn once it has taken a moment.
    #[must_use]
    pub fn new(what: &'static str, total: u64) -> Self {
        let now = Instant::now();
        Self {
            what,
            total,
            begun: now,
            shown: now,
            is_on: std::io::stderr().is_terminal(),
            is_drawn: false,
        }
    }

    /// Says how far it is.
    pub fn at(&mut self, done: u64) {
        if !self.is_on || self.shown.elapsed() < EVERY {
            return;
        }
        self.shown = Instant::now();
        self.is_drawn = true;
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        eprint!(
            "\r{}",
            line(self.what, done, self.total, self.begun.elapsed().as_secs(), width)
        );
        let _ = std::io::stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_drawn {
            eprint!("\r\x1b[K");
        }
    }
}

/// The bar as a line of at most `width` characters.
fn line(what: &str, done: u64, total: u64, seconds: u64, width: usize) -> String {
    let done = done.min(total);
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let left = (seconds * (total - done)).checked_div(done);
    let left = left.map_or_else(String::new, |left| format!(" {left} s left"));
    let (head, tail) = (format!("{what} ["), format!("] {percent:3} %{left}"));
    let room = width
        .saturating_sub(head.chars().count() + tail.chars().count() + 1)
        .min(50);
    let full = usize::try_from(room as u64 * percent / 100).unwrap_or(room);
    let line = format!("{head}{}{}{tail}", "=".repeat(full), " ".repeat(room - full));
    format!("{line:<0$}", width.saturating_sub(1))
        .chars()
        .take(width)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_bar_fits_its_width_and_is_full_at_the_end() {
        assert_eq!(
            line("reading", 50, 100, 4, 50).trim_end(),
            "reading [============            ]  50 % 4 s left"
        );
        assert!(line("reading", 7, 0, 0, 30).contains("100 %"), "an empty file is done");
        assert!(
            line("reading", 0, 10, 3, 60).contains("]   0 %"),
            "no division by nothing"
        );
        assert_eq!(line("reading", 1, 2, 1, 5).chars().count(), 5);
    }
}
