//! Raw topics in, the timeline out: validate, normalise, clamp, redact, choose the key, merge by time, say how far.

mod hooks;
mod identify;
mod keys;
mod link;
mod merge;
mod prepare;
mod redact;
mod registry;
mod run;
mod stage;
mod ticks;

pub use hooks::{EventClock, WallClock};
pub use identify::{Identified, PLACEHOLDERS, identify};
pub use keys::{Keys, strongest};
pub use merge::{Head, Merge};
pub use prepare::{Arrival, Clock, Prepared, Rules, clamp, prepare};
pub use redact::{KINDS, KeepText, Redactor, strip_url};
pub use registry::Registry;
pub use run::{SERVICE, run, stage};
pub use stage::{Counters, Intake, Keyed, Texts};
pub use ticks::Progress;
