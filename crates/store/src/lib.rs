//! The runtime's `Db` on RocksDB: one database per partition, changed by ingested files alone.
//!
//! There is no write-ahead log: the changelog is one. Every flush is one sorted file that carries rows and position together, so a
//! crash leaves a whole number of flushes. Measured reasons stand in `ARCHITECTURE.md`.
//!
//! A database that cannot be read is a lost one: it is deleted at the next start, and restored from the changelog.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompactionStyle, Direction, ErrorKind, IngestExternalFileOptions, IteratorMode,
    Options, ReadOptions, SliceTransform, SstFileWriter, UniversalCompactOptions,
};
use stream::{Db, OpenError, RowRef, StoredRow};

/// The newest format of a database: its rows and how they are keyed.
const FORMAT: u16 = 1;
const ME_FORMAT: &[u8] = b"me/format";
const ME_PARTITIONS: &[u8] = b"me/partitions";
const ME_ORIGIN: &[u8] = b"me/origin";
/// The rows of one key begin with so many bytes (`stream::rows`). Filters know them, so that a file without that key is not looked at.
const ROWS_OF_KEY: usize = 18;
/// A file beside the database that says why it is not to be read again.
const DAMAGED: &str = "damaged";

/// What all databases of a process share.
pub struct Store {
    cache: Cache,
    open: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// A directory that is open, until this goes.
struct Claim {
    dir: PathBuf,
    open: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.dir);
    }
}

/// Whose state a database holds. Opening one that belongs elsewhere is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Partitions of the input topic; another number would give keys other owners.
    pub partitions: u32,
    /// Group and topic.
    pub origin: String,
}

impl Store {
    /// A block cache of this many bytes for all databases.
    #[must_use]
    pub fn new(cache_bytes: usize) -> Self {
        Self {
            cache: Cache::new_lru_cache(cache_bytes),
            open: Arc::default(),
        }
    }

    /// Opens or makes the database in a directory. One that is damaged is deleted, and an empty one made in its place.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if this store has it open; a message if the disk fails, or the database is of another format, partition count or
    /// origin.
    pub fn open(&self, dir: &Path, identity: &Identity) -> Result<RocksDb, OpenError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.insert(dir.to_owned()) {
            return Err(OpenError::InUse);
        }
        drop(open);
        let claim = Claim {
            dir: dir.to_owned(),
            open: Arc::clone(&self.open),
        };
        let mut opened = RocksDb {
            options: options(&self.cache),
            dir: dir.to_owned(),
            db: None,
            identity: identity.clone(),
            _claim: claim,
        };
        opened.start()?;
        Ok(opened)
    }
}

/// Whether files of the database are cut short, altered or missing, so that to open it again would not help; other errors are those of the
/// disk, or say that another process has it open.
fn is_damage(error: &rocksdb::Error) -> bool {
    error.kind() == ErrorKind::Corruption || error.to_string().contains("No such file or directory")
}

fn options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(10.0, false);
    // Index and filters stay in memory: in a small cache they cost 130 µs a get instead of 5.
    blocks.set_cache_index_and_filter_blocks(false);
    let mut universal = UniversalCompactOptions::default();
    universal.set_min_merge_width(2);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_prefix_extractor(SliceTransform::create_fixed_prefix(ROWS_OF_KEY));
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_universal_compaction_options(&universal);
    options.set_level_zero_file_num_compaction_trigger(8);
    options.set_max_manifest_file_size(1 << 20);
    options.set_max_file_opening_threads(1);
    options.set_stats_dump_period_sec(0);
    options.set_keep_log_file_num(1);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options
}

/// Why a database was not opened.
enum Unopened {
    Damaged(String),
    Refused(String),
}

impl From<rocksdb::Error> for Unopened {
    fn from(error: rocksdb::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Refused(error.to_string())
        }
    }
}

impl From<String> for Unopened {
    fn from(message: String) -> Self {
        Self::Refused(message)
    }
}

/// One partition's database.
pub struct RocksDb {
    options: Options,
    dir: PathBuf,
    db: Option<DB>,
    identity: Identity,
    // Declared last: given up once the database is closed.
    _claim: Claim,
}

impl RocksDb {
    /// Opens the database, or one anew where it is damaged. Whether it is somebody else's is looked at first, as far as that can be read.
    fn start(&mut self) -> Result<(), String> {
        let damage = match self.start_as_it_is() {
            Ok(()) => match fs::read(self.dir.join(DAMAGED)) {
                Ok(why) => String::from_utf8_lossy(&why).into_owned(),
                Err(_) => return Ok(()),
            },
            Err(Unopened::Damaged(why)) => why,
            Err(Unopened::Refused(message)) => return Err(message),
        };
        self.reset()?;
        tracing::error!(
            dir = %self.dir.display(),
            damage,
            "database was damaged: it is deleted, and will be restored from the changelog"
        );
        Ok(())
    }

    fn start_as_it_is(&mut self) -> Result<(), Unopened> {
        fs::create_dir_all(&self.dir).map_err(|error| format!("{}: {error}", self.dir.display()))?;
        // Whoever else has it open is refused here, before anything is touched.
        let db = DB::open(&self.options, &self.dir)?;
        let leftovers = self.dir.join("ingest");
        if leftovers.exists() {
            // A leftover that was ingested now would move the position back.
            fs::remove_dir_all(&leftovers).map_err(|error| format!("{}: {error}", leftovers.display()))?;
        }
        fs::create_dir_all(&leftovers).map_err(|error| format!("{}: {error}", leftovers.display()))?;
        let db = self.db.insert(db);
        let found = db.multi_get([ME_FORMAT, ME_PARTITIONS, ME_ORIGIN]);
        let found = found.into_iter().collect::<Result<Vec<_>, _>>()?;
        let expected: [Vec<u8>; 3] = [
            FORMAT.to_be_bytes().to_vec(),
            self.identity.partitions.to_be_bytes().to_vec(),
            self.identity.origin.clone().into_bytes(),
        ];
        let names = ["format", "partition count", "origin"];
        if found.iter().all(Option::is_none) {
            let [format, partitions, origin] = &expected;
            let sorted = [(ME_FORMAT, format), (ME_ORIGIN, origin), (ME_PARTITIONS, partitions)];
            let mut rows = sorted.into_iter().map(|(key, value)| (key, Some(value.as_slice())));
            return Ok(self.ingest(&mut rows)?);
        }
        for ((found, expected), name) in found.iter().zip(&expected).zip(names) {
            if found.as_ref() != Some(expected) {
                let refused = format!(
                    "{}: state of another {name}: found={} expected={}",
                    self.dir.display(),
                    shown(found.as_deref().unwrap_or_default()),
                    shown(expected)
                );
                return Err(refused.into());
            }
        }
        Ok(())
    }

    /// What an error says. If it says that the database is damaged, that is written down, so that the next start knows.
    fn noted(&self, error: &rocksdb::Error) -> String {
        let said = format!("{}: {error}", self.dir.display());
        if is_damage(error)
            && let Err(unwritten) = fs::write(self.dir.join(DAMAGED), &said)
        {
            tracing::error!(dir = %self.dir.display(), %unwritten, "damaged database cannot be marked, delete it");
        }
        said
    }

    fn db(&self) -> Result<&DB, String> {
        self.db.as_ref().ok_or_else(|| "database is closed".to_owned())
    }

    /// A name that no earlier file had: one that came again could cut a live file short.
    fn fresh_file(&self) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.dir
            .join("ingest")
            .join(format!("{nanos:x}-{}-{number}.sst", std::process::id()))
    }
}

/// Has the system read a file that was just written into its page cache. The writer of files tells it to forget them, and a process that begins
/// anew would wait for the disk once for each customer it hears of. Meanwhile nobody waits, and where it is not done nothing is lost.
#[cfg(target_os = "linux")]
fn keep_in_memory(file: &Path) {
    let advised =
        fs::File::open(file).and_then(|file| Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::WillNeed)?));
    if let Err(error) = advised {
        tracing::debug!(file = %file.display(), %error, "system cannot be told to keep a file in memory");
    }
}

/// Whether nothing before `to` that is at least as great as `prefix` begins otherwise.
fn ends_with_prefix(prefix: &[u8], to: &[u8]) -> bool {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX);
    let Some(last) = last else { return false };
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    to <= behind.as_slice()
}

fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        2 => u16::from_be_bytes([bytes[0], bytes[1]]).to_string(),
        4 => u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).to_string(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

impl Db for RocksDb {
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        let found = self.db()?.multi_get(keys);
        found
            .into_iter()
            .map(|value| value.map_err(|error| self.noted(&error)))
            .collect()
    }

    fn scan(&self, from: &[u8], to: &[u8], max: usize) -> Result<Vec<StoredRow>, String> {
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(to.to_vec());
        let is_of_one_key = from.len() >= ROWS_OF_KEY && ends_with_prefix(&from[..ROWS_OF_KEY], to);
        read.set_prefix_same_as_start(is_of_one_key);
        read.set_total_order_seek(!is_of_one_key);
        let rows = self
            .db()?
            .iterator_opt(IteratorMode::From(from, Direction::Forward), read);
        rows.take(max)
            .map(|row| {
                row.map(|(key, value)| (key.into_vec(), value.into_vec()))
                    .map_err(|error| self.noted(&error))
            })
            .collect()
    }

    fn ingest(&mut self, rows: &mut dyn Iterator<Item = RowRef<'_>>) -> Result<(), String> {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let file = self.fresh_file();
        let failed = |error: rocksdb::Error| format!("{}: {error}", file.display());
        // The writer borrows the options, so one is made per file.
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(&file).map_err(failed)?;
        for (key, value) in rows {
            match value {
                Some(value) => writer.put(key, value).map_err(failed)?,
                None => writer.delete(key).map_err(failed)?,
            }
        }
        writer.finish().map_err(failed)?;
        drop(writer);
        #[cfg(target_os = "linux")]
        keep_in_memory(&file);
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        how.set_allow_blocking_flush(false);
        let ingested = self.db()?.ingest_external_file_opts(&how, vec![&file]);
        ingested.map_err(|error| {
            if file.exists() {
                self.noted(&error)
            } else {
                // Somebody took the new file away: the database is as sound as before.
                failed(error)
            }
        })
    }

    fn reset(&mut self) -> Result<(), String> {
        self.db = None;
        DB::destroy(&self.options, &self.dir).map_err(|error| error.to_string())?;
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir).map_err(|error| format!("{}: {error}", self.dir.display()))?;
        }
        self.start_as_it_is().map_err(|why| match why {
            Unopened::Damaged(message) | Unopened::Refused(message) => message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(partitions: u32) -> Identity {
        Identity {
            partitions,
            origin: "waymark-monitor/journey.timeline".to_owned(),
        }
    }

    fn ingest(db: &mut RocksDb, rows: &[(&str, Option<&str>)]) {
        let mut rows = rows
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.map(str::as_bytes)));
        db.ingest(&mut rows).expect("writes");
    }

    #[test]
    fn rows_come_back_after_reopening_and_deletions_hold() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::new(1 << 20);
        {
            let mut db = store.open(dir.path(), &identity(4)).expect("opens");
            ingest(&mut db, &[("st1", Some("a")), ("st2", Some("b"))]);
            ingest(&mut db, &[("st1", None), ("st3", Some("c"))]);
        }
        fs::write(dir.path().join("ingest").join("left.sst"), b"rubbish").expect("writes");
        let db = store.open(dir.path(), &identity(4)).expect("opens again");
        let values = db.multi_get(&[b"st1", b"st2"]).expect("reads");
        assert_eq!(values, [None, Some(b"b".to_vec())]);
        let rows = db.scan(b"st", b"su", 10).expect("reads");
        assert_eq!(
            rows,
            [(b"st2".to_vec(), b"b".to_vec()), (b"st3".to_vec(), b"c".to_vec())]
        );
        assert_eq!(db.scan(b"st", b"su", 1).expect("reads").len(), 1);
    }

    #[test]
    fn rows_of_a_key_are_found_among_those_of_its_neighbours() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut db = Store::new(1 << 20).open(dir.path(), &identity(4)).expect("opens");
        let key = |of: u8, name: &str| {
            let mut key = b"st".to_vec();
            key.extend([of; 16]);
            key.extend(name.as_bytes());
            key
        };
        // Of each file other keys: filters of most say that there is nothing.
        let keys = [0, 1, 0x60, 0x61, 0xfe, 0xff];
        for of in keys {
            let rows = [(key(of, "hd"), Some(vec![of])), (key(of, "in1"), Some(vec![1]))];
            let mut rows = rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
            db.ingest(&mut rows).expect("writes");
        }
        db.ingest(&mut [(key(0x60, "in1").as_slice(), None)].into_iter())
            .expect("writes");
        for of in keys {
            let (from, to) = stream::rows::state_range(&[of; 16]);
            let mut expected = vec![(key(of, "hd"), vec![of])];
            if of != 0x60 {
                expected.push((key(of, "in1"), vec![1]));
            }
            assert_eq!(db.scan(&from, &to, 10).expect("reads"), expected, "{of}");
            let behind = db.scan(&key(of, "hz"), &to, 10).expect("reads");
            assert_eq!(behind, expected[1..], "{of}");
        }
        let (from, to) = stream::rows::state_range(&[7; 16]);
        assert_eq!(db.scan(&from, &to, 10).expect("reads"), []);
        let all = db.scan(b"st", b"su", 100).expect("reads");
        assert_eq!(all.len(), 2 * keys.len() - 1, "not of one key");
        let from_the_middle = db.scan(&key(0x60, "in1"), b"su", 100).expect("reads");
        assert_eq!(
            from_the_middle.len(),
            6,
            "a page goes on behind the key that it begins with"
        );
    }

    #[test]
    fn rows_of_a_key_are_found_in_files_whose_filters_do_not_know_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut db = Store::new(1 << 20).open(dir.path(), &identity(4)).expect("opens");
        // As earlier versions wrote them.
        let mut blocks = BlockBasedOptions::default();
        blocks.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        let file = dir.path().join("earlier.sst");
        let mut writer = SstFileWriter::create(&options);
        writer.open(&file).expect("opens");
        let (from, to) = stream::rows::state_range(&[7; 16]);
        let key = |name: &str| [from.as_slice(), name.as_bytes()].concat();
        writer.put(key("hd"), "earlier").expect("writes");
        writer.put(key("in1"), "earlier").expect("writes");
        writer.finish().expect("writes");
        let files = db.db().expect("open").ingest_external_file(vec![&file]);
        files.expect("reads");
        db.ingest(&mut [(key("in2").as_slice(), Some(b"later".as_slice()))].into_iter())
            .expect("writes");
        let rows = db.scan(&from, &to, 10).expect("reads");
        let values: Vec<_> = rows.iter().map(|(_, value)| value.as_slice()).collect();
        assert_eq!(values, [b"earlier".as_slice(), b"earlier", b"later"]);
    }

    #[test]
    fn a_database_that_is_open_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::new(1 << 20);
        let mut db = store.open(dir.path(), &identity(4)).expect("opens");
        let kept = dir.path().join("ingest").join("under-way.sst");
        fs::write(&kept, b"rows").expect("writes");
        assert_eq!(store.open(dir.path(), &identity(4)).err(), Some(OpenError::InUse));
        let of_another_process = Store::new(1 << 20).open(dir.path(), &identity(4)).err();
        assert!(
            matches!(of_another_process, Some(OpenError::Failed(_))),
            "{of_another_process:?}"
        );
        assert!(kept.exists(), "what its owner is about to ingest stays");
        ingest(&mut db, &[("st1", Some("a"))]);
        db.reset().expect("begins anew");
        assert_eq!(store.open(dir.path(), &identity(4)).err(), Some(OpenError::InUse));
        drop(db);
        store.open(dir.path(), &identity(4)).expect("opens once it is closed");
    }

    /// What becomes of a file's bytes.
    type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;

    /// A database of twenty flushes, each of which says its number in one row and adds one of its own.
    fn written(dir: &Path) {
        let mut db = Store::new(1 << 20).open(dir, &identity(4)).expect("opens");
        for flush in 0..20 {
            let (number, own) = (flush.to_string(), format!("own{flush:02}"));
            ingest(&mut db, &[("number", Some(&number)), (&own, Some(&"x".repeat(20_000)))]);
        }
    }

    /// How many flushes it holds, all of them whole.
    fn flushes(db: &RocksDb) -> Result<usize, String> {
        let number = db.multi_get(&[b"number"])?.remove(0);
        let rows = db.scan(b"own", b"owo", 100)?;
        let flushes = number.map_or(0, |number| {
            let number: usize = String::from_utf8_lossy(&number).parse().expect("a number");
            number + 1
        });
        assert_eq!(rows.len(), flushes, "a flush is there in part");
        Ok(flushes)
    }

    #[test]
    fn a_damaged_database_holds_whole_flushes_or_none() {
        let sound = tempfile::tempdir().expect("a directory");
        written(sound.path());
        let files: Vec<PathBuf> = fs::read_dir(sound.path())
            .expect("reads")
            .map(|file| file.expect("a file").path())
            .filter(|file| file.is_file() && fs::metadata(file).is_ok_and(|file| file.len() > 0))
            .collect();
        let damages: [(&str, Damage); 5] = [
            ("missing", |_| None),
            ("empty", |_| Some(Vec::new())),
            ("half", |bytes| Some(bytes[..bytes.len() / 2].to_vec())),
            ("short", |bytes| Some(bytes[..bytes.len() - 1].to_vec())),
            ("altered", |mut bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                Some(bytes)
            }),
        ];
        let mut emptied = 0;
        for file in &files {
            for (name, damage) in damages {
                let of = format!("{} {name}", file.display());
                let dir = tempfile::tempdir().expect("a directory");
                for other in &files {
                    let bytes = fs::read(other).expect("reads");
                    let bytes = if other == file { damage(bytes) } else { Some(bytes) };
                    if let Some(bytes) = bytes {
                        fs::write(dir.path().join(other.file_name().expect("a name")), bytes).expect("writes");
                    }
                }
                let open = || Store::new(1 << 20).open(dir.path(), &identity(4));
                let found = open().unwrap_or_else(|error| panic!("{of}: {error}"));
                let held = flushes(&found).or_else(|_| {
                    // Found by reading: whoever reads ends, and finds an empty one when it comes again.
                    drop(found);
                    flushes(&open().unwrap_or_else(|error| panic!("{of}: {error}")))
                });
                let held = held.unwrap_or_else(|error| panic!("{of}: {error}"));
                emptied += usize::from(held == 0);
                let mut db = open().unwrap_or_else(|error| panic!("{of}: {error}"));
                ingest(&mut db, &[("after", Some("x"))]);
                drop(db);
                let again = open().unwrap_or_else(|error| panic!("{of}: {error}"));
                let after = again.multi_get(&[b"after"]).expect("reads");
                assert_eq!(after, [Some(b"x".to_vec())], "{of}: emptied once, and not again");
            }
        }
        assert!(emptied > 4, "{emptied} of {} were noticed", files.len() * damages.len());
    }

    #[test]
    fn a_marked_database_is_emptied_by_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        written(dir.path());
        fs::write(dir.path().join(DAMAGED), b"a block's checksum").expect("writes");
        let mut other = identity(4);
        other.origin.push_str("-test");
        let refused = Store::new(1 << 20).open(dir.path(), &other).err().expect("refused");
        assert!(refused.to_string().contains("state of another origin"), "{refused}");
        let open = || Store::new(1 << 20).open(dir.path(), &identity(4));
        let mut db = open().expect("opens");
        assert_eq!(flushes(&db), Ok(0));
        ingest(&mut db, &[("number", Some("0")), ("own00", Some("x"))]);
        fs::write(dir.path().join(DAMAGED), b"a block's checksum").expect("writes");
        assert!(
            matches!(open().err(), Some(OpenError::Failed(_))),
            "another process has it open"
        );
        assert_eq!(flushes(&db), Ok(1), "and it stays");
    }

    #[test]
    fn a_new_file_that_cannot_be_written_condemns_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut db = Store::new(1 << 20).open(dir.path(), &identity(4)).expect("opens");
        ingest(&mut db, &[("number", Some("0")), ("own00", Some("x"))]);
        fs::remove_dir_all(dir.path().join("ingest")).expect("deletes");
        let failed = db.ingest(&mut [(b"a".as_slice(), None)].into_iter());
        assert!(failed.is_err());
        drop(db);
        let db = Store::new(1 << 20).open(dir.path(), &identity(4)).expect("opens");
        assert_eq!(flushes(&db), Ok(1));
    }

    #[test]
    fn the_bytes_that_name_a_database_never_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let db = Store::new(1 << 20).open(dir.path(), &identity(258)).expect("opens");
        let rows = db.scan(b"me", b"mf", 10).expect("reads");
        let expected: [(&[u8], &[u8]); 3] = [
            (b"me/format", &[0, 1]),
            (b"me/origin", b"waymark-monitor/journey.timeline"),
            (b"me/partitions", &[0, 0, 1, 2]),
        ];
        assert_eq!(rows, expected.map(|(key, value)| (key.to_vec(), value.to_vec())));
    }

    #[test]
    fn a_reset_empties_and_another_partition_count_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::new(1 << 20);
        {
            let mut db = store.open(dir.path(), &identity(4)).expect("opens");
            ingest(&mut db, &[("st1", Some("a"))]);
            db.reset().expect("resets");
            assert_eq!(db.multi_get(&[b"st1"]).expect("reads"), [None]);
        }
        let refused = store.open(dir.path(), &identity(8)).err().expect("refused");
        assert!(
            refused
                .to_string()
                .ends_with("state of another partition count: found=4 expected=8"),
            "{refused}"
        );
    }
}
