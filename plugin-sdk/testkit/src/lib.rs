//! Conformance tests for plugins.
