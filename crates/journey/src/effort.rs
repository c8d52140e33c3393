//! What a customer had to do: points over seven days, at most 100.

use event::{Attribute, Channel, Effort, Event, Millis};

use crate::{EffortEntry, EffortKind};

const WEEK: i64 = 7 * 86_400_000;
/// A bot clicking for ever must not grow a customer's state; the oldest entry goes.
const ENTRIES: usize = 128;
const MINUTE: i64 = 60_000;

/// Types by which a customer begins a contact.
const CONTACTS: [&str; 5] = [
    "call.started",
    "conversation.started",
    "email.received",
    "mention.posted",
    "callback.requested",
];

/// Whether the type begins a contact with the company.
pub(crate) fn is_contact(kind: &str) -> bool {
    CONTACTS.contains(&kind)
}

/// Forgets what is older than a week.
pub(crate) fn prune(efforts: &mut Vec<EffortEntry>, now: Millis) {
    efforts.retain(|entry| now.since(entry.at) < WEEK);
}

/// Enters what an event cost the customer.
pub(crate) fn read(efforts: &mut Vec<EffortEntry>, event: &Event, now: Millis) {
    prune(efforts, now);
    let ms = |name: &str| match event.attributes.get(name) {
        Some(Attribute::Long(ms)) => (*ms).clamp(0, WEEK),
        #[expect(clippy::cast_possible_truncation, reason = "clamped")]
        Some(Attribute::Double(ms)) if ms.is_finite() => ms.clamp(0.0, 604_800_000.0) as i64,
        _ => 0,
    };
    let mut add = |kind, ms| {
        if efforts.len() >= ENTRIES {
            efforts.remove(0);
        }
        efforts.push(EffortEntry {
            at: now,
            kind,
            ms,
            channel: event.channel,
        });
    };
    match event.kind.as_str() {
        "ivr.step_entered" => add(EffortKind::MenuStep, 0),
        "ivr.input_failed" => add(EffortKind::InputFailed, 0),
        "bot.fallback" => add(EffortKind::BotFallback, 0),
        "call.transferred" => add(EffortKind::Transfer, 0),
        "click.raged" => add(EffortKind::RageClick, 0),
        "request.failed" | "exception.raised" | "app.crashed" => add(EffortKind::Error, 0),
        "hold.ended" => add(EffortKind::Held, ms("held_ms")),
        "agent.connected" if ms("waited_ms") > 0 => add(EffortKind::Waited, ms("waited_ms")),
        "queue.abandoned" => {
            add(EffortKind::QueueAbandoned, 0);
            add(EffortKind::Waited, ms("waited_ms"));
        }
        "case.reopened" => add(EffortKind::CaseReopened, 0),
        "contact.wrapped_up" => add(EffortKind::WrapUp, ms("wrap_up_ms")),
        kind if is_contact(kind) => {
            let before = last_contact(efforts);
            let mut add = |kind| {
                efforts.push(EffortEntry {
                    at: now,
                    kind,
                    ms: 0,
                    channel: event.channel,
                });
            };
            if let Some(channel) = before {
                add(EffortKind::Repeat);
                if channel != event.channel {
                    add(EffortKind::ChannelSwitch);
                }
            }
            add(EffortKind::Contact);
            while efforts.len() > ENTRIES {
                efforts.remove(0);
            }
        }
        _ => {}
    }
}

fn last_contact(efforts: &[EffortEntry]) -> Option<Channel> {
    let contacts = efforts.iter().rev().find(|entry| entry.kind == EffortKind::Contact);
    contacts.map(|entry| entry.channel)
}

/// The figures of the last seven days.
pub(crate) fn state(efforts: &[EffortEntry]) -> Effort {
    let mut effort = Effort::default();
    for entry in efforts {
        let points = match entry.kind {
            EffortKind::Contact => {
                effort.contacts += 1;
                0
            }
            EffortKind::Waited => {
                effort.waited_ms += entry.ms;
                minutes(entry.ms)
            }
            EffortKind::Held => {
                effort.held_ms += entry.ms;
                minutes(entry.ms)
            }
            EffortKind::WrapUp => {
                effort.wrap_up_ms += entry.ms;
                0
            }
            EffortKind::MenuStep => counted(&mut effort.menu_steps, 1),
            EffortKind::RageClick => counted(&mut effort.rage_clicks, 2),
            EffortKind::Error => counted(&mut effort.errors, 2),
            EffortKind::InputFailed => counted(&mut effort.input_failures, 3),
            EffortKind::BotFallback => counted(&mut effort.bot_fallbacks, 3),
            EffortKind::Transfer => counted(&mut effort.transfers, 8),
            EffortKind::ChannelSwitch => counted(&mut effort.channel_switches, 8),
            EffortKind::Repeat => counted(&mut effort.repeats, 10),
            EffortKind::QueueAbandoned => counted(&mut effort.queues_abandoned, 10),
            EffortKind::CaseReopened => counted(&mut effort.cases_reopened, 15),
        };
        effort.points = effort.points.saturating_add(points).min(100);
    }
    effort
}

fn counted(count: &mut i32, points: i32) -> i32 {
    *count += 1;
    points
}

fn minutes(ms: i64) -> i32 {
    i32::try_from(ms / MINUTE).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, channel: Channel, ms: Option<(&str, i64)>) -> Event {
        let attributes = ms.map(|(name, ms)| (name.to_owned(), Attribute::Long(ms)));
        Event {
            kind: kind.to_owned(),
            channel,
            attributes: attributes.into_iter().collect(),
            ..Event::default()
        }
    }

    #[test]
    fn points_add_up_fade_after_a_week_and_stop_at_a_hundred() {
        let mut efforts = Vec::new();
        read(&mut efforts, &event("call.started", Channel::Voice, None), Millis(0));
        read(
            &mut efforts,
            &event("ivr.input_failed", Channel::Voice, None),
            Millis(1),
        );
        read(
            &mut efforts,
            &event("queue.abandoned", Channel::Voice, Some(("waited_ms", 180_000))),
            Millis(2),
        );
        read(
            &mut efforts,
            &event("conversation.started", Channel::Chat, None),
            Millis(3),
        );
        let effort = state(&efforts);
        assert_eq!(
            (effort.points, effort.contacts, effort.repeats),
            (3 + 10 + 3 + 10 + 8, 2, 1)
        );
        prune(&mut efforts, Millis(WEEK + 2));
        assert_eq!(state(&efforts).points, 18);
        for _ in 0..1000 {
            read(&mut efforts, &event("click.raged", Channel::Web, None), Millis(WEEK));
        }
        assert_eq!((state(&efforts).points, efforts.len()), (100, ENTRIES));
    }
}
