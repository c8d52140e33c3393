//! The engine alone: nanoseconds per event against the size of the catalogue, and per run that an event touches.

use std::{collections::BTreeMap, hint::black_box};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use event::{Attribute, Event};
use pattern::bench::{Load, Predicates, UNLIKE, World, viewed};

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

/// Distinct predicates over one event: elements are predicates. What an event costs before the first of them, a look-up for each
/// field that they read included, is spread over all; `alone` has one predicate to bear it.
fn predicates(criterion: &mut Criterion) {
    let numbers = |fields: usize| -> Vec<String> {
        (0..64)
            .map(|number| format!("event.f{} >= {number}.5", number % fields))
            .collect()
    };
    let each = |make: fn(usize) -> String| (0..64).map(make).collect::<Vec<String>>();
    let mut group = criterion.benchmark_group("predicate");
    for (name, conditions) in [
        ("alone", vec!["event.f0 >= 0.5".to_owned()]),
        ("number_of_one_field", numbers(1)),
        ("number_of_eight_fields", numbers(8)),
        ("text", each(|number| format!("event.name == 'p-{number}'"))),
        (
            "among_texts",
            each(|number| format!("event.name in ['a-{number}', 'b-{number}', 'p-{number}']")),
        ),
        (
            "has_and_number",
            each(|number| format!("has(event.f0) && event.f0 < {number}")),
        ),
        ("sum", each(|number| format!("event.f0 + event.f1 > {number}.0"))),
    ] {
        let mut attributes: BTreeMap<String, Attribute> = (0..8)
            .map(|number| (format!("f{number}"), Attribute::Double(f64::from(number * 8))))
            .collect();
        attributes.insert("name".to_owned(), Attribute::Text("p-31".to_owned()));
        let event = Event {
            attributes,
            ..Event::default()
        };
        predicate(&mut group, name, &conditions, event);
    }
    predicate(&mut group, "eight_unlike", &UNLIKE.map(ToOwned::to_owned), viewed());
    group.finish();
}

fn predicate(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, conditions: &[String], event: Event) {
    let mut predicates = Predicates::new(conditions, event).expect("the conditions are right");
    assert_eq!(predicates.distinct(), conditions.len());
    group.throughput(Throughput::Elements(conditions.len() as u64));
    group.bench_function(name, |bencher| bencher.iter(|| black_box(&mut predicates).evaluate()));
}

criterion_group!(benches, catalogues, touched, predicates);
criterion_main!(benches);
