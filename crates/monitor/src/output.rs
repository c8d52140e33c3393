//! Records of what was said: topic, key, value and headers (CloudEvents, binary mode).

use std::{collections::BTreeMap, sync::Arc};

use codec::{Published, time};
use event::{Action, Intervention, Millis, OutChannel, OutputId, Profile, Signal};
use journey::{Said, output_id};
use service::topics::{CHANNELS, Names};
use stream::{Cx, Header, Output};

/// The topics that the monitor writes.
pub(crate) struct Topics {
    signals: Arc<str>,
    withheld: Arc<str>,
    profiles: Arc<str>,
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
