//! Weighted k-means of the most uncertain samples.
//!
//! The `beta * batch` samples with the smallest margins between their two most probable classes are clustered by
//! k-means into `batch` clusters, each sample weighted by 1 - margin; of each cluster the member nearest to the centre
//! is selected.
//!
//! Zhdanov, "Diverse mini-batch Active Learning", 2019 (arXiv 1901.05954).

use querist_sdk::prelude::*;

params! {
    /// Parameters of diverse mini-batch sampling.
    #[schemars(extend("examples" = [{}, {"beta": 2.5}]))]
    pub struct DiverseMiniBatch {
        /// Candidates per wanted sample.
        #[schemars(range(min = 1.0, max = 1e9), extend("x-querist-search" = {"log": [1.0, 100.0]}))]
        pub beta: f64 = 10.0,
        /// Restarts of k-means, of which the best is kept.
        #[schemars(range(min = 1, max = 100))]
        pub n_init: u32 = 5,
        /// Iterations of one restart at most.
        #[schemars(range(min = 1, max = 1000))]
        pub max_iter: u32 = 20,
    }
}

impl Strategy for DiverseMiniBatch {
    const ID: &'static str = "diverse-mini-batch";
    const SUMMARY: &'static str =
        "The sample nearest to the centre of each k-means cluster of the smallest margins, weighted by 1 - margin";
    const PAPER: &'static str = "Zhdanov, Diverse mini-batch Active Learning, 2019";
    const COST: &'static str = "O(N C) time, then O(beta b^2 D) an iteration of k-means; O(N) memory.";
    const RANKS_ALL: bool = false;

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LOGITS), Need::new(names::EMBEDDINGS)]
    }
}

impl Selector for DiverseMiniBatch {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let (margin, second) = query.matrix(names::LOGITS)?.uncertainty(Uncertainty::Margin)?;
        // A count beyond 32 bits saturates, and no more than the pool is there anyway.
        let count = (self.beta * f64::from(wanted)).ceil() as u32;
        let candidates = margin.top(Some(&second), count.min(query.rows()), None)?;
        // The tie-breaker of the margin is 1 - margin in its exact form.
        let unsure = second.to_vec()?;
        let weights: Vec<f64> = candidates.iter().map(|&row| unsure[row as usize]).collect();
        let options =
            KmeansOptions { restarts: self.n_init, max_iterations: self.max_iter, ..KmeansOptions::new(wanted) };
        let numbers = query.stream("kmeans", StreamScope::Round)?;
        let rows = query.matrix(names::EMBEDDINGS)?.gather(&candidates)?;
        let clusters = rows.kmeans(Some(&query.vector(&weights)?), options, &numbers)?;
        let mut picks = query.picks()?;
        let representatives = clusters.representatives(None)?.into_iter().flatten();
        picks.take_all(representatives.map(|at| candidates[at as usize]))?;
        picks.note("inertia", clusters.inertia()?);
        picks.fill_at_random()
    }
}

package!(selectors: [DiverseMiniBatch]);
