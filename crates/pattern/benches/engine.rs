//! The engine alone: nanoseconds per event against the size of the catalogue, and per run that an event touches.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pattern::bench::{Load, World};

/// One iteration is so many events.
const EVENTS: usize = 1000;

fn catalogues(criterion: &mut Criterion) {
    for (name, load, customers, sizes) in [
        ("eight_affected", Load::Spread, 100, [1, 10, 100, 1000, 3000].as_slice()),
        ("half_follow", Load::Follow, 10_000, [1, 10, 100, 1000].as_slice()),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(EVENTS as u64));
        for size in sizes {
            let mut world = None;
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                let world =
                    world.get_or_insert_with(|| warm(name, World::new(load, *size, customers), customers * 100));
                bencher.iter(|| world.run(black_box(EVENTS)));
            });
        }
        group.finish();
    }
}

/// Runs a world warm, and says what its events do.
fn warm(name: &str, mut world: World, events: usize) -> World {
    world.run(events);
    let (before, capped) = (world.matches, world.capped);
    world.run(1000);
    let (matches, capped) = (world.matches - before, world.capped - capped);
    eprintln!("{name}: {matches} of 1000 events complete a match, {capped} runs are capped");
    world
}

/// Every event touches a run of each of a thousand patterns: elements are touched runs.
fn touched(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("touched_run");
    group.throughput(Throughput::Elements(100_000));
    for (name, load) in [("restarted", Load::Restart), ("moved", Load::Move)] {
        let mut world = None;
        group.bench_function(name, |bencher| {
            let world = world.get_or_insert_with(|| warm(name, World::new(load, 1000, 1), 1000));
            bencher.iter(|| world.run(black_box(100)));
        });
    }
    group.finish();
}

criterion_group!(benches, catalogues, touched);
criterion_main!(benches);
