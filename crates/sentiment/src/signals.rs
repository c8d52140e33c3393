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
/// Words of the longest negator.
const LONGEST: u32 = 4;

/// What a failing that is told says of a complaint: two of three are one. By itself that is too little for a journey to take it
/// for a complaint that was filed.
const TOLD: f64 = 0.4;

/// Reads the signals and their evidence. Two cues make a signal surer than one: 1 − Π(1 − strength). `said` holds what polarity
/// was read from; a negative text that tells of something that failed, was missing or was too much is a complaint, unless its
/// author only wants to leave.
pub fn read(tokens: &Tokens, found: &[Found], lexicon: &Lexicon, negative: bool, said: &mut Vec<Said>) -> Strengths {
    let mut strengths = Strengths::default();
    let failing =
        |hit: &&Said| hit.weight < 0.0 && matches!(hit.rule, "event" | "negated" | "denial" | "too" | "idiom");
    let told = said.iter().find(failing).copied().filter(|_| negative);
    for (index, hit) in found.iter().enumerate() {
        let entry = lexicon.entry(hit.entry);
        let Some(signal) = SIGNALS.iter().position(|kind| *kind == entry.kind) else {
            continue;
        };
        let token = &tokens.words[hit.first as usize];
        if token.masked || is_denied(tokens, &found[..index], lexicon, hit) {
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
    let [churn, complaint] = [0, 1];
    debug_assert!(SIGNALS[churn] == Kind::ChurnIntent && SIGNALS[complaint] == Kind::Complaint);
    if let Some(hit) = told.filter(|_| strengths[churn] == 0.0) {
        strengths[complaint] = 1.0 - (1.0 - strengths[complaint]) * (1.0 - TOLD);
        said.push(Said {
            weight: TOLD,
            rule: Kind::Complaint.as_str(),
            ..hit
        });
    }
    strengths
}

/// Whether a negator stands right before a cue, in its clause.
fn is_denied(tokens: &Tokens, before: &[Found], lexicon: &Lexicon, hit: &Found) -> bool {
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
    // What is found stands in the order of its first words.
    let near = |other: &&Found| other.first + REACH + LONGEST >= hit.first;
    deniable && before.iter().rev().take_while(near).any(denies)
}
