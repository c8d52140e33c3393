//! A customer who says something, and the lexicons that ship: what the tests of texts begin with.

use std::sync::LazyLock;

use event::{Modality, Role, Score};
use sentiment::{Input, Scorer, Scratch};

/// What ships, loaded once.
pub static SCORER: LazyLock<Scorer> = LazyLock::new(Scorer::new);

/// What is read from a customer's text.
#[track_caller]
pub fn heard(body: &str, lang: Option<&str>, modality: Modality, scratch: &mut Scratch) -> Score {
    let input = Input {
        body,
        lang,
        role: Role::Customer,
        modality,
        asr_confidence: None,
    };
    SCORER.score(&input, scratch).expect("a customer's text is scored")
}
