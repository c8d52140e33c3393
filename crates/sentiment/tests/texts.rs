//! Texts that general lexicons get wrong, and what must be read from them.

use event::{Label, LangSource, Modality, Role, Score};
use sentiment::{Input, Scratch};
use stage::SCORER;

mod stage;

fn score(body: &str, lang: Option<&str>) -> Score {
    stage::heard(body, lang, Modality::Text, &mut Scratch::default())
}

#[track_caller]
fn is(label: Label, lang: &str, body: &str) -> Score {
    let score = score(body, Some(lang));
    assert_eq!(score.label, label, "{body}: {score:#?}");
    score
}

#[test]
fn formulae_are_unscored() {
    for body in ["Kind regards", "Best regards, John", "Dear customer service"] {
        is(Label::Unscored, "en", body);
    }
    for body in ["Met vriendelijke groet", "Beste klantenservice"] {
        is(Label::Unscored, "nl", body);
    }
    let score = is(Label::Unscored, "it", "Gentile cliente");
    assert_eq!((score.score, score.confidence), (None, None));
    assert_eq!(score.abstain_reason.as_deref(), Some("no_hit"));
    assert_ne!(score_of("en", "Please help me").label, Label::Positive);
}

fn score_of(lang: &str, body: &str) -> Score {
    score(body, Some(lang))
}

#[test]
fn english() {
    let waiting = is(
        Label::Negative,
        "en",
        "I have been waiting for three weeks and nobody answers",
    );
    assert!(waiting.signals["complaint"] >= 0.6, "{waiting:#?}");
    is(Label::Negative, "en", "my internet is down since monday");
    let ironic = is(Label::Negative, "en", "great, another outage :)");
    assert!(ironic.confidence < waiting.confidence, "irony is low in confidence");
    assert!(ironic.mixed);
    is(Label::Positive, "en", "The staff were really friendly and helpful");
    is(Label::Negative, "en", "The food was not good at all");
    is(Label::Positive, "en", "slow at first, but the support was excellent");
    is(
        Label::Negative,
        "en",
        "Best regards apart, this is the worst service ever",
    );
}

#[test]
fn dutch() {
    is(Label::Negative, "nl", "Het werkt nog steeds niet");
    is(Label::Positive, "nl", "superblij");
    is(Label::Negative, "nl", "klantonvriendelijk");
    is(Label::Positive, "nl", "niet slecht");
    is(Label::Negative, "nl", "laat te wensen over");
    let resolved = score_of("nl", "de storing is opgelost");
    assert_ne!(resolved.label, Label::Negative, "{resolved:#?}");
    assert!(resolved.signals["resolved"] >= 0.7);
    assert!(
        is(
            Label::Negative,
            "nl",
            "Ik wil mijn abonnement opzeggen, al drie weken storing"
        )
        .signals["churn_intent"]
            > 0.7
    );
}

#[test]
fn italian() {
    is(Label::Negative, "it", "non è per niente buono");
    is(Label::Negative, "it", "poco chiaro");
    assert!(is(Label::Negative, "it", "voglio disdire il contratto").signals["churn_intent"] > 0.7);
    is(Label::Negative, "it", "aspetto da tre settimane");
    let once = is(Label::Negative, "it", "non funziona niente");
    let flips = once
        .evidence
        .iter()
        .filter(|evidence| evidence.rule == "negated")
        .count();
    assert_eq!(flips, 1, "{once:#?}");
    is(Label::Positive, "it", "bellissimo!");
    is(Label::Positive, "it", "l'assistenza è stata gentilissima e veloce");
}

#[test]
fn evidence_points_into_the_text_and_quotes_the_lexicon_only() {
    let body = "Hallo, het is NIET LEUK meer 😡";
    let score = is(Label::Negative, "nl", body);
    let shown: Vec<(&str, &str, &str)> = score
        .evidence
        .iter()
        .map(|hit| {
            let place = &body[hit.start as usize..hit.end as usize];
            (place, hit.rule.as_str(), hit.entry.as_deref().unwrap_or_default())
        })
        .collect();
    let expected = [
        ("LEUK", "complaint", "leuk"),
        ("LEUK", "negated", "leuk"),
        ("😡", "emoji", "😡"),
    ];
    assert_eq!(shown, expected);
    assert!(score.model_version.starts_with("2+"));
}

#[test]
fn who_speaks_in_which_way_and_language_decides() {
    let mut scratch = Scratch::default();
    let mut input = Input {
        body: "this is terrible, nobody answers the phone",
        role: Role::Customer,
        modality: Modality::Text,
        ..Input::default()
    };
    let detected = SCORER.score(&input, &mut scratch).expect("scored");
    assert_eq!(
        (detected.lang.as_deref(), detected.lang_source),
        (Some("en"), LangSource::Detect)
    );
    assert_eq!(detected.label, Label::Negative);
    input.modality = Modality::Transcript;
    input.asr_confidence = Some(0.5);
    let heard = SCORER.score(&input, &mut scratch).expect("scored");
    assert!(heard.confidence < detected.confidence);
    input.asr_confidence = Some(0.1);
    assert_eq!(
        SCORER
            .score(&input, &mut scratch)
            .expect("read")
            .abstain_reason
            .as_deref(),
        Some("transcript_poor")
    );
    for role in [Role::Agent, Role::Bot, Role::System] {
        input.role = role;
        assert!(
            SCORER.score(&input, &mut scratch).is_none(),
            "{role}: only customers are scored"
        );
    }
    let unknown = score("vad roligt att det fungerar", Some("sv"));
    assert_eq!(unknown.abstain_reason.as_deref(), Some("language_unsupported"));
    assert_eq!(unknown.lang.as_deref(), Some("sv"));
    let short = score("ok 👍", None);
    assert_eq!(
        (short.label, short.lang),
        (Label::Positive, None),
        "of an unknown language only emoji count"
    );
    assert_eq!(score("  ", Some("en")).abstain_reason.as_deref(), Some("too_short"));
    let long = score(&"good ".repeat(10_000), Some("en"));
    assert!(long.truncated);
}

#[test]
fn what_is_experimental_says_so() {
    let version = |lang| score("Buongiorno", Some(lang)).model_version;
    assert!(version("it").starts_with("2-experimental+"), "{}", version("it"));
    assert!(version("nl").starts_with("2+"), "{}", version("nl"));
}

#[test]
fn buffers_that_were_used_change_no_score() {
    let mut used = Scratch::default();
    for body in [
        "waardeloos!!",
        "prima, maar te duur",
        "> quoted",
        "",
        "NIET goed :-( :)",
    ] {
        let again = stage::heard(body, Some("nl"), Modality::Text, &mut used);
        assert_eq!(again, score(body, Some("nl")));
    }
}
