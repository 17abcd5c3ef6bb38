//! Query strategies: uncertainty.
