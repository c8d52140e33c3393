//! The canonical event as JSON.

mod read;
mod write;

pub use read::read_event;
pub use write::{event_json, time};
