//! Texts whose language the journey knows better than intake did, through the stage that runs live.

use std::sync::{Arc, LazyLock};

use codec::Published as _;
use event::{Event, EventSentiment, Label, LangSource, Millis, Modality, Role, Sentiment, Text};
use monitor::{Board, Monitor, Settings, State};
use sentiment::{Input, Reader, Scratch};
use service::{texts::Readings, topics::Names};
use stream::{Cx, Output, Stage};

static READER: LazyLock<Arc<Reader>> = LazyLock::new(Arc::default);

/// A message as intake writes it on the timeline.
fn message(index: i64, body: &str, hint: Option<&str>, role: Role) -> Event {
    let input = Input {
        body,
        lang: hint,
        role,
        modality: Modality::Text,
        asr_confidence: None,
    };
    let id = format!("m-{index}");
    let score = READER.score(&input, &format!("shop/chat {id}"), &mut Scratch::default());
    Event {
        id,
        source: "shop/chat".to_owned(),
        kind: "message.received".to_owned(),
        time: Millis(index * 60_000),
        tenant: "default".to_owned(),
        conversation: Some("c-9".to_owned()),
        text: Some(Text {
            body: body.to_owned(),
            lang: hint.map(ToOwned::to_owned),
            role,
            modality: Modality::Text,
            ..Text::default()
        }),
        sentiment: score.map(|score| EventSentiment {
            label: score.label,
            score: score.score,
            confidence: score.confidence,
            lang: score.lang,
            signals: score.signals,
        }),
        ..Event::default()
    }
}

fn by_customer(index: i64, body: &str, hint: Option<&str>) -> Event {
    message(index, body, hint, Role::Customer)
}

/// What a monitor says of these events.
fn said(events: &[Event]) -> Vec<Output> {
    let monitor =
        Monitor::new(&Names::new(""), Settings::default()).reading_by(Arc::new(Readings::loaded(Arc::clone(&READER))));
    monitor.load(&Board::default());
    let topic: Arc<str> = Arc::from("journey.timeline");
    let (mut state, mut outputs) = (State::default(), Vec::new());
    for (offset, event) in (0..).zip(events) {
        let mut cx = Cx {
            now: event.time,
            clock: event.time,
            key: b"c.1",
            topic: &topic,
            partition: 2,
            offset,
            timestamp: event.time,
            revision: 0,
            late: false,
            outputs: &mut outputs,
        };
        monitor.on_event(&mut state, Box::new(event.clone()), &mut cx);
    }
    outputs
}

/// The texts that were read again.
fn reread(events: &[Event]) -> Vec<Sentiment> {
    let outputs = said(events);
    let scores = outputs.iter().filter(|output| &*output.topic == "journey.sentiment");
    scores
        .map(|output| Sentiment::decode(output.value.as_deref().expect("a value")).expect("a score"))
        .collect()
}

fn dutch() -> Vec<Event> {
    vec![
        by_customer(0, "ik wacht al drie weken op mijn pakket", Some("nl-NL")),
        by_customer(1, "ik heb gisteren ook al een bericht gestuurd", None),
        by_customer(2, "kunt u dat voor mij nakijken alstublieft", None),
    ]
}

#[test]
fn a_text_too_short_to_tell_is_read_in_the_journeys_language() {
    let mut events = dutch();
    events.push(by_customer(3, "werkt niet", None));
    let told = events[3].sentiment.as_ref().expect("scored");
    assert_eq!(
        (told.lang.as_deref(), told.label),
        (None, Label::Unscored),
        "intake cannot tell"
    );
    let again = reread(&events);
    let [score] = &again[..] else {
        panic!("one text: {again:?}");
    };
    assert_eq!(
        (score.score.lang.as_deref(), score.score.lang_source, score.score.label),
        (Some("nl"), LangSource::Journey, Label::Negative)
    );
    assert_eq!(
        (
            score.text_ref.id.as_str(),
            score.text_ref.position.as_str(),
            score.customer.as_str()
        ),
        ("m-3", "journey.timeline/2/3", "c.1")
    );
    let events: Vec<Event> = dutch()
        .into_iter()
        .take(2)
        .chain([by_customer(3, "werkt niet", None)])
        .collect();
    assert!(reread(&events).is_empty(), "two texts settle nothing");
}

#[test]
fn what_was_detected_against_a_settled_majority_is_read_again_and_a_hint_never() {
    let english = "the delivery was late and nobody answers me";
    let mut events = dutch();
    events.push(by_customer(3, english, None));
    assert_eq!(
        events[3].sentiment.as_ref().and_then(|told| told.lang.as_deref()),
        Some("en")
    );
    assert_eq!(reread(&events).len(), 1);
    events[3] = by_customer(3, english, Some("en"));
    assert!(reread(&events).is_empty(), "the producer knows");
    events[3] = by_customer(3, "ik ben er erg ontevreden over", None);
    assert!(reread(&events).is_empty(), "detection agrees");
    events[3] = message(3, "werkt niet", None, Role::Agent);
    assert!(reread(&events).is_empty(), "agents are not scored");
    events[3] = by_customer(3, "werkt niet", None);
    events[3].text.as_mut().expect("a text").body.clear();
    assert!(reread(&events).is_empty(), "the text was not kept");
}

#[test]
fn a_repeat_says_nothing_and_a_replay_says_the_same() {
    let mut events = dutch();
    events.push(by_customer(3, "werkt niet", None));
    events.push(events[3].clone());
    events.push(by_customer(5, "!! :(", None));
    assert_eq!(reread(&events).len(), 2, "the repeat is none");
    assert_eq!(said(&events), said(&events));
    let ids: Vec<_> = said(&events)
        .iter()
        .filter(|output| &*output.topic == "journey.sentiment")
        .map(|output| output.headers.iter().find(|(name, _)| name == "ce_id").cloned())
        .collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn what_was_read_again_counts_in_the_journey() {
    let mut events = dutch();
    events.extend((3..7).map(|index| by_customer(index, "werkt niet", None)));
    // A profile is written when something matters to its readers.
    events.push(Event {
        id: "c-1".to_owned(),
        source: "shop/web".to_owned(),
        kind: "checkout.started".to_owned(),
        time: Millis(20 * 60_000),
        ..Event::default()
    });
    let profiles: Vec<event::Profile> = said(&events)
        .iter()
        .filter(|output| &*output.topic == "journey.profiles")
        .map(|output| event::Profile::decode(output.value.as_deref().expect("a value")).expect("a profile"))
        .collect();
    let mood = profiles
        .last()
        .and_then(|profile| profile.sentiment.as_ref())
        .expect("a mood");
    assert_eq!((mood.n_texts, mood.label), (7, Label::Negative));
    assert!(mood.negative_run >= 4, "{mood:?}");
}
