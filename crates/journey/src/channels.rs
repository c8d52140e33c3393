//! Which channel can save this customer now: where they are, what can reach them, what they answered before.

use event::{Channel, ChannelChoice, Identifier, IdentifierKind, Millis, OutChannel};
use pattern::Pattern;

use crate::Journey;

/// A customer counts as present on a channel this long after their last event there.
const PRESENT: i64 = 30 * 60_000;

/// Ranks the channels that a pattern allows, the best first; the first is chosen if it can reach the customer at all.
pub(crate) fn rank(journey: &Journey, pattern: &Pattern, now: Millis) -> Vec<ChannelChoice> {
    let mut ranked: Vec<ChannelChoice> = pattern
        .then
        .channels
        .iter()
        .enumerate()
        .map(|(index, channel)| choice(journey, *channel, index, now))
        .collect();
    ranked.sort_by(|one, other| other.score.total_cmp(&one.score));
    if let Some(best) = ranked.first_mut()
        && best.score > 0.0
    {
        best.chosen = true;
        best.reason = None;
    }
    let here = present(journey, now);
    for passed in ranked
        .iter_mut()
        .filter(|choice| !choice.chosen && choice.reason.is_none())
    {
        passed.reason = Some(match here {
            Some(channel) => format!("customer is on {channel} now"),
            None => "another channel ranks higher".to_owned(),
        });
    }
    ranked
}

fn choice(journey: &Journey, channel: OutChannel, index: usize, now: Millis) -> ChannelChoice {
    let here = present(journey, now);
    let known = |kinds: &[IdentifierKind]| {
        journey
            .profile
            .identifiers
            .iter()
            .any(|one| kinds.contains(&one.identifier.kind))
    };
    // A customer or contract number lets the channel service look the address up.
    let on_file = known(&[IdentifierKind::Customer, IdentifierKind::Contract]);
    let on_site = matches!(here, Some(Channel::Web | Channel::Mobile | Channel::SelfService));
    let in_chat = matches!(
        here,
        Some(Channel::Chat | Channel::Messaging | Channel::Sms | Channel::Video)
    );
    let on_call = here == Some(Channel::Voice);
    let (reach, reason): (f64, &str) = match channel {
        OutChannel::Chat if in_chat => (0.9, ""),
        OutChannel::Chat | OutChannel::Web if on_site => (0.8, ""),
        OutChannel::Chat | OutChannel::Web => (0.0, "customer is not on the site now"),
        OutChannel::Voice if on_call => (0.9, ""),
        OutChannel::Voice if known(&[IdentifierKind::Phone]) => (0.5, ""),
        OutChannel::Voice | OutChannel::Sms if on_file => (0.4, ""),
        OutChannel::Sms if known(&[IdentifierKind::Phone]) => (0.45, ""),
        OutChannel::Voice | OutChannel::Sms => (0.0, "no phone number is known"),
        OutChannel::Email if known(&[IdentifierKind::Email]) => (0.4, ""),
        OutChannel::Email if on_file => (0.35, ""),
        OutChannel::Email => (0.0, "no mail address is known"),
        OutChannel::Social if here == Some(Channel::Social) => (0.9, ""),
        OutChannel::Social if known(&[IdentifierKind::Social]) => (0.5, ""),
        OutChannel::Social => (0.0, "no social account is known"),
        OutChannel::Desktop if on_call || in_chat => (0.9, ""),
        OutChannel::Desktop => (0.5, ""),
        OutChannel::Csm => (0.3, ""),
        OutChannel::Unknown => (0.0, "channel is unknown to this version"),
    };
    let answered = journey
        .profile
        .channels
        .iter()
        .find(|known| carries(known.channel, channel));
    let preference = answered.map_or(0.0, |known| known.preference);
    // The author's order decides between equals.
    #[expect(clippy::cast_precision_loss, reason = "at most eight channels")]
    let order = index as f64 * 0.01;
    let score = if reach > 0.0 {
        (reach + 0.1 * preference - order).clamp(0.01, 1.0)
    } else {
        0.0
    };
    ChannelChoice {
        channel,
        score: (score * 1000.0).round() / 1000.0,
        chosen: false,
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
    }
}

/// Where the customer is, if anywhere.
fn present(journey: &Journey, now: Millis) -> Option<Channel> {
    let seen = journey.core.seen_at?;
    (now.since(seen) <= PRESENT).then_some(journey.core.channel)
}

/// Whether answers on one channel tell about another.
pub(crate) fn carries(channel: Channel, out: OutChannel) -> bool {
    matches!(
        (channel, out),
        (Channel::Web | Channel::Mobile, OutChannel::Web)
            | (Channel::Chat | Channel::Messaging, OutChannel::Chat)
            | (Channel::Voice, OutChannel::Voice)
            | (Channel::Email, OutChannel::Email)
            | (Channel::Sms, OutChannel::Sms)
            | (Channel::Social, OutChannel::Social)
    )
}

/// Only the identifiers that the channel needs; a customer number always, so that the record can be matched.
pub(crate) fn needed(journey: &Journey, channel: OutChannel) -> Vec<Identifier> {
    let own: &[IdentifierKind] = match channel {
        OutChannel::Chat | OutChannel::Web => &[IdentifierKind::Device],
        OutChannel::Voice | OutChannel::Sms => &[IdentifierKind::Phone],
        OutChannel::Email => &[IdentifierKind::Email],
        OutChannel::Social => &[IdentifierKind::Social],
        OutChannel::Desktop | OutChannel::Csm => &[IdentifierKind::Contract],
        OutChannel::Unknown => &[],
    };
    let known = journey.profile.identifiers.iter().map(|known| &known.identifier);
    known
        .filter(|one| one.kind == IdentifierKind::Customer || own.contains(&one.kind))
        .cloned()
        .collect()
}
