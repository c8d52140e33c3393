//! Intake's stage by itself: one raw record, and what becomes of it.

use std::sync::Arc;

use service::{
    config::{Config, Sources},
    topics::Names,
};
use stream::{Cx, Millis, Output, Record, Routed, Stage as _};

/// When the records came.
pub const AT: Millis = Millis(1_795_266_602_000);

/// The configuration that nobody changed.
pub fn defaults() -> Config {
    let sources = Sources {
        file: None,
        variables: Vec::new(),
        flags: &[],
    };
    Config::read(&sources).expect("the defaults are valid")
}

/// What an event of a channel becomes.
pub fn outputs_of(channel: &str, event: &str) -> Vec<Output> {
    let stage = intake::stage(&defaults(), &Names::new(""), b"waymark-demo", None);
    let topic: Arc<str> = Arc::from(format!("journey.events.{channel}"));
    let record = Record {
        topic: Arc::clone(&topic),
        partition: 3,
        offset: 41,
        timestamp: AT,
        key: None,
        value: Some(event.as_bytes().to_vec()),
        headers: Vec::new(),
    };
    let Ok(Routed::Event { key, input, .. }) = stage.decode(&record) else {
        panic!("a good record is an event");
    };
    let mut outputs = Vec::new();
    let mut cx = Cx {
        now: AT,
        clock: AT,
        key: &key,
        topic: &topic,
        partition: 3,
        offset: 41,
        timestamp: AT,
        revision: 0,
        late: false,
        outputs: &mut outputs,
    };
    stage.on_event(&mut (), input, &mut cx);
    outputs
}
