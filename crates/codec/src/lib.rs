//! Bytes that enter and leave the process: events and all published records as Avro single-object encoding and as JSON.
//!
//! Schemas lie in `schemas/`; a golden file in `testdata/` freezes every version of every format.

mod avro;
mod headers;
mod json;
mod outputs;
mod parts;
mod raw;
mod record;
mod rows;
mod runs;
mod wire;

pub use avro::{EVENT_FINGERPRINT, EVENT_FINGERPRINTS_OF_OTHERS, decode_event, encode_event};
pub use headers::{DeadLetter, Header, dead_letter_headers};
pub use json::{attribute_json, event_json, read_event, time};
pub use outputs::Published;
pub use raw::{NoRegistry, Raw, Reading, SchemaId, Schemas, Terms, WriterSchema, read_raw, schema_of};
pub use rows::{PutRow, Saved, is_of_runs, load_journey, pack_journey, save_journey, unpack_journey};

/// Why a record cannot be read: what its dead letter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One of the reason codes of the dead-letter contract, for example `json_malformed`.
    pub reason: &'static str,
    /// The field at fault, as a dotted path.
    pub field: Option<String>,
    /// The schema, where one is involved.
    pub schema: Option<String>,
    /// What is wrong and where; holds nothing of the customer.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            field: None,
            schema: None,
            message: message.into(),
        }
    }

    pub(crate) fn of_field(reason: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self {
            reason,
            field: Some(field.to_owned()),
            schema: None,
            message: message.into(),
        }
    }
}

/// The greatest record value that is read, in bytes.
pub const MAX_VALUE: usize = 1024 * 1024;
