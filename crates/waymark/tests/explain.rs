//! `waymark pattern explain --customer` of a running system on a real Kafka: it tells what the monitor did, and why it did nothing.

mod binary;

use std::time::Duration;

use binary::{Producer, Running, done, event, eventually, get, hesitation, settings, tap, waymark};
use serde_json::{Value, json};
use testkit::broker::Kafka;

/// Exit code, stdout and stderr.
fn explain(set: &[String], words: &[&str]) -> (i32, String, String) {
    let words = [&["pattern", "explain"], words].concat();
    let output = waymark(set, &words).output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().expect("an exit code"),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn data(set: &[String], customer: &str) -> Value {
    let (code, out, err) = explain(set, &["live-hesitation", "--customer", customer, "--output", "json"]);
    assert_eq!(code, 0, "{err}");
    let mut report: Value = serde_json::from_str(&out).expect("one object");
    report["data"].take()
}

/// Every note of a customer, as `kind: text`.
fn notes(data: &Value) -> Vec<String> {
    let moments = data["customers"][0]["moments"].as_array().expect("moments");
    let notes = moments
        .iter()
        .flat_map(|moment| moment["notes"].as_array().expect("notes"));
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    notes
        .map(|note| format!("{}: {}", word(&note["kind"]), word(&note["text"])))
        .collect()
}

#[test]
fn what_the_running_system_did_with_a_customer_is_told_as_it_happened() {
    let Some(mut kafka) = Kafka::for_test() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let patterns = hesitation(dir.path(), 3);
    let set = settings(&kafka, dir.path(), &["service.workers=1"]);
    done(waymark(&set, &["topics", "apply", "--yes"]));
    // A topic that was just made is not known everywhere at once.
    let apply = ["pattern", "apply", &patterns, "--yes"];
    eventually("the pattern is published", || {
        waymark(&set, &apply).status().is_ok_and(|status| status.success())
    });
    let running = Running::start(&set, &["intake", "monitor"], "one", dir.path());
    let admin = running.address("metrics and health are served");
    eventually("ready", || get(&admin, "/readyz").0 == 200);

    let mut producer = Producer::open(kafka.address());
    producer.send("web", event("anna", "checkout.started"));
    producer.send("web", event("anna", "page.viewed"));
    producer.send("web", event("bert", "checkout.started"));
    std::thread::sleep(Duration::from_millis(800));
    producer.send("web", event("bert", "order.completed"));
    eventually("the absence fires", || tap(&set, "journey.signals").len() == 1);
    // Its time lies before the deadline, and it comes behind it: it counts as happening now.
    let late = json!({
        "id": "anna-late", "source": "shop/web", "type": "order.completed", "channel": "web",
        "time": codec::time(service::wall().plus(-60_000)), "identifiers": [{ "kind": "customer", "value": "anna" }],
        "attributes": { "order_id": "o-9", "value": 9.5, "currency": "EUR" },
    });
    producer.send("web", late.to_string().into_bytes());
    eventually("it is cancelled", || tap(&set, "journey.interventions.chat").len() == 2);
    let signal = &tap(&set, "journey.signals")[0]["value"];

    // The one that matched: at the moment of the monitor's signal, with its decision.
    let told = data(&set, "customer:anna");
    let matched: Vec<&Value> = told["customers"][0]["moments"]
        .as_array()
        .expect("moments")
        .iter()
        .filter(|moment| {
            moment["notes"]
                .as_array()
                .is_some_and(|notes| notes.iter().any(|note| note["kind"] == "matched"))
        })
        .collect();
    assert_eq!(
        (matched.len(), &matched[0]["at"]),
        (1, &signal["matched_at"]),
        "{told:#}"
    );
    assert_eq!(told["customers"][0]["customer"], signal["customer"]);
    let anna = notes(&told);
    for line in [
        "ignored: no step names this type",
        "decided: decided: chat_offer by chat",
    ] {
        assert!(anna.iter().any(|note| note == line), "{line}\n{anna:#?}");
    }
    assert!(
        anna.iter()
            .any(|note| note.starts_with("held: step 1 held: nothing came since")),
        "{anna:#?}"
    );
    assert!(
        anna.iter().any(|note| note.starts_with("late: late: its own time is")),
        "{anna:#?}"
    );
    // By the key that stands on the topics it is the same.
    let key = signal["customer"].as_str().expect("a key");
    assert_eq!(data(&set, key), told);

    // The one that did not: what broke it.
    let bert = notes(&data(&set, "customer:bert"));
    assert!(
        bert.iter()
            .any(|note| note.starts_with("broken: it breaks step 1; the run since")),
        "{bert:#?}"
    );
    assert!(!bert.iter().any(|note| note.starts_with("matched")), "{bert:#?}");

    // For people.
    let (code, out, err) = explain(&set, &["live-hesitation", "--customer", "customer:bert"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with(
            "live-hesitation version 1, live: checkout.started; then no order.completed for 3s; all within 1m\n"
        ),
        "{out}"
    );

    let (code, _, err) = explain(&set, &["live-hesitation", "--customer", "customer:carl"]);
    assert_eq!(code, 3);
    assert!(
        err.contains("no event of this customer: customer=customer:carl"),
        "{err}"
    );
    let (code, _, err) = explain(&set, &["live-hesitatoin", "--customer", "customer:bert"]);
    assert_eq!(code, 3);
    assert!(
        err.contains("not published: pattern=live-hesitatoin nearest=live-hesitation"),
        "{err}"
    );
    let (code, _, err) = explain(&set, &["live-hesitation", "--customer", "custmer:bert"]);
    assert_eq!(code, 3);
    assert!(err.contains("unknown kind of identifier: found=custmer"), "{err}");

    assert_eq!(running.stop(), Some(0));
    kafka.kill();
    let (code, _, err) = explain(&set, &["live-hesitation", "--customer", "customer:bert"]);
    assert_eq!(code, 4, "{err}");
}
