//! Usual values of options.

use crate::{Init, KmeansOptions};

impl KmeansOptions {
    /// So many clusters, under what is usual: k-means++, one restart of 100 iterations at most, which ends when inertia
    /// falls by less than a ten-thousandth.
    pub fn new(clusters: u32) -> Self {
        Self { clusters, restarts: 1, max_iterations: 100, tolerance: 1e-4, init: Init::KmeansPlusPlus }
    }
}
