//! Every topic that Waymark reads or writes: its name, partitions and settings. Pure.

use std::{collections::BTreeMap, sync::Arc};

use stream::TopicPartition;

/// The suffixes of the raw topics `journey.events.*`.
pub const RAW: [&str; 8] = [
    "web", "mobile", "voice", "social", "chat", "email", "business", "agents",
];

/// The suffixes of the intervention topics `journey.interventions.*`.
pub const CHANNELS: [&str; 8] = ["chat", "web", "voice", "email", "sms", "social", "desktop", "csm"];

/// The names of topics under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Takes the configured prefix, often empty.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// A topic by its name without prefix.
    #[must_use]
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A raw topic by its suffix.
    #[must_use]
    pub fn raw(&self, suffix: &str) -> String {
        self.topic(&format!("journey.events.{suffix}"))
    }

    /// All raw topics, in the order of [`RAW`].
    #[must_use]
    pub fn all_raw(&self) -> Vec<String> {
        RAW.iter().map(|suffix| self.raw(suffix)).collect()
    }

    /// The suffix of a raw topic; `None` for any other.
    #[must_use]
    pub fn raw_suffix(&self, topic: &str) -> Option<&'static str> {
        let suffix = topic.strip_prefix(&self.prefix)?.strip_prefix("journey.events.")?;
        RAW.into_iter().find(|known| *known == suffix)
    }

    /// The timeline's name without prefix.
    pub const TIMELINE: &str = "journey.timeline";

    /// `journey.timeline`.
    #[must_use]
    pub fn timeline(&self) -> String {
        self.topic(Self::TIMELINE)
    }

    /// The topics of interventions, that of those withheld included.
    #[must_use]
    pub fn all_interventions(&self) -> Vec<String> {
        let suffixes = CHANNELS.iter().chain(["withheld"].iter());
        suffixes
            .map(|suffix| self.topic(&format!("journey.interventions.{suffix}")))
            .collect()
    }

    /// A topic's name without the prefix, if it has it.
    #[must_use]
    pub fn without_prefix<'a>(&self, topic: &'a str) -> &'a str {
        topic.strip_prefix(&self.prefix).unwrap_or(topic)
    }

    /// `journey.patterns`.
    #[must_use]
    pub fn patterns(&self) -> String {
        self.topic("journey.patterns")
    }

    /// The dead letters of a topic, given with its prefix.
    #[must_use]
    pub fn dead_letters(topic: &str) -> String {
        format!("{topic}.dlq")
    }

    /// The changelog of a service.
    #[must_use]
    pub fn changelog(&self, service: &str) -> String {
        self.topic(&format!("journey.changelog.{service}"))
    }

    /// The topics that a service's workers write to in their transactions.
    #[must_use]
    pub fn outputs(&self, service: &str) -> Vec<String> {
        let mut topics = Vec::new();
        if service == "intake" {
            topics.extend(self.all_raw().iter().map(|raw| Self::dead_letters(raw)));
            topics.extend([
                self.timeline(),
                self.topic("journey.sentiment"),
                self.changelog(service),
            ]);
        } else {
            topics.extend(self.all_interventions());
            topics.extend(
                [
                    "journey.signals",
                    "journey.outcomes",
                    "journey.profiles",
                    "journey.sentiment",
                ]
                .map(|name| self.topic(name)),
            );
            topics.extend([
                self.timeline(),
                Self::dead_letters(&self.timeline()),
                self.changelog(service),
            ]);
        }
        topics
    }

    /// The consumer group of a service.
    #[must_use]
    pub fn group(&self, service: &str) -> String {
        format!("{}waymark-{service}", self.prefix)
    }
}

/// The changelog of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changelog {
    /// Its topic.
    pub topic: Arc<str>,
    /// The topics that the service reads, in an order that never changes.
    inputs: Vec<String>,
}

impl Changelog {
    /// Of a service that reads these topics.
    #[must_use]
    pub fn new(topic: &str, inputs: Vec<String>) -> Self {
        let topic = Arc::from(topic);
        Self { topic, inputs }
    }

    /// The partition of the changelog that belongs to an input partition, alone: those of number 0 of all inputs come first, then those
    /// of number 1, so that an input that grows moves nothing.
    #[must_use]
    pub fn slot(&self, input: &TopicPartition) -> i32 {
        let index = self.inputs.iter().position(|topic| **topic == *input.topic);
        let few = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        input.partition * few(self.inputs.len().max(1)) + few(index.unwrap_or_default())
    }

    /// The input partition that a partition of the changelog belongs to; `None` if there is none.
    #[must_use]
    pub fn input(&self, slot: i32) -> Option<TopicPartition> {
        let (slot, inputs) = (usize::try_from(slot).ok()?, self.inputs.len());
        let topic = self.inputs.get(slot.checked_rem(inputs)?)?;
        Some(TopicPartition {
            topic: Arc::from(topic.as_str()),
            partition: i32::try_from(slot / inputs).ok()?,
        })
    }

    /// How many partitions it must have for inputs of which the largest has so many.
    #[must_use]
    pub fn slots(&self, largest: i32) -> i32 {
        largest * i32::try_from(self.inputs.len()).unwrap_or(i32::MAX)
    }
}

/// What a topic must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The full name.
    pub name: String,
    /// Partitions; fixed for life where keys own them.
    pub partitions: i32,
    /// Settings beside replication.
    pub configs: BTreeMap<String, String>,
}

/// The figures that a deployment chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Timeline, profiles and changelogs.
    pub timeline: i32,
    /// Raw topics.
    pub raw: i32,
    /// All others.
    pub output: i32,
    /// Upper bound of retention, in milliseconds; 0 keeps for ever.
    pub retention: i64,
}

const DAY: i64 = 86_400_000;

/// Every topic of the services that exist.
#[must_use]
pub fn topics(names: &Names, counts: Counts) -> Vec<TopicSpec> {
    let mut specs = Vec::new();
    let mut add = |name: String, partitions: i32, configs: &[(&str, String)]| {
        let configs = configs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        specs.push(TopicSpec {
            name,
            partitions,
            configs,
        });
    };
    let kept = |days: i64| {
        [
            ("cleanup.policy", "delete".to_owned()),
            (
                "retention.ms",
                if counts.retention == 0 {
                    -1
                } else {
                    (days * DAY).min(counts.retention)
                }
                .to_string(),
            ),
        ]
    };
    let sized = |days: i64, bytes: u32| {
        let [policy, retention] = kept(days);
        [policy, retention, ("max.message.bytes", bytes.to_string())]
    };
    // A dead letter has the time of the record that it holds, which may be old: it is kept from when it was written.
    let letters = |days: i64| {
        let [policy, retention, size] = sized(days, BIG_BYTES);
        [
            policy,
            retention,
            size,
            ("message.timestamp.type", "LogAppendTime".to_owned()),
        ]
    };
    let compact = || [("cleanup.policy", "compact".to_owned())];
    const RAW_BYTES: u32 = 1_572_864;
    const BIG_BYTES: u32 = 2_097_152;

    for raw in names.all_raw() {
        add(Names::dead_letters(&raw), 6.min(counts.output), &letters(7));
        add(raw, counts.raw, &sized(7, RAW_BYTES));
    }
    add(
        Names::dead_letters(&names.timeline()),
        6.min(counts.output),
        &letters(28),
    );
    add(names.timeline(), counts.timeline, &sized(28, BIG_BYTES));
    for name in [
        "journey.sentiment",
        "journey.signals",
        "journey.outcomes",
        "journey.interventions.withheld",
    ] {
        add(names.topic(name), counts.output, &kept(28));
    }
    for channel in CHANNELS {
        add(
            names.topic(&format!("journey.interventions.{channel}")),
            counts.output,
            &kept(7),
        );
    }
    add(names.topic("journey.profiles"), counts.timeline, &compact());
    add(names.patterns(), 1, &compact());
    let changelog = |segment: u32| {
        [
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", "-1".to_owned()),
            ("retention.bytes", "-1".to_owned()),
            ("compression.type", "lz4".to_owned()),
            ("segment.bytes", segment.to_string()),
            ("segment.ms", DAY.to_string()),
            ("max.message.bytes", BIG_BYTES.to_string()),
        ]
    };
    const MIB: u32 = 1024 * 1024;
    add(names.changelog("monitor"), counts.timeline, &changelog(32 * MIB));
    // Markers alone, and many partitions.
    let of_intake = Changelog::new("", names.all_raw());
    add(
        names.changelog("intake"),
        of_intake.slots(counts.raw),
        &changelog(4 * MIB),
    );
    specs.sort_by(|one, other| one.name.cmp(&other.name));
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: Counts = Counts {
        timeline: 4,
        raw: 2,
        output: 2,
        retention: 28 * DAY,
    };

    #[test]
    fn names_carry_the_prefix_and_are_found_again() {
        let names = Names::new("shop.");
        assert_eq!(names.raw("web"), "shop.journey.events.web");
        assert_eq!(names.raw_suffix("shop.journey.events.web"), Some("web"));
        assert_eq!(names.raw_suffix("journey.events.web"), None);
        assert_eq!(names.raw_suffix("shop.journey.events.other"), None);
    }

    #[test]
    fn every_raw_partition_has_a_slot_of_its_own_and_keeps_it() {
        let raw = Names::new("").all_raw();
        let changelog = Changelog::new("journey.changelog.intake", raw.clone());
        let slots = |partitions: i32| -> Vec<i32> {
            let all = (0..partitions).flat_map(|partition| raw.iter().map(move |topic| (topic, partition)));
            all.map(|(topic, partition)| {
                let topic = Arc::from(topic.as_str());
                let of = TopicPartition { topic, partition };
                let slot = changelog.slot(&of);
                assert_eq!(changelog.input(slot), Some(of));
                slot
            })
            .collect()
        };
        assert_eq!(slots(3), (0..changelog.slots(3)).collect::<Vec<_>>());
        assert_eq!(slots(3)[..16], slots(2)[..], "a larger topic moves nothing");
        let one = Changelog::new("journey.changelog.monitor", vec!["journey.timeline".to_owned()]);
        let topic = Arc::from("journey.timeline");
        assert_eq!(one.slot(&TopicPartition { topic, partition: 5 }), 5);
    }

    #[test]
    fn every_topic_is_bounded_compacted_or_trimmed() {
        let specs = topics(&Names::new(""), COUNTS);
        assert_eq!(specs.len(), 8 * 2 + 2 + 4 + 8 + 2 + 2);
        for spec in specs {
            let policy = spec.configs.get("cleanup.policy").map(String::as_str);
            let retention = spec.configs.get("retention.ms").map(String::as_str);
            let trimmed = spec.name.contains(".changelog.");
            let time = spec.configs.get("message.timestamp.type").map(String::as_str);
            assert_eq!(
                time == Some("LogAppendTime"),
                spec.name.ends_with(".dlq"),
                "{}",
                spec.name
            );
            assert!(
                policy == Some("compact") || trimmed == (retention == Some("-1")),
                "{}",
                spec.name
            );
        }
    }

    #[test]
    fn retention_never_exceeds_the_bound() {
        let specs = topics(
            &Names::new(""),
            Counts {
                retention: DAY,
                ..COUNTS
            },
        );
        let timeline = specs
            .iter()
            .find(|spec| spec.name == "journey.timeline")
            .expect("listed");
        assert_eq!(timeline.configs["retention.ms"], DAY.to_string());
    }
}
