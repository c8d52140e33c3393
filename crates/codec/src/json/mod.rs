//! The canonical event as JSON.

mod read;
mod write;

pub use read::read_event;
pub(crate) use read::{NO_TIME, event_of, object};
pub use write::{attribute_json, event_json, time};
