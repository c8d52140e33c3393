//! The catalogue as `journey.patterns` tells it: the newest valid value of every pattern, and the policy.

use std::{collections::BTreeMap, sync::Arc};

use pattern::{Catalogue, Limits, POLICY_KEY, Pattern, Policy, Publishable, Published};
use stream::{Millis, Record};

/// What is known of `journey.patterns`.
#[derive(Debug, Clone, Default)]
pub struct Board {
    patterns: BTreeMap<String, Published<Pattern>>,
    policy: Option<Published<Policy>>,
    /// Values that do not compile here, by key: why, and whether nothing stands in their place although something ought to.
    refused: BTreeMap<String, String>,
    /// The next offset to read: the catalogue's revision.
    revision: i64,
}

/// What a record did to the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// It is in force from the next epoch on, or from the time that it names.
    Taken,
    /// It does not compile here; what was in force stays.
    Refused(String),
}

impl Board {
    /// Takes the next record.
    pub fn take(&mut self, record: &Record) -> Reloaded {
        self.revision = self.revision.max(record.offset + 1);
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let Some(value) = &record.value else {
            self.refused.remove(&key);
            if key == POLICY_KEY {
                self.policy = None;
            }
            self.patterns.remove(&key);
            return Reloaded::Taken;
        };
        let place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let text = String::from_utf8_lossy(value);
        let taken = if key == POLICY_KEY {
            read(&place, &text).map(|policy| self.policy = Some(policy))
        } else {
            read::<Pattern>(&place, &text).and_then(|published| {
                let id = &published.what.id;
                if *id != key {
                    return Err(format!("{place}: key and pattern differ: key={key} pattern={id}"));
                }
                self.patterns.insert(key.clone(), published);
                Ok(())
            })
        };
        match taken {
            Ok(()) => {
                self.refused.remove(&key);
                Reloaded::Taken
            }
            Err(why) => {
                self.refused.insert(key, why.clone());
                Reloaded::Refused(why)
            }
        }
    }

    /// Why the board cannot be worked with from its beginning: a value that does not compile here, and nothing older to stand in its
    /// place. The worker that meets it later goes on with what it has.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        let held = |key: &String| self.patterns.contains_key(key) || (key == POLICY_KEY && self.policy.is_some());
        let missing = self.refused.iter().find(|(key, _)| !held(key));
        missing.map(|(_, why)| why.as_str())
    }

    /// The next offset of `journey.patterns`: what stands in markers and on outputs.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The times of the customers' clocks at which something changes, ascending. Before the first of them, between two and from the last
    /// one on the same rules hold.
    #[must_use]
    pub fn changes(&self) -> Vec<Millis> {
        let of_patterns = self.patterns.values().filter_map(|published| published.effective_from);
        let of_policy = self.policy.iter().filter_map(|published| published.effective_from);
        let mut changes: Vec<Millis> = of_patterns.chain(of_policy).collect();
        changes.sort_unstable();
        changes.dedup();
        changes
    }

    /// The policy in force at a time.
    #[must_use]
    pub fn policy(&self, at: Millis) -> Policy {
        let Some(published) = &self.policy else {
            return Policy::default();
        };
        if published.effective_from.is_none_or(|from| from <= at) {
            (*published.what).clone()
        } else {
            published.before.as_deref().cloned().unwrap_or_default()
        }
    }

    /// Every pattern, whatever its status.
    pub fn patterns(&self) -> impl Iterator<Item = &Arc<Pattern>> {
        self.patterns.values().map(|published| &published.what)
    }

    /// What is in force at a time, compiled for matching. Where another version was in force before, it is compiled too, so that what is
    /// open under it may finish.
    #[must_use]
    pub fn compile(&self, at: Millis, limits: Limits) -> Catalogue {
        let mut patterns: Vec<Arc<Pattern>> = Vec::with_capacity(self.patterns.len());
        for published in self.patterns.values() {
            let what = &published.what;
            if published.effective_from.is_some_and(|from| at < from) {
                patterns.extend(published.before.clone());
                continue;
            }
            let before = published.before.iter().filter(|before| before.version != what.version);
            patterns.extend(before.cloned());
            patterns.push(Arc::clone(what));
        }
        Catalogue::compile(patterns, limits)
    }
}

fn read<T: Publishable>(place: &str, text: &str) -> Result<Published<T>, String> {
    let first =
        |findings: Vec<pattern::Finding>| findings.first().map_or_else(|| place.to_owned(), ToString::to_string);
    Published::read(place, text).map_err(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERN: &str = include_str!("../../pattern/testdata/pattern-1.json");

    fn take(board: &mut Board, offset: i64, key: &str, value: Option<&str>) -> Reloaded {
        board.take(&Record {
            topic: Arc::from("journey.patterns"),
            partition: 0,
            offset,
            timestamp: Millis(0),
            key: Some(key.as_bytes().to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: Vec::new(),
        })
    }

    #[test]
    fn an_invalid_value_leaves_what_was_in_force() {
        let mut board = Board::default();
        assert_eq!(
            take(&mut board, 4, "checkout-hesitation", Some(PATTERN)),
            Reloaded::Taken
        );
        let broken = PATTERN.replace("\"within\"", "\"wihtin\"");
        let refused = take(&mut board, 7, "checkout-hesitation", Some(&broken));
        assert!(matches!(refused, Reloaded::Refused(why) if why.contains("journey.patterns/0/7:1:")));
        assert_eq!((board.revision(), board.patterns().count()), (8, 1));
        assert_eq!(board.missing(), None, "the old one stands in its place");
        assert_eq!(take(&mut board, 8, "checkout-hesitation", None), Reloaded::Taken);
        assert_eq!(board.patterns().count(), 0);
    }

    #[test]
    fn what_never_compiled_is_missing_until_it_is_replaced() {
        let mut board = Board::default();
        let wrong = take(&mut board, 0, "other-name", Some(PATTERN));
        assert!(matches!(wrong, Reloaded::Refused(why) if why.ends_with("key=other-name pattern=checkout-hesitation")));
        assert!(board.missing().is_some());
        take(&mut board, 1, "other-name", None);
        assert_eq!(board.missing(), None);
        take(&mut board, 2, POLICY_KEY, Some("{}"));
        assert!(board.missing().is_some());
        take(&mut board, 3, POLICY_KEY, Some(r#"{"policy":1}"#));
        assert_eq!(board.missing(), None);
    }

    #[test]
    fn a_policy_holds_from_its_time_on() {
        let mut board = Board::default();
        assert_eq!((board.policy(Millis(0)), board.changes()), (Policy::default(), vec![]));
        let value = r#"{"policy":1,"holdout":{"percent":5,"seed":"all-1"},"effective_from":"2026-11-21T13:00:00Z"}"#;
        take(&mut board, 0, POLICY_KEY, Some(value));
        let from = Millis(1_795_266_000_000);
        assert_eq!(board.changes(), [from]);
        assert_eq!(board.policy(from).holdout, 5);
        assert_eq!(board.policy(from.plus(-1)), Policy::default());
        take(&mut board, 1, POLICY_KEY, None);
        assert_eq!((board.policy(from), board.changes()), (Policy::default(), vec![]));
    }

    /// Priorities of the one pattern before its change and from then on; `None` where it is not matched.
    fn priorities(change: &[(&str, &str)], has_before: bool) -> [Option<i32>; 2] {
        let mut next: serde_json::Value = serde_json::from_str(PATTERN).expect("JSON");
        let before = next.clone();
        for (path, value) in change {
            *next.pointer_mut(path).expect("there") = serde_json::from_str(value).expect("JSON");
        }
        next["effective_from"] = "2026-11-21T13:00:00Z".into();
        if has_before {
            next["before"] = before;
        }
        let mut board = Board::default();
        let taken = take(&mut board, 0, "checkout-hesitation", Some(&next.to_string()));
        assert_eq!(taken, Reloaded::Taken);
        let from = board.changes()[0];
        [from.plus(-1), from].map(|at| {
            let catalogue = board.compile(at, Limits::default());
            catalogue
                .get("checkout-hesitation")
                .map(|pattern| pattern.then.priority)
        })
    }

    #[test]
    fn a_pattern_is_in_force_from_its_time_on() {
        let other = [("/then/priority", "71")];
        assert_eq!(priorities(&other, false), [None, Some(71)], "a new one waits");
        assert_eq!(priorities(&other, true), [Some(70), Some(71)]);
        assert_eq!(priorities(&[("/status", "\"paused\"")], true), [Some(70), None]);
        let version = [("/then/priority", "71"), ("/version", "2"), ("/when/within", "\"20m\"")];
        assert_eq!(priorities(&version, true), [Some(70), Some(71)]);
    }
}
