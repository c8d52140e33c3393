//! Each kind of finding, from records alone, and none where a cluster merely lives.

use stream::{Marker, changelog::pack, clock::Clock};

use super::*;

const INPUT: &str = "journey.timeline";
const CHANGELOG: &str = "journey.changelog.monitor";
const SIGNALS: &str = "journey.signals";

fn record(topic: &str, offset: i64, timestamp: i64, value: Option<Vec<u8>>) -> Record {
    Record {
        topic: Arc::from(topic),
        partition: 0,
        offset,
        timestamp: Millis(timestamp),
        key: None,
        value,
        headers: Vec::new(),
    }
}

fn text(name: &str, value: String) -> stream::Header {
    (name.to_owned(), Some(value.into_bytes()))
}

/// An output that names its source; its id follows from `id`.
fn output(offset: i64, source: i64, id: u32) -> Record {
    let mut record = record(SIGNALS, offset, 1_000_000, Some(b"x".to_vec()));
    record.headers = vec![
        text("waymark-output-id", format!("30846955-59dd-8d23-9aa7-{id:012x}")),
        text("waymark-source", format!("{INPUT}/0/{source}/0")),
    ];
    record
}

fn marker(epoch: u64, offset: i64, signals: u64) -> Marker {
    let time = Millis(i64::try_from(epoch).expect("small"));
    Marker {
        epoch,
        offset,
        clock: Clock::restored(
            time,
            time,
            stream::clock::Generation::default(),
            stream::clock::Generation::default(),
        ),
        outputs: vec![(SIGNALS.to_owned(), signals)],
        ..Marker::default()
    }
}

fn parts(marker: &Marker) -> Vec<Vec<u8>> {
    pack(marker, &[])
}

/// Five epochs of ten input records, each with two signals.
struct History {
    changelog: Vec<Vec<u8>>,
    outputs: Vec<Record>,
    committed: Option<Committed>,
    is_compacted: bool,
    reach: Reach,
}

fn history() -> History {
    let mut history = History {
        changelog: Vec::new(),
        outputs: Vec::new(),
        committed: Some(committed(50, 5)),
        is_compacted: false,
        reach: Reach::Whole,
    };
    for epoch in 1..=5_i64 {
        for (index, source) in [epoch * 10 - 7, epoch * 10 - 2].into_iter().enumerate() {
            let offset = (epoch - 1) * 3 + i64::try_from(index).expect("small");
            let id = u32::try_from(offset).expect("small");
            history.outputs.push(output(offset, source, id));
        }
        history
            .changelog
            .extend(parts(&marker(epoch.unsigned_abs(), epoch * 10, 2)));
    }
    history
}

fn committed(offset: i64, epoch: u64) -> Committed {
    let metadata = format!("2:{epoch}:0:1");
    Committed { offset, metadata }
}

/// Audits as the command does: the books, two cuts.
fn audit(history: &History) -> (Findings, Keyed) {
    let mut findings = Findings::default();
    let mut keyed = Keyed::new("monitor", INPUT, CHANGELOG, &[true]);
    for (index, value) in history.changelog.iter().enumerate() {
        let offset = i64::try_from(index).expect("small") * 2;
        keyed.changelog(
            &record(CHANGELOG, offset, 1_000_000, Some(value.clone())),
            &mut findings,
        );
    }
    keyed.open(SIGNALS, history.is_compacted, 0, history.reach);
    for outputs in [history.outputs.as_slice(), &[]] {
        keyed.cut(std::slice::from_ref(&history.committed), &mut findings);
        for output in outputs {
            keyed.visible(output, &mut findings);
        }
        keyed.settle(&mut findings);
    }
    keyed.finish(&mut findings);
    (findings, keyed)
}

/// What is found, a line each: kind, message, epochs and counts.
fn found(change: impl FnOnce(&mut History)) -> Vec<String> {
    let mut history = history();
    change(&mut history);
    lines(&audit(&history).0)
}

fn lines(findings: &Findings) -> Vec<String> {
    findings.kept().iter().map(ToString::to_string).collect()
}

fn not_covered(findings: &Findings) -> Vec<String> {
    let line = |of: &Uncovered| format!("{}: {} {}..{} {}", of.place, of.reason, of.first, of.last, of.count);
    findings.uncovered().map(line).collect()
}

#[test]
fn what_agrees_is_clean() {
    let (findings, keyed) = audit(&history());
    assert_eq!(lines(&findings), Vec::<String>::new());
    assert_eq!(not_covered(&findings), Vec::<String>::new());
    let (summaries, names) = keyed.summaries();
    assert_eq!(names, [SIGNALS]);
    assert_eq!(summaries[0].epochs, Some((1, 5, 5)));
    assert_eq!(summaries[0].totals[&0], (10, 10));
}

#[test]
fn an_output_that_is_missing_is_lost() {
    for (index, epoch, range) in [(0, 1, "..10"), (4, 3, "20..30"), (9, 5, "40..50")] {
        let lost = found(|history| drop(history.outputs.remove(index)));
        let line = format!(
            "lost: monitor: journey.timeline/0/{range}: fewer records of journey.signals than its markers count: \
             epochs={epoch}..{epoch} counted=2 visible=1"
        );
        assert_eq!(lost, [line]);
    }
}

#[test]
fn an_output_that_stands_twice_is_duplicated() {
    let twice = found(|history| {
        let again = Record {
            offset: 40,
            ..history.outputs[9].clone()
        };
        history.outputs.push(again);
    });
    assert_eq!(
        twice,
        ["duplicated: monitor: journey.signals/0/40: output id comes again: source=journey.timeline/0/48"]
    );
    let under_another_id = found(|history| history.outputs.push(output(40, 48, 99)));
    assert_eq!(
        under_another_id,
        [
            "duplicated: monitor: journey.timeline/0/40..50: more records of journey.signals than its markers count: \
          epochs=5..5 counted=2 visible=3"
        ]
    );
}

#[test]
fn a_copy_that_comes_after_the_judgement_is_duplicated() {
    let (mut findings, mut keyed) = audit(&history());
    keyed.visible(&output(41, 12, 99), &mut findings);
    let expected = "duplicated: monitor: journey.signals/0/41: another output of epochs that were complete: \
                    source=journey.timeline/0/12";
    assert_eq!(lines(&findings), [expected]);
}

#[test]
fn an_epoch_that_is_missing_is_a_gap_and_nothing_else() {
    let gap = found(|history| drop(history.changelog.remove(2)));
    assert_eq!(
        gap,
        ["gap: monitor: journey.changelog.monitor/0/4: epoch numbers skip: found=4 expected=3: epochs=3..3"]
    );
    let again = found(|history| history.changelog.insert(2, history.changelog[1].clone()));
    assert_eq!(
        again,
        ["duplicated: monitor: journey.changelog.monitor/0/4: epoch comes again: found=2 expected=3: epochs=2..2"]
    );
}

#[test]
fn a_part_that_is_missing_is_torn() {
    let big: Vec<stream::Row> = (0u8..3).map(|row| (vec![row], Some(vec![7; 400_000]))).collect();
    let three = pack(&marker(3, 30, 2), &big.iter().collect::<Vec<_>>());
    assert_eq!(three.len(), 3);
    for (missing, message) in [
        (0, "4: part without its first: part=1"),
        (1, "6: parts are missing: found=2 expected=1"),
        (2, "4: last part is missing: parts=2"),
    ] {
        let torn = found(|history| {
            let mut left = three.clone();
            left.remove(missing);
            history.changelog.splice(2..3, left);
        });
        let expected = format!("torn: monitor: journey.changelog.monitor/0/{message}: epochs=3..3");
        assert_eq!(torn, [expected], "part {missing}");
    }
    let at_the_end = found(|history| {
        let mut left = pack(&marker(6, 60, 0), &big.iter().collect::<Vec<_>>());
        left.truncate(2);
        history.changelog.extend(left);
        history.committed = Some(committed(60, 6));
    });
    let last = "torn: monitor: journey.changelog.monitor/0/10: last part is missing: parts=2: epochs=6..6";
    assert_eq!(at_the_end, [last]);
    let rubbish = found(|history| history.changelog[4] = b"x".to_vec());
    assert!(rubbish[0].contains("torn: monitor: journey.changelog.monitor/0/8: unknown changelog part version"));
}

#[test]
fn outputs_that_change_places_are_out_of_order() {
    let swapped = found(|history| {
        let (one, two) = (history.outputs[3].clone(), history.outputs[4].clone());
        history.outputs[3] = Record {
            offset: one.offset,
            ..two.clone()
        };
        history.outputs[4] = Record {
            offset: two.offset,
            ..one
        };
    });
    assert_eq!(
        swapped,
        [
            "out_of_order: monitor: journey.signals/0/6: stands behind an output of a later epoch: \
          source=journey.timeline/0/18: epochs=2..2"
        ]
    );
    let inside_an_epoch = found(|history| history.outputs.swap(4, 5));
    assert_eq!(
        inside_an_epoch,
        Vec::<String>::new(),
        "events of one bucket are sorted by time"
    );
}

#[test]
fn offsets_and_clocks_never_go_back() {
    let back = found(|history| history.changelog[3] = parts(&marker(4, 29, 0)).remove(0));
    assert!(
        back[0]
            .starts_with("out_of_order: monitor: journey.changelog.monitor/0/6: offset went back: found=29 before=30")
    );
    let clock = found(|history| {
        let early = Marker {
            clock: marker(1, 0, 0).clock,
            ..marker(4, 40, 2)
        };
        history.changelog[3] = parts(&early).remove(0);
    });
    assert_eq!(
        clock,
        ["out_of_order: monitor: journey.changelog.monitor/0/6: clock went back: found=1/1 before=3/3: epochs=4..4"]
    );
}

#[test]
fn the_groups_position_and_the_last_marker_say_the_same() {
    for (at, message) in [
        (
            committed(40, 4),
            "committed offset and marker differ: committed=40#4 marker=50#5",
        ),
        (
            committed(49, 5),
            "committed offset and marker differ: committed=49#5 marker=50#5",
        ),
        (
            committed(60, 6),
            "committed offset names an epoch that the changelog lacks: committed=60#6",
        ),
    ] {
        let differs = found(|history| history.committed = Some(at));
        assert_eq!(differs, [format!("disagrees: monitor: journey.timeline/0: {message}")]);
    }
    let mut history = history();
    history.committed = None;
    let (findings, _) = audit(&history);
    assert_eq!(lines(&findings), Vec::<String>::new());
    assert_eq!(
        not_covered(&findings),
        ["journey.timeline/0: the group has no committed offset to compare with 5..5 1"]
    );
}

#[test]
fn what_no_epoch_covers_is_torn_once_its_marker_should_have_been_read() {
    let mut history = history();
    history.outputs.push(output(40, 55, 99));
    let (findings, _) = audit(&history);
    assert_eq!(
        lines(&findings),
        ["torn: monitor: journey.signals/0/40: visible, but no epoch covers its source: source=journey.timeline/0/55"]
    );
}

#[test]
fn a_timers_outputs_belong_to_the_last_record_read() {
    let fires_later = found(|history| {
        history.changelog.extend(parts(&marker(6, 50, 1)));
        history.outputs.push(output(40, 49, 99));
        history.committed = Some(committed(50, 6));
    });
    assert_eq!(fires_later, Vec::<String>::new());
    // The same while it happens: judged before, grown after.
    let (mut findings, mut keyed) = audit(&history());
    keyed.visible(&output(40, 49, 99), &mut findings);
    let next = parts(&marker(6, 50, 1)).remove(0);
    for cut in 0..2 {
        keyed.cut(&[Some(committed(50, 6))], &mut findings);
        if cut == 0 {
            keyed.changelog(&record(CHANGELOG, 20, 1_000_000, Some(next.clone())), &mut findings);
        }
        keyed.settle(&mut findings);
    }
    assert_eq!(lines(&findings), Vec::<String>::new());
}

#[test]
fn a_log_whose_beginning_is_gone_is_covered_from_its_second_epoch() {
    let mut history = history();
    history.changelog.drain(..2);
    history.outputs.remove(3);
    let (findings, _) = audit(&history);
    assert_eq!(
        lines(&findings),
        Vec::<String>::new(),
        "the first epoch's range is not known"
    );
    assert_eq!(
        not_covered(&findings),
        ["journey.changelog.monitor/0: epochs before the first that was read 1..3 3"]
    );
}

#[test]
fn compaction_may_take_records_away_and_never_adds_one() {
    let mut history = history();
    history.is_compacted = true;
    history.outputs.drain(2..5);
    let (findings, _) = audit(&history);
    assert_eq!(lines(&findings), Vec::<String>::new());
    let reason = "compacted: fewer are visible than were counted";
    assert_eq!(
        not_covered(&findings),
        [format!("journey.signals from journey.timeline/0: {reason} 2..3 3")]
    );
    history.outputs.push(output(40, 48, 99));
    assert_eq!(audit(&history).0.counts()[&Kind::Duplicated], 1);
}

#[test]
fn what_was_deleted_is_not_called_lost_and_what_came_later_is() {
    let mut history = history();
    history.reach = Reach::Left;
    history.outputs.drain(..3);
    let (findings, _) = audit(&history);
    assert_eq!(lines(&findings), Vec::<String>::new());
    let reason = "records of the topic were deleted";
    assert_eq!(
        not_covered(&findings),
        [format!("journey.signals from journey.timeline/0: {reason} 1..2 3")]
    );
    // The first record left is of epoch 2: what is missing from epoch 4 was not deleted.
    history.outputs.remove(3);
    let lost = lines(&audit(&history).0);
    assert!(
        lost[0].starts_with("lost: monitor: journey.timeline/0/30..40"),
        "{lost:?}"
    );
}

#[test]
fn a_changelog_trimmed_under_the_reader_is_followed_again_behind_the_trim() {
    let (mut findings, mut keyed) = audit(&history());
    keyed.skipped_changelog(0, 10, 14, &mut findings);
    for (offset, epoch) in [(14, 8_u64), (16, 9)] {
        let value = parts(&marker(epoch, epoch.cast_signed() * 10, 2)).remove(0);
        keyed.changelog(&record(CHANGELOG, offset, 1_000_000, Some(value)), &mut findings);
    }
    keyed.cut(&[Some(committed(90, 9))], &mut findings);
    for (offset, source) in [(40, 52), (41, 61), (42, 78), (43, 82), (44, 83)] {
        let id = u32::try_from(offset).expect("small");
        keyed.visible(&output(offset, source, id), &mut findings);
    }
    keyed.settle(&mut findings);
    assert_eq!(lines(&findings), Vec::<String>::new());
    assert_eq!(
        not_covered(&findings),
        [
            "journey.changelog.monitor/0: epochs before the first that was read 6..8 3",
            "journey.changelog.monitor/0: trimmed before it was read 10..13 4",
        ]
    );
}

#[test]
fn dead_letters_are_counted_by_the_record_they_hold() {
    const LETTERS: &str = "journey.timeline.dlq";
    for (letters, expected) in [(1, 0), (0, 1), (2, 1)] {
        let mut findings = Findings::default();
        let mut keyed = Keyed::new("monitor", INPUT, CHANGELOG, &[true]);
        let epoch = Marker {
            outputs: vec![(LETTERS.to_owned(), 1)],
            ..marker(1, 10, 0)
        };
        let value = parts(&epoch).remove(0);
        keyed.changelog(&record(CHANGELOG, 0, 1_000_000, Some(value)), &mut findings);
        keyed.open(LETTERS, false, 0, Reach::Whole);
        keyed.cut(&[Some(committed(10, 1))], &mut findings);
        for offset in 0..letters {
            let mut letter = record(LETTERS, offset, 5, None);
            // The record's own headers are carried along: they name what caused the record.
            letter.headers = vec![
                text("waymark-source", "journey.events.web/1/99/0".to_owned()),
                text("__connect.errors.topic", INPUT.to_owned()),
                text("__connect.errors.partition", "0".to_owned()),
                text("__connect.errors.offset", "7".to_owned()),
            ];
            keyed.visible(&letter, &mut findings);
        }
        keyed.settle(&mut findings);
        // More than counted is certain once nothing of the epoch can be unread.
        keyed.cut(&[Some(committed(10, 1))], &mut findings);
        keyed.settle(&mut findings);
        assert_eq!(findings.kept().len(), expected, "{:?}", lines(&findings));
    }
}

/// A cluster that writes epoch after epoch, read at any pace with cuts at any time, is never accused; the same with one output gone
/// always is.
#[test]
fn a_live_cluster_is_never_accused() {
    for seed in 1..=300_u64 {
        assert_eq!(follow(seed, None), Vec::<String>::new(), "seed {seed}");
        let lost = follow(seed, Some(1 + seed as usize % 20));
        assert!(
            lost.len() == 1 && lost[0].starts_with("lost: "),
            "seed {seed}: {lost:?}"
        );
    }
}

/// A cluster that writes, and a reader of it.
struct World {
    dice: u64,
    missing: Option<usize>,
    changelog: Vec<Record>,
    outputs: Vec<Record>,
    /// The last epoch, the next input offset, and the outputs ever written.
    epoch: u64,
    input: i64,
    ids: usize,
    /// How far both topics have been read.
    read: usize,
    seen: usize,
    keyed: Keyed,
    findings: Findings,
}

impl World {
    fn dice(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) % sides
    }

    /// One epoch; some only fire timers.
    fn write(&mut self) {
        self.epoch += 1;
        let begin = self.input;
        if self.epoch == 1 || self.dice(4) > 0 {
            self.input += 1 + self.dice(9).cast_signed();
        }
        let count = self.dice(4);
        for _ in 0..count {
            let behind = (self.input - begin).unsigned_abs();
            let source = if behind == 0 {
                self.input - 1
            } else {
                begin + self.dice(behind).cast_signed()
            };
            self.ids += 1;
            if self.missing != Some(self.ids) {
                let offset = i64::try_from(self.outputs.len()).expect("small");
                let id = u32::try_from(self.ids).expect("small");
                self.outputs.push(output(offset, source, id));
            }
        }
        let value = parts(&marker(self.epoch, self.input, count)).remove(0);
        let offset = i64::try_from(self.changelog.len()).expect("small");
        self.changelog.push(record(CHANGELOG, offset, 0, Some(value)));
    }

    /// Reads on a little, and as far as these ends at least.
    fn read(&mut self, ends: (usize, usize)) {
        let some = (self.dice(3) as usize, self.dice(5) as usize);
        let to = ends.0.max((self.read + some.0).min(self.changelog.len()));
        while self.read < to {
            self.keyed.changelog(&self.changelog[self.read], &mut self.findings);
            self.read += 1;
        }
        let to = ends.1.max((self.seen + some.1).min(self.outputs.len()));
        while self.seen < to {
            self.keyed.visible(&self.outputs[self.seen], &mut self.findings);
            self.seen += 1;
        }
    }
}

fn follow(seed: u64, missing: Option<usize>) -> Vec<String> {
    let mut keyed = Keyed::new("monitor", INPUT, CHANGELOG, &[true]);
    keyed.open(SIGNALS, false, 0, Reach::Whole);
    let mut world = World {
        dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        missing,
        changelog: Vec::new(),
        outputs: Vec::new(),
        epoch: 0,
        input: 0,
        ids: 0,
        read: 0,
        seen: 0,
        keyed,
        findings: Findings::default(),
    };
    world.write();
    for step in 0..60 {
        let is_live = step < 50;
        if is_live {
            world.write();
        }
        world.read((0, 0));
        if world.dice(3) == 0 || !is_live {
            let at = committed(world.input, world.epoch);
            world.keyed.cut(&[Some(at)], &mut world.findings);
            if is_live && world.dice(2) == 0 {
                world.write();
            }
            let ends = (world.changelog.len(), world.outputs.len());
            // The cluster goes on while it is read, and the reader meets some of that.
            if is_live {
                world.write();
            }
            world.read(ends);
            world.keyed.settle(&mut world.findings);
        }
    }
    lines(&world.findings)
}

#[test]
fn a_source_is_four_words() {
    let of = |value: &str| {
        let mut record = record(SIGNALS, 0, 0, None);
        record.headers = vec![text("waymark-source", value.to_owned())];
        source(&record).map(|source| (source.at.0.to_owned(), source.at.1, source.at.2, source.index))
    };
    assert_eq!(
        of("p.journey.timeline/17/88180/2"),
        Some(("p.journey.timeline".to_owned(), 17, 88_180, 2))
    );
    for wrong in ["", "t/0/1", "t/0/x/0", "t/0/1/0/0"] {
        assert_eq!(of(wrong), None, "{wrong}");
    }
}
