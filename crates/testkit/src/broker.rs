//! A real Apache Kafka for tests: one KRaft broker from jars, on free ports, gone with its owner.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::node::{Node, Ports, for_test, libs};

/// A running broker. Dropping it stops the process and deletes its files.
#[derive(Debug)]
pub struct Kafka {
    node: Node,
    // Declared last: the files go after the process.
    folder: TempDir,
}

impl Kafka {
    /// Starts a broker, or says why it cannot.
    ///
    /// # Errors
    /// A message if jars or Java are absent, or no broker answers in time.
    pub fn start() -> Result<Self, String> {
        let libs = libs()?;
        let mut last = String::new();
        // A free port may be taken by another before the broker binds it.
        for _ in 0..3 {
            match Self::try_start(&libs) {
                Ok(kafka) => return Ok(kafka),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts a broker for a test. Where there are no jars it prints why and returns `None`, unless the environment says that
    /// a real Kafka is required.
    ///
    /// # Panics
    /// If no broker starts although one is required.
    #[must_use]
    pub fn for_test() -> Option<Self> {
        for_test(Self::start)
    }

    fn try_start(libs: &Path) -> Result<Self, String> {
        let folder = TempDir::new().map_err(|error| format!("no temporary folder: {error}"))?;
        let node = Node::format(libs, folder.path().to_owned(), 0, &Ports::free(1)?, "-Xmx512m")?;
        let mut kafka = Self { node, folder };
        kafka.resume()?;
        Ok(kafka)
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> &str {
        self.node.address()
    }

    /// The file that holds what was written first to a partition.
    #[must_use]
    pub fn segment(&self, topic: &str, partition: i32) -> PathBuf {
        let data = self.folder.path().join("data");
        data.join(format!("{topic}-{partition}/{:020}.log", 0))
    }

    /// Ends the broker at once, as a machine that loses power does; its files stay.
    pub fn kill(&mut self) {
        self.node.kill();
    }

    /// Starts the broker again on its files.
    ///
    /// # Errors
    /// A message if it does not answer in time.
    pub fn resume(&mut self) -> Result<(), String> {
        self.node.spawn()?;
        self.node.await_answer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::answers;

    #[test]
    fn a_broker_answers_dies_and_comes_back_on_the_same_address() {
        let Some(mut kafka) = Kafka::for_test() else { return };
        assert!(answers(kafka.address()));
        kafka.kill();
        assert!(!answers(kafka.address()));
        kafka.resume().expect("starts again");
        assert!(answers(kafka.address()));
    }
}
