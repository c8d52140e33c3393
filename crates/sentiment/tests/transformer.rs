//! A transformer's whole way on a model that the test makes: files, hashes, gate, tokens, both formats, labels, what ends up in the record.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "made-up weights of a small model"
)]

mod made;

use std::{collections::BTreeMap, sync::Arc};

use event::{Label, LangSource, Modality, Role, Score, Tier};
use made::{SMALL, STARS, files, graph, safetensors, weights};
use sentiment::{
    Input, Reader, Scorer, Scratch,
    transformer::{CALIBRATION, Calibration, Files, MEASURED, Settings, Transformer},
};

const TEXTS: [&str; 5] = [
    "het werkt niet !",
    "my order is late, the service is not terrible",
    "geweldig geweldig geweldig",
    "xyzzy",
    "the service is terribly late the service is good the service is late the service is terrible the order is late",
];

fn all(settings: Settings) -> Settings {
    // Whatever the first reading is sure of.
    Settings { below: 2.0, ..settings }
}

fn onnx(tokens: Option<usize>) -> Files {
    files("model.onnx", graph(&weights(&SMALL, 1), &SMALL, tokens), &SMALL, &STARS)
}

fn bert() -> Files {
    files("model.safetensors", safetensors(&weights(&SMALL, 1)), &SMALL, &STARS)
}

fn reader(files: Files, settings: Settings) -> Reader {
    Reader {
        scorer: Scorer::new(),
        transformer: Some(Transformer::load(files, settings).expect("a model that fits")),
    }
}

fn read(reader: &Reader, body: &str, lang: &str) -> Score {
    let input = Input {
        body,
        lang: Some(lang),
        role: Role::Customer,
        modality: Modality::Text,
        asr_confidence: None,
    };
    reader
        .score(&input, "shop/chat m-1", &mut Scratch::default())
        .expect("a customer's text")
}

#[test]
fn two_formats_of_one_model_agree() {
    let settings = Settings {
        max_tokens: 16,
        ..all(Settings::default())
    };
    let readers = [onnx(None), onnx(Some(16)), bert()].map(|files| reader(files, settings.clone()));
    let mut labels = Vec::new();
    for text in TEXTS {
        let [graph, fixed, bert] = [0, 1, 2].map(|index: usize| read(&readers[index], text, "en"));
        for other in [&fixed, &bert] {
            let near = |one: Option<f64>, two: Option<f64>| (one.expect("scored") - two.expect("scored")).abs() < 2e-3;
            assert!(
                near(graph.score, other.score) && near(graph.confidence, other.confidence),
                "{text}: {graph:?} {other:?}"
            );
            assert_eq!((graph.label, graph.truncated), (other.label, other.truncated), "{text}");
        }
        labels.push(graph.score);
    }
    labels.dedup();
    assert!(labels.len() > 3, "different texts read differently: {labels:?}");
}

#[test]
fn the_record_says_which_model_read() {
    let reader = reader(bert(), all(Settings::default()));
    let text = "the service is terrible, I want to cancel my contract";
    let score = read(&reader, text, "en");
    assert_eq!((score.tier, score.lang_source), (Tier::Transformer, LangSource::Hint));
    assert_eq!(score.calibration.as_deref(), Some(CALIBRATION));
    assert_eq!(score.model, "made/tiny-stars");
    let hash = bert().weights.sha256;
    assert!(
        score.model_version.starts_with(&format!("1+{}.", &hash[..12])),
        "{}",
        score.model_version
    );
    assert!(score.confidence.is_some_and(|chance| (0.2..=1.0).contains(&chance)));
    let bare = read(&Reader::from(Scorer::new()), text, "en");
    assert_eq!(score.signals, bare.signals, "signals are the cues' alone");
    assert!(score.signals.contains_key("churn_intent"));
    assert!(!score.evidence.is_empty() && score.evidence.iter().all(|hit| score.signals.contains_key(&hit.rule)));
}

#[test]
fn a_measured_calibration_is_in_force_for_its_language_and_told() {
    let bare = reader(bert(), all(Settings::default()));
    let table = "# calibration of a transformer 1\nen\t0.0000\t0.2500\nen\t0.9990\t0.7500\n";
    assert_eq!(
        Calibration::read(table).map(|known| known.write()).as_deref(),
        Ok(table)
    );
    let measured = Files {
        calibration: Some(made::file("calibration.tsv", table.as_bytes().to_vec())),
        ..bert()
    };
    let measured = reader(measured, all(Settings::default()));
    for text in TEXTS {
        let (before, after) = (read(&bare, text, "en"), read(&measured, text, "en"));
        assert_eq!(
            (before.label, before.score),
            (after.label, after.score),
            "the label stays"
        );
        assert_eq!(after.calibration.as_deref(), Some(MEASURED));
        let expected = if before.confidence >= Some(0.999) { 0.75 } else { 0.25 };
        assert_eq!(after.confidence, Some(expected), "{text}: {before:?}");
        assert_ne!(before.model_version, after.model_version);
        let other = read(&measured, text, "nl");
        assert_eq!(
            other.calibration.as_deref(),
            Some(CALIBRATION),
            "nobody has measured it"
        );
    }
    // What it is measured by is what it then says of the same texts.
    let labelled =
        sentiment::measure::read("negative\tmy order is late, the service is not terrible\n").expect("a text");
    let claim = bare
        .claim("en", &labelled[0], &mut Scratch::default())
        .expect("a number");
    let said = read(&bare, &labelled[0].text, "en");
    assert_eq!(claim.map(|(label, _)| label), Some(said.label));
    assert!(claim.is_some_and(|(_, chance)| (chance - said.confidence.expect("scored")).abs() < 1e-4));
}

#[test]
fn a_text_is_cut_at_a_fixed_number_of_tokens() {
    let settings = Settings {
        max_tokens: 8,
        ..all(Settings::default())
    };
    let reader = reader(bert(), settings);
    let short = read(&reader, "the service is not good !", "en");
    assert!(!short.truncated, "six words and two marks fit");
    let long = read(&reader, "the service is not good ! my order is late", "en");
    assert!(long.truncated);
    assert_eq!(
        (long.score, long.confidence),
        (short.score, short.confidence),
        "what follows is not read"
    );
}

#[test]
fn only_what_the_first_reading_is_unsure_of_reaches_it() {
    let settings = Settings {
        below: 0.5,
        languages: vec!["en".to_owned()],
        ..Settings::default()
    };
    let reader = reader(onnx(None), settings);
    let bare = Reader::from(Scorer::new());
    let mut tiers = BTreeMap::new();
    for text in ["xyzzy", "terrible, awful, the worst service ever!!", "geweldig", ""] {
        for lang in ["en", "nl"] {
            let (score, first) = (read(&reader, text, lang), read(&bare, text, lang));
            let unsure = first.confidence.unwrap_or(0.0) < 0.5 && first.abstain_reason.as_deref() != Some("too_short");
            let reached = score.tier == Tier::Transformer;
            assert_eq!(reached, lang == "en" && unsure, "{lang} {text}");
            if !reached {
                assert_eq!(score, first, "{lang} {text}");
            }
            *tiers.entry(reached).or_insert(0) += 1;
        }
    }
    assert_eq!(tiers.len(), 2, "both happen: {tiers:?}");
}

#[test]
fn the_same_text_gives_the_same_score_on_every_thread() {
    for files in [onnx(None), bert()] {
        let reader = Arc::new(reader(files, all(Settings::default())));
        let expected: Vec<Score> = TEXTS.iter().map(|text| read(&reader, text, "en")).collect();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let reader = Arc::clone(&reader);
                std::thread::spawn(move || {
                    let round = || TEXTS.iter().map(|text| read(&reader, text, "en")).collect::<Vec<_>>();
                    (0..20).map(|_| round()).collect::<Vec<_>>()
                })
            })
            .collect();
        for thread in threads {
            for found in thread.join().expect("no thread panics") {
                assert_eq!(found, expected);
            }
        }
    }
}

#[test]
fn classes_are_mapped_by_configuration() {
    let names = ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4"];
    let files = || files("model.onnx", graph(&weights(&SMALL, 1), &SMALL, None), &SMALL, &names);
    let message = Transformer::load(files(), Settings::default())
        .err()
        .expect("unknown classes");
    assert!(
        message.contains("config.json") && message.contains("class=LABEL_0"),
        "{message}"
    );
    let labels = |turned: bool| {
        let worth = ["-1", "-0.5", "neutral", "0.5", "positive"];
        let mut pairs: BTreeMap<String, String> = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            let index = if turned { 4 - index } else { index };
            pairs.insert((*name).to_owned(), worth[index].to_owned());
        }
        all(Settings {
            labels: pairs,
            ..Settings::default()
        })
    };
    let (straight, turned) = (reader(files(), labels(false)), reader(files(), labels(true)));
    let stars = reader(onnx(None), all(Settings::default()));
    for text in TEXTS {
        let (one, other) = (read(&straight, text, "en"), read(&turned, text, "en"));
        assert_eq!((one.label, one.score), {
            let score = read(&stars, text, "en");
            (score.label, score.score)
        });
        assert!(
            (one.score.expect("scored") + other.score.expect("scored")).abs() < 2e-4,
            "{text}"
        );
        let opposite = match one.label {
            Label::Negative => Label::Positive,
            Label::Positive => Label::Negative,
            label => label,
        };
        assert_eq!(other.label, opposite, "{text}");
    }
}

#[test]
fn what_does_not_fit_stops_the_start_by_name() {
    let refused = |change: &dyn Fn(&mut Files), settings: Settings, expected: &[&str]| {
        for mut files in [onnx(None), bert()] {
            change(&mut files);
            let message = Transformer::load(files, settings.clone()).err().expect("refused");
            for part in expected {
                assert!(message.contains(part), "{message} lacks {part}");
            }
        }
    };
    let default = Settings::default();
    let table = |files: &mut Files| {
        let bytes = b"# calibration of a transformer 1\nen\t2\t0.5\n".to_vec();
        files.calibration = Some(made::file("calibration.tsv", bytes));
    };
    refused(
        &table,
        Settings::default(),
        &["calibration.tsv: line 2", "column=from found=2"],
    );
    let byte = |files: &mut Files| *files.weights.bytes.last_mut().expect("bytes") ^= 1;
    refused(&byte, default.clone(), &["model.", "expected sha256=", "found="]);
    let words = |files: &mut Files| files.tokenizer.bytes.push(b' ');
    refused(
        &words,
        default.clone(),
        &["tokenizer.json: not the file", "expected sha256="],
    );
    let four = |files: &mut Files| files.config = made::file("config.json", made::config(&SMALL, &STARS[..4]));
    refused(&four, default.clone(), &["model."]);
    let none = |files: &mut Files| files.config = made::file("config.json", b"{}".to_vec());
    refused(&none, default.clone(), &["config.json", "id2label"]);
    let rubbish = |files: &mut Files| {
        let name = files.weights.name.clone();
        files.weights = made::file(&name, b"rubbish".to_vec());
    };
    refused(&rubbish, default.clone(), &["model."]);
    let no_words = |files: &mut Files| files.tokenizer = made::file("tokenizer.json", b"{}".to_vec());
    refused(&no_words, default.clone(), &["tokenizer.json"]);
    let many = Settings {
        max_tokens: 161,
        ..default
    };
    refused(
        &|_| {},
        many,
        &["config.json", "sentiment.transformer_tokens", "found=161 positions=160"],
    );
    let message = Transformer::load(
        onnx(Some(8)),
        all(Settings {
            max_tokens: 16,
            ..Settings::default()
        }),
    )
    .err()
    .expect("fixed to fewer");
    assert!(message.contains("found=8 configured=16"), "{message}");
    let mut other = bert();
    let roberta = String::from_utf8(made::config(&SMALL, &STARS))
        .expect("JSON")
        .replace("\"bert\"", "\"roberta\"");
    other.config = made::file("config.json", roberta.into_bytes());
    let message = Transformer::load(other, Settings::default())
        .err()
        .expect("another kind");
    assert!(message.contains("found=roberta known=bert"), "{message}");
}
