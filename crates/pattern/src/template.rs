//! Sentences with places for facts: `{{ seen[0].count }}`, `{{ seen[1].last.value }}`, `{{ by.reason }}`, `{{ journey.phase }}`.

use std::collections::BTreeMap;

use event::Attribute;

use crate::money::money;

/// A parsed sentence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Place(Place),
}

/// What a sentence asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    Count(usize),
    First(usize, String),
    Last(usize, String),
    By(String),
    Journey(String),
    Profile(String),
}

/// What a sentence is filled from.
pub(crate) trait Fill {
    /// The value at a place; `None` prints as a dash.
    fn fill(&self, place: &Place) -> Option<Attribute>;
}

impl Template {
    /// Parses a sentence for a pattern of `sees` steps. The error is a position in characters and a message.
    pub fn parse(text: &str, sees: usize, names: &BTreeMap<String, usize>) -> Result<Self, (usize, String)> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            let at = text[..text.len() - rest.len() + open].chars().count();
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let behind = &rest[open + 2..];
            let close = behind
                .find("}}")
                .ok_or_else(|| (at, "template is not closed: }} is missing".to_owned()))?;
            let place = place(behind[..close].trim(), sees, names).map_err(|message| (at, message))?;
            parts.push(Part::Place(place));
            rest = &behind[close + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The places that the sentence asks for.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.parts.iter().filter_map(|part| match part {
            Part::Place(place) => Some(place),
            Part::Text(_) => None,
        })
    }

    /// The sentence in a language.
    pub fn render(&self, lang: &str, fill: &dyn Fill) -> String {
        let mut sentence = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => sentence.push_str(text),
                Part::Place(place) => sentence.push_str(&show(place, lang, fill)),
            }
        }
        sentence
    }
}

fn place(text: &str, sees: usize, names: &BTreeMap<String, usize>) -> Result<Place, String> {
    let unknown = || format!("not known in a sentence: found={text}");
    let (root, rest) = text.split_once('.').ok_or_else(unknown)?;
    if rest.is_empty() {
        return Err(unknown());
    }
    match root {
        "by" => return Ok(Place::By(rest.to_owned())),
        "journey" => return Ok(Place::Journey(rest.to_owned())),
        "profile" => return Ok(Place::Profile(rest.to_owned())),
        _ => {}
    }
    if let Some(step) = names.get(root) {
        return Ok(Place::Last(*step, rest.to_owned()));
    }
    let index = root
        .strip_prefix("seen[")
        .and_then(|rest| rest.strip_suffix(']'))
        .ok_or_else(unknown)?;
    let index: usize = index.parse().map_err(|_| unknown())?;
    if index >= sees {
        return Err(format!("no such step: seen[{index}] steps={sees}"));
    }
    match rest.split_once('.') {
        None if rest == "count" => Ok(Place::Count(index)),
        Some(("first", field)) if !field.is_empty() => Ok(Place::First(index, field.to_owned())),
        Some(("last", field)) if !field.is_empty() => Ok(Place::Last(index, field.to_owned())),
        _ => Err(unknown()),
    }
}

fn show(place: &Place, lang: &str, fill: &dyn Fill) -> String {
    let value = fill.fill(place);
    let beside = |step: &usize, first: bool| {
        let currency = "currency".to_owned();
        let place = if first {
            Place::First(*step, currency)
        } else {
            Place::Last(*step, currency)
        };
        match fill.fill(&place) {
            Some(Attribute::Text(currency)) => Some(currency),
            _ => None,
        }
    };
    let currency = match place {
        Place::First(step, field) if field == "value" => beside(step, true),
        Place::Last(step, field) if field == "value" => beside(step, false),
        _ => None,
    };
    #[expect(clippy::cast_precision_loss, reason = "an amount in a sentence")]
    match (value, currency) {
        (Some(Attribute::Double(amount)), Some(currency)) => money(amount, &currency, lang),
        (Some(Attribute::Long(amount)), Some(currency)) => money(amount as f64, &currency, lang),
        (Some(Attribute::Long(value)), _) => value.to_string(),
        (Some(Attribute::Double(value)), _) => value.to_string(),
        (Some(Attribute::Bool(value)), _) => value.to_string(),
        (Some(Attribute::Text(text)), _) => text,
        (Some(Attribute::List(list)), _) => list.join(", "),
        (Some(Attribute::Null) | None, _) => "–".to_owned(),
    }
}
