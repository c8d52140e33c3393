//! At wall clock: a live producer on a real Kafka, a pattern of seconds, an absence that fires with no further event; rubbish on
//! the way, and everything an operator looks at.

mod binary;

use std::time::Duration;

use binary::{Producer, Running, done, event, eventually, get, hesitation, settings, tap, waymark};
use serde_json::{Value, json};
use testkit::broker::Kafka;

const SENTENCE: &str = "terrible service and nobody answers";

fn metric(admin: &str, series: &str) -> Option<f64> {
    let (_, text) = get(admin, "/metrics");
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn what_does_not_happen_is_noticed_with_no_further_event() {
    let Some(kafka) = Kafka::for_test() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let patterns = hesitation(dir.path(), 3);
    let set = settings(&kafka, dir.path(), &["telemetry.log=trace", "service.workers=2"]);

    let planned = |code: i32| {
        let output = waymark(&set, &["topics", "plan"]).output().expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    };
    assert!(planned(1).contains("journey.timeline"), "what is missing is named");
    done(waymark(&set, &["topics", "apply", "--yes"]));
    planned(0);
    done(waymark(&set, &["check", &patterns, "--connect"]));
    let shown = done(waymark(&set, &["config", "show", "--origin"]));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = shown
        .lines()
        .find(|line| line.contains("intake.start"))
        .unwrap_or_default();
    assert!(
        line.contains("earliest") && line.contains("--set"),
        "the origin is named: {shown}"
    );
    done(waymark(&set, &["pattern", "apply", &patterns, "--yes"]));

    let running = Running::start(&set, &["intake", "monitor", "console"], "one", dir.path());
    let admin = running.address("metrics and health are served");
    let page = running.address("page is served");
    eventually("ready", || get(&admin, "/readyz").0 == 200);
    assert_eq!(get(&admin, "/livez").0, 200);
    assert_eq!(get(&admin, "/startupz").0, 200);

    let mut producer = Producer::open(kafka.address());
    producer.send("web", event("anna", "checkout.started"));
    producer.send("web", b"hello".to_vec());
    let message = json!({
        "id": "m-1", "source": "shop/chat", "type": "message.received", "time": codec::time(service::wall()), "channel": "chat",
        "conversation": "c-1", "identifiers": [{ "kind": "customer", "value": "bert" }],
        "text": { "body": SENTENCE, "role": "customer", "lang": "en" },
    });
    producer.send("chat", message.to_string().into_bytes());
    producer.send("web", event("bert", "checkout.started"));
    std::thread::sleep(Duration::from_secs(1));
    producer.send("web", event("bert", "order.completed"));

    let matches = "waymark_pattern_matches_total{pattern=\"live-hesitation\",service=\"monitor\",version=\"1\"}";
    eventually("the absence fires", || metric(&admin, matches) == Some(1.0));
    std::thread::sleep(Duration::from_secs(3));
    let signals = tap(&set, "journey.signals");
    assert_eq!(signals.len(), 1, "one goes quiet, the other pays: {signals:?}");
    let millis = |name: &str| {
        let time = signals[0]["value"][name].as_str().expect("a time");
        time.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond()
    };
    assert_eq!(millis("matched_at") - millis("opened_at"), 3000);
    let offered = tap(&set, "journey.interventions.chat");
    assert_eq!(offered.len(), 1);
    assert_eq!(offered[0]["value"]["customer"], signals[0]["value"]["customer"]);

    for (series, value) in [
        (
            "waymark_dead_letters_total{reason=\"format_unknown\",service=\"intake\",topic=\"journey.events.web\"}",
            1.0,
        ),
        (
            "waymark_records_read_total{service=\"intake\",topic=\"journey.events.web\"}",
            4.0,
        ),
        (
            "waymark_interventions_total{channel=\"chat\",pattern=\"live-hesitation\",service=\"monitor\"}",
            1.0,
        ),
        ("waymark_decision_seconds_count{service=\"monitor\"}", 4.0),
        (
            "waymark_sentiment_scored_total{label=\"negative\",language=\"en\",service=\"intake\",tier=\"lexicon\"}",
            1.0,
        ),
        (
            "waymark_pattern_reloads_total{result=\"taken\",service=\"monitor\"}",
            2.0,
        ),
        ("waymark_partitions_assigned{service=\"intake\"}", 16.0),
        ("waymark_partitions_assigned{service=\"monitor\"}", 4.0),
    ] {
        let found = metric(&admin, series);
        assert_eq!(found, Some(value), "{series}\n{}", get(&admin, "/metrics").1);
    }
    let late = metric(&admin, "waymark_timer_lateness_seconds_sum{service=\"monitor\"}");
    assert!(late.is_some_and(|late| late >= 0.0), "a timer was measured");

    let (status, html) = get(&page, "/");
    assert!(status == 200 && html.contains("Waymark"));
    let (_, snapshot) = get(&page, "/snapshot");
    let snapshot: Value = serde_json::from_str(&snapshot).expect("JSON");
    assert_eq!(snapshot["interventions"]["chat"], 1, "{snapshot}");
    assert_eq!(snapshot["events"], 4);
    assert_eq!(snapshot["sentiment"]["negative"], 1);

    let listed = done(waymark(&set, &["dlq", "list"]));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("format_unknown"));
    let shown = done(waymark(
        &set,
        &["dlq", "show", "--reveal", "--reason", "format_unknown"],
    ));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("journey.events.web/") && shown.contains("hello"),
        "{shown}"
    );

    // Two workers share the raw partitions, most of which are empty: none of them may fall silent.
    for number in 0..12 {
        producer.send("web", event(&format!("guest-{number}"), "order.completed"));
    }
    let read = "waymark_records_read_total{service=\"intake\",topic=\"journey.events.web\"}";
    eventually("every partition is read", || metric(&admin, read) == Some(16.0));

    // Even at `trace` nothing that names or quotes a customer is logged or measured.
    let log = running.log();
    assert!(log.contains("partition opened"));
    let told = [log, get(&admin, "/metrics").1].concat();
    for canary in ["anna", "bert", SENTENCE, "hello"] {
        assert!(!told.contains(canary), "{canary} was told");
    }
    let key = signals[0]["value"]["customer"].as_str().expect("a key");
    assert!(!told.contains(key), "a customer's key was told");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_kafka_that_is_not_there_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "waymark-demo").expect("written");
    let set = [
        "kafka.brokers=127.0.0.1:1".to_owned(),
        format!("privacy.key_secret_file={}", secret.display()),
    ];
    let running = Running::start(&set, &["intake", "monitor"], "one", dir.path());
    let admin = running.address("metrics and health are served");
    eventually("the log says so", || {
        running.log().contains("log does not answer, trying again")
    });
    let (status, body) = get(&admin, "/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("not joined yet"), "{body}");
    assert_eq!(get(&admin, "/livez").0, 200, "it is alive all the same");
    assert_eq!(running.stop(), Some(0));
}
