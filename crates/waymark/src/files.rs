//! Finds and reads pattern files.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

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

/// Reads files, and every `.yaml` or `.yml` in folders, in name order, each once. One that cannot be read is a finding, and the others are
/// read; so is a folder in a folder, which is not looked into.
///
/// # Errors
/// A message that names the path at fault where a folder cannot be listed or holds no pattern, or a file that was named cannot be opened.
pub fn read_patterns(paths: &[PathBuf]) -> Result<(Vec<PatternFile>, Vec<Finding>), String> {
    let (mut files, mut findings) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_dir() {
            let (inside, folders) = list(path)?;
            if inside.is_empty() {
                return Err(format!("{}: no pattern file in this folder", path.display()));
            }
            files.extend(inside);
            findings.extend(folders.iter().map(|folder| passed_over(folder)));
        } else {
            std::fs::File::open(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
            files.push(path.clone());
        }
    }
    let (mut read, mut known) = (Vec::new(), HashSet::new());
    for path in files {
        if !known.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            continue;
        }
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

fn is_yaml(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml"))
}

/// A folder with files that somebody may think are read.
fn passed_over(folder: &Path) -> Finding {
    Finding {
        code: "folder",
        severity: Severity::Warning,
        file: folder.display().to_string(),
        line: 1,
        column: 1,
        message: "a folder in a folder is not looked into".to_owned(),
        help: Some("name it too".to_owned()),
    }
}

/// The files of a folder, and the folders in it that hold some too.
fn list(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), String> {
    let wrong = |error: std::io::Error| format!("{}: cannot be listed: {error}", folder.display());
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.is_dir() {
            let inside = std::fs::read_dir(&path).into_iter().flatten().flatten();
            if inside.map(|entry| entry.path()).any(|path| is_yaml(&path)) {
                folders.push(path);
            }
        } else if is_yaml(&path) {
            files.push(path);
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
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

    #[test]
    fn a_file_that_is_named_twice_is_read_once_and_a_folder_inside_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, inside) = (folder.path().join("a.yaml"), folder.path().join("old"));
        std::fs::write(&file, "pattern: a\n").expect("written");
        std::fs::create_dir(&inside).expect("made");
        let read = |paths: &[PathBuf]| read_patterns(paths).expect("read");
        let (files, findings) = read(&[file.clone(), folder.path().to_owned(), folder.path().join("./a.yaml")]);
        assert_eq!((files.len(), findings.len()), (1, 0), "nothing is passed over");
        std::fs::write(inside.join("b.yml"), "pattern: b\n").expect("written");
        let (files, findings) = read(&[folder.path().to_owned()]);
        let told = findings.iter().map(|one| (one.code, one.severity, one.file.as_str()));
        let expected = ("folder", Severity::Warning, inside.to_str().expect("a name"));
        assert_eq!((files.len(), told.collect::<Vec<_>>()), (1, vec![expected]));
    }
}
