//! One raw record to the events of the timeline that it holds, most often one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use codec::{NoRegistry, Published as _, Raw, Reading, Schemas, Terms, read_raw};
use event::{Event, EventSentiment, Millis, Score, Sentiment, Tier};
use sentiment::{Input, LANGUAGES, Reader, Scratch};
use stream::{Corrupt, Cx, Output, Record, Reject, Routed, RowWriter, Rows, Stage};

use service::{refused, ticks::Progress};

use crate::{Arrival, Clock, Keys, Prepared, Redactor, Registry, Rules, clamp, link::Links, prepare, strongest};

/// The stage: reads every accepted format, validates, normalises, scores, and chooses the key. Has no state.
pub struct Intake {
    /// The secret of customer keys.
    pub keys: Keys,
    /// What is refused, cut and kept.
    pub rules: Rules,
    /// What is taken out of texts and addresses.
    pub redactor: Redactor,
    /// `journey.timeline`, with its prefix.
    pub timeline: Arc<str>,
    /// `journey.sentiment`, with its prefix.
    pub sentiment: Arc<str>,
    /// What reads texts.
    pub texts: Texts,
    /// Whether events arrive as they happen, or are replayed.
    pub clock: Clock,
    /// What stands before the suffix of a raw topic, as `journey.events.`.
    pub raw_prefix: String,
    /// What the deployment calls things.
    pub terms: Terms,
    /// Where the schemas of framed records come from.
    pub registry: Option<Arc<Registry>>,
    /// What was counted since it was last asked.
    pub counters: Mutex<Counters>,
}

/// An event of a raw record, and the customer key it goes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Keyed {
    /// The key.
    pub key: Vec<u8>,
    /// The event, ready for the timeline but for its score.
    pub prepared: Prepared,
}

/// What intake counts of events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    /// Flagged events by channel and flag.
    pub flagged: BTreeMap<(&'static str, String), u64>,
    /// Redactions, in the order of [`crate::KINDS`].
    pub redactions: [u64; 4],
    /// Texts by language, tier and label.
    pub scored: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// Scores with language and tier.
    pub scores: Vec<(&'static str, &'static str, f64)>,
}

impl Counters {
    fn count(&mut self, event: &Event, redactions: [u32; 4], score: Option<&Score>) {
        for flag in &event.flags {
            *self.flagged.entry((event.channel.as_str(), flag.clone())).or_default() += 1;
        }
        for (sum, more) in self.redactions.iter_mut().zip(redactions) {
            *sum += u64::from(more);
        }
        let Some(score) = score else { return };
        let language = match score.lang.as_deref() {
            None => "und",
            Some(lang) => LANGUAGES.into_iter().find(|known| *known == lang).unwrap_or("other"),
        };
        let tier = score.tier.as_str();
        *self.scored.entry((language, tier, score.label.as_str())).or_default() += 1;
        self.scores.extend(score.score.map(|score| (language, tier, score)));
    }
}

impl Stage for Intake {
    type Input = Vec<Keyed>;
    type State = ();

    fn decode(&self, record: &Record) -> Result<Routed<Vec<Keyed>>, Reject> {
        let value = record.value.as_deref().unwrap_or_default();
        if let Some(progress) = Progress::decode(value) {
            return match self.clock {
                Clock::Events => Ok(Routed::Ignore),
                Clock::Wall => Err(reject(
                    "validate",
                    "type_forbidden",
                    &format!(
                        "progress is for replays, and intake.clock is wall: row={}",
                        progress.row
                    ),
                )),
            };
        }
        let raw = Raw {
            value,
            headers: &record.headers,
            arrived: record.timestamp,
        };
        let schemas: &dyn Schemas = match &self.registry {
            Some(registry) => &**registry,
            None => &NoRegistry,
        };
        let readings = read_raw(&raw, &self.terms, schemas).map_err(refused)?;
        let position = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let topic = record
            .topic
            .strip_prefix(self.raw_prefix.as_str())
            .unwrap_or(&record.topic);
        let mut events = Vec::with_capacity(readings.len());
        let mut links = Links::default();
        for (index, Reading { event, has_time }) in readings.into_iter().enumerate() {
            let arrival = Arrival {
                topic,
                position: &position,
                index,
                timestamp: record.timestamp,
                // Times are clamped when the record is processed, by the clock of that moment.
                now: Millis(i64::MAX),
            };
            let time = has_time.then_some(event.time);
            let mut prepared = prepare(event, time, &arrival, &self.rules, &self.redactor)?;
            let Some(identifier) = strongest(&prepared.event.identifiers).cloned() else {
                return Err(reject("validate", "identifier_missing", "no identifier is left"));
            };
            let key = self.keys.key(&prepared.event.tenant, &identifier);
            let copies = links.of(&mut prepared.event, (&identifier, &key), topic, &self.keys);
            let key = key.into_bytes();
            events.push(Keyed { key, prepared });
            events.extend(copies);
        }
        match events.first() {
            Some(first) => Ok(Routed::Event {
                key: first.key.clone(),
                time: first.prepared.event.time,
                input: events,
            }),
            // A batch of no calls says nothing.
            None => Ok(Routed::Ignore),
        }
    }

    fn on_event(&self, (): &mut (), events: Vec<Keyed>, cx: &mut Cx<'_>) {
        for (index, event) in events.into_iter().enumerate() {
            self.publish(event, index, cx);
        }
    }

    fn on_time(&self, (): &mut (), _: &mut Cx<'_>) {}

    fn deadline(&self, (): &()) -> Option<Millis> {
        None
    }

    fn load(&self, _: Rows<'_>) -> Result<(), Corrupt> {
        Ok(())
    }

    fn save(&self, (): &mut (), _: &mut RowWriter<'_>) {}
}

impl Intake {
    fn publish(&self, event: Keyed, index: usize, cx: &mut Cx<'_>) {
        let Keyed { key, mut prepared } = event;
        clamp(&mut prepared.event, cx.now);
        let score = self.texts.score(&prepared);
        prepared.event.sentiment = score.as_ref().map(EventSentiment::from);
        let mut value = Vec::with_capacity(256);
        codec::encode_event(&prepared.event, &mut value);
        let source = format!("{}/{}/{}/{index}", cx.topic, cx.partition, cx.offset);
        let mut headers = vec![("waymark-source".to_owned(), Some(source.into_bytes()))];
        if let Some(trace) = &prepared.event.trace {
            headers.push(("traceparent".to_owned(), Some(trace.traceparent.clone().into_bytes())));
            if let Some(state) = &trace.tracestate {
                headers.push(("tracestate".to_owned(), Some(state.clone().into_bytes())));
            }
        }
        cx.outputs.push(Output {
            topic: self.timeline.clone(),
            partition: None,
            timestamp: Some(cx.now),
            key: Some(key.clone()),
            value: Some(value),
            headers,
        });
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).count(
            &prepared.event,
            prepared.redactions,
            score.as_ref(),
        );
        if let Some(score) = score {
            self.publish_score(score, &prepared.event, key, cx);
        }
    }

    /// What was counted since the last call.
    #[must_use]
    pub fn take_counters(&self) -> Counters {
        std::mem::take(&mut *self.counters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Kind and version of each model that may score the texts of a language.
    #[must_use]
    pub fn models_of(&self, lang: &str) -> Vec<(Tier, &str)> {
        self.texts.reader.models_of(lang)
    }

    fn publish_score(&self, score: Score, event: &Event, key: Vec<u8>, cx: &mut Cx<'_>) {
        let position = format!("{}/{}/{}", cx.topic, cx.partition, cx.offset);
        let sentiment = Sentiment::of(event, &String::from_utf8_lossy(&key), position, score);
        cx.outputs.push(Output {
            topic: self.sentiment.clone(),
            partition: None,
            timestamp: Some(cx.now),
            key: Some(key),
            value: Some(sentiment.encode()),
            headers: Vec::new(),
        });
    }
}

/// What reads texts, and its buffers.
#[derive(Default)]
pub struct Texts {
    reader: Arc<Reader>,
    scratch: Mutex<Scratch>,
}

impl Texts {
    /// Reads texts by what other workers read by too.
    #[must_use]
    pub fn new(reader: Arc<Reader>) -> Self {
        Self {
            reader,
            scratch: Mutex::default(),
        }
    }

    /// Scores the text that the event arrived with, before anything was taken out of it.
    fn score(&self, prepared: &Prepared) -> Option<Score> {
        let text = prepared.event.text.as_ref()?;
        let input = Input {
            body: prepared.unredacted.as_deref()?,
            ..Input::of(text)
        };
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        self.reader
            .score(&input, &sentiment::id_of(&prepared.event), &mut scratch)
    }
}

fn reject(stage: &'static str, reason: &'static str, message: &str) -> Reject {
    Reject {
        stage,
        reason,
        message: message.to_owned(),
        field: None,
        schema: None,
    }
}
