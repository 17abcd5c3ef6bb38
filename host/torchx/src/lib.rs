//! What the libtorch bindings lack.
