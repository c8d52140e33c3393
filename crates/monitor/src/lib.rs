//! The timeline in; signals, interventions and profiles out: every customer's journey, matched and decided upon.

mod board;
mod hand_over;
mod hooks;
mod output;
mod run;
mod stage;
mod texts;

pub use board::{Board, Reloaded};
pub use hooks::{Catalogue, CatalogueHooks, Counters};
pub use run::{SERVICE, run, settings};
pub use stage::{Monitor, Settings, State};
