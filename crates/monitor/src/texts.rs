//! Texts whose language the journey knows better than intake did: read again by the same function.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use event::{Event, Score};
use journey::ReadAgain;
use sentiment::{Input, Scratch};
use service::texts::Readings;

/// What reads texts, loaded with the first that is read again, and its buffers.
pub(crate) struct Texts {
    readings: Arc<Readings>,
    scratch: Mutex<Scratch>,
}

impl Texts {
    pub fn new(readings: Arc<Readings>) -> Self {
        Self {
            readings,
            scratch: Mutex::default(),
        }
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Texts")
    }
}

impl ReadAgain for Texts {
    fn read(&self, event: &Event, language: &str) -> Option<Score> {
        let text = event.text.as_ref()?;
        let input = Input {
            lang: Some(language),
            ..Input::of(text)
        };
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = self.readings.get();
        reader.score(&input, &sentiment::id_of(event), &mut scratch)
    }
}
