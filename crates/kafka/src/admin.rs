//! Topics: what is there, what is created, what is trimmed.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    config::ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    util::Timeout,
};

use crate::log::KafkaConfig;

const REQUEST: Duration = Duration::from_secs(10);

/// Why a request about topics failed.
#[derive(Debug)]
pub enum AdminError {
    /// No broker answered in time.
    NoAnswer(String),
    /// A broker refused.
    Refused(String),
}

impl std::fmt::Display for AdminError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAnswer(message) => write!(f, "no broker answered: {message}"),
            Self::Refused(message) => write!(f, "broker refused: {message}"),
        }
    }
}

impl std::error::Error for AdminError {}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
}

/// A client for requests about topics.
pub struct Admin {
    client: AdminClient<DefaultClientContext>,
}

impl Admin {
    /// Connects; nothing is asked yet.
    ///
    /// # Errors
    /// [`AdminError::Refused`] if a client setting is not understood.
    pub fn connect(config: &KafkaConfig) -> Result<Self, AdminError> {
        let mut client = ClientConfig::new();
        for (name, value) in &config.properties {
            client.set(name, value);
        }
        client.set("bootstrap.servers", &config.brokers);
        let client = client
            .create()
            .map_err(|error| AdminError::Refused(error.to_string()))?;
        Ok(Self { client })
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// [`AdminError::NoAnswer`].
    pub fn topics(&self) -> Result<Vec<TopicState>, AdminError> {
        let metadata = self
            .client
            .inner()
            .fetch_metadata(None, Timeout::After(REQUEST))
            .map_err(no_answer)?;
        let mut topics: Vec<TopicState> = metadata
            .topics()
            .iter()
            .map(|topic| TopicState {
                name: topic.name().to_owned(),
                partitions: i32::try_from(topic.partitions().len()).expect("few partitions"),
            })
            .collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// Creates a topic; false if it was there already.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn create(
        &self,
        topic: &str,
        partitions: i32,
        replication: i32,
        configs: &BTreeMap<String, String>,
    ) -> Result<bool, AdminError> {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replication));
        for (key, value) in configs {
            new = new.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(Timeout::After(REQUEST)));
        let answers = wait(self.client.create_topics([&new], &options)).map_err(no_answer)?;
        match answers.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((name, code))) => Err(AdminError::Refused(format!("{name}: {code}"))),
            _ => Ok(true),
        }
    }

    /// A topic's settings that are not the broker's defaults.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn settings(&self, topic: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let options = AdminOptions::new().request_timeout(Some(Timeout::After(REQUEST)));
        let answers = wait(self.client.describe_configs(&asked, &options)).map_err(no_answer)?;
        let mut settings = BTreeMap::new();
        for answer in answers {
            let resource = answer.map_err(|code| AdminError::Refused(format!("{topic}: {code}")))?;
            let own = resource
                .entries
                .into_iter()
                .filter(|entry| entry.source == ConfigSource::DynamicTopic);
            settings.extend(own.filter_map(|entry| Some((entry.name, entry.value?))));
        }
        Ok(settings)
    }

    /// Sets a topic's settings beside those that it has of its own.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn alter(&self, topic: &str, configs: &BTreeMap<String, String>) -> Result<(), AdminError> {
        let mut all = self.settings(topic)?;
        all.extend(configs.clone());
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (key, value) in &all {
            change = change.set(key, value);
        }
        let options = AdminOptions::new().request_timeout(Some(Timeout::After(REQUEST)));
        let answers = wait(self.client.alter_configs([&change], &options)).map_err(no_answer)?;
        for answer in answers {
            answer.map_err(|(_, code)| AdminError::Refused(format!("{topic}: {code}")))?;
        }
        Ok(())
    }

    /// Deletes a partition's records before an offset.
    ///
    /// # Errors
    /// [`AdminError::Refused`] also for an offset that is not positive: −1 would delete everything.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<(), AdminError> {
        if before <= 0 {
            return Err(AdminError::Refused(format!(
                "offset to trim to must be positive: offset={before}"
            )));
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(before))
            .map_err(|error| AdminError::Refused(error.to_string()))?;
        let options = AdminOptions::new().operation_timeout(Some(Timeout::After(REQUEST)));
        let answer = wait(self.client.delete_records(&list, &options)).map_err(no_answer)?;
        for element in answer.elements() {
            element
                .error()
                .map_err(|error| AdminError::Refused(error.to_string()))?;
        }
        Ok(())
    }
}

fn no_answer(error: KafkaError) -> AdminError {
    AdminError::NoAnswer(error.to_string())
}

/// Waits for an answer that a background thread of the client brings; each request has its own deadline.
fn wait<F: std::future::Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
