//! The two logs behind one seam: what a service asks of the place where its records live.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use embedded::{Embedded, EmbeddedLog};
use kafka::{Admin, KafkaConfig, KafkaLog, Publisher, Tail};
use store::{Identity, Store};
use stream::{Log, LogError, Output, TopicPartition, TopicReader};

use crate::{
    config::Config,
    topics::{Changelog, Names},
    worker::OpenDb,
};

/// A worker among its like.
#[derive(Debug, Clone)]
pub struct Member {
    /// The service.
    pub service: &'static str,
    /// Which of this process's workers.
    pub index: usize,
    /// How many this process has.
    pub members: usize,
    /// The topics it reads, in an order that never changes.
    pub inputs: Vec<String>,
}

/// Where records live.
pub trait Backend: Clone + Send + Sync + 'static {
    /// A worker's log.
    type Log: Log;

    /// Joins a worker to its service's group.
    ///
    /// # Errors
    /// [`LogError`] if the log cannot be reached or refuses.
    fn join(&self, member: &Member) -> Result<Self::Log, LogError>;

    /// Opens the state of a service's partitions.
    fn open_db(&self, service: &'static str) -> OpenDb;

    /// The changelog of a service; `None` where the log is its own database.
    fn changelog(&self, member: &Member) -> Option<Changelog>;

    /// A reader of whole topics, from their start or from now on.
    ///
    /// # Errors
    /// As [`Backend::join`].
    fn reader(&self, topics: &[&str], from_start: bool) -> Result<Box<dyn TopicReader>, LogError>;

    /// How many partitions topics have, in their order.
    ///
    /// # Errors
    /// As [`Backend::join`]; [`LogError::Fatal`] if one does not exist.
    fn partitions(&self, topics: &[String]) -> Result<Vec<i32>, LogError>;

    /// Writes records together or not at all, under a name that fences an earlier writer of that name.
    ///
    /// # Errors
    /// As [`Backend::join`].
    fn publish(&self, name: &str, outputs: &[Output]) -> Result<(), LogError>;

    /// The names of topics.
    fn names(&self) -> &Names;
}

/// Records live on Kafka, state in RocksDB beside each process.
#[derive(Clone)]
pub struct KafkaBackend {
    shared: Arc<KafkaShared>,
}

struct KafkaShared {
    config: KafkaConfig,
    names: Names,
    instance: String,
    prefix: String,
    data_dir: PathBuf,
    store: Store,
    publishers: Mutex<Vec<(String, Publisher)>>,
    /// How many partitions topics have, which never changes, as far as that was asked.
    counted: Mutex<BTreeMap<String, i32>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KafkaBackend {
    /// Takes connection, names and places from the configuration. Opens no connection.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut kafka = KafkaConfig::new(config.text("kafka.brokers"), "", "");
        let span = |key: &str| std::time::Duration::from_millis(config.number(key).unsigned_abs());
        kafka.session_timeout = span("kafka.session_timeout");
        kafka.transaction_timeout = span("kafka.transaction_timeout");
        kafka.static_member = config.is_on("service.static_members");
        kafka.properties = config.properties();
        let bytes = usize::try_from(config.number("state.rocksdb_bytes")).unwrap_or(usize::MAX);
        Self {
            shared: Arc::new(KafkaShared {
                config: kafka,
                names: Names::new(config.text("kafka.prefix")),
                instance: config.get("service.instance").map_or_else(host_name, ToOwned::to_owned),
                prefix: config.text("kafka.prefix").to_owned(),
                data_dir: PathBuf::from(config.text("service.data_dir")),
                store: Store::new(bytes),
                publishers: Mutex::default(),
                counted: Mutex::default(),
            }),
        }
    }

    /// The connection, for administration.
    #[must_use]
    pub fn connection(&self) -> KafkaConfig {
        let mut config = self.shared.config.clone();
        config.group = format!("{}waymark-tools", self.shared.prefix);
        config
    }
}

/// The name of this machine.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "local".to_owned(), |name| name.trim().to_owned())
}

impl Backend for KafkaBackend {
    type Log = KafkaLog;

    fn join(&self, member: &Member) -> Result<KafkaLog, LogError> {
        let shared = &self.shared;
        let mut config = shared.config.clone();
        config.group = shared.names.group(member.service);
        config.transactional_id = format!(
            "{}{}-{}-{}",
            shared.prefix, member.service, shared.instance, member.index
        );
        config.inputs.clone_from(&member.inputs);
        config.outputs = shared.names.outputs(member.service);
        config.changelog = Some(shared.names.changelog(member.service));
        KafkaLog::open(config)
    }

    fn open_db(&self, service: &'static str) -> OpenDb {
        let backend = self.clone();
        Box::new(move |of: &TopicPartition| {
            let shared = &backend.shared;
            let known = lock(&shared.counted).get(of.topic.as_ref()).copied();
            let partitions = match known {
                Some(partitions) => partitions,
                None => {
                    let found = backend.partitions(&[of.topic.to_string()]);
                    found
                        .map_err(|error| error.to_string())?
                        .first()
                        .copied()
                        .unwrap_or_default()
                }
            };
            let identity = Identity {
                partitions: u32::try_from(partitions).unwrap_or_default(),
                origin: format!("{}/{}", shared.names.group(service), of.topic),
            };
            let dir = shared
                .data_dir
                .join("state")
                .join(service)
                .join(format!("{}-{}", of.topic, of.partition));
            let db = shared.store.open(&dir, &identity)?;
            Ok(Box::new(db))
        })
    }

    fn changelog(&self, member: &Member) -> Option<Changelog> {
        let topic = self.shared.names.changelog(member.service);
        Some(Changelog::new(&topic, member.inputs.clone()))
    }

    fn reader(&self, topics: &[&str], from_start: bool) -> Result<Box<dyn TopicReader>, LogError> {
        let from = if from_start {
            kafka::From::Start
        } else {
            kafka::From::Now
        };
        Ok(Box::new(Tail::open(&self.connection(), topics, from)?))
    }

    fn partitions(&self, topics: &[String]) -> Result<Vec<i32>, LogError> {
        let admin = Admin::connect(&self.connection()).map_err(|error| LogError::Fatal(error.to_string()))?;
        let all = admin.topics().map_err(|error| LogError::Retriable(error.to_string()))?;
        let mut found = Vec::new();
        for topic in topics {
            let state = all
                .iter()
                .find(|state| state.name == *topic)
                .ok_or_else(|| LogError::Fatal(format!("no such topic: {topic}; `waymark topics apply` makes it")))?;
            found.push(state.partitions);
            lock(&self.shared.counted).insert(topic.clone(), state.partitions);
        }
        Ok(found)
    }

    fn publish(&self, name: &str, outputs: &[Output]) -> Result<(), LogError> {
        let mut publishers = lock(&self.shared.publishers);
        if !publishers.iter().any(|(known, _)| known == name) {
            let mut config = self.connection();
            config.transactional_id = format!("{}{name}", self.shared.prefix);
            let topics: std::collections::BTreeSet<&str> = outputs.iter().map(|output| output.topic.as_ref()).collect();
            config.outputs = topics.into_iter().map(ToOwned::to_owned).collect();
            publishers.push((name.to_owned(), Publisher::open(&config)?));
        }
        let Some((_, publisher)) = publishers.iter_mut().find(|(known, _)| known == name) else {
            return Err(LogError::Fatal("publisher is gone".to_owned()));
        };
        publisher.publish(outputs)
    }

    fn names(&self) -> &Names {
        &self.shared.names
    }
}

/// Records and state live in one directory; every service runs in this process.
#[derive(Clone)]
pub struct EmbeddedBackend {
    log: Embedded,
    names: Names,
}

impl EmbeddedBackend {
    /// On an open log.
    #[must_use]
    pub fn new(log: Embedded, names: Names) -> Self {
        Self { log, names }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Embedded {
        &self.log
    }
}

impl Backend for EmbeddedBackend {
    type Log = EmbeddedLog;

    fn join(&self, member: &Member) -> Result<EmbeddedLog, LogError> {
        let int = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let group = self.names.group(member.service);
        self.log
            .join(
                &group,
                member.service,
                &member.inputs,
                int(member.index),
                int(member.members),
            )
            .map_err(LogError::Fatal)
    }

    fn open_db(&self, service: &'static str) -> OpenDb {
        let log = self.log.clone();
        Box::new(move |of: &TopicPartition| Ok(Box::new(log.db(service, of.partition))))
    }

    fn changelog(&self, _: &Member) -> Option<Changelog> {
        None
    }

    fn reader(&self, topics: &[&str], from_start: bool) -> Result<Box<dyn TopicReader>, LogError> {
        Ok(Box::new(self.log.reader(topics, from_start).map_err(LogError::Fatal)?))
    }

    fn partitions(&self, topics: &[String]) -> Result<Vec<i32>, LogError> {
        let count = |topic: &String| {
            let found = self.log.partitions(topic);
            found.ok_or_else(|| LogError::Fatal(format!("no such topic: {topic}")))
        };
        topics.iter().map(count).collect()
    }

    fn publish(&self, _: &str, outputs: &[Output]) -> Result<(), LogError> {
        self.log.publish(outputs).map_err(LogError::Fatal)
    }

    fn names(&self) -> &Names {
        &self.names
    }
}
