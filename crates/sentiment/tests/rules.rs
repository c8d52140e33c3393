//! Each rule of each language on texts of its own; general lexicons get most of them wrong.

use event::{Label, Modality, Role, Score};
use sentiment::{Input, Scorer, Scratch};

static SCORER: std::sync::LazyLock<Scorer> = std::sync::LazyLock::new(Scorer::new);

fn heard(body: &str, lang: &str, modality: Modality) -> Score {
    let input = Input {
        body,
        lang: Some(lang),
        role: Role::Customer,
        modality,
        asr_confidence: None,
    };
    SCORER
        .score(&input, &mut Scratch::default())
        .expect("a customer's text is scored")
}

fn score(body: &str, lang: &str) -> Score {
    heard(body, lang, Modality::Text)
}

/// `-`, `0`, `+` or `?` for unscored, then the text.
#[track_caller]
fn table(lang: &str, rows: &[(char, &str)]) {
    let mut wrong = Vec::new();
    for (expected, body) in rows {
        let score = score(body, lang);
        let found = match score.label {
            Label::Negative => '-',
            Label::Neutral => '0',
            Label::Positive => '+',
            Label::Unscored => '?',
        };
        if found != *expected {
            wrong.push(format!(
                "{body:?}: expected {expected} found {found}: {:?} {:#?}",
                score.score, score.evidence
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn english() {
    table(
        "en",
        &[
            ('?', "Kind regards"),
            ('?', "Best regards, John"),
            ('?', "Dear customer service"),
            ('?', "Please help me"),
            ('?', "Thanks in advance"),
            ('-', "I have been waiting for three weeks and nobody answers"),
            ('-', "my internet is down since monday"),
            ('-', "great, another outage :)"),
            ('-', "It is still not working"),
            ('-', "The room was not clean"),
            ('-', "the app doesn't work"),
            ('-', "I was never called back"),
            ('+', "not bad at all"),
            ('+', "no complaints, everything was excellent"),
            ('+', "The agent was VERY helpful!!!"),
            ('-', "The phone is nice but the service is terrible"),
            ('-', "this is soooo baaaad"),
            ('-', "too expensive"),
        ],
    );
}

#[test]
fn dutch() {
    table(
        "nl",
        &[
            ('?', "Met vriendelijke groet"),
            ('?', "Beste klantenservice"),
            ('?', "Alvast bedankt"),
            ('-', "Het werkt nog steeds niet"),
            ('-', "de app werkt niet"),
            ('-', "Niemand reageert op mijn mail"),
            ('-', "ik wacht al drie weken op antwoord"),
            ('+', "superblij"),
            ('-', "klantonvriendelijk"),
            ('+', "topservice, heel vriendelijk geholpen"),
            ('-', "wat een kutdag"),
            ('+', "niet slecht"),
            ('+', "daar is niks mis mee"),
            ('-', "laat te wensen over"),
            ('-', "veel te duur"),
            ('-', "smaakloos"),
            (
                '-',
                "de medewerker was aardig maar het probleem is nog steeds niet opgelost",
            ),
        ],
    );
    assert_ne!(score("de storing is opgelost", "nl").label, Label::Negative);
}

#[test]
fn italian() {
    table(
        "it",
        &[
            ('?', "Gentile cliente"),
            ('?', "Cordiali saluti"),
            ('?', "In attesa di riscontro"),
            ('-', "non è per niente buono"),
            ('-', "poco chiaro"),
            ('-', "voglio disdire il contratto"),
            ('-', "aspetto da tre settimane"),
            ('-', "non funziona niente"),
            ('-', "non risponde mai nessuno"),
            ('-', "purtroppo ancora non ho ricevuto il pacco"),
            ('+', "bellissimo!"),
            ('+', "gentilissimi e velocissimi"),
            ('-', "troppo lento"),
            ('+', "niente male"),
            ('-', "bello il sito, però l'assistenza è pessima"),
            ('-', "l'operatore è stato maleducato"),
        ],
    );
}

#[test]
fn german() {
    table(
        "de",
        &[
            ('?', "Mit freundlichen Grüßen"),
            ('?', "Sehr geehrte Damen und Herren"),
            ('-', "Das Internet funktioniert nicht"),
            ('-', "Ich warte seit drei Wochen auf eine Antwort"),
            ('-', "Das Essen war nicht gut"),
            ('-', "Das gefällt mir nicht"),
            ('+', "gar nicht schlecht"),
            ('+', "Der Service war wirklich hervorragend"),
            ('-', "unfreundliches Personal"),
            ('-', "lieblos und viel zu teuer"),
            ('-', "ich möchte meinen Vertrag kündigen"),
            ('+', "superfreundlich"),
        ],
    );
    assert_ne!(score("die Störung ist behoben", "de").label, Label::Negative);
}

#[test]
fn french() {
    table(
        "fr",
        &[
            ('?', "Cordialement"),
            ('?', "Bonjour Madame"),
            ('-', "Ça ne marche pas"),
            ('-', "Le plat n'était pas bon"),
            ('-', "je n'ai toujours pas reçu mon colis"),
            ('-', "personne ne répond au téléphone"),
            ('+', "pas mal du tout"),
            ('+', "Un accueil très chaleureux et un repas délicieux"),
            ('-', "peu aimable"),
            ('-', "trop cher"),
            ('-', "je veux résilier mon abonnement"),
            ('-', "le décor est joli mais le service est nul"),
        ],
    );
}

#[test]
fn spanish() {
    table(
        "es",
        &[
            ('?', "Un cordial saludo"),
            ('?', "Hola buenos días"),
            ('-', "no funciona nada"),
            ('-', "todavía no he recibido el pedido"),
            ('-', "nadie contesta al teléfono"),
            ('-', "la comida no estaba buena"),
            ('+', "no está mal"),
            ('+', "riquísimo y el trato inmejorable"),
            ('-', "quiero darme de baja"),
            ('-', "muy bonito pero el servicio es pésimo"),
            ('-', "demasiado caro"),
            ('-', "poco amable"),
        ],
    );
}

#[test]
fn an_event_mutes_and_a_negation_does_not_flip_emoji() {
    let muted = score("great, another outage :)", "en");
    assert!(
        muted
            .evidence
            .iter()
            .any(|hit| hit.rule == "muted" && hit.weight == 0.0)
    );
    assert!(muted.mixed);
    let emoji = score("not today 😡", "en");
    let hit = emoji
        .evidence
        .iter()
        .find(|hit| hit.entry.as_deref() == Some("😡"))
        .expect("the emoji is found");
    assert!(hit.weight < 0.0 && hit.rule == "emoji");
    assert!(
        score("what a lovely day 😡", "en").mixed,
        "an emoji against the text is mixed"
    );
}

#[test]
fn quotes_signatures_and_addresses_are_no_opinion() {
    let ours = score(
        "The parcel arrived.\n\nBest regards,\nJoy Happy\n\nOn Monday the shop wrote:\nterrible awful bad",
        "en",
    );
    assert!(ours.evidence.iter().all(|hit| hit.start < 20), "{:#?}", ours.evidence);
    let quoted = score("it works now\n> this is terrible\n> awful", "en");
    assert!(
        quoted.evidence.iter().all(|hit| hit.start < 13),
        "{:#?}",
        quoted.evidence
    );
    assert_eq!(
        score("see https://terrible.example/awful or write bad@example.org", "en").label,
        Label::Unscored
    );
}

#[test]
fn spoken_texts_count_less_and_have_fillers() {
    let (written, spoken) = (
        score("this is bad", "en"),
        heard("this is bad", "en", Modality::Transcript),
    );
    assert!(
        spoken.score > written.score,
        "a lone hit weighs less: {:?} {:?}",
        spoken.score,
        written.score
    );
    let filled = heard(
        "it is not uh um you know helpful really terrible",
        "en",
        Modality::Transcript,
    );
    assert!(
        filled.evidence.iter().any(|hit| hit.rule == "negated"),
        "fillers are no distance: {:#?}",
        filled.evidence
    );
    assert_eq!(
        heard("VERY GOOD", "en", Modality::Transcript).score,
        heard("very good", "en", Modality::Transcript).score,
        "a transcript has no capitals"
    );
}

#[test]
fn signals_come_with_evidence_and_denial() {
    for (lang, signal, body) in [
        ("en", "complaint", "I want to make a complaint"),
        ("en", "churn_intent", "I want to cancel my subscription"),
        ("en", "escalation", "let me speak to a supervisor"),
        ("en", "legal_threat", "you will hear from my lawyer"),
        ("en", "urgency", "I need this asap"),
        ("en", "profanity", "this is bullshit"),
        ("en", "resolved", "the issue has been resolved"),
        ("nl", "complaint", "ik wil een klacht indienen"),
        ("nl", "churn_intent", "ik ga opzeggen"),
        ("nl", "escalation", "ik wil uw leidinggevende spreken"),
        ("nl", "legal_threat", "dan schakel ik een advocaat in"),
        ("nl", "urgency", "met spoed graag"),
        ("nl", "resolved", "de storing is opgelost"),
        ("it", "complaint", "vorrei fare un reclamo"),
        ("it", "churn_intent", "voglio fare la disdetta"),
        ("it", "escalation", "mi passi il responsabile"),
        ("it", "legal_threat", "vi scriverà il mio avvocato"),
        ("it", "urgency", "è urgente"),
        ("de", "churn_intent", "ich möchte kündigen"),
        ("de", "legal_threat", "ich gehe zum Anwalt"),
        ("fr", "churn_intent", "je souhaite résilier"),
        ("fr", "urgency", "c'est urgent"),
        ("es", "churn_intent", "quiero darme de baja"),
        ("es", "complaint", "quiero poner una reclamación"),
    ] {
        let score = score(body, lang);
        assert!(
            score.signals.get(signal).is_some_and(|strength| *strength >= 0.5),
            "{body}: {:?}",
            score.signals
        );
        assert!(score.evidence.iter().any(|hit| hit.rule == signal), "{body}");
    }
    assert!(!score("I have no complaints", "en").signals.contains_key("complaint"));
}
