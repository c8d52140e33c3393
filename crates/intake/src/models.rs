//! What an operator adds to the lexicons that ship: `<lang>.tsv` and `<lang>.model` in `sentiment.models_dir`.

use std::{io, path::Path};

use sentiment::{Extension, LANGUAGES, Scorer};
use service::config::Config;

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
            .map(|bytes| String::from_utf8(bytes).map_err(|_| format!("{}: {lang}.tsv is not UTF-8", folder.display())))
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

/// The scorer that the configuration wants.
pub fn scorer(config: &Config) -> Result<Scorer, String> {
    let folder = config.text("sentiment.models_dir");
    Scorer::with(&extensions(folder)?).map_err(|problem| format!("{folder}: {problem}"))
}
