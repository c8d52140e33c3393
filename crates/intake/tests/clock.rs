//! What the wall's clock tells while it waits.

use std::sync::Arc;

use intake::WallClock;
use service::{
    config::{Config, Sources},
    telemetry::Telemetry,
    topics::Names,
    worker::Hooks as _,
};
use stream::{KnownEnds, Membership, Millis, TopicPartition};

/// The gauge of a partition, as it is scraped.
fn gauge(telemetry: &Telemetry, topic: &str) -> Option<f64> {
    let text = String::from_utf8(telemetry.text()).expect("text");
    let of = |line: &&str| line.starts_with("waymark_input_progress_timestamp_seconds{") && line.contains(topic);
    let line = text.lines().find(of)?;
    line.rsplit(' ').next().and_then(|value| value.parse().ok())
}

#[test]
fn the_partition_that_holds_the_clock_is_named() {
    let telemetry = Telemetry::new(&["intake"], "test");
    let sources = Sources {
        file: None,
        variables: Vec::new(),
        flags: &[],
    };
    let config = Config::read(&sources).expect("the defaults are valid");
    let stage = Arc::new(intake::stage(&config, &Names::new(""), b"waymark-demo", None));
    let mut clock = WallClock::new(stage, 1, 2, telemetry.probe("intake", 0));
    let [web, mobile] = ["journey.events.web", "journey.events.mobile"].map(|topic| TopicPartition {
        topic: Arc::from(topic),
        partition: 0,
    });
    let alone = Membership {
        generation: 1,
        assignment: Some(1),
        index: 0,
        members: 1,
    };
    clock.owns(&[web.clone(), mobile.clone()], alone);
    for of in [&web, &mobile] {
        clock.begins(of, 5);
    }
    let mut outputs = Vec::new();
    // The leader of mobile does not answer.
    let (asked, later) = (Millis(1_795_266_602_000), Millis(1_795_266_603_000));
    assert!(clock.wants_ends(asked));
    clock.told(&KnownEnds {
        asked,
        ends: [(web, 5)].into(),
    });
    clock.turn(later, &mut outputs);
    assert_eq!(gauge(&telemetry, "events.web"), Some(1_795_266_602.0));
    assert_eq!(gauge(&telemetry, "events.mobile"), Some(0.0), "the least is what holds");
    // Its partitions are another's, which tells how far they are.
    clock.owns(&[], alone);
    assert_eq!(gauge(&telemetry, "events.mobile"), None);
}
