//! Query strategies: kmeans.
