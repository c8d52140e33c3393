//! What a text asks for: complaint, churn intent, escalation, legal threat, urgency, profanity, resolved.

use event::Score;

use crate::{
    evidence,
    lexicon::{Found, Kind, Lexicon},
    rounded,
    tokens::Tokens,
};

/// Names that most signals keep their strength by when denied: *no complaints* is none.
const REACH: usize = 2;

/// Fills signals and their evidence. Two cues make a signal surer than one: 1 − Π(1 − strength).
pub fn read(tokens: &Tokens, found: &[Found], lexicon: &Lexicon, score: &mut Score) {
    for hit in found {
        let entry = lexicon.entry(hit.entry);
        let token = &tokens.words[hit.first];
        if !entry.kind.is_signal() || token.masked {
            continue;
        }
        let denied = matches!(
            entry.kind,
            Kind::Complaint | Kind::ChurnIntent | Kind::LegalThreat | Kind::Resolved
        ) && found.iter().any(|other| {
            lexicon.entry(other.entry).kind == Kind::Negator
                && other.last < hit.first
                && hit.first - other.last <= REACH
                && tokens.words[other.last].clause == token.clause
        });
        if denied {
            continue;
        }
        let strength = score.signals.entry(entry.kind.as_str().to_owned()).or_insert(0.0);
        *strength = rounded(1.0 - (1.0 - *strength) * (1.0 - entry.weight));
        let end = tokens.words[hit.last].end;
        let said = evidence(token.start, end, entry.weight, entry.kind.as_str(), Some(entry.term));
        score.evidence.push(said);
    }
}
