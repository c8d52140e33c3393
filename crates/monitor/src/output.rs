//! Records of what was said: topic, key, value and headers (CloudEvents, binary mode).

use std::{collections::BTreeMap, sync::Arc};

use codec::{Published, time};
use event::{Action, Intervention, Millis, OutChannel, OutputId, Profile, Sentiment, Signal};
use journey::{Said, output_id};
use service::topics::{CHANNELS, Names};
use stream::{Cx, Header, Output};

/// The topics that the monitor writes.
pub(crate) struct Topics {
    signals: Arc<str>,
    withheld: Arc<str>,
    profiles: Arc<str>,
    sentiment: Arc<str>,
    pub(crate) timeline: Arc<str>,
    channels: BTreeMap<&'static str, Arc<str>>,
}

/// What the headers of one record say.
struct Envelope<'a> {
    id: OutputId,
    kind: &'static str,
    tenant: &'a str,
    customer: &'a str,
    class: &'static str,
    correlation: Option<&'a str>,
    causation: Option<&'a str>,
    expires: Option<Millis>,
    traceparent: Option<&'a str>,
}

impl Topics {
    pub fn new(names: &Names) -> Self {
        let topic = |name: &str| Arc::from(names.topic(name));
        let channels = CHANNELS.map(|channel| (channel, topic(&format!("journey.interventions.{channel}"))));
        Self {
            signals: topic("journey.signals"),
            withheld: topic("journey.interventions.withheld"),
            profiles: topic("journey.profiles"),
            sentiment: topic("journey.sentiment"),
            timeline: Arc::from(names.timeline()),
            channels: BTreeMap::from(channels),
        }
    }

    /// Adds the record of what was said to the outputs of the call.
    pub fn say(&self, said: Said, customer: &str, cx: &mut Cx<'_>) {
        match said {
            Said::Signal(signal) => self.signal(&signal, customer, cx),
            Said::Intervention(intervention) => {
                let topic = match intervention.channel {
                    OutChannel::Unknown => Some(&self.withheld),
                    channel => self.channels.get(channel.as_str()),
                };
                if let Some(topic) = topic {
                    decided(topic, &intervention, customer, cx);
                }
            }
            Said::Withheld(intervention) => decided(&self.withheld, &intervention, customer, cx),
            Said::Profile(profile) => self.profile(&profile, customer, cx),
            Said::Sentiment(sentiment) => self.sentiment(&sentiment, customer, cx),
        }
    }

    fn signal(&self, signal: &Signal, customer: &str, cx: &mut Cx<'_>) {
        let cause = signal
            .seen
            .last()
            .map(|seen| seen.last.as_ref().unwrap_or(&seen.first).id.as_str());
        let envelope = Envelope {
            id: signal.id,
            kind: "waymark.signal",
            tenant: &signal.tenant,
            customer,
            class: "confidential",
            correlation: signal.by.values().next().map(String::as_str),
            causation: cause,
            expires: None,
            traceparent: None,
        };
        push(&self.signals, signal.encode(), &envelope, cx);
    }

    fn sentiment(&self, sentiment: &Sentiment, customer: &str, cx: &mut Cx<'_>) {
        let text = &sentiment.text_ref;
        let parts = [
            b"monitor".as_slice(),
            b"sentiment",
            customer.as_bytes(),
            text.source.as_bytes(),
            b"/",
            text.id.as_bytes(),
        ];
        let envelope = Envelope {
            id: output_id(parts),
            kind: "waymark.sentiment",
            tenant: &sentiment.tenant,
            customer,
            class: "confidential",
            correlation: None,
            causation: Some(&text.id),
            expires: None,
            traceparent: None,
        };
        push(&self.sentiment, sentiment.encode(), &envelope, cx);
    }

    fn profile(&self, profile: &Profile, customer: &str, cx: &mut Cx<'_>) {
        let revision = profile.revision.to_be_bytes();
        let envelope = Envelope {
            id: output_id([b"monitor".as_slice(), b"profile", customer.as_bytes(), &revision]),
            kind: "waymark.profile",
            tenant: &profile.tenant,
            customer,
            class: "restricted",
            correlation: None,
            causation: None,
            expires: None,
            traceparent: None,
        };
        push(&self.profiles, profile.encode(), &envelope, cx);
    }
}

fn decided(topic: &Arc<str>, intervention: &Intervention, customer: &str, cx: &mut Cx<'_>) {
    let (kind, withheld) = match (intervention.action, &intervention.withheld) {
        (Action::Cancel, _) => ("waymark.intervention.cancel", b"".as_slice()),
        (_, Some(_)) => ("waymark.intervention.withheld", b"withheld".as_slice()),
        (_, None) => ("waymark.intervention.start", b"".as_slice()),
    };
    let parts = [
        b"monitor".as_slice(),
        b"record",
        intervention.id.bytes(),
        intervention.action.as_str().as_bytes(),
        intervention.channel.as_str().as_bytes(),
        withheld,
    ];
    let caused = intervention
        .cancel_cause
        .as_ref()
        .and_then(|cause| cause.event.as_ref());
    let seen = intervention
        .seen
        .last()
        .map(|seen| seen.last.as_ref().unwrap_or(&seen.first));
    let envelope = Envelope {
        id: output_id(parts),
        kind,
        tenant: &intervention.tenant,
        customer,
        class: "restricted",
        correlation: intervention.references.get("cart_id").map(String::as_str),
        causation: caused.or(seen).map(|event| event.id.as_str()),
        expires: Some(intervention.expires_at),
        traceparent: intervention.trace.as_ref().map(|trace| trace.traceparent.as_str()),
    };
    push(topic, intervention.encode(), &envelope, cx);
}

fn push(topic: &Arc<str>, value: Vec<u8>, envelope: &Envelope<'_>, cx: &mut Cx<'_>) {
    let mut headers: Vec<Header> = Vec::with_capacity(14);
    let mut put = |name: &str, value: String| headers.push((name.to_owned(), Some(value.into_bytes())));
    put("content-type", "application/avro".to_owned());
    put("ce_specversion", "1.0".to_owned());
    put("ce_type", envelope.kind.to_owned());
    put("ce_id", envelope.id.to_string());
    put("ce_source", format!("/waymark/{}/monitor", envelope.tenant));
    put("ce_subject", envelope.customer.to_owned());
    put("ce_time", time(cx.now));
    if let Some(correlation) = envelope.correlation {
        put("ce_correlationid", correlation.to_owned());
    }
    if let Some(causation) = envelope.causation {
        put("ce_causationid", causation.to_owned());
    }
    if let Some(expires) = envelope.expires {
        put("ce_expirytime", time(expires));
    }
    put("ce_dataclassification", envelope.class.to_owned());
    if let Some(traceparent) = envelope.traceparent {
        put("traceparent", traceparent.to_owned());
    }
    put("waymark-output-id", envelope.id.to_string());
    let index = cx.outputs.len();
    put(
        "waymark-source",
        format!("{}/{}/{}/{index}", cx.topic, cx.partition, cx.offset),
    );
    put("waymark-catalogue", cx.revision.to_string());
    cx.outputs.push(Output {
        topic: Arc::clone(topic),
        partition: None,
        timestamp: None,
        key: Some(cx.key.to_vec()),
        value: Some(value),
        headers,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::{EventRef, Seen};

    /// Name and value of each header of the one record that `say` adds.
    fn headers(said: Said) -> String {
        let topics = Topics::new(&Names::new("p."));
        let topic: Arc<str> = Arc::from("p.journey.timeline");
        let mut outputs = Vec::new();
        let mut cx = Cx {
            now: Millis(1_795_266_692_120),
            clock: Millis(0),
            key: b"c.1",
            topic: &topic,
            partition: 17,
            offset: 88_180,
            timestamp: Millis(0),
            revision: 6,
            late: false,
            outputs: &mut outputs,
        };
        topics.say(said, "c.1", &mut cx);
        let [output] = &outputs[..] else {
            panic!("one record: {outputs:?}");
        };
        let lines = output.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned();
            format!("{name}: {value}\n")
        });
        let key = String::from_utf8_lossy(output.key.as_deref().unwrap_or_default()).into_owned();
        format!("{} {key}\n{}", output.topic, lines.collect::<String>())
    }

    fn seen() -> Vec<Seen> {
        let first = EventRef {
            id: "7f1c".to_owned(),
            ..EventRef::default()
        };
        vec![Seen {
            first,
            ..Seen::default()
        }]
    }

    #[test]
    fn the_headers_of_published_records_never_change() {
        let intervention = Intervention {
            action: Action::Start,
            tenant: "boots".to_owned(),
            channel: OutChannel::Chat,
            seen: seen(),
            expires_at: Millis(1_795_267_292_120),
            references: [("cart_id".to_owned(), "cart-5531".to_owned())].into(),
            ..Intervention::default()
        };
        let signal = Signal {
            tenant: "boots".to_owned(),
            seen: seen(),
            ..Signal::default()
        };
        let profile = Profile {
            tenant: "boots".to_owned(),
            revision: 3,
            ..Profile::default()
        };
        let said = [
            headers(Said::Intervention(Box::new(intervention.clone()))),
            headers(Said::Withheld(Box::new(Intervention {
                withheld: Some(event::Withheld::default()),
                ..intervention
            }))),
            headers(Said::Signal(Box::new(signal))),
            headers(Said::Profile(Box::new(profile))),
        ];
        assert_eq!(said.join("\n"), include_str!("../testdata/headers-1.txt"));
    }
}
