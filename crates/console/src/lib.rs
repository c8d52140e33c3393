//! The first web page: the live feed.
