//! The parts of the command line that stand: files of events become events, pattern files are found, customers are generated.

pub mod demo;
pub mod files;
pub mod replay;
