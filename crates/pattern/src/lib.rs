//! The pattern language: files to programs, events to matches.
//!
//! A file is parsed and linted ([`parse`], [`lint`]), compiled into a [`Catalogue`], and stepped over one customer's [`Runs`].
//! Program and state are apart: a run names its pattern and version and never contains them.

pub mod bench;
mod catalogue;
mod cel;
mod describe;
mod diff;
mod engine;
mod file;
mod finding;
mod join;
mod money;
mod observe;
mod runs;
mod schema;
mod template;
mod told;
mod trial;
mod value;
mod yaml;

pub use catalogue::{Catalogue, Limits};
pub use describe::{notation, sentence};
pub use diff::{Change, diff, same_when, unsafe_changes};
pub use engine::{Facts, Match, NoFacts, Occurrence, Stepped};
pub use file::{
    Guard, OfferSpec, POLICY_KEY, Pattern, Policy, Publishable, Published, QuietHours, Rollout, RouteSpec, Status,
    Then, arm_bucket, cooled, lint, parse, parse_policy,
};
pub use finding::{Finding, Severity, nearest};
pub use money::money;
pub use observe::{Ignored, Note, Observer, Subject, Unobserved};
pub use runs::{ChainRun, ChainRuns, Counted, Instance, Kept, KeptRef, Run, Runs, Sighting, Teller};
pub use schema::schema;
pub use trial::{Known, TestResult, run_tests, run_tests_knowing};
pub use value::Value;
