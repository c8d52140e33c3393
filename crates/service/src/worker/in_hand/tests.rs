use std::path::PathBuf;

use super::*;

fn partition() -> TopicPartition {
    TopicPartition {
        topic: Arc::from("in"),
        partition: 3,
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("in-hand").join("s-0")
}

/// A directory as the process leaves it that dies now.
fn died(dir: &Path) -> tempfile::TempDir {
    let next = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(next.path().join("in-hand")).expect("made");
    fs::copy(file(dir), file(next.path())).expect("copied");
    next
}

#[test]
fn the_bytes_of_the_file_never_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let hand = Hand::open(dir.path(), "s", 0);
    let watch = hand.watch(&partition());
    let mut golden = vec![0; BYTES];
    golden[0] = 1;
    assert_eq!(fs::read(file(dir.path())).expect("read"), golden);
    let timer = InHand::Timer {
        key: [7; 16],
        offset: 5,
    };
    let words = [InHand::Record(5), timer, InHand::Key([7; 16])].map(|what| {
        assert_eq!(watch(Some(what)), None);
        let mut word = [0; 8];
        word.copy_from_slice(&fs::read(file(dir.path())).expect("read")[8..16]);
        u64::from_be_bytes(word)
    });
    assert_eq!(
        words,
        [0xcad1_adc8_d2a9_49af, 0x6737_8e8f_397d_e987, 0x7f62_0e50_ef43_6554]
    );
    golden[8..16].copy_from_slice(&words[2].to_be_bytes());
    assert_eq!(fs::read(file(dir.path())).expect("read"), golden);
    let next = died(dir.path());
    let _hand = Hand::open(next.path(), "s", 0);
    golden.copy_within(8..16, 24);
    golden[8..16].fill(0);
    golden[23] = 1;
    golden[39] = 1;
    assert_eq!(fs::read(file(next.path())).expect("read"), golden);
    watch(None);
    assert_eq!(fs::read(file(dir.path())).expect("read")[8..16], [0; 8]);
}

#[test]
fn the_third_death_is_enough_and_a_commit_forgives() {
    let (poison, other) = (InHand::Record(70), InHand::Record(71));
    let mut dir = tempfile::tempdir().expect("a directory");
    for _ in 0..3 {
        let hand = Hand::open(dir.path(), "s", 0);
        let watch = hand.watch(&partition());
        assert_eq!(watch(Some(other)), None);
        assert_eq!(watch(Some(poison)), None, "the process may live through it");
        dir = died(dir.path());
    }
    let hand = Hand::open(dir.path(), "s", 0);
    let watch = hand.watch(&partition());
    assert_eq!(watch(Some(other)), None);
    assert_eq!(watch(Some(poison)), Some(Cause::CrashLoop));
    assert_eq!(watch(Some(other)), None);
    assert_eq!(
        watch(Some(poison)),
        Some(Cause::CrashLoop),
        "an epoch that is aborted brings it again"
    );
    // Killed before the commit, and again: it is still known.
    let dir = died(dir.path());
    drop(hand);
    let hand = Hand::open(dir.path(), "s", 0);
    let watch = hand.watch(&partition());
    assert_eq!(watch(Some(poison)), Some(Cause::CrashLoop));
    watch(None);
    hand.committed();
    let dir = died(dir.path());
    drop(hand);
    let hand = Hand::open(dir.path(), "s", 0);
    assert_eq!(hand.watch(&partition())(Some(poison)), None);
}

#[test]
fn an_orderly_end_leaves_nothing_in_hand() {
    let dir = tempfile::tempdir().expect("a directory");
    let hand = Hand::open(dir.path(), "s", 0);
    let watch = hand.watch(&partition());
    watch(Some(InHand::Record(80)));
    drop(hand);
    assert_eq!(fs::read(file(dir.path())).expect("read")[8..24], [0; 16]);
}

#[test]
fn a_suspect_is_taken_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let suspect = InHand::Key([9; 16]);
    let first = Hand::open(dir.path(), "s", 0);
    first.watch(&partition())(Some(suspect));
    let dir = died(dir.path());
    drop(first);
    let (one, two) = (Hand::open(dir.path(), "s", 0), Hand::open(dir.path(), "s", 1));
    let watch = one.watch(&partition());
    let is_taken = Arc::new(AtomicBool::new(false));
    let others = two.watch(&partition());
    assert_eq!(others(Some(InHand::Record(1))), None);
    let waits = {
        let (watch, is_taken) = (Arc::clone(&watch), Arc::clone(&is_taken));
        std::thread::spawn(move || {
            watch(Some(suspect));
            is_taken.store(true, Ordering::SeqCst);
        })
    };
    std::thread::sleep(Duration::from_millis(20));
    assert!(!is_taken.load(Ordering::SeqCst), "something else is in hand");
    others(None);
    waits.join().expect("it gets its turn");
    let goes_on = {
        let is_taken = Arc::clone(&is_taken);
        std::thread::spawn(move || {
            others(Some(InHand::Record(2)));
            let was_done = !is_taken.load(Ordering::SeqCst);
            others(None);
            was_done
        })
    };
    std::thread::sleep(Duration::from_millis(20));
    is_taken.store(false, Ordering::SeqCst);
    watch(None);
    assert!(
        goes_on.join().expect("it goes on"),
        "while a suspect is in hand, nothing else is"
    );
}

#[test]
fn a_file_that_cannot_be_used_stops_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let hand = Hand::open(dir.path(), "s", 0);
    let second = Hand::open(dir.path(), "s", 0);
    assert_eq!(
        second.watch(&partition())(Some(InHand::Record(90))),
        None,
        "another has the file"
    );
    drop((hand, second));
    for bytes in [
        vec![9; BYTES],
        b"short".to_vec(),
        [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[255; BYTES - 8]].concat(),
    ] {
        fs::write(file(dir.path()), bytes).expect("written");
        let hand = Hand::open(dir.path(), "s", 0);
        assert_eq!(hand.watch(&partition())(Some(InHand::Record(90))), None);
        drop(hand);
        let mut clean = vec![0; BYTES];
        clean[0] = 1;
        assert_eq!(fs::read(file(dir.path())).expect("read"), clean);
    }
    let nowhere = dir.path().join("a file");
    fs::write(&nowhere, b"").expect("written");
    let hand = Hand::open(&nowhere, "s", 0);
    assert_eq!(hand.watch(&partition())(Some(InHand::Record(90))), None);
}

#[test]
fn a_full_table_forgets_the_suspect_with_the_fewest_deaths() {
    let page = Page::in_memory().expect("one page");
    let full: Vec<(u64, u64)> = (1..=SUSPECTS as u64)
        .map(|what| (what, if what == 5 { 1 } else { 2 }))
        .collect();
    page.set_suspects(&full);
    page.set(1, 1000);
    assert_eq!(page.count_death(), Some(1));
    let left = page.suspects();
    assert_eq!(left.len(), SUSPECTS);
    assert!(left.contains(&(1000, 1)) && left.contains(&(1, 2)) && !left.contains(&(5, 1)));
    assert_eq!(page.count_death(), None);
}
