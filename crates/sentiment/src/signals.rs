//! What a text asks for: complaint, churn intent, escalation, legal threat, urgency, profanity, resolved.

use crate::{
    lexicon::{Found, Kind, Lexicon},
    polarity::Said,
    tokens::Tokens,
};

/// The signals, in the order of their strengths.
pub const SIGNALS: [Kind; 7] = [
    Kind::ChurnIntent,
    Kind::Complaint,
    Kind::Escalation,
    Kind::LegalThreat,
    Kind::Profanity,
    Kind::Resolved,
    Kind::Urgency,
];

/// The strength of each signal, 0 to 1.
pub type Strengths = [f64; SIGNALS.len()];

/// Most signals lose their strength when they are denied so near: *no complaints* is none.
const REACH: u32 = 2;

/// Reads the signals and their evidence. Two cues make a signal surer than one: 1 − Π(1 − strength).
pub fn read(tokens: &Tokens, found: &[Found], lexicon: &Lexicon, said: &mut Vec<Said>) -> Strengths {
    let mut strengths = Strengths::default();
    for hit in found {
        let entry = lexicon.entry(hit.entry);
        let Some(signal) = SIGNALS.iter().position(|kind| *kind == entry.kind) else {
            continue;
        };
        let token = &tokens.words[hit.first as usize];
        if token.masked || is_denied(tokens, found, lexicon, hit) {
            continue;
        }
        strengths[signal] = 1.0 - (1.0 - strengths[signal]) * (1.0 - entry.weight);
        let end = tokens.words[hit.last as usize].end;
        said.push(Said {
            start: token.start,
            end,
            weight: entry.weight,
            rule: entry.kind.as_str(),
            entry: hit.entry,
            emoji: false,
        });
    }
    strengths
}

/// Whether a negator stands right before a cue, in its clause.
fn is_denied(tokens: &Tokens, found: &[Found], lexicon: &Lexicon, hit: &Found) -> bool {
    let kind = lexicon.entry(hit.entry).kind;
    let deniable = matches!(
        kind,
        Kind::Complaint | Kind::ChurnIntent | Kind::LegalThreat | Kind::Resolved
    );
    let clause = tokens.words[hit.first as usize].clause;
    let denies = |other: &Found| {
        lexicon.entry(other.entry).kind == Kind::Negator
            && other.last < hit.first
            && hit.first - other.last <= REACH
            && tokens.words[other.last as usize].clause == clause
    };
    deniable && found.iter().any(denies)
}
