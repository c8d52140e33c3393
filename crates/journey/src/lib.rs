//! One customer's journey: fold events into it, match patterns over it, decide what to say. Pure.

mod channels;
mod decide;
mod effort;
mod facts;
mod feedback;
mod fold;
mod hand_over;
mod ids;
mod languages;
mod mood;
mod phases;
mod state;
mod step;
mod trial;
mod unlink;

pub use decide::{Decision, decide, is_new_contact};
pub use hand_over::{Belongs, HANDED_OVER, LINKED, Link, UNLINKED, belongs, hand_over, take_over};
pub use ids::output_id;
pub use languages::{Languages, ReadAgain};
pub use state::{Core, Decided, Decisions, EffortEntry, EffortKind, Journey, Open, Recent, Scored, Shown, Texts};
pub use step::{Counted, Ears, Moment, Rules, Said, deadline, hear_event, hear_time, on_event, on_time};
pub use trial::run_tests;
pub use unlink::{Origin, Rest, part};
