//! Which language a customer writes in, as far as hints and detection have told, and which texts are read again in it.

use std::{collections::BTreeMap, fmt};

use event::{Event, Role, Score};

use crate::Journey;

/// Languages that are counted of one customer; a further one takes one vote from each (Misra and Gries, 1982), so a language with more
/// than a ninth of the votes is always among them.
const LANGUAGES: usize = 8;
/// Votes after which all are halved, so that a customer may change languages.
const FULL: i32 = 64;
/// A majority is settled from so many votes on.
const VOTES: i32 = 3;

/// How often each language was told by a hint or by detection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Languages {
    /// Votes by code.
    pub votes: BTreeMap<String, i32>,
    /// All votes, those for languages that are not counted included.
    pub total: i32,
}

impl Languages {
    /// The language that at least two thirds of at least three votes are for.
    #[must_use]
    pub fn settled(&self) -> Option<&str> {
        let (language, votes) = self.votes.iter().max_by_key(|(_, votes)| **votes)?;
        (self.total >= VOTES && votes * 3 >= self.total * 2).then_some(language.as_str())
    }

    /// Takes a vote.
    pub(crate) fn vote(&mut self, language: &str) {
        self.add(language, 1);
        self.shrink();
    }

    /// Joins the votes of two journeys of one customer; which one is older does not matter.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        // Those that are not counted stay in the sum, so that no majority is claimed that there is not.
        let counted: i32 = other.votes.values().sum();
        for (language, votes) in &other.votes {
            self.add(language, *votes);
        }
        self.total += other.total - counted;
        self.shrink();
        self
    }

    /// Takes another journey's votes out again, as far as they still count.
    pub(crate) fn take_out(&mut self, other: &Self) {
        for (language, votes) in &other.votes {
            let Some(mine) = self.votes.get_mut(language) else {
                continue;
            };
            let gone = (*votes).min(*mine);
            *mine -= gone;
            self.total -= gone;
        }
        self.votes.retain(|_, votes| *votes > 0);
    }

    fn add(&mut self, language: &str, votes: i32) {
        self.total += votes;
        if let Some(known) = self.votes.get_mut(language) {
            *known += votes;
            return;
        }
        self.votes.insert(language.to_owned(), votes);
        if self.votes.len() > LANGUAGES {
            let least = self.votes.values().copied().min().unwrap_or_default();
            self.votes.values_mut().for_each(|votes| *votes -= least);
            self.votes.retain(|_, votes| *votes > 0);
        }
    }

    fn shrink(&mut self) {
        while self.total >= FULL {
            self.total /= 2;
            self.votes.values_mut().for_each(|votes| *votes /= 2);
            self.votes.retain(|_, votes| *votes > 0);
        }
    }
}

/// Reads a text again in another language than intake did: the same function with the journey's language for a hint.
pub trait ReadAgain: fmt::Debug + Send + Sync {
    /// What the event's text reads as in `language`; `None` where there is nothing to read.
    fn read(&self, event: &Event, language: &str) -> Option<Score>;
}

/// Whether a text of the customer was scored on this event, so that its language tells something.
fn is_heard(event: &Event) -> bool {
    let by_customer = |text: &event::Text| matches!(text.role, Role::Customer | Role::Unknown);
    event.sentiment.is_some() && event.text.as_ref().is_some_and(by_customer)
}

/// The language that a hint names, as the scorer understands it.
fn hint(event: &Event) -> Option<&str> {
    let primary = event.text.as_ref()?.lang.as_deref()?.split(['-', '_']).next()?;
    (matches!(primary.len(), 2 | 3) && primary.is_ascii() && !primary.eq_ignore_ascii_case("und")).then_some(primary)
}

/// The language that an event's text should be read again in: the settled majority, where no hint names one and detection found none or
/// another. `None` too where the text has not been kept.
pub(crate) fn doubted<'a>(journey: &'a Journey, event: &Event) -> Option<&'a str> {
    if !is_heard(event) || hint(event).is_some() || event.text.as_ref().is_none_or(|text| text.body.is_empty()) {
        return None;
    }
    let told = event.sentiment.as_ref().and_then(|sentiment| sentiment.lang.as_deref());
    journey.languages.settled().filter(|settled| Some(*settled) != told)
}

/// Counts what intake was told of the text's language. What was read again says nothing new.
pub(crate) fn count(journey: &mut Journey, event: &Event) {
    if !is_heard(event) {
        return;
    }
    let told = event.sentiment.as_ref().and_then(|sentiment| sentiment.lang.as_deref());
    if let Some(told) = told.filter(|told| !told.is_empty() && *told != "und") {
        journey.languages.vote(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(votes: &[&str]) -> Languages {
        let mut languages = Languages::default();
        votes.iter().for_each(|vote| languages.vote(vote));
        languages
    }

    #[test]
    fn three_votes_and_two_thirds_settle_it() {
        let check = |votes: &[&str], expected: Option<&str>| assert_eq!(of(votes).settled(), expected, "{votes:?}");
        check(&[], None);
        check(&["nl", "nl"], None);
        check(&["nl", "nl", "nl"], Some("nl"));
        check(&["nl", "en", "nl"], Some("nl"));
        check(&["nl", "en", "nl", "en"], None);
        check(&["nl", "en", "it"], None);
        check(&["nl", "en", "nl", "en", "nl", "nl"], Some("nl"));
    }

    #[test]
    fn space_is_constant_and_habits_may_change() {
        let many: Vec<String> = (0..1000).map(|index| format!("x{}", index % 40)).collect();
        let many = of(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(many.votes.len() <= LANGUAGES && many.total < FULL, "{many:?}");
        assert_eq!(many.settled(), None);
        let mut changing = of(&["nl"; 500]);
        assert_eq!(changing.settled(), Some("nl"));
        (0..200).for_each(|_| changing.vote("en"));
        assert_eq!(changing.settled(), Some("en"));
    }

    #[test]
    fn merging_is_counting_what_both_heard() {
        let all = ["nl", "en", "nl", "nl", "it", "nl", "nl"];
        for cut in 0..=all.len() {
            let (one, two) = (of(&all[..cut]), of(&all[cut..]));
            assert_eq!(one.clone().merge(two.clone()), of(&all));
            assert_eq!(two.merge(one), of(&all));
        }
        let crowd: Vec<String> = (0..20).map(|index| format!("y{index}")).collect();
        let crowd = of(&crowd.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(
            of(&["nl"; 3]).merge(crowd).settled(),
            None,
            "votes that were dropped still count against"
        );
    }
}
