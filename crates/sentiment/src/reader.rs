//! All tiers together: what a text reads as, first by lexicon or linear model, then by a transformer where one is asked.

use event::{Event, Label, Modality, Role, Score, Tier};

use crate::{
    Input, Scorer, Scratch,
    measure::{Answer, Labelled},
    scorer::cut,
    transformer::{self, Transformer},
};

/// Reads texts by everything that is configured.
#[derive(Default)]
pub struct Reader {
    /// Lexicon, rules and linear models.
    pub scorer: Scorer,
    /// For what they are not sure of.
    pub transformer: Option<Transformer>,
}

/// What names an event within its deployment, and so decides whether its text is sampled: whoever reads a text again must give the same.
#[must_use]
pub fn id_of(event: &Event) -> String {
    format!("{} {}", event.source, event.id)
}

impl From<Scorer> for Reader {
    fn from(scorer: Scorer) -> Self {
        Self {
            scorer,
            transformer: None,
        }
    }
}

impl Reader {
    /// Scores a customer's text as [`Scorer::score`] does, and again by the transformer if the text reaches it. `id` names the event within
    /// its deployment, as [`id_of`] does.
    #[must_use]
    pub fn score(&self, input: &Input<'_>, id: &str, scratch: &mut Scratch) -> Option<Score> {
        let mut score = self.scorer.score(input, scratch)?;
        if let Some(transformer) = &self.transformer
            && transformer::reaches(transformer.settings(), &score, id)
        {
            let heard = match input.modality {
                Modality::Transcript => input.asr_confidence.unwrap_or(1.0),
                _ => 1.0,
            };
            let (body, _) = cut(input.body);
            transformer.refine(body, heard, &mut score);
        }
        Some(score)
    }

    /// What the transformer claims of a labelled text, as [`Transformer::claim`] does, if the text reaches it.
    ///
    /// # Errors
    /// If the model fails on the text.
    pub fn claim(&self, lang: &str, text: &Labelled, scratch: &mut Scratch) -> Result<Option<(Label, f64)>, String> {
        let input = labelled(lang, text);
        let (Some(transformer), Some(score)) = (&self.transformer, self.scorer.score(&input, scratch)) else {
            return Ok(None);
        };
        if !transformer::reaches(transformer.settings(), &score, &text.text) {
            return Ok(None);
        }
        transformer.claim(cut(input.body).0).map(Some)
    }

    /// Kind and version of each model that may read a language.
    #[must_use]
    pub fn models_of(&self, lang: &str) -> Vec<(Tier, &str)> {
        let mut models = vec![(self.scorer.tier_of(lang), self.scorer.version_of(lang))];
        let second = self.transformer.as_ref();
        let second = second.filter(|model| model.settings().languages.iter().any(|known| known == lang));
        models.extend(second.map(|model| (Tier::Transformer, model.version())));
        models
    }

    /// What is said of a labelled text, and by which kind of model. Such a text has no event; where ids are sampled, the text stands for its id.
    #[must_use]
    pub fn answer(&self, lang: &str, text: &Labelled, scratch: &mut Scratch) -> (Answer, Tier) {
        let score = self.score(&labelled(lang, text), &text.text, scratch);
        let answer = Answer {
            truth: text.label,
            found: score.as_ref().map_or(Label::Unscored, |score| score.label),
            score: score.as_ref().and_then(|score| score.score),
            confidence: score.as_ref().and_then(|score| score.confidence),
        };
        (answer, score.map_or(Tier::Unknown, |score| score.tier))
    }
}

/// A labelled text as a customer's.
fn labelled<'a>(lang: &'a str, text: &'a Labelled) -> Input<'a> {
    Input {
        body: &text.text,
        lang: Some(lang),
        role: Role::Customer,
        modality: Modality::Text,
        asr_confidence: None,
    }
}
