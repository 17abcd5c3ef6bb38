//! Query strategies: random.
