//! What it takes to load one customer's rows from a database of several files: one who is in one of them, and one who is new.
//! `cargo bench --profile dev -p store --bench load` runs it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use store::{Identity, Store};
use stream::{
    Db, RowRef,
    rows::{HEAD, key16, state_key, state_range},
};

/// Files that compaction has not merged.
const FILES: u64 = 7;
/// Customers in each.
const CUSTOMERS: u64 = 100_000;

fn bench(criterion: &mut Criterion) {
    let place = tempfile::tempdir().expect("a directory");
    let identity = Identity {
        partitions: 1,
        origin: "bench/in".to_owned(),
    };
    let mut db = Store::new(64 << 20).open(place.path(), &identity).expect("opens");
    let short = |customer: u64| key16(&customer.to_be_bytes());
    for file in 0..FILES {
        let customers = file * CUSTOMERS..(file + 1) * CUSTOMERS;
        let mut rows: Vec<(Vec<u8>, [u8; 200])> = customers
            .map(|customer| {
                let mut value = [1; 200];
                value[..16].copy_from_slice(&short(customer));
                (state_key(&short(customer), HEAD), value)
            })
            .collect();
        rows.sort();
        let mut rows = rows.iter().map(|(key, value)| -> RowRef<'_> { (key, Some(value)) });
        db.ingest(&mut rows).expect("disk works");
    }
    let mut group = criterion.benchmark_group("load");
    for (name, first) in [("a customer", 0), ("a new customer", FILES * CUSTOMERS)] {
        let mut next = 0_u64;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                // Far from the one before.
                next = (next + 37_813) % (FILES * CUSTOMERS);
                let (from, to) = state_range(&short(first + next));
                black_box(db.scan(&from, &to, usize::MAX).expect("disk works"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
