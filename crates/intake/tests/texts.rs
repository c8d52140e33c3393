//! A customer's text: scored as it came, stored redacted.

mod stage;

use codec::Published as _;
use event::{Label, LangSource, Sentiment};
use stage::{AT, outputs_of};
use stream::Output;

fn outputs(event: &str) -> Vec<Output> {
    outputs_of("chat", event)
}

fn message(role: &str) -> String {
    format!(
        r#"{{"id":"m-1","source":"shop/chat","type":"message.received","time":"2026-11-21T13:10:00Z","channel":"chat",
        "identifiers":[{{"kind":"email","value":"anna@example.com"}}],"conversation":"c-9",
        "text":{{"body":"Mail anna@example.com: het werkt nog steeds niet","lang":"nl","role":"{role}","modality":"text"}}}}"#
    )
}

#[test]
fn a_text_is_scored_before_it_is_redacted() {
    let outputs = outputs(&message("customer"));
    let [timeline, scored] = &outputs[..] else {
        panic!("one event and one score: {outputs:?}");
    };
    assert_eq!(
        (&*timeline.topic, &*scored.topic),
        ("journey.timeline", "journey.sentiment")
    );
    assert_eq!(timeline.key, scored.key, "both under the customer");
    let event = codec::decode_event(timeline.value.as_deref().expect("a value")).expect("an event");
    let body = event.text.expect("a text").body;
    assert!(!body.contains("anna@"), "{body}");
    let sentiment = Sentiment::decode(scored.value.as_deref().expect("a value")).expect("a score");
    assert_eq!(sentiment.text_ref.position, "journey.events.chat/3/41");
    assert_eq!(
        (sentiment.text_ref.id.as_str(), sentiment.conversation.as_deref()),
        ("m-1", Some("c-9"))
    );
    assert_eq!(
        (sentiment.score.label, sentiment.score.lang_source),
        (Label::Negative, LangSource::Hint)
    );
    let hit = sentiment.score.evidence.first().expect("evidence");
    let original = "Mail anna@example.com: het werkt nog steeds niet";
    assert_eq!(
        &original[hit.start as usize..hit.end as usize],
        "werkt",
        "offsets are those of the original"
    );
    let on_event = event.sentiment.expect("the score travels on the event");
    assert_eq!(
        (on_event.label, on_event.score),
        (sentiment.score.label, sentiment.score.score)
    );
}

#[test]
fn an_agents_text_is_not_scored() {
    let outputs = outputs(&message("agent"));
    assert_eq!(outputs.len(), 1);
    let event = codec::decode_event(outputs[0].value.as_deref().expect("a value")).expect("an event");
    assert_eq!(event.sentiment, None);
}

#[test]
fn a_batch_of_calls_becomes_events_under_their_own_keys() {
    let batch = r#"{"sentAt":"2026-11-21T13:10:00Z","batch":[
        {"type":"track","event":"Cart Viewed","messageId":"1","userId":"u","originalTimestamp":"2026-11-21T13:09:59Z","properties":{"cart_id":"k"}},
        {"type":"page","anonymousId":"d","originalTimestamp":"2026-11-21T13:09:58Z","properties":{"url":"https://x/y"}}]}"#;
    let outputs = outputs(batch);
    let events: Vec<event::Event> = outputs
        .iter()
        .map(|output| codec::decode_event(output.value.as_deref().expect("a value")).expect("an event"))
        .collect();
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(
        ids,
        ["1", "journey.events.chat/3/41#1"],
        "a call without an id gets one from its place"
    );
    assert_eq!(events[1].kind, "page.viewed");
    let keys: Vec<&[u8]> = outputs.iter().filter_map(|output| output.key.as_deref()).collect();
    assert!(keys[0].starts_with(b"c.") && keys[1].starts_with(b"d."), "{keys:?}");
    assert_eq!(events[0].time, AT.plus(-1000), "the sender's clock is set right");
}
