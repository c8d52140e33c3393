//! A device that browses and then says who it is, through intake and monitor: the customer's journey is afterwards what one journey of all
//! events would have been, wherever a process died on the way, and an unlink takes it apart again.

mod binary;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use binary::{done, tap, waymark};
use codec::Published as _;
use event::{Profile, SentimentState};
use intake::Intake;
use monitor::{Monitor, Settings};
use serde_json::{Value, json};
use service::{
    config::{Config, Sources},
    topics::{Changelog, Names},
    worker::{Clock, OpenDb, Start, Worker, WorkerConfig},
};
use stream::{Millis, Output, Record, SnapshotRule, Stage, Statefulness, TopicPartition};
use testkit::{
    memory::{Broker, Disk, Fuse, MemoryLog},
    waiting::dead_letter,
};

const DAY: i64 = 86_400_000;
/// 2026-11-21T13:00:00Z.
const BEGIN: i64 = 1_795_266_000_000;

/// Minute, type, text, and which of device and customer the event names.
type Step = (i64, &'static str, &'static str, [bool; 2]);

const BROWSING: [bool; 2] = [true, false];
const BOTH: [bool; 2] = [true, true];
const KNOWN: [bool; 2] = [false, true];

/// The customer's first text is a good one, so that a run of bad ones does not depend on when the two journeys met.
const STEPS: [Step; 11] = [
    (0, "page.viewed", "", BROWSING),
    (
        1,
        "message.received",
        "This is terrible, nothing works and I am very angry",
        BROWSING,
    ),
    (
        2,
        "message.received",
        "The delivery was awful and the box was broken",
        BROWSING,
    ),
    (3, "message.received", "What a great website, I love it", BROWSING),
    (
        4,
        "message.received",
        "I hate waiting, this is the worst service ever",
        BROWSING,
    ),
    (5, "session.started", "", BOTH),
    (
        6,
        "message.received",
        "Thank you, that was wonderful and very helpful",
        KNOWN,
    ),
    (7, "message.received", "Now it is broken again, this is horrible", KNOWN),
    (
        8,
        "message.received",
        "I am very disappointed, this is a terrible product",
        BOTH,
    ),
    (
        9,
        "message.received",
        "Still terrible, nobody helps and everything fails",
        KNOWN,
    ),
    // Late enough that the profile is published again.
    (1440, "page.viewed", "", KNOWN),
];

fn raw((minute, kind, text, [is_device, is_customer]): &Step) -> Value {
    let mut identifiers = Vec::new();
    if *is_device {
        identifiers.push(json!({ "kind": "device", "value": "a1" }));
    }
    if *is_customer {
        identifiers.push(json!({ "kind": "customer", "value": "7" }));
    }
    let mut event = json!({
        "id": format!("{kind}-{minute}"), "source": "shop/web", "type": kind, "session": "s-1", "identifiers": identifiers,
        "time": codec::time(Millis(BEGIN + minute * 60_000)), "attributes": { "url": "/a" },
    });
    if !text.is_empty() {
        event["text"] = json!({ "body": text, "lang": "en", "role": "customer", "modality": "text" });
    }
    event
}

fn unlink(minute: i64) -> Value {
    let mut event = raw(&(minute, "identity.unlinked", "", BOTH));
    event["attributes"] = json!({ "method": "agent" });
    event
}

/// All events as if everybody had always known who it is.
fn of_one() -> Vec<Step> {
    STEPS
        .map(|(minute, kind, text, _)| (minute, kind, text, KNOWN))
        .to_vec()
}

/// Time stands, so that each run takes the same steps.
struct Standing;

impl Clock for Standing {
    fn wall(&self) -> Millis {
        Millis(BEGIN + 100 * DAY)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) {}
}

const TIMELINE: &str = "journey.timeline";
const CHANGELOG: &str = "journey.changelog.monitor";

fn broker(events: &[(&str, Value)]) -> Broker {
    let broker = Broker::default();
    for topic in ["web", "business"] {
        broker.create(&format!("journey.events.{topic}"), 1);
        broker.create(&format!("journey.events.{topic}.dlq"), 1);
    }
    for (topic, partitions) in [
        (TIMELINE, 3),
        (CHANGELOG, 3),
        ("journey.timeline.dlq", 1),
        ("journey.sentiment", 1),
        ("journey.profiles", 1),
    ] {
        broker.create(topic, partitions);
    }
    broker.publish(events.iter().map(|(topic, event)| raw_record(topic, event)));
    broker
}

fn raw_record(topic: &str, event: &Value) -> Output {
    Output {
        topic: Arc::from(format!("journey.events.{topic}")),
        partition: Some(0),
        timestamp: Some(Millis(BEGIN + 2 * DAY)),
        key: None,
        value: Some(event.to_string().into_bytes()),
        headers: Vec::new(),
    }
}

fn config(state: Statefulness, fuse: &Fuse, disk: &Disk) -> WorkerConfig {
    let (disk, fuse) = (disk.clone(), fuse.clone());
    let open_db: OpenDb = Box::new(move |of: &TopicPartition| Ok(Box::new(disk.open(of, &fuse))));
    WorkerConfig {
        epoch_interval: Duration::ZERO,
        epoch_records: 3,
        poll_records: 4,
        flush_bytes: 4000,
        flush_interval: Duration::from_secs(3600),
        window: 0,
        state,
        cached_keys: 1,
        timers_per_round: 1000,
        changelog: matches!(state, Statefulness::Keyed)
            .then(|| Changelog::new(CHANGELOG, vec![Names::TIMELINE.to_owned()])),
        snapshots: SnapshotRule {
            after: 1500,
            chunk: 400,
        },
        start: Start::Earliest,
        dead_letters: Arc::new(dead_letter),
        open_db,
        clock: Box::new(Standing),
    }
}

fn intake_stage() -> Intake {
    let sources = Sources {
        file: None,
        variables: Vec::new(),
        flags: &[],
    };
    let config = Config::read(&sources).expect("the defaults are valid");
    intake::stage(&config, &Names::new(""), b"waymark-demo", None)
}

/// A service until nothing is left to do, or until its process dies.
fn run<S: Stage>(log: MemoryLog, stage: &Arc<S>, config: WorkerConfig, turns: usize) -> Result<(), String> {
    let mut worker = Worker::new(log, Arc::clone(stage), (), config);
    for _ in 0..turns {
        worker.turn().map_err(|error| error.to_string())?;
    }
    worker.finish().map_err(|error| error.to_string())
}

/// Both services, one after the other; they share a fuse, and so die together.
fn services(broker: &Broker, stages: &(Arc<Intake>, Arc<Monitor>), fuse: &Fuse, disk: &Disk) -> Result<(), String> {
    let raw = ["journey.events.business", "journey.events.web"];
    let log = MemoryLog::join(broker, fuse, "intake", &raw, None);
    run(log, &stages.0, config(Statefulness::None, fuse, disk), 12)?;
    let log = MemoryLog::join(broker, fuse, "monitor", &[TIMELINE], Some(CHANGELOG));
    run(log, &stages.1, config(Statefulness::Keyed, fuse, disk), 30)
}

fn stages() -> (Arc<Intake>, Arc<Monitor>) {
    let monitor = Monitor::new(&Names::new(""), Settings::default());
    (Arc::new(intake_stage()), Arc::new(monitor))
}

/// The last profile by the letter of its key.
fn profiles(broker: &Broker) -> BTreeMap<String, Profile> {
    let records = broker.read("journey.profiles").into_iter();
    records
        .map(|record| {
            let key = String::from_utf8(record.key.expect("a key")).expect("text");
            let profile = Profile::decode(record.value.as_deref().expect("a value")).expect("a profile");
            (key[..1].to_owned(), profile)
        })
        .collect()
}

fn mood(profiles: &BTreeMap<String, Profile>, key: &str) -> SentimentState {
    profiles[key].sentiment.clone().expect("a mood")
}

/// Figures that may differ in the order in which they were added up.
fn check_figures(found: &SentimentState, expected: &SentimentState) {
    let figures = [
        (found.mean, expected.mean),
        (found.ewma, expected.ewma),
        (found.trend, expected.trend),
        (found.worst, expected.worst),
    ];
    for (one, two) in figures {
        let is_near = one.zip(two).is_some_and(|(one, two)| (one - two).abs() < 1e-9);
        assert!(is_near, "{found:?}\n{expected:?}");
    }
    assert_eq!((found.n_texts, found.n_scored), (expected.n_texts, expected.n_scored));
    assert_eq!(
        (found.label, found.trend_label, found.negative_run),
        (expected.label, expected.trend_label, expected.negative_run)
    );
    let id = |mood: &SentimentState| mood.last_negative.as_ref().map(|event| event.id.clone());
    assert_eq!(id(found), id(expected));
}

fn kinds(broker: &Broker) -> BTreeMap<String, usize> {
    let events = |record: &Record| codec::decode_event(record.value.as_deref().expect("a value")).expect("an event");
    let mut kinds = BTreeMap::new();
    for record in broker.read(TIMELINE) {
        *kinds.entry(events(&record).kind).or_default() += 1;
    }
    kinds
}

#[test]
fn a_device_that_identifies_is_the_customer_wherever_a_process_dies() {
    let stages = stages();
    let web = |steps: &[Step]| -> Vec<(&str, Value)> { steps.iter().map(|step| ("web", raw(step))).collect() };
    let whole = broker(&web(&of_one()));
    services(&whole, &stages, &Fuse::default(), &Disk::default()).expect("no faults");
    let expected = mood(&profiles(&whole), "c");
    assert_eq!(
        (expected.n_texts, expected.n_scored, expected.negative_run),
        (8, 8, 3),
        "{expected:?}"
    );
    assert!(expected.trend.is_some());
    let fuse = Fuse::default();
    let calm = broker(&web(&STEPS));
    services(&calm, &stages, &fuse, &Disk::default()).expect("no faults");
    let steps = fuse.steps();
    let check = |broker: &Broker| {
        let profiles = profiles(broker);
        check_figures(&mood(&profiles, "c"), &expected);
        let (customer, device) = (&profiles["c"], &profiles["d"]);
        assert_eq!(device.forwarded_to.as_ref(), Some(&customer.customer));
        assert_eq!(customer.timeline.iter().map(|line| line.count).sum::<i32>(), 11);
        assert_eq!(broker.read("journey.sentiment").len(), 8);
        let kinds = kinds(broker);
        // Two events named both; the second link told nothing new.
        assert_eq!(
            (kinds["identity.linked"], kinds["journey.handed_over"]),
            (2, 1),
            "{kinds:?}"
        );
    };
    check(&calm);
    for dies_at in 1..=steps {
        let (broker, disk) = (broker(&web(&STEPS)), Disk::default());
        fuse.mend(Some(dies_at));
        services(&broker, &stages, &fuse, &disk).expect_err("it dies");
        if dies_at % 2 == 0 {
            disk.lose();
        }
        fuse.mend(None);
        let again = services(&broker, &stages, &fuse, &disk);
        assert_eq!(again, Ok(()), "step {dies_at} of {steps}");
        check(&broker);
    }
}

#[test]
fn an_unlink_takes_them_apart_wherever_a_process_dies() {
    let stages = stages();
    let mut events: Vec<(&str, Value)> = STEPS[..10].iter().map(|step| ("web", raw(step))).collect();
    let last = |minute, who| ("web", raw(&(minute, "page.viewed", "", who)));
    events.push(last(50, KNOWN));
    let fuse = Fuse::default();
    let publish = |broker: &Broker, events: &[(&str, Value)]| {
        broker.publish(events.iter().map(|(topic, event)| raw_record(topic, event)));
    };
    let run = |dies_at: Option<u64>| {
        let (broker, disk) = (broker(&events), Disk::default());
        let services = || services(&broker, &stages, &fuse, &disk);
        fuse.mend(None);
        services().expect("no faults");
        publish(&broker, &[("business", unlink(60))]);
        fuse.mend(dies_at);
        let ended = services();
        assert_eq!(ended.is_ok(), dies_at.is_none(), "{ended:?}");
        let steps = fuse.steps();
        if dies_at.is_some_and(|step| step % 2 == 0) {
            disk.lose();
        }
        fuse.mend(None);
        services().expect("no faults");
        // Profiles are published again once something happens.
        publish(&broker, &[last(1440, KNOWN), last(1441, BROWSING)]);
        services().expect("no faults");
        let kinds = kinds(&broker);
        assert_eq!(
            (kinds["identity.unlinked"], kinds["journey.handed_over"]),
            (3, 2),
            "{kinds:?}"
        );
        (profiles(&broker), steps)
    };
    let check = |profiles: &BTreeMap<String, Profile>| {
        assert_eq!(profiles["d"].forwarded_to, None);
        let (device, customer) = (mood(profiles, "d"), mood(profiles, "c"));
        assert_eq!((device.n_texts, device.negative_run), (4, 1), "{device:?}");
        assert_eq!((customer.n_texts, customer.negative_run), (4, 3), "{customer:?}");
        assert!(profiles["c"].timeline.iter().all(|line| line.origin.is_none()));
    };
    let (calm, steps) = run(None);
    check(&calm);
    for dies_at in 1..=steps {
        check(&run(Some(dies_at)).0);
    }
}

const MAPPING: &str = r#"
version = 1
format = "jsonl"
source = "shop/web"
text = "text"
session = "session"
time = { column = "at", format = "epoch_ms" }
id = { column = "id" }
type = { column = "type" }
channel = { default = "web" }
identifiers = [ { column = "device", kind = "device" }, { column = "customer", kind = "customer" } ]
attributes = { url = "url" }
"#;

/// Sentiment of the one customer's last profile, as the whole service on the embedded log publishes it.
fn replayed(dir: &std::path::Path, steps: &[Step]) -> Value {
    std::fs::create_dir_all(dir).expect("made");
    std::fs::write(dir.join("mapping.toml"), MAPPING).expect("written");
    let mut lines = String::new();
    for (minute, kind, text, [is_device, is_customer]) in steps {
        let named = |is_named: bool, name: &str| if is_named { name.to_owned() } else { String::new() };
        let row = json!({
            "id": format!("{kind}-{minute}"), "type": kind, "at": BEGIN + minute * 60_000, "text": text, "url": "/a", "session": "s-1",
            "device": named(*is_device, "a1"), "customer": named(*is_customer, "7"),
        });
        writeln!(lines, "{row}").expect("a string grows");
    }
    std::fs::write(dir.join("events.jsonl"), lines).expect("written");
    let mut replay = waymark(&[], &["replay"]);
    replay
        .arg("--map")
        .arg(dir.join("mapping.toml"))
        .args(["--patterns", "tests/ecom/patterns"]);
    replay
        .arg("--events")
        .arg(dir.join("events.jsonl"))
        .arg("--embedded")
        .arg(dir.join("log"));
    done(replay);
    let set = [
        "service.log=embedded".to_owned(),
        format!("service.data_dir={}", dir.join("log").display()),
    ];
    let of_customer = |line: &Value| {
        line["value"]["customer"]
            .as_str()
            .is_some_and(|key| key.starts_with("c."))
    };
    let profiles = tap(&set, "journey.profiles");
    profiles.iter().rfind(|line| of_customer(line)).expect("a profile")["value"]["sentiment"].clone()
}

#[test]
fn the_whole_service_makes_one_journey_of_both() {
    let dir = tempfile::tempdir().expect("a directory");
    let found = replayed(&dir.path().join("two"), &STEPS);
    let expected = replayed(&dir.path().join("one"), &of_one());
    for figure in ["mean", "ewma", "trend", "worst"] {
        let of = |mood: &Value| mood[figure].as_f64().expect("a figure");
        assert!(
            (of(&found) - of(&expected)).abs() < 1e-9,
            "{figure}: {found} {expected}"
        );
    }
    for figure in ["n_texts", "n_scored", "label", "trend_label", "negative_run"] {
        assert_eq!(found[figure], expected[figure], "{figure}");
    }
    assert_eq!(found["n_texts"], 8);
}
