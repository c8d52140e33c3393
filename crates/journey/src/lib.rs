//! One customer's journey: fold, profile, decide.
