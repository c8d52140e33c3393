//! What the customer's texts say: means, trend, runs of negative texts. Neutral counts as 0; unscored stays out of every mean.

use event::{Event, EventRef, Label, Millis, Role, SentimentState, TrendLabel};

use crate::Texts;

const DAY: f64 = 86_400_000.0;
/// After this many days a text counts half.
const HALF_LIFE_DAYS: f64 = 14.0;
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
        if texts.first.len() < KEPT {
            texts.first.push(score);
        }
        texts.last.push(score);
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
    /// sum brought forward to the later side's time first; the run of negative texts and the last label are the later side's. The
    /// first and last scores are taken as if the older side had ended before the later one began, which is so when an anonymous
    /// journey is handed over; where they overlap, times of single scores are not kept and the order inside the six is approximate.
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
        let (mut first, mut last) = (older.first, older.last);
        first.extend(&merged.first);
        first.truncate(KEPT);
        last.extend(&merged.last);
        last.drain(..last.len().saturating_sub(KEPT));
        (merged.first, merged.last) = (first, last);
        for (name, strength) in older.signals {
            let known = merged.signals.entry(name).or_default();
            *known = known.max(strength);
        }
        merged.last_negative = merged.last_negative.or(older.last_negative);
        if merged.n_scored == older.n_scored {
            // Nothing of the later side was scored: what stands last is the older side's.
            (merged.label, merged.negative_run) = (older.label, older.negative_run);
        }
        merged
    }
}

fn decay(ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a span of days")]
    let days = ms.max(0) as f64 / DAY;
    0.5f64.powf(days / HALF_LIFE_DAYS)
}

fn mean(scores: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most three")]
    let n = scores.len() as f64;
    scores.iter().sum::<f64>() / n
}

/// (mean of the last three − mean of the first three) / 2 from six scored texts on, and its label.
fn trend(texts: &Texts) -> (Option<f64>, TrendLabel) {
    if texts.n_scored < 6 {
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

/// The published figures.
pub(crate) fn state(texts: &Texts) -> SentimentState {
    let (trend, trend_label) = trend(texts);
    SentimentState {
        label: texts.label,
        mean: (texts.n_scored > 0).then(|| texts.sum / f64::from(texts.n_scored)),
        ewma: (texts.n_scored > 0).then(|| texts.decayed_sum / texts.decayed_n),
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
