//! Both services on a simulated cluster: whatever goes wrong, from any seed, they say what they say when nothing does.
//!
//! `make sim SEEDS=200` runs seeds; `make sim SEED=17 SEEDS=1` repeats one, and `WAYMARK_SIM_LOG=info,service=debug` shows what it
//! does. Seeds that once failed are kept in `KEPT`. `make sim-mutants` breaks the code on purpose; `WAYMARK_SIM_ONLY=Trim` takes the
//! mutants of that name.

mod bodies;
mod outcome;
mod scenario;
mod witness;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use outcome::Outcome;
use scenario::{SECOND, Scenario};
use testkit::sim::Sim;
use witness::Witness;

/// Seeds that have found something: they are run first.
const KEPT: [u64; 6] = [181, 275, 293, 394, 3250, 3330];
/// After the last fault: sessions end, absences fire, whatever waits comes through.
const CALM: u64 = 40 * SECOND;

struct Run {
    sim: Sim,
    witness: Witness,
    result: Result<(), String>,
}

fn run(scenario: &Scenario) -> Run {
    let sim = Sim::new(scenario.seed, Duration::from_secs(3), scenario.transactions);
    bodies::furnish(&sim, scenario);
    let mut witness = Witness::new(scenario.window);
    let result = sim.run(bodies::jobs(scenario), scenario.ends + CALM, &mut witness);
    Run { sim, witness, result }
}

/// The first difference: whose, and in words.
fn difference(expected: &Outcome, found: &Outcome) -> Option<(String, String)> {
    let nothing = Vec::new();
    let keys: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for key in keys {
        let (one, other) = (
            expected.get(key).unwrap_or(&nothing),
            found.get(key).unwrap_or(&nothing),
        );
        if one != other {
            let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
            let words = format!(
                "{} of {}: {} expected, {} found; the first difference at {at}:\n  expected {}\n  found    {}",
                key.0,
                key.1,
                one.len(),
                other.len(),
                one.get(at).map_or("nothing", String::as_str),
                other.get(at).map_or("nothing", String::as_str)
            );
            return Some((key.1.clone(), words));
        }
    }
    None
}

struct Told {
    fired: usize,
    witness: Witness,
}

/// One seed: the run without faults, and the one with them, in which `break_it` may break the code.
fn check(scenario: &Scenario, break_it: impl Fn(bool)) -> Result<Told, String> {
    let calm = scenario.calm();
    let reference = run(&calm);
    reference.result.map_err(|why| format!("the calm run: {why}"))?;
    break_it(true);
    let run = catch_unwind(AssertUnwindSafe(|| run(scenario)));
    break_it(false);
    let run = run.map_err(|_| "panicked".to_owned())?;
    run.result?;
    let fired = outcome::early(&run.sim, scenario)?;
    // Who is across is known from the calm run, where nothing can be missing.
    let across = outcome::across(&reference.sim, &calm);
    let (expected, found) = (
        outcome::outcome(&reference.sim, &across, calm.skew != 0),
        outcome::outcome(&run.sim, &across, calm.skew != 0),
    );
    match difference(&expected, &found) {
        Some((customer, difference)) => Err(format!("{difference}\n  {}", run.witness.about(&customer))),
        None => Ok(Told {
            fired,
            witness: run.witness,
        }),
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[test]
fn whatever_goes_wrong_they_say_what_they_say_when_nothing_does() {
    if let Ok(filter) = std::env::var("WAYMARK_SIM_LOG") {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .without_time();
        let _ = log.with_writer(std::io::stderr).try_init();
    }
    let (first, count) = (number("WAYMARK_SIM_SEED", 1), number("WAYMARK_SIM_SEEDS", 40));
    let seeds: Vec<u64> = KEPT.into_iter().chain(first..first + count).collect();
    let (mut failed, mut ended, mut sums) = (Vec::new(), BTreeMap::<String, u64>::new(), [0_u64; 3]);
    for (seed, checked) in checked(&seeds) {
        match checked {
            Ok(told) => {
                sums[0] += told.witness.epochs;
                sums[1] += told.witness.trims;
                sums[2] += told.fired as u64;
                for (kind, times) in told.witness.ended {
                    *ended.entry(kind).or_default() += times;
                }
            }
            Err(why) => {
                eprintln!("seed {seed}: {why}\n  again: make sim SEED={seed} SEEDS=1");
                failed.push(seed);
            }
        }
    }
    let [epochs, trims, fired] = sums;
    eprintln!(
        "seeds {count} from {first}: epochs {epochs}, trims {trims}, absences fired {fired}, processes ended {ended:?}"
    );
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

/// Checks seeds, one on each processor: a seed is one thread's.
fn checked(seeds: &[u64]) -> Vec<(u64, Result<Told, String>)> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicUsize::new(0);
    let take = || {
        let mut taken = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Most of the time anything; now and then one thing that chance seldom brings about.
            let scenario = match seed % 8 {
                1 if seed % 32 == 9 => Scenario::lagging(*seed),
                1 => Scenario::moved(*seed),
                2 if seed % 32 == 26 => Scenario::muted(*seed),
                2 => Scenario::unmarked(*seed),
                3 if seed % 32 == 11 => Scenario::taken_back(*seed),
                3 => Scenario::woken(*seed),
                4 => Scenario::unheard(*seed),
                5 => Scenario::forgetful(*seed),
                6 => Scenario::rejoined(*seed),
                7 => Scenario::trimmed(*seed),
                _ => Scenario::of(*seed),
            };
            taken.push((*seed, check(&scenario, |_| {})));
        }
        taken
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(take)).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("it catches panics"));
        joined.flatten().collect()
    });
    all.sort_by_key(|(seed, _)| *seed);
    all
}

/// The code is broken on purpose, in one way after the other; each must be noticed.
#[cfg(feature = "mutants")]
#[test]
fn every_mutant_is_caught() {
    use stream::mutant::{Mutant, switch_on};
    let seeds = number("WAYMARK_SIM_SEEDS", 80);
    let mut missed = Vec::new();
    let only = std::env::var("WAYMARK_SIM_ONLY").unwrap_or_default();
    for mutant in Mutant::ALL
        .into_iter()
        .filter(|mutant| format!("{mutant:?}").contains(&only))
    {
        let break_it = |broken: bool| switch_on(broken.then_some(mutant));
        let caught = if mutant == Mutant::EpochNotCompared {
            timers_alone(break_it).err().map(|why| (0, why))
        } else {
            let scenario = match mutant {
                Mutant::OwnerInsteadOfSequence => Scenario::rejoined,
                Mutant::SkipsAhead => Scenario::trimmed,
                Mutant::LeftoversKept => Scenario::forgetful,
                Mutant::UnknownIsAborted => Scenario::unheard,
                Mutant::OthersIgnored => Scenario::woken,
                Mutant::OlderGenerationsIgnored => Scenario::taken_back,
                Mutant::BeginLeftOpen => Scenario::moved,
                Mutant::MarkersTrusted | Mutant::AbortsTrusted | Mutant::OutcomeGuessed => Scenario::unmarked,
                _ => Scenario::of,
            };
            (1..=seeds).find_map(|seed| Some((seed, check(&scenario(seed), break_it).err()?)))
        };
        match &caught {
            Some((seed, why)) => {
                let why: String = why.lines().next().unwrap_or_default().chars().take(110).collect();
                eprintln!("{:24} caught  seed {seed:3}  {why}", format!("{mutant:?}"));
            }
            None => {
                eprintln!("{:24} missed", format!("{mutant:?}"));
                missed.push(mutant);
            }
        }
    }
    assert!(missed.is_empty(), "mutants that were not noticed: {missed:?}");
}

/// An epoch that only fired timers moves no offset: its number alone tells whether it came through.
#[cfg(feature = "mutants")]
fn timers_alone(break_it: impl Fn(bool)) -> Result<(), String> {
    use service::worker::{Outcome, Position, outcome};
    use stream::{Marker, PartitionEpoch, TopicPartition};
    let marker = |epoch| Marker {
        offset: 7,
        epoch,
        ..Marker::default()
    };
    let part = PartitionEpoch {
        input: TopicPartition {
            topic: "journey.timeline".into(),
            partition: 0,
        },
        offset: 7,
        metadata: marker(4).metadata(),
        slot: 0,
        changelog: Vec::new(),
        rows: Vec::new(),
    };
    for (epoch, expected) in [(4, Outcome::CameThrough), (3, Outcome::DidNot), (5, Outcome::Neither)] {
        break_it(true);
        let judged = outcome(&part, Some(Position { offset: 7, epoch }), Some(&marker(3)));
        break_it(false);
        if judged != expected {
            return Err(format!("epoch {epoch} of 4 was judged {judged:?}"));
        }
    }
    Ok(())
}
