//! Files to datasets and arrays, all checked.
