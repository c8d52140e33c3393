//! The shipped patterns: complete in languages and tests, and described in docs/CATALOGUE.md as they are.

use std::path::{Path, PathBuf};

use event::vocabulary::{HOLDS, Holds};
use serde_json::Value;
use waymark::patterns::load::load;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The page, made from the files.
fn page() -> String {
    let mut page = String::from(
        "# The patterns that ship\n\nMade from the files in `patterns/` by `WAYMARK_WRITE_DOCS=1 cargo test -p waymark --test catalogue`; a test \
         compares. Figures are defaults: try others\non your own events with `waymark pattern backtest`.\n\n`→` next step, `&` members of \
         `all` in any order, `×n` times, `∅b` none in between, `∅b 5m` none for five minutes, `/` alternatives,\n`{f}` for each value of f \
         apart, `[…]` a condition; then the longest span from the first event to the match. `docs/PATTERNS.md` explains them.\n\n\
         Two patterns need state over many customers and do not ship: a spike of negative mentions of one brand, and an outage \
         written to each\ncustomer concerned.\n\n| pattern | when | does | says |\n|---|---|---|---|\n",
    );
    let loaded = load(&[repository().join("patterns")]).expect("in the repository");
    for (_, pattern) in &loaded.patterns {
        let file: Value = serde_json::from_str(&pattern.canonical).expect("JSON");
        let cell = |text: &str| text.replace('|', "\\|");
        let channels: Vec<&str> = pattern.then.channels.iter().map(|channel| channel.as_str()).collect();
        page.push_str(&format!(
            "| [{id}](../patterns/{id}.yaml) | {} | {} by {} | {} |\n",
            cell(&pattern::notation(pattern)),
            cell(&pattern.then.intervene),
            channels.join(", "),
            cell(file["then"]["because"]["en"].as_str().unwrap_or_default()),
            id = pattern.id,
        ));
    }
    page
}

/// The vocabulary as a page.
fn vocabulary() -> String {
    let mut page = String::from(
        "# Types of events\n\nWhat patterns may look for, and the fields that each type must carry. Made from the program by `WAYMARK_WRITE_DOCS=1 cargo test -p \
         waymark --test catalogue`; a test\ncompares. `session`, `conversation` and `text` belong to the envelope of every event. Further fields may be \
         sent and matched, and so may types that\nare not listed; `waymark pattern lint` then warns, in case it is a slip of the pen.\n\n\
         `sentiment.scored` (`score`, `label`, `confidence`) follows each text of a customer that could be scored, and `complaint.filed` (`confidence`, `reason`) a text that \
         complains. `monitor` makes both for itself and writes them to no topic; `complaint.filed` may be sent, too.\n\n| type | must carry |\n|---|---|\n",
    );
    for (kind, fields) in event::vocabulary::VOCABULARY {
        let fields: Vec<String> = fields
            .iter()
            .map(|field| format!("`{}`", field.trim_matches(['<', '>'])))
            .collect();
        page.push_str(&format!("| `{kind}` | {} |\n", fields.join(", ")));
    }
    page.push_str(
        "\n## What fields hold\n\nA number that a sender writes otherwise is read as what the field holds: `\"value\": 2` is 2.0, `\"product_id\": 7` is the text `7`, and so is `7.0`. \
         Literals of a `where` are\nchecked against it. `value`, `currency` and every `…_id` hold the same on types of your own, of which nothing else is known. What is not here \
         (`step`,\n`status`, times such as `ends_at`) is as it was sent.\n\n| holds | fields |\n|---|---|\n| number | `value`, `sentiment.score`, `sentiment.confidence`",
    );
    let of = |held: Holds| {
        let fields = HOLDS.iter().filter(move |(_, holds)| *holds == held);
        fields
            .map(|(field, _)| format!("`{field}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    page.push_str(&format!(", {} |\n", of(Holds::Double)));
    for held in [Holds::Long, Holds::Boolean] {
        page.push_str(&format!("| {} | {} |\n", held.as_str(), of(held)));
    }
    page.push_str(&format!("| text | every `…_id`, `currency`, {} |\n", of(Holds::Text)));
    page
}

/// Compares a page with what it is made from, or writes it anew where that is asked for.
fn is_current(name: &str, page: &str) {
    let path = repository().join("docs").join(name);
    if std::env::var_os("WAYMARK_WRITE_DOCS").is_some() {
        std::fs::write(&path, page).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page);
}

#[test]
fn the_pages_say_what_files_and_program_say() {
    is_current("CATALOGUE.md", &page());
    is_current("EVENTS.md", &vocabulary());
}

#[test]
fn every_shipped_pattern_is_clean_tested_both_ways_and_speaks_three_languages() {
    let loaded = load(&[repository().join("patterns")]).expect("in the repository");
    assert_eq!(loaded.findings, [], "no warning either");
    for (_, pattern) in &loaded.patterns {
        let file: Value = serde_json::from_str(&pattern.canonical).expect("JSON");
        let because = file["then"]["because"].as_object().expect("a mapping");
        let languages: Vec<&str> = because.keys().map(String::as_str).collect();
        assert_eq!(languages, ["en", "nl", "it"], "{}", pattern.id);
        let results = journey::run_tests(pattern);
        assert!(results.len() >= 2, "{}", pattern.id);
        for result in results {
            assert_eq!(result.failure, None, "{}: {}", pattern.id, result.name);
        }
    }
}
