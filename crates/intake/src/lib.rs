//! Raw topics in, the timeline out.
