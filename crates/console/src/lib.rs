//! The first web page: what Waymark finds, while it finds it.

mod feed;
mod http;
mod run;

pub use feed::{Feed, LINES, Line};
pub use http::{SharedFeed, routes};
pub use run::{SERVICE, run};
