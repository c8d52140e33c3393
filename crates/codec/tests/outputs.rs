//! The bytes of what is published: apache-avro reads what we write, symbols and field names included, and golden files freeze them.

use std::collections::BTreeMap;

use apache_avro::{
    Schema, rabin::Rabin, reader::datum::GenericDatumReader, types::Value as Avro, writer::datum::GenericDatumWriter,
};
use codec::Published;
use event::*;
use serde_json::Value;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn reference(id: &str) -> EventRef {
    EventRef {
        id: id.to_owned(),
        source: "shop/web".to_owned(),
        kind: "checkout.started".to_owned(),
        time: Millis(1_763_730_602_120),
        position: "journey.timeline/17/88180".to_owned(),
    }
}

fn id(byte: u8) -> OutputId {
    OutputId::from_hash([byte; 16])
}

fn because() -> BTreeMap<String, String> {
    BTreeMap::from([("en".to_owned(), "started to pay € 309.90 and stopped".to_owned())])
}

fn evidence() -> (Vec<Seen>, Vec<Absence>) {
    let seen = Seen {
        step: 2,
        types: vec!["checkout.started".to_owned()],
        count: 3,
        first: reference("7f1c"),
        last: Some(reference("7f1d")),
    };
    let absent = Absence {
        step: 3,
        types: vec!["order.completed".to_owned()],
        since: Millis(1_763_730_602_120),
        until: Millis(1_763_730_692_120),
    };
    (vec![seen], vec![absent])
}

fn signal() -> Signal {
    let (seen, absent) = evidence();
    Signal {
        id: id(1),
        tenant: "boots".to_owned(),
        customer: "c.jnkhd3qpkfwmyltyh42fhsrjte".to_owned(),
        pattern: "checkout-hesitation".to_owned(),
        pattern_version: 1,
        title: "Starts to pay, then goes quiet".to_owned(),
        mode: Mode::Live,
        opened_at: Millis(1_763_730_130_000),
        matched_at: Millis(1_763_730_692_120),
        by: BTreeMap::from([("session".to_owned(), "s-91".to_owned())]),
        seen,
        absent,
        because: because(),
        priority: 70,
        phase: Phase::Purchase,
        intervention: Some(id(2)),
        withheld: Some(WithheldReason::QuietHours),
    }
}

fn mood() -> SentimentState {
    SentimentState {
        label: Label::Negative,
        mean: Some(-0.25),
        ewma: Some(-0.5),
        trend: Some(0.125),
        trend_label: TrendLabel::Steady,
        worst: Some(-0.75),
        n_texts: 3,
        n_scored: 2,
        negative_run: 1,
        signals: BTreeMap::from([("complaint".to_owned(), 0.5)]),
        last_negative: Some(reference("t1")),
        updated_at: Some(Millis(1_763_730_602_000)),
    }
}

fn boots() -> Product {
    Product {
        product_id: "LB-39-BR".to_owned(),
        name: Some("Leren laarzen bruin 39".to_owned()),
        price: Some(Decimal(3_099_000)),
        currency: Some("EUR".to_owned()),
        quantity: 1.0,
        ..Product::default()
    }
}

fn entry() -> TimelineEntry {
    TimelineEntry {
        time: Millis(1_763_730_602_120),
        channel: Channel::Web,
        kind: "checkout.started".to_owned(),
        title: "€ 309.90".to_owned(),
        count: 1,
        event: Some("7f1c".to_owned()),
        ..TimelineEntry::default()
    }
}

fn intervention() -> Intervention {
    let (seen, absent) = evidence();
    Intervention {
        id: id(2),
        action: Action::Start,
        idempotency_key: "k/chat".to_owned(),
        tenant: "boots".to_owned(),
        customer: "c.jnkhd3qpkfwmyltyh42fhsrjte".to_owned(),
        identifiers: vec![Identifier {
            kind: IdentifierKind::Device,
            value: "a1f0c2".to_owned(),
            namespace: String::new(),
            verified: true,
        }],
        kind: "chat_offer".to_owned(),
        channel: OutChannel::Chat,
        pattern: "checkout-hesitation".to_owned(),
        pattern_version: 1,
        signal: Some(id(1)),
        effect: Effect::Offer,
        priority: 70,
        created_at: Millis(1_763_730_692_120),
        not_before: Some(Millis(1_763_730_692_120)),
        expires_at: Millis(1_763_731_292_120),
        cancel_on: vec!["order.completed".to_owned()],
        cancel_cause: Some(CancelCause {
            reason: "cancel_on".to_owned(),
            event: Some(reference("8001")),
        }),
        because: because(),
        seen,
        absent,
        phase: Phase::Purchase,
        timeline: vec![entry()],
        references: BTreeMap::from([("cart_id".to_owned(), "cart-5531".to_owned())]),
        items: vec![boots()],
        value: Some(Decimal(3_099_000)),
        currency: Some("EUR".to_owned()),
        sentiment: Some(mood()),
        effort: Some(4),
        offer: Some(Offer {
            kind: "discount".to_owned(),
            percent: Some(10.0),
            mandate: Some(Mandate {
                level: "agent".to_owned(),
                max_amount: Some(Decimal(309_900)),
                ..Mandate::default()
            }),
            ..Offer::default()
        }),
        route: Some(Route {
            queue: "webshop-nl".to_owned(),
            skills: vec!["dutch".to_owned()],
            candidates: vec![Candidate {
                agent_id: "agent-17".to_owned(),
                score: 0.5,
                reason: None,
            }],
            ..Route::default()
        }),
        suggestion: Some(Suggestion {
            cobrowse: true,
            ..Suggestion::default()
        }),
        channels: vec![ChannelChoice {
            channel: OutChannel::Email,
            score: 0.25,
            chosen: false,
            reason: Some("customer is on the site now".to_owned()),
        }],
        consent: Some(ConsentCheck {
            purpose: "service".to_owned(),
            status: ConsentStatus::Granted,
            basis: Some("consent".to_owned()),
            checked_at: Millis(1_763_730_692_120),
        }),
        pressure: Some(Pressure {
            shown_7d: 1,
            ..Pressure::default()
        }),
        experiment: Some(Experiment {
            arm: Arm::Holdout,
            scope: "pattern".to_owned(),
            bucket: 8360,
            percent: 100,
            holdout: 10,
            seed: "checkout-hesitation-1".to_owned(),
        }),
        withheld: Some(Withheld {
            reason: WithheldReason::Holdout,
            detail: None,
            until: Some(Millis(1_763_730_700_000)),
        }),
        trace: Some(Trace {
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
            tracestate: None,
        }),
        ..Intervention::default()
    }
}

fn profile() -> Profile {
    let at = Millis(1_763_730_602_120);
    Profile {
        tenant: "boots".to_owned(),
        customer: "c.jnkhd3qpkfwmyltyh42fhsrjte".to_owned(),
        revision: 7,
        updated_at: at,
        identifiers: vec![KnownIdentifier {
            identifier: Identifier::default(),
            key: "d.x".to_owned(),
            first_seen: at,
            last_seen: at,
            shared: true,
        }],
        phase: Phase::Loyalty,
        phases: vec![PhaseState {
            phase: Phase::Onboarding,
            since: at,
            until: Some(at),
            reference: Some("k-1".to_owned()),
        }],
        value: Some(CustomerValue {
            currency: "EUR".to_owned(),
            orders: 2,
            lifetime: Some(Decimal(-1)),
            band: Band::High,
            ..CustomerValue::default()
        }),
        sentiment: Some(mood()),
        effort: Some(Effort {
            points: 4,
            waited_ms: 60_000,
            goal: Some("pay".to_owned()),
            ..Effort::default()
        }),
        promises: vec![Promise {
            promise_id: "p".to_owned(),
            made_by: Role::Agent,
            status: PromiseStatus::Broken,
            closed_by: Some(reference("p2")),
            ..Promise::default()
        }],
        contracts: vec![Contract {
            auto_renew: Some(true),
            ..Contract::default()
        }],
        cases: vec![Case::default()],
        conversations: vec![Conversation {
            last_from: Role::Bot,
            channel: Channel::Messaging,
            ..Conversation::default()
        }],
        cart: vec![boots()],
        channels: vec![ChannelUse {
            preference: 0.5,
            ..ChannelUse::default()
        }],
        consent: BTreeMap::from([("marketing".to_owned(), ConsentState::default())]),
        interventions: vec![Pending {
            state: InterventionState::Shown,
            ..Pending::default()
        }],
        at_risk: vec![Risk {
            because: because(),
            ..Risk::default()
        }],
        surveys: vec![Answer::default()],
        timeline: vec![entry()],
        quarantined: true,
        ..Profile::default()
    }
}

fn sentiment() -> Sentiment {
    Sentiment {
        text_ref: reference("t1"),
        role: Role::Customer,
        modality: Modality::Transcript,
        score: Score {
            lang: Some("nl".to_owned()),
            lang_source: LangSource::Detect,
            label: Label::Positive,
            score: Some(0.5),
            tier: Tier::Lexicon,
            evidence: vec![Evidence {
                start: 3,
                end: 9,
                weight: 1.5,
                rule: "lexicon".to_owned(),
                entry: Some("mooi".to_owned()),
            }],
            ..Score::default()
        },
        ..Sentiment::default()
    }
}

fn outcome() -> Outcome {
    Outcome {
        intervention: id(2),
        revision: 2,
        is_final: true,
        arm: Arm::Treatment,
        state: InterventionState::Accepted,
        goal: vec!["order.completed".to_owned()],
        conversion: Some(reference("o1")),
        survey: Some(Survey::default()),
        handle_ms: Some(90_000),
        ..Outcome::default()
    }
}

/// What apache-avro read, as JSON of the same shape as ours: nulls and absent entries left out.
fn plain(value: &Avro) -> Value {
    match value {
        Avro::Null => Value::Null,
        Avro::Boolean(value) => (*value).into(),
        Avro::Int(value) => (*value).into(),
        Avro::Long(value) => (*value).into(),
        Avro::Double(value) => (*value).into(),
        Avro::String(text) | Avro::Enum(_, text) => text.as_str().into(),
        Avro::Uuid(id) => id.to_string().into(),
        Avro::TimestampMicros(micros) => codec::time(Millis(micros / 1000)).into(),
        Avro::Union(_, inner) => plain(inner),
        Avro::Array(items) => items.iter().map(plain).collect(),
        Avro::Map(entries) => {
            let sorted: BTreeMap<String, Value> = entries
                .clone()
                .into_iter()
                .map(|(key, value)| (key, plain(&value)))
                .collect();
            Value::Object(sorted.into_iter().collect())
        }
        Avro::Record(fields) => {
            let present = fields.iter().map(|(name, value)| (name.clone(), plain(value)));
            Value::Object(present.filter(|(_, value)| !value.is_null()).collect())
        }
        Avro::Decimal(decimal) => {
            let bytes = Vec::<u8>::try_from(decimal).expect("a decimal is bytes");
            let start = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
            let units = bytes.iter().fold(start, |sum, byte| (sum << 8) | i64::from(*byte));
            Decimal(units).to_string().into()
        }
        other => panic!("unforeseen: {other:?}"),
    }
}

fn check<T: Published + PartialEq + std::fmt::Debug>(record: &T, schema: &str, golden: &str) {
    let schema = Schema::parse_str(schema).expect("the schema is valid");
    let found = schema.fingerprint::<Rabin>();
    assert_eq!(hex(&found.bytes), hex(&T::FINGERPRINT.to_le_bytes()), "fingerprint");
    let ours = record.encode();
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let theirs = reader
        .read_value(&mut &ours[10..])
        .expect("apache-avro reads our bytes");
    assert_eq!(plain(&theirs), record.to_json());
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    let again = writer.write_value_to_vec(theirs).expect("apache-avro writes them");
    let framed = [&ours[..10], &again].concat();
    assert_eq!(&T::decode(&framed).expect("we read its bytes"), record);
    assert_eq!(hex(&ours), golden.trim(), "golden");
    for length in 0..ours.len() {
        assert!(T::decode(&ours[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn signals() {
    check(
        &signal(),
        include_str!("../../../schemas/signal.avsc"),
        include_str!("../testdata/signal-1.avro.hex"),
    );
}

#[test]
fn interventions() {
    check(
        &intervention(),
        include_str!("../../../schemas/intervention.avsc"),
        include_str!("../testdata/intervention-1.avro.hex"),
    );
}

#[test]
fn profiles() {
    check(
        &profile(),
        include_str!("../../../schemas/profile.avsc"),
        include_str!("../testdata/profile-1.avro.hex"),
    );
}

#[test]
fn sentiments() {
    check(
        &sentiment(),
        include_str!("../../../schemas/sentiment.avsc"),
        include_str!("../testdata/sentiment-1.avro.hex"),
    );
}

#[test]
fn outcomes() {
    check(
        &outcome(),
        include_str!("../../../schemas/outcome.avsc"),
        include_str!("../testdata/outcome-1.avro.hex"),
    );
}
