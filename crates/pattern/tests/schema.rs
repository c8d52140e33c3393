//! The JSON Schema: equal to the file that is shipped, and of one mind with the parser about everything that a schema can say.

use pattern::{parse, schema};
use serde_json::{Value, json};

fn repository(path: &str) -> String {
    format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_shipped_schema_is_the_one_of_the_types() {
    let path = repository("schemas/pattern.schema.json");
    let shipped = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        shipped,
        format!("{:#}\n", schema()),
        "`waymark pattern schema > schemas/pattern.schema.json` writes it anew"
    );
}

/// A file with everything in it that a schema knows and today's parser reads.
const FULL: &str = r#"{
"pattern": "cart-doubt", "version": 3, "title": "Doubts a cart", "description": "Long.", "owner": "cx-web", "status": "live",
"when": { "by": ["session"], "within": "30m", "until": ["order.cancelled"],
  "during": { "before": "profile.renewal_date", "lead": "30d" }, "sequence": [
  { "see": "cart.product_added", "where": "event.value > 3", "times": 2, "across": { "field": "product_id", "at_least": 2 }, "as": "added" },
  { "see": ["cart.product_removed", "cart.viewed"], "within": "5m" },
  { "absent": "order.completed", "where": "event.value > 3", "for": "90s" } ] },
"then": { "intervene": "chat_offer", "channels": ["chat", "email"], "priority": 70, "valid_for": "10m",
  "cancel_on": ["order.completed"], "because": { "en": "x", "pt-BR": "y" },
  "offer": { "kind": "discount", "amount": 5.5, "currency": "EUR", "code_pool": "web-rescue", "valid_for": "2d",
    "mandate": { "level": "agent", "max_percent": 10, "max_amount": 20, "escalate_to": "lead-web" } },
  "route": { "queue": "first-line", "skills": ["chat", "sales"] } },
"guard": { "consent": "service", "cooldown": "24h", "quiet_hours": "22:00-07:00" },
"rollout": { "percent": 100, "holdout": 10, "seed": "cart-doubt-1" },
"tests": [
  { "name": "one", "profile": { "lang": "en" }, "journey": { "phase": "care" },
    "given": [ { "at": "0s", "is": "cart.viewed", "id": "x1", "channel": "web", "value": 3.5 } ],
    "expect": [ { "at": "90s", "intervene": "chat_offer", "because": "x" } ] },
  { "name": "two", "given": [], "expect": [] } ] }"#;

/// The other way to say when.
const ALL: &str = r#"{ "within": "30m", "during": { "after": "profile.renewal_date", "lag": "30d" }, "all": [
  { "see": "cart.product_added", "where": "event.value > 3", "times": 2, "across": { "field": "product_id", "at_least": 2 } },
  { "see": ["cart.product_removed", "cart.viewed"] },
  { "absent": "order.completed", "where": "event.value > 3", "for": "90s" } ] }"#;

/// Every change of one place: the key gone, a key too many, and values that are wrong everywhere or somewhere.
fn changes(file: &Value) -> Vec<(String, Value)> {
    let mut paths = Vec::new();
    walk(file, "", &mut paths);
    let long = |letters: usize| json!("a".repeat(letters));
    let values = [
        json!(null),
        json!(0),
        json!(-1),
        json!(7),
        json!(101),
        json!(70_000),
        json!(2.5),
        json!("x"),
        json!("Upper"),
        json!("two words"),
        json!("chat"),
        json!("0s"),
        json!("5s"),
        json!("05s"),
        json!("9x"),
        json!("a.b"),
        json!("EUR"),
        json!("live"),
        json!("27:00-07:00"),
        json!([]),
        json!(["a.b", "a.b"]),
        json!(["chat"]),
        json!({}),
        long(42),
        long(130),
        long(401),
    ];
    let mut changed = Vec::new();
    for path in &paths {
        for value in &values {
            let mut file = file.clone();
            if let Some(place) = file.pointer_mut(path) {
                *place = value.clone();
            }
            changed.push((format!("{path} = {value}"), file));
        }
        let (parent, key) = path.rsplit_once('/').expect("a path has a parent");
        let mut without = file.clone();
        if let Some(Value::Object(members)) = without.pointer_mut(parent) {
            members.shift_remove(key);
            changed.push((format!("{path} gone"), without));
        }
        let mut with = file.clone();
        if let Some(Value::Object(members)) = with.pointer_mut(path) {
            members.insert("surplus".to_owned(), json!("x"));
            changed.push((format!("{path} with a surplus key"), with));
        }
    }
    changed
}

fn walk(value: &Value, path: &str, paths: &mut Vec<String>) {
    if !path.is_empty() {
        paths.push(path.to_owned());
    }
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(key, value)| walk(value, &format!("{path}/{key}"), paths)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| walk(value, &format!("{path}/{index}"), paths)),
        _ => {}
    }
}

/// Codes of what a schema cannot say.
const BEYOND: [&str; 14] = [
    "within-long",
    "within-short",
    "step-within",
    "absent-first",
    "absent-open",
    "guard-position",
    "across-position",
    "across-times",
    "until-blocks",
    "where-syntax",
    "where-type",
    "where-refused",
    "name-unknown",
    "template",
];

#[test]
fn schema_and_parser_accept_the_same() {
    let validator = jsonschema::validator_for(&schema()).expect("the schema is one");
    let sequence: Value = serde_json::from_str(FULL).expect("JSON");
    let mut all = sequence.clone();
    all["when"] = serde_json::from_str(ALL).expect("JSON");
    agree(&validator, &sequence);
    agree(&validator, &all);
}

fn agree(validator: &jsonschema::Validator, file: &Value) {
    assert!(
        validator.is_valid(file),
        "{:?}",
        validator.iter_errors(file).map(|e| e.to_string()).collect::<Vec<_>>()
    );
    parse("full", &file.to_string()).expect("the parser takes it too");
    let changes = changes(file);
    assert!(changes.len() > 1000);
    let mut differ = Vec::new();
    for (what, changed) in changes {
        let says = validator.is_valid(&changed);
        let parsed = parse("full", &changed.to_string());
        let parser = match &parsed {
            Ok(_) => true,
            // The parser knows more; the schema must have let it pass.
            Err(findings) => findings.iter().all(|finding| BEYOND.contains(&finding.code)),
        };
        if says != parser {
            let why = parsed
                .err()
                .and_then(|findings| findings.first().map(ToString::to_string));
            differ.push(format!("{what}: schema {says}, parser {parser} {why:?}"));
        }
    }
    assert!(differ.is_empty(), "{}: {differ:#?}", differ.len());
}

#[test]
fn shipped_patterns_are_valid() {
    let validator = jsonschema::validator_for(&schema()).expect("the schema is one");
    let mut files = 0;
    for folder in ["patterns", "tests/ecom/patterns"] {
        for entry in std::fs::read_dir(repository(folder)).expect("in the repository") {
            let path = entry.expect("a readable entry").path();
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let pattern = parse(&path.to_string_lossy(), &text).expect("valid");
            let file: Value = serde_json::from_str(&pattern.canonical).expect("JSON");
            let errors: Vec<String> = validator.iter_errors(&file).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", path.display());
            files += 1;
        }
    }
    assert!(files >= 10);
}
