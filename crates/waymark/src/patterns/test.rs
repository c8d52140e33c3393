//! `waymark pattern test`: the tests inside pattern files, for people, for programs and as JUnit XML.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use journey::run_tests;
use pattern::TestResult;
use serde_json::{Value, json};

use super::load::load;
use crate::report::{Exit, Failure, Report};

/// The tests of one file.
struct Suite {
    pattern: String,
    file: String,
    results: Vec<TestResult>,
}

/// Runs the tests of files and folders.
///
/// # Errors
/// [`Failure`] where a path cannot be read, or the JUnit file cannot be written.
pub fn run(paths: &[PathBuf], junit: Option<&Path>) -> Result<Report, Failure> {
    let loaded = load(paths)?;
    let suites: Vec<Suite> = loaded
        .patterns
        .iter()
        .map(|(index, pattern)| Suite {
            pattern: pattern.id.clone(),
            file: loaded.file(*index),
            results: run_tests(pattern),
        })
        .collect();
    if let Some(path) = junit {
        let wrong = |error: std::io::Error| Failure::invalid(format!("{}: cannot be written: {error}", path.display()));
        std::fs::write(path, xml(&suites, &loaded.errors())).map_err(wrong)?;
    }
    let (mut text, mut tests, mut failed) = (String::new(), Vec::<Value>::new(), 0);
    for suite in &suites {
        for result in &suite.results {
            match &result.failure {
                None => text.push_str(&format!("ok      {}: {}\n", suite.pattern, result.name)),
                Some(failure) => {
                    failed += 1;
                    text.push_str(&format!(
                        "FAILED  {}: {}\n  {}:{}: {failure}\n",
                        suite.pattern, result.name, suite.file, result.line
                    ));
                    for step in &result.steps {
                        text.push_str(&format!("    {step}\n"));
                    }
                }
            }
            tests.push(json!({
                "pattern": suite.pattern, "name": result.name, "file": suite.file, "line": result.line,
                "ok": result.failure.is_none(), "failure": result.failure, "steps": result.steps,
            }));
        }
    }
    let errors = loaded.errors();
    text.push_str(&format!("tests {}, failed {failed}", tests.len()));
    if !errors.is_empty() {
        text.push_str(&format!(", errors {}", errors.len()));
    }
    let fails = failed > 0 || !errors.is_empty();
    Ok(Report {
        command: "pattern test",
        exit: if fails { Exit::Findings } else { Exit::Done },
        findings: errors,
        data: json!({ "tests": tests, "failed": failed }),
        text,
    })
}

/// The results as JUnit XML, as build servers read it: a suite per pattern, and one of files that cannot be used.
fn xml(suites: &[Suite], errors: &[pattern::Finding]) -> String {
    let failed = |suite: &Suite| suite.results.iter().filter(|result| result.failure.is_some()).count();
    let (tests, failures): (usize, usize) = suites.iter().fold((0, 0), |(tests, failures), suite| {
        (tests + suite.results.len(), failures + failed(suite))
    });
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites name=\"waymark pattern test\" tests=\"{}\" failures=\"{failures}\" errors=\"{}\">",
        tests + errors.len(),
        errors.len()
    );
    for suite in suites {
        let (name, file) = (escape(&suite.pattern), escape(&suite.file));
        let (tests, failures) = (suite.results.len(), failed(suite));
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" file=\"{file}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"0\">"
        );
        for result in &suite.results {
            let test = escape(&result.name);
            let _ = write!(
                out,
                "    <testcase classname=\"{name}\" name=\"{test}\" file=\"{file}\" line=\"{}\" time=\"0\"",
                result.line
            );
            match &result.failure {
                None => out.push_str("/>\n"),
                Some(failure) => {
                    let (failure, steps) = (escape(failure), escape(&result.steps.join("\n")));
                    let _ = writeln!(
                        out,
                        ">\n      <failure message=\"{failure}\" type=\"expectation\">{steps}</failure>\n    </testcase>"
                    );
                }
            }
        }
        out.push_str("  </testsuite>\n");
    }
    if !errors.is_empty() {
        let errors_total = errors.len();
        let _ = writeln!(
            out,
            "  <testsuite name=\"files\" tests=\"{errors_total}\" failures=\"0\" errors=\"{errors_total}\" time=\"0\">"
        );
        for error in errors {
            let (file, message) = (escape(&error.file), escape(&error.to_string()));
            let _ = writeln!(
                out,
                "    <testcase classname=\"files\" name=\"{file}:{}:{}\" time=\"0\">\n      \
                 <error message=\"{message}\" type=\"{}\"/>\n    </testcase>",
                error.line, error.column, error.code
            );
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text as it may stand in an attribute or an element; what XML cannot hold becomes a question mark.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push(' '),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_well_formed_whatever_they_hold() {
        let result = |name: &str, failure: Option<&str>| TestResult {
            name: name.to_owned(),
            line: 7,
            failure: failure.map(ToOwned::to_owned),
            steps: vec!["0ms a.b: step <1>".to_owned(), "5ms: open".to_owned()],
        };
        let suites = [Suite {
            pattern: "cart-doubt".to_owned(),
            file: "patterns/cart-doubt.yaml".to_owned(),
            results: vec![
                result("fine", None),
                result("a < b & \"c\"", Some("expected: x; got: nothing\u{1}")),
            ],
        }];
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="waymark pattern test" tests="2" failures="1" errors="0">
  <testsuite name="cart-doubt" file="patterns/cart-doubt.yaml" tests="2" failures="1" errors="0" time="0">
    <testcase classname="cart-doubt" name="fine" file="patterns/cart-doubt.yaml" line="7" time="0"/>
    <testcase classname="cart-doubt" name="a &lt; b &amp; &quot;c&quot;" file="patterns/cart-doubt.yaml" line="7" time="0">
      <failure message="expected: x; got: nothing?" type="expectation">0ms a.b: step &lt;1&gt;&#10;5ms: open</failure>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(xml(&suites, &[]), expected);
    }
}
