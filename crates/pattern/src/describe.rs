//! A pattern in words: the notation of the docs, and one sentence for people.

use serde_json::{Map, Value};

use crate::Pattern;

/// `→` next step, `&` members of `all`, `×n` times, `∅b` a guard, `∅b 5m` a wait, `/` alternatives; `{f}` is `by`, `[…]` a `where`.
#[must_use]
pub fn notation(pattern: &Pattern) -> String {
    let when = when(pattern);
    let joint = if when.contains_key("all") { " & " } else { " → " };
    let steps: Vec<String> = steps(&when).iter().map(step_notation).collect();
    let mut text = String::new();
    let by = words(when.get("by"));
    if !by.is_empty() {
        text.push_str(&format!("{{{}}} ", by.join(", ")));
    }
    text.push_str(&steps.join(joint));
    text.push_str(&format!("; {}", word(&when, "within")));
    let until = words(when.get("until"));
    if !until.is_empty() {
        text.push_str(&format!("; until {}", until.join(" / ")));
    }
    if let Some(during) = during(&when) {
        text.push_str(&format!("; {during}"));
    }
    text
}

/// One sentence, for the head of an explanation.
#[must_use]
pub fn sentence(pattern: &Pattern) -> String {
    let when = when(pattern);
    let mut text = String::new();
    let by = words(when.get("by"));
    if !by.is_empty() {
        text.push_str(&format!("for each {} apart: ", by.join(" and ")));
    }
    let is_all = when.contains_key("all");
    let steps: Vec<String> = steps(&when).iter().map(step_sentence).collect();
    if is_all {
        text.push_str("in any order, ");
    }
    text.push_str(&steps.join(if is_all { "; and " } else { "; then " }));
    text.push_str(&format!("; all within {}", word(&when, "within")));
    let until = words(when.get("until"));
    if !until.is_empty() {
        text.push_str(&format!("; {} starts it over", until.join(" or ")));
    }
    if let Some(during) = during(&when) {
        text.push_str(&format!("; everything {during}"));
    }
    text
}

fn when(pattern: &Pattern) -> Map<String, Value> {
    let file: Value = serde_json::from_str(&pattern.canonical).unwrap_or_default();
    file.get("when").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn steps(when: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let steps = when.get("sequence").or_else(|| when.get("all"));
    let steps = steps.and_then(Value::as_array).into_iter().flatten();
    steps.filter_map(|step| step.as_object().cloned()).collect()
}

/// One text, or a list of them.
fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all
            .iter()
            .filter_map(|one| one.as_str().map(ToOwned::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

fn word(of: &Map<String, Value>, key: &str) -> String {
    of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(of: &Map<String, Value>, key: &str) -> Option<u64> {
    of.get(key).and_then(Value::as_u64)
}

fn during(when: &Map<String, Value>) -> Option<String> {
    let during = when.get("during")?.as_object()?;
    Some(match during.get("before") {
        Some(_) => format!("during {} before {}", word(during, "lead"), word(during, "before")),
        None => format!("during {} after {}", word(during, "lag"), word(during, "after")),
    })
}

fn step_notation(step: &Map<String, Value>) -> String {
    let is_absent = step.contains_key("absent");
    let types = words(step.get(if is_absent { "absent" } else { "see" }));
    let mut text = if types.len() > 1 {
        format!("({})", types.join(" / "))
    } else {
        types.join("")
    };
    if is_absent {
        text.insert(0, '∅');
    }
    if step.contains_key("where") {
        text.push_str(&format!("[{}]", word(step, "where")));
    }
    if let Some(times) = number(step, "times").filter(|times| *times > 1) {
        text.push_str(&format!("×{times}"));
    }
    if let Some(across) = step.get("across").and_then(Value::as_object) {
        let (distinct, field) = (number(across, "at_least").unwrap_or(2), word(across, "field"));
        if !step.contains_key("times") {
            text.push_str(&format!("×{distinct}"));
        }
        text.push_str(&format!(" across {distinct} {field}"));
    }
    for (key, before) in [("for", " "), ("within", " within "), ("as", " as ")] {
        if step.contains_key(key) {
            text.push_str(&format!("{before}{}", word(step, key)));
        }
    }
    text
}

fn step_sentence(step: &Map<String, Value>) -> String {
    let is_absent = step.contains_key("absent");
    let types = words(step.get(if is_absent { "absent" } else { "see" })).join(" or ");
    let mut text = if is_absent { format!("no {types}") } else { types };
    if step.contains_key("where") {
        text.push_str(&format!(" where {}", word(step, "where")));
    }
    let across = step.get("across").and_then(Value::as_object);
    let least = across.and_then(|across| number(across, "at_least"));
    if let Some(times) = number(step, "times").or(least).filter(|times| *times > 1) {
        text.push_str(&format!(", {times} times"));
    }
    if let (Some(across), Some(least)) = (across, least) {
        text.push_str(&format!(" with at least {least} different {}", word(across, "field")));
    }
    if step.contains_key("within") {
        text.push_str(&format!(", at most {} after the step before", word(step, "within")));
    }
    if step.contains_key("as") {
        text.push_str(&format!(", called {}", word(step, "as")));
    }
    match (is_absent, step.contains_key("for")) {
        (true, true) => text.push_str(&format!(" for {}", word(step, "for"))),
        (true, false) => text.push_str(" in between"),
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_reads_in_notation_and_as_a_sentence() {
        let text = include_str!("../../../patterns/bot-loop.yaml");
        let pattern = crate::parse("bot-loop.yaml", text).expect("valid");
        assert_eq!(
            notation(&pattern),
            "{conversation} (bot.fallback / bot.intent_detected)[event.type == 'bot.fallback' || has(event.repeated) && \
             event.repeated]×3 → handover.requested → ∅agent.connected 90s; 15m; until conversation.ended"
        );
        assert_eq!(
            sentence(&pattern),
            "for each conversation apart: bot.fallback or bot.intent_detected where event.type == 'bot.fallback' || \
             has(event.repeated) && event.repeated, 3 times; then handover.requested; then no agent.connected for 90s; \
             all within 15m; conversation.ended starts it over"
        );
    }
}
