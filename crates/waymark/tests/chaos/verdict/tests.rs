//! A verdict that cannot fail is worth nothing: whatever is changed in what a run says is found.

use event::{Millis, OutputId};

use super::*;

const SEED: u64 = 11;
const CUSTOMERS: u32 = 60;

/// Everything that a run without a fault says, in order.
#[derive(Clone)]
struct Said {
    raws: Vec<(String, i64)>,
    timeline: Vec<Event>,
    signals: Vec<(Signal, i64)>,
    decisions: Vec<Intervention>,
}

fn sent() -> Sent {
    Sent {
        born: (0..CUSTOMERS).map(|customer| customer / 4).collect(),
        times: (0..100).map(|batch| 1_000_000 + 100 * batch).collect(),
    }
}

fn clean() -> Said {
    let ledger = Ledger::new(SEED, sent());
    let mut said = Said {
        raws: Vec::new(),
        timeline: Vec::new(),
        signals: Vec::new(),
        decisions: Vec::new(),
    };
    for customer in 0..CUSTOMERS {
        let life = Life::of(SEED, customer);
        for (step, of) in life.steps().iter().enumerate() {
            said.raws
                .push((crate::script::id(customer, step), said.raws.len() as i64));
            said.timeline.push(Event {
                id: crate::script::id(customer, step),
                source: "chaos".to_owned(),
                kind: of.kind.to_owned(),
                time: Millis(ledger.time(customer, step)),
                attributes: [("value".to_owned(), Attribute::Long(amount(customer, step)))].into(),
                ..Event::default()
            });
        }
        for (index, expected) in life.expected().into_iter().enumerate() {
            let refer = |step: usize| EventRef {
                id: crate::script::id(customer, step),
                ..EventRef::default()
            };
            let seen = match expected.evidence.as_slice() {
                [one] => vec![seen(refer(*one), None)],
                [first, last, then] => vec![seen(refer(*first), Some(refer(*last))), seen(refer(*then), None)],
                other => panic!("{other:?}"),
            };
            let mut hash = [index as u8; 16];
            hash[..4].copy_from_slice(&customer.to_be_bytes());
            hash[3] ^= 0x40;
            let id = OutputId::from_hash(hash);
            let named = *expected.evidence.last().expect("evidence");
            let matched_at = Millis(ledger.time(customer, named) + QUIET);
            let signal = Signal {
                id,
                pattern: expected.pattern.id().to_owned(),
                seen: seen.clone(),
                matched_at,
                ..Signal::default()
            };
            said.signals.push((signal, matched_at.0 + 1));
            said.decisions.push(Intervention {
                pattern: expected.pattern.id().to_owned(),
                seen,
                signal: Some(id),
                action: Action::Start,
                ..Intervention::default()
            });
        }
    }
    said
}

fn seen(first: EventRef, last: Option<EventRef>) -> Seen {
    Seen {
        first,
        last,
        ..Seen::default()
    }
}

fn judged(said: &Said) -> Verdict {
    let mut ledger = Ledger::new(SEED, sent());
    said.raws.iter().for_each(|(id, offset)| ledger.raw(id, *offset));
    said.timeline.iter().for_each(|event| ledger.timeline(event));
    said.signals
        .iter()
        .for_each(|(signal, written)| ledger.signal(signal, *written));
    said.decisions.iter().for_each(|decided| ledger.decision(decided));
    ledger.finish()
}

/// What is amiss after a change: lost, duplicated, out of order, early, wrong, the load's fault.
fn after(change: impl FnOnce(&mut Said)) -> [u64; 6] {
    let mut said = clean();
    change(&mut said);
    let found = judged(&said);
    let amiss = [
        found.lost,
        found.duplicated,
        found.out_of_order,
        found.early,
        found.wrong,
        found.load_at_fault,
    ];
    assert_eq!(found.is_clean(), amiss == [0; 6]);
    assert_eq!(found.examples.is_empty(), found.is_clean(), "what is amiss is named");
    amiss
}

fn quiet(said: &Said) -> usize {
    let mut signals = said.signals.iter();
    let found = signals.position(|(signal, _)| signal.pattern == Pattern::Quiet.id());
    found.expect("somebody is quiet")
}

fn payer() -> u32 {
    (0..CUSTOMERS)
        .find(|customer| Life::of(SEED, *customer).pays())
        .expect("somebody pays")
}

#[test]
fn a_run_without_a_fault_is_clean() {
    assert_eq!(after(|_| {}), [0; 6]);
    let found = judged(&clean());
    assert_eq!(found.events, clean().raws.len() as u64);
    assert_eq!(found.expected_signals, clean().signals.len() as u64);
}

#[test]
fn what_is_removed_is_lost() {
    assert_eq!(after(|said| drop(said.timeline.remove(7))), [1, 0, 0, 0, 0, 0]);
    assert_eq!(after(|said| drop(said.decisions.remove(3))), [1, 0, 0, 0, 0, 0]);
    // Its decision belongs to a signal that is not there.
    assert_eq!(after(|said| drop(said.signals.remove(3))), [1, 0, 0, 0, 1, 0]);
    assert_eq!(after(|said| said.timeline.clear())[0], clean().timeline.len() as u64);
}

#[test]
fn what_is_doubled_is_duplicated() {
    assert_eq!(
        after(|said| said.timeline.push(said.timeline[5].clone())),
        [0, 1, 0, 0, 0, 0]
    );
    assert_eq!(
        after(|said| said.signals.push(said.signals[2].clone())),
        [0, 1, 0, 0, 0, 0]
    );
    assert_eq!(
        after(|said| said.decisions.push(said.decisions[2].clone())),
        [0, 1, 0, 0, 0, 0]
    );
}

#[test]
fn what_is_swapped_is_out_of_order() {
    // The first two events of any life are of one channel.
    assert_eq!(after(|said| said.timeline.swap(0, 1)), [0, 0, 1, 0, 0, 0]);
    // Two customers have no order between them.
    let other = Life::of(SEED, 0).steps().len();
    assert_eq!(after(|said| said.timeline[..=other].rotate_right(1)), [0; 6]);
}

#[test]
fn what_is_altered_is_wrong() {
    let altered: [fn(&mut Event); 4] = [
        |event| event.kind = "page.viewed".to_owned(),
        |event| event.time = Millis(event.time.0 + 1),
        |event| event.source = "other".to_owned(),
        |event| drop(event.attributes.remove("value")),
    ];
    for alter in altered {
        assert_eq!(after(|said| alter(&mut said.timeline[4])), [0, 0, 0, 0, 1, 0]);
    }
    assert_eq!(
        after(|said| said.timeline[4].id = "c0-99".to_owned()),
        [1, 0, 0, 0, 1, 0]
    );
    // Other evidence: the signal is wrong, the right one is lost, and so is what its decision belonged to.
    let other = |said: &mut Said| said.signals[0].0.seen[0].first.id = crate::script::id(0, 2);
    assert_eq!(after(other), [1, 0, 0, 0, 2, 0]);
    assert_eq!(
        after(|said| said.decisions[0].signal = said.decisions[1].signal),
        [0, 0, 0, 0, 1, 0]
    );
    assert_eq!(
        after(|said| said.decisions[0].action = Action::Cancel),
        [0, 0, 0, 0, 1, 0]
    );
}

#[test]
fn an_absence_before_its_time_is_early() {
    assert_eq!(
        after(|said| {
            let quiet = quiet(said);
            said.signals[quiet].0.matched_at.0 -= 1;
        }),
        [0, 0, 0, 1, 0, 0]
    );
    assert_eq!(
        after(|said| {
            let quiet = quiet(said);
            said.signals[quiet].1 -= 10;
        }),
        [0, 0, 0, 1, 0, 0]
    );
}

#[test]
fn an_absence_of_one_who_paid_is_early() {
    let accuse = |said: &mut Said| {
        let mut accused = said.signals[quiet(said)].clone();
        accused.0.seen[0].first.id = crate::script::id(payer(), 3);
        said.signals.push(accused);
    };
    assert_eq!(after(accuse), [0, 0, 0, 1, 0, 0]);
}

#[test]
fn a_load_that_loses_or_doubles_proves_nothing() {
    assert_eq!(after(|said| drop(said.raws.remove(9))), [0, 0, 0, 0, 0, 1]);
    assert_eq!(after(|said| said.raws.push(said.raws[9].clone())), [0, 0, 0, 0, 0, 1]);
    assert_eq!(
        after(|said| said.raws.push(("x".to_owned(), 1_000))),
        [0, 0, 0, 0, 0, 1]
    );
}
