//! The canonical event in Avro single-object encoding, written and read by hand: it is the hot path.

use event::{Attribute, Channel, Consent, ConsentStatus, Event, EventSentiment, Label, Modality, Role, Text, Trace};

use crate::{
    MAX_VALUE, Refusal,
    record::Wire,
    wire::{
        Reader, put_bool, put_bytes, put_count, put_double, put_list, put_long, put_map, put_option, put_text, put_time,
    },
};

/// CRC-64-AVRO of the parsing canonical form of `schemas/event.avsc` as apache-avro for Rust makes it: it keeps `{"type":"long"}` and a
/// decimal's precision, which the specification strips. Written in every event; a test compares.
pub const EVENT_FINGERPRINT: u64 = 0xeb0e_3de3_8d19_d636;

/// The same schema's fingerprints by others, read as well: by the specification (fastavro), and by Apache's library for Python, which keeps
/// `{"type":"long"}`.
pub const EVENT_FINGERPRINTS_OF_OTHERS: [u64; 2] = [0xc070_2b67_f3ff_abce, 0x3822_47b6_e86c_76e2];

const MARK: [u8; 2] = [0xc3, 0x01];
const HEAD: usize = 10;

/// Appends an event: mark, fingerprint, fields in the order of the schema.
pub fn encode_event(event: &Event, out: &mut Vec<u8>) {
    head(out, EVENT_FINGERPRINT);
    put_text(out, &event.id);
    put_text(out, &event.source);
    put_text(out, &event.kind);
    put_time(out, event.time);
    put_option(out, event.received, put_time);
    put_option(out, event.original_time, put_time);
    put_text(out, &event.tenant);
    put_long(out, event.channel as i64);
    put_option(out, event.medium.as_deref(), put_text);
    event.identifiers.put(out);
    for field in [
        &event.session,
        &event.conversation,
        &event.correlation,
        &event.causation,
    ] {
        put_option(out, field.as_deref(), put_text);
    }
    put_map(out, &event.attributes, put_attribute);
    event.items.put(out);
    put_option(out, event.text.as_ref(), |out, text| {
        put_text(out, &text.body);
        put_option(out, text.lang.as_deref(), put_text);
        put_long(out, text.role as i64);
        put_long(out, text.modality as i64);
        put_option(out, text.asr_confidence, put_double);
        put_option(out, text.tone, put_double);
        put_bool(out, text.truncated);
    });
    put_option(out, event.sentiment.as_ref(), |out, sentiment| {
        put_long(out, sentiment.label as i64);
        put_option(out, sentiment.score, put_double);
        put_option(out, sentiment.confidence, put_double);
        put_option(out, sentiment.lang.as_deref(), put_text);
        put_map(out, &sentiment.signals, |out, value| put_double(out, *value));
    });
    put_option(out, event.consent.as_ref(), |out, consent| {
        put_map(out, &consent.purposes, |out, status| put_long(out, *status as i64));
        put_option(out, consent.captured, put_time);
        put_option(out, consent.reference.as_deref(), put_text);
    });
    put_option(out, event.trace.as_ref(), |out, trace| {
        put_text(out, &trace.traceparent);
        put_option(out, trace.tracestate.as_deref(), put_text);
    });
    put_list(out, &event.flags, |out, flag| put_text(out, flag));
    put_option(out, event.payload.as_deref(), put_bytes);
}

pub(crate) fn put_attribute(out: &mut Vec<u8>, value: &Attribute) {
    match value {
        Attribute::Null => put_count(out, 0),
        Attribute::Bool(value) => {
            put_count(out, 1);
            put_bool(out, *value);
        }
        Attribute::Long(value) => {
            put_count(out, 2);
            put_long(out, *value);
        }
        Attribute::Double(value) => {
            put_count(out, 3);
            put_double(out, *value);
        }
        Attribute::Text(text) => {
            put_count(out, 4);
            put_text(out, text);
        }
        Attribute::List(list) => {
            put_count(out, 5);
            put_list(out, list, |out, text| put_text(out, text));
        }
    }
}

/// Reads an event in single-object encoding under the schema of this binary, whichever library made its fingerprint.
///
/// # Errors
/// `too_large`, `format_unknown`, `schema_unknown`, or `avro_malformed` with the offset.
pub fn decode_event(value: &[u8]) -> Result<Event, Refusal> {
    let [specification, python] = EVENT_FINGERPRINTS_OF_OTHERS;
    let mut reader = body(value, &[EVENT_FINGERPRINT, specification, python])?;
    let event = read_event(&mut reader)?;
    reader.end()?;
    Ok(event)
}

/// Reads an event without mark and fingerprint, as a registry's framing carries it.
///
/// # Errors
/// As [`decode_event`].
pub(crate) fn decode_datum(datum: &[u8]) -> Result<Event, Refusal> {
    let mut reader = Reader::new(datum, 0);
    let event = read_event(&mut reader)?;
    reader.end()?;
    Ok(event)
}

/// Appends mark and fingerprint.
pub(crate) fn head(out: &mut Vec<u8>, fingerprint: u64) {
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&fingerprint.to_le_bytes());
}

/// Checks size, mark and fingerprint, which must be one of those that are expected; the reader stands behind them.
pub(crate) fn body<'a>(value: &'a [u8], expected: &[u64]) -> Result<Reader<'a>, Refusal> {
    if value.len() > MAX_VALUE {
        return Err(Refusal::new(
            "too_large",
            format!("value is too large: bytes={} limit={MAX_VALUE}", value.len()),
        ));
    }
    if !value.starts_with(&MARK) {
        return Err(Refusal::new("format_unknown", "not Avro single-object encoding"));
    }
    let Some(fingerprint) = value.get(MARK.len()..HEAD) else {
        return Err(Refusal::new(
            "avro_malformed",
            format!("the value ends too early: offset={}", value.len()),
        ));
    };
    if !expected.iter().any(|known| fingerprint == known.to_le_bytes()) {
        let found = fingerprint
            .iter()
            .rev()
            .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let schema = Some(format!("{found:016x}"));
        let message = format!("unknown schema fingerprint: found={found:016x}");
        return Err(Refusal {
            reason: "schema_unknown",
            field: None,
            schema,
            message,
        });
    }
    Ok(Reader::new(value, HEAD))
}

fn read_event(from: &mut Reader<'_>) -> Result<Event, Refusal> {
    // Fields are read in the order in which they stand here.
    Ok(Event {
        id: from.text()?,
        source: from.text()?,
        kind: from.text()?,
        time: from.time()?,
        received: from.option(Reader::time)?,
        original_time: from.option(Reader::time)?,
        tenant: from.text()?,
        channel: symbol(from, Channel::ALL)?,
        medium: from.option(Reader::text)?,
        identifiers: Wire::get(from)?,
        session: from.option(Reader::text)?,
        conversation: from.option(Reader::text)?,
        correlation: from.option(Reader::text)?,
        causation: from.option(Reader::text)?,
        attributes: from.map(read_attribute)?,
        items: Wire::get(from)?,
        text: from.option(read_text)?,
        sentiment: from.option(read_sentiment)?,
        consent: from.option(|from| {
            Ok(Consent {
                purposes: from.map(|from| symbol(from, ConsentStatus::ALL))?,
                captured: from.option(Reader::time)?,
                reference: from.option(Reader::text)?,
            })
        })?,
        trace: from.option(|from| {
            Ok(Trace {
                traceparent: from.text()?,
                tracestate: from.option(Reader::text)?,
            })
        })?,
        flags: from.list(Reader::text)?,
        payload: from.option(|from| from.bytes().map(<[u8]>::to_vec))?,
    })
}

fn symbol<T: Copy>(from: &mut Reader<'_>, all: &[T]) -> Result<T, Refusal> {
    from.index(all.len()).map(|index| all[index])
}

pub(crate) fn read_attribute(from: &mut Reader<'_>) -> Result<Attribute, Refusal> {
    Ok(match from.index(6)? {
        0 => Attribute::Null,
        1 => Attribute::Bool(from.bool()?),
        2 => Attribute::Long(from.long()?),
        3 => Attribute::Double(from.double()?),
        4 => Attribute::Text(from.text()?),
        _ => Attribute::List(from.list(Reader::text)?),
    })
}

fn read_text(from: &mut Reader<'_>) -> Result<Text, Refusal> {
    Ok(Text {
        body: from.text()?,
        lang: from.option(Reader::text)?,
        role: symbol(from, Role::ALL)?,
        modality: symbol(from, Modality::ALL)?,
        asr_confidence: from.option(Reader::double)?,
        tone: from.option(Reader::double)?,
        truncated: from.bool()?,
    })
}

fn read_sentiment(from: &mut Reader<'_>) -> Result<EventSentiment, Refusal> {
    Ok(EventSentiment {
        label: symbol(from, Label::ALL)?,
        score: from.option(Reader::double)?,
        confidence: from.option(Reader::double)?,
        lang: from.option(Reader::text)?,
        signals: from.map(Reader::double)?,
    })
}
