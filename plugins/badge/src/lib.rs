//! Query strategies: badge.
