//! The catalogue as `journey.patterns` tells it: the newest valid version of every pattern, and the policy.

use std::{collections::BTreeMap, sync::Arc};

use pattern::{Catalogue, Limits, POLICY_KEY, Pattern, Policy, parse, parse_policy};
use stream::Record;

/// What is known of `journey.patterns`.
#[derive(Debug, Clone, Default)]
pub struct Board {
    patterns: BTreeMap<String, Arc<Pattern>>,
    policy: Policy,
    /// The next offset to read: the catalogue's revision.
    revision: i64,
}

/// What a record did to the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// It is in force from the next epoch on.
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
            if key == POLICY_KEY {
                self.policy = Policy::default();
            }
            self.patterns.remove(&key);
            return Reloaded::Taken;
        };
        let place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let text = String::from_utf8_lossy(value);
        let first =
            |findings: Vec<pattern::Finding>| findings.first().map_or_else(|| place.clone(), ToString::to_string);
        if key == POLICY_KEY {
            return match parse_policy(&place, &text) {
                Ok(policy) => {
                    self.policy = policy;
                    Reloaded::Taken
                }
                Err(findings) => Reloaded::Refused(first(findings)),
            };
        }
        match parse(&place, &text) {
            Ok(pattern) if pattern.id == key => {
                self.patterns.insert(key, Arc::new(pattern));
                Reloaded::Taken
            }
            Ok(pattern) => Reloaded::Refused(format!(
                "{place}: key and pattern differ: key={key} pattern={}",
                pattern.id
            )),
            Err(findings) => Reloaded::Refused(first(findings)),
        }
    }

    /// The next offset of `journey.patterns`: what stands in markers and on outputs.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Every pattern, whatever its status.
    pub fn patterns(&self) -> impl Iterator<Item = &Arc<Pattern>> {
        self.patterns.values()
    }

    /// The patterns compiled for matching.
    #[must_use]
    pub fn compile(&self, limits: Limits) -> Catalogue {
        Catalogue::compile(self.patterns.values().cloned(), limits)
    }
}
