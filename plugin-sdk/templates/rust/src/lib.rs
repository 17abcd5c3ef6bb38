//! Unsure samples that lie far apart.
//!
//! The `factor * batch` samples with the smallest margin between their two most probable classes are kept. Of these the
//! least certain is picked first; each next pick is the one whose embedding is farthest from all picks so far.
//!
//! Replace this text with your formula and your citation.

use querist_sdk::prelude::*;

params! {
    /// Parameters. Every field has a doc comment, a range and a default: the host's checks and messages come from them.
    pub struct MarginApart {
        /// Samples kept for the second step, as a multiple of the batch.
        #[schemars(range(min = 1, max = 1000))]
        pub factor: u32 = 10,
    }
}

impl Strategy for MarginApart {
    const ID: &'static str = "margin-apart";
    const SUMMARY: &'static str = "Samples with small margins whose embeddings lie far apart";
    const PAPER: &'static str = "Example of the plugin kit; no paper";

    fn needs(&self) -> Vec<Need> {
        Need::all([names::LOGITS, names::EMBEDDINGS])
    }
}

impl Selector for MarginApart {
    fn select(&self, query: &Query) -> Result<Selection> {
        let (unsure, second) = query.matrix(names::LOGITS)?.uncertainty(Uncertainty::Margin)?;
        let kept = query.wanted().saturating_mul(self.factor).min(query.rows());
        let candidates = unsure.top(Some(&second), kept, None)?;

        let points = query.matrix(names::EMBEDDINGS)?.gather(&candidates)?.points()?;
        let nearest = points.nearest(Metric::Euclidean)?;
        let taken = query.mask(kept)?;
        let mut picks = query.picks()?;
        // Candidate 0 is the least certain of all.
        picks.take(candidates[0], None)?;
        taken.exclude(&[0])?;
        nearest.add(&[0])?;
        let apart = nearest.furthest_first(picks.missing(), &taken)?;
        picks.take_all(apart.into_iter().map(|(candidate, _)| candidates[candidate as usize]))?;
        // What is left coincides with picks: the least certain first.
        picks.fill_by(&unsure, Some(&second))
    }
}

package!(selectors: [MarginApart]);

#[cfg(test)]
mod tests {
    use querist_testkit::{NativeMaker, conforms};

    use super::*;

    /// The rules that every strategy keeps. Add tests of your own: small pools whose right answer you know.
    #[test]
    fn it_conforms() {
        conforms(&NativeMaker::new(&PACKAGE, MarginApart::ID));
    }
}
