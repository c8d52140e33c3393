//! Both services on a simulated cluster: whatever goes wrong, from any seed, they say what they say when nothing does.
//!
//! `make sim SEEDS=200` runs seeds; `make sim SEED=17 SEEDS=1` repeats one. Seeds that once failed are kept in `KEPT`.

mod bodies;
mod outcome;
mod scenario;
mod witness;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use outcome::Outcome;
use scenario::{SECOND, Scenario};
use testkit::sim::Sim;
use witness::Witness;

/// Seeds that have found something: they are run first.
const KEPT: [u64; 0] = [];
/// After the last fault: sessions end, absences fire, whatever waits comes through.
const CALM: u64 = 40 * SECOND;

struct Run {
    sim: Sim,
    witness: Witness,
    result: Result<(), String>,
}

fn run(scenario: &Scenario) -> Run {
    let sim = Sim::new(scenario.seed, Duration::from_secs(3), Duration::from_secs(4));
    bodies::furnish(&sim, scenario);
    let mut witness = Witness::new();
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

/// One seed: the run without faults, and the one with them.
fn check(seed: u64) -> Result<Told, String> {
    let calm = Scenario::calm(seed);
    let reference = run(&calm);
    reference.result.map_err(|why| format!("the calm run: {why}"))?;
    let scenario = Scenario::of(seed);
    let run = run(&scenario);
    run.result?;
    let fired = outcome::early(&run.sim, &scenario)?;
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

/// As [`check`]; a panic is an error like another.
fn checked(seed: u64) -> Result<Told, String> {
    catch_unwind(AssertUnwindSafe(|| check(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
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
    let seeds = KEPT.into_iter().chain(first..first + count);
    let (mut failed, mut ended, mut sums) = (Vec::new(), BTreeMap::<String, u64>::new(), [0_u64; 3]);
    for seed in seeds {
        match checked(seed) {
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
