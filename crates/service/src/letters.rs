//! Dead letters: what was refused, as it was, and why.

use std::sync::Arc;

use codec::{DeadLetter, Refusal, dead_letter_headers};
use stream::{DeadLetters, Output, Record, Reject};

/// Makes the dead letters of a service: key, value, timestamp and headers as they were, and the reason beside them.
#[must_use]
pub fn dead_letters(service: &str) -> DeadLetters {
    let service = format!("{service}/{}", env!("CARGO_PKG_VERSION"));
    Arc::new(move |record: &Record, reject: &Reject| {
        let letter = DeadLetter {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            stage: reject.stage,
            reason: reject.reason,
            message: &reject.message,
            field: reject.field.as_deref(),
            schema: reject.schema.as_deref(),
            service: &service,
            time: record.timestamp,
        };
        Output {
            topic: Arc::from(crate::topics::Names::dead_letters(&record.topic)),
            partition: None,
            timestamp: Some(record.timestamp),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: dead_letter_headers(&letter, &record.headers),
        }
    })
}

/// Source topic and reason code of a dead letter; `None` for any other output.
#[must_use]
pub(crate) fn source_and_reason(output: &Output) -> Option<(String, String)> {
    let source = output.topic.strip_suffix(".dlq")?;
    let reason = output.headers.iter().find(|(name, _)| name == "waymark-dlq-reason");
    let reason = reason.and_then(|(_, value)| value.as_deref()).unwrap_or_default();
    Some((source.to_owned(), String::from_utf8_lossy(reason).into_owned()))
}

/// A record that cannot be read, as the runtime wants it.
#[must_use]
pub fn refused(refusal: Refusal) -> Reject {
    Reject {
        stage: "decode",
        reason: refusal.reason,
        message: refusal.message,
        field: refusal.field,
        schema: refusal.schema,
    }
}
