//! The log on Kafka, and the only user of its client library.
