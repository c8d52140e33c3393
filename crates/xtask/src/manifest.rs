//! The manifest: which files of which packages, and what their votes weigh.

use std::path::Path;

use serde::Deserialize;

/// The whole manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What is downloaded.
    pub artefact: Vec<Artefact>,
    /// What is read out of it.
    pub lexicon: Vec<Lexicon>,
}

/// One file of a registry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefact {
    /// Its name in the lexicons' `source` column.
    pub name: String,
    /// The registry's client.
    pub client: Client,
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The name under which the client stores it.
    pub file: String,
    /// What its bytes must hash to, in hexadecimal.
    pub sha256: String,
    /// The licence in words.
    pub licence: String,
    /// The licence's files inside the artefact.
    pub licence_files: Vec<String>,
    /// Where the part of the licence begins and ends that speaks of what is taken.
    pub licence_part: Option<[String; 2]>,
    /// Whose work it is, and what of it is taken.
    pub note: String,
}

/// A registry's own client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// `pip download`.
    Pip,
    /// `npm pack`.
    Npm,
    /// `apt-get download`.
    Apt,
}

/// One word list inside an artefact.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lexicon {
    /// Its language, or `emoji`.
    pub lang: String,
    /// The artefact's name.
    pub artefact: String,
    /// Where it lies inside.
    pub path: String,
    /// How it is written.
    pub format: Format,
    /// The vote that it has, 0 to 1.
    pub weight: f64,
    /// What brings its figures to −4..4.
    pub scale: f64,
    /// What is left of its good words, 0 to 1: many of them are said by the way. 1 unless it is told.
    #[serde(default = "whole")]
    pub good: f64,
}

fn whole() -> f64 {
    1.0
}

/// How a word list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `term<TAB>weight<TAB>…`.
    Tab,
    /// The lines of a JavaScript object.
    Js,
    /// A JSON object of terms.
    Json,
    /// A JSON object of stems.
    Stems,
    /// Pattern's XML: one element per sense.
    Pattern,
    /// `emoji<TAB>name`, rated by the words of its name.
    EmojiNames,
}

impl Manifest {
    /// Reads the manifest; what it names must be there and no vote may exceed 1.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let manifest: Self = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        for lexicon in &manifest.lexicon {
            if !manifest
                .artefact
                .iter()
                .any(|artefact| artefact.name == lexicon.artefact)
            {
                return Err(format!(
                    "{}: unknown artefact: found={}",
                    path.display(),
                    lexicon.artefact
                ));
            }
            for (name, part) in [("weight", lexicon.weight), ("good", lexicon.good)] {
                if !(0.0..=1.0).contains(&part) {
                    return Err(format!(
                        "{}: a lexicon's part lies between 0 and 1: field={name} found={part}",
                        path.display()
                    ));
                }
            }
        }
        Ok(manifest)
    }

    /// Languages in the order of their names, English first: emoji are rated by its words.
    pub fn languages(&self) -> Vec<String> {
        let mut languages: Vec<String> = self.lexicon.iter().map(|lexicon| lexicon.lang.clone()).collect();
        languages.sort_by_key(|lang| (lang != "en", lang.clone()));
        languages.dedup();
        languages
    }

    /// The word lists of a language.
    pub fn of<'a>(&'a self, lang: &'a str) -> impl Iterator<Item = &'a Lexicon> {
        self.lexicon.iter().filter(move |lexicon| lexicon.lang == lang)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_committed_comes_from_what_the_manifest_names() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sentiment = here.join("../sentiment");
        let manifest = Manifest::read(&here.join("lexicons.toml")).expect("the manifest");
        for artefact in &manifest.artefact {
            let path = sentiment.join("LICENSES").join(&artefact.name);
            let licence = std::fs::read_to_string(&path).unwrap_or_default();
            for line in [
                format!("SHA-256: {}", artefact.sha256),
                format!("Licence: {}", artefact.licence),
            ] {
                assert!(licence.contains(&line), "{}: {line}", path.display());
            }
        }
        for lang in manifest.languages() {
            let path = sentiment.join(format!("lexicons/{lang}.tsv"));
            let text = std::fs::read_to_string(&path).expect("a lexicon");
            let named: BTreeSet<&str> = manifest.of(&lang).map(|lexicon| lexicon.artefact.as_str()).collect();
            let of_row = |line: &'_ str| line.rsplit('\t').next().map(ToOwned::to_owned);
            let sources: BTreeSet<String> = text.lines().skip(1).filter_map(of_row).collect();
            for source in sources.iter().flat_map(|sources| sources.split('+')) {
                assert!(source == "waymark" || named.contains(source), "{lang}: {source}");
            }
        }
    }
}
