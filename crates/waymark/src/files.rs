//! Finds and reads pattern files.

use std::path::{Path, PathBuf};

/// A file's path as the user wrote it, and its text.
#[derive(Debug)]
pub struct PatternFile {
    /// The path.
    pub path: PathBuf,
    /// The content.
    pub text: String,
}

impl PatternFile {
    /// Whether it holds the policy: `policy.yaml`.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        self.path.file_stem().is_some_and(|stem| stem == "policy")
    }
}

/// Reads files, and every `.yaml` or `.yml` in folders, in name order.
///
/// # Errors
/// A message that names the path at fault, also where a folder holds no pattern.
pub fn read_patterns(paths: &[PathBuf]) -> Result<Vec<PatternFile>, String> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inside = list(path)?;
            if inside.is_empty() {
                return Err(format!("{}: no pattern file in this folder", path.display()));
            }
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
            Ok(PatternFile { path, text })
        })
        .collect()
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |error: std::io::Error| format!("{}: cannot be listed: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
