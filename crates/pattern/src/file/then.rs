//! `then`, `guard` and `rollout`: what a match does, what holds it back, whom it reaches.

use std::collections::BTreeMap;

use event::{Decimal, OutChannel};

use super::fields::{self, Fields};
use crate::{
    finding::Report,
    template::Template,
    yaml::{Node, Value},
};

/// What a match does.
#[derive(Debug, Clone, PartialEq)]
pub struct Then {
    /// Kind of intervention, for example `chat_offer`.
    pub intervene: String,
    /// Channels it may use.
    pub channels: Vec<OutChannel>,
    /// 0 to 100; higher goes first.
    pub priority: i32,
    /// How long the intervention makes sense, in milliseconds.
    pub valid_for: i64,
    /// Event types that take it back.
    pub cancel_on: Vec<String>,
    pub(crate) because: BTreeMap<String, Template>,
    /// The first language of the file.
    pub(crate) first_lang: Option<String>,
    /// What may be offered.
    pub offer: Option<OfferSpec>,
    /// Who takes it, where a person is needed.
    pub route: Option<RouteSpec>,
}

/// Bounds of an offer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OfferSpec {
    /// `discount`, `voucher`, `waiver`, `gift` or `upgrade`.
    pub kind: String,
    /// Percent off.
    pub percent: Option<f64>,
    /// Amount off.
    pub amount: Option<Decimal>,
    /// Currency of `amount`.
    pub currency: Option<String>,
    /// Where codes come from; never a code itself.
    pub code_pool: Option<String>,
    /// How long the offer holds, in milliseconds.
    pub valid_for: Option<i64>,
    /// Who may decide how much.
    pub mandate: Option<event::Mandate>,
}

/// Who takes an intervention.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteSpec {
    /// The queue.
    pub queue: String,
    /// Skills wanted.
    pub skills: Vec<String>,
}

/// What holds a match back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The purpose for which consent is needed.
    pub consent: String,
    /// Rest per customer and pattern after an intervention, in milliseconds.
    pub cooldown: i64,
    /// When nobody is to be disturbed.
    pub quiet_hours: Option<QuietHours>,
}

/// A span of the day; it may cross midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    /// Minute of the day at which quiet begins.
    pub from_minute: u16,
    /// Minute of the day at which it ends.
    pub to_minute: u16,
}

impl QuietHours {
    /// Reads `22:00-07:00`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let minute = |part: &str| {
            let (hours, minutes) = part.split_once(':')?;
            if hours.len() != 2 || minutes.len() != 2 {
                return None;
            }
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let (from, to) = text.split_once('-')?;
        Some(Self {
            from_minute: minute(from)?,
            to_minute: minute(to)?,
        })
    }

    /// Whether a minute of the day is quiet; the end is not.
    #[must_use]
    pub const fn contains(self, minute: u16) -> bool {
        if self.from_minute <= self.to_minute {
            self.from_minute <= minute && minute < self.to_minute
        } else {
            self.from_minute <= minute || minute < self.to_minute
        }
    }
}

/// Whom a pattern reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Share of those outside the holdout, in percent.
    pub percent: i32,
    /// Share held out, in percent.
    pub holdout: i32,
    /// Seed of the arms.
    pub seed: String,
}

pub(super) fn read(
    node: &Node,
    sees: Option<usize>,
    names: &BTreeMap<String, usize>,
    report: &mut Report,
) -> Option<Then> {
    let mut keys = Fields::of(node, "then", report)?;
    let intervene = keys
        .required("intervene", report)
        .and_then(|node| fields::name(node, "intervene", report));
    let channels = keys.required("channels", report).map(|node| {
        let words = fields::list(node, "channels", 8, report);
        let mut channels = Vec::new();
        for (word, at) in words {
            match OutChannel::parse(&word).filter(|channel| *channel != OutChannel::Unknown) {
                Some(channel) => channels.push(channel),
                None => {
                    let known = out_channels();
                    let help = format!("known: {}", known.join(", "));
                    report.error_with_help(at, "value", format!("unknown channel: found={word}"), help);
                }
            }
        }
        channels
    });
    let priority = keys
        .required("priority", report)
        .and_then(|node| fields::whole(node, "priority", 0, 100, report));
    let valid_for = keys
        .required("valid_for", report)
        .and_then(|node| fields::duration(node, "valid_for", report));
    let cancel_on = keys
        .get("cancel_on")
        .map(|node| super::when::event_type_list(node, "cancel_on", report))
        .unwrap_or_default();
    let because = keys
        .required("because", report)
        .map(|node| read_because(node, sees, names, report));
    let first_lang = keys.get("because").and_then(first_key);
    let offer = keys.get("offer").map(|node| read_offer(node, report));
    let route = keys.get("route").map(|node| read_route(node, report));
    keys.finish(report);
    Some(Then {
        intervene: intervene?,
        channels: channels?,
        priority: i32::try_from(priority?).ok()?,
        valid_for: valid_for?,
        cancel_on,
        because: because?,
        first_lang,
        offer: offer.flatten(),
        route: route.flatten(),
    })
}

fn first_key(node: &Node) -> Option<String> {
    match &node.value {
        Value::Map(entries) => entries.first()?.0.text().map(ToOwned::to_owned),
        _ => None,
    }
}

fn read_because(
    node: &Node,
    sees: Option<usize>,
    names: &BTreeMap<String, usize>,
    report: &mut Report,
) -> BTreeMap<String, Template> {
    let mut because = BTreeMap::new();
    let Value::Map(entries) = &node.value else {
        report.error_with_help(
            node.at,
            "type",
            "because maps a language to a sentence",
            "for example { en: \"looked {{ seen[0].count }} times\" }",
        );
        return because;
    };
    if entries.is_empty() {
        report.error(node.at, "range", "because needs at least one language");
    }
    for (lang, sentence) in entries {
        let lang_at = lang.at;
        let lang = fields::text(lang, "a language", report).unwrap_or_default();
        if !is_lang(&lang) {
            let message = format!("a language is written as en or pt-BR: found={lang}");
            report.error(lang_at, "value", message);
        }
        let Some(text) = fields::text_of(sentence, "a sentence", 1, 400, report) else {
            continue;
        };
        match Template::parse(&text, sees.unwrap_or(usize::MAX), names) {
            Ok(template) => {
                because.insert(lang, template);
            }
            Err((at, message)) if sees.is_some() => report.error(sentence.mark_within(at), "template", message),
            Err(_) => {}
        }
    }
    because
}

/// Two small letters, perhaps a hyphen and two capitals.
fn is_lang(text: &str) -> bool {
    let (lang, region) = text
        .split_once('-')
        .map_or((text, None), |(lang, region)| (lang, Some(region)));
    let is = |part: &str, of: fn(&u8) -> bool| part.len() == 2 && part.as_bytes().iter().all(of);
    is(lang, u8::is_ascii_lowercase) && region.is_none_or(|region| is(region, u8::is_ascii_uppercase))
}

/// The channels that a pattern may name.
pub(crate) fn out_channels() -> Vec<&'static str> {
    let known = OutChannel::ALL
        .iter()
        .filter(|channel| **channel != OutChannel::Unknown);
    known.map(|channel| channel.as_str()).collect()
}

/// Kinds of offer.
pub(crate) const OFFERS: [&str; 5] = ["discount", "voucher", "waiver", "gift", "upgrade"];
/// Who may decide about an offer.
pub(crate) const LEVELS: [&str; 4] = ["none", "bot", "agent", "lead"];
/// Purposes for which consent is given.
pub(crate) const PURPOSES: [&str; 3] = ["service", "marketing", "profiling"];

fn read_offer(node: &Node, report: &mut Report) -> Option<OfferSpec> {
    let mut keys = Fields::of(node, "offer", report)?;
    let words = |key: &'static str, keys: &mut Fields<'_>, report: &mut Report| {
        keys.get(key).and_then(|node| fields::text(node, key, report))
    };
    let kind = keys
        .required("kind", report)
        .and_then(|node| fields::text(node, "kind", report));
    if let Some(found) = kind.as_deref().filter(|kind| !OFFERS.contains(kind)) {
        let help = format!("known: {}", OFFERS.join(", "));
        report.error_with_help(node.at, "value", format!("unknown kind of offer: found={found}"), help);
    }
    let percent = |percent: f64| percent > 0.0 && percent <= 100.0;
    let percent = keys
        .get("percent")
        .and_then(|node| fields::number(node, "percent", percent, "a number above 0, at most 100", report));
    let amount = keys
        .get("amount")
        .and_then(|node| fields::number(node, "amount", |amount| amount > 0.0, "a number above 0", report));
    let currency_at = keys.get("currency").map(|node| node.at);
    let currency = words("currency", &mut keys, report);
    if let (Some(found), Some(at)) = (&currency, currency_at)
        && !(found.len() == 3 && found.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        report.error(
            at,
            "value",
            format!("a currency is three capitals, as EUR: found={found}"),
        );
    }
    if percent.is_some() && amount.is_some() {
        report.error(node.at, "value", "an offer has a percent or an amount, not both");
    }
    if amount.is_some() && currency.is_none() {
        report.error(node.at, "key-missing", "a key is missing: key=currency");
    }
    let code_pool = keys
        .get("code_pool")
        .and_then(|node| fields::id(node, "code_pool", report));
    let valid_for = keys
        .get("valid_for")
        .and_then(|node| fields::duration(node, "valid_for", report));
    let mandate = keys.get("mandate").and_then(|node| read_mandate(node, report));
    keys.finish(report);
    let amount = amount.and_then(Decimal::from_f64);
    Some(OfferSpec {
        kind: kind?,
        percent,
        amount,
        currency,
        code_pool,
        valid_for,
        mandate,
    })
}

fn read_mandate(node: &Node, report: &mut Report) -> Option<event::Mandate> {
    let mut keys = Fields::of(node, "mandate", report)?;
    let level = keys
        .required("level", report)
        .and_then(|node| fields::text(node, "level", report));
    let max_percent = keys.get("max_percent").and_then(|node| {
        let fits = |percent: f64| (0.0..=100.0).contains(&percent);
        fields::number(node, "max_percent", fits, "a number from 0 to 100", report)
    });
    let max_amount = keys.get("max_amount").and_then(|node| {
        let fits = |amount: f64| amount >= 0.0;
        fields::number(node, "max_amount", fits, "a number of at least 0", report)
    });
    let escalate_to = keys
        .get("escalate_to")
        .and_then(|node| fields::id(node, "escalate_to", report));
    keys.finish(report);
    if let Some(found) = level.as_deref().filter(|level| !LEVELS.contains(level)) {
        let help = format!("known: {}", LEVELS.join(", "));
        report.error_with_help(
            node.at,
            "value",
            format!("unknown level of mandate: found={found}"),
            help,
        );
    }
    Some(event::Mandate {
        level: level?,
        max_percent,
        max_amount: max_amount.and_then(Decimal::from_f64),
        escalate_to,
    })
}

fn read_route(node: &Node, report: &mut Report) -> Option<RouteSpec> {
    let mut keys = Fields::of(node, "route", report)?;
    let queue = keys
        .required("queue", report)
        .and_then(|node| fields::id(node, "queue", report));
    let skills = keys.get("skills").map(|node| match &node.value {
        Value::List(skills) if skills.len() <= 16 => {
            let skills = skills.iter().filter_map(|skill| fields::id(skill, "a skill", report));
            let found: Vec<String> = skills.collect();
            if let Some(twice) = found
                .iter()
                .enumerate()
                .find_map(|(index, skill)| found[..index].contains(skill).then_some(skill))
            {
                report.error(node.at, "duplicate", format!("skills names this twice: found={twice}"));
            }
            found
        }
        _ => {
            report.error(node.at, "type", "skills must be a list of at most 16");
            Vec::new()
        }
    });
    keys.finish(report);
    Some(RouteSpec {
        queue: queue?,
        skills: skills.unwrap_or_default(),
    })
}

pub(super) fn read_guard(node: &Node, report: &mut Report) -> Option<Guard> {
    let mut keys = Fields::of(node, "guard", report)?;
    let consent = keys.required("consent", report).and_then(|node| {
        let found = fields::text(node, "consent", report)?;
        if !PURPOSES.contains(&found.as_str()) {
            let help = format!("known: {}", PURPOSES.join(", "));
            report.error_with_help(node.at, "value", format!("unknown purpose: found={found}"), help);
        }
        Some(found)
    });
    let cooldown = keys
        .required("cooldown", report)
        .and_then(|node| fields::duration(node, "cooldown", report));
    let quiet_hours = keys.get("quiet_hours").and_then(|node| read_quiet_hours(node, report));
    keys.finish(report);
    Some(Guard {
        consent: consent?,
        cooldown: cooldown?,
        quiet_hours,
    })
}

/// A span of the day that is neither nothing nor everything.
pub(super) fn read_quiet_hours(node: &Node, report: &mut Report) -> Option<QuietHours> {
    let shown = node.text().unwrap_or(node.kind());
    let found = node.text().and_then(QuietHours::parse);
    let message = match found {
        Some(hours) if hours.from_minute == hours.to_minute => "quiet_hours end when they begin",
        None => "quiet_hours are written 22:00-07:00",
        Some(_) => return found,
    };
    report.error(node.at, "value", format!("{message}: found={shown}"));
    None
}

pub(super) fn read_rollout(node: &Node, report: &mut Report) -> Option<Rollout> {
    let mut keys = Fields::of(node, "rollout", report)?;
    let percent = keys
        .required("percent", report)
        .and_then(|node| fields::whole(node, "percent", 0, 100, report));
    let holdout = keys
        .required("holdout", report)
        .and_then(|node| fields::whole(node, "holdout", 0, 50, report));
    let seed = keys
        .required("seed", report)
        .and_then(|node| fields::id(node, "seed", report));
    keys.finish(report);
    Some(Rollout {
        percent: i32::try_from(percent?).ok()?,
        holdout: i32::try_from(holdout?).ok()?,
        seed: seed?,
    })
}
