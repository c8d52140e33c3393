//! Stored rows of a journey: read back as written, only changes written, bytes frozen.

use std::{collections::BTreeMap, sync::Arc};

use codec::{Saved, load_journey, pack_journey, save_journey, unpack_journey};
use event::{Arm, Attribute, Channel, EventRef, Label, Millis, OutputId, Profile, TimelineEntry};
use journey::{
    Core, Decided, Decisions, EffortEntry, EffortKind, Journey, Languages, Link, Open, Origin, Recent, Rest, Scored,
    Shown, Texts,
};
use pattern::{Counted, Instance, Kept, Run, Runs, Sighting, Value};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn sample() -> Journey {
    let run = Run {
        step: 2,
        seen: 1,
        evidence: vec![3, 6].into(),
        counts: [1, 2, 0, 0, 0, 0, 0, 0],
        start: Millis(1000),
        done: Millis(2000),
        deadline: Some(Millis(92_000)),
        captured: vec![None, Some(Attribute::Double(0.5))],
        tail: vec![Counted {
            before: 1,
            value: Attribute::Long(7),
        }],
    };
    let event = EventRef {
        id: "7f1c".to_owned(),
        source: "shop/web".to_owned(),
        kind: "checkout.started".to_owned(),
        time: Millis(1000),
        position: "journey.timeline/1/2".to_owned(),
    };
    let kept = |index| Kept::new(index, Millis(1000), &event, [("value", Value::Long(3))]);
    let seen = |index, is_usable| Sighting {
        index,
        at: Millis(1000),
        members: 1,
        is_usable,
    };
    let line = TimelineEntry {
        time: Millis(1000),
        channel: Channel::Web,
        kind: "checkout.started".to_owned(),
        count: 2,
        ..TimelineEntry::default()
    };
    Journey {
        core: Core {
            next_index: 9,
            recent: vec![Recent {
                hash: [7; 16],
                at: Millis(1000),
            }],
            channel: Channel::Web,
            seen_at: Some(Millis(1000)),
            session: Some("s".to_owned()),
            tokens: 5,
            tokens_at: Some(Millis(1000)),
            changed: true,
            ..Core::default()
        },
        profile: Profile {
            customer: "c.x".to_owned(),
            ..Profile::default()
        },
        texts: Texts {
            n_texts: 1,
            first: vec![Scored {
                at: Millis(1000),
                score: -0.5,
            }],
            label: Label::Negative,
            ..Texts::default()
        },
        efforts: vec![EffortEntry {
            at: Millis(1000),
            kind: EffortKind::Transfer,
            ms: 0,
            channel: Channel::Voice,
        }],
        decisions: Decisions {
            by_pattern: BTreeMap::from([(
                "p".to_owned(),
                Decided {
                    acted_at: Some(Millis(1000)),
                    arm: Arm::Treatment,
                },
            )]),
            shown: vec![Shown {
                intervention: OutputId::from_hash([1; 16]),
                at: Millis(1000),
            }],
            open: vec![Open::default()],
        },
        timeline: BTreeMap::from([(3, line)]),
        runs: Runs::restored(
            vec![
                Instance {
                    pattern: Arc::from("price-doubt"),
                    version: 1,
                    by: vec![Attribute::Text("s".to_owned())],
                    sightings: [seen(3, true)].into(),
                    runs: vec![run],
                    ..Instance::default()
                },
                Instance {
                    pattern: Arc::from("price-watch"),
                    version: 2,
                    date: Some(Millis(5000)),
                    sightings: [seen(3, false), seen(6, true)].into(),
                    values: vec![Attribute::Long(7), Attribute::Text("x".to_owned())],
                    cut: 3,
                    waiting_cut: 1,
                    closed: Some(5),
                    ..Instance::default()
                },
            ],
            vec![kept(3), kept(6)],
        ),
        ..Journey::default()
    }
}

fn write(journey: &Journey, saved: &mut Saved, rows: &mut Rows) -> Vec<String> {
    let mut written = Vec::new();
    save_journey(journey, saved, &mut |name, value| {
        written.push(String::from_utf8_lossy(&name[..2]).into_owned());
        match value {
            Some(value) => rows.insert(name.to_vec(), value),
            None => rows.remove(name),
        };
    });
    written
}

fn read(rows: &Rows) -> Result<(Journey, Saved), String> {
    load_journey(rows.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
}

#[test]
fn a_journey_reads_back_and_only_changes_are_written() {
    let mut journey = sample();
    let (mut saved, mut rows) = (Saved::default(), Rows::new());
    assert_eq!(
        write(&journey, &mut saved, &mut rows),
        ["hd", "pf", "tx", "ef", "de", "ru", "tl"]
    );
    let (again, mut loaded) = read(&rows).expect("readable");
    assert_eq!(again, journey);
    for saved in [&mut saved, &mut loaded] {
        assert_eq!(write(&journey, saved, &mut rows.clone()), ["hd"]);
    }
    journey.runs = Runs::default();
    journey.timeline.clear();
    assert_eq!(write(&journey, &mut loaded, &mut rows), ["hd", "ru", "tl"]);
    assert_eq!(read(&rows).expect("readable").0, journey);
}

#[test]
fn the_bytes_never_change() {
    let mut rows = Rows::new();
    write(&sample(), &mut Saved::default(), &mut rows);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let shown: String = rows
        .iter()
        .map(|(name, value)| format!("{} {}\n", hex(name), hex(value)))
        .collect();
    assert_eq!(shown, include_str!("../testdata/journey-4.rows.hex"));
}

/// The row of languages, which a journey without told texts lacks.
#[test]
fn the_bytes_of_languages_never_change() {
    let journey = Journey {
        languages: Languages {
            votes: BTreeMap::from([("en".to_owned(), 1), ("nl".to_owned(), 4)]),
            total: 6,
        },
        ..Journey::default()
    };
    let mut rows = Rows::new();
    assert_eq!(write(&journey, &mut Saved::default(), &mut rows), ["hd", "la"]);
    let bytes: String = rows[b"la".as_slice()]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(bytes, include_str!("../testdata/journey-languages-1.row.hex").trim());
    let (again, mut saved) = read(&rows).expect("readable");
    assert_eq!(again, journey);
    assert_eq!(write(&again, &mut saved, &mut rows), ["hd"]);
}

/// A journey in one piece, as it is handed over, and the row of links.
#[test]
fn a_packed_journey_reads_back_and_its_bytes_never_change() {
    let journey = Journey {
        links: vec![Link {
            to: "c.x".to_owned(),
            at: Millis(1000),
        }],
        ..sample()
    };
    let packed = pack_journey(&journey);
    assert_eq!(unpack_journey(&packed).expect("readable"), journey);
    let hex: String = packed.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("../testdata/journey-packed-2.hex").trim());
    let earlier = unhex(include_str!("../testdata/journey-packed-1.hex").trim());
    assert_eq!(
        unpack_journey(&earlier),
        Ok(journey),
        "packed when the head was of its first version"
    );
    for length in 0..packed.len() {
        assert!(
            unpack_journey(&packed[..length]).is_err() || length_is_whole(&packed, length),
            "cut at {length}"
        );
    }
    let mut newer = packed;
    newer[0] = 2;
    assert_eq!(
        unpack_journey(&newer).expect_err("newer"),
        "unknown journey version: found=2 known=1"
    );
}

/// The rows of journeys that were handed over, which a journey that never took one over lacks.
#[test]
fn the_bytes_of_origins_never_change() {
    let came = |through: Option<&str>| Origin {
        key: "d.x".to_owned(),
        through: through.map(str::to_owned),
        at: Millis(1000),
        journey: Box::new(Journey {
            core: Core {
                next_index: 9,
                ..Core::default()
            },
            ..Journey::default()
        }),
    };
    let mut journey = Journey {
        origins: BTreeMap::from([(3, came(None)), (7, came(Some("e.y")))]),
        rests: vec![Rest {
            intervention: OutputId::from_hash([1; 16]),
            origin: "d.x".to_owned(),
        }],
        ..Journey::default()
    };
    let mut rows = Rows::new();
    let written = write(&journey, &mut Saved::default(), &mut rows);
    assert_eq!(written, ["hd", "re", "or", "or"]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let shown: String = rows
        .iter()
        .filter(|(name, _)| name.as_slice() != b"hd")
        .map(|(name, value)| format!("{} {}\n", hex(name), hex(value)))
        .collect();
    assert_eq!(shown, include_str!("../testdata/journey-origins-2.rows.hex"));
    let (again, mut saved) = read(&rows).expect("readable");
    assert_eq!(again, journey);
    let earlier = golden(include_str!("../testdata/journey-origins-1.rows.hex"));
    let (again, _) = read(&earlier).expect("readable");
    assert_eq!(
        again.origins, journey.origins,
        "written when the head was of its first version"
    );
    assert_eq!(write(&again, &mut saved, &mut rows), ["hd"]);
    journey.origins.remove(&3);
    journey.rests.clear();
    assert_eq!(write(&journey, &mut saved, &mut rows), ["hd", "re", "or"]);
    assert_eq!(read(&rows).expect("readable").0, journey);
    let row = &rows[[b"or".as_slice(), &7u64.to_be_bytes()].concat().as_slice()];
    for length in 0..row.len() {
        let mut cut = rows.clone();
        cut.insert([b"or".as_slice(), &7u64.to_be_bytes()].concat(), row[..length].to_vec());
        assert!(read(&cut).is_err(), "cut at {length}");
    }
}

/// Whether a piece ends behind one of its rows: it then is a journey with fewer rows.
fn length_is_whole(packed: &[u8], length: usize) -> bool {
    let mut at = 1;
    while at < length {
        for _ in 0..2 {
            let size = u32::from_be_bytes(packed[at..at + 4].try_into().expect("four"));
            at += 4 + usize::try_from(size).expect("small");
        }
    }
    at == length
}

#[test]
fn unknown_versions_and_cut_rows_are_refused_by_name() {
    let mut rows = Rows::new();
    write(&sample(), &mut Saved::default(), &mut rows);
    let mut newer = rows.clone();
    newer.get_mut(b"ru".as_slice()).expect("written")[0] = 3;
    assert_eq!(
        read(&newer).expect_err("newer"),
        "unknown row version: row=ru found=3 known=1..=2"
    );
    for (name, value) in &rows {
        for length in 0..value.len() {
            let mut cut = rows.clone();
            cut.insert(name.clone(), value[..length].to_vec());
            assert!(read(&cut).is_err(), "{name:?} cut at {length}");
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex");
    text.as_bytes().chunks(2).map(byte).collect()
}

/// Rows of a golden file.
fn golden(text: &str) -> Rows {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, value)| (unhex(name), unhex(value))).collect()
}

/// Rows as they were when `hd` was of its first version: each byte of a hash as a number.
#[test]
fn heads_of_the_first_version_are_read() {
    let rows = golden(include_str!("../testdata/journey-3.rows.hex"));
    let (journey, mut saved) = read(&rows).expect("readable");
    assert_eq!(journey, sample());
    let mut again = Rows::new();
    assert_eq!(write(&journey, &mut saved, &mut again), ["hd"], "and written anew");
    let head = &rows[b"hd".as_slice()];
    for length in 0..head.len() {
        let cut = Rows::from([(b"hd".to_vec(), head[..length].to_vec())]);
        assert!(read(&cut).is_err(), "cut at {length}");
    }
    // A hash of fifteen bytes: the list's count is the fourth byte.
    let mut short = head.clone();
    assert_eq!(short[3], 32, "sixteen, as a number is written");
    short[3] = 30;
    short.remove(4);
    let refused = read(&Rows::from([(b"hd".to_vec(), short)])).expect_err("short");
    assert!(refused.starts_with("a hash has 16 bytes: offset="), "{refused}");
}

/// Rows as they were when `tx` was of its first version: scores without their times.
#[test]
fn texts_of_the_first_version_are_read() {
    let (journey, mut saved) = read(&golden(include_str!("../testdata/journey-2.rows.hex"))).expect("readable");
    let untimed = Scored {
        at: Millis(0),
        score: -0.5,
    };
    assert_eq!(journey.texts.first, [untimed]);
    let mut expected = sample();
    expected.texts.first = vec![untimed];
    assert_eq!(journey, expected);
    let mut again = Rows::new();
    assert_eq!(
        write(&journey, &mut saved, &mut again),
        ["hd", "tx"],
        "and written anew"
    );
}

/// Rows as version 1 wrote them: `ru` had times of first events without their index, and what had held.
#[test]
fn the_first_version_is_read() {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex");
    let unhex = |text: &str| text.as_bytes().chunks(2).map(byte).collect::<Vec<u8>>();
    let rows: Rows = include_str!("../testdata/journey-1.rows.hex")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (unhex(name), unhex(value)))
        .collect();
    let (journey, mut saved) = read(&rows).expect("readable");
    let instance = &journey.runs.instances()[0];
    assert_eq!((&*instance.pattern, instance.version), ("p", 1));
    assert_eq!((instance.sightings.len(), instance.sightings[0].is_usable), (1, false));
    let run = &instance.runs[0];
    assert_eq!((run.step, run.seen, run.evidence.as_slice()), (2, 1, [3, 6].as_slice()));
    assert_eq!(
        (run.counts[..3].to_vec(), run.deadline),
        (vec![1, 2, 0], Some(Millis(92_000)))
    );
    let events: Vec<Kept> = journey.runs.events().map(Kept::from).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].view().event().id, "7f1c");
    let mut again = rows.clone();
    assert_eq!(write(&journey, &mut saved, &mut again), ["hd", "tx", "ru"]);
    assert_eq!(read(&again).expect("readable").0, journey);
}
