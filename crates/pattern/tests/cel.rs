//! Predicates against the `cel` crate: what we accept gives its result on generated events. Where it fails, ours does not hold.

use std::{collections::HashMap, sync::Arc};

use cel::{Context, Program};
use event::{Attribute, Event, Millis};
use pattern::{Catalogue, Limits, NoFacts, Occurrence, Runs, Stepped, parse};
use proptest::prelude::*;

/// A predicate by its text. Fields: `i` and `j` whole numbers, `d` a double, `s` and `t` texts, `b` a truth value.
fn boolean(depth: u32) -> BoxedStrategy<String> {
    let whole = prop_oneof![
        Just("event.i".to_owned()),
        Just("event.j".to_owned()),
        (-3..4i64).prop_map(|value| if value < 0 {
            format!("({value})")
        } else {
            value.to_string()
        }),
        (0..3i64, 1..4i64).prop_map(|(a, b)| format!("(event.i * {a} - event.j / {b})")),
        Just("event.i % event.j".to_owned()).prop_map(|text| format!("({text})")),
        Just("size(event.s)".to_owned()),
        Just("int(event.d)".to_owned()),
    ];
    let double = prop_oneof![
        Just("event.d".to_owned()),
        (0..4i64).prop_map(|value| format!("{value}.5")),
        Just("(event.d + 0.5)".to_owned()),
        Just("double(event.i)".to_owned()),
    ];
    let text = prop_oneof![
        Just("event.s".to_owned()),
        Just("event.t".to_owned()),
        proptest::sample::select(vec!["''", "'a'", "'ab'", "'b'"]).prop_map(ToOwned::to_owned),
    ];
    let compare = || proptest::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let test = proptest::sample::select(vec!["startsWith", "endsWith", "contains"]);
    let leaf = prop_oneof![
        Just("event.b".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        proptest::sample::select(vec!["i", "j", "d", "s", "t", "b"]).prop_map(|field| format!("has(event.{field})")),
        (whole.clone(), compare(), whole.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (double.clone(), compare(), double).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (text.clone(), compare(), text.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (text.clone(), test, text.clone()).prop_map(|(on, name, with)| format!("{on}.{name}({with})")),
        text.prop_map(|on| format!("{on}.matches('^a.*')")),
        whole.prop_map(|item| format!("{item} in [1, 2, 7]")),
        Just("event.s in ['a', 'ba']".to_owned()),
    ];
    leaf.prop_recursive(depth, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
    .boxed()
}

type Fields = Vec<(&'static str, Option<Attribute>)>;

fn fields() -> impl Strategy<Value = Fields> {
    let whole = || proptest::option::weighted(0.8, -3..4i64).prop_map(|value| value.map(Attribute::Long));
    let text = || {
        let texts = proptest::sample::select(vec!["", "a", "ab", "ba", "b"]);
        proptest::option::weighted(0.8, texts).prop_map(|value| value.map(|text| Attribute::Text(text.to_owned())))
    };
    let double = proptest::option::weighted(0.8, -3..4i32)
        .prop_map(|value| value.map(|value| Attribute::Double(f64::from(value) / 2.0)));
    let truth = proptest::option::weighted(0.8, any::<bool>()).prop_map(|value| value.map(Attribute::Bool));
    (whole(), whole(), double, text(), text(), truth)
        .prop_map(|(i, j, d, s, t, b)| vec![("i", i), ("j", j), ("d", d), ("s", s), ("t", t), ("b", b)])
}

fn file(predicate: &str) -> String {
    format!(
        "pattern: random\nversion: 1\ntitle: Random\nowner: tests\nstatus: live\nwhen:\n  within: 1m\n  sequence:\n    - see: t.a\n      where: \"{predicate}\"
then: {{ intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: {{ en: it happened }} }}
guard: {{ consent: service, cooldown: 1ms }}
rollout: {{ percent: 100, holdout: 0, seed: random-1 }}
tests:
  - {{ name: nothing, given: [], expect: [] }}
  - {{ name: nothing again, given: [], expect: [] }}
"
    )
}

fn ours(predicate: &str, fields: &Fields) -> bool {
    let out = stepped(predicate, fields);
    !out.matches.is_empty()
}

fn stepped(predicate: &str, fields: &Fields) -> Stepped {
    let text = file(predicate);
    let pattern = parse("random.yaml", &text).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"));
    let catalogue = Catalogue::compile([Arc::new(pattern)], Limits::default());
    let known = fields
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)));
    let event = Event {
        kind: "t.a".to_owned(),
        attributes: known.collect(),
        ..Event::default()
    };
    let of = Occurrence {
        event: &event,
        kind: &event.kind,
        extra: &[],
        at: Millis(0),
        index: 0,
        position: "",
    };
    let mut out = Stepped::default();
    catalogue.on_event(&mut Runs::default(), &of, &NoFacts, &mut out);
    out
}

#[test]
fn a_predicate_without_a_result_is_counted() {
    let fields = vec![
        ("i", Some(Attribute::Long(i64::MAX))),
        ("d", Some(Attribute::Double(1.0))),
    ];
    for (predicate, matches, failed) in [
        ("event.i > 0", 1, 0),
        ("event.i < 0", 0, 0),
        ("event.nope == 1", 0, 1),
        ("has(event.nope) && event.nope == 1", 0, 0),
        ("true || event.nope == 1", 1, 0),
        ("event.nope == 1 || true", 1, 0),
        ("event.i + 1 > 0", 0, 1),
        ("event.i / 0 > 0", 0, 1),
        ("event.d == 'a' || event.d", 0, 1),
        // As CEL has it: a double divided by zero is infinite.
        ("event.d / 0.0 > 1.0", 1, 0),
        ("-9223372036854775808 < event.i", 1, 0),
        ("event.i in [-9223372036854775808, 9223372036854775807]", 1, 0),
    ] {
        let out = stepped(predicate, &fields);
        assert_eq!((out.matches.len(), out.failed.len()), (matches, failed), "{predicate}");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    for (predicate, expected) in [
        ("'a' in event.s", "error[where-refused]: in takes a list of literals"),
        (
            "event.s == '\\u000a'",
            "error[where-syntax]: not supported in where: escape=",
        ),
        (
            "event.s == r'd'",
            "error[where-syntax]: not supported in where: strings with r before the quote",
        ),
        ("event.s == 'a", "error[where-syntax]: string is not closed"),
        (
            "event.i == 0x10",
            "error[where-syntax]: not a number that a where can have: found=0x10",
        ),
        (
            "event.i == 1u",
            "error[where-syntax]: not a number that a where can have: found=1u",
        ),
        (
            "event.i == 9223372036854775808",
            "error[where-syntax]: number out of range: found=9223372036854775808",
        ),
        (
            "event.i == -9223372036854775809",
            "error[where-syntax]: number out of range: found=9223372036854775809",
        ),
        (
            "event.d % 2.0 == 1.0",
            "error[where-type]: % takes whole numbers: found=double",
        ),
    ] {
        let text = file(&predicate.replace('\\', "\\\\"));
        let findings = parse("random.yaml", &text).expect_err(predicate);
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(
            shown.iter().any(|finding| finding.contains(expected)),
            "{predicate}: {shown:?}"
        );
    }
}

/// What the vocabulary types is checked against literals; what an own type of event carries is not.
#[test]
fn types_come_from_the_vocabulary() {
    let refused = |kind: &str, predicate: &str| {
        let text = file(predicate).replace("see: t.a", &format!("see: {kind}"));
        let findings = parse("random.yaml", &text).err().unwrap_or_default();
        findings.first().map(|found| found.message.clone()).unwrap_or_default()
    };
    for (kind, predicate, expected) in [
        (
            "product.viewed",
            "event.product_id == 123",
            "cannot compare: left=string right=int",
        ),
        (
            "product.viewed",
            "123 == event.product_id",
            "cannot compare: left=int right=string",
        ),
        (
            "own.type",
            "event.gift_id == 123",
            "cannot compare: left=string right=int",
        ),
        (
            "order.completed",
            "event.value == 'a'",
            "cannot compare: left=double right=string",
        ),
        (
            "own.type",
            "event.value == 'a'",
            "cannot compare: left=double right=string",
        ),
        (
            "order.completed",
            "event.value % 2 == 1",
            "% takes whole numbers: found=double",
        ),
        (
            "products.searched",
            "event.results + 1.0 > 2.0",
            "arithmetic needs one number type: left=int right=double",
        ),
        (
            "[payment.failed, payment.entered]",
            "event.hard == 'true'",
            "cannot compare: left=bool right=string",
        ),
        (
            "contact.wrapped_up",
            "event.code == 17",
            "cannot compare: left=string right=int",
        ),
        ("own.type", "event.code == 17", ""),
        ("[own.type, contact.wrapped_up]", "event.code == 17", ""),
        ("order.completed", "event.value + 1.0 > 2.5", ""),
        ("order.completed", "event.value > 2", ""),
        ("checkout.step_viewed", "event.step > 2", ""),
        ("checkout.step_viewed", "event.step == 'two'", ""),
    ] {
        assert_eq!(refused(kind, predicate), expected, "{kind} {predicate}");
    }
}

#[test]
fn a_list_has_a_size() {
    let list = |texts: &[&str]| Attribute::List(texts.iter().map(|text| (*text).to_owned()).collect());
    let fields = vec![("s", Some(list(&["a", "b"]))), ("t", Some(list(&[])))];
    for (predicate, matches) in [
        ("size(event.s) == 2", 1),
        ("size(event.t) == 0", 1),
        ("event.s.size() > 2", 0),
    ] {
        let out = stepped(predicate, &fields);
        assert_eq!((out.matches.len(), out.failed.len()), (matches, 0), "{predicate}");
    }
}

fn theirs(predicate: &str, fields: &Fields) -> bool {
    let program = Program::compile(predicate).expect("what we accept is CEL");
    let mut event: HashMap<String, cel::Value> = HashMap::new();
    for (name, value) in fields {
        let value = match value {
            Some(Attribute::Long(value)) => cel::Value::Int(*value),
            Some(Attribute::Double(value)) => cel::Value::Float(*value),
            Some(Attribute::Text(text)) => cel::Value::String(Arc::new(text.clone())),
            Some(Attribute::Bool(value)) => cel::Value::Bool(*value),
            _ => continue,
        };
        event.insert((*name).to_owned(), value);
    }
    let mut context = Context::default();
    context.add_variable_from_value("event", event);
    matches!(program.execute(&context), Ok(cel::Value::Bool(true)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn predicates_agree_with_the_cel_crate(predicate in boolean(3), fields in fields()) {
        prop_assume!(predicate.len() < 1000);
        prop_assert_eq!(ours(&predicate, &fields), theirs(&predicate, &fields), "{}", predicate);
    }
}
