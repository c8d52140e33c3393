//! Language, polarity and service signals from text.
