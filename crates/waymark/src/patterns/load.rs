//! Pattern files as every command reads them.

use std::{path::PathBuf, sync::Arc};

use pattern::{Finding, Pattern, Policy, Severity, lint, parse, parse_policy};

use crate::files::{PatternFile, read_patterns};

/// Files, and what stands in those that can be used.
pub struct Loaded {
    /// All of them.
    pub files: Vec<PatternFile>,
    /// Patterns without an error, each with the place of its file among [`Loaded::files`].
    pub patterns: Vec<(usize, Arc<Pattern>)>,
    /// The policy, where a file `policy.yaml` holds one.
    pub policy: Option<Arc<Policy>>,
    /// Everything that is wrong or doubtful.
    pub findings: Vec<Finding>,
}

/// Reads and lints files and folders.
///
/// # Errors
/// A message that names the path that cannot be read.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, String> {
    let (files, findings) = read_patterns(paths)?;
    let mut loaded = Loaded {
        files,
        patterns: Vec::new(),
        policy: None,
        findings,
    };
    for (index, file) in loaded.files.iter().enumerate() {
        let name = file.path.display().to_string();
        if file.is_policy() {
            match parse_policy(&name, &file.text) {
                Ok(policy) => loaded.policy = Some(Arc::new(policy)),
                Err(findings) => loaded.findings.extend(findings),
            }
            continue;
        }
        loaded.findings.extend(lint(&name, &file.text));
        let Ok(pattern) = parse(&name, &file.text) else {
            continue;
        };
        if loaded.patterns.iter().any(|(_, known)| known.id == pattern.id) {
            loaded.findings.push(Finding {
                code: "duplicate",
                severity: Severity::Error,
                file: name,
                line: 1,
                column: 1,
                message: format!("two files hold this pattern: pattern={}", pattern.id),
                help: None,
            });
            continue;
        }
        loaded.patterns.push((index, Arc::new(pattern)));
    }
    let place = |finding: &Finding| (finding.file.clone(), finding.line, finding.column);
    loaded.findings.sort_by_key(place);
    Ok(loaded)
}

impl Loaded {
    /// What must be mended before anything can be done.
    #[must_use]
    pub fn errors(&self) -> Vec<Finding> {
        let errors = self
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error);
        errors.cloned().collect()
    }

    /// The name of a pattern's file.
    #[must_use]
    pub fn file(&self, index: usize) -> String {
        self.files[index].path.display().to_string()
    }

    /// The patterns of these names, or all; a message names the first that is not there.
    ///
    /// # Errors
    /// That message.
    pub fn named(&self, names: &[String]) -> Result<Vec<Arc<Pattern>>, String> {
        let all = || self.patterns.iter().map(|(_, pattern)| pattern);
        if names.is_empty() {
            return Ok(all().cloned().collect());
        }
        let one = |name: &String| {
            let found = all().find(|pattern| pattern.id == *name).cloned();
            found.ok_or_else(|| {
                let near = pattern::nearest(name, all().map(|pattern| pattern.id.as_str()));
                let near = near.map_or_else(String::new, |near| format!(" nearest={near}"));
                format!("no such pattern: found={name}{near}")
            })
        };
        names.iter().map(one).collect()
    }
}
