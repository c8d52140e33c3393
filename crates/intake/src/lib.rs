//! Raw topics in, the timeline out: decode, validate, normalise, clamp, score, choose the key, tick.

mod identify;
mod keys;
mod merge;
mod redact;
mod ticks;

pub use identify::{Identified, PLACEHOLDERS, identify};
pub use keys::{Keys, strongest};
pub use merge::{Head, Merge};
pub use redact::{KINDS, KeepText, Redactor, strip_url};
pub use ticks::Progress;
