//! Each kind of finding, from records alone.

use super::*;

const WEB: &str = "journey.events.web";
const TIMELINE: &str = "journey.timeline";
const SENTIMENT: &str = "journey.sentiment";
const LETTERS: &str = "journey.events.web.dlq";

/// What stands in a topic: raw records and what they must bring about, and what they did.
struct History {
    raw: Vec<(i64, Expect)>,
    /// Source offset, index, whether it carries a score.
    events: Vec<(i64, u32, bool)>,
    scores: Vec<i64>,
    letters: Vec<i64>,
    committed: Option<i64>,
    reach: Reach,
    letters_reach: Reach,
    from_start: bool,
}

/// Three records, a batch of three, an empty one, one that was refused; one carries a score.
fn history() -> History {
    History {
        raw: vec![
            (0, Expect::Events(1)),
            (1, Expect::Events(1)),
            (3, Expect::Events(3)),
            (4, Expect::Nothing),
            (5, Expect::Letter),
            (6, Expect::Events(1)),
            (8, Expect::Events(1)),
        ],
        events: vec![
            (0, 0, false),
            (1, 0, true),
            (3, 0, false),
            (3, 1, false),
            (3, 2, false),
            (6, 0, false),
        ],
        scores: vec![1],
        letters: vec![5],
        committed: Some(7),
        reach: Reach::Whole,
        letters_reach: Reach::Whole,
        from_start: true,
    }
}

fn record(topic: &str, offset: usize, timestamp: i64) -> Record {
    Record {
        topic: Arc::from(topic),
        partition: 0,
        offset: i64::try_from(offset).expect("small"),
        timestamp: Millis(timestamp),
        key: None,
        value: None,
        headers: Vec::new(),
    }
}

fn text(name: &str, value: String) -> stream::Header {
    (name.to_owned(), Some(value.into_bytes()))
}

fn event(at: usize, source: i64, index: u32) -> Record {
    let mut event = record(TIMELINE, at, 10_000_000 + source);
    event.headers = vec![text("waymark-source", format!("{WEB}/0/{source}/{index}"))];
    event
}

fn letter(at: usize, source: i64) -> Record {
    let mut letter = record(LETTERS, at, 0);
    letter.headers = vec![
        text("__connect.errors.topic", WEB.to_owned()),
        text("__connect.errors.partition", "0".to_owned()),
        text("__connect.errors.offset", source.to_string()),
    ];
    letter
}

fn audit(history: &History) -> (Findings, Stateless) {
    let mut findings = Findings::default();
    let mut stateless = Stateless::new("intake", TIMELINE, SENTIMENT, history.from_start);
    stateless.raw(WEB, 0, 0);
    stateless.open(TIMELINE, 0, history.reach);
    stateless.open(SENTIMENT, 0, Reach::Whole);
    stateless.open(LETTERS, 0, history.letters_reach);
    let committed: BTreeMap<(String, i32), i64> = history
        .committed
        .iter()
        .map(|offset| ((WEB.to_owned(), 0), *offset))
        .collect();
    for cut in 0..2 {
        stateless.cut(&committed, &mut findings);
        if cut == 0 {
            for (offset, expect) in &history.raw {
                let offset = usize::try_from(*offset).expect("positive");
                stateless.read(&record(WEB, offset, 0), *expect);
            }
            for (at, (source, index, is_scored)) in history.events.iter().enumerate() {
                stateless.event(&event(at, *source, *index), *is_scored, &mut findings);
            }
            for (at, source) in history.scores.iter().enumerate() {
                stateless.score(&record(SENTIMENT, at, 0), &format!("{WEB}/0/{source}"));
            }
            for (at, source) in history.letters.iter().enumerate() {
                stateless.letter(&letter(at, *source), &mut findings);
            }
        }
        stateless.settle(&mut findings);
    }
    stateless.finish(&mut findings);
    (findings, stateless)
}

fn lines(findings: &Findings) -> Vec<String> {
    findings.kept().iter().map(ToString::to_string).collect()
}

fn check(expected: &[&str], change: impl FnOnce(&mut History)) {
    let mut history = history();
    change(&mut history);
    let expected: Vec<String> = expected
        .iter()
        .map(|line| line.replacen(": ", ": intake: journey.events.web/0", 1))
        .collect();
    assert_eq!(lines(&audit(&history).0), expected);
}

#[test]
fn what_agrees_is_clean_and_what_the_group_has_not_passed_waits() {
    let (findings, stateless) = audit(&history());
    assert_eq!(lines(&findings), Vec::<String>::new());
    assert_eq!(findings.uncovered().count(), 0);
    let summary = &stateless.summaries()[0];
    assert_eq!((summary.judged, summary.committed), (Some((0, 7)), Some(7)));
    assert_eq!((summary.read, summary.events, summary.letters), (6, 6, 1));
}

#[test]
fn a_raw_record_without_outcome_is_lost() {
    check(
        &["lost: /1: this raw record has neither events nor a dead letter counted=1 visible=0"],
        |history| {
            history.events.remove(1);
            history.scores.clear();
        },
    );
    check(
        &["lost: /5: this raw record has neither events nor a dead letter counted=1 visible=0"],
        |history| history.letters.clear(),
    );
}

#[test]
fn a_batch_is_whole_or_torn() {
    for index in 2..5 {
        check(
            &["torn: /3: events of this raw record are missing counted=3 visible=2"],
            |history| {
                history.events.remove(index);
            },
        );
    }
    check(
        &["disagrees: /3: this raw record has more events than it holds counted=3 visible=4"],
        |history| history.events.insert(5, (3, 3, false)),
    );
}

#[test]
fn what_stands_twice_is_duplicated() {
    check(
        &["duplicated: /3: an event of this raw record stands twice on the timeline counted=3 visible=4"],
        |history| history.events.push((3, 1, false)),
    );
    check(
        &["duplicated: /5: this raw record has two dead letters counted=1 visible=2"],
        |history| history.letters.push(5),
    );
    check(
        &["disagrees: /6: this raw record has both events and a dead letter"],
        |history| history.letters.push(6),
    );
}

#[test]
fn a_copy_that_comes_after_the_judgement_is_duplicated() {
    let (mut findings, mut stateless) = audit(&history());
    stateless.event(&event(20, 3, 1), false, &mut findings);
    stateless.letter(&letter(20, 5), &mut findings);
    let expected = [
        "duplicated: intake: journey.timeline/0/20: another event of a raw record that was complete: \
         journey.events.web/0/3/1",
        "duplicated: intake: journey.events.web.dlq/0/20: another dead letter of a raw record that was complete: \
         journey.events.web/0/5",
    ];
    assert_eq!(lines(&findings), expected);
}

#[test]
fn an_output_without_a_raw_record_contradicts_it() {
    check(
        &["disagrees: /2: an output names a raw record that is not there"],
        |history| history.events.insert(2, (2, 0, false)),
    );
    check(
        &["torn: /8: visible, but the group has not passed it: committed=7"],
        |history| history.events.push((8, 0, false)),
    );
}

#[test]
fn the_timeline_keeps_the_raw_order() {
    let mut history = history();
    history.events.swap(0, 1);
    assert_eq!(
        lines(&audit(&history).0),
        [
            "out_of_order: intake: journey.timeline/0/1: stands behind a later event of its raw partition: \
          journey.events.web/0/0/0 behind 1/0"
        ]
    );
}

#[test]
fn scores_and_scored_events_are_as_many() {
    check(
        &["lost: /1: fewer scores than events of this raw record carry"],
        |history| history.scores.clear(),
    );
    check(
        &["duplicated: /1: more scores than events of this raw record carry"],
        |history| history.scores.push(1),
    );
}

#[test]
fn a_group_that_began_later_or_has_no_position_is_not_accused() {
    let mut history = history();
    history.events.drain(..2);
    history.scores.clear();
    history.from_start = false;
    let (findings, _) = audit(&history);
    assert_eq!(lines(&findings), Vec::<String>::new());
    let dropped: Vec<_> = findings.uncovered().map(|of| (of.first, of.last)).collect();
    assert_eq!(dropped, [(0, 2)], "before the first record with an outcome");
    history.committed = None;
    let (findings, _) = audit(&history);
    assert_eq!(lines(&findings), Vec::<String>::new());
    assert!(
        findings
            .uncovered()
            .any(|of| of.reason == "the group has no committed offset")
    );
}

#[test]
fn what_may_have_been_deleted_is_not_called_lost() {
    let mut history = history();
    history.events.drain(..2);
    history.scores.clear();
    history.reach = Reach::Left;
    let (findings, _) = audit(&history);
    assert_eq!(lines(&findings), Vec::<String>::new());
    assert_eq!(
        findings.uncovered().map(|of| of.last).max(),
        Some(6),
        "nothing is known yet"
    );
    let mut history = self::history();
    history.letters.clear();
    history.letters_reach = Reach::Left;
    let (findings, _) = audit(&history);
    assert_eq!(lines(&findings), Vec::<String>::new());
    let reason = "refused records whose dead letter may have been deleted";
    assert!(findings.uncovered().any(|of| of.reason == reason && of.first == 5));
    // Long before the records at hand were processed: nothing of them is among what was deleted.
    let mut history = self::history();
    history.reach = Reach::Since(Millis(0));
    history.events.remove(5);
    assert_eq!(audit(&history).0.counts()[&Kind::Lost], 1);
}

#[test]
fn a_committed_offset_never_goes_back() {
    let (mut findings, mut stateless) = audit(&history());
    stateless.cut(&BTreeMap::from([((WEB.to_owned(), 0), 4)]), &mut findings);
    assert_eq!(
        lines(&findings),
        ["out_of_order: intake: journey.events.web/0: committed offset went back: found=4 before=7"]
    );
}

fn marker(stateless: &mut Stateless, (epoch, offset): (u64, i64), findings: &mut Findings) {
    let marker = stream::Marker {
        offset,
        epoch,
        ..stream::Marker::default()
    };
    let value = stream::changelog::pack(&marker, &[]).remove(0);
    let at = record("journey.changelog.intake", usize::try_from(epoch).expect("small"), 0);
    stateless.marker(Some(web()), &at, Part::read(&value), findings);
}

fn web() -> TopicPartition {
    TopicPartition {
        topic: Arc::from(WEB),
        partition: 0,
    }
}

#[test]
fn a_group_that_tells_less_than_a_marker_tells_the_past() {
    let (mut findings, mut stateless) = audit(&history());
    marker(&mut stateless, (1, 7), &mut findings);
    stateless.cut(&BTreeMap::from([((WEB.to_owned(), 0), 4)]), &mut findings);
    stateless.settle(&mut findings);
    assert_eq!(lines(&findings), Vec::<String>::new());
    let summaries = stateless.summaries();
    assert_eq!(summaries[0].committed, Some(7));
    // What its marker has passed is no surprise, though the group has not, and the marker came after the cut.
    let mut history = history();
    history.committed = Some(5);
    let (mut findings, mut stateless) = (Findings::default(), audit(&history).1);
    stateless.event(&event(20, 6, 1), false, &mut findings);
    stateless.cut(&BTreeMap::from([((WEB.to_owned(), 0), 5)]), &mut findings);
    marker(&mut stateless, (2, 7), &mut findings);
    stateless.settle(&mut findings);
    assert_eq!(findings.counts().get(&Kind::Torn), None);
}

#[test]
fn epochs_of_markers_are_in_order() {
    let (mut findings, mut stateless) = audit(&history());
    for one in [(3, 4), (4, 6), (6, 7), (6, 7), (7, 5)] {
        marker(&mut stateless, one, &mut findings);
    }
    let place = "intake: journey.changelog.intake/0";
    assert_eq!(
        lines(&findings),
        [
            format!("gap: {place}/6: epoch numbers are not in order: found=6 expected=5"),
            format!("duplicated: {place}/6: epoch numbers are not in order: found=6 expected=7"),
            format!("out_of_order: {place}/7: offset went back: found=5 before=7"),
        ]
    );
    stateless.skipped_markers(Some(web()));
    marker(&mut stateless, (12, 7), &mut findings);
    assert_eq!(findings.kept().len(), 3, "what was trimmed in between is no gap");
    let record = record("journey.changelog.intake", 13, 0);
    stateless.marker(Some(web()), &record, Part::read(b"x"), &mut findings);
    stateless.marker(None, &record, Part::read(b"x"), &mut findings);
    assert_eq!(findings.counts()[&Kind::Torn], 2);
}
