//! What each customer does, and what must be said about it. Pure: a seed and a number decide both, so that the truth of a run
//! needs no memory of what was sent.

use crate::schedule::mix;

/// Where an event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw {
    Web,
    Mobile,
    Business,
}

/// All raw topics that the load uses, by [`Raw::index`].
pub const RAWS: [Raw; 3] = [Raw::Web, Raw::Mobile, Raw::Business];

impl Raw {
    pub fn topic(self) -> &'static str {
        match self {
            Self::Web => "journey.events.web",
            Self::Mobile => "journey.events.mobile",
            Self::Business => "journey.events.business",
        }
    }

    pub fn index(self) -> usize {
        self as usize
    }
}

/// One event of a customer's life.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub raw: Raw,
    pub kind: &'static str,
    /// How many batches after the customer's first event.
    pub delay: usize,
}

const fn step(raw: Raw, kind: &'static str, delay: usize) -> Step {
    Step { raw, kind, delay }
}

const VIEW: &str = "product.viewed";
const CART: &str = "cart.product_added";
const CHECKOUT: &str = "checkout.started";
const ORDER: &str = "order.completed";

/// Three rounds on one channel; shorter walks are its beginnings.
const WALK: [Step; 9] = [
    step(Raw::Mobile, VIEW, 0),
    step(Raw::Mobile, VIEW, 2),
    step(Raw::Mobile, CART, 4),
    step(Raw::Mobile, VIEW, 9),
    step(Raw::Mobile, VIEW, 9),
    step(Raw::Mobile, CART, 13),
    step(Raw::Mobile, VIEW, 17),
    step(Raw::Mobile, VIEW, 20),
    step(Raw::Mobile, CART, 24),
];

const fn shop(order: usize) -> [Step; 5] {
    [
        step(Raw::Web, VIEW, 0),
        step(Raw::Web, VIEW, 3),
        step(Raw::Web, CART, 6),
        step(Raw::Web, CHECKOUT, 12),
        step(Raw::Business, ORDER, order),
    ]
}

const TOGETHER: [Step; 5] = shop(12);
const BEFORE: [Step; 5] = shop(11);

/// The longest life, in batches.
pub const LONGEST: usize = 24;

/// The mean number of events in a life.
pub const MEAN_EVENTS: f64 = (3.0 + 6.0 + 9.0) / 3.0 * 0.4 + 4.0 * 0.3 + 5.0 * 0.3;

/// The patterns of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Two views and something put into the cart: a sequence.
    Cart,
    /// A checkout, and no order: an absence.
    Quiet,
}

impl Pattern {
    pub fn id(self) -> &'static str {
        match self {
            Self::Cart => "chaos-cart",
            Self::Quiet => "chaos-quiet",
        }
    }

    pub fn of(id: &str) -> Option<Self> {
        [Self::Cart, Self::Quiet].into_iter().find(|pattern| pattern.id() == id)
    }
}

/// What a customer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// So many rounds of two views and a cart, all on one channel: as many matches.
    Walks(usize),
    /// Starts to pay and is never heard of again: the absence fires once.
    Quiet,
    /// The order is in the checkout's transaction, on another channel, which may lag: the absence never fires.
    PaysTogether,
    /// The order was committed, on another channel, before the checkout was sent: the absence never fires.
    PaysBefore,
}

/// A signal that must come: its pattern and the steps that are its evidence; the last one names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub pattern: Pattern,
    pub evidence: Vec<usize>,
}

impl Life {
    /// What customer `number` does in a run of this seed.
    pub fn of(seed: u64, number: u32) -> Self {
        let dice = mix(seed ^ (u64::from(number) << 20) ^ 0x0001_11fe);
        match dice % 10 {
            0..=3 => Self::Walks(1 + (dice / 10 % 3) as usize),
            4..=6 => Self::Quiet,
            _ if (dice / 10).is_multiple_of(2) => Self::PaysTogether,
            _ => Self::PaysBefore,
        }
    }

    pub fn steps(self) -> &'static [Step] {
        match self {
            Self::Walks(rounds) => &WALK[..3 * rounds],
            Self::Quiet => &TOGETHER[..4],
            Self::PaysTogether => &TOGETHER,
            Self::PaysBefore => &BEFORE,
        }
    }

    pub fn pays(self) -> bool {
        matches!(self, Self::PaysTogether | Self::PaysBefore)
    }

    /// The signals that must come, and no others.
    pub fn expected(self) -> Vec<Expected> {
        let cart = |first: usize| Expected {
            pattern: Pattern::Cart,
            evidence: vec![first, first + 1, first + 2],
        };
        let quiet = Expected {
            pattern: Pattern::Quiet,
            evidence: vec![3],
        };
        match self {
            Self::Walks(rounds) => (0..rounds).map(|round| cart(3 * round)).collect(),
            Self::Quiet => vec![cart(0), quiet],
            Self::PaysTogether | Self::PaysBefore => vec![cart(0)],
        }
    }

    /// The pattern whose signal this step completes, or whose wait it begins.
    pub fn signal_of(self, step: usize) -> Option<Pattern> {
        match self.steps()[step].kind {
            CART => Some(Pattern::Cart),
            CHECKOUT if !self.pays() => Some(Pattern::Quiet),
            _ => None,
        }
    }
}

/// The amount on an event, so that one that was altered shows.
pub fn amount(customer: u32, step: usize) -> i64 {
    i64::from(customer % 991) + step as i64
}

/// An event's id; its source is `chaos`.
pub fn id(customer: u32, step: usize) -> String {
    format!("c{customer}-{step}")
}

/// Customer and step of an event's id.
pub fn parse(id: &str) -> Option<(u32, usize)> {
    let (customer, step) = id.strip_prefix('c')?.split_once('-')?;
    Some((customer.parse().ok()?, step.parse().ok()?))
}

/// How long the absence lasts, in milliseconds.
pub const QUIET: i64 = 4_000;

/// The files of the patterns, by name.
pub const FILES: [(&str, &str); 2] = [("chaos-cart.yaml", CART_FILE), ("chaos-quiet.yaml", QUIET_FILE)];

const CART_FILE: &str = r#"
pattern: chaos-cart
version: 1
title: Looks twice and puts something into the cart
owner: test
status: live
when:
  within: 12h
  sequence:
    - see: product.viewed
      times: 2
    - see: cart.product_added
then:
  intervene: chat_offer
  channels: [chat]
  priority: 50
  valid_for: 10m
  because:
    en: "looked twice"
guard: { consent: service, cooldown: 1s }
rollout: { percent: 100, holdout: 0, seed: chaos-1 }
tests:
  - name: puts it into the cart
    given:
      - { at: 0s, is: product.viewed }
      - { at: 1s, is: product.viewed }
      - { at: 2s, is: cart.product_added }
    expect: [ { at: 2s, intervene: chat_offer } ]
  - name: looks once
    given:
      - { at: 0s, is: product.viewed }
      - { at: 2s, is: cart.product_added }
    expect: []
"#;

/// An order that was processed before the checkout counts too, so that the outcome does not depend on which channel is read first.
const QUIET_FILE: &str = r#"
pattern: chaos-quiet
version: 1
title: Starts to pay, has never ordered, and goes quiet
owner: test
status: live
when:
  within: 12h
  sequence:
    - see: checkout.started
      where: "!has(journey.value.orders) || journey.value.orders == 0"
    - absent: order.completed
      for: 4s
then:
  intervene: chat_offer
  channels: [chat]
  priority: 50
  valid_for: 10m
  cancel_on: [order.completed]
  because:
    en: "quiet for four seconds"
guard: { consent: service, cooldown: 1s }
rollout: { percent: 100, holdout: 0, seed: chaos-2 }
tests:
  - name: quiet
    given:
      - { at: 0s, is: checkout.started, value: 1, currency: EUR }
    expect: [ { at: 4s, intervene: chat_offer } ]
  - name: pays
    given:
      - { at: 0s, is: checkout.started, value: 1, currency: EUR }
      - { at: 1s, is: order.completed, order_id: o1, value: 1, currency: EUR }
    expect: []
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_life_occurs_and_the_mean_is_true() {
        let lives: Vec<Life> = (0..20_000).map(|number| Life::of(7, number)).collect();
        for life in [
            Life::Walks(1),
            Life::Walks(2),
            Life::Walks(3),
            Life::Quiet,
            Life::PaysTogether,
            Life::PaysBefore,
        ] {
            let share = lives.iter().filter(|found| **found == life).count();
            assert!(share > 1_000, "{life:?}: {share}");
        }
        let events: usize = lives.iter().map(|life| life.steps().len()).sum();
        let mean = events as f64 / lives.len() as f64;
        assert!((mean - MEAN_EVENTS).abs() < 0.1, "{mean}");
        let longest = lives.iter().flat_map(|life| life.steps()).map(|step| step.delay).max();
        assert_eq!(longest, Some(LONGEST));
    }

    #[test]
    fn signals_are_named_by_the_step_that_completes_them() {
        for number in 0..1_000 {
            let life = Life::of(3, number);
            let named: Vec<(usize, Pattern)> = (0..life.steps().len())
                .filter_map(|step| Some((step, life.signal_of(step)?)))
                .collect();
            let expected: Vec<(usize, Pattern)> = life
                .expected()
                .into_iter()
                .map(|expected| (*expected.evidence.last().expect("evidence"), expected.pattern))
                .collect();
            assert_eq!(named, expected, "{life:?}");
        }
    }

    #[test]
    fn steps_of_one_channel_never_go_back() {
        for life in [Life::Walks(3), Life::PaysTogether, Life::PaysBefore] {
            for raw in RAWS {
                let delays: Vec<usize> = life
                    .steps()
                    .iter()
                    .filter(|step| step.raw == raw)
                    .map(|step| step.delay)
                    .collect();
                assert!(delays.is_sorted());
            }
        }
    }

    #[test]
    fn ids_are_read_back() {
        assert_eq!(parse(&id(17, 3)), Some((17, 3)));
        for other in ["", "c", "c1", "17-3", "c1-x"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
