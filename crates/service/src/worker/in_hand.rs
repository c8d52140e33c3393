//! What each worker has in hand, in a small mapped file that outlives the process: what kills it again and again is found.
//!
//! A store to a mapped page survives `kill -9` and abort, and costs nanoseconds. What was in hand at a death is a suspect: from
//! then on it is taken alone, while no worker of the process has anything else in hand, so that the next death is its own and no
//! innocent's. After the third it is kept from the stage. A suspect whose epoch is committed is none any more.
//!
//! The file `<data_dir>/in-hand/<service>-<worker>` is 4,096 bytes of big-endian words of 8:
//!
//! | word | holds |
//! |---|---|
//! | 0 | version 1 in its first byte |
//! | 1 | what is in hand, as [`name`] has it; 0 if nothing is |
//! | 2 | how many suspects follow |
//! | 3, 5 … | a suspect, and in the next word how often the process has died with it in hand |

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use memmap2::{MmapMut, MmapOptions, MmapRaw};
use stream::{Cause, InHand, TopicPartition, Watch, rows::key16};

/// Version 1, in the first byte of the first word.
const VERSION: u64 = 1 << 56;
const BYTES: usize = 4096;
/// At most this many suspects a worker; the one with the fewest deaths makes room.
const SUSPECTS: usize = 64;
/// With this many deaths a suspect is kept from the stage.
const DEATHS: u64 = 3;
/// How long a worker sleeps between two looks at whether another's suspect is done.
const PAUSE: Duration = Duration::from_micros(50);

/// One mapped page, read and written as words.
struct Page {
    map: MmapRaw,
    /// Locked as long as the page is used: another process must not take what is in hand here for a death.
    _file: Option<File>,
}

impl Page {
    /// The page of a file.
    fn of_file(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => format!("{}: another process has it", path.display()),
            TryLockError::Error(error) => failed(error),
        })?;
        let length = file.metadata().map_err(failed)?.len();
        let is_whole = usize::try_from(length).is_ok_and(|length| length == BYTES);
        if !is_whole {
            if length > 0 {
                tracing::warn!(path = %path.display(), length, "file of what is in hand is of another length, beginning anew");
            }
            file.set_len(0).map_err(failed)?;
            // Written, not stretched: a store to a page that a full disk cannot back would kill the process.
            file.write_all(&[0; BYTES]).map_err(failed)?;
        }
        let map = MmapOptions::new().len(BYTES).map_raw(&file).map_err(failed)?;
        let page = Self { map, _file: Some(file) };
        if !page.is_known() {
            if page.get(0) != 0 {
                tracing::warn!(path = %path.display(), "file of what is in hand cannot be read, beginning anew");
            }
            page.clear();
        }
        Ok(page)
    }

    /// A page that is forgotten at the end, where there can be no file.
    fn in_memory() -> std::io::Result<Self> {
        let map = MmapMut::map_anon(BYTES)?.into();
        let page = Self { map, _file: None };
        page.clear();
        Ok(page)
    }

    fn is_known(&self) -> bool {
        self.get(0) == VERSION && self.get(2) <= SUSPECTS as u64
    }

    fn clear(&self) {
        for index in 1..BYTES / 8 {
            self.set(index, 0);
        }
        self.set(0, VERSION);
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < BYTES / 8, "a word of the page");
        // SAFETY: the mapping is aligned to a page, BYTES long, and lives as long as `self`; it is only ever used through these
        // atomics, and the lock keeps other processes out.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(index)) }
    }

    fn get(&self, index: usize) -> u64 {
        u64::from_be(self.word(index).load(Ordering::SeqCst))
    }

    fn set(&self, index: usize, value: u64) {
        self.word(index).store(value.to_be(), Ordering::SeqCst);
    }

    /// What is in hand.
    fn slot(&self) -> &AtomicU64 {
        self.word(1)
    }

    fn suspects(&self) -> Vec<(u64, u64)> {
        let count = usize::try_from(self.get(2)).unwrap_or(SUSPECTS).min(SUSPECTS);
        let pair = |index| (self.get(3 + 2 * index), self.get(4 + 2 * index));
        (0..count).map(pair).collect()
    }

    fn set_suspects(&self, suspects: &[(u64, u64)]) {
        self.set(2, 0);
        for (index, (what, deaths)) in suspects.iter().enumerate() {
            self.set(3 + 2 * index, *what);
            self.set(4 + 2 * index, *deaths);
        }
        self.set(2, suspects.len() as u64);
    }

    /// The process died: what was in hand is a suspect. Returns how often it has been.
    fn count_death(&self) -> Option<u64> {
        let what = self.get(1);
        if what == 0 {
            return None;
        }
        let mut suspects = self.suspects();
        let deaths = match suspects.iter_mut().find(|(known, _)| *known == what) {
            Some((_, deaths)) => {
                *deaths += 1;
                *deaths
            }
            None => {
                if suspects.len() == SUSPECTS {
                    let fewest = (0..SUSPECTS).min_by_key(|index| suspects[*index].1).unwrap_or(0);
                    suspects.remove(fewest);
                }
                suspects.push((what, 1));
                1
            }
        };
        self.set_suspects(&suspects);
        self.set(1, 0);
        Some(deaths)
    }
}

/// What the workers of this process share.
struct Process {
    pages: Mutex<Vec<Arc<Page>>>,
    /// Deaths by suspect, over all pages.
    suspects: Mutex<BTreeMap<u64, u64>>,
    /// How many suspects there are: a look at the map only if there is one.
    count: AtomicUsize,
    /// The worker that has a suspect in hand; 0 if none has.
    alone: AtomicU64,
}

static PROCESS: Process = Process {
    pages: Mutex::new(Vec::new()),
    suspects: Mutex::new(BTreeMap::new()),
    count: AtomicUsize::new(0),
    alone: AtomicU64::new(0),
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    fn count_again(&self, pages: &[Arc<Page>]) {
        let mut all = BTreeMap::new();
        for (what, deaths) in pages.iter().flat_map(|page| page.suspects()) {
            *all.entry(what).or_default() += deaths;
        }
        self.count.store(all.len(), Ordering::SeqCst);
        *lock(&self.suspects) = all;
    }

    fn deaths(&self, what: u64) -> u64 {
        if self.count.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        lock(&self.suspects).get(&what).copied().unwrap_or(0)
    }

    fn clear_of(&self, innocent: &[u64]) {
        let pages = lock(&self.pages);
        for page in pages.iter() {
            let mut suspects = page.suspects();
            let before = suspects.len();
            suspects.retain(|(what, _)| !innocent.contains(what));
            if suspects.len() < before {
                page.set_suspects(&suspects);
            }
        }
        self.count_again(&pages);
    }
}

/// What one worker has in hand. Dropping it says: nothing.
pub struct Hand {
    inner: Arc<Inner>,
    service: String,
}

struct Inner {
    page: Arc<Page>,
    /// This worker's number in the process, from 1.
    number: u64,
    is_alone: AtomicBool,
    /// Suspects taken since the last commit.
    taken: Mutex<Vec<u64>>,
    has_taken: AtomicBool,
}

impl Hand {
    /// Opens the file of a worker. What it holds from a process that died becomes a suspect. A file that cannot be used stops nobody:
    /// it is logged, and this process's deaths are forgotten.
    ///
    /// # Panics
    /// If the machine has not one page of memory left.
    #[must_use]
    pub fn open(data_dir: &Path, service: &str, worker: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let path = data_dir.join("in-hand").join(format!("{service}-{worker}"));
        let page = Page::of_file(&path).unwrap_or_else(|error| {
            tracing::warn!(
                error,
                "no file for what is in hand: a record that kills the process will not be found"
            );
            Page::in_memory().expect("one page of memory")
        });
        if let Some(deaths) = page.count_death() {
            tracing::warn!(
                service,
                worker,
                deaths,
                "the process died with something in hand; it is taken alone from now on"
            );
        }
        let page = Arc::new(page);
        let mut pages = lock(&PROCESS.pages);
        pages.push(Arc::clone(&page));
        PROCESS.count_again(&pages);
        drop(pages);
        let inner = Inner {
            page,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            is_alone: AtomicBool::new(false),
            taken: Mutex::default(),
            has_taken: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
            service: service.to_owned(),
        }
    }

    /// Watches the task of a partition.
    #[must_use]
    pub fn watch(&self, partition: &TopicPartition) -> Watch {
        let (inner, seed) = (Arc::clone(&self.inner), seed(&self.service, partition));
        Arc::new(move |what| match what {
            Some(what) => inner.take(name(seed, what)),
            None => {
                inner.let_go();
                None
            }
        })
    }

    /// An epoch is committed: suspects taken in it are none any more.
    pub fn committed(&self) {
        if self.inner.has_taken.swap(false, Ordering::Relaxed) {
            let taken = std::mem::take(&mut *lock(&self.inner.taken));
            PROCESS.clear_of(&taken);
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.inner.let_go();
        let mut pages = lock(&PROCESS.pages);
        pages.retain(|page| !Arc::ptr_eq(page, &self.inner.page));
        PROCESS.count_again(&pages);
    }
}

impl Inner {
    fn take(&self, what: u64) -> Option<Cause> {
        let slot = self.page.slot();
        if slot.load(Ordering::Relaxed) == what.to_be() {
            return None;
        }
        let deaths = PROCESS.deaths(what);
        if deaths > 0 {
            lock(&self.taken).push(what);
            self.has_taken.store(true, Ordering::Relaxed);
        }
        if deaths >= DEATHS {
            self.let_go();
            return Some(Cause::CrashLoop);
        }
        if deaths > 0 {
            self.take_alone(what);
        } else {
            self.take_among_others(what);
        }
        None
    }

    fn take_among_others(&self, what: u64) {
        if self.is_alone.load(Ordering::Relaxed) {
            self.let_go();
        }
        loop {
            // First said, then looked: of this worker and one that wants to be alone, at least one sees the other.
            self.page.slot().store(what.to_be(), Ordering::SeqCst);
            if PROCESS.alone.load(Ordering::SeqCst) == 0 {
                return;
            }
            self.page.slot().store(0, Ordering::SeqCst);
            while PROCESS.alone.load(Ordering::SeqCst) != 0 {
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn take_alone(&self, what: u64) {
        self.let_go();
        let mine = || {
            PROCESS
                .alone
                .compare_exchange(0, self.number, Ordering::SeqCst, Ordering::SeqCst)
        };
        while mine().is_err() {
            std::thread::sleep(PAUSE);
        }
        self.is_alone.store(true, Ordering::Relaxed);
        loop {
            let pages = lock(&PROCESS.pages).clone();
            let is_nothing_in_hand = |page: &Arc<Page>| page.slot().load(Ordering::SeqCst) == 0;
            if pages.iter().all(is_nothing_in_hand) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        self.page.slot().store(what.to_be(), Ordering::SeqCst);
    }

    fn let_go(&self) {
        self.page.slot().store(0, Ordering::Release);
        // Only behind that may others go on.
        if self.is_alone.swap(false, Ordering::Relaxed) {
            PROCESS.alone.store(0, Ordering::SeqCst);
        }
    }
}

/// What tells the partitions of all services apart.
fn seed(service: &str, partition: &TopicPartition) -> u64 {
    let parts = [
        service.as_bytes(),
        &[0],
        partition.topic.as_bytes(),
        &[0],
        &partition.partition.to_be_bytes(),
    ];
    half(&key16(&parts.concat()), 0)
}

/// The name of something in hand, as it stands in the file. Never 0.
fn name(seed: u64, what: InHand) -> u64 {
    let words = match what {
        InHand::Record(offset) => [1, offset.cast_unsigned(), 0, 0],
        InHand::Timer { key, offset } => [2, offset.cast_unsigned(), half(&key, 0), half(&key, 8)],
        InHand::Key(key) => [3, 0, half(&key, 0), half(&key, 8)],
    };
    words.iter().fold(seed, |hash, word| mixed(hash ^ word)).max(1)
}

fn half(key: &[u8; 16], from: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&key[from..from + 8]);
    u64::from_be_bytes(word)
}

/// The finishing step of splitmix64: every bit of the input moves half of those of the output.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests;
