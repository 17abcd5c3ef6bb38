//! Unsure samples that lie far apart.
//!
//! The `factor * batch` samples with the smallest margin between their two most probable classes are kept. Of these the
//! least certain is picked first; each next pick is the one whose embedding is farthest from all picks so far.
//!
//! Replace this text with your formula and your citation.

use querist_sdk::prelude::*;

/// Parameters. Every field has a doc comment, a default and a range: the host's checks and messages come from them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarginApart {
    /// Samples kept for the second step, as a multiple of the batch.
    #[schemars(range(min = 1, max = 1000))]
    pub factor: u32,
}

impl Default for MarginApart {
    fn default() -> Self {
        Self { factor: 10 }
    }
}

impl Strategy for MarginApart {
    const ID: &'static str = "margin-apart";
    const SUMMARY: &'static str = "Samples with small margins whose embeddings lie far apart";
    const PAPER: &'static str = "Example of the plugin kit; no paper";

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LOGITS), Need::new(names::EMBEDDINGS)]
    }
}

impl Selector for MarginApart {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let mut selection = Selection::default();
        if wanted == 0 {
            return Ok(selection);
        }
        let (unsure, second) = query.matrix(names::LOGITS)?.uncertainty(Uncertainty::Margin)?;
        let kept = wanted.saturating_mul(self.factor).min(query.rows());
        let candidates = unsure.top(Some(&second), kept, None)?;

        let points = query.matrix(names::EMBEDDINGS)?.gather(&candidates)?.points()?;
        let nearest = points.nearest(Metric::Euclidean)?;
        let picked = query.mask(kept)?;
        // Candidate 0 is the least certain of all.
        let mut next = Some((0, 0.0));
        while let Some((candidate, _)) = next {
            selection.rows.push(candidates[candidate as usize]);
            if selection.rows.len() as u32 == wanted {
                break;
            }
            picked.exclude(&[candidate])?;
            nearest.add(&[candidate])?;
            next = nearest.farthest(Some(&picked))?;
            query.progress(selection.rows.len() as u64, u64::from(wanted))?;
        }
        Ok(selection)
    }
}

package!(scorers: [], selectors: [MarginApart]);
