//! State on RocksDB.
