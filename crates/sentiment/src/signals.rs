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

/// So many words before a cue a negator of its clause denies it: *no complaints* is none. Verbs stand further away, auxiliaries and what is
/// wanted between: *do not want to cancel*, *non è ancora stato risolto*. Whom somebody asks for and how they swear is not denied.
fn reach(kind: Kind) -> u32 {
    match kind {
        Kind::Complaint | Kind::LegalThreat | Kind::Urgency => 2,
        Kind::ChurnIntent => 3,
        Kind::Resolved => 4,
        _ => 0,
    }
}

/// Words of the longest negator.
const LONGEST: u32 = 4;

/// The rule of what went wrong and is over.
pub const SETTLED: &str = "resolved";

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
    let felt = said.len();
    let told = said.iter().find(failing).copied().filter(|_| negative);
    for (index, hit) in found.iter().enumerate() {
        let entry = lexicon.entry(hit.entry);
        let Some(signal) = SIGNALS.iter().position(|kind| *kind == entry.kind) else {
            continue;
        };
        let (token, before) = (&tokens.words[hit.first as usize], &found[..index]);
        if token.masked || !is_meant(tokens, before, lexicon, hit) || is_part(before, lexicon, hit) {
            continue;
        }
        let end = tokens.words[hit.last as usize].end;
        let is_over = |said: &Said| said.rule == SETTLED && said.start < end && token.start < said.end;
        if entry.kind == Kind::Complaint && said[..felt].iter().any(is_over) {
            continue;
        }
        strengths[signal] = 1.0 - (1.0 - strengths[signal]) * (1.0 - entry.weight);
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

/// Whether a cue says what it seems to: neither denied nor, where something is said to be resolved, asked. `before` is what was found before it.
pub fn is_meant(tokens: &Tokens, before: &[Found], lexicon: &Lexicon, hit: &Found) -> bool {
    let kind = lexicon.entry(hit.entry).kind;
    let word = &tokens.words[hit.first as usize];
    if kind == Kind::Resolved && tokens.asking.contains(&word.sentence) {
        return false;
    }
    let reach = reach(kind);
    // What is found stands in the order of its first words.
    let near = before
        .iter()
        .rev()
        .take_while(|other| reach > 0 && other.first + reach + LONGEST >= hit.first)
        .filter(|other| other.last < hit.first && tokens.words[other.last as usize].clause == word.clause);
    for other in near {
        match lexicon.entry(other.entry).kind {
            // Not cheap but urgent.
            Kind::Contrast => return true,
            Kind::Negator if hit.first - other.last <= reach => return false,
            _ => {}
        }
    }
    true
}

/// Whether a cue is a part of a phrase that means something else: *account manager*. A curse stays one.
fn is_part(before: &[Found], lexicon: &Lexicon, hit: &Found) -> bool {
    let holds = |other: &Found| {
        other.last >= hit.last
            && other.last - other.first > hit.last - hit.first
            && lexicon.entry(other.entry).kind == Kind::Plain
    };
    lexicon.entry(hit.entry).kind != Kind::Profanity
        && before
            .iter()
            .rev()
            .take_while(|other| other.first + lexicon.longest() >= hit.first)
            .any(holds)
}
