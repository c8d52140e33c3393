//! What matching costs: the engine alone, on generated catalogues and streams.

use std::hint::black_box;

use ::pattern::{
    Runs,
    bench::{Load, Predicates, UNLIKE, World, viewed},
};
use codec::Saved;
use journey::Journey;

use super::cells::{Cell, Figure, report, time};
use crate::{
    allocations,
    report::{Failure, Report},
};

/// Events in one timed operation.
const EVENTS: usize = 100;

/// Nanoseconds that an event may take in the catalogue of `Load::Follow`, by number of patterns.
const FOLLOW: [(usize, f64); 4] = [(1, 300.0), (10, 400.0), (100, 800.0), (1000, 2500.0)];
const SPREAD: [usize; 5] = [1, 10, 100, 1000, 3000];
/// Nanoseconds that a touched run, and a predicate, may take; bytes that a run may take in its customer's row.
const TOUCHED: f64 = 25.0;
const PREDICATE: f64 = 10.0;
const ROW: f64 = 40.0;

pub(super) fn run(only: Option<&str>) -> Result<Report, Failure> {
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));
    let (mut cells, mut figures) = (Vec::new(), Vec::new());
    for patterns in SPREAD {
        let name = format!("8 affected, {patterns} patterns");
        if wanted(&name) {
            let mut world = warm(Load::Spread, patterns, 100, 40_000);
            cells.push(events(name, &mut world, 1.0, None));
        }
    }
    for (patterns, target) in FOLLOW {
        let name = format!("half follow, {patterns} patterns");
        if wanted(&name) {
            let mut world = warm(Load::Follow, patterns, 10_000, 400_000);
            cells.push(events(name, &mut world, 1.0, Some(target)));
        }
    }
    for (what, load) in [("restarted", Load::Restart), ("moved", Load::Move)] {
        let name = format!("run touched and {what}, 1000 patterns");
        if wanted(&name) {
            let mut world = warm(load, 1000, 1, 1000);
            cells.push(events(name, &mut world, 1000.0, Some(TOUCHED)));
        }
    }
    let name = format!("where, one of {} on an event", UNLIKE.len());
    if wanted(&name) {
        let all = UNLIKE.map(ToOwned::to_owned);
        cells.push(predicates(name, &all, Some(PREDICATE))?);
    }
    for text in UNLIKE {
        let name = format!("where alone: {text}");
        if wanted(&name) {
            cells.push(predicates(name, &[text.to_owned()], None)?);
        }
    }
    for (patterns, warmth, events) in [(1, 20_000, 2000_u32), (1000, 200_000, 20_000)] {
        let name = format!("allocations per event, {patterns} patterns");
        if wanted(&name) {
            let mut world = warm(Load::Spread, patterns, 10, warmth);
            let Some(count) = allocations::during(|| world.run(events as usize)) else {
                continue;
            };
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let value = count as f64 / f64::from(events);
            figures.push(figure(name, value, "allocations", Some(0.0)));
        }
    }
    let name = "row of live runs, 1000 patterns";
    if wanted(name) {
        let world = warm(Load::Spread, 1000, 100, 40_000);
        let (runs, bytes) = (world.live_runs() as f64, row_bytes(&world) as f64);
        figures.push(figure(
            format!("{name}: a run, its share of events included"),
            bytes / runs.max(1.0),
            "bytes",
            Some(ROW),
        ));
        let customers = world.runs().count() as f64;
        figures.push(figure(
            format!("{name}: a customer's"),
            runs / customers.max(1.0),
            "runs",
            None,
        ));
    }
    report("bench pattern", &cells, &figures)
}

fn warm(load: Load, patterns: usize, customers: usize, events: usize) -> World {
    let mut world = World::new(load, patterns, customers);
    world.run(events);
    world
}

/// Nanoseconds an event, shared among so many runs that it touches.
fn events(name: String, world: &mut World, touched: f64, target: Option<f64>) -> Cell {
    let each = EVENTS as f64 * touched;
    cell(name, time(|| world.run(black_box(EVENTS))), each, target)
}

/// Nanoseconds a predicate, of those that are evaluated for one event.
fn predicates(name: String, conditions: &[String], target: Option<f64>) -> Result<Cell, String> {
    let mut predicates = Predicates::new(conditions, viewed())?;
    let each = predicates.distinct() as f64;
    let timed = time(|| {
        black_box(black_box(&mut predicates).evaluate());
    });
    Ok(cell(name, timed, each, target))
}

fn cell(name: String, (ns, spread): (f64, [f64; 2]), each: f64, target: Option<f64>) -> Cell {
    Cell {
        name,
        ns: ns / each,
        spread: spread.map(|ns| ns / each),
        bytes: None,
        target,
    }
}

fn figure(name: String, value: f64, unit: &'static str, target: Option<f64>) -> Figure {
    Figure {
        name,
        value,
        unit,
        target,
    }
}

/// Length of all customers' rows of runs, in bytes.
fn row_bytes(world: &World) -> usize {
    world.runs().map(bytes).sum()
}

/// Length of one customer's rows of runs, in bytes.
fn bytes(runs: &Runs) -> usize {
    let journey = Journey {
        runs: runs.clone(),
        ..Journey::default()
    };
    let mut length = 0;
    codec::save_journey(&journey, &mut Saved::default(), &mut |name, value| {
        if codec::is_of_runs(name) {
            length += value.map_or(0, |value| value.len());
        }
    });
    length
}
