//! The engine against its definition, on random patterns and histories.
//!
//! `definition.rs` tries all choices of events; the engine must find the same, at the same moment, however it is driven. A case
//! follows from the seed and its number, so the same seed gives the same cases on any number of threads.

mod case;
mod definition;
mod engine;
mod generate;
mod shrink;
mod tally;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use case::{Case, lines, yaml};
use definition::{Found, allows, definition};
use engine::{Compiled, Drive};
use tally::Tally;

/// So many cases are taken by a thread at a time.
const BLOCK: u64 = 64 * generate::HISTORIES;

/// What is found in a case, if the engine and the definition agree on it.
fn judged(case: &Case, compiled: &Compiled) -> Result<Vec<Found>, String> {
    let events = engine::events(case);
    let (first, capped) = compiled.run(case, &events, Drive::Live);
    for drive in [Drive::Observed, Drive::Restored, Drive::Mixed] {
        let (other, also_capped) = compiled.run(case, &events, drive);
        if other != first || also_capped != capped {
            return Err(format!(
                "live {first:?} capped {capped}\n{drive:?} {other:?} capped {also_capped}"
            ));
        }
    }
    if capped > 0 {
        // A long history may have more captured values than runs are kept.
        let may_be = case.caps.is_some() || events.iter().flatten().count() > 12;
        return if may_be && allows(case, &first) {
            Ok(first)
        } else {
            Err(format!("though {capped} were capped: {first:#?}"))
        };
    }
    let expected = definition(case);
    if first == expected {
        Ok(first)
    } else {
        Err(format!("expected {expected:#?}\nfound {first:#?}"))
    }
}

/// As [`judged`], where a panic is one more way to fail. `known` are the case's patterns, if they are compiled already.
fn outcome(case: &Case, known: &mut Option<Compiled>) -> Result<Vec<Found>, String> {
    let judge = || {
        if known.is_none() {
            let compiled = Compiled::of(case);
            let refused = |(text, findings)| format!("not a pattern: {findings:?}\n{text}");
            *known = Some(compiled.map_err(refused)?);
        }
        judged(case, known.as_ref().expect("compiled just now"))
    };
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "panicked".to_owned()))
    })
}

/// Shrinks a case that fails; where its files lie, and what is wrong with it.
fn told(number: u64, case: Case) -> String {
    let is_valid = |case: &Case| catch_unwind(AssertUnwindSafe(|| Compiled::of(case).is_ok())).unwrap_or(true);
    let was_valid = is_valid(&case);
    let case = shrink::shrunk(case, |case| {
        is_valid(case) == was_valid && outcome(case, &mut None).is_err()
    });
    let folder = env!("CARGO_TARGET_TMPDIR");
    let mut text = format!("case {number}:\n");
    let mut file = |name: String, content: String| {
        let path = format!("{folder}/{name}");
        std::fs::write(&path, &content).expect("the target folder is writable");
        text.push_str(&format!("{path}:\n{content}\n"));
    };
    for (id, of) in case.patterns.iter().enumerate() {
        file(format!("random-{id}.yaml"), yaml(id, 1, of));
    }
    if let Some((from, newer)) = &case.newer {
        file(format!("random-0-from-moment-{from}.yaml"), yaml(0, 2, newer));
    }
    file("random.jsonl".to_owned(), lines(&case.moments));
    let reason = outcome(&case, &mut None).err().unwrap_or_default();
    format!("{text}{case:#?}\n{reason}")
}

/// `make oracle CASES=10000000 SEED=1` tries more, and others.
#[test]
fn the_engine_equals_the_definition() {
    #[expect(clippy::disallowed_methods, reason = "a test is configured by its caller")]
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = variable("WAYMARK_ORACLE_CASES").unwrap_or(100_000);
    let seed = variable("WAYMARK_ORACLE_SEED").unwrap_or(1);
    let first = variable("WAYMARK_ORACLE_FIRST").unwrap_or(0);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    // Blocks are taken in order and finished, so the first case that fails is found by every run.
    let next = AtomicU64::new(first);
    let failed: Mutex<Option<(u64, Case)>> = Mutex::new(None);
    let tally = Mutex::new(Tally::default());
    thread_local!(static IS_QUIET: Cell<bool> = const { Cell::new(false) });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !IS_QUIET.get() {
            hook(info);
        }
    }));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                IS_QUIET.set(true);
                let mut own = Tally::default();
                loop {
                    let begin = next.fetch_add(BLOCK, Ordering::Relaxed);
                    let is_over = || failed.lock().expect("not poisoned").is_some();
                    if begin >= first + cases || is_over() {
                        break;
                    }
                    let mut compiled = None;
                    for number in begin..(begin + BLOCK).min(first + cases) {
                        if number % generate::HISTORIES == 0 {
                            compiled = None;
                        }
                        let case = generate::case(seed, number);
                        match outcome(&case, &mut compiled) {
                            Ok(found) => own.add(&case, &found),
                            Err(_) => {
                                let mut failed = failed.lock().expect("not poisoned");
                                if failed.as_ref().is_none_or(|(other, _)| number < *other) {
                                    *failed = Some((number, case));
                                }
                                break;
                            }
                        }
                    }
                }
                tally.lock().expect("not poisoned").join(&own);
            });
        }
    });
    IS_QUIET.set(true);
    let failed = failed.into_inner().expect("not poisoned");
    let failure = failed.map(|(number, case)| told(number, case));
    IS_QUIET.set(false);
    let tally = tally.into_inner().expect("not poisoned");
    println!("seed {seed}, from case {first}: {tally}");
    if let Some(failure) = failure {
        panic!("seed {seed}, {failure}");
    }
    tally.check();
}
