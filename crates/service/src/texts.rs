//! What texts are read by: the lexicons that ship, what an operator adds to them (`<lang>.tsv` and `<lang>.model` in
//! `sentiment.models_dir`), and a transformer of the operator's own. `intake` and `monitor` read by the same.

use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use sentiment::{
    Extension, LANGUAGES, Reader, Scorer,
    transformer::{File, Files, Settings, Transformer},
};

use crate::config::Config;

/// Reads the folder; a file that is there for a language is in use for it. An empty name is no folder. A folder that cannot be read,
/// and a file that is broken, damaged or newer, is an error that names it: a service must not start with less than it was given.
pub fn extensions(folder: &str) -> Result<Vec<Extension>, String> {
    if folder.is_empty() {
        return Ok(Vec::new());
    }
    let folder = Path::new(folder);
    if !folder.is_dir() {
        return Err(format!("sentiment.models_dir: no such folder: {}", folder.display()));
    }
    let mut extensions = Vec::new();
    for lang in LANGUAGES {
        let read = |ending: &str| {
            let path = folder.join(format!("{lang}.{ending}"));
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(format!("{}: {error}", path.display())),
            }
        };
        let overlay = read("tsv")?
            .map(|bytes| utf8(&folder.join(format!("{lang}.tsv")), bytes))
            .transpose()?;
        let model = read("model")?;
        if overlay.is_some() || model.is_some() {
            extensions.push(Extension {
                lang: lang.to_owned(),
                overlay,
                model,
                rules: None,
            });
        }
    }
    Ok(extensions)
}

/// A file's text; the message names file, line and column of the first byte that is none.
pub fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let (good, wrong) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + good.iter().rev().take_while(|byte| **byte != b'\n').count();
        let byte = wrong.first().copied().unwrap_or_default();
        // What spreadsheets call Unicode text.
        let utf16 = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        let instead = if utf16 { ", but UTF-16" } else { "" };
        format!(
            "{}:{line}: no UTF-8{instead}: byte={column} found={byte:#04x}",
            path.display()
        )
    })
}

/// The scorer of what ships and of what was read from a folder; the message names the file that is broken.
pub fn load(folder: &str, extensions: &[Extension]) -> Result<Scorer, String> {
    Scorer::with(extensions).map_err(|problem| format!("{}/{problem}", folder.trim_end_matches('/')))
}

/// The scorer that the configuration wants.
pub fn scorer(config: &Config) -> Result<Scorer, String> {
    let folder = config.text("sentiment.models_dir");
    load(folder, &extensions(folder)?)
}

/// Everything that reads texts, as the configuration wants it.
///
/// # Errors
/// If a folder or file that is configured is not there, cannot be understood or has changed, or this binary cannot read its format.
pub fn reader(config: &Config) -> Result<Reader, String> {
    let scorer = scorer(config)?;
    let transformer = match config.get("sentiment.transformer") {
        Some(weights) => Some(
            transformer(config, Path::new(weights)).map_err(|problem| format!("sentiment.transformer: {problem}"))?,
        ),
        None => None,
    };
    Ok(Reader { scorer, transformer })
}

/// What the workers of a service read texts by, shared by all of them. What an operator gives is loaded at once, so that a start is
/// refused before a group is joined; what ships cannot be broken, and is loaded by whoever needs it first, while others wait for a broker.
#[derive(Default)]
pub struct Readings(OnceLock<Arc<Reader>>);

impl Readings {
    /// As the configuration wants it.
    ///
    /// # Errors
    /// Those of [`reader`].
    pub fn of(config: &Config) -> Result<Self, String> {
        let ships = config.text("sentiment.models_dir").is_empty() && config.get("sentiment.transformer").is_none();
        Ok(if ships {
            Self::default()
        } else {
            Self::loaded(Arc::new(reader(config)?))
        })
    }

    /// What is loaded already.
    #[must_use]
    pub fn loaded(reader: Arc<Reader>) -> Self {
        Self(OnceLock::from(reader))
    }

    /// Loads it, or waits for whoever does.
    #[must_use]
    pub fn get(&self) -> Arc<Reader> {
        Arc::clone(self.0.get_or_init(Arc::default))
    }
}

/// Loads the transformer whose weights lie at `weights`, with `tokenizer.json` and `config.json` beside them.
fn transformer(config: &Config, weights: &Path) -> Result<Transformer, String> {
    let words = config.text("sentiment.transformer_languages").split(',').map(str::trim);
    let languages: Vec<String> = words.filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
    if let Some(unknown) = languages.iter().find(|lang| !LANGUAGES.contains(&lang.as_str())) {
        return Err(format!(
            "no such language: found={unknown} known={}",
            LANGUAGES.join(" ")
        ));
    }
    let number = |key: &str| config.number(key);
    let settings = Settings {
        below: f64::from(i32::try_from(number("sentiment.transformer_below")).unwrap_or(0)) / 100.0,
        sample: u64::try_from(number("sentiment.transformer_sample")).unwrap_or(0),
        max_tokens: usize::try_from(number("sentiment.transformer_tokens")).unwrap_or(0),
        languages,
        labels: config.pairs("sentiment.transformer_labels"),
    };
    let hashes = config.pairs("sentiment.transformer_sha256");
    let file = |path: &Path| -> Result<File, String> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let expected = hashes.get(name.as_deref().unwrap_or_default());
        let sha256 = expected.cloned().ok_or_else(|| {
            format!(
                "{}: no hash: say sentiment.transformer_sha256 = \"{}=…\", as sha256sum prints it",
                path.display(),
                name.unwrap_or_default()
            )
        })?;
        let bytes =
            std::fs::read(path).map_err(|error| format!("{}: {error}: expected sha256={sha256}", path.display()))?;
        Ok(File {
            name: path.display().to_string(),
            bytes,
            sha256,
        })
    };
    let beside = |name: &str| file(&weights.with_file_name(name));
    // A format that this binary cannot read is refused before hundreds of megabytes are.
    if let Some(format) = sentiment::transformer::Format::of(&weights.to_string_lossy())
        && !format.is_built()
    {
        let mut files = Files::default();
        files.weights.name = weights.display().to_string();
        return Transformer::load(files, settings);
    }
    let files = Files {
        tokenizer: beside("tokenizer.json")?,
        config: beside("config.json")?,
        weights: file(weights)?,
        // What has no hash is not in use, so that a table can be measured anew.
        calibration: match hashes.contains_key("calibration.tsv") {
            true => Some(beside("calibration.tsv")?),
            false => None,
        },
    };
    Transformer::load(files, settings)
}
