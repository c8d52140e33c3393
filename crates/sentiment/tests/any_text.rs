//! Whatever a customer sends, scoring ends and its figures hold.

use event::{Label, Modality, Role};
use proptest::prelude::*;
use sentiment::{Input, Scorer, Scratch};

static SCORER: std::sync::LazyLock<Scorer> = std::sync::LazyLock::new(Scorer::new);

proptest! {
    #[test]
    fn figures_hold_for_any_text(
        body in "(\\PC|[a-z]{1,8} |niet |non |good |slecht |'|’|@|www\\.|:\\)|\n|> |-- |[0-9]{1,3} |😡){0,40}",
        lang in prop::option::of(prop::sample::select(vec!["en", "nl", "it", "de", "fr", "es", "xx-YY", ""])),
        transcript in any::<bool>(),
    ) {
        let modality = if transcript { Modality::Transcript } else { Modality::Text };
        let input = Input { body: &body, lang, role: Role::Customer, modality, asr_confidence: None };
        let score = SCORER.score(&input, &mut Scratch::default()).expect("customers are scored");
        prop_assert_eq!(score.score.is_some(), score.label != Label::Unscored);
        prop_assert_eq!(score.score.is_none(), score.abstain_reason.is_some());
        prop_assert!(score.score.is_none_or(|score| (-1.0..=1.0).contains(&score)));
        prop_assert!(score.confidence.is_none_or(|confidence| (0.0..=1.0).contains(&confidence)));
        prop_assert!((0.0..=1.0).contains(&score.coverage));
        prop_assert!(score.signals.values().all(|strength| (0.0..=1.0).contains(strength)));
        for hit in &score.evidence {
            prop_assert!(body.get(hit.start as usize..hit.end as usize).is_some(), "evidence stands on characters");
        }
    }
}
