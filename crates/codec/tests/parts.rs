//! Runs in parts: what is written follows from the journey alone, reads back, and is little; bytes are frozen.

use std::{collections::BTreeMap, sync::Arc};

use codec::{Saved, is_of_runs, load_journey, pack_journey, save_journey, unpack_journey};
use event::{Attribute, EventRef, Millis};
use journey::Journey;
use pattern::{
    Instance, Kept, Run, Runs, Sighting, Value,
    bench::{Load, World},
};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn of(runs: Runs) -> Journey {
    Journey {
        runs,
        ..Journey::default()
    }
}

/// Writes what changed of the runs; how many bytes of it, names included, and the names.
fn write(journey: &Journey, saved: &mut Saved, rows: &mut Rows) -> (usize, Vec<Vec<u8>>) {
    let (mut bytes, mut names) = (0, Vec::new());
    save_journey(journey, saved, &mut |name, value| {
        if is_of_runs(name) {
            bytes += name.len() + value.as_ref().map_or(0, Vec::len);
            names.push(name.to_vec());
        }
        match value {
            Some(value) => rows.insert(name.to_vec(), value),
            None => rows.remove(name),
        };
    });
    (bytes, names)
}

fn read(rows: &Rows) -> Result<(Journey, Saved), String> {
    load_journey(rows.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
}

/// Customers of small and large catalogues, saved behind every few events: whatever was written before, the rows are those of a journey
/// that is written for the first time, and read back as it. Now and then a customer is read anew, as behind an eviction or a restart.
#[test]
fn rows_follow_from_the_journey_alone() {
    for (load, patterns) in [
        (Load::Spread, 1000),
        (Load::Follow, 300),
        (Load::Spread, 16),
        (Load::Move, 40),
    ] {
        let mut world = World::new(load, patterns, 3);
        let mut stored: Vec<(Saved, Rows)> = (0..3).map(|_| Default::default()).collect();
        for round in 0..100 {
            world.run(1 + round % 7);
            for (number, (runs, (saved, rows))) in world.runs().zip(&mut stored).enumerate() {
                let journey = of(runs.clone());
                write(&journey, saved, rows);
                let mut fresh = Rows::new();
                write(&journey, &mut Saved::default(), &mut fresh);
                assert!(*rows == fresh, "{load:?}, round {round}");
                let (again, loaded) = read(rows).expect("readable");
                assert!(again == journey, "{load:?}, round {round}");
                if (round + number) % 5 == 0 {
                    *saved = loaded;
                    let (bytes, _) = write(&again, saved, rows);
                    assert_eq!(bytes, 0, "nothing has changed since it was read");
                }
            }
        }
    }
}

#[test]
fn an_event_has_little_written_again() {
    for (load, share) in [(Load::Spread, 4), (Load::Follow, 3)] {
        let mut world = World::new(load, 1000, 1);
        let (mut saved, mut rows) = (Saved::default(), Rows::new());
        world.run(200);
        write(&of(world.runs().next().expect("one").clone()), &mut saved, &mut rows);
        let (mut written, mut whole) = (0, 0);
        for _ in 0..200 {
            world.run(1);
            let journey = of(world.runs().next().expect("one").clone());
            written += write(&journey, &mut saved, &mut rows).0;
            let run_rows = rows.iter().filter(|(name, _)| is_of_runs(name));
            whole += run_rows.map(|(name, value)| name.len() + value.len()).sum::<usize>();
        }
        println!("{load:?}: {} bytes an event of {}", written / 200, whole / 200);
        assert!(written * share < whole, "{load:?}: {written} of {whole}");
    }
}

/// Thirty instances, some of them with all that one can have, and events in three rows.
fn sample() -> Journey {
    let pattern = |number: u64| Arc::from(format!("pattern-{number:02}"));
    let instance = |number: u64| Instance {
        pattern: pattern(number),
        version: 1,
        sightings: [Sighting {
            index: number * 3,
            at: at(number),
            members: 1,
            is_usable: false,
        }]
        .into(),
        runs: vec![Run {
            step: 1,
            evidence: vec![number * 3].into(),
            counts: [1, 0, 0, 0, 0, 0, 0, 0],
            start: at(number),
            done: at(number),
            ..Run::default()
        }],
        ..Instance::default()
    };
    let mut instances: Vec<Instance> = (0..30).map(instance).collect();
    instances[7].by = vec![Attribute::Text("s".to_owned())];
    instances[8].runs[0].deadline = Some(Millis(95_000));
    instances[9].closed = Some(40);
    instances[10].runs.clear();
    let event = |number: u64| EventRef {
        id: format!("e{number}"),
        source: "shop/web".to_owned(),
        kind: "checkout.started".to_owned(),
        time: at(number),
        position: format!("journey.timeline/1/{number}"),
    };
    let kept = |number: u64| Kept::new(number * 3, at(number), &event(number), [("value", Value::Long(3))]);
    of(Runs::restored(instances, (0..30).map(kept).collect()))
}

fn at(number: u64) -> Millis {
    Millis(1000 * i64::try_from(number).expect("small"))
}

#[test]
fn the_bytes_of_parts_never_change() {
    let mut rows = Rows::new();
    let journey = sample();
    write(&journey, &mut Saved::default(), &mut rows);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let shown: String = rows
        .iter()
        .filter(|(name, _)| is_of_runs(name))
        .map(|(name, value)| format!("{} {}\n", hex(name), hex(value)))
        .collect();
    assert_eq!(shown, include_str!("../testdata/journey-runs-1.rows.hex"));
    assert_eq!(read(&rows).expect("readable").0, journey);
}

/// One pattern that comes or goes changes the part that it is in; little is one row; in one piece runs always are.
#[test]
fn what_is_little_is_one_row() {
    let journey = sample();
    let (mut saved, mut rows) = (Saved::default(), Rows::new());
    let (_, names) = write(&journey, &mut saved, &mut rows);
    assert!(names.len() > 5 && !rows.contains_key(b"ru".as_slice()));
    let with = |instances: Vec<Instance>, journey: &Journey| {
        of(Runs::restored(
            instances,
            journey.runs.events().map(Kept::from).collect(),
        ))
    };
    let mut instances = journey.runs.instances();
    let gone = instances.remove(15);
    let (_, names) = write(&with(instances.clone(), &journey), &mut saved, &mut rows);
    assert_eq!(names.len(), 1, "{gone:?}");
    let small = of(Runs::restored(instances.split_off(20), Vec::new()));
    let (_, names) = write(&small, &mut saved, &mut rows);
    assert_eq!(names.last().expect("written"), b"ru");
    let left: Vec<&Vec<u8>> = rows.keys().filter(|name| is_of_runs(name)).collect();
    assert_eq!(left, [b"ru"]);
    assert_eq!(read(&rows).expect("readable").0, small);
    write(&journey, &mut saved, &mut rows);
    assert!(!rows.contains_key(b"ru".as_slice()));
    assert_eq!(read(&rows).expect("readable").0, journey);
    let packed = pack_journey(&journey);
    assert!(
        !packed.windows(2).any(|name| name == b"rp"),
        "one row, as every version reads it"
    );
    assert_eq!(unpack_journey(&packed).expect("readable"), journey);
    write(&Journey::default(), &mut saved, &mut rows);
    assert!(!rows.keys().any(|name| is_of_runs(name)));
}

#[test]
fn parts_that_do_not_fit_are_refused_by_name() {
    let (mut rows, mut whole) = (Rows::new(), Rows::new());
    let journey = sample();
    write(&journey, &mut Saved::default(), &mut rows);
    let few = of(Runs::restored(journey.runs.instances()[..3].to_vec(), Vec::new()));
    write(&few, &mut Saved::default(), &mut whole);
    let names: Vec<Vec<u8>> = rows.keys().filter(|name| is_of_runs(name)).cloned().collect();
    for name in &names {
        let mut newer = rows.clone();
        newer.get_mut(name).expect("written")[0] = 2;
        let kind = String::from_utf8_lossy(&name[..2]);
        let told = format!("unknown row version: row={kind} found=2 known=1");
        assert_eq!(read(&newer).expect_err("newer"), told);
        for length in 0..rows[name].len() {
            let mut cut = rows.clone();
            cut.insert(name.clone(), rows[name][..length].to_vec());
            assert!(read(&cut).is_err(), "{kind} cut at {length}");
        }
    }
    let mut both = rows.clone();
    both.insert(b"ru".to_vec(), whole[b"ru".as_slice()].clone());
    assert_eq!(
        read(&both).expect_err("twice"),
        "runs stand in one row and in parts: row=ru"
    );
    let mut unnamed = rows.clone();
    unnamed.insert(b"rp\xff".to_vec(), rows[&names[names.len() - 1]].clone());
    assert_eq!(
        read(&unnamed).expect_err("no text"),
        "a part is not named by a pattern: row=rp"
    );
    let mut unplaced = rows.clone();
    unplaced.insert(b"ke\x01".to_vec(), rows[&names[0]].clone());
    assert!(read(&unplaced).is_err());
}
