//! Texts whose language the journey knows better than intake did: read again by the same function.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use event::{Event, Score};
use journey::ReadAgain;
use sentiment::{Input, Reader, Scratch};

/// What reads texts, and its buffers.
pub(crate) struct Texts {
    reader: Arc<Reader>,
    scratch: Mutex<Scratch>,
}

impl Texts {
    pub fn new(reader: Arc<Reader>) -> Self {
        Self {
            reader,
            scratch: Mutex::default(),
        }
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Texts({})", self.reader.scorer.version())
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
        self.reader.score(&input, &sentiment::id_of(event), &mut scratch)
    }
}
