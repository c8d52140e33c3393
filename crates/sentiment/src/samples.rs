//! Texts by which speed is measured: service language of 35, 72, 100 and 370 bytes, one set for benchmarks and commands alike; and a model to read them by.

use crate::{
    Extension,
    linear::{Linear, Weights},
};

/// A model for English. Its weights decide nothing about speed, so any will do.
#[must_use]
pub fn model() -> Extension {
    let mut weights = Weights::default();
    weights
        .rows
        .iter_mut()
        .enumerate()
        .for_each(|(index, row)| row[index % 3] = 0.5);
    Extension {
        lang: "en".to_owned(),
        model: Some(Linear::of("en", &weights).write()),
        ..Extension::default()
    }
}

/// English, by length in bytes.
pub const ENGLISH: [(usize, &str); 4] = [
    (35, "my order still has not arrived yet!"),
    (
        72,
        "I have been waiting for three weeks and nobody answers my emails at all.",
    ),
    (
        100,
        "The agent was friendly, but the router you sent is broken again and I cannot work from home at all!!",
    ),
    (
        370,
        "Hello, I ordered a washing machine on the 3rd and was told that it would arrive within a week. It came after eighteen \
         days, the drum was damaged, and the driver was rude when I asked him to take it back. Since then I have called five \
         times. Every time somebody else promises to call me back, and nobody does. I am very disappointed and want a \
         refund now, please. Regards",
    ),
];

/// The other languages, about 72 bytes each.
pub const OTHERS: [(&str, &str); 5] = [
    (
        "nl",
        "Ik wacht al drie weken op antwoord en niemand reageert op mijn mails.",
    ),
    (
        "it",
        "Aspetto una risposta da tre settimane e nessuno risponde alle mie mail.",
    ),
    (
        "de",
        "Ich warte seit drei Wochen auf eine Antwort und niemand meldet sich.",
    ),
    (
        "fr",
        "J'attends une réponse depuis trois semaines et personne ne me répond.",
    ),
    (
        "es",
        "Espero una respuesta desde hace tres semanas y nadie contesta mis mails.",
    ),
];
