//! The pattern language: parse, lint, compile, and step runs over a customer's events.
