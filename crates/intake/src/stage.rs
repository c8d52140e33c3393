//! One raw record to one record of the timeline.

use std::sync::Arc;

use event::Millis;
use stream::{Corrupt, Cx, Output, Record, Reject, Routed, RowWriter, Rows, Stage};

use crate::{Arrival, Keys, Prepared, Redactor, Rules, prepare, strongest};

/// The stage: reads canonical JSON and Avro single-object encoding, validates, normalises, and chooses the key. Has no state.
pub struct Intake {
    /// The secret of customer keys.
    pub keys: Keys,
    /// What is refused, cut and kept.
    pub rules: Rules,
    /// What is taken out of texts and addresses.
    pub redactor: Redactor,
    /// `journey.timeline`, with its prefix.
    pub timeline: Arc<str>,
    /// What stands before the suffix of a raw topic, as `journey.events.`.
    pub raw_prefix: String,
}

/// A first byte of Avro single-object encoding.
const AVRO: u8 = 0xc3;

impl Stage for Intake {
    type Input = Box<Prepared>;
    type State = ();

    fn decode(&self, record: &Record) -> Result<Routed<Box<Prepared>>, Reject> {
        let value = record.value.as_deref().unwrap_or_default();
        let read = match value.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(&AVRO) => codec::decode_event(value),
            Some(b'{' | 0xef) | None => codec::read_event(value),
            Some(_) => {
                return Err(refused(
                    "format_unknown",
                    "neither JSON nor Avro".to_owned(),
                    None,
                    None,
                ));
            }
        };
        let event = read.map_err(|refusal| refused(refusal.reason, refusal.message, refusal.field, refusal.schema))?;
        let position = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let topic = record
            .topic
            .strip_prefix(self.raw_prefix.as_str())
            .unwrap_or(&record.topic);
        // The broker's time of arrival is the clock: it is the same when the record is read again.
        let now = record.timestamp;
        let arrival = Arrival {
            topic,
            position: &position,
            index: 0,
            timestamp: record.timestamp,
            now,
        };
        let time = Some(event.time);
        let prepared = prepare(event, time, &arrival, &self.rules, &self.redactor)?;
        let Some(identifier) = strongest(&prepared.event.identifiers) else {
            return Err(refused(
                "identifier_missing",
                "no identifier is left".to_owned(),
                None,
                None,
            ));
        };
        let key = self.keys.key(&prepared.event.tenant, identifier).into_bytes();
        Ok(Routed::Event {
            key,
            time: prepared.event.time,
            input: Box::new(prepared),
        })
    }

    fn on_event(&self, (): &mut (), prepared: Box<Prepared>, cx: &mut Cx<'_>) {
        let mut value = Vec::with_capacity(256);
        codec::encode_event(&prepared.event, &mut value);
        let index = cx.outputs.len();
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
            timestamp: Some(cx.timestamp),
            key: Some(cx.key.to_vec()),
            value: Some(value),
            headers,
        });
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

fn refused(reason: &'static str, message: String, field: Option<String>, schema: Option<String>) -> Reject {
    Reject {
        stage: "decode",
        reason,
        message,
        field,
        schema,
    }
}

/// The dead letter of a refused record: key, value, timestamp and headers as they were, and why.
#[must_use]
pub fn dead_letter(record: &Record, reject: &Reject) -> Output {
    let letter = codec::DeadLetter {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        stage: reject.stage,
        reason: reject.reason,
        message: &reject.message,
        field: reject.field.as_deref(),
        schema: reject.schema.as_deref(),
        service: concat!("intake/", env!("CARGO_PKG_VERSION")),
        time: record.timestamp,
    };
    Output {
        topic: Arc::from(format!("{}.dlq", record.topic)),
        partition: None,
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: codec::dead_letter_headers(&letter, &record.headers),
    }
}
