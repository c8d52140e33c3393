//! The canonical event as JSON.

mod read;
mod write;

pub use read::read_event;
pub(crate) use read::{NO_TIME, event_of, object};
pub use write::{event_json, time};
