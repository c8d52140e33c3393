//! The disk of a simulated process: it survives deaths, can be lost, be an old copy, or be full.

use std::sync::{Arc, Mutex, PoisonError};

use std::collections::BTreeMap;

use stream::{Db, RowRef, StoredRow, TopicPartition};

use super::Host;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone, Default)]
struct Database {
    rows: Rows,
    /// As it was before the last file was added.
    before: Rows,
}

type Databases = BTreeMap<TopicPartition, Database>;

/// The databases on one disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<Databases>>);

impl Disk {
    fn with<T>(&self, look: impl FnOnce(&mut Databases) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn lose(&self) {
        self.with(BTreeMap::clear);
    }

    /// Of each database the last file is gone, or all of it.
    pub(super) fn damage(&self, mut is_last_alone: impl FnMut() -> bool) {
        self.with(|databases| {
            databases.retain(|_, database| {
                database.rows = std::mem::take(&mut database.before);
                is_last_alone()
            });
        });
    }

    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.with(|databases| databases.clone()))))
    }

    pub(super) fn become_copy_of(&self, other: &Self) {
        let copy = other.with(|databases| databases.clone());
        self.with(|databases| *databases = copy);
    }

    /// A row of a partition's database.
    #[must_use]
    pub fn row(&self, of: &TopicPartition, key: &[u8]) -> Option<Vec<u8>> {
        self.with(|databases| databases.get(of)?.rows.get(key).cloned())
    }

    /// The partitions that have a database here.
    #[must_use]
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.with(|databases| databases.keys().cloned().collect())
    }
}

/// The database of one partition.
pub struct SimDb {
    host: Host,
    disk: Disk,
    of: TopicPartition,
    life: u64,
}

impl SimDb {
    /// Opens it on the process's disk.
    #[must_use]
    pub fn open(host: &Host, of: &TopicPartition) -> Self {
        Self {
            host: host.clone(),
            disk: host.sim().disk(host.process()),
            of: of.clone(),
            life: host.life(),
        }
    }

    /// A process that is dead writes nothing any more.
    fn lives(&self) -> Result<(), String> {
        if self.host.life() == self.life {
            Ok(())
        } else {
            Err("killed".to_owned())
        }
    }

    fn writes(&self) -> Result<(), String> {
        self.lives()?;
        let world = self.host.sim().lock();
        if world.processes[self.host.process()].full_until > world.now {
            return Err("no space left on device".to_owned());
        }
        Ok(())
    }
}

impl Db for SimDb {
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        self.lives()?;
        Ok(keys.iter().map(|key| self.disk.row(&self.of, key)).collect())
    }

    fn scan(&self, from: &[u8], to: &[u8], max: usize) -> Result<Vec<StoredRow>, String> {
        self.lives()?;
        Ok(self.disk.with(|databases| {
            let rows = databases.get(&self.of).into_iter();
            let found = rows
                .flat_map(|database| database.rows.range(from.to_vec()..to.to_vec()))
                .take(max);
            found.map(|(key, value)| (key.clone(), value.clone())).collect()
        }))
    }

    fn ingest(&mut self, rows: &mut dyn Iterator<Item = RowRef<'_>>) -> Result<(), String> {
        self.writes()?;
        self.disk.with(|databases| {
            let database = databases.entry(self.of.clone()).or_default();
            database.before = database.rows.clone();
            let stored = &mut database.rows;
            for (key, value) in rows {
                match value {
                    Some(value) => stored.insert(key.to_vec(), value.to_vec()),
                    None => stored.remove(key),
                };
            }
        });
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.writes()?;
        self.disk.with(|databases| databases.remove(&self.of));
        Ok(())
    }
}
