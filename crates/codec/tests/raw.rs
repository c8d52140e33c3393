//! What producers send who were there before Waymark: each format becomes the same canonical event, or a refusal that names the place.

use std::{collections::BTreeMap, sync::Arc};

use apache_avro::{Schema, types::Record, writer::datum::GenericDatumWriter};
use codec::{Header, NoRegistry, Raw, Reading, Refusal, SchemaId, Schemas, Terms, WriterSchema, read_raw, schema_of};
use event::{Attribute, Channel, Event, IdentifierKind, Millis, Role, flag};

const ARRIVED: Millis = Millis(1_795_266_602_000);

fn headers(pairs: &[(&str, &str)]) -> Vec<Header> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())))
        .collect()
}

fn read(value: &[u8], headers: &[Header], schemas: &dyn Schemas) -> Result<Vec<Reading>, Refusal> {
    let raw = Raw {
        value,
        headers,
        arrived: ARRIVED,
    };
    let map = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect()
    };
    let terms = Terms {
        types: map(&[("com.shop.order.completed.v1", "order.completed")]),
        consent_categories: map(&[
            ("Advertising", "marketing"),
            ("Analytics", "profiling"),
            ("Retargeting", "marketing"),
        ]),
    };
    read_raw(&raw, &terms, schemas)
}

#[track_caller]
fn one(value: &str, pairs: &[(&str, &str)]) -> Reading {
    let mut readings = read(value.as_bytes(), &headers(pairs), &NoRegistry).expect("readable");
    assert_eq!(readings.len(), 1);
    readings.remove(0)
}

fn who(event: &Event) -> Vec<(IdentifierKind, &str)> {
    event
        .identifiers
        .iter()
        .map(|one| (one.kind, one.value.as_str()))
        .collect()
}

const DATA: &str = r#"{"order_id":"o-1","value":12.5,"currency":"EUR","ship":{"to":{"city":"Delft"}},"items":[{"product_id":"p"}],"tags":["a","b"],"none":null}"#;

#[test]
fn both_modes_of_cloudevents_say_the_same() {
    let structured = format!(
        r#"{{"specversion":"1.0","id":"7","source":"shop","type":"com.shop.order.completed.v1","time":"2026-11-21T13:10:00Z","subject":"c-1",
        "sessionid":"s-1","correlationid":"k","channel":"mobile","traceparent":"00-1-2-01","data":{DATA}}}"#
    );
    let by_members = one(&structured, &[]);
    let by_header = one(
        &structured,
        &[("content-type", "application/cloudevents+json; charset=utf-8")],
    );
    let binary = one(
        DATA,
        &[
            ("ce_specversion", "1.0"),
            ("ce_id", "7"),
            ("CE_source", "shop"),
            ("ce_type", "com.shop.order.completed.v1"),
            ("ce_time", "2026-11-21T13:10:00Z"),
            ("ce_subject", "c-1"),
            ("ce_sessionid", "s-1"),
            ("ce_correlationid", "k"),
            ("ce_channel", "mobile"),
            ("ce_traceparent", "00-1-2-01"),
            ("content-type", "application/json"),
        ],
    );
    assert_eq!(by_members, by_header);
    assert_eq!(by_members, binary);
    let event = binary.event;
    assert!(binary.has_time);
    assert_eq!(
        (event.kind.as_str(), event.channel),
        ("order.completed", Channel::Mobile)
    );
    assert_eq!(who(&event), [(IdentifierKind::Customer, "c-1")]);
    assert_eq!(event.session.as_deref(), Some("s-1"));
    assert_eq!(event.trace.map(|trace| trace.traceparent).as_deref(), Some("00-1-2-01"));
    assert_eq!(event.items.len(), 1);
    assert_eq!(event.attributes["value"], Attribute::Double(12.5));
    assert_eq!(event.attributes["ship_to_city"], Attribute::Text("Delft".to_owned()));
    assert_eq!(
        event.attributes["tags"],
        Attribute::List(vec!["a".to_owned(), "b".to_owned()])
    );
    assert!(!event.attributes.contains_key("items"));
}

#[test]
fn a_cloudevent_may_lack_a_time_but_no_name() {
    let reading = one(r#"{"specversion":"1.0","id":"7","source":"shop","type":"a.b"}"#, &[]);
    assert!(!reading.has_time, "the broker's time will do");
    for (value, field) in [
        (
            r#"{"specversion":"0.3","id":"7","source":"s","type":"a.b"}"#,
            "specversion",
        ),
        (r#"{"specversion":"1.0","source":"s","type":"a.b"}"#, "id"),
        (r#"{"specversion":"1.0","id":"","source":"s","type":"a.b"}"#, "id"),
        (
            r#"{"specversion":"1.0","id":"7","source":"s","type":"a.b","data":[1]}"#,
            "data",
        ),
        (
            r#"{"specversion":"1.0","id":"7","source":"s","type":"a.b","data_base64":"AA=="}"#,
            "data_base64",
        ),
    ] {
        let refusal = read(value.as_bytes(), &[], &NoRegistry).expect_err(value);
        assert_eq!(
            (refusal.reason, refusal.field.as_deref()),
            ("cloudevents_invalid", Some(field)),
            "{value}"
        );
    }
}

#[test]
fn a_track_call_is_an_event_of_the_vocabulary() {
    let call = r#"{"type":"track","event":"Order Completed","messageId":"m-1","userId":"anna@example.com","anonymousId":"a-1",
        "originalTimestamp":"2026-11-21T13:00:00Z","sentAt":"2026-11-21T13:00:02Z","channel":"browser",
        "context":{"sessionId":17,"ip":"10.0.0.1","page":{"url":"https://shop/x","title":"Thanks"},"locale":"nl-NL","library":{"name":"analytics.js"}},
        "properties":{"order_id":"o-1","revenue":"30.5","currency":"EUR","products":[{"product_id":"p","price":10.25,"quantity":2,"position":3}],"ship":{"city":"Delft"}}}"#;
    let Reading { event, has_time } = one(call, &[]);
    assert!(has_time);
    assert_eq!(event.kind, "order.completed");
    assert_eq!(
        (event.id.as_str(), event.source.as_str()),
        ("m-1", "segment/analytics.js")
    );
    assert_eq!(
        event.time,
        ARRIVED.plus(-2000),
        "the sender's clock is wrong by what sentAt says"
    );
    assert_eq!(event.flags, [flag::TIME_CORRECTED]);
    assert_eq!(
        who(&event),
        [
            (IdentifierKind::Email, "anna@example.com"),
            (IdentifierKind::Device, "a-1")
        ]
    );
    assert_eq!((event.channel, event.session.as_deref()), (Channel::Web, Some("17")));
    assert_eq!(event.attributes["value"], Attribute::Double(30.5));
    assert_eq!(event.attributes["ship_city"], Attribute::Text("Delft".to_owned()));
    assert_eq!(event.attributes["url"], Attribute::Text("https://shop/x".to_owned()));
    assert_eq!(event.items[0].quantity, 2.0);
    let shown = format!("{event:?}");
    assert!(!shown.contains("10.0.0.1"), "addresses of machines are dropped");

    let corrected = call.replace(
        "\"sentAt\"",
        "\"receivedAt\":\"2026-11-21T13:00:03Z\",\"timestamp\":\"2026-11-21T12:59:59Z\",\"sentAt\"",
    );
    let Reading { event, .. } = one(&corrected, &[]);
    assert_eq!(codec::time(event.time), "2026-11-21T12:59:59.000Z");
    assert!(event.flags.is_empty(), "the sender's server has corrected it");
}

#[test]
fn every_call_has_its_type() {
    let kind = |call: &str| one(call, &[]).event;
    let page = kind(
        r#"{"type":"page","messageId":"1","anonymousId":"a","name":"Home","category":"Shop","properties":{"url":"https://x"}}"#,
    );
    assert_eq!(page.kind, "page.viewed");
    assert_eq!(page.attributes["page_type"], Attribute::Text("Shop".to_owned()));
    assert_eq!(
        kind(r#"{"type":"screen","messageId":"1","userId":"u","name":"Cart"}"#).kind,
        "screen.viewed"
    );
    let identify = kind(
        r#"{"type":"identify","messageId":"1","userId":"u","traits":{"email":"e@x.nl","phone":"+31","plan":"pro"}}"#,
    );
    assert_eq!(identify.kind, "identity.linked");
    assert_eq!(
        who(&identify),
        [
            (IdentifierKind::Customer, "u"),
            (IdentifierKind::Email, "e@x.nl"),
            (IdentifierKind::Phone, "+31")
        ]
    );
    assert_eq!(identify.attributes["plan"], Attribute::Text("pro".to_owned()));
    assert!(
        !identify.attributes.contains_key("email"),
        "who somebody is stands in identifiers alone"
    );
    let alias = kind(r#"{"type":"alias","messageId":"1","userId":"u","previousId":"d"}"#);
    assert_eq!(alias.attributes["method"], Attribute::Text("alias".to_owned()));
    assert_eq!(
        who(&alias),
        [(IdentifierKind::Customer, "u"), (IdentifierKind::Device, "d")]
    );
    let group = kind(r#"{"type":"group","messageId":"1","userId":"u","groupId":"g"}"#);
    assert_eq!(
        (group.kind.as_str(), &group.attributes["group_id"]),
        ("group.joined", &Attribute::Text("g".to_owned()))
    );
    let chat = kind(
        r#"{"type":"track","event":"Live Chat Message Sent","messageId":"1","userId":"u","properties":{"conversation_id":"c","message_body":"hi"}}"#,
    );
    assert_eq!(
        (chat.kind.as_str(), chat.conversation.as_deref()),
        ("message.received", Some("c"))
    );
    assert_eq!(
        chat.text.map(|text| (text.body, text.role)),
        Some(("hi".to_owned(), Role::Customer))
    );
}

#[test]
fn categories_of_consent_become_purposes_and_the_stricter_counts() {
    let call = r#"{"type":"track","event":"Cart Viewed","messageId":"1","userId":"u","context":{"consent":{"categoryPreferences":
        {"Advertising":true,"Retargeting":false,"Analytics":true,"Functional":true,"Odd":"yes"}}}}"#;
    let consent = one(call, &[]).event.consent.expect("a consent");
    let purposes: Vec<(&str, &str)> = consent
        .purposes
        .iter()
        .map(|(purpose, status)| (purpose.as_str(), status.as_str()))
        .collect();
    assert_eq!(purposes, [("marketing", "denied"), ("profiling", "granted")]);
    let none = one(
        r#"{"type":"page","messageId":"1","userId":"u","context":{"consent":{"categoryPreferences":{"X":true}}}}"#,
        &[],
    );
    assert_eq!(none.event.consent, None);
}

#[test]
fn a_batch_is_read_or_refused_whole() {
    let batch = |second: &str| {
        format!(
            r#"{{"sentAt":"2026-11-21T13:10:00Z","batch":[{{"type":"page","messageId":"1","userId":"u"}},{second}]}}"#
        )
    };
    let good = batch(r#"{"type":"track","event":"Cart Viewed","messageId":"2","userId":"v"}"#);
    let readings = read(good.as_bytes(), &[], &NoRegistry).expect("readable");
    let kinds: Vec<&str> = readings.iter().map(|reading| reading.event.kind.as_str()).collect();
    assert_eq!(kinds, ["page.viewed", "cart.viewed"]);
    for bad in [
        "7",
        r#"{"type":"track","messageId":"2"}"#,
        r#"{"type":"shout","messageId":"2"}"#,
    ] {
        let refusal = read(batch(bad).as_bytes(), &[], &NoRegistry).expect_err(bad);
        assert_eq!(refusal.reason, "adapter_failed", "{bad}: {}", refusal.message);
    }
}

struct Registry(BTreeMap<SchemaId, Arc<WriterSchema>>);

impl Schemas for Registry {
    fn get(&self, id: SchemaId) -> Result<Arc<WriterSchema>, String> {
        self.0
            .get(&id)
            .cloned()
            .ok_or_else(|| format!("unknown schema: id={id}"))
    }
}

const FOREIGN: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"string"},{"name":"source","type":"string"},{"name":"type","type":"string"},
    {"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"identifiers","type":{"type":"array","items":{"type":"record","name":"Who","fields":[
        {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["customer","email"]}},{"name":"value","type":"string"}]}}},
    {"name":"attributes","type":{"type":"map","values":["null","double","string"]}}]}"#;

fn foreign() -> (Schema, Vec<u8>) {
    use apache_avro::types::Value;
    let schema = Schema::parse_str(FOREIGN).expect("a schema");
    let mut record = Record::new(&schema).expect("a record");
    record.put("id", "7");
    record.put("source", "shop");
    record.put("type", "order.completed");
    record.put("time", Value::TimestampMicros(1_795_266_600_000_000));
    let who = Value::Record(vec![
        ("kind".to_owned(), Value::Enum(1, "email".to_owned())),
        ("value".to_owned(), Value::String("a@b.nl".to_owned())),
    ]);
    record.put("identifiers", Value::Array(vec![who]));
    let worth = Value::Union(1, Box::new(Value::Double(2.5)));
    record.put("attributes", Value::Map([("value".to_owned(), worth)].into()));
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    let mut datum = Vec::new();
    writer.write_value(&mut datum, record).expect("written");
    (schema, datum)
}

fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    let mut value = vec![0];
    value.extend_from_slice(&id.to_be_bytes());
    value.extend_from_slice(datum);
    value
}

#[test]
fn both_framings_of_a_registry_are_read_ours_and_foreign() {
    let own =
        codec::read_event(br#"{"id":"1","source":"s","type":"a.b","time":"2026-11-21T13:10:00Z","flags":["late"]}"#);
    let own = own.expect("canonical");
    let mut single = Vec::new();
    codec::encode_event(&own, &mut single);
    let ours = include_str!("../../../schemas/event.avsc");
    let (_, datum) = foreign();
    let guid = [7; 16];
    let registry = Registry(BTreeMap::from([
        (
            SchemaId::Number(3),
            Arc::new(WriterSchema::parse(Some("AVRO"), ours).expect("ours")),
        ),
        (
            SchemaId::Number(4),
            Arc::new(WriterSchema::parse(None, FOREIGN).expect("theirs")),
        ),
        (
            SchemaId::Number(5),
            Arc::new(WriterSchema::parse(Some("JSON"), "{}").expect("JSON")),
        ),
        (
            SchemaId::Guid(guid),
            Arc::new(WriterSchema::parse(None, FOREIGN).expect("theirs")),
        ),
    ]));
    assert_eq!(
        *registry.0[&SchemaId::Number(3)],
        WriterSchema::Event,
        "our own schema takes the fast way"
    );
    let event = |value: &[u8], headers: &[Header]| {
        let readings = read(value, headers, &registry).expect("readable");
        readings.into_iter().next().expect("one").event
    };
    assert_eq!(event(&framed(3, &single[10..]), &[]), own);
    let theirs = event(&framed(4, &datum), &[]);
    assert_eq!(
        (theirs.kind.as_str(), theirs.time),
        ("order.completed", Millis(1_795_266_600_000))
    );
    assert_eq!(who(&theirs), [(IdentifierKind::Email, "a@b.nl")]);
    assert_eq!(theirs.attributes["value"], Attribute::Double(2.5));
    let mut marked = vec![1];
    marked.extend_from_slice(&guid);
    for header in [marked, guid.to_vec()] {
        assert_eq!(event(&datum, &[("__value_schema_id".to_owned(), Some(header))]), theirs);
    }
    let json = br#"{"id":"1","source":"s","type":"a.b","time":1795266600000}"#;
    assert_eq!(event(&framed(5, json), &[]).kind, "a.b");

    let refused = |value: &[u8]| {
        let refusal = read(value, &[], &registry).expect_err("refused");
        (refusal.reason, refusal.message)
    };
    assert_eq!(
        refused(&framed(9, &datum)),
        ("schema_unknown", "unknown schema: id=9".to_owned())
    );
    let cut = refused(&framed(4, &datum[..datum.len() - 3]));
    assert_eq!(cut.0, "avro_malformed");
    assert!(cut.1.contains("offset="), "{}", cut.1);
    assert_eq!(refused(&framed(4, &[&datum[..], b"more"].concat())).0, "avro_malformed");
    let none = read(&framed(4, &datum), &[], &NoRegistry).expect_err("no registry");
    assert_eq!((none.reason, none.schema.as_deref()), ("schema_unknown", Some("4")));
    let raw = Raw {
        value: &[0, 0, 0],
        headers: &[],
        arrived: ARRIVED,
    };
    assert_eq!(schema_of(&raw), None, "too short to be framed");
    assert_eq!(SchemaId::Guid(guid).to_string(), "07070707-0707-0707-0707-070707070707");
}

#[test]
fn a_schema_that_cannot_be_used_says_why() {
    assert!(
        WriterSchema::parse(Some("PROTOBUF"), "")
            .expect_err("refused")
            .contains("found=PROTOBUF")
    );
    assert!(
        WriterSchema::parse(None, "{")
            .expect_err("refused")
            .starts_with("schema cannot be read")
    );
}

#[test]
fn rubbish_is_refused_by_the_same_codes_as_ever() {
    let reason = |value: &[u8]| read(value, &[], &NoRegistry).expect_err("refused").reason;
    assert_eq!(reason(b""), "empty");
    assert_eq!(reason(b"hello"), "format_unknown");
    assert_eq!(reason(b"{"), "json_malformed");
    assert_eq!(
        reason(b"{\"id\":\"1\",\"source\":\"s\",\"type\":\"a.b\"}"),
        "field_missing"
    );
    assert_eq!(reason(&[0xc3, 1, 2]), "avro_malformed");
    assert_eq!(reason(&vec![b' '; codec::MAX_VALUE + 1]), "too_large");
}

proptest::proptest! {
    /// Nothing that a producer sends makes the reader panic, and every refusal says what is wrong.
    #[test]
    fn any_bytes_are_read_or_refused(
        which in 0usize..4,
        cuts in proptest::collection::vec((0usize..600, proptest::prelude::any::<u8>()), 0..6),
        length in 0usize..600,
    ) {
        let (_, datum) = foreign();
        let registry = Registry(BTreeMap::from([
            (SchemaId::Number(4), Arc::new(WriterSchema::parse(None, FOREIGN).expect("theirs"))),
        ]));
        let mut value = match which {
            0 => framed(4, &datum),
            1 => format!(r#"{{"specversion":"1.0","id":"7","source":"shop","type":"a.b","data":{DATA}}}"#).into_bytes(),
            2 => br#"{"batch":[{"type":"track","event":"Order Completed","userId":"u","properties":{"products":[{"sku":1}],"total":"x"}}]}"#.to_vec(),
            _ => br#"{"type":"alias","previousId":{"a":[1]},"userId":7,"context":{"page":7,"sessionId":[]},"sentAt":1,"timestamp":-9223372036854775808}"#.to_vec(),
        };
        for (at, byte) in cuts {
            if let Some(place) = value.get_mut(at) {
                *place = byte;
            }
        }
        value.truncate(length);
        if let Err(refusal) = read(&value, &[], &registry) {
            proptest::prop_assert!(!refusal.message.is_empty());
        }
    }
}
