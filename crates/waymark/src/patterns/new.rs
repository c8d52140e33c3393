//! `waymark pattern new`: a skeleton with two passing tests.

use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

use serde_json::json;

use crate::{
    cli::{New, Skeleton},
    report::{Exit, Failure, Report},
};

/// Writes the skeleton and prints its path. A file that exists is never touched.
///
/// # Errors
/// [`Failure`] if the file exists (refused as unsafe) or cannot be written.
pub fn run(options: &New) -> Result<Report, Failure> {
    let path = options.dir.join(format!("{}.yaml", options.name));
    let wrong = |path: &PathBuf, error: std::io::Error| {
        Failure::invalid(format!("{}: cannot be written: {error}", path.display()))
    };
    std::fs::create_dir_all(&options.dir).map_err(|error| wrong(&options.dir, error))?;
    let made = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = match made {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure {
                exit: Exit::Unsafe,
                message: format!("{}: file exists and is left as it is", path.display()),
            });
        }
        Err(error) => return Err(wrong(&path, error)),
    };
    file.write_all(skeleton(&options.name, options.from).as_bytes())
        .map_err(|error| wrong(&path, error))?;
    let shown = path.display().to_string();
    Ok(Report {
        command: "pattern new",
        exit: Exit::Done,
        findings: Vec::new(),
        data: json!({ "path": shown }),
        text: shown,
    })
}

/// A pattern file that lints without a warning and passes its tests.
#[must_use]
pub fn skeleton(name: &str, from: Skeleton) -> String {
    let (title, when, cancel, because, tests) = match from {
        Skeleton::Sequence => (
            "One thing happens after another",
            "  within: 30m                  # from the first event to the match; at most 30d
  sequence:
    - see: product.viewed
      times: 2                   # at least so often
    - see: cart.product_removed
",
            "[order.completed]",
            "looked {{ seen[0].count }} times, then took a product out of the cart",
            "  - name: two views, then out of the cart
    given:
      - { at: 0m, is: product.viewed, product_id: p1 }
      - { at: 1m, is: product.viewed, product_id: p2 }
      - { at: 3m, is: cart.product_removed, product_id: p2 }
    expect:
      - { at: 3m, intervene: notify, because: \"looked 2 times, then took a product out of the cart\" }
  - name: one view is not enough
    given:
      - { at: 0m, is: product.viewed, product_id: p1 }
      - { at: 3m, is: cart.product_removed, product_id: p1 }
    expect: []
",
        ),
        Skeleton::Count => (
            "One thing happens again and again",
            "  within: 15m                  # all of them in this span; at most 30d
  by: [conversation]           # counted for each of its values apart
  sequence:
    - see: bot.fallback
      times: 3
  until: [conversation.ended]  # starts over
",
            "[agent.connected, conversation.ended]",
            "the bot failed {{ seen[0].count }} times",
            "  - name: three times in one conversation
    given:
      - { at: 0m, is: bot.fallback, channel: chat, conversation: c1 }
      - { at: 1m, is: bot.fallback, channel: chat, conversation: c1 }
      - { at: 2m, is: bot.fallback, channel: chat, conversation: c1 }
    expect:
      - { at: 2m, intervene: notify, because: \"the bot failed 3 times\" }
  - name: three times in two conversations
    given:
      - { at: 0m, is: bot.fallback, channel: chat, conversation: c1 }
      - { at: 1m, is: bot.fallback, channel: chat, conversation: c2 }
      - { at: 2m, is: bot.fallback, channel: chat, conversation: c1 }
    expect: []
",
        ),
        Skeleton::Absence => (
            "Something is awaited and does not happen",
            "  within: 10m                  # not shorter than the wait; at most 30d
  sequence:
    - see: checkout.started
    - absent: order.completed
      for: 5m                    # fires although nothing happens
",
            "[order.completed]",
            "started to pay {{ seen[0].last.value }} and did not finish",
            "  - name: five minutes without an order
    given:
      - { at: 0m, is: checkout.started, value: 80.0, currency: EUR }
    expect:
      - { at: 5m, intervene: notify, because: \"started to pay \u{20ac} 80.00 and did not finish\" }
  - name: an order in time
    given:
      - { at: 0m, is: checkout.started, value: 80.0, currency: EUR }
      - { at: 4m, is: order.completed, order_id: o1, value: 80.0, currency: EUR }
    expect: []
",
        ),
    };
    format!(
        "# yaml-language-server: $schema=./pattern.schema.json
# Made by `waymark pattern schema > pattern.schema.json`; docs/PATTERNS.md explains every key.
pattern: {name}
version: 1                       # raise it whenever `when` changes
title: {title}
owner: my-team
status: draft                    # then shadow, then live
when:
{when}then:
  intervene: notify
  channels: [email]
  priority: 50                   # 0 to 100, higher goes first
  valid_for: 2h
  cancel_on: {cancel}
  because:
    en: \"{because}\"
guard: {{ consent: service, cooldown: 24h }}
rollout: {{ percent: 100, holdout: 10, seed: {name}-1 }}
tests:
{tests}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_skeleton_is_clean_and_passes_its_tests() {
        for from in [Skeleton::Sequence, Skeleton::Count, Skeleton::Absence] {
            let text = skeleton("my-pattern", from);
            assert_eq!(pattern::lint("my-pattern.yaml", &text), [], "{from:?}");
            let pattern = pattern::parse("my-pattern.yaml", &text).expect("linted");
            let results = journey::run_tests(&pattern);
            let failures: Vec<_> = results.iter().filter_map(|result| result.failure.as_ref()).collect();
            assert_eq!((results.len(), failures), (2, vec![]), "{from:?}");
        }
    }

    #[test]
    fn a_file_that_exists_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let options = New {
            name: "my-pattern".to_owned(),
            from: Skeleton::Count,
            dir: dir.path().join("patterns"),
        };
        let made = run(&options).expect("made");
        std::fs::write(&made.text, "mine").expect("written");
        let refused = run(&options).expect_err("refused");
        assert_eq!(refused.exit, Exit::Unsafe);
        assert_eq!(std::fs::read_to_string(&made.text).expect("there"), "mine");
    }
}
