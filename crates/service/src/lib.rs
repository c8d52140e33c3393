//! What every service shares: configuration, metrics, health, shutdown, the worker loop.
