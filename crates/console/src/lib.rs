//! The first web page: what Waymark finds, while it finds it.

mod feed;
mod http;

pub use feed::{Feed, LINES, Line};
pub use http::{SharedFeed, routes};
