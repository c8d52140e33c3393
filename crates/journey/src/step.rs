//! One event or deadline of one customer: fold, cancel, match, decide, and say when the profile is worth publishing.

use event::{
    Action, Attribute, CancelCause, Event, EventRef, EventSentiment, Intervention, InterventionState, LangSource,
    Millis, Pending, Phase, Profile, Risk, Role, Sentiment, Signal,
};
use pattern::{Catalogue, Match, Observer, Occurrence, Policy, Stepped, Unobserved};

use crate::{Journey, Open, ReadAgain, channels, decide, effort, feedback, fold, languages, mood, phases, unlink};

/// What a journey is processed under; the same for all customers.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The patterns.
    pub catalogue: std::sync::Arc<Catalogue>,
    /// What holds for all of them.
    pub policy: Policy,
    /// Timeline entries per customer.
    pub timeline_events: usize,
    /// Events per customer and second, by arrival; ten times as many may come at once.
    pub customer_rate: i64,
    /// Whether profiles are published at all.
    pub publish_profiles: bool,
    /// The least span between two profiles of one customer, in milliseconds of the customer's clock.
    pub profile_interval: i64,
    /// What reads texts again in the language of their journey; `None` leaves them as intake read them.
    pub read_again: Option<std::sync::Arc<dyn ReadAgain>>,
}

/// Where a call stands in the log and in time.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The customer's clock.
    pub now: Millis,
    /// The partition's clock.
    pub clock: Millis,
    /// The customer key.
    pub customer: &'a str,
    /// `topic/partition/offset`; for a deadline, of the last record read.
    pub position: &'a str,
    /// When the record arrived.
    pub arrival: Millis,
}

/// What is said, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// For `journey.signals`.
    Signal(Box<Signal>),
    /// For the channel's topic; a start or a cancel.
    Intervention(Box<Intervention>),
    /// For `journey.interventions.withheld`.
    Withheld(Box<Intervention>),
    /// For `journey.profiles`.
    Profile(Box<Profile>),
    /// For `journey.sentiment`: a text that was read again in the journey's language.
    Sentiment(Box<Sentiment>),
}

/// What is counted, beside what is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    /// Repeats of events.
    pub duplicates: u32,
    /// Runs dropped by a cap.
    pub capped_runs: u32,
    /// Timeline entries dropped by a cap.
    pub capped_timeline: u32,
    /// Events beyond the customer's rate.
    pub capped_rate: u32,
    /// Events behind the customer's clock.
    pub late: u32,
    /// Patterns a predicate of which failed.
    pub failed: Vec<String>,
}

/// A complaint signal of at least this strength is a complaint.
const COMPLAINT: f64 = 0.5;

/// Who listens beside the records.
pub struct Ears<'a, O: Observer> {
    /// Hears of every match with what was decided on it, evidence included, which records do not carry whole.
    pub hear: &'a mut dyn FnMut(&Match, &Intervention),
    /// Is told what the engine does, and why it does nothing.
    pub observer: &'a mut O,
}

/// Nobody.
macro_rules! no_ears {
    () => {
        Ears {
            hear: &mut |_, _| {},
            observer: &mut Unobserved,
        }
    };
}

/// Takes an event.
pub fn on_event(
    journey: &mut Journey,
    event: &Event,
    at: &Moment<'_>,
    rules: &Rules,
    out: &mut Vec<Said>,
    counted: &mut Counted,
) {
    hear_event(journey, event, at, rules, out, counted, no_ears!());
}

/// Takes an event as [`on_event`] does, and tells of every match.
pub fn hear_event<O: Observer>(
    journey: &mut Journey,
    event: &Event,
    at: &Moment<'_>,
    rules: &Rules,
    out: &mut Vec<Said>,
    counted: &mut Counted,
    ears: Ears<'_, O>,
) {
    if fold::is_repeat(journey, event, at.now) {
        counted.duplicates += 1;
        return;
    }
    if !has_token(journey, at.arrival, rules.customer_rate) {
        counted.capped_rate += 1;
        return;
    }
    if event.time < at.now {
        counted.late += 1;
    }
    let reference = EventRef {
        id: event.id.clone(),
        source: event.source.clone(),
        kind: event.kind.clone(),
        time: event.time,
        position: at.position.to_owned(),
    };
    let index = journey.core.next_index;
    // An event takes three places: itself, what its text says, and the complaint in it.
    journey.core.next_index += 3;
    let ended = event.kind == "session.ended";
    let reread = reread(journey, event, at, rules, out);
    languages::count(journey, event);
    let event = reread.as_ref().unwrap_or(event);
    let mut changed = fold::fold(journey, event, &reference, at.now, at.customer);
    changed |= feedback::read(journey, event, at.now);
    counted.capped_timeline += fold::remember(journey, event, index, rules.timeline_events);
    changed |= cancel(journey, &event.kind, &reference, at.now, out);

    let mut runs = std::mem::take(&mut journey.runs);
    let mut stepped = Stepped::default();
    let whole = Occurrence {
        event,
        kind: &event.kind,
        extra: &[],
        at: at.now,
        index,
        position: at.position,
    };
    rules
        .catalogue
        .on_event_observed(&mut runs, &whole, journey, &mut stepped, ears.observer);
    let said = event
        .text
        .as_ref()
        .is_some_and(|text| matches!(text.role, Role::Customer | Role::Unknown));
    if let (Some(sentiment), true) = (&event.sentiment, said) {
        let strength = sentiment.signals.get("complaint").copied().unwrap_or(0.0);
        if let Some(score) = sentiment.score {
            let extra = [
                ("score", Attribute::Double(score)),
                ("label", Attribute::Text(sentiment.label.as_str().to_owned())),
                ("confidence", Attribute::Double(sentiment.confidence.unwrap_or(0.0))),
            ];
            let derived = Occurrence {
                kind: "sentiment.scored",
                extra: &extra,
                index: index + 1,
                ..whole
            };
            rules
                .catalogue
                .on_event_observed(&mut runs, &derived, journey, &mut stepped, ears.observer);
        }
        if strength >= COMPLAINT && event.kind != "complaint.filed" {
            let extra = [
                ("confidence", Attribute::Double(strength)),
                ("reason", Attribute::Text("text".to_owned())),
            ];
            let derived = Occurrence {
                kind: "complaint.filed",
                extra: &extra,
                index: index + 2,
                ..whole
            };
            rules
                .catalogue
                .on_event_observed(&mut runs, &derived, journey, &mut stepped, ears.observer);
        }
    }
    journey.runs = runs;
    changed |= act(journey, stepped, at, rules, out, counted, ears.hear);
    publish(journey, changed, ended, at, rules, out);
}

/// The event with its text's score in the journey's language, if the language that intake found is doubted.
fn reread(journey: &Journey, event: &Event, at: &Moment<'_>, rules: &Rules, out: &mut Vec<Said>) -> Option<Event> {
    let language = languages::doubted(journey, event)?;
    let mut score = rules.read_again.as_ref()?.read(event, language)?;
    score.lang_source = LangSource::Journey;
    let sentiment = EventSentiment::from(&score);
    let record = Sentiment::of(event, at.customer, at.position.to_owned(), score);
    out.push(Said::Sentiment(Box::new(record)));
    Some(Event {
        sentiment: Some(sentiment),
        ..event.clone()
    })
}

/// Takes the deadline that has come.
pub fn on_time(journey: &mut Journey, at: &Moment<'_>, rules: &Rules, out: &mut Vec<Said>, counted: &mut Counted) {
    hear_time(journey, at, rules, out, counted, no_ears!());
}

/// Takes the deadline that has come as [`on_time`] does, and tells of every match.
pub fn hear_time<O: Observer>(
    journey: &mut Journey,
    at: &Moment<'_>,
    rules: &Rules,
    out: &mut Vec<Said>,
    counted: &mut Counted,
    ears: Ears<'_, O>,
) {
    unlink::forget(journey, at.now);
    let mut changed = feedback::expire(journey, at.now);
    changed |= fold::overdue(journey, at.now);
    let mut runs = std::mem::take(&mut journey.runs);
    let mut stepped = Stepped::default();
    // One moment at a time: none that the partition's clock has not reached, however far the customer's own has run ahead, and none
    // that lies behind this one, however far the partition's clock has jumped.
    if let Some(due) = runs.deadline().filter(|due| *due <= at.clock.min(at.now)) {
        rules
            .catalogue
            .on_time_observed(&mut runs, due, journey, &mut stepped, ears.observer);
    }
    journey.runs = runs;
    changed |= act(journey, stepped, at, rules, out, counted, ears.hear);
    publish(journey, changed, false, at, rules, out);
}

/// When the customer next wants to be woken.
#[must_use]
pub fn deadline(journey: &Journey, rules: &Rules) -> Option<Millis> {
    let open = journey.decisions.open.iter().map(|open| open.expires_at).min();
    let promised = journey
        .profile
        .promises
        .iter()
        .filter(|promise| promise.status == event::PromiseStatus::Open)
        .filter_map(|promise| promise.due_at)
        .min();
    let due = |at: Millis| at.plus(rules.profile_interval);
    let profile = (rules.publish_profiles && journey.core.changed)
        .then(|| journey.core.published_at.map(due))
        .flatten();
    [
        journey.runs.deadline(),
        open,
        promised,
        profile,
        unlink::deadline(journey),
    ]
    .into_iter()
    .flatten()
    .min()
}

/// A token bucket by arrival: one robot with a million events costs its own matches, nobody else's.
fn has_token(journey: &mut Journey, arrival: Millis, rate: i64) -> bool {
    let core = &mut journey.core;
    let full = rate.saturating_mul(10_000);
    let gained = match core.tokens_at {
        Some(before) => arrival.since(before).max(0).saturating_mul(rate),
        None => full,
    };
    core.tokens = core.tokens.saturating_add(gained).min(full);
    core.tokens_at = core.tokens_at.max(Some(arrival));
    if core.tokens < 1000 {
        return false;
    }
    core.tokens -= 1000;
    true
}

/// Takes back what an event of this type makes needless.
fn cancel(journey: &mut Journey, kind: &str, reference: &EventRef, now: Millis, out: &mut Vec<Said>) -> bool {
    let mut changed = false;
    let before = journey.profile.at_risk.len();
    let gone = feedback::cancelled_by(journey, kind);
    for open in gone {
        journey.profile.at_risk.retain(|risk| risk.pattern != open.pattern);
        changed = true;
        let cause = ("cancel_on", reference);
        out.push(Said::Intervention(Box::new(withdrawal(journey, &open, cause, now))));
    }
    changed || before != journey.profile.at_risk.len()
}

/// Takes an intervention back, for a published reason and by an event.
pub(crate) fn withdrawal(journey: &Journey, open: &Open, (reason, by): (&str, &EventRef), now: Millis) -> Intervention {
    Intervention {
        id: open.intervention,
        action: Action::Cancel,
        idempotency_key: format!("{}/{}", open.intervention, open.channel),
        tenant: journey.profile.tenant.clone(),
        customer: journey.profile.customer.clone(),
        identifiers: channels::needed(journey, open.channel),
        session: journey.core.session.clone(),
        lang: journey.profile.lang.clone(),
        kind: open.kind.clone(),
        channel: open.channel,
        pattern: open.pattern.clone(),
        pattern_version: open.pattern_version,
        signal: Some(open.signal),
        priority: open.priority,
        created_at: now,
        expires_at: open.expires_at,
        cancel_on: open.cancel_on.clone(),
        cancel_cause: Some(CancelCause {
            reason: reason.to_owned(),
            event: Some(by.clone()),
        }),
        phase: journey.profile.phase,
        ..Intervention::default()
    }
}

/// Decides on every match; whether there was any.
fn act(
    journey: &mut Journey,
    stepped: Stepped,
    at: &Moment<'_>,
    rules: &Rules,
    out: &mut Vec<Said>,
    counted: &mut Counted,
    hear: &mut dyn FnMut(&Match, &Intervention),
) -> bool {
    counted.capped_runs += stepped.capped;
    counted.failed.extend(stepped.failed.iter().map(ToString::to_string));
    let any = !stepped.matches.is_empty();
    for found in stepped.matches {
        risk(journey, &found);
        let decision = decide(journey, &found, &rules.policy, at.now);
        out.push(Said::Signal(Box::new(decision.signal)));
        let intervention = Box::new(decision.intervention);
        hear(&found, &intervention);
        out.push(match intervention.withheld {
            Some(_) => Said::Withheld(intervention),
            None => Said::Intervention(intervention),
        });
    }
    any
}

/// Risks kept per customer.
const RISKS: usize = 16;

fn risk(journey: &mut Journey, found: &Match) {
    let risks = &mut journey.profile.at_risk;
    risks.retain(|risk| risk.pattern != found.pattern.id);
    if risks.len() >= RISKS {
        risks.remove(0);
    }
    risks.push(Risk {
        pattern: found.pattern.id.clone(),
        since: found.matched_at,
        priority: found.pattern.then.priority,
        because: found.because(),
    });
}

/// Publishes the profile if something changed that a reader acts on and the interval has passed; else keeps it for the timer.
pub(crate) fn publish(
    journey: &mut Journey,
    changed: bool,
    now_or_never: bool,
    at: &Moment<'_>,
    rules: &Rules,
    out: &mut Vec<Said>,
) {
    journey.core.changed |= changed;
    if !rules.publish_profiles || !journey.core.changed {
        return;
    }
    let rested = journey
        .core
        .published_at
        .is_none_or(|before| at.now.since(before) >= rules.profile_interval);
    if !rested && !now_or_never {
        return;
    }
    journey.core.changed = false;
    journey.core.published_at = Some(at.now);
    journey.profile.revision += 1;
    journey.profile.updated_at = at.now;
    phases::advance(&mut journey.profile, at.now);
    effort::prune(&mut journey.efforts, at.now);
    out.push(Said::Profile(Box::new(view(journey))));
}

/// The profile as it is published: at most the last fifty lines of the past.
fn view(journey: &Journey) -> Profile {
    let mut profile = journey.profile.clone();
    if profile.phase == Phase::Unknown {
        profile.phase = Phase::Evaluation;
    }
    profile.sentiment = Some(mood::state(&journey.texts));
    profile.effort = Some(effort::state(&journey.efforts));
    profile.interventions = journey.decisions.open.iter().map(pending).collect();
    profile.timeline = journey.timeline.values().rev().take(50).cloned().collect();
    profile.timeline.reverse();
    profile
}

fn pending(open: &Open) -> Pending {
    Pending {
        intervention: open.intervention,
        pattern: open.pattern.clone(),
        channel: open.channel,
        state: if open.state == InterventionState::Unknown {
            InterventionState::Created
        } else {
            open.state
        },
        created_at: open.created_at,
        expires_at: Some(open.expires_at),
    }
}
