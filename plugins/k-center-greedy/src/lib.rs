//! Query strategies: k-center-greedy.
