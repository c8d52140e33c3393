//! Each rule of each language on texts of its own; general lexicons get most of them wrong.

use event::{Label, Modality, Score};
use sentiment::Scratch;

mod stage;

fn heard(body: &str, lang: &str, modality: Modality) -> Score {
    stage::heard(body, Some(lang), modality, &mut Scratch::default())
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
fn english_of_airlines_and_hotels() {
    table(
        "en",
        &[
            ('-', "@wings two hours on hold and then you hung up on me"),
            ('-', "@wings my bag is still in Denver"),
            (
                '-',
                "@wings thanks for nothing, flight was cancelled and no explanation",
            ),
            ('-', "@wings we are STILL sitting on the tarmac"),
            ('-', "@wings the app won't let me check in"),
            ('+', "@wings the crew went above and beyond, you guys rock!"),
            ('?', "@wings when does boarding begin?"),
            ('-', "The room was filthy and the bed sagging"),
            ('-', "Thin walls, we could not sleep"),
            ('-', "not worth the price"),
            ('+', "Spotless room and a hospitable host"),
            ('+', "Couldn't fault it, we will definitely stay again"),
        ],
    );
}

#[test]
fn dutch_of_airlines_and_hotels() {
    table(
        "nl",
        &[
            ('-', "@vlieg vlucht geannuleerd en niemand weet iets"),
            ('-', "@vlieg mijn koffer is zoek"),
            ('-', "@vlieg al twee uur in de wacht"),
            ('+', "@vlieg super geregeld, petje af"),
            ('-', "gehorige kamers en een muffe geur"),
            ('-', "het eten viel echt tegen"),
            ('-', "weinig sfeer"),
            ('-', "dit was alles behalve schoon"),
            ('+', "brandschoon en centraal gelegen"),
            ('+', "wij komen zeker terug"),
        ],
    );
}

#[test]
fn italian_of_airlines_and_hotels() {
    table(
        "it",
        &[
            ('-', "@vola volo cancellato e nessuna informazione"),
            ('-', "@vola bagaglio smarrito da tre giorni"),
            ('-', "camera piccolissima con macchie sulla moquette"),
            ('-', "personale scontroso e colazione scarsa"),
            ('-', "pareti sottili, si sente tutto"),
            ('-', "non ci è piaciuto"),
            ('+', "personale cordiale e disponibilissimo, camera pulitissima"),
            ('+', "a pochi passi dal centro, ci ritorneremo"),
            ('+', "niente da ridire, ottimo rapporto qualità prezzo"),
        ],
    );
}

#[test]
fn other_languages_of_airlines_and_hotels() {
    table(
        "de",
        &[
            ('-', "Flug gestrichen und keine Auskunft"),
            ('-', "hellhöriges Zimmer, Schimmel im Bad"),
            ('-', "alles andere als sauber"),
            ('+', "zuvorkommendes Personal, zentral gelegen, gerne wieder"),
        ],
    );
    table(
        "fr",
        &[
            ('-', "vol annulé et aucune information"),
            ('-', "chambre vétuste, moisissures dans la salle de bain"),
            ('-', "tout sauf propre"),
            ('+', "hôtel bien situé, personnel aux petits soins"),
        ],
    );
    table(
        "es",
        &[
            ('-', "vuelo cancelado, nos dejaron tirados"),
            ('-', "habitación ruidosa y con moho"),
            ('+', "muy céntrico y acogedor, repetiremos"),
        ],
    );
}

#[test]
fn a_denied_idiom_is_turned_round_unless_it_denies_by_itself() {
    table(
        "en",
        &[
            ('-', "I didn't like the food"),
            ('-', "We won't come back"),
            ('-', "it wasn't on time"),
            ('+', "not bad at all"),
            ('+', "I can't complain"),
        ],
    );
    table("nl", &[('-', "niet op tijd"), ('+', "niks op aan te merken")]);
    table("it", &[('-', "non mi è piaciuto"), ('+', "non c'è niente da ridire")]);
    // What was never so good or so bad is no denial.
    table(
        "nl",
        &[
            ('-', "nog nooit zo slecht gegeten"),
            ('+', "nog nooit zo lekker gegeten"),
        ],
    );
    table("it", &[('+', "mai mangiato così bene")]);
}

#[test]
fn compounds_and_negators_of_german_french_and_spanish() {
    table(
        "de",
        &[
            ('-', "eine Servicekatastrophe"),
            ('-', "Kundenunfreundlichkeit"),
            ('-', "das gefällt mir gar nicht"),
            ('-', "der Techniker kam einfach nicht"),
        ],
    );
    for (lang, body) in [
        ("fr", "ce n'est pas du tout agréable"),
        ("fr", "je n'ai jamais été satisfait"),
        ("es", "no es nada bueno"),
    ] {
        let score = score(body, lang);
        let flips = score.evidence.iter().filter(|hit| hit.rule == "negated").count();
        assert_eq!(
            (score.label, flips),
            (Label::Negative, 1),
            "one denial, however many words: {score:#?}"
        );
    }
    table(
        "fr",
        &[
            ('-', "rien ne marche"),
            ('-', "je n'ai jamais été aussi déçu"),
            ('+', "je n'ai jamais été aussi satisfait"),
        ],
    );
}

#[test]
fn what_lasts_is_worse_and_the_second_half_weighs_more() {
    let weaker = |body: &str, worse: &str, lang: &str| {
        let (body, worse) = (score(body, lang), score(worse, lang));
        assert!(worse.score < body.score, "{lang}: {body:#?} {worse:#?}");
    };
    weaker("my order is damaged", "my order is damaged for three weeks now", "en");
    weaker("kapot", "al drie weken kapot", "nl");
    weaker("guasto", "guasto da tre settimane", "it");
    weaker(
        "the service was slow but the food was good",
        "the food was good but the service was slow",
        "en",
    );
    weaker("traag maar goed", "goed maar traag", "nl");
    weaker("lento ma buono", "buono ma lento", "it");
}

#[test]
fn names_and_questions_weigh_less() {
    let (said, named) = (score("that was bad", "en"), score("they played Bad Blood twice", "en"));
    assert!(named.score > said.score, "{named:#?}");
    assert!(named.evidence.iter().any(|hit| hit.rule == "named"), "{named:#?}");
    assert_eq!(
        score("Saw that Brock Lesnar isn't in Monday's show", "en").label,
        Label::Neutral,
        "one weak word about third parties is no complaint"
    );
    assert_eq!(
        score("Saw that Brock Lesnar isn't in Monday's show!!!!", "en").label,
        Label::Neutral,
        "nor is it with marks behind it"
    );
    assert_eq!(
        score("@wings Brock from Chicago isn't here", "en").label,
        Label::Negative,
        "unless it is addressed"
    );
    assert_eq!(
        score("il treno non passa da Milano http://a.it/b", "it").label,
        Label::Neutral,
        "a weak one may be a headline of the page that is shown"
    );
    assert_eq!(score("il treno non passa da Milano", "it").label, Label::Negative);
    assert_eq!(
        score("servizio pessimo http://a.it/b", "it").label,
        Label::Negative,
        "a strong one is no headline"
    );
    for (class, lang) in [
        ("a 4 star hotel", "en"),
        ("5 stars", "en"),
        ("un hotel a 4 stelle", "it"),
    ] {
        assert_eq!(
            score(class, lang).label,
            Label::Unscored,
            "{class}: a class of hotel is no opinion"
        );
    }
    assert_eq!(score("one star", "en").label, Label::Negative);
    let (told, asked) = (score("it is damaged", "en"), score("is it damaged?", "en"));
    assert!(asked.score > told.score, "{asked:#?}");
    for (told, asked) in [
        ("my flight was on time", "is my flight on time?"),
        ("it is worth it", "is it worth it?"),
    ] {
        assert_eq!(score(told, "en").label, Label::Positive, "{told}");
        assert_ne!(
            score(asked, "en").label,
            Label::Positive,
            "{asked}: who asks praises nothing"
        );
    }
    assert_eq!(score("how hard can it be?", "en").label, Label::Negative);
}

#[test]
fn an_emoticon_may_be_drawn_out() {
    for body in ["arrived :))))))", "arrived :-)...", "arrived :)!!"] {
        assert_eq!(score(body, "en").label, Label::Positive, "{body}");
    }
    assert_eq!(score("see (a:b) 10:30", "en").label, Label::Unscored);
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
    for (lang, body) in [
        ("nl", "het was niet zeg maar uh ehm vriendelijk"),
        ("it", "non è stata ehm cioè ecco gentile"),
        ("de", "das war nicht äh ähm also gut"),
        ("fr", "ce n'est pas euh ben euh euh bon"),
        ("es", "no fue eh pues o sea bueno"),
    ] {
        let filled = heard(body, lang, Modality::Transcript);
        assert!(
            filled.evidence.iter().any(|hit| hit.rule == "negated"),
            "fillers are no distance in {lang}: {:#?}",
            filled.evidence
        );
    }
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
