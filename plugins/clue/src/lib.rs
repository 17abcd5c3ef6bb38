//! k-means weighted by uncertainty: one representative of each cluster of unsure samples.
//!
//! The pool's embeddings are clustered into `batch` clusters, each sample weighted by the entropy of its class
//! probabilities at a temperature. In the order of their numbers, centres take the sample nearest to them that none has
//! taken before.
//!
//! Prabhu, Chandrasekaran, Saenko and Hoffman, "Active Domain Adaptation via Clustering Uncertainty-weighted
//! Embeddings", ICCV 2021 (arXiv 2010.08666).

use querist_sdk::prelude::*;

params! {
    /// Parameters of CLUE.
    #[schemars(extend("examples" = [{"n_init": 2}, {"n_init": 1, "temperature": 0.1}]))]
    pub struct Clue {
        /// Logits are divided by this before the softmax; the authors use 0.1 for large shifts of domain.
        #[schemars(range(min = 1e-6, max = 1e6), extend("x-querist-search" = {"log": [0.1, 10.0]}))]
        pub temperature: f64 = 1.0,
        /// Restarts of k-means, of which the best is kept.
        #[schemars(range(min = 1, max = 100))]
        pub n_init: u32 = 10,
        /// Iterations of one restart at most.
        #[schemars(range(min = 1, max = 1000))]
        pub max_iter: u32 = 300,
    }
}

impl Strategy for Clue {
    const ID: &'static str = "clue";
    const SUMMARY: &'static str = "The sample nearest to the centre of each k-means cluster, weighted by entropy";
    const PAPER: &'static str =
        "Prabhu et al., Active Domain Adaptation via Clustering Uncertainty-weighted Embeddings, ICCV 2021";
    const COST: &'static str = "O(N b D) time an iteration of k-means; O(N + b D) memory.";
    const ALIASES: &'static [&'static str] = &["CLUE"];
    const RANKS_ALL: bool = false;

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LOGITS), Need::new(names::EMBEDDINGS)]
    }
}

impl Selector for Clue {
    fn select(&self, query: &Query) -> Result<Selection> {
        let entropies = self.entropies(&query.matrix(names::LOGITS)?)?;
        let is_sure = entropies.iter().all(|&entropy| entropy == 0.0);
        let weights = if is_sure { None } else { Some(query.vector(&entropies)?) };
        let embeddings = query.matrix(names::EMBEDDINGS)?;
        let options = KmeansOptions {
            restarts: self.n_init,
            max_iterations: self.max_iter,
            ..KmeansOptions::new(query.wanted())
        };
        let numbers = query.stream("kmeans", StreamScope::Round)?;
        let clusters = embeddings.kmeans(weights.as_ref(), options, &numbers)?;
        let mut picks = query.picks()?;
        picks.take_all(nearest_not_taken(query, &clusters.centres()?, &embeddings)?)?;
        picks.note("inertia", clusters.inertia()?);
        picks.note("unweighted", f64::from(u8::from(is_sure)));
        Ok(picks.done())
    }
}

impl Clue {
    /// Entropy of each row's class probabilities at the temperature, in nats.
    fn entropies(&self, logits: &Matrix) -> Result<Vec<f64>> {
        let mut entropies = Vec::new();
        logits.for_each_row(|_, row| {
            entropies.push(entropy(row, self.temperature));
            Ok(())
        })?;
        Ok(entropies)
    }
}

fn entropy(logits: &[f32], temperature: f64) -> f64 {
    let largest = f64::from(logits[math::argmax(logits)]);
    // How far each scaled logit lies below the largest: p = exp(-gap) / sum, so H = ln sum + sum p gap.
    let gap = |&logit: &f32| (largest - f64::from(logit)) / temperature;
    let (mut total, mut weighted) = (0.0, 0.0);
    for gap in logits.iter().map(gap) {
        let share = math::exp(-gap);
        total += share;
        // A class without probability adds nothing, however far its logit lies.
        weighted += if share > 0.0 { share * gap } else { 0.0 };
    }
    math::ln(total) + weighted / total
}

/// For each centre in turn the nearest row that no centre before it took; the lowest among equals.
fn nearest_not_taken(query: &Query, centres: &Matrix, rows: &Matrix) -> Result<Vec<u32>> {
    let nearest = centres.distance_reduce(rows, Metric::SqEuclidean, Reduction::Argmin)?.to_vec()?;
    let mut is_taken = vec![false; query.rows() as usize];
    let mut picks = Vec::with_capacity(nearest.len());
    for (centre, &first) in nearest.iter().enumerate() {
        let mut row = first as u32;
        if is_taken[row as usize] {
            let centre = centres.gather(&[centre as u32])?;
            let distances = rows.distance_reduce(&centre, Metric::SqEuclidean, Reduction::Min)?.to_vec()?;
            let open = (0..distances.len()).filter(|&row| !is_taken[row]);
            let next = open.min_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(a.cmp(&b)));
            row = next.map_or(row, |next| next as u32);
        }
        is_taken[row as usize] = true;
        picks.push(row);
        query.progress(picks.len() as u64, nearest.len() as u64)?;
    }
    Ok(picks)
}

package!(selectors: [Clue]);

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_that_of_the_tempered_softmax() {
        let logits = [1.0f32, 2.5, -0.5];
        for temperature in [0.1, 1.0, 3.0] {
            let e: Vec<f64> = logits.iter().map(|&l| (f64::from(l) / temperature).exp()).collect();
            let p: Vec<f64> = e.iter().map(|x| x / e.iter().sum::<f64>()).collect();
            let expected = -p.iter().map(|p| p * p.ln()).sum::<f64>();
            assert!((entropy(&logits, temperature) - expected).abs() < 1e-12, "temperature {temperature}");
        }
        assert_eq!(entropy(&[0.0, 3e38], 1e-6), 0.0);
        assert!((entropy(&[7.0, 7.0], 1.0) - 2f64.ln()).abs() < 1e-15);
    }
}
