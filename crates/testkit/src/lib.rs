//! A memory log and database with faults, and a real Kafka started for a test.
