//! Finds and reads pattern files.

use std::path::{Path, PathBuf};

use pattern::{Finding, Severity};

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

/// Reads files, and every `.yaml` or `.yml` in folders, in name order. One that cannot be read is a finding, and the others are read.
///
/// # Errors
/// A message that names the path at fault where a folder cannot be listed or holds no pattern, or a file that was named cannot be opened.
pub fn read_patterns(paths: &[PathBuf]) -> Result<(Vec<PatternFile>, Vec<Finding>), String> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inside = list(path)?;
            if inside.is_empty() {
                return Err(format!("{}: no pattern file in this folder", path.display()));
            }
            files.extend(inside);
        } else {
            std::fs::File::open(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
            files.push(path.clone());
        }
    }
    let (mut read, mut findings) = (Vec::new(), Vec::new());
    for path in files {
        match text(&path) {
            Ok(text) => read.push(PatternFile { path, text }),
            Err(finding) => findings.push(finding),
        }
    }
    Ok((read, findings))
}

fn text(path: &Path) -> Result<String, Finding> {
    let unreadable = |line: usize, column: usize, message: String| Finding {
        code: "yaml",
        severity: Severity::Error,
        file: path.display().to_string(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
        message,
        help: None,
    };
    let bytes = std::fs::read(path).map_err(|error| unreadable(1, 1, format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let begun = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&good[begun..]).chars().count() + 1;
        unreadable(line, column, format!("not UTF-8: offset={}", good.len()))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_text_is_named_and_the_others_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.yaml"), b"pattern: a\nowner: \xe9\n").expect("written");
        std::fs::write(folder.path().join("b.yaml"), "pattern: b\n").expect("written");
        let (files, findings) = read_patterns(&[folder.path().to_owned()]).expect("a folder with patterns");
        assert_eq!(files.len(), 1);
        let places: Vec<_> = findings
            .iter()
            .map(|one| (one.line, one.column, one.message.as_str()))
            .collect();
        assert_eq!(places, [(2, 8, "not UTF-8: offset=18")]);
    }
}
