//! Validates an event and brings it into the form that the timeline promises: clamped, flagged, cut, redacted.

use event::{Attribute, Channel, Event, Identifier, IdentifierKind, Millis, Modality, flag, vocabulary};
use stream::Reject;

use crate::{
    identify::identify,
    redact::{KeepText, Redactor, strip_url},
};

/// Whether events arrive as they happen, or are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The clock is the wall's.
    #[default]
    Wall,
    /// The clock is the event being processed.
    Events,
}

/// The configured rules, all of which change outputs.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Refuse a listed type that lacks a required attribute.
    pub strict: bool,
    /// How much of a text is kept.
    pub keep_text: KeepText,
    /// Query parameters that URLs keep.
    pub url_parameters: Vec<String>,
    /// Values that identify nobody, beside the built-in ones, in lower case.
    pub placeholders: Vec<String>,
    /// Whether a notice covers emotion read from voices.
    pub voice_tone: bool,
}

/// Where and when a raw record arrived.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// The raw topic's suffix: `web`, `business`, `agents` ….
    pub topic: &'a str,
    /// `topic/partition/offset`.
    pub position: &'a str,
    /// Which of the record's events this is.
    pub index: usize,
    /// The record's timestamp.
    pub timestamp: Millis,
    /// Intake's clock, or the end of time where [`clamp`] is called later.
    pub now: Millis,
}

/// An event ready for the timeline, and what was counted on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The event.
    pub event: Event,
    /// The customer's own words for scoring, redacted of nothing; never stored.
    pub unredacted: Option<String>,
    /// How often each of [`crate::redact::KINDS`] was replaced.
    pub redactions: [u32; 4],
}

const EARLIEST: Millis = Millis(946_684_800_000); // 2000-01-01T00:00:00Z

/// Validates and normalises one event. `time` is the producer's, where the format let it be absent.
///
/// # Errors
/// A [`Reject`] with one of the published reason codes; the whole raw record is then refused.
pub fn prepare(
    mut event: Event,
    time: Option<Millis>,
    arrival: &Arrival<'_>,
    rules: &Rules,
    redactor: &Redactor,
) -> Result<Prepared, Reject> {
    if event.tenant.is_empty() {
        "default".clone_into(&mut event.tenant);
    }
    if event.id.is_empty() {
        event.id = format!("{}#{}", arrival.position, arrival.index);
        mark(&mut event, flag::ID_DERIVED);
    }
    check_lengths(&event)?;
    check_type(&event.kind, arrival.topic)?;
    set_time(&mut event, time, arrival)?;
    set_channel(&mut event, arrival.topic);
    set_identifiers(&mut event, arrival.topic, rules)?;
    cut(&mut event);
    vocabulary::conform(&event.kind, &mut event.attributes);
    check_attributes(&mut event, rules.strict)?;
    let (unredacted, redactions) = redact(&mut event, rules, redactor);
    event.sentiment = None;
    event.payload = None;
    event.received = event.received.or(Some(arrival.timestamp));
    Ok(Prepared {
        event,
        unredacted,
        redactions,
    })
}

fn mark(event: &mut Event, flag: &str) {
    if !event.flags.iter().any(|known| known == flag) {
        event.flags.push(flag.to_owned());
    }
}

fn refuse(reason: &'static str, field: &str, message: String) -> Reject {
    Reject {
        stage: "validate",
        reason,
        message,
        field: Some(field.to_owned()),
        schema: None,
    }
}

fn check_lengths(event: &Event) -> Result<(), Reject> {
    let longest = |field: &str, value: &str, limit: usize| {
        if value.len() > limit {
            return Err(refuse(
                "field_invalid",
                field,
                format!("longer than allowed: bytes={} limit={limit}", value.len()),
            ));
        }
        Ok(())
    };
    longest("id", &event.id, 256)?;
    longest("source", &event.source, 512)?;
    longest("type", &event.kind, 96)?;
    longest("tenant", &event.tenant, 96)?;
    let references = [
        ("session", &event.session),
        ("conversation", &event.conversation),
        ("correlation", &event.correlation),
        ("causation", &event.causation),
        ("medium", &event.medium),
    ];
    for (field, value) in references {
        longest(field, value.as_deref().unwrap_or_default(), 256)?;
    }
    if event.source.is_empty() {
        return Err(refuse("field_missing", "source", "no value: field=source".to_owned()));
    }
    if event.identifiers.len() > 16 {
        return Err(refuse(
            "field_invalid",
            "identifiers",
            format!("more than 16: found={}", event.identifiers.len()),
        ));
    }
    for identifier in &event.identifiers {
        longest("identifiers", &identifier.value, Identifier::MAX_BYTES)?;
    }
    Ok(())
}

/// A type is words in lower snake case with one dot; some belong on one topic only, some to nobody outside.
fn check_type(kind: &str, topic: &str) -> Result<(), Reject> {
    let forbidden = |why: &str| {
        Err(refuse(
            "type_forbidden",
            "type",
            format!("type is not allowed here: {why}"),
        ))
    };
    if kind == "tick" || kind == "progress" {
        return forbidden("it is Waymark's own");
    }
    let Some((object, _)) = kind.split_once('.').filter(|_| vocabulary::is_type(kind)) else {
        return Err(refuse(
            "type_invalid",
            "type",
            "type must be object.verb in lower snake case".to_owned(),
        ));
    };
    match object {
        "journey" => forbidden("it is Waymark's own"),
        "intervention" if topic != "business" => forbidden("it belongs on the business topic"),
        _ if matches!(kind, "erasure.requested" | "identity.unlinked") && topic != "business" => {
            forbidden("it belongs on the business topic")
        }
        _ if matches!(kind, "agent.presence_changed" | "agent.capacity_changed") && topic != "agents" => {
            forbidden("it belongs on the agents topic")
        }
        _ => Ok(()),
    }
}

fn set_time(event: &mut Event, time: Option<Millis>, arrival: &Arrival<'_>) -> Result<(), Reject> {
    let Some(time) = time else {
        event.time = arrival.timestamp.min(arrival.now);
        mark(event, flag::TIME_MISSING);
        return Ok(());
    };
    if time < EARLIEST {
        return Err(refuse("time_invalid", "time", "time lies before 2000".to_owned()));
    }
    event.time = time;
    clamp(event, arrival.now);
    Ok(())
}

/// Sets a time beyond intake's clock to it, keeps the producer's, and flags the event.
pub fn clamp(event: &mut Event, now: Millis) {
    if event.time > now {
        event.original_time = event.original_time.or(Some(event.time));
        event.time = now;
        mark(event, flag::TIME_CLAMPED);
    }
}

fn set_channel(event: &mut Event, topic: &str) {
    if event.channel == Channel::Unknown {
        event.channel = match topic {
            "agents" => Channel::Agent,
            other => Channel::parse(other).unwrap_or(Channel::Unknown),
        };
    }
}

fn set_identifiers(event: &mut Event, topic: &str, rules: &Rules) -> Result<(), Reject> {
    for identifier in &event.identifiers {
        let allowed = match identifier.kind {
            IdentifierKind::Key => matches!(topic, "business" | "agents"),
            IdentifierKind::Agent => topic == "agents",
            _ => true,
        };
        if !allowed {
            let message = format!(
                "identifier kind is not allowed here: kind={} topic={topic}",
                identifier.kind
            );
            return Err(refuse("field_invalid", "identifiers", message));
        }
    }
    let found = identify(std::mem::take(&mut event.identifiers), &rules.placeholders);
    event.identifiers = found.identifiers;
    if found.dropped {
        mark(event, flag::IDENTIFIER_DROPPED);
    }
    if !event.identifiers.is_empty() {
        return Ok(());
    }
    // A caller without number or a visitor without cookie: a journey as long as the contact.
    let contact = match (&event.conversation, &event.session) {
        (Some(conversation), _) => Some(("conversation", conversation.clone())),
        (None, Some(session)) => Some(("session", session.clone())),
        (None, None) => None,
    };
    let Some((namespace, value)) = contact.filter(|(_, value)| !value.is_empty()) else {
        let message = "no identifier identifies anybody, and there is neither conversation nor session".to_owned();
        return Err(refuse("identifier_missing", "identifiers", message));
    };
    event.identifiers.push(Identifier {
        kind: IdentifierKind::Other,
        value,
        namespace: namespace.to_owned(),
        verified: false,
    });
    Ok(())
}

/// Cuts what is over a soft limit.
fn cut(event: &mut Event) {
    let before = event.attributes.len();
    event.attributes.retain(|key, value| {
        let fits = match value {
            Attribute::Text(text) => text.len() <= 4096,
            Attribute::List(list) => list.len() <= 64 && list.iter().all(|text| text.len() <= 1024),
            _ => true,
        };
        fits && key.len() <= 64
    });
    while event.attributes.len() > 128 {
        event.attributes.pop_last();
    }
    if event.attributes.len() < before {
        mark(event, flag::ATTRIBUTES_DROPPED);
    }
    if event.items.len() > 100 {
        event.items.truncate(100);
        mark(event, flag::ITEMS_TRUNCATED);
    }
    let Some(text) = &mut event.text else { return };
    let mut truncated = false;
    if text.body.len() > 64 * 1024 {
        let mut end = 64 * 1024;
        while !text.body.is_char_boundary(end) {
            end -= 1;
        }
        text.body.truncate(end);
        text.truncated = true;
        truncated = true;
    }
    if truncated {
        mark(event, flag::TEXT_TRUNCATED);
    }
}

fn check_attributes(event: &mut Event, strict: bool) -> Result<(), Reject> {
    let Some(required) = vocabulary::required(&event.kind) else {
        mark(event, flag::TYPE_UNLISTED);
        return Ok(());
    };
    let missing = required.iter().find(|name| match **name {
        "<session>" => event.session.is_none(),
        "<conversation>" => event.conversation.is_none(),
        "<text>" => event.text.is_none(),
        name => !event.attributes.contains_key(name),
    });
    let Some(missing) = missing else { return Ok(()) };
    if strict {
        return Err(refuse(
            "attributes_missing",
            missing,
            format!("no value: attribute={missing}"),
        ));
    }
    mark(event, flag::ATTRIBUTES_MISSING);
    Ok(())
}

fn redact(event: &mut Event, rules: &Rules, redactor: &Redactor) -> (Option<String>, [u32; 4]) {
    for (name, value) in &mut event.attributes {
        if let Attribute::Text(text) = value
            && (name.ends_with("url") || name == "referrer")
        {
            *text = strip_url(text, &rules.url_parameters);
        }
    }
    for item in &mut event.items {
        if let Some(url) = &mut item.url {
            *url = strip_url(url, &rules.url_parameters);
        }
    }
    let mut dropped_tone = false;
    let Some(text) = &mut event.text else {
        return (None, [0; 4]);
    };
    if !rules.voice_tone && (text.tone.take().is_some() || text.modality == Modality::VoiceTone) {
        dropped_tone = true;
    }
    let (redacted, counts) = redactor.redact(&text.body, rules.keep_text);
    let unredacted = std::mem::replace(&mut text.body, redacted);
    if dropped_tone {
        mark(event, flag::TONE_DROPPED);
    }
    (Some(unredacted), counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::Text;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn event() -> Event {
        Event {
            id: "1".into(),
            source: "s".into(),
            kind: "page.viewed".into(),
            identifiers: vec![Identifier {
                kind: IdentifierKind::Customer,
                value: "7".into(),
                ..Identifier::default()
            }],
            attributes: [("url".to_owned(), Attribute::Text("/a?x=1#y".into()))].into(),
            ..Event::default()
        }
    }

    fn run(event: Event, time: Option<Millis>, topic: &str) -> Result<Prepared, Reject> {
        let arrival = Arrival {
            topic,
            position: "t/0/5",
            index: 0,
            timestamp: NOW,
            now: NOW,
        };
        prepare(event, time, &arrival, &Rules::default(), &Redactor::default())
    }

    fn refused(change: impl FnOnce(&mut Event), time: Option<Millis>, topic: &str) -> &'static str {
        let mut event = event();
        change(&mut event);
        run(event, time, topic).expect_err("refused").reason
    }

    #[test]
    fn bad_events_are_refused_with_their_reason() {
        assert_eq!(
            refused(|event| event.kind = "Page Viewed".into(), Some(NOW), "web"),
            "type_invalid"
        );
        assert_eq!(
            refused(|event| event.kind = "tick".into(), Some(NOW), "web"),
            "type_forbidden"
        );
        assert_eq!(
            refused(|event| event.kind = "journey.x".into(), Some(NOW), "business"),
            "type_forbidden"
        );
        assert_eq!(
            refused(|event| event.kind = "intervention.shown".into(), Some(NOW), "web"),
            "type_forbidden"
        );
        assert_eq!(
            refused(|event| event.id = "x".repeat(257), Some(NOW), "web"),
            "field_invalid"
        );
        assert_eq!(refused(|event| event.source.clear(), Some(NOW), "web"), "field_missing");
        assert_eq!(
            refused(|event| event.identifiers.clear(), Some(NOW), "web"),
            "identifier_missing"
        );
        assert_eq!(refused(|_| {}, Some(Millis(5)), "web"), "time_invalid");
        assert_eq!(
            refused(
                |event| event.identifiers[0].kind = IdentifierKind::Key,
                Some(NOW),
                "web"
            ),
            "field_invalid"
        );
    }

    #[test]
    fn a_future_time_is_clamped_and_flagged() {
        let future = NOW.plus(1);
        let prepared = run(event(), Some(future), "web").expect("accepted");
        assert_eq!((prepared.event.time, prepared.event.original_time), (NOW, Some(future)));
        assert_eq!(prepared.event.flags, vec![flag::TIME_CLAMPED]);
    }

    #[test]
    fn what_is_missing_is_derived() {
        let mut raw = event();
        raw.id.clear();
        raw.identifiers.clear();
        raw.session = Some("s1".into());
        let prepared = run(raw, None, "web").expect("accepted").event;
        assert_eq!(prepared.id, "t/0/5#0");
        assert_eq!(prepared.flags, vec![flag::ID_DERIVED, flag::TIME_MISSING]);
        assert_eq!(prepared.identifiers[0].namespace, "session");
        assert_eq!(prepared.channel, Channel::Web);
        assert_eq!(prepared.attributes["url"], Attribute::Text("/a".into()));
    }

    #[test]
    fn a_listed_type_without_a_required_attribute_is_flagged_or_refused() {
        let mut raw = event();
        raw.attributes.clear();
        let arrival = Arrival {
            topic: "web",
            position: "t/0/5",
            index: 0,
            timestamp: NOW,
            now: NOW,
        };
        let prepared = run(raw.clone(), Some(NOW), "web").expect("accepted").event;
        assert_eq!(prepared.flags, vec![flag::ATTRIBUTES_MISSING]);
        let strict = Rules {
            strict: true,
            ..Rules::default()
        };
        let refused = prepare(raw.clone(), Some(NOW), &arrival, &strict, &Redactor::default()).expect_err("refused");
        assert_eq!(refused.reason, "attributes_missing");
        raw.kind = "gift.card_redeemed".into();
        assert_eq!(
            run(raw, Some(NOW), "web").expect("accepted").event.flags,
            vec![flag::TYPE_UNLISTED]
        );
    }

    #[test]
    fn texts_are_redacted_and_kept_whole_for_scoring_only() {
        let mut raw = event();
        raw.text = Some(Text {
            body: "write to a@b.nl".into(),
            tone: Some(0.5),
            ..Text::default()
        });
        let prepared = run(raw, Some(NOW), "web").expect("accepted");
        let text = prepared.event.text.expect("kept");
        assert_eq!((text.body.as_str(), text.tone), ("write to [email]", None));
        assert_eq!(prepared.unredacted.as_deref(), Some("write to a@b.nl"));
        assert_eq!(prepared.event.flags, vec![flag::TONE_DROPPED]);
    }

    #[test]
    fn numbers_get_the_type_that_the_vocabulary_says() {
        let mut raw = event();
        raw.kind = "order.completed".into();
        raw.attributes = [
            ("value".to_owned(), Attribute::Long(2)),
            ("order_id".to_owned(), Attribute::Long(77)),
            ("currency".to_owned(), Attribute::Text("EUR".into())),
        ]
        .into();
        let prepared = run(raw, Some(NOW), "web").expect("accepted").event;
        assert_eq!(prepared.attributes["value"], Attribute::Double(2.0));
        assert_eq!(prepared.attributes["order_id"], Attribute::Text("77".into()));
        assert_eq!(prepared.flags, Vec::<String>::new());
    }

    #[test]
    fn what_is_over_a_soft_limit_is_cut() {
        let mut raw = event();
        raw.text = Some(Text {
            body: "é".repeat(40_000),
            ..Text::default()
        });
        for index in 0..200 {
            raw.attributes.insert(format!("a{index:03}"), Attribute::Long(1));
        }
        let prepared = run(raw, Some(NOW), "web").expect("accepted").event;
        assert_eq!(prepared.attributes.len(), 128);
        assert_eq!(prepared.text.expect("kept").body.len(), 65_536);
        assert!(prepared.flags.contains(&flag::ATTRIBUTES_DROPPED.to_owned()));
        assert!(prepared.flags.contains(&flag::TEXT_TRUNCATED.to_owned()));
    }
}
