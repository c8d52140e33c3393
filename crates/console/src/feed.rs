//! What the console shows, gathered from Waymark's own output topics. Pure: records in, a snapshot out.

use std::collections::{BTreeMap, VecDeque};

use event::{Intervention, Label, Millis, Sentiment, Signal};
use serde_json::{Value, json};

/// How many lines the feed keeps.
pub const LINES: usize = 200;

/// For how long a signal puts a journey at risk, in milliseconds.
const AT_RISK: i64 = 24 * 3_600_000;

/// One line of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Rises by one per line; a reader who has `n` wants those above.
    pub id: u64,
    /// The journey's clock.
    pub time: Millis,
    /// `intervention`, `cancelled` or `withheld`.
    pub what: &'static str,
    /// The pattern.
    pub pattern: String,
    /// The channel asked, where one is.
    pub channel: String,
    /// The reason sentence in the first language.
    pub because: String,
    /// Why it was withheld or cancelled.
    pub reason: Option<String>,
    /// The beginning of the customer's pseudonym.
    pub customer: String,
}

/// Totals and the newest lines.
#[derive(Debug, Default)]
pub struct Feed {
    lines: VecDeque<Line>,
    next_id: u64,
    events: u64,
    clock: Millis,
    interventions: BTreeMap<String, u64>,
    withheld: BTreeMap<String, u64>,
    sentiment: BTreeMap<&'static str, u64>,
    /// Texts by language that a model read which calls itself experimental.
    experimental: BTreeMap<String, u64>,
    signals: BTreeMap<String, u64>,
    at_risk: BTreeMap<String, Millis>,
    /// Those at risk are looked through when there are more than this.
    look_at: usize,
}

impl Feed {
    /// Counts an event of the timeline.
    pub fn event(&mut self, time: Millis) {
        self.events += 1;
        self.clock = self.clock.max(time);
    }

    /// Takes a matched pattern.
    pub fn signal(&mut self, signal: &Signal) {
        *self.signals.entry(signal.pattern.clone()).or_default() += 1;
        self.clock = self.clock.max(signal.matched_at);
        self.at_risk.insert(signal.customer.clone(), signal.matched_at);
        if self.at_risk.len() > self.look_at {
            let since = self.clock.plus(-AT_RISK);
            self.at_risk.retain(|_, matched| *matched >= since);
            self.look_at = 2 * self.at_risk.len().max(1024);
        }
    }

    /// Takes a scored text.
    pub fn sentiment(&mut self, sentiment: &Sentiment) {
        if sentiment.score.lang_source == event::LangSource::Journey {
            // Read again; its first reading has been counted.
            return;
        }
        *self.sentiment.entry(sentiment.score.label.as_str()).or_default() += 1;
        if let Some(lang) = &sentiment.score.lang
            && sentiment.score.model_version.contains("-experimental")
        {
            *self.experimental.entry(lang.clone()).or_default() += 1;
        }
    }

    /// Takes an intervention, a cancellation, or one decided against.
    pub fn intervention(&mut self, intervention: &Intervention) {
        let cancelled = intervention.action == event::Action::Cancel;
        let reason = match (&intervention.withheld, &intervention.cancel_cause) {
            (Some(withheld), _) => {
                *self.withheld.entry(withheld.reason.to_string()).or_default() += 1;
                Some(withheld.reason.to_string())
            }
            (None, Some(cause)) => Some(cause.reason.clone()),
            (None, None) => None,
        };
        let what = match (cancelled, intervention.withheld.is_some()) {
            (true, _) => "cancelled",
            (_, true) => "withheld",
            _ => {
                *self.interventions.entry(intervention.channel.to_string()).or_default() += 1;
                "intervention"
            }
        };
        if cancelled {
            self.at_risk.remove(&intervention.customer);
        }
        let english = intervention
            .because
            .get("en")
            .or_else(|| intervention.because.values().next());
        self.next_id += 1;
        self.lines.push_back(Line {
            id: self.next_id,
            time: intervention.created_at,
            what,
            pattern: intervention.pattern.clone(),
            channel: intervention.channel.to_string(),
            because: english.cloned().unwrap_or_default(),
            reason,
            customer: intervention.customer.chars().take(10).collect(),
        });
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }

    /// The lines above `seen`, oldest first.
    pub fn lines_after(&self, seen: u64) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.id > seen)
    }

    /// The id of the newest line.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.next_id
    }

    /// Records of the timeline so far.
    #[must_use]
    pub fn total_events(&self) -> u64 {
        self.events
    }

    /// Customers with a signal in the last 24 hours whose intervention was not cancelled by a goal reached.
    #[must_use]
    pub fn at_risk(&self) -> usize {
        let since = self.clock.plus(-AT_RISK);
        self.at_risk.values().filter(|matched| **matched >= since).count()
    }

    /// Signals by pattern.
    #[must_use]
    pub fn signals(&self) -> &BTreeMap<String, u64> {
        &self.signals
    }

    /// Interventions by channel.
    #[must_use]
    pub fn interventions(&self) -> &BTreeMap<String, u64> {
        &self.interventions
    }

    /// Interventions withheld, by reason.
    #[must_use]
    pub fn withheld(&self) -> &BTreeMap<String, u64> {
        &self.withheld
    }

    /// Scored texts by label.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<&'static str, u64> {
        &self.sentiment
    }

    /// The newest time in any record.
    #[must_use]
    pub fn clock(&self) -> Millis {
        self.clock
    }

    /// Totals and the lines above `seen`, as the page reads them.
    #[must_use]
    pub fn json(&self, seen: u64, events_per_second: u64) -> Value {
        let lines: Vec<Value> = self
            .lines_after(seen)
            .map(|line| {
                json!({
                    "id": line.id, "time": line.time.0, "what": line.what, "pattern": line.pattern,
                    "channel": line.channel, "because": line.because, "reason": line.reason, "customer": line.customer,
                })
            })
            .collect();
        let scored: u64 = Label::ALL
            .iter()
            .filter_map(|label| self.sentiment.get(label.as_str()))
            .sum();
        json!({
            "id": self.next_id, "clock": self.clock.0, "events": self.events, "events_per_second": events_per_second,
            "at_risk": self.at_risk(), "signals": self.signals, "interventions": self.interventions,
            "withheld": self.withheld, "sentiment": self.sentiment, "texts": scored,
            "experimental": self.experimental, "lines": lines,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::{Withheld, WithheldReason};

    #[test]
    fn lines_totals_and_risk_follow_the_records() {
        let mut feed = Feed::default();
        feed.signal(&Signal {
            customer: "c.1".into(),
            pattern: "p".into(),
            ..Signal::default()
        });
        let mut intervention = Intervention {
            customer: "c.1".into(),
            pattern: "p".into(),
            ..Intervention::default()
        };
        feed.intervention(&intervention);
        assert_eq!((feed.at_risk(), feed.newest()), (1, 1));
        intervention.withheld = Some(Withheld {
            reason: WithheldReason::Holdout,
            ..Withheld::default()
        });
        feed.intervention(&intervention);
        assert_eq!(feed.withheld().get("holdout"), Some(&1));
        intervention.withheld = None;
        intervention.action = event::Action::Cancel;
        feed.intervention(&intervention);
        assert_eq!(feed.at_risk(), 0);
        let whats: Vec<&str> = feed.lines_after(1).map(|line| line.what).collect();
        assert_eq!(whats, vec!["withheld", "cancelled"]);
        assert_eq!(feed.json(2, 5)["lines"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn what_is_read_experimentally_is_told() {
        let mut feed = Feed::default();
        for (lang, version) in [("it", "2-experimental+00"), ("it", "2-experimental+00"), ("nl", "2+00")] {
            let mut sentiment = Sentiment::default();
            (sentiment.score.lang, sentiment.score.model_version) = (Some(lang.to_owned()), version.to_owned());
            feed.sentiment(&sentiment);
        }
        let told = feed.json(0, 0);
        assert_eq!(told["experimental"], json!({ "it": 2 }));
        assert_eq!(told["texts"], 3);
    }

    #[test]
    fn the_feed_is_bounded() {
        let mut feed = Feed::default();
        for _ in 0..LINES + 5 {
            feed.intervention(&Intervention::default());
        }
        assert_eq!(feed.lines_after(0).count(), LINES);
    }
}
