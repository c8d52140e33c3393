//! A service's state in the log's own database.

use std::sync::Arc;

use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use stream::{Db, RowRef, StoredRow};

use crate::{Shared, keys};

/// The state of one partition of one service. Epochs write to it through their commit; nothing is ingested beside.
pub struct EmbeddedDb {
    shared: Arc<Shared>,
    prefix: Vec<u8>,
}

impl EmbeddedDb {
    pub(crate) fn new(shared: Arc<Shared>, service: &str, partition: i32) -> Self {
        Self {
            shared,
            prefix: keys::state(service, partition),
        }
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), key].concat()
    }

    fn write(&self, batch: WriteBatch) -> Result<(), String> {
        let mut how = WriteOptions::default();
        how.set_sync(true);
        self.shared.db.write_opt(batch, &how).map_err(|error| error.to_string())
    }
}

impl Db for EmbeddedDb {
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        let found = self.shared.db.multi_get(keys.iter().map(|key| self.key(key)));
        found
            .into_iter()
            .map(|value| value.map_err(|error| error.to_string()))
            .collect()
    }

    fn scan(&self, from: &[u8], to: &[u8], max: usize) -> Result<Vec<StoredRow>, String> {
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(self.key(to));
        let start = self.key(from);
        let rows = self
            .shared
            .db
            .iterator_opt(IteratorMode::From(&start, Direction::Forward), read);
        rows.take(max)
            .map(|row| {
                let (key, value) = row.map_err(|error| error.to_string())?;
                Ok((key[self.prefix.len()..].to_vec(), value.into_vec()))
            })
            .collect()
    }

    fn ingest(&mut self, rows: &mut dyn Iterator<Item = RowRef<'_>>) -> Result<(), String> {
        let mut batch = WriteBatch::default();
        for (key, value) in rows {
            match value {
                Some(value) => batch.put(self.key(key), value),
                None => batch.delete(self.key(key)),
            }
        }
        self.write(batch)
    }

    fn reset(&mut self) -> Result<(), String> {
        let mut batch = WriteBatch::default();
        let rows = self.scan(b"", &[0xff; 4], usize::MAX)?;
        for (key, _) in rows {
            batch.delete(self.key(&key));
        }
        self.write(batch)
    }
}
