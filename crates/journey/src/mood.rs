//! What the customer's texts say: means, trend, runs of negative texts. Neutral counts as 0; unscored stays out of every mean.

use event::{Event, EventRef, Label, Millis, Role, SentimentState, TrendLabel};

use crate::{Scored, Texts};

const DAY: f64 = 86_400_000.0;
/// After this many days a text counts half.
const HALF_LIFE_DAYS: f64 = 14.0;
/// What is left of a decayed number once others were taken out of it may be no more than rounding.
const NOTHING: f64 = 1e-9;
/// First and last scores that are kept.
const KEPT: usize = 3;

/// Takes a customer's text; whether label or trend changed.
pub(crate) fn read(texts: &mut Texts, event: &Event, reference: &EventRef, now: Millis) -> bool {
    let Some(sentiment) = &event.sentiment else {
        return false;
    };
    if event
        .text
        .as_ref()
        .is_some_and(|text| !matches!(text.role, Role::Customer | Role::Unknown))
    {
        return false;
    }
    let before = (texts.label, trend(texts).1);
    texts.n_texts += 1;
    texts.updated_at = Some(now);
    for signal in texts.signals.values_mut() {
        // What was said counts on, fading by a third with each further text.
        *signal = (*signal * 2.0 / 3.0 * 1000.0).round() / 1000.0;
    }
    texts.signals.retain(|_, strength| *strength >= 0.1);
    for (name, strength) in &sentiment.signals {
        let known = texts.signals.entry(name.clone()).or_default();
        *known = known.max(*strength);
    }
    if let Some(score) = sentiment.score {
        texts.n_scored += 1;
        texts.sum += score;
        let scored = Scored { at: now, score };
        if texts.first.len() < KEPT {
            texts.first.push(scored);
        }
        texts.last.push(scored);
        if texts.last.len() > KEPT {
            texts.last.remove(0);
        }
        let faded = texts.decayed_at.map_or(0.0, |at| decay(now.since(at)));
        texts.decayed_sum = texts.decayed_sum * faded + score;
        texts.decayed_n = texts.decayed_n * faded + 1.0;
        texts.decayed_at = Some(now);
        texts.worst = Some(texts.worst.map_or(score, |worst| worst.min(score)));
        texts.label = sentiment.label;
        if sentiment.label == Label::Negative {
            texts.negative_run += 1;
            texts.last_negative = Some(reference.clone());
        } else {
            texts.negative_run = 0;
        }
    }
    before != (texts.label, trend(texts).1)
}

impl Texts {
    /// Joins what two journeys of one customer said, at the hand-over of an identity. Counts and sums add, the older side's decayed
    /// sum brought forward to the later side's time first; the first and last scores merge by their times; the run of negative texts and
    /// the last label are those of the side that was scored last. So all but the run is what one journey would have come to, however the
    /// two overlap. Of two texts of one moment `other`'s is the later.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        // Without a text there is no time: `None` is the older. Of two of one time `other` is the later.
        let (older, later) = if self.updated_at > other.updated_at {
            (other, self)
        } else {
            (self, other)
        };
        let mut merged = later;
        let faded = match (older.decayed_at, merged.decayed_at) {
            (Some(from), Some(to)) => decay(to.since(from)),
            _ => 1.0,
        };
        // A side may have been brought forward further than the one that spoke last; then it is that one which fades.
        let behind = match (older.decayed_at, merged.decayed_at) {
            (Some(from), Some(to)) => decay(from.since(to)),
            _ => 1.0,
        };
        merged.decayed_sum = merged.decayed_sum * behind + older.decayed_sum * faded;
        merged.decayed_n = merged.decayed_n * behind + older.decayed_n * faded;
        merged.decayed_at = merged.decayed_at.max(older.decayed_at);
        merged.n_texts += older.n_texts;
        merged.n_scored += older.n_scored;
        merged.sum += older.sum;
        merged.worst = match (merged.worst, older.worst) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        // Which side was scored last, before their scores are put together.
        let scored_last = older.last.last().map(|scored| scored.at) > merged.last.last().map(|scored| scored.at);
        let (mut first, mut last) = (older.first, older.last);
        first.append(&mut merged.first);
        last.append(&mut merged.last);
        // Stable, so that of two at one moment the older side's comes first.
        first.sort_by_key(|scored| scored.at);
        last.sort_by_key(|scored| scored.at);
        first.truncate(KEPT);
        last.drain(..last.len().saturating_sub(KEPT));
        (merged.first, merged.last) = (first, last);
        for (name, strength) in older.signals {
            let known = merged.signals.entry(name).or_default();
            *known = known.max(strength);
        }
        if scored_last {
            // The later side's last text was not scored: what stands last is the older side's.
            merged.last_negative = older.last_negative.or(merged.last_negative);
            (merged.label, merged.negative_run) = (older.label, older.negative_run);
        } else {
            merged.last_negative = merged.last_negative.or(older.last_negative);
        }
        merged
    }
}

impl Texts {
    /// Takes out what `other`, which was merged into these, had said, when two journeys part. Counts and sums are what they would be
    /// without it. Of the first and last scores, the worst one and the run those remain that are known not to be `other`'s: the ones that
    /// its scores displaced were not kept.
    pub(crate) fn take_out(&mut self, other: &Self) {
        let is_whole = self.n_texts <= other.n_texts;
        if is_whole {
            *self = Self::default();
            return;
        }
        let ended_it = other.last.last().is_some_and(|last| self.last.last() == Some(last));
        self.n_texts -= other.n_texts;
        self.n_scored = (self.n_scored - other.n_scored).max(0);
        self.sum -= other.sum;
        let faded = match (other.decayed_at, self.decayed_at) {
            (Some(from), Some(to)) => decay(to.since(from)),
            _ => 1.0,
        };
        self.decayed_sum -= other.decayed_sum * faded;
        self.decayed_n = (self.decayed_n - other.decayed_n * faded).max(0.0);
        for (mine, theirs) in [(&mut self.first, &other.first), (&mut self.last, &other.last)] {
            mine.retain(|scored| !theirs.contains(scored));
        }
        self.signals
            .retain(|name, strength| other.signals.get(name) != Some(strength));
        if self.n_scored == 0 {
            (self.sum, self.decayed_sum, self.decayed_n, self.decayed_at) = (0.0, 0.0, 0.0, None);
            (self.worst, self.label, self.negative_run, self.last_negative) = (None, Label::default(), 0, None);
            return;
        }
        if self.worst == other.worst {
            let known = self.first.iter().chain(&self.last).map(|scored| scored.score);
            self.worst = known.reduce(f64::min);
        }
        if self.last_negative == other.last_negative {
            self.last_negative = None;
        }
        if ended_it {
            let negative = self.last.iter().rev().take_while(|scored| scored.score < 0.0).count();
            self.negative_run = i32::try_from(negative).unwrap_or(i32::MAX);
            self.label = match self.last.last().map(|scored| scored.score) {
                None => Label::default(),
                Some(score) if score < 0.0 => Label::Negative,
                Some(score) if score > 0.0 => Label::Positive,
                Some(_) => Label::Neutral,
            };
        }
        self.negative_run = self.negative_run.min(self.n_scored);
    }
}

fn decay(ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a span of days")]
    let days = ms.max(0) as f64 / DAY;
    0.5f64.powf(days / HALF_LIFE_DAYS)
}

fn mean(scores: &[Scored]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most three")]
    let n = scores.len() as f64;
    scores.iter().map(|scored| scored.score).sum::<f64>() / n
}

/// (mean of the last three − mean of the first three) / 2 from six scored texts on, and its label.
fn trend(texts: &Texts) -> (Option<f64>, TrendLabel) {
    // Two journeys that have parted may know fewer than three.
    if texts.n_scored < 6 || texts.first.len() < KEPT || texts.last.len() < KEPT {
        return (None, TrendLabel::Unknown);
    }
    let trend = (mean(&texts.last) - mean(&texts.first)) / 2.0;
    let label = match trend {
        t if t >= 0.55 => TrendLabel::Improving,
        t if t >= 0.20 => TrendLabel::SlightlyImproving,
        t if t <= -0.55 => TrendLabel::Declining,
        t if t <= -0.20 => TrendLabel::SlightlyDeclining,
        _ => TrendLabel::Steady,
    };
    (Some(trend), label)
}

/// A signal of at least this strength is strong.
const STRONG: f64 = 0.7;

/// Whether the mood has dipped: two negative texts in a row, or a strong signal that the customer turns to somebody else. One negative
/// text, and so one hit of a lexicon, is none.
pub(crate) fn is_dip(texts: &Texts) -> bool {
    let strength = |name: &str| texts.signals.get(name).copied().unwrap_or_default();
    texts.negative_run >= 2
        || ["churn_intent", "escalation", "legal_threat"]
            .into_iter()
            .any(|name| strength(name) >= STRONG)
}

/// The published figures.
pub(crate) fn state(texts: &Texts) -> SentimentState {
    let (trend, trend_label) = trend(texts);
    SentimentState {
        label: texts.label,
        mean: (texts.n_scored > 0).then(|| texts.sum / f64::from(texts.n_scored)),
        ewma: (texts.n_scored > 0 && texts.decayed_n > NOTHING).then(|| texts.decayed_sum / texts.decayed_n),
        trend,
        trend_label,
        worst: texts.worst,
        n_texts: texts.n_texts,
        n_scored: texts.n_scored,
        negative_run: texts.negative_run,
        signals: texts.signals.clone(),
        last_negative: texts.last_negative.clone(),
        updated_at: texts.updated_at,
    }
}

#[cfg(test)]
mod tests {
    use event::EventSentiment;

    use super::*;

    fn said(texts: &mut Texts, score: Option<f64>, at: i64) -> bool {
        let label = match score {
            None => Label::Unscored,
            Some(score) if score < -0.1 => Label::Negative,
            Some(score) if score > 0.1 => Label::Positive,
            Some(_) => Label::Neutral,
        };
        let sentiment = EventSentiment {
            label,
            score,
            ..EventSentiment::default()
        };
        let event = Event {
            sentiment: Some(sentiment),
            ..Event::default()
        };
        read(texts, &event, &EventRef::default(), Millis(at))
    }

    #[test]
    fn unscored_counts_as_text_alone_and_trends_need_six() {
        let mut texts = Texts::default();
        assert!(!said(&mut texts, None, 0));
        assert_eq!((state(&texts).n_texts, state(&texts).mean), (1, None));
        for score in [0.6, 0.6, 0.6, -0.6, -0.6] {
            said(&mut texts, Some(score), 1);
        }
        assert_eq!(state(&texts).trend_label, TrendLabel::Unknown);
        assert!(said(&mut texts, Some(-0.6), 2));
        let state = state(&texts);
        assert_eq!(
            (state.trend_label, state.negative_run, state.n_scored),
            (TrendLabel::Declining, 3, 6)
        );
        assert!(state.mean.is_some_and(|mean| mean.abs() < 1e-9));
    }

    #[test]
    fn two_negative_texts_or_a_strong_signal_are_a_dip_and_one_text_never() {
        let check = |scores: &[Option<f64>], signals: &[(&str, f64)], expected: bool| {
            let mut texts = Texts::default();
            for score in scores {
                said(&mut texts, *score, 0);
            }
            let pairs = signals.iter().map(|(name, strength)| ((*name).to_owned(), *strength));
            texts.signals.extend(pairs);
            assert_eq!(is_dip(&texts), expected, "{scores:?} {signals:?}");
        };
        check(&[], &[], false);
        check(&[Some(-1.0)], &[], false);
        check(&[Some(-0.3), Some(-0.3)], &[], true);
        check(&[Some(-0.9), Some(0.0), Some(-0.9)], &[], false);
        // What could not be scored breaks no run and makes none.
        check(&[Some(-0.9), None], &[], false);
        check(&[Some(-0.9), None, Some(-0.9)], &[], true);
        check(&[Some(-0.9)], &[("complaint", 0.95), ("profanity", 1.0)], false);
        for strong in ["churn_intent", "escalation", "legal_threat"] {
            check(&[None], &[(strong, 0.7)], true);
            check(&[None], &[(strong, 0.69)], false);
        }
    }

    #[test]
    fn a_text_counts_half_after_a_fortnight() {
        let mut texts = Texts::default();
        said(&mut texts, Some(-1.0), 0);
        said(&mut texts, Some(0.5), 14 * 86_400_000);
        assert_eq!(state(&texts).ewma, Some(0.0));
    }

    #[test]
    fn journeys_that_follow_each_other_merge_into_what_one_would_have_been() {
        let day = 86_400_000;
        let scores = [0.6, -0.4, 0.0, -0.7, -0.2, 0.5, -0.9, -0.3];
        for cut in 0..=scores.len() {
            let (mut whole, mut older, mut later) = (Texts::default(), Texts::default(), Texts::default());
            for (index, score) in scores.iter().enumerate() {
                let at = i64::try_from(index).expect("few") * 3 * day;
                said(&mut whole, Some(*score), at);
                said(if index < cut { &mut older } else { &mut later }, Some(*score), at);
            }
            for merged in [older.clone().merge(later.clone()), later.merge(older)] {
                let (found, expected) = (state(&merged), state(&whole));
                let near = |one: Option<f64>, two: Option<f64>| (one.unwrap_or(9.0) - two.unwrap_or(9.0)).abs() < 1e-9;
                assert!(
                    near(found.mean, expected.mean) && near(found.ewma, expected.ewma),
                    "cut {cut}"
                );
                assert!(
                    near(found.trend, expected.trend) && near(found.worst, expected.worst),
                    "cut {cut}"
                );
                assert_eq!(
                    (found.n_texts, found.n_scored, found.label),
                    (expected.n_texts, expected.n_scored, expected.label)
                );
                // The run is the later side's alone: it does not reach back over the hand-over.
                let reaches = scores[cut.min(7)..].iter().all(|score| *score < -0.1);
                assert!(
                    found.negative_run == expected.negative_run || reaches,
                    "cut {cut}: {}",
                    found.negative_run
                );
            }
        }
    }

    /// A few numbers, the same every time.
    fn dice(state: &mut u64, sides: u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % sides
    }

    #[test]
    fn journeys_that_overlap_merge_into_what_one_would_have_been_but_for_the_run() {
        let mut state = 7;
        for case in 0..3000 {
            let (mut whole, mut sides) = (Texts::default(), [Texts::default(), Texts::default()]);
            let mut at = 0;
            let mut last_side = None;
            for _ in 0..dice(&mut state, 14) {
                at += 1 + i64::try_from(dice(&mut state, 90_000_000)).expect("small");
                let side = usize::from(dice(&mut state, 2) == 1);
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let score = (dice(&mut state, 5) > 0).then(|| (dice(&mut state, 21) as f64 - 10.0) / 10.0);
                said(&mut whole, score, at);
                said(&mut sides[side], score, at);
                if score.is_some() {
                    last_side = Some(side);
                }
            }
            let [one, other] = sides.clone();
            for merged in [one.clone().merge(other.clone()), other.merge(one)] {
                let near = |one: Option<f64>, two: Option<f64>| match (one, two) {
                    (Some(one), Some(two)) => (one - two).abs() < 1e-9,
                    (one, two) => one == two,
                };
                let (found, expected) = (super::state(&merged), super::state(&whole));
                let figures = [
                    (found.mean, expected.mean),
                    (found.ewma, expected.ewma),
                    (found.trend, expected.trend),
                    (found.worst, expected.worst),
                ];
                assert!(
                    figures.iter().all(|(one, two)| near(*one, *two)),
                    "case {case}: {figures:?}"
                );
                assert_eq!(
                    (&merged.first, &merged.last),
                    (&whole.first, &whole.last),
                    "case {case}"
                );
                assert_eq!(
                    (
                        found.n_texts,
                        found.n_scored,
                        found.label,
                        found.trend_label,
                        found.updated_at
                    ),
                    (
                        expected.n_texts,
                        expected.n_scored,
                        expected.label,
                        expected.trend_label,
                        expected.updated_at
                    ),
                    "case {case}"
                );
                let run = last_side.map_or(0, |side| sides[side].negative_run);
                assert_eq!(found.negative_run, run, "case {case}: that of the side scored last");
            }
        }
    }

    #[test]
    fn sums_are_taken_apart_again_wherever_the_journeys_had_got_to() {
        let mut state = 11;
        for case in 0..2000 {
            let (mut own, mut other, mut at) = (Texts::default(), Texts::default(), 0);
            let mut say = |texts: &mut [&mut Texts], state: &mut u64| {
                at += 1 + i64::try_from(dice(state, 90_000_000)).expect("small");
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let score = (dice(state, 5) > 0).then(|| (dice(state, 21) as f64 - 10.0) / 10.0);
                for texts in texts {
                    said(texts, score, at);
                }
            };
            for _ in 0..dice(&mut state, 6) {
                let side = if dice(&mut state, 2) == 0 { &mut own } else { &mut other };
                say(&mut [side], &mut state);
            }
            let mut both = own.clone().merge(other.clone());
            for _ in 0..dice(&mut state, 6) {
                say(&mut [&mut own, &mut both], &mut state);
            }
            both.take_out(&other);
            let (found, expected) = (super::state(&both), super::state(&own));
            assert_eq!(
                (found.n_texts, found.n_scored),
                (expected.n_texts, expected.n_scored),
                "case {case}"
            );
            for (one, two) in [(found.mean, expected.mean), (found.ewma, expected.ewma)] {
                let is_near = match (one, two) {
                    (Some(one), Some(two)) => (one - two).abs() < 1e-6,
                    (one, two) => one == two,
                };
                assert!(is_near, "case {case}: {found:?} {expected:?}");
            }
            // The worst one known is one that was said, and no text of the other's is among the first and last.
            assert!(
                found
                    .worst
                    .is_none_or(|worst| expected.worst.is_some_and(|all| all <= worst)),
                "case {case}"
            );
            let is_own = |scored: &Scored| !other.first.contains(scored) && !other.last.contains(scored);
            assert!(both.first.iter().chain(&both.last).all(is_own), "case {case}");
        }
    }

    #[test]
    fn a_side_without_scores_changes_no_figure() {
        let mut spoke = Texts::default();
        said(&mut spoke, Some(-0.8), 5);
        let mut silent = Texts::default();
        said(&mut silent, None, 9);
        let merged = state(&spoke.clone().merge(silent.clone()));
        assert_eq!(
            (merged.n_texts, merged.n_scored, merged.negative_run, merged.mean),
            (2, 1, 1, Some(-0.8))
        );
        assert_eq!(state(&silent.merge(spoke)).label, Label::Negative);
        assert_eq!(Texts::default().merge(Texts::default()), Texts::default());
    }
}
