//! What is wrong with a pattern file, and where.

use std::fmt;

/// How bad a finding is. Errors stop a start; warnings do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file works, but probably does not do what its author wants.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding, printed as `FILE:LINE:COLUMN: SEVERITY[CODE]: MESSAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable code, for example `within-missing`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// The file as it was named to us.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong, variables last.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            code,
            message,
            ..
        } = self;
        write!(
            f,
            "{file}:{line}:{column}: {}[{code}]: {message}",
            self.severity.as_str()
        )?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Mark {
    pub line: u32,
    pub column: u32,
}

/// Gathers findings of one file.
#[derive(Debug, Default)]
pub(crate) struct Report {
    file: String,
    findings: Vec<Finding>,
}

impl Report {
    /// What was read, or every error of the file, sorted by position.
    pub fn unless_errors<T>(self, read: Option<T>) -> Result<T, Vec<Finding>> {
        match read {
            Some(read) if !self.has_errors() => Ok(read),
            _ => {
                let findings = self.finish().into_iter();
                Err(findings.filter(|finding| finding.severity == Severity::Error).collect())
            }
        }
    }

    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            findings: Vec::new(),
        }
    }

    pub fn error(&mut self, at: Mark, code: &'static str, message: impl Into<String>) {
        self.push(at, code, Severity::Error, message.into(), None);
    }

    pub fn error_with_help(
        &mut self,
        at: Mark,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(at, code, Severity::Error, message.into(), Some(help.into()));
    }

    pub fn warning(&mut self, at: Mark, code: &'static str, message: impl Into<String>) {
        self.push(at, code, Severity::Warning, message.into(), None);
    }

    pub fn warning_with_help(&mut self, at: Mark, code: &'static str, message: impl Into<String>, help: &str) {
        self.push(at, code, Severity::Warning, message.into(), Some(help.to_owned()));
    }

    fn push(&mut self, at: Mark, code: &'static str, severity: Severity, message: String, help: Option<String>) {
        // What YAML has made of a `where` that wants quotes is not what was written: what follows from it is not told.
        let follows = code == "type" || code == "name-unknown" || code.starts_with("where-");
        let is_cut = |known: &Finding| known.code == "quote" && known.line == at.line;
        if follows && self.findings.iter().any(is_cut) {
            return;
        }
        let finding = Finding {
            code,
            severity,
            file: self.file.clone(),
            line: at.line,
            column: at.column,
            message,
            help,
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    pub fn finish(mut self) -> Vec<Finding> {
        self.findings
            .sort_by_key(|finding| (finding.line, finding.column, finding.severity));
        self.findings
    }
}

/// The word of `among` that is nearest to `word`, if it is near enough to be what was meant: at most a third of its letters
/// differ, two that changed places count as one (optimal string alignment distance).
#[must_use]
pub fn nearest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    among
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1; right.len() + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = row[j] + usize::from(a != b);
            next[j + 1] = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                let swapped: usize = before[j - 1];
                next[j + 1] = next[j + 1].min(swapped + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        assert_eq!(nearest("wihtin", ["within", "until", "where"]), Some("within"));
        assert_eq!(nearest("cart.item_added", ["cart.product_added", "cart.viewed"]), None);
        assert_eq!(nearest("x", ["within"]), None);
        assert_eq!(nearest("ownre", ["owner", "when"]), Some("owner"));
        assert_eq!(nearest("tiems", ["times", "see"]), Some("times"));
        assert_eq!(nearest("sea", ["see", "as"]), Some("see"));
        for (one, other, expected) in [
            ("ab", "ba", 1),
            ("abc", "ca", 3),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
