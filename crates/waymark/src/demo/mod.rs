//! The demo's customers.

pub mod generator;

use crate::{
    cli::{Demo, Global},
    report::Failure,
};

/// `waymark demo`.
///
/// # Errors
/// [`Failure`] if the disk fails or a service cannot go on.
pub fn run(_: &Global, _: &Demo) -> Result<(), Failure> {
    Ok(())
}
