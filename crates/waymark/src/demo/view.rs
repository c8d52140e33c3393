//! The demo on a terminal: one frame drawn over the last. Elsewhere: a line for each thing that happens.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use console::{Feed, Line};

/// How often a terminal is drawn, and how often figures are printed elsewhere.
const DRAWN: Duration = Duration::from_millis(400);
const PRINTED: Duration = Duration::from_secs(5);

/// Where the feed is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Frames on stdout.
    Terminal,
    /// Lines on stdout.
    Stdout,
    /// Lines on stderr, where stdout is for one object.
    Stderr,
}

/// Draws or prints the feed.
pub struct View {
    place: Place,
    begun: Instant,
    shown_at: Option<Instant>,
    events: u64,
    rate: u64,
    seen: u64,
    height: usize,
    first: Option<Duration>,
}

impl View {
    /// A view that has shown nothing yet; `begun` is when the demo started.
    pub fn new(place: Place, begun: Instant) -> Self {
        Self {
            place,
            begun,
            shown_at: None,
            events: 0,
            rate: 0,
            seen: 0,
            height: 0,
            first: None,
        }
    }

    /// Whether frames are drawn.
    pub fn is_terminal(&self) -> bool {
        self.place == Place::Terminal
    }

    /// How long after the start the first intervention was seen.
    pub fn first_intervention(&self) -> Option<Duration> {
        self.first
    }

    /// Shows what is new, as often as an eye can follow.
    pub fn show(&mut self, feed: &Feed, title: &str, sent: usize, of: usize) {
        if self.first.is_none() && !feed.interventions().is_empty() {
            self.first = Some(self.begun.elapsed());
        }
        let now = Instant::now();
        let since = self.shown_at.map(|at| now.duration_since(at));
        let terminal = self.is_terminal();
        let due = since.is_none_or(|since| since >= if terminal { DRAWN } else { PRINTED });
        if due {
            let millis = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            let grown = feed.total_events().saturating_sub(self.events);
            self.rate = (grown * 1000).checked_div(millis).unwrap_or(0);
            self.events = feed.total_events();
            self.shown_at = Some(now);
        }
        let text = if terminal {
            self.draw(feed, title, due, sent, of)
        } else {
            self.print(feed, due, sent, of)
        };
        // A closed pipe ends the view and not the demo.
        let _ = match self.place {
            Place::Stderr => std::io::stderr().write_all(text.as_bytes()),
            _ => std::io::stdout()
                .write_all(text.as_bytes())
                .and_then(|()| std::io::stdout().flush()),
        };
    }

    fn draw(&mut self, feed: &Feed, title: &str, due: bool, sent: usize, of: usize) -> String {
        if !due {
            return String::new();
        }
        let size = terminal_size::terminal_size();
        let (width, height) = size.map_or((100, 30), |(width, height)| (width.0.into(), height.0.into()));
        let lines = frame(feed, title, self.rate, sent, of, width, height);
        let up = match self.height {
            0 => String::new(),
            height => format!("\x1b[{height}A"),
        };
        self.height = lines.len();
        let body: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        format!("{up}\r{body}\x1b[J")
    }

    fn print(&mut self, feed: &Feed, due: bool, sent: usize, of: usize) -> String {
        let mut text: String = feed.lines_after(self.seen).map(|line| told(line) + "\n").collect();
        self.seen = feed.newest();
        if due {
            text.push_str(&figures(feed, self.rate, sent, of).join(" · "));
            text.push('\n');
        }
        text
    }
}

fn told(line: &Line) -> String {
    let what = match (line.what, &line.reason) {
        ("intervention", _) => format!("→ {}", line.channel),
        (what, Some(reason)) => format!("{what}: {reason}"),
        (what, None) => what.to_owned(),
    };
    let time = codec::time(line.time);
    let time = time.get(11..19).unwrap_or_default();
    format!(
        "{time}  {what:<20} {:<20} {}  {}",
        line.pattern, line.because, line.customer
    )
}

fn counted<K: AsRef<str>>(name: &str, counts: impl Iterator<Item = (K, u64)>) -> String {
    let mut counts: Vec<(K, u64)> = counts.collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let sum: u64 = counts.iter().map(|(_, count)| count).sum();
    let parts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{} {count}", name.as_ref()))
        .collect();
    if parts.is_empty() {
        format!("{name} {sum}")
    } else {
        format!("{name} {sum} ({})", parts.join(", "))
    }
}

fn figures(feed: &Feed, rate: u64, sent: usize, of: usize) -> Vec<String> {
    let of_map = |map: &std::collections::BTreeMap<String, u64>| map.clone().into_iter();
    let clock = codec::time(feed.clock());
    let clock = if feed.total_events() == 0 {
        "–"
    } else {
        clock.get(..19).unwrap_or_default()
    };
    vec![
        format!(
            "{clock} · {rate} events/s · {} events · {} % of the customers' day",
            feed.total_events(),
            (100 * sent).checked_div(of).unwrap_or(100)
        ),
        format!("journeys at risk {}", feed.at_risk()),
        counted("interventions", of_map(feed.interventions())),
        counted("withheld", of_map(feed.withheld())),
        counted("texts", feed.labels().iter().map(|(label, count)| (*label, *count))),
    ]
}

/// The lines of one frame, none wider than the terminal, at most one less than it is high.
fn frame(feed: &Feed, title: &str, rate: u64, sent: usize, of: usize, width: usize, height: usize) -> Vec<String> {
    let mut lines = vec![title.to_owned(), String::new()];
    lines.extend(figures(feed, rate, sent, of));
    lines.push(String::new());
    let room = height.saturating_sub(lines.len() + 1).max(3);
    let newest: Vec<&Line> = feed.lines_after(0).collect();
    let from = newest.len().saturating_sub(room);
    lines.extend(newest[from..].iter().map(|line| told(line)));
    lines
        .into_iter()
        .map(|line| line.chars().take(width.max(20)).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::{Intervention, Millis};

    #[test]
    fn a_frame_fits_its_terminal() {
        let mut feed = Feed::default();
        feed.event(Millis(1_767_603_600_000));
        for number in 0..50 {
            feed.intervention(&Intervention {
                pattern: format!("pattern-{number}"),
                because: [("en".to_owned(), "x".repeat(300))].into(),
                ..Intervention::default()
            });
        }
        let lines = frame(&feed, "title", 5, 1, 2, 60, 24);
        assert!(lines.len() < 24);
        assert!(lines.iter().all(|line| line.chars().count() <= 60));
        assert!(
            lines.last().is_some_and(|line| line.contains("pattern-49")),
            "the newest is last"
        );
        assert!(lines[2].starts_with("2026-01-05T09:00:00 · 5 events/s · 1 events · 50 %"));
        assert!(lines[4].starts_with("interventions 50 ("));
    }
}
