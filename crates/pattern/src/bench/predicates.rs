//! Distinct predicates over one event, evaluated as the engine evaluates them: each once, fields looked up once.

use std::collections::BTreeMap;

use event::{Attribute, Channel, Event, EventSentiment, Millis};

use crate::{
    NoFacts, Occurrence,
    catalogue::TypeEntry,
    cel::{self, Code, Verdict},
    engine::{Memo, Sight},
};

/// Predicates of different kinds over different fields, as patterns have them.
pub const UNLIKE: [&str; 8] = [
    "event.value >= 9.0",
    "event.product_id == 'p-4711'",
    "event.channel in ['chat', 'web']",
    "has(event.coupon)",
    "event.value > 5.0 && event.currency == 'EUR'",
    "event.sentiment.score <= -0.6",
    "event.url.startsWith('https://shop.example/')",
    "event.results == 0 || event.value * 2.0 > 100.0",
];

/// An event that has what most of [`UNLIKE`] read.
#[must_use]
pub fn viewed() -> Event {
    let text = |text: &str| Attribute::Text(text.to_owned());
    Event {
        kind: "product.viewed".to_owned(),
        channel: Channel::Web,
        attributes: BTreeMap::from([
            ("currency".to_owned(), text("EUR")),
            ("product_id".to_owned(), text("p-4711")),
            ("results".to_owned(), Attribute::Long(4)),
            ("url".to_owned(), text("https://shop.example/product/4711")),
            ("value".to_owned(), Attribute::Double(9.5)),
        ]),
        sentiment: Some(EventSentiment {
            score: Some(-0.7),
            ..EventSentiment::default()
        }),
        ..Event::default()
    }
}

/// Predicates of one event type, and an event for them.
#[derive(Debug)]
pub struct Predicates {
    found: TypeEntry,
    event: Event,
    memo: Memo,
}

impl Predicates {
    /// Compiles predicates over `event.*`, each of them once.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub fn new(conditions: &[String], event: Event) -> Result<Self, String> {
        let mut found = TypeEntry::default();
        for condition in conditions {
            let checked =
                cel::parse(condition, &[]).and_then(|expr| cel::check(&expr, cel::Scope::default()).map(|()| expr));
            let code = Code::of(&checked.map_err(|flaw| flaw.message)?);
            if !found.shared.contains(&code) {
                found.shared.push(code);
            }
        }
        found.finish(&[]);
        Ok(Self {
            found,
            event,
            memo: Memo::default(),
        })
    }

    /// How many distinct ones there are.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.found.shared.len()
    }

    /// Evaluates each for the event; how many hold.
    pub fn evaluate(&mut self) -> usize {
        let of = Occurrence {
            event: &self.event,
            kind: &self.event.kind,
            extra: &[],
            at: Millis(0),
            index: 0,
            position: "",
        };
        let mut sight = Sight::new(&of, &NoFacts, &self.found, &mut self.memo);
        let numbers = 0..u16::try_from(self.found.shared.len()).unwrap_or(u16::MAX);
        let holds = |number: u16| sight.shared(number) == Verdict::Holds;
        numbers.map(holds).map(usize::from).sum()
    }
}
