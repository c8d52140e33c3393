//! Journeys on their way: what is handed over, and what arrives for a journey that has moved, go back to the timeline under the key that
//! they belong to, in the transaction of the event that caused them.

use std::sync::Arc;

use event::{Attribute, Event, LINK_FROM, flag};
use journey::{HANDED_OVER, Journey, output_id};
use stream::{Cx, Output};

/// A record of the timeline may have 2 MiB; what a state takes beyond this is cut.
const LARGEST: usize = 1_500_000;
/// The attribute that names the journey that was handed over.
const ORIGIN: &str = "origin";

/// The event that carries a journey that had the key `origin` to the one with the key `to`, and how many of its runs had to stay behind;
/// where the two are the same it comes back. A state too large for one record leaves behind what it had been given itself first, so that
/// an unlink parts the future alone, then its past, then its runs. `number` tells apart what one event sends.
pub(crate) fn parcel(
    mut given: Journey,
    link: &Event,
    (origin, to): (&str, &str),
    number: usize,
    cx: &Cx<'_>,
) -> (Event, u32) {
    let mut payload = codec::pack_journey(&given);
    let mut left = 0;
    if payload.len() > LARGEST {
        given.origins.clear();
        payload = codec::pack_journey(&given);
    }
    if payload.len() > LARGEST {
        given.timeline.clear();
        payload = codec::pack_journey(&given);
    }
    if payload.len() > LARGEST {
        let runs = given
            .runs
            .instances()
            .iter()
            .map(|instance| instance.runs.len())
            .sum::<usize>();
        left = u32::try_from(runs).unwrap_or(u32::MAX);
        given.runs = pattern::Runs::default();
        payload = codec::pack_journey(&given);
    }
    let place = match number {
        0 => format!("{}/{}/{}", cx.topic, cx.partition, cx.offset),
        _ => format!("{}/{}/{}/{number}", cx.topic, cx.partition, cx.offset),
    };
    let parts = [
        b"monitor".as_slice(),
        b"handed_over",
        origin.as_bytes(),
        to.as_bytes(),
        place.as_bytes(),
    ];
    let event = Event {
        id: output_id(parts).to_string(),
        source: format!("/waymark/{}/monitor", link.tenant),
        kind: HANDED_OVER.to_owned(),
        time: cx.now,
        tenant: link.tenant.clone(),
        identifiers: link.identifiers.clone(),
        causation: Some(link.id.clone()),
        attributes: [(ORIGIN.to_owned(), Attribute::Text(origin.to_owned()))].into(),
        payload: Some(payload),
        ..Event::default()
    };
    (event, left)
}

/// What arrived: the journey, and the key that it had.
///
/// # Errors
/// What is wrong with the event.
pub(crate) fn unpack(event: &Event) -> Result<(Journey, &str), String> {
    let Some(Attribute::Text(origin)) = event.attributes.get(ORIGIN) else {
        return Err(format!("no text: attribute={ORIGIN}"));
    };
    let payload = event.payload.as_deref().ok_or("no value: field=payload")?;
    Ok((codec::unpack_journey(payload)?, origin))
}

/// Puts an event on the timeline under another key.
pub(crate) fn send(timeline: &Arc<str>, mut event: Event, to: &str, cx: &mut Cx<'_>) {
    if event.kind != HANDED_OVER && !event.flags.iter().any(|known| known == flag::FORWARDED) {
        event.flags.push(flag::FORWARDED.to_owned());
    }
    if event.kind != HANDED_OVER {
        let first = || Attribute::Text(String::from_utf8_lossy(cx.key).into_owned());
        event.attributes.entry(LINK_FROM.to_owned()).or_insert_with(first);
    }
    let mut value = Vec::with_capacity(512);
    codec::encode_event(&event, &mut value);
    let index = cx.outputs.len();
    let source = format!("{}/{}/{}/{index}", cx.topic, cx.partition, cx.offset);
    let parts = [b"monitor".as_slice(), b"timeline", to.as_bytes(), source.as_bytes()];
    let mut headers = vec![
        ("waymark-source".to_owned(), Some(source.clone().into_bytes())),
        (
            "waymark-output-id".to_owned(),
            Some(output_id(parts).to_string().into_bytes()),
        ),
        (
            "waymark-catalogue".to_owned(),
            Some(cx.revision.to_string().into_bytes()),
        ),
    ];
    if let Some(trace) = &event.trace {
        headers.push(("traceparent".to_owned(), Some(trace.traceparent.clone().into_bytes())));
        if let Some(state) = &trace.tracestate {
            headers.push(("tracestate".to_owned(), Some(state.clone().into_bytes())));
        }
    }
    cx.outputs.push(Output {
        topic: Arc::clone(timeline),
        partition: None,
        // It arrived when the event that caused it did.
        timestamp: Some(cx.timestamp),
        key: Some(to.as_bytes().to_vec()),
        value: Some(value),
        headers,
    });
}
