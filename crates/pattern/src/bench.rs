//! Generated catalogues and event streams, the same for every run: what benchmarks measure and tests of memory watch.

mod predicates;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use event::{Attribute, Event, Millis};

use crate::{Catalogue, Limits, NoFacts, Occurrence, Pattern, Runs, Stepped, parse};

pub use predicates::{Predicates, UNLIKE, viewed};

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Groups of eight patterns of three steps that share their types and differ in a `where`; the last step never comes. An event
    /// concerns the eight of its group, whatever the size of the catalogue.
    Spread,
    /// Every pattern has the same two types, one of which never comes: each event restarts every run.
    Restart,
    /// Every pattern has the same three types, the last of which never comes: each event moves every run.
    Move,
    /// Patterns of three steps over 500 types, at most eight of them per type. Half of a customer's events follow a pattern, the
    /// others are drawn from all types: `performance.md`, section 9.
    Follow,
}

/// A catalogue, customers and a stream that never ends.
#[derive(Debug)]
pub struct World {
    catalogue: Catalogue,
    customers: Vec<Customer>,
    events: Vec<Event>,
    /// Per pattern: its types, as numbers of `events`.
    scripts: Vec<[usize; 3]>,
    load: Load,
    dice: Dice,
    now: i64,
    out: Stepped,
    /// Matches so far.
    pub matches: u64,
    /// Runs dropped by a cap so far.
    pub capped: u64,
}

#[derive(Debug, Default)]
struct Customer {
    runs: Runs,
    index: u64,
    last: Millis,
    /// The pattern that the customer follows, and the step that is next.
    script: usize,
    step: usize,
}

/// What comes next: places in `customers` and `events`, and when.
struct Drawn {
    customer: usize,
    event: usize,
    at: Millis,
}

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap_or(0)
    }
}

/// One generated pattern.
fn pattern(number: usize, types: &[String], condition: Option<String>) -> Arc<Pattern> {
    let mut text = format!(
        "pattern: made-{number:04}\nversion: 1\ntitle: Made\nowner: tests\nstatus: live\nwhen:\n  within: 30m\n  sequence:\n"
    );
    for kind in types {
        let _ = writeln!(text, "    - see: {kind}");
        if let Some(condition) = &condition {
            let _ = writeln!(text, "      where: {condition}");
        }
    }
    text.push_str(
        "then: { intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: { en: it happened } }
guard: { consent: service, cooldown: 1ms }
rollout: { percent: 100, holdout: 0, seed: made-1 }
tests:
  - { name: nothing, given: [], expect: [] }
  - { name: nothing again, given: [], expect: [] }
",
    );
    match parse(&format!("made-{number:04}.yaml"), &text) {
        Ok(pattern) => Arc::new(pattern),
        Err(findings) => unreachable!("generated patterns are valid: {findings:?}"),
    }
}

impl World {
    /// A catalogue of so many patterns, and customers about whom nothing is known yet.
    #[must_use]
    pub fn new(load: Load, patterns: usize, customers: usize) -> Self {
        let mut dice = Dice(7);
        let kind = |number: usize| format!("made.t{number:03}");
        let (mut made, mut scripts) = (Vec::new(), Vec::new());
        let mut kinds = 0;
        match load {
            Load::Spread => {
                kinds = patterns.div_ceil(8) * 2;
                for number in 0..patterns {
                    let first = number / 8 * 2;
                    let types = [kind(first), kind(first + 1), "made.never".to_owned()];
                    made.push(pattern(
                        number,
                        &types,
                        Some(format!("event.value >= {}.0", number % 8)),
                    ));
                }
            }
            Load::Restart | Load::Move => {
                kinds = if load == Load::Move { 2 } else { 1 };
                for number in 0..patterns {
                    let mut types: Vec<String> = (0..kinds).map(kind).collect();
                    types.push("made.never".to_owned());
                    made.push(pattern(number, &types, None));
                }
            }
            Load::Follow => {
                kinds = kinds.max(500);
                let mut used = vec![0; kinds];
                for number in 0..patterns {
                    let mut script = [0; 3];
                    for step in &mut script {
                        *step = loop {
                            let drawn = dice.below(kinds);
                            if used[drawn] < 8 {
                                used[drawn] += 1;
                                break drawn;
                            }
                        };
                    }
                    made.push(pattern(number, &script.map(kind), None));
                    scripts.push(script);
                }
            }
        }
        let events = (0..kinds).map(|number| Event {
            id: format!("e-{number:08}"),
            source: "made/bench".to_owned(),
            kind: kind(number),
            attributes: BTreeMap::from([
                ("currency".to_owned(), Attribute::Text("EUR".to_owned())),
                ("product_id".to_owned(), Attribute::Text("p-4711".to_owned())),
                ("value".to_owned(), Attribute::Double(9.5)),
            ]),
            ..Event::default()
        });
        // Runs of every pattern at once are what is measured, not the cap.
        let limits = Limits {
            per_pattern: 64,
            per_customer: 4096,
        };
        Self {
            catalogue: Catalogue::compile(made, limits),
            customers: (0..customers).map(|_| Customer::default()).collect(),
            events: events.collect(),
            scripts,
            load,
            dice,
            now: 1_795_266_000_000,
            out: Stepped::default(),
            matches: 0,
            capped: 0,
        }
    }

    /// Steps so many events through. Events of one customer lie 60 seconds apart on average.
    pub fn run(&mut self, events: usize) {
        for _ in 0..events {
            let next = self.draw();
            let customer = &mut self.customers[next.customer];
            let event = &self.events[next.event];
            if customer.runs.deadline().is_some_and(|due| due <= next.at) {
                self.catalogue
                    .on_time(&mut customer.runs, next.at, &NoFacts, &mut self.out);
            }
            let of = Occurrence {
                event,
                kind: &event.kind,
                extra: &[],
                at: next.at,
                index: customer.index,
                position: "journey.timeline/17/88180",
            };
            customer.index += 3;
            self.catalogue
                .on_event(&mut customer.runs, &of, &NoFacts, &mut self.out);
            self.matches += self.out.matches.len() as u64;
            self.capped += u64::from(std::mem::take(&mut self.out.capped));
            self.out.matches.clear();
            self.out.failed.clear();
        }
    }

    /// The next event, for those who step it through something else: which customer's it is, its time, and what it looks like but for its
    /// id and time, which are the same for all of its type.
    pub fn next_event(&mut self) -> (usize, Millis, &Event) {
        let next = self.draw();
        (next.customer, next.at, &self.events[next.event])
    }

    /// The patterns of the catalogue.
    pub fn patterns(&self) -> impl Iterator<Item = &Arc<Pattern>> {
        self.catalogue.iter()
    }

    fn draw(&mut self) -> Drawn {
        // Ten thousand customers share a minute; in steps of a millisecond that is one in six.
        let gap = 60_000 / i64::try_from(self.customers.len()).unwrap_or(1).clamp(1, 60_000);
        self.now += gap;
        let number = self.dice.below(self.customers.len());
        let customer = &mut self.customers[number];
        let event = match self.load {
            Load::Follow if self.dice.below(2) == 0 => {
                if customer.step == 0 {
                    customer.script = self.dice.below(self.scripts.len());
                }
                let kind = self.scripts[customer.script][customer.step];
                customer.step = (customer.step + 1) % 3;
                kind
            }
            _ => self.dice.below(self.events.len()),
        };
        let at = Millis(self.now).max(customer.last);
        customer.last = at;
        Drawn {
            customer: number,
            event,
            at,
        }
    }

    /// Runs that are live, over all customers.
    #[must_use]
    pub fn live_runs(&self) -> usize {
        let instances = self.runs().flat_map(Runs::instances);
        instances.map(|instance| instance.runs.len()).sum()
    }

    /// The runs of every customer.
    pub fn runs(&self) -> impl Iterator<Item = &Runs> {
        self.customers.iter().map(|customer| &customer.runs)
    }
}
