//! The runtime's `Db` on RocksDB.
