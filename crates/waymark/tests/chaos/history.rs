//! A changelog whose beginning somebody deleted: the monitor halts, and never guesses.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use kafka::Admin;
use testkit::cluster::Cluster;

use crate::{
    Folder, alone,
    binary::{eventually, get},
    client,
    fleet::{ENDING, Fleet},
    load::{self, Load, Shared},
    prepare,
    verdict::{count_signals, each},
    watch::Watch,
};

const CHANGELOG: &str = "journey.changelog.monitor";
/// How long a halted monitor is watched for outputs, in milliseconds: sessions and transactions have ended by then.
const WATCHED: u64 = 8_000;

#[test]
fn a_changelog_whose_beginning_was_deleted_halts_the_monitor() {
    let _turn = alone();
    let Some(cluster) = Cluster::for_test(1) else { return };
    let folder = Folder::new();
    let dir = folder.path();
    // No snapshot is taken, so every row is in the changelog's beginning.
    let set = prepare(&cluster, dir, &["service.workers=1".to_owned()]);
    let mut fleet = Fleet::new(set, dir);
    fleet.add("intake", "a");
    let monitor = fleet.add("monitor", "a");
    let shared = Arc::new(Shared::default());
    let load = Load {
        brokers: cluster.address(),
        seed: 1,
        events: 100_000,
        rate: 300,
    };
    let sending = std::thread::spawn({
        let shared = Arc::clone(&shared);
        move || load::send(&load, &shared)
    });
    let mut watch = Watch::new(&cluster.address(), Arc::clone(&shared));
    let begun = Instant::now();
    while watch.look().carts < 500 {
        fleet.tend();
        assert!(begun.elapsed() < Duration::from_secs(90), "nothing comes out");
    }

    // The monitor dies and loses its disk, and somebody deletes the beginning of what it would be restored from.
    fleet.members[monitor].held = true;
    fleet.members[monitor].kill();
    fleet.members[monitor].lose_disk();
    delete_beginnings(&cluster.address());
    // What its last transaction wrote becomes visible, or is aborted, before the outputs are counted.
    std::thread::sleep(Duration::from_secs(6));
    let before = count_signals(&cluster.address()).expect("signals can be read");
    fleet.restart(monitor);

    eventually("the monitor halts", || {
        fleet.tend();
        !fleet.halted.is_empty()
    });
    let member = &fleet.members[monitor];
    let admin = member.admin().expect("it serves metrics and health");
    assert_eq!(get(&admin, "/readyz").0, 503);
    assert_eq!(get(&admin, "/livez").0, 200, "a halted process is live");
    assert!(
        get(&admin, "/metrics")
            .1
            .contains("waymark_halted{service=\"monitor\"} 1")
    );
    let said = fleet.halted.join("\n");
    assert!(said.contains("somebody deleted"), "it says what was done: {said}");
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(WATCHED) {
        fleet.tend();
        watch.look();
    }
    assert!(
        shared.sent.load(Ordering::Relaxed) > 0 && fleet.restarts.is_empty(),
        "nothing else ended: {:?}",
        fleet.restarts
    );
    let after = count_signals(&cluster.address()).expect("signals can be read");
    assert_eq!(after, before, "a monitor that halted says nothing more");
    fleet.members[monitor].signal(libc::SIGTERM);
    assert_eq!(fleet.members[monitor].wait(Instant::now() + ENDING), Some(6));
    shared.stop.store(true, Ordering::Relaxed);
    sending.join().expect("the load does not panic");
    drop(fleet);
    folder.forget();
}

/// Deletes the first half of every partition of the changelog.
fn delete_beginnings(brokers: &str) {
    let config = client(brokers, "chaos-history");
    let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    each(&config, &[CHANGELOG], |record| {
        offsets.entry(record.partition).or_default().push(record.offset);
    })
    .expect("the changelog can be read");
    assert_eq!(offsets.len(), 4, "every partition has a changelog");
    let admin = Admin::connect(&config).expect("a client");
    for (partition, offsets) in offsets {
        assert!(offsets.len() > 3, "there is a beginning and something behind it");
        admin
            .delete_records(CHANGELOG, partition, offsets[offsets.len() / 2])
            .expect("records can be deleted");
    }
}
