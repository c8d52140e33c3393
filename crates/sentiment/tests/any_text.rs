//! Whatever a customer sends, scoring ends and its figures hold.

use event::{Label, Modality};
use proptest::prelude::*;
use sentiment::Scratch;

mod stage;

fn holds(body: &str, lang: Option<&str>, modality: Modality, scratch: &mut Scratch) {
    let score = stage::heard(body, lang, modality, scratch);
    assert_eq!(score.score.is_some(), score.label != Label::Unscored);
    for hit in &score.evidence {
        assert!(
            body.get(hit.start as usize..hit.end as usize)
                .is_some_and(|place| !place.is_empty()),
            "evidence stands on characters: {hit:?}"
        );
    }
}

#[test]
fn extreme_texts_end() {
    let mut scratch = Scratch::default();
    let parts = [
        "!",
        "?!",
        "(",
        ":)",
        ":",
        "good ",
        "not ",
        "but bad. ",
        "o",
        "ä",
        "aab",
        "a'",
        "\u{200b}",
        "\u{202e}bad\u{202c} ",
        "\u{fe0f}",
        "👩‍👩‍👧‍👦",
        "🇳🇱",
        "👍🏽",
        "\\u2019",
        "@",
        "@a ",
        "http",
        "www.",
        "> ",
        "-- ",
        "\n",
        "regards\n",
        "wrote:\n",
        "سيء جدا ",
        "坏",
        "e\u{301}",
        "no complaints ",
        "is down is fixed ",
        "superkut",
        "too too ",
        "#",
        "1",
        ". ",
        "Bad Blood ",
    ];
    for part in parts {
        let long = part.repeat(1_000_000 / part.len());
        for lang in [Some("en"), Some("nl"), Some("it"), Some("de"), None] {
            for modality in [Modality::Text, Modality::Transcript] {
                holds(
                    &long[..long.len().min(20_000 / part.len() * part.len())],
                    lang,
                    modality,
                    &mut scratch,
                );
            }
        }
        holds(&long, Some("de"), Modality::Text, &mut scratch);
    }
    holds(
        &format!("terrible{}", "!".repeat(10_000)),
        Some("en"),
        Modality::Text,
        &mut scratch,
    );
}

proptest! {
    #[test]
    fn bytes_of_any_kind_end(bytes in prop::collection::vec(any::<u8>(), 0..400), lang in prop::sample::select(vec!["en", "nl", "it", "de", "fr", "es"])) {
        holds(&String::from_utf8_lossy(&bytes), Some(lang), Modality::Text, &mut Scratch::default());
    }

    #[test]
    fn figures_hold_for_any_text(
        body in "(\\PC|[a-z]{1,8} |niet |non |good |slecht |'|’|@|www\\.|:\\)|\n|> |-- |[0-9]{1,3} |😡){0,40}",
        lang in prop::option::of(prop::sample::select(vec!["en", "nl", "it", "de", "fr", "es", "xx-YY", ""])),
        transcript in any::<bool>(),
    ) {
        let modality = if transcript { Modality::Transcript } else { Modality::Text };
        let score = stage::heard(&body, lang, modality, &mut Scratch::default());
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
