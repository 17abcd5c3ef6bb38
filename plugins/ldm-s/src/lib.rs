//! Samples whose prediction flips under the smallest change of the model, spread out by seeding.
//!
//! The least disagreement metric (LDM) of a sample is the smallest share of a reference set that changes class under a
//! head that makes the sample change class. It is estimated by drawing heads: for standard deviations from 1e-5 to 1 in
//! 51 steps, Gaussian noise is added to the last layer's weights and biases until `patience` draws in a row improve no
//! estimate. The reference is a random part of the pool.
//!
//! With q the (b + 1)-th smallest LDM, a sample weighs `exp(-max(LDM - q, 0) / q)`; those beyond the b smallest are
//! scaled so that they sum to b, and no weight passes 1. The first pick has the smallest LDM; each next one is drawn in
//! proportion to the square of weight times cosine distance to the nearest pick. Among equal LDM the smaller margin
//! comes first.
//!
//! Cho, Park and Kim, "Querying Easily Flip-flopped Samples for Deep Active Learning", ICLR 2024 (arXiv 2401.09787).

// More than 150 lines: the search for heads that flip a prediction serves many draws with one product.

mod metric;

use querist_sdk::prelude::*;

/// Values of distance below this count as 0.
const NO_DISTANCE: f64 = 1e-5;

params! {
    /// Parameters of LDM-S.
    #[schemars(extend("examples" = [{"max_draws": 200}, {"max_draws": 300, "patience": 3, "n_ref": 50}]))]
    pub struct LdmS {
        /// Draws in a row without an improvement after which the next standard deviation is tried.
        #[schemars(range(min = 1, max = 10_000))]
        pub patience: u32 = 10,
        /// Samples of the pool that disagreement is measured on; the whole pool where it is smaller.
        #[schemars(range(min = 1))]
        pub n_ref: u32 = 4000,
        /// Draws over all standard deviations at most.
        #[schemars(range(min = 1))]
        pub max_draws: u32 = 100_000,
    }
}

impl Strategy for LdmS {
    const ID: &'static str = "ldm-s";
    const SUMMARY: &'static str = "Diverse samples whose prediction flips under the smallest change of the head";
    const PAPER: &'static str =
        "Cho, Park and Kim, Querying Easily Flip-flopped Samples for Deep Active Learning, ICLR 2024";
    const COST: &'static str = "O(R N D C) time for R perturbed heads, then O(N D b); O(N C) memory.";
    const ALIASES: &'static [&'static str] = &["LDM-S"];
    const RANKS_ALL: bool = false;

    fn needs(&self) -> Vec<Need> {
        // Noise alone moves the logits, so the head's own weights are not needed.
        Need::all([names::LOGITS, names::PENULTIMATE])
    }
}

impl Selector for LdmS {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let estimate = metric::estimate(query, self)?;
        let margins = query.matrix(names::LOGITS)?.uncertainty(Uncertainty::Margin)?.into();
        let order = in_order(query, &estimate.ldm, &margins)?;
        let mut picks = query.picks()?;
        picks.note("draws", estimate.draws);
        picks.note("draws_capped", f64::from(u8::from(estimate.capped)));
        match scale(&estimate.ldm, &order, wanted as usize) {
            Some(q) => seed(query, &mut picks, &weights(&estimate.ldm, &order, wanted as usize, q), order[0])?,
            // No sample was seen to need more than any other: the smallest margins.
            None => picks.take_all(margins.primary.top(margins.second.as_ref(), wanted, None)?)?,
        }
        let mut selection = picks.fill_at_random()?;
        selection.scores = selection.rows.iter().map(|&row| -estimate.ldm[row as usize]).collect();
        Ok(selection)
    }
}

/// Rows by LDM, the smallest first; the smaller margin and then the lower row first among equals.
fn in_order(query: &Query, ldm: &[f64], margins: &Scores) -> Result<Vec<u32>> {
    // Ranks by margin break ties, as their own tie-breaker does among equal margins.
    let by_margin = margins.primary.top(margins.second.as_ref(), query.rows(), None)?;
    let mut rank = vec![0.0; ldm.len()];
    for (at, &row) in by_margin.iter().enumerate() {
        rank[row as usize] = -(at as f64);
    }
    let negated: Vec<f64> = ldm.iter().map(|ldm| -ldm).collect();
    query.vector(&negated)?.top(Some(&query.vector(&rank)?), query.rows(), None)
}

/// The (b + 1)-th smallest LDM, or the smallest above 0 where that is 0; `None` where all are 0.
fn scale(ldm: &[f64], order: &[u32], wanted: usize) -> Option<f64> {
    order[wanted..].iter().map(|&row| ldm[row as usize]).find(|&ldm| ldm > 0.0)
}

/// Weight of each row.
fn weights(ldm: &[f64], order: &[u32], wanted: usize, q: f64) -> Vec<f64> {
    let mut weights: Vec<f64> = ldm.iter().map(|&ldm| math::exp(-(ldm - q).max(0.0) / q)).collect();
    let outside: f64 = order[wanted..].iter().map(|&row| weights[row as usize]).sum();
    for &row in &order[wanted..] {
        let weight = &mut weights[row as usize];
        *weight = (*weight * wanted as f64 / outside).min(1.0);
    }
    weights
}

/// Seeding from `first` on; ends early where nothing is left at a distance.
fn seed(query: &Query, picks: &mut Picks, weights: &[f64], first: u32) -> Result<()> {
    let numbers = query.stream("seeding", StreamScope::Round)?;
    let nearest = query.matrix(names::PENULTIMATE)?.points()?.nearest(Metric::Cosine)?;
    let mut next = Some(first);
    while let Some(row) = next {
        picks.take(row, None)?;
        if picks.missing() == 0 {
            break;
        }
        nearest.add(&[row])?;
        let mut chances = nearest.values()?.to_vec()?;
        for (chance, weight) in chances.iter_mut().zip(weights) {
            let distance = if *chance < NO_DISTANCE { 0.0 } else { *chance };
            *chance = (weight * distance) * (weight * distance);
        }
        next = query.vector(&chances)?.draw(&numbers, Some(picks.taken()))?;
    }
    Ok(())
}

package!(selectors: [LdmS]);
