//! Reads one text: its language, how it feels, and what it asks for.
//!
//! One pure function. Language comes from a hint or from the text; polarity from a lexicon and rules in the manner of VADER
//! (Hutto and Gilbert, 2014), with rules of each language as data, or from a linear model that its operator trained; service
//! signals from cues. What has no hit is `unscored`, which is not neutral. A transformer of the operator's own may read again what lexicon
//! and model are not sure of.

mod calibration;
mod derive;
mod language;
mod lexicon;
pub mod linear;
pub mod measure;
mod polarity;
mod reader;
mod rules;
pub mod samples;
mod scorer;
mod signals;
mod tokens;
pub mod train;
pub mod transformer;

pub use language::Code;
pub use reader::{Reader, id_of};
pub use scorer::{Extension, Input, LANGUAGES, LONGEST, MODEL, Reading, Scorer, Scratch};

/// Four places: more would be noise, and every machine prints the same.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
