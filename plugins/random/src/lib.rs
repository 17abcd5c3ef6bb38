//! Uniform sampling without replacement: the baseline that every strategy must beat.
//!
//! Every sample has a random key that depends on its id and the run's seed but not on the round; the largest keys are
//! selected first. So a run with a larger batch selects everything that one with a smaller batch selects.

use querist_sdk::prelude::*;

/// Parameters of random sampling: none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Random {}

impl Strategy for Random {
    const ID: &'static str = "random";
    const SUMMARY: &'static str = "Samples drawn uniformly without replacement";
    const PAPER: &'static str = "The baseline; no paper";
    const COST: &'static str = "O(N) time; O(N) memory.";
    const ALIASES: &'static [&'static str] = &["RandomSampling", "random_sampling", "rand"];

    fn needs(&self) -> Vec<Need> {
        vec![]
    }
}

impl Scorer for Random {
    fn score(&self, tile: &Query) -> Result<Scores> {
        Ok(tile.stream("keys", StreamScope::Run)?.by_row(0)?.into())
    }
}

package!(scorers: [Random]);
