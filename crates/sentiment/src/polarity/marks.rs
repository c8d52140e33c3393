//! Emoji and emoticons.

use super::{Said, Sentence, Sums};
use crate::{lexicon::Lexicon, tokens::Tokens};

/// Emoji and emoticons. Negation leaves them alone; beside an event a good one does not count. Returns whether one was muted so.
pub fn marks(
    body: &str,
    tokens: &Tokens,
    emoji: &Lexicon,
    sentences: &[Sentence],
    sums: &mut Sums,
    said: &mut Vec<Said>,
) -> bool {
    let mut muted = false;
    let mut until = 0;
    for (start, sentence) in &tokens.marks {
        if *start < until {
            continue;
        }
        let Some((entry, length)) = emoji.mark(&body[*start as usize..]) else {
            continue;
        };
        until = start + u32::try_from(length).unwrap_or(u32::MAX);
        let weight = emoji.entry(entry).weight;
        let event = sentences.get(*sentence as usize).is_some_and(|sentence| sentence.event);
        let (weight, rule) = if weight > 0.0 && event {
            muted = true;
            (0.0, "muted")
        } else {
            (weight, "emoji")
        };
        sums.add(weight);
        said.push(Said {
            start: *start,
            end: until,
            weight,
            rule,
            entry,
            emoji: true,
        });
    }
    muted
}
