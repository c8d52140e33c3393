//! What is committed of others' words says whose they are.

use std::{collections::BTreeSet, fs, path::Path};

fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_row_has_a_source_and_every_source_a_licence() {
    let mut sources = BTreeSet::new();
    for lang in ["de", "emoji", "en", "es", "fr", "it", "nl"] {
        let text = fs::read_to_string(here(&format!("lexicons/{lang}.tsv"))).expect("a lexicon");
        for (index, line) in text.lines().enumerate().skip(1) {
            let cells: Vec<&str> = line.split('\t').collect();
            assert_eq!(cells.len(), 4, "{lang}.tsv:{}: {line}", index + 1);
            assert!(!cells[3].is_empty(), "{lang}.tsv:{}", index + 1);
            sources.extend(cells[3].split('+').map(ToOwned::to_owned));
        }
    }
    assert!(sources.remove("waymark"), "our own layer is there");
    for source in &sources {
        let licence = fs::read_to_string(here(&format!("LICENSES/{source}"))).unwrap_or_default();
        assert!(
            licence.contains("SHA-256: ") && licence.contains("Licence: "),
            "no licence for {source}"
        );
    }
    let kept: BTreeSet<String> = fs::read_dir(here("LICENSES"))
        .expect("licences")
        .map(|file| file.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(kept, sources, "a licence without a source, or the other way round");
}

#[test]
fn our_own_layer_is_whole_in_what_is_read() {
    for lang in ["de", "emoji", "en", "es", "fr", "it", "nl"] {
        let own = fs::read_to_string(here(&format!("own/{lang}.tsv"))).expect("our own rows");
        let merged = fs::read_to_string(here(&format!("lexicons/{lang}.tsv"))).expect("a lexicon");
        let rows = |text: &'_ str| -> BTreeSet<String> {
            let ours = text.lines().filter(|line| line.ends_with("\twaymark"));
            ours.map(ToOwned::to_owned).collect()
        };
        let (own, merged) = (rows(&own), rows(&merged));
        let apart: Vec<&String> = own.symmetric_difference(&merged).collect();
        assert!(apart.is_empty(), "{lang}: run `cargo xtask lexicons`: {apart:?}");
    }
}

#[test]
fn an_elision_and_its_word_are_written_together() {
    for lang in ["fr", "it"] {
        let own = fs::read_to_string(here(&format!("own/{lang}.tsv"))).expect("our own rows");
        let apart = |line: &&str| {
            let term = line.split('\t').next().unwrap_or_default();
            term.replace("po' ", "").contains("' ")
        };
        let wrong: Vec<&str> = own.lines().filter(apart).collect();
        assert!(
            wrong.is_empty(),
            "{lang}: no text is cut so, nothing would match: {wrong:?}"
        );
    }
}
