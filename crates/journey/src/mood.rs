//! What the customer's texts say: means, trend, runs of negative texts. Neutral counts as 0; unscored stays out of every mean.

use event::{Event, EventRef, Label, Millis, Role, SentimentState, TrendLabel};

use crate::Texts;

const DAY: f64 = 86_400_000.0;
/// After this many days a text counts half.
const HALF_LIFE_DAYS: f64 = 14.0;

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
        if texts.first.len() < 3 {
            texts.first.push(score);
        }
        texts.last.push(score);
        if texts.last.len() > 3 {
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
}
