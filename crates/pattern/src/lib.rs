//! The pattern language: files to programs, events to matches.
//!
//! A file is parsed and linted ([`parse`], [`lint`]), compiled into a [`Catalogue`], and stepped over one customer's [`Runs`].
//! Program and state are apart: a run names its pattern and version and never contains them.

mod catalogue;
mod cel;
mod engine;
mod file;
mod finding;
mod money;
mod runs;
mod template;
mod trial;
mod yaml;

pub use catalogue::{Catalogue, Limits};
pub use engine::{Facts, Match, NoFacts, Occurrence, Stepped};
pub use file::{
    Guard, OfferSpec, POLICY_KEY, Pattern, Policy, QuietHours, Rollout, RouteSpec, Status, Then, arm_bucket, cooled,
    lint, parse, parse_policy,
};
pub use finding::{Finding, Severity, nearest};
pub use money::money;
pub use runs::{Instance, Kept, Run, Runs};
pub use trial::{TestResult, run_tests};
