//! Patterns change while the services run, on both logs: published, taken up without a restart, refused, taken away.

mod binary;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use binary::{Producer, Running, done, eventually, get, settings, tap, waymark};
use codec::Published as _;
use event::{Attribute, Event, Identifier, IdentifierKind, Millis, Signal};
use serde_json::Value;
use service::backend::{Backend as _, EmbeddedBackend};
use stream::Output;
use testkit::broker::Kafka;
use waymark::{
    cli::{Global, Role},
    context,
    replay::send::Sender,
    run::{services, telemetry},
};

/// One checkout is a match; `change` alters the file.
fn file(change: &[(&str, &str)]) -> String {
    let mut text = "pattern: checkout-seen\nversion: 1\ntitle: A checkout begins\nowner: test\nstatus: live\nwhen:\n  within: 1h\n  \
        sequence: [ { see: checkout.started } ]\n\
        then: { intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: { en: seen } }\n\
        guard: { consent: service, cooldown: 1s }\nrollout: { percent: 100, holdout: 0, seed: seed-1 }\ntests:\n  \
        - { name: one, given: [ { at: 0s, is: checkout.started } ], expect: [ { at: 0s, intervene: notify } ] }\n  \
        - { name: none, given: [], expect: [] }\n"
        .to_owned();
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

const SECOND: &[(&str, &str)] = &[
    ("version: 1", "version: 2"),
    ("within: 1h", "within: 2h"),
    ("{ en: seen }", "{ en: seen again }"),
];

/// Writes a file and applies it; returns the exit code and what was printed.
fn apply(set: &[String], dir: &Path, text: &str, words: &[&str]) -> (Option<i32>, String) {
    let path = dir.join("checkout-seen.yaml");
    std::fs::write(&path, text).expect("written");
    let mut all = vec!["pattern", "apply", path.to_str().expect("a path"), "--author", "ada"];
    all.extend(words);
    let output = waymark(set, &all).output().expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn junk(key: &str, value: Option<&str>, topic: &str) -> Output {
    Output {
        topic: Arc::from(topic),
        partition: Some(0),
        timestamp: None,
        key: Some(key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

/// The pattern versions of all signals, sorted: the topic's partitions have no order among each other.
fn versions(set: &[String]) -> Vec<i64> {
    let signals = tap(set, "journey.signals");
    let versions = signals
        .iter()
        .filter_map(|signal| signal["value"]["pattern_version"].as_i64());
    let mut versions: Vec<i64> = versions.collect();
    versions.sort_unstable();
    versions
}

fn metric(admin: &str, series: &str) -> Option<f64> {
    let (_, text) = get(admin, "/metrics");
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn a_monitor_on_kafka_follows_the_catalogue_without_a_restart() {
    let Some(kafka) = Kafka::for_test() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let set = settings(&kafka, dir.path(), &["service.workers=1"]);
    done(waymark(&set, &["topics", "apply", "--yes"]));
    let (code, said) = apply(&set, dir.path(), &file(&[]), &[]);
    assert_eq!(code, Some(1), "nobody agreed: {said}");
    assert_eq!(apply(&set, dir.path(), &file(&[]), &["--yes"]).0, Some(0));
    let running = Running::start(&set, &["intake", "monitor"], "one", dir.path());
    let admin = running.address("metrics and health are served");
    let taken = |result: &str| {
        let series = format!("waymark_pattern_reloads_total{{result=\"{result}\",service=\"monitor\"}}");
        metric(&admin, &series).unwrap_or(0.0)
    };
    // One producer: a second of its name would fence the first.
    let producer = RefCell::new(Producer::open(kafka.address()));
    let mut customers = 0;
    let mut checkout = || {
        customers += 1;
        let customer = format!("customer-{customers}");
        producer
            .borrow_mut()
            .send("web", binary::event(&customer, "checkout.started"));
    };
    eventually("ready", || get(&admin, "/readyz").0 == 200);
    checkout();
    eventually("the first version matches", || versions(&set) == [1]);

    // Unsafe changes are refused, and say what and where.
    let (code, said) = apply(&set, dir.path(), &file(&[("within: 1h", "within: 2h")]), &["--yes"]);
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("checkout-seen.yaml:2:1: error[version-same]: when changed under one version: version=1"),
        "{said}"
    );
    let (code, said) = apply(&set, dir.path(), &file(&[("seed: seed-1", "seed: seed-2")]), &["--yes"]);
    assert_eq!(code, Some(5), "{said}");
    let (code, said) = apply(
        &set,
        dir.path(),
        &file(&[("at: 0s, intervene", "at: 1s, intervene")]),
        &["--yes"],
    );
    assert_eq!(code, Some(1), "a failing test: {said}");

    // A change in force begins a minute ahead unless told otherwise.
    let (code, said) = apply(&set, dir.path(), &file(SECOND), &["--dry-run", "--output", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let plan: Value = serde_json::from_str(&said).expect("one object");
    let from = plan["data"]["changes"][0]["effective_from"].as_str().expect("a time");
    let from = from.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond();
    let ahead = from - service::wall().0;
    assert!((40_000..=60_000).contains(&ahead), "{ahead}");
    let before = taken("taken");
    assert_eq!(
        apply(&set, dir.path(), &file(SECOND), &["--yes", "--effective-from", "read"]).0,
        Some(0)
    );
    eventually("the second version is read", || taken("taken") > before);
    checkout();
    eventually("the second version matches", || versions(&set) == [1, 2]);
    let value = &tap(&set, "journey.patterns").pop().expect("a value")["value"];
    assert_eq!(
        (&value["author"], &value["before"]["version"]),
        (&"ada".into(), &1.into())
    );
    assert_eq!(value["hash"].as_str().map(str::len), Some(32));

    // What does not compile changes nothing.
    let publish = |key: &str| {
        let value = format!("{{\"pattern\":\"{key}\"}}");
        let record = junk(key, Some(&value), "journey.patterns");
        producer.borrow_mut().publish_all(&[record]);
    };
    publish("checkout-seen");
    eventually("it is refused and counted", || taken("refused") == 1.0);
    checkout();
    eventually("the old engine goes on", || versions(&set) == [1, 2, 2]);

    // A monitor that starts with a value of which it never knew a valid one takes no work before that is mended.
    publish("never-valid");
    eventually("it is refused and counted", || taken("refused") == 2.0);
    assert_eq!(running.stop(), Some(0));
    let running = Running::start(&set, &["intake", "monitor"], "one", dir.path());
    let admin = running.address("metrics and health are served");
    eventually("it says what it waits for", || {
        running.log().contains("does not compile here")
    });
    checkout();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(versions(&set), [1, 2, 2], "nobody is passed by without the pattern");
    assert_ne!(get(&admin, "/readyz").0, 200);
    done(waymark(&set, &["pattern", "apply", "--remove", "never-valid", "--yes"]));
    eventually("it goes on with what waited", || versions(&set) == [1, 2, 2, 2]);

    // A tombstone takes the pattern away.
    let series = "waymark_pattern_reloads_total{result=\"taken\",service=\"monitor\"}";
    let before = metric(&admin, series).unwrap_or(0.0);
    let remove = ["pattern", "apply", "--remove", "checkout-seen", "--yes"];
    done(waymark(&set, &remove));
    eventually("the tombstone is read", || {
        metric(&admin, series).is_some_and(|taken| taken > before)
    });
    std::thread::sleep(Duration::from_secs(2));
    checkout();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(versions(&set), [1, 2, 2, 2]);
    assert_eq!(running.stop(), Some(0));
}

fn checkout(customer: &str, at: i64) -> Event {
    Event {
        id: format!("{customer}-{at}"),
        source: "test".to_owned(),
        kind: "checkout.started".to_owned(),
        time: Millis(at),
        channel: event::Channel::Web,
        tenant: "default".to_owned(),
        identifiers: vec![Identifier {
            kind: IdentifierKind::Customer,
            value: customer.to_owned(),
            namespace: String::new(),
            verified: true,
        }],
        attributes: [
            ("value".to_owned(), Attribute::Double(9.5)),
            ("currency".to_owned(), Attribute::Text("EUR".to_owned())),
        ]
        .into(),
        ..Event::default()
    }
}

const START: i64 = 1_795_266_000_000;

/// Signals as `second version`, in order of time.
fn signals(backend: &EmbeddedBackend) -> Vec<(i64, i32)> {
    let mut reader = backend.reader(&["journey.signals"], true).expect("a reader");
    let mut records = Vec::new();
    while !reader.is_at_end() {
        reader.read(Duration::from_millis(50), &mut records).expect("read");
    }
    let signal = |record: &stream::Record| {
        let signal = Signal::decode(record.value.as_deref().unwrap_or_default()).expect("a signal");
        ((signal.matched_at.0 - START) / 1000, signal.pattern_version)
    };
    let mut found: Vec<(i64, i32)> = records.iter().map(signal).collect();
    found.sort_unstable();
    found
}

/// Services on an embedded log until `play` is through.
fn serve(dir: &Path, play: impl FnOnce(&EmbeddedBackend)) {
    let config = context::small(&Global::default(), dir, &["telemetry.log=warn"]).expect("a configuration");
    let backend = context::embedded(&config, &dir.join("log")).expect("a log");
    let roles = [Role::Intake, Role::Monitor];
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| services(&config, &backend, &roles, &stop, &telemetry(&config, &roles)));
        // Also when the test fails: the services would never end.
        let played = catch_unwind(AssertUnwindSafe(|| play(&backend)));
        stop.store(true, Ordering::Relaxed);
        if let Err(panicked) = played {
            resume_unwind(panicked);
        }
        running.join().expect("no panic").expect("it ends well");
    });
}

/// What `apply` writes of a second version that follows the first at a time.
fn second(from: i64) -> String {
    let parse = |text: &str| Arc::new(pattern::parse("checkout-seen.yaml", text).expect("valid"));
    let published = pattern::Published {
        what: parse(&file(SECOND)),
        hash: "x".to_owned(),
        author: "ada".to_owned(),
        effective_from: Some(Millis(from)),
        before: Some(parse(&file(&[]))),
    };
    published.value()
}

#[test]
fn a_monitor_on_the_embedded_log_switches_at_the_time_that_was_said_and_so_does_its_replay() {
    let dir = tempfile::tempdir().expect("a directory");
    let publish = |backend: &EmbeddedBackend, value: Option<&str>| {
        let record = junk("checkout-seen", value, "journey.patterns");
        backend.publish("patterns", &[record]).expect("written");
    };
    // Two customers, since an intervention is answered for.
    let events = |from: i64| -> Vec<Event> {
        let at = |second: i64| START + second * 1000;
        vec![checkout("anna", at(from)), checkout("bert", at(from + 5))]
    };
    let first = pattern::parse("checkout-seen.yaml", &file(&[]))
        .expect("valid")
        .canonical;
    serve(dir.path(), |backend| {
        publish(backend, Some(&first));
        let mut sender = Sender::open(backend, "test").expect("a sender");
        sender.send(&events(0), Millis(START + 9_000)).expect("sent");
        eventually("the first version matches", || signals(backend).len() == 2);
        // It switches at second 17, between the two events that follow.
        publish(backend, Some(&second(START + 17_000)));
        std::thread::sleep(Duration::from_millis(500));
        sender.send(&events(14), Millis(START + 29_000)).expect("sent");
        eventually("both versions match", || signals(backend).len() == 4);
        assert_eq!(signals(backend), [(0, 1), (5, 1), (14, 1), (19, 2)]);
        publish(backend, Some("{}"));
        std::thread::sleep(Duration::from_millis(500));
        sender.send(&events(30), Millis(START + 39_000)).expect("sent");
        eventually("the old engine goes on", || signals(backend).len() == 6);
        publish(backend, None);
        std::thread::sleep(Duration::from_millis(500));
        sender.send(&events(40), Millis(START + 60_000)).expect("sent");
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(signals(backend), [(0, 1), (5, 1), (14, 1), (19, 2), (30, 2), (35, 2)]);
    });
    // Played again under the newest catalogue alone, the log says the same.
    let again = tempfile::tempdir().expect("a directory");
    serve(again.path(), |backend| {
        publish(backend, Some(&second(START + 17_000)));
        let mut sender = Sender::open(backend, "test").expect("a sender");
        let all: Vec<Event> = [0, 14, 30].into_iter().flat_map(events).collect();
        sender.send(&all, Millis(START + 60_000)).expect("sent");
        eventually("everything matches", || signals(backend).len() == 6);
        assert_eq!(signals(backend), [(0, 1), (5, 1), (14, 1), (19, 2), (30, 2), (35, 2)]);
    });
}
