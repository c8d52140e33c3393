//! One person under several keys: journeys become one, and part again.

mod hand_over;
mod unlink;
mod world;
