//! Several real brokers, each of which is a controller too, so that a fault can aim at any role.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub use crate::ask::Coordinated;
use crate::{
    ask,
    node::{Node, Ports, for_test, libs},
};

/// A cluster of brokers numbered from 0. Dropping it stops the processes and deletes their files.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    // Declared last: the files go after the processes.
    folder: TempDir,
}

impl Cluster {
    /// Starts `brokers` brokers on free ports. Three of them replicate their own topics three times, two in sync at least.
    ///
    /// # Errors
    /// A message if jars or Java are absent, or a broker does not answer in time.
    pub fn start(brokers: usize) -> Result<Self, String> {
        let libs = libs()?;
        let mut last = String::new();
        // A free port may be taken by another before the broker binds it.
        for _ in 0..3 {
            match Self::try_start(&libs, brokers) {
                Ok(cluster) => return Ok(cluster),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts a cluster for a test. Where there are no jars it prints why and returns `None`, unless the environment says that
    /// a real Kafka is required.
    ///
    /// # Panics
    /// If no cluster starts although one is required.
    #[must_use]
    pub fn for_test(brokers: usize) -> Option<Self> {
        for_test(|| Self::start(brokers))
    }

    fn try_start(libs: &Path, brokers: usize) -> Result<Self, String> {
        let folder = TempDir::new().map_err(|error| format!("no temporary folder: {error}"))?;
        let ports = Ports::free(brokers)?;
        // Formatting starts a Java of its own; all at once takes as long as one.
        let formatted: Result<Vec<Node>, String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..brokers)
                .map(|index| {
                    let (ports, own) = (&ports, folder.path().join(index.to_string()));
                    scope.spawn(move || Node::format(libs, own, index, ports, "-Xmx384m"))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("formatting panicked".to_owned())))
                .collect()
        });
        let mut cluster = Self {
            nodes: formatted?,
            folder,
        };
        cluster.resume(&(0..brokers).collect::<Vec<_>>())?;
        Ok(cluster)
    }

    /// Ends all brokers and keeps their files, for a look at what they wrote.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        self.nodes.iter_mut().for_each(Node::kill);
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }

    /// Where clients connect: all brokers, comma-separated.
    #[must_use]
    pub fn address(&self) -> String {
        let addresses: Vec<&str> = self.nodes.iter().map(Node::address).collect();
        addresses.join(",")
    }

    /// How many brokers there are, running or not.
    #[must_use]
    pub fn brokers(&self) -> usize {
        self.nodes.len()
    }

    /// Ends a broker at once, as a machine that loses power does; its files stay. One that is ended already stays so.
    pub fn kill(&mut self, broker: usize) {
        self.nodes[broker].kill();
    }

    /// Starts ended brokers again on their files and waits until each of them answers: a controller answers once a majority
    /// runs, so those of a majority must be started together.
    ///
    /// # Errors
    /// A message if one does not answer in time.
    pub fn resume(&mut self, brokers: &[usize]) -> Result<(), String> {
        for broker in brokers {
            self.nodes[*broker].spawn()?;
        }
        brokers.iter().try_for_each(|broker| self.nodes[*broker].await_answer())
    }

    /// Stops a broker's process (SIGSTOP): its connections stay open, and nobody answers.
    ///
    /// # Errors
    /// A message if it does not run.
    pub fn stop(&self, broker: usize) -> Result<(), String> {
        self.nodes[broker].signal(libc::SIGSTOP)
    }

    /// Lets a stopped broker go on (SIGCONT).
    ///
    /// # Errors
    /// A message if it does not run.
    pub fn go_on(&self, broker: usize) -> Result<(), String> {
        self.nodes[broker].signal(libc::SIGCONT)
    }

    /// The broker that leads a partition; `None` while none does, or no broker answers.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<usize> {
        let states = self.first(ask::partitions)?;
        let state = states
            .iter()
            .find(|state| state.topic == topic && state.partition == partition)?;
        self.index(state.leader)
    }

    /// The broker that coordinates a group or a producer's transactions; `None` while none does, or no broker answers.
    #[must_use]
    pub fn coordinator(&self, of: Coordinated<'_>) -> Option<usize> {
        let node = self.first(|address| ask::coordinator(address, of))?;
        self.index(node?)
    }

    /// The broker that is the active controller; `None` while none is, or no broker answers.
    #[must_use]
    pub fn controller(&self) -> Option<usize> {
        let node = self.first(ask::controller)?;
        self.index(node?)
    }

    /// Whether every broker answers and every partition has a leader and all its copies in sync.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.nodes.iter().all(Node::answers)
            && self.first(ask::partitions).is_some_and(|states| {
                states
                    .iter()
                    .all(|state| state.leader > 0 && state.in_sync == state.replicas)
            })
    }

    /// The first answer that any broker gives.
    fn first<T>(&self, ask: impl Fn(&str) -> std::io::Result<T>) -> Option<T> {
        self.nodes.iter().find_map(|node| ask(node.address()).ok())
    }

    /// Node ids begin at 1.
    fn index(&self, node: i32) -> Option<usize> {
        let index = usize::try_from(node).ok()?.checked_sub(1)?;
        (index < self.nodes.len()).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(60), "not in time: {what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    #[test]
    fn a_controller_that_dies_is_replaced_and_comes_back() {
        let Some(mut cluster) = Cluster::for_test(3) else {
            return;
        };
        eventually("there is a controller", || cluster.controller().is_some());
        eventually("all is in sync", || cluster.is_whole());
        let first = cluster.controller().expect("one is");
        cluster.kill(first);
        assert!(!cluster.is_whole());
        eventually("another controls", || {
            cluster.controller().is_some_and(|controller| controller != first)
        });
        cluster.resume(&[first]).expect("starts again");
        eventually("all is in sync again", || cluster.is_whole());
        eventually("a group gets a coordinator", || {
            cluster.coordinator(Coordinated::Group("any")).is_some()
        });
        assert_eq!(cluster.leader("no-such-topic", 0), None);
        cluster.stop(0).expect("it runs");
        // The signal takes a moment to arrive.
        eventually("a stopped broker does not answer", || !cluster.is_whole());
        cluster.go_on(0).expect("it runs");
        eventually("it answers again", || cluster.is_whole());
    }
}
