//! The event's bytes: apache-avro reads what we write, we read what it writes, and a golden file freezes them.

use apache_avro::{Schema, rabin::Rabin, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};
use codec::{EVENT_FINGERPRINT, EVENT_FINGERPRINTS_OF_OTHERS, decode_event, encode_event, event_json, read_event};
use event::{Event, Millis};
use proptest::prelude::*;

const SCHEMA: &str = include_str!("../../../schemas/event.avsc");
const CANONICAL: &str = include_str!("../testdata/event-1.json");
const GOLDEN: &str = include_str!("../testdata/event-1.avro.hex");

fn schema() -> Schema {
    Schema::parse_str(SCHEMA).expect("the schema is valid")
}

fn encoded(event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    encode_event(event, &mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What our bytes mean to apache-avro, and what its bytes mean to us.
fn both_ways(event: &Event) {
    let ours = encoded(event);
    let schema = schema();
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let theirs = reader
        .read_value(&mut &ours[10..])
        .expect("apache-avro reads our bytes");
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    let again = writer.write_value_to_vec(theirs).expect("apache-avro writes them");
    let mut framed = ours[..10].to_vec();
    framed.extend(again);
    assert_eq!(&decode_event(&framed).expect("we read its bytes"), event);
    assert_eq!(&decode_event(&ours).expect("we read our bytes"), event);
}

#[test]
fn the_fingerprint_is_the_schemas() {
    let found = schema().fingerprint::<Rabin>();
    assert_eq!(hex(&found.bytes), hex(&EVENT_FINGERPRINT.to_le_bytes()));
}

/// The parsing canonical form as the specification says it, or with what Apache's library for Python keeps.
fn canonical(schema: &serde_json::Value, keeps: bool) -> String {
    use serde_json::Value;
    let text = |value: &Value| value.to_string();
    let list = |of: &Value, each: &dyn Fn(&Value) -> String| {
        let items: Vec<String> = of.as_array().into_iter().flatten().map(each).collect();
        format!("[{}]", items.join(","))
    };
    let full = |name: &str| text(&format!("waymark.{name}").into());
    match schema {
        Value::String(name) => match name.as_str() {
            "null" | "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string" => text(schema),
            name => full(name),
        },
        Value::Array(_) => list(schema, &|one| canonical(one, keeps)),
        _ => {
            let kind = schema["type"].as_str().expect("no schema here nests a bare type");
            let members = schema.as_object().expect("an object");
            let mut parts = Vec::new();
            if let Some(name) = members.get("name") {
                parts.push(format!("\"name\":{}", full(name.as_str().expect("a name"))));
            }
            if parts.is_empty() && !["array", "map"].contains(&kind) {
                let is_kept = keeps && members.len() > 1;
                return if is_kept {
                    format!("{{\"type\":\"{kind}\"}}")
                } else {
                    text(&kind.into())
                };
            }
            parts.push(format!("\"type\":\"{kind}\""));
            if let Some(fields) = members.get("fields") {
                let field = |one: &Value| {
                    let of = canonical(&one["type"], keeps);
                    format!("{{\"name\":{},\"type\":{of}}}", text(&one["name"]))
                };
                parts.push(format!("\"fields\":{}", list(fields, &field)));
            }
            if let Some(symbols) = members.get("symbols") {
                parts.push(format!("\"symbols\":{}", list(symbols, &text)));
            }
            for name in ["items", "values"] {
                if let Some(of) = members.get(name) {
                    parts.push(format!("\"{name}\":{}", canonical(of, keeps)));
                }
            }
            format!("{{{}}}", parts.join(","))
        }
    }
}

/// As the specification of Avro writes it down.
fn crc_64_avro(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    bytes.iter().fold(EMPTY, |sum, byte| {
        let table = (0..8).fold((sum ^ u64::from(*byte)) & 0xff, |entry, _| {
            (entry >> 1) ^ (EMPTY & (entry & 1).wrapping_neg())
        });
        (sum >> 8) ^ table
    })
}

#[test]
fn an_event_under_the_fingerprint_of_another_library_is_read() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("the schema");
    let event = read_event(CANONICAL.as_bytes()).expect("canonical");
    for (keeps, known) in [false, true].into_iter().zip(EVENT_FINGERPRINTS_OF_OTHERS) {
        let found = crc_64_avro(canonical(&schema, keeps).as_bytes());
        assert_eq!(hex(&found.to_le_bytes()), hex(&known.to_le_bytes()), "keeps={keeps}");
        let mut value = encoded(&event);
        value[2..10].copy_from_slice(&known.to_le_bytes());
        assert_eq!(decode_event(&value).expect("read"), event);
    }
}

#[test]
fn the_golden_event_is_read_and_written_as_ever() {
    let event = read_event(CANONICAL.as_bytes()).expect("canonical");
    assert_eq!(hex(&encoded(&event)), GOLDEN.trim());
    both_ways(&event);
    let printed = event_json(&event).to_string();
    assert_eq!(read_event(printed.as_bytes()).expect("canonical"), event);
}

#[test]
fn rubbish_is_refused_with_reason_and_place() {
    let reason =
        |value: &[u8]| read_event(value).map_err(|refusal| (refusal.reason, refusal.field.unwrap_or_default()));
    let refused = |value: &str| reason(value.as_bytes()).expect_err("refused");
    let of = |reason: &'static str, field: &str| (reason, field.to_owned());
    assert_eq!(refused(""), of("empty", ""));
    assert_eq!(reason(&[b'{', 0xff]).expect_err("refused"), of("not_utf8", ""));
    assert_eq!(refused("{\"id\": "), of("json_malformed", ""));
    assert_eq!(refused(&"[".repeat(100_000)), of("too_deep", ""));
    assert_eq!(refused(&" ".repeat(1024 * 1024 + 1)), of("too_large", ""));
    assert_eq!(refused("[1]"), of("format_unknown", ""));
    assert_eq!(refused("{}"), of("field_missing", "id"));
    let with = |change: &str| refused(&format!("{{\"id\":\"1\",\"source\":\"s\",\"type\":\"a.b\",{change}}}"));
    assert_eq!(with("\"x\":1"), of("field_missing", "time"));
    assert_eq!(with("\"time\":\"yesterday\""), of("time_invalid", "time"));
    assert_eq!(with("\"time\":1,\"session\":7"), of("field_invalid", "session"));
    assert_eq!(
        with("\"time\":1,\"attributes\":{\"a\":{\"b\":1}}"),
        of("field_invalid", "attributes.a")
    );
    assert_eq!(
        with("\"time\":1,\"items\":[{\"product_id\":\"p\",\"price\":\"ten\"}]"),
        of("field_invalid", "items[0].price")
    );
    assert_eq!(
        with("\"time\":1,\"identifiers\":[{\"kind\":\"customer\"}]"),
        of("field_missing", "identifiers[0].value")
    );

    let event = read_event(CANONICAL.as_bytes()).expect("canonical");
    let whole = encoded(&event);
    for length in 10..whole.len() {
        assert_eq!(
            decode_event(&whole[..length]).expect_err("cut").reason,
            "avro_malformed",
            "{length}"
        );
    }
    let mut other = whole.clone();
    other[3] ^= 1;
    assert_eq!(
        decode_event(&other).expect_err("another schema").reason,
        "schema_unknown"
    );
    let mut longer = whole;
    longer.push(0);
    assert_eq!(decode_event(&longer).expect_err("left over").reason, "avro_malformed");
}

fn attribute() -> impl Strategy<Value = event::Attribute> {
    use event::Attribute;
    prop_oneof![
        Just(Attribute::Null),
        any::<bool>().prop_map(Attribute::Bool),
        any::<i64>().prop_map(Attribute::Long),
        (-1e12..1e12).prop_map(Attribute::Double),
        ".{0,12}".prop_map(Attribute::Text),
        proptest::collection::vec(".{0,4}", 0..3).prop_map(Attribute::List),
    ]
}

prop_compose! {
    fn events()(
        id in ".{0,8}", time in -4_000_000_000_000i64..4_000_000_000_000, session in proptest::option::of(".{0,8}"),
        attributes in proptest::collection::btree_map("[a-z]{1,4}", attribute(), 0..4),
        prices in proptest::collection::vec(proptest::option::of(any::<i32>()), 0..3),
        flags in proptest::collection::vec("[a-z]{1,6}", 0..3),
        payload in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
        channel in 0..event::Channel::ALL.len(), kind in 0..event::IdentifierKind::ALL.len(),
    ) -> Event {
        let items = prices.into_iter().map(|price| event::Product {
            price: price.map(|price| event::Decimal(i64::from(price) * 7_001)), quantity: 2.0, ..event::Product::default()
        });
        Event {
            id, time: Millis(time), received: Some(Millis(-time)), session, attributes, items: items.collect(), flags, payload,
            channel: event::Channel::ALL[channel],
            identifiers: vec![event::Identifier {
                kind: event::IdentifierKind::ALL[kind], value: "v".to_owned(), ..event::Identifier::default()
            }],
            ..Event::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn apache_avro_agrees(event in events()) {
        both_ways(&event);
    }

    #[test]
    fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = encoded(&Event::default())[..10].to_vec();
        bytes.extend(tail);
        let _ = decode_event(&bytes);
        let _ = read_event(&bytes);
    }
}
