//! What a restore leaves in the database, against a map that every row of the log went into in order.

mod map;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use map::{Map, Stored};
use proptest::prelude::*;
use stream::{
    Corrupt, Cx, Marker, Millis, Record, Reject, Routed, Row, RowWriter, Rows, Stage, Statefulness, Task, TaskConfig,
    TopicPartition,
    changelog::pack,
    rows::{HEAD, Head, MARKER, POSITION, head_of, read_timer, state_key},
};

struct Idle;

impl Stage for Idle {
    type Input = ();
    type State = ();

    fn decode(&self, _: &Record) -> Result<Routed<()>, Reject> {
        Ok(Routed::Ignore)
    }

    fn on_event(&self, (): &mut (), (): (), _: &mut Cx<'_>) {}

    fn on_time(&self, (): &mut (), _: &mut Cx<'_>) {}

    fn deadline(&self, (): &()) -> Option<Millis> {
        None
    }

    fn load(&self, _: Rows<'_>) -> Result<(), Corrupt> {
        Ok(())
    }

    fn save(&self, (): &mut (), _: &mut RowWriter<'_>) {}
}

fn open(stored: &Stored) -> Task<Idle> {
    let config = TaskConfig {
        input: TopicPartition {
            topic: Arc::from("in"),
            partition: 0,
        },
        slot: 0,
        window: 0,
        state: Statefulness::Keyed,
        cached_keys: 1,
        timers_per_round: 1000,
        dead_letters: Arc::new(|_: &Record, _: &Reject| unreachable!("nothing is refused")),
        snapshots: None,
    };
    Task::open(Arc::new(Idle), config, Box::new(Map(Arc::clone(stored)))).expect("opens")
}

/// One row of a key: its head with or without deadline, another row, or either deleted; sizes reach beyond one part.
fn row() -> impl Strategy<Value = Row> {
    let deadline = prop_oneof![Just(None), (-20..20i64).prop_map(|due| Some(Millis(due)))];
    let size = prop_oneof![8 => 0..40usize, 1 => Just(300_000)];
    (0..6u8, any::<bool>(), 0..4u8, deadline, size).prop_map(|(key, is_head, deleted, deadline, size)| {
        // The first bytes are equal now and then, so that prefixes alone do not order them.
        let short = [key / 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, key];
        let payload = vec![key; size];
        let value = if is_head {
            Head {
                deadline,
                now: Millis(0),
                key: &short,
                payload: &payload,
            }
            .encode()
        } else {
            payload
        };
        let name = if is_head { HEAD } else { b"zz1" };
        (state_key(&short, name), (deleted > 0).then_some(value))
    })
}

/// What is done behind each part of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Flush,
    /// Flushed, and the process dies.
    Die,
    /// The same, and the group tells less than the database when it is opened again.
    DieAhead,
}

/// An epoch's rows, and what is done behind each of its parts the first time that it is read.
fn epochs() -> impl Strategy<Value = Vec<(Vec<Row>, Then)>> {
    let then = prop_oneof![
        Just(Then::Nothing),
        Just(Then::Flush),
        Just(Then::Die),
        Just(Then::DieAhead)
    ];
    proptest::collection::vec((proptest::collection::vec(row(), 0..12), then), 1..12)
}

proptest! {
    #[test]
    fn the_newest_row_of_each_key_and_the_timers_of_its_head_are_there(epochs in epochs(), is_flushed in any::<bool>()) {
        let stored = Stored::default();
        let mut twin: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut task = open(&stored);
        let mut log = Vec::new();
        for (index, (rows, then)) in epochs.iter().enumerate() {
            let marker = Marker { epoch: index as u64 + 1, ..Marker::default() };
            log.extend(pack(&marker, &rows.iter().collect::<Vec<_>>()).into_iter().map(|part| (part, *then)));
            for (key, value) in rows {
                match value {
                    Some(value) => twin.insert(key.clone(), value.clone()),
                    None => twin.remove(key),
                };
            }
        }
        let (mut at, mut seen) = (0, 0);
        while let Some((part, then)) = log.get(at) {
            at += 1;
            let next = i64::try_from(at).expect("few");
            task.restore(part, next).expect("whole");
            task.restored_to(next);
            if *then != Then::Nothing && at > seen {
                seen = at;
                task.flush().expect("disk works");
                if matches!(then, Then::Die | Then::DieAhead) {
                    task = open(&stored);
                    if *then == Then::DieAhead {
                        prop_assert_eq!(task.doubt(), task.marker().epoch > 0);
                        prop_assert!(!task.is_refuted(false));
                    }
                    at = usize::try_from(task.changelog_next()).expect("not negative");
                }
            }
        }
        let expected: BTreeSet<_> = twin
            .iter()
            .filter_map(|(key, value)| {
                let due = Head::decode(value).ok().filter(|_| head_of(key).is_some())?.deadline?;
                Some((due, *head_of(key)?))
            })
            .collect();
        prop_assert!(!task.is_refuted(true), "it is the log's own");
        if is_flushed {
            task.flush().expect("disk works");
        }
        task.restored();
        prop_assert!(task.timers_pending() >= expected.len());
        // Whatever is left comes through the overlay.
        task.flush().expect("disk works");
        prop_assert_eq!(task.overlay_bytes(), 0);
        let found = stored.lock().expect("no panic").clone();
        let range = |from: &[u8], to: &[u8]| -> BTreeMap<Vec<u8>, Vec<u8>> {
            found.range(from.to_vec()..to.to_vec()).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        prop_assert_eq!(range(b"st", b"su"), twin);
        let timers: BTreeSet<_> = range(b"ti", b"tj").keys().filter_map(|key| read_timer(key)).collect();
        prop_assert!(expected.is_subset(&timers), "{:?} of {:?}", expected, timers);
        prop_assert_eq!(timers.len(), task.timers_pending());
        let marker = Marker::decode(&found[MARKER]).expect("whole");
        prop_assert_eq!(marker.epoch, epochs.len() as u64);
        prop_assert!(found.contains_key(POSITION));
        prop_assert_eq!(open(&stored).timers_pending(), timers.len());
        prop_assert_eq!(open(&stored).changelog_next(), i64::try_from(log.len()).expect("few"));
    }
}

/// The parts of an epoch whose input ends there.
fn epoch(epoch: u64, offset: i64, bytes: usize) -> Vec<Vec<u8>> {
    let marker = Marker {
        epoch,
        offset,
        ..Marker::default()
    };
    let row = |key: u8| (state_key(&[key; 16], b"zz1"), Some(vec![key; bytes]));
    pack(&marker, &[row(1), row(2)].iter().collect::<Vec<_>>())
}

#[test]
fn a_database_that_is_not_the_changelogs_is_refuted() {
    let long = epoch(2, 20, 600_000);
    assert!(long.len() > 1);
    let doubted = || {
        let stored = Stored::default();
        let mut task = open(&stored);
        for (part, next) in epoch(1, 10, 8).iter().chain(&epoch(2, 20, 8)).zip([1, 3]) {
            task.restore(part, next).expect("whole");
            task.restored_to(next + 1);
        }
        task.flush().expect("disk works");
        let mut task = open(&stored);
        assert!(task.doubt());
        assert_eq!(
            (task.changelog_next(), task.is_refuted(false), task.is_refuted(true)),
            (2, false, true)
        );
        task
    };
    let others = [
        &epoch(2, 21, 8)[0],
        &epoch(3, 30, 8)[0],
        &epoch(1, 10, 8)[0],
        &long[1],
        &b"?".to_vec(),
    ];
    for other in others {
        let mut task = doubted();
        task.restore(other, 3).expect("it is only compared");
        assert!(task.is_refuted(false), "{other:?}");
        task.restore(&epoch(2, 20, 8)[0], 4).expect("nothing is taken any more");
        assert!(task.is_refuted(false));
        task.reset().expect("disk works");
        assert!(!task.is_refuted(true));
        assert!(!task.doubt(), "nothing is left to compare");
    }
    let mut task = doubted();
    task.restore(&epoch(2, 20, 8)[0], 3).expect("whole");
    assert!(!task.is_refuted(true), "it is its own");
    task.restore(&epoch(3, 30, 8)[0], 5).expect("the one behind it");
    assert_eq!((task.marker().epoch, task.changelog_last()), (3, 3));
}

#[test]
fn a_head_that_cannot_be_read_stops_the_restore() {
    let mut task = open(&Stored::default());
    let rows = [(state_key(&[1; 16], HEAD), Some(vec![9, 9]))];
    let parts = pack(
        &Marker {
            epoch: 1,
            ..Marker::default()
        },
        &rows.iter().collect::<Vec<_>>(),
    );
    let refused = task.restore(&parts[0], 1).expect_err("an unknown version");
    assert!(refused.to_string().contains("unknown head version"), "{refused}");
}
