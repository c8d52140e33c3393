//! The log on RocksDB, for one process and no broker.
