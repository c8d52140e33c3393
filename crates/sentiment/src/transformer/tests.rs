use super::*;

fn read_as(lang: &str, confidence: Option<f64>, abstains: Option<&str>) -> Score {
    Score {
        lang: Some(lang.to_owned()),
        confidence,
        abstain_reason: abstains.map(ToOwned::to_owned),
        ..Score::default()
    }
}

#[test]
fn which_texts_reach_it_depends_on_reading_and_id_alone() {
    let settings = Settings {
        languages: vec!["nl".to_owned()],
        ..Settings::default()
    };
    let check = |score: &Score, expected: bool| {
        assert_eq!(reaches(&settings, score, "shop/web m-1"), expected, "{score:?}");
    };
    check(&read_as("nl", Some(0.59), None), true);
    check(&read_as("nl", Some(0.6), None), false);
    check(&read_as("nl", None, Some("no_hit")), true);
    check(&read_as("nl", None, Some("too_short")), false);
    check(&read_as("nl", None, Some("transcript_poor")), false);
    check(&read_as("en", Some(0.1), None), false);
}

#[test]
fn a_sample_is_a_share_and_the_same_every_time() {
    let settings = Settings {
        below: 0.0,
        sample: 1000,
        ..Settings::default()
    };
    let sure = read_as("en", Some(0.9), None);
    let taken = |id: &u32| reaches(&settings, &sure, &format!("shop/chat m-{id}"));
    let first: Vec<u32> = (0..20_000).filter(taken).collect();
    assert!((1800..2200).contains(&first.len()), "{}", first.len());
    assert_eq!(first, (0..20_000).filter(taken).collect::<Vec<_>>());
}

#[test]
fn classes_are_known_by_name_or_told() {
    let none = BTreeMap::new();
    let check = |name: &str, expected: f64| assert_eq!(worth(name, &none), Ok(expected), "{name}");
    check("1 star", -1.0);
    check("2 stars", -0.5);
    check("3 stars", 0.0);
    check("5 stars", 1.0);
    check("NEG", -1.0);
    check("Neutral", 0.0);
    check("positive", 1.0);
    assert!(
        worth("LABEL_0", &none)
            .expect_err("unknown")
            .contains("LABEL_0=negative")
    );
    let told = BTreeMap::from([
        ("LABEL_0".to_owned(), "positive".to_owned()),
        ("LABEL_1".to_owned(), "-0.5".to_owned()),
        ("LABEL_2".to_owned(), "7".to_owned()),
    ]);
    assert_eq!((worth("LABEL_0", &told), worth("LABEL_1", &told)), (Ok(1.0), Ok(-0.5)));
    assert!(worth("LABEL_2", &told).expect_err("too great").contains("found=7"));
}

#[test]
fn stars_become_three_labels() {
    let stars = [-1.0, -0.5, 0.0, 0.5, 1.0];
    let (label, score, chance) = conclude(&[0.3, 0.3, 0.4, 0.0, 0.0], &stars);
    assert_eq!(label, Label::Negative, "two bad classes outweigh the greatest one");
    assert!(
        (score + 0.45).abs() < 1e-6 && (chance - 0.6).abs() < 1e-6,
        "{score} {chance}"
    );
    assert_eq!(conclude(&[0.0, 0.0, 1.0, 0.0, 0.0], &stars), (Label::Neutral, 0.0, 1.0));
}

#[test]
fn a_file_that_was_changed_is_named_with_both_hashes() {
    let file = File {
        name: "models/model.onnx".to_owned(),
        bytes: b"weights".to_vec(),
        sha256: "00".repeat(32),
    };
    let message = file.verify().expect_err("another file");
    let found: String = Sha256::digest(b"weights")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(
        message.starts_with("models/model.onnx: ") && message.contains(&found) && message.contains(&file.sha256),
        "{message}"
    );
}

#[test]
fn a_format_that_is_not_built_is_refused_by_the_features_name() {
    let load = |name: &str| {
        let mut files = Files::default();
        name.clone_into(&mut files.weights.name);
        Transformer::load(files, Settings::default()).err().expect("refused")
    };
    for (name, format) in [("m.onnx", Format::Onnx), ("m.safetensors", Format::Safetensors)] {
        let message = load(name);
        let named = message.contains(&format!("--features {}", format.feature()));
        assert_eq!(named, !format.is_built(), "{message}");
    }
    assert!(load("m.bin").contains("neither .onnx nor .safetensors"));
}
