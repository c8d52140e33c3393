//! A database for tests of the task.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use stream::{Db, RowRef, StoredRow};

/// What is on a disk; outlives the databases opened on it.
pub type Stored = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// A database in memory. Rows that are not sorted are refused.
pub struct Map(pub Stored);

impl Db for Map {
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        let rows = self.0.lock().expect("no panic");
        Ok(keys.iter().map(|key| rows.get(*key).cloned()).collect())
    }

    fn scan(&self, from: &[u8], to: &[u8], max: usize) -> Result<Vec<StoredRow>, String> {
        let rows = self.0.lock().expect("no panic");
        let range = rows.range(from.to_vec()..to.to_vec()).take(max);
        Ok(range.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn ingest(&mut self, rows: &mut dyn Iterator<Item = RowRef<'_>>) -> Result<(), String> {
        let mut stored = self.0.lock().expect("no panic");
        let mut last: Option<Vec<u8>> = None;
        for (key, value) in rows {
            if last.as_deref().is_some_and(|last| last >= key) {
                return Err(format!("rows are not sorted: {key:?} behind {last:?}"));
            }
            last = Some(key.to_vec());
            match value {
                Some(value) => stored.insert(key.to_vec(), value.to_vec()),
                None => stored.remove(key),
            };
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.0.lock().expect("no panic").clear();
        Ok(())
    }
}
