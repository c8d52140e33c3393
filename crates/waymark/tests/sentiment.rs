//! `waymark sentiment` and `waymark bench` as an operator sees them.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn run(folder: &Path, words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_waymark"))
        .args(words)
        .current_dir(folder)
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("it ended by itself"), text(stdout), text(stderr))
}

/// The members of an object, in the order of their names.
fn members(object: &Value) -> String {
    let mut names: Vec<&str> = object
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.join(" ")
}

/// What programs read of a set of texts; `docs/SENTIMENT.md` lists it, and none of it may go.
const FIGURES: &str = "accuracy binary_accuracy calibration_error macro_f1 macro_f1_interval negative_precision negative_recall precision \
                       recall texts unscored";

/// Labelled texts of a trade whose words no lexicon knows.
fn labels(count: usize) -> String {
    let words = [
        ("negative", "flimmed"),
        ("neutral", "yesterday"),
        ("positive", "worbly"),
    ];
    let line = |index: usize| {
        let (label, word) = words[index % 3];
        format!("{label}\tthe widget number {index} seemed {word} to me\n")
    };
    (0..count).map(line).collect()
}

#[test]
fn labelled_texts_are_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = "negative\tthe worst service ever\npositive\tExcellent, thank you so much for the help\nneutral\tmy order number is 12\n\
               negative\tThe worst service, ever!\n1\tlovely staff\n";
    fs::write(folder.path().join("set.tsv"), set).expect("written");
    let (exit, table, _) = run(folder.path(), &["sentiment", "eval", "set.tsv"]);
    assert_eq!(exit, 0);
    assert!(
        table.contains("macro-F1") && table.contains("neg rec") && table.contains("set.tsv"),
        "{table}"
    );
    let (exit, json, _) = run(folder.path(), &["sentiment", "eval", "set.tsv", "--output", "json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let row = &json["data"]["sets"][0];
    assert_eq!((exit, &row["lang"], &row["duplicates"]), (0, &"en".into(), &1.into()));
    assert_eq!(row["figures"]["texts"], 4);
    assert_eq!(row["figures"]["accuracy"], 1.0);
    assert_eq!(row["figures"]["negative_recall"], 1.0);
    assert!(row["figures"]["macro_f1_interval"][0].is_number() && row["figures"]["calibration_error"].is_number());
    assert_eq!(json["format"], "waymark.cli/1");
    assert_eq!(
        members(row),
        "duplicates figures file lang model_version tier transformer"
    );
    assert_eq!(members(&row["figures"]), FIGURES);
    assert_eq!(members(&row["figures"]["recall"]), "negative neutral positive");
}

#[test]
fn without_a_transformer_there_is_nothing_to_calibrate() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("set.tsv"), labels(300)).expect("written");
    let (exit, table, problem) = run(folder.path(), &["sentiment", "calibrate", "set.tsv"]);
    assert_ne!(exit, 0);
    assert!(
        table.is_empty() && problem.contains("option=sentiment.transformer"),
        "{table} {problem}"
    );
}

#[test]
fn a_text_counts_once_over_all_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(
        at("one.tsv"),
        "negative\tthe worst service ever\nneutral\tmy order number is 12\n",
    )
    .expect("written");
    fs::write(
        at("two.tsv"),
        "positive\tlovely staff\nnegative\tThe WORST service, ever!\n",
    )
    .expect("written");
    let words = [
        "sentiment",
        "eval",
        "one.tsv",
        "two.tsv",
        "one.tsv",
        "--lang",
        "en",
        "--output",
        "json",
    ];
    let (exit, json, _) = run(folder.path(), &words);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let of = |index: usize| {
        let set = &json["data"]["sets"][index];
        (set["duplicates"].as_u64(), set["figures"]["texts"].as_u64())
    };
    assert_eq!(exit, 0);
    assert_eq!(
        [of(0), of(1), of(2)],
        [(Some(0), Some(2)), (Some(1), Some(1)), (Some(2), Some(0))]
    );
    assert_eq!(
        json["data"]["sets"][2]["figures"]["macro_f1"], 0.0,
        "nothing is left, and no figure is missing"
    );
}

#[test]
fn a_transformer_needs_its_feature_its_files_and_their_hashes() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("set.tsv"), "negative\tthe worst service ever\n").expect("written");
    let refused = |settings: &[&str]| {
        let mut words = vec!["sentiment", "eval", "set.tsv", "--lang", "en"];
        settings.iter().for_each(|setting| words.extend(["--set", setting]));
        let (exit, _, error) = run(folder.path(), &words);
        assert_eq!(exit, 3, "{error}");
        error
    };
    for (file, feature, is_built) in [
        ("m.onnx", "onnx", cfg!(feature = "onnx")),
        ("m.safetensors", "safetensors", cfg!(feature = "safetensors")),
    ] {
        let weights = format!("sentiment.transformer={file}");
        let error = refused(&[&weights]);
        if !is_built {
            assert!(
                error.contains(&format!("--features {feature}")) && error.contains(file),
                "{error}"
            );
            continue;
        }
        assert!(error.contains("no hash") && error.contains("tokenizer.json"), "{error}");
        let hash = "0".repeat(64);
        let hashes = format!("sentiment.transformer_sha256={file}={hash},tokenizer.json={hash},config.json={hash}");
        let error = refused(&[&weights, &hashes]);
        assert!(
            error.contains("tokenizer.json") && error.contains(&format!("expected sha256={hash}")),
            "missing: {error}"
        );
        for name in ["tokenizer.json", "config.json", file] {
            fs::write(at(name), "{}").expect("written");
        }
        let error = refused(&[&weights, &hashes]);
        assert!(
            error.contains(file) && error.contains(&hash) && error.contains("found=44136fa3"),
            "changed: {error}"
        );
        let error = refused(&[&weights, &hashes, "sentiment.transformer_languages=nl,xx"]);
        assert!(error.contains("no such language: found=xx"), "{error}");
        for name in ["tokenizer.json", "config.json", file] {
            fs::remove_file(at(name)).expect("it is there");
        }
    }
    let error = refused(&[
        "sentiment.transformer=m.bin",
        "sentiment.transformer_sha256=m.bin=0,tokenizer.json=0,config.json=0",
    ]);
    assert!(error.contains("m.bin") || error.contains("tokenizer.json"), "{error}");
}

#[test]
fn rows_of_an_operator_replace_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("models")).expect("a folder");
    fs::write(
        at("set.tsv"),
        "negative\tit is flimmed again\nneutral\tyou are terrible\n",
    )
    .expect("written");
    let eval = [
        "sentiment",
        "eval",
        "set.tsv",
        "--lang",
        "en",
        "--output",
        "json",
        "--set",
        "sentiment.models_dir=models",
    ];
    let accuracy = || {
        let (exit, json, error) = run(folder.path(), &eval);
        let json: Value = serde_json::from_str(&json).unwrap_or_default();
        (exit, json["data"]["sets"][0]["figures"]["accuracy"].clone(), error)
    };
    assert_eq!(accuracy().1, 0.0);
    let rows = "term\tweight\tkind\tsource\nflimmed\t-3\tword\tours\nterrible\t0\tplain\tours\n";
    fs::write(at("models/en.tsv"), rows).expect("written");
    assert_eq!(accuracy().1, 1.0);
    fs::write(
        at("models/en.tsv"),
        "term\tweight\tkind\tsource\nflimmed\t-3\tverb\tours\n",
    )
    .expect("written");
    let (exit, _, error) = accuracy();
    assert!(
        exit == 3 && error.contains("models/en.tsv:2: unknown kind: found=verb"),
        "{exit} {error}"
    );
    fs::write(
        at("models/en.tsv"),
        b"term\tweight\tkind\tsource\ncaf\xe9\t1\tword\tours\n",
    )
    .expect("written");
    for command in ["eval", "train"] {
        let words = ["sentiment", command, "set.tsv", "--lang", "en", "--set", eval[8]];
        let (exit, _, error) = run(folder.path(), &words);
        assert!(
            exit == 3 && error.contains("models/en.tsv:2: no UTF-8: byte=4 found=0xe9"),
            "{exit} {error}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (exit, _, error) = run(folder.path(), &["sentiment", "eval", "absent.tsv"]);
    assert!(exit == 3 && error.contains("absent.tsv"), "{exit} {error}");
    fs::write(folder.path().join("bad.tsv"), "0\ta fine text\nmaybe\tanother\n").expect("written");
    let (exit, _, error) = run(folder.path(), &["sentiment", "eval", "bad.tsv"]);
    assert!(
        exit == 3 && error.contains("bad.tsv:2: unknown label: found=maybe"),
        "{exit} {error}"
    );
    fs::write(folder.path().join("bad.tsv"), b"0\ta fine text\n-1\tcaf\xe9\n").expect("written");
    for command in ["eval", "train"] {
        let (exit, _, error) = run(folder.path(), &["sentiment", command, "bad.tsv"]);
        assert!(
            exit == 3 && error.contains("bad.tsv:2: no UTF-8: byte=7 found=0xe9"),
            "{exit} {error}"
        );
    }
    let utf16: Vec<u8> = "\u{feff}0\tx\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(folder.path().join("wide.tsv"), utf16).expect("written");
    let (exit, _, error) = run(folder.path(), &["sentiment", "eval", "wide.tsv"]);
    assert!(
        exit == 3 && error.contains("wide.tsv:1: no UTF-8, but UTF-16"),
        "{exit} {error}"
    );
    fs::write(folder.path().join("short.tsv"), "0\t\n1\tok\n").expect("written");
    let (exit, _, error) = run(folder.path(), &["sentiment", "eval", "short.tsv"]);
    assert!(
        exit == 3 && error.contains("short.tsv: no text tells its language, name it: option=--lang known=en"),
        "{exit} {error}"
    );
    let (exit, _, error) = run(folder.path(), &["sentiment", "eval", "short.tsv", "--lang", "ja"]);
    assert!(
        exit == 3 && error.contains("no lexicon for this language: found=ja known=en"),
        "{exit} {error}"
    );
    let (exit, table, error) = run(folder.path(), &["sentiment", "eval", "short.tsv", "--lang", "EN-gb"]);
    assert!(exit == 0 && table.contains(" en "), "{exit} {table} {error}");
    let (exit, _, error) = run(
        folder.path(),
        &["sentiment", "eval", "bad.tsv", "--set", "sentiment.models_dir=nowhere"],
    );
    assert!(exit == 3 && error.contains("no such folder: nowhere"), "{exit} {error}");
}

#[test]
fn a_model_is_trained_used_and_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("few.tsv"), labels(199)).expect("written");
    let (exit, _, error) = run(folder.path(), &["sentiment", "train", "few.tsv", "--lang", "en"]);
    assert!(exit == 5 && error.contains("found=199 needed=200"), "{exit} {error}");
    let alone = labels(750);
    let alone = alone.split_inclusive('\n').filter(|line| line.starts_with("negative"));
    let alone: String = alone.collect();
    fs::write(at("alone.tsv"), alone).expect("written");
    let (exit, _, error) = run(folder.path(), &["sentiment", "train", "alone.tsv", "--lang", "en"]);
    assert!(
        exit == 5 && error.contains("alone.tsv: all texts have the same label: found=negative needed=2 labels"),
        "{exit} {error}"
    );
    fs::write(at("enough.tsv"), labels(300)).expect("written");
    fs::create_dir(at("models")).expect("a folder");
    let models = "sentiment.models_dir=models";
    let train = ["sentiment", "train", "enough.tsv", "--lang", "en", "--set", models];
    let (exit, text, _) = run(folder.path(), &train);
    assert!(exit == 0 && text.contains("wrote models/en.model"), "{exit} {text}");
    let bytes = fs::read(at("models/en.model")).expect("the model");
    let (exit, _, _) = run(folder.path(), &train);
    assert_eq!(
        (exit, fs::read(at("models/en.model")).expect("the model")),
        (0, bytes.clone()),
        "the same labels give the same bytes"
    );
    let eval = [
        "sentiment",
        "eval",
        "enough.tsv",
        "--lang",
        "en",
        "--output",
        "json",
        "--set",
        models,
    ];
    let (_, json, _) = run(folder.path(), &eval);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["data"]["sets"][0]["tier"], "linear");
    let (_, json, _) = run(
        folder.path(),
        &[&train[..], &["--dry-run", "--output", "json"]].concat(),
    );
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        members(&json["data"]),
        "accepted duplicates gain gain_interval labels lang lexicon linear written"
    );
    assert_eq!(members(&json["data"]["linear"]), FIGURES);
    // What the lexicon reads without a fault leaves nothing to gain: no model.
    let plain = labels(300)
        .replace("flimmed", "terrible")
        .replace("worbly", "excellent");
    fs::write(at("plain.tsv"), plain).expect("written");
    let (exit, text, _) = run(folder.path(), &["sentiment", "train", "plain.tsv", "--lang", "en"]);
    assert!(
        exit == 1 && text.contains("refused") && !at("en.model").exists(),
        "{exit} {text}"
    );
    let mut damaged = bytes;
    damaged[50_000] ^= 1;
    fs::write(at("models/en.model"), damaged).expect("written");
    let (exit, _, error) = run(folder.path(), &eval);
    assert!(
        exit == 3 && error.contains("models/en.model: model is damaged"),
        "{exit} {error}"
    );
}

#[test]
fn speed_is_told_with_targets() {
    let folder = tempfile::tempdir().expect("a folder");
    // Whether a target is met depends on the machine's load, so the exit code is not looked at.
    let (_, json, _) = run(
        folder.path(),
        &["bench", "sentiment", "--cell", "lexicon en 35", "--output", "json"],
    );
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let cell = &json["data"]["cells"][0];
    assert!(
        cell["ns"].as_f64().is_some_and(|ns| ns > 0.0) && cell["target_ns"] == 2000.0,
        "{cell}"
    );
    let (exit, _, error) = run(folder.path(), &["bench", "sentiment", "--cell", "no such thing"]);
    assert!(exit == 3 && error.contains("no such cell"), "{exit} {error}");
}
