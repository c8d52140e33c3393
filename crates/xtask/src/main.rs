//! Builds what is generated and committed: the lexicons of `sentiment`, out of pinned artefacts of package registries.

mod fetch;
mod formats;
mod manifest;
mod merge;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use manifest::Manifest;

/// `cargo xtask lexicons [--check] [--cache DIR]`.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["lexicons"] => lexicons(None, Write::Files),
        ["lexicons", "--check"] => lexicons(None, Write::Nothing),
        ["lexicons", "--cache", cache] => lexicons(Some(cache), Write::Files),
        ["lexicons", "--check", "--cache", cache] => lexicons(Some(cache), Write::Nothing),
        _ => {
            eprintln!("usage: cargo xtask lexicons [--check] [--cache DIR]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(1)
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Write {
    Files,
    Nothing,
}

/// Downloads, verifies and merges; writes the lexicons and licences, or says which differ from what is committed.
fn lexicons(cache: Option<&str>, write: Write) -> Result<(), String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = here.parent().ok_or("the crate lies in a folder")?;
    let sentiment = crates.join("sentiment");
    let manifest = Manifest::read(&here.join("lexicons.toml"))?;
    let cache = cache.map_or_else(|| std::env::temp_dir().join("waymark-lexicons"), PathBuf::from);
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for artefact in &manifest.artefact {
        fetch::artefact(artefact, &cache)?;
        let text = fetch::licence(artefact, &cache)?;
        files.push((sentiment.join("LICENSES").join(&artefact.name), text));
    }
    let mut rated = std::collections::BTreeMap::new();
    for lang in manifest.languages() {
        let mut sources = Vec::new();
        for lexicon in manifest.of(&lang) {
            let text = fetch::inside(&lexicon.artefact, &lexicon.path, &cache)?;
            let votes = formats::read(lexicon, &text, &rated)
                .map_err(|problem| format!("{}: {}: {problem}", lexicon.artefact, lexicon.path))?;
            sources.push((lexicon, votes));
        }
        let own = sentiment.join("own").join(format!("{lang}.tsv"));
        let own_text = std::fs::read_to_string(&own).map_err(|error| format!("{}: {error}", own.display()))?;
        let own = merge::own(&own_text).map_err(|problem| format!("{}: {problem}", own.display()))?;
        let text = merge::merge(&own, &sources);
        if lang == "en" {
            rated = merge::words(&text);
        }
        files.push((sentiment.join("lexicons").join(format!("{lang}.tsv")), text));
    }
    let mut differ = Vec::new();
    for (path, text) in files {
        if std::fs::read_to_string(&path).ok().as_ref() == Some(&text) {
            continue;
        }
        match write {
            Write::Nothing => differ.push(path.display().to_string()),
            Write::Files => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
                }
                std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
                eprintln!("wrote {}", path.display());
            }
        }
    }
    if differ.is_empty() {
        return Ok(());
    }
    Err(format!("differs from what the manifest gives: {}", differ.join(" ")))
}
