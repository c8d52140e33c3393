//! Folds each customer's journey, matches patterns, decides, times out.
