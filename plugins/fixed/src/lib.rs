//! The samples of a list, in its order: replays a recorded run, or any order made elsewhere.
//!
//! Each query takes the next ids of the list that are still in the pool. Ids that are labelled already are passed over;
//! one that neither the pool nor the labelled set holds is an error, for it would be replaced by another in silence.

use std::collections::BTreeMap;

use querist_sdk::prelude::*;

/// What happens when the list ends before the batch is full.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The query fails.
    #[default]
    Error,
    /// The rest is drawn at random.
    Random,
}

/// Parameters of a fixed order.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
// A list of ids fits one dataset only; without any this works on every pool.
#[schemars(example = Fixed { order: vec![], fallback: Fallback::Random })]
pub struct Fixed {
    /// Ids of samples in the order in which they are selected, each once.
    pub order: Vec<u64>,
    /// What happens when the list ends before the batch is full.
    #[serde(default)]
    pub fallback: Fallback,
}

impl Strategy for Fixed {
    const ID: &'static str = "fixed";
    const SUMMARY: &'static str = "The samples of a given list, in its order";
    const PAPER: &'static str = "A control; no paper";
    const COST: &'static str = "O(N + order) time; O(order) memory.";
    const ALIASES: &'static [&'static str] = &["FixedSampling"];

    fn needs(&self) -> Vec<Need> {
        vec![]
    }

    fn check(&self) -> Result<(), String> {
        let mut first_at = BTreeMap::new();
        for (at, id) in self.order.iter().enumerate() {
            if let Some(before) = first_at.insert(id, at) {
                return Err(format!("`order` names sample {id} twice, at positions {before} and {at}; name it once"));
            }
        }
        Ok(())
    }
}

impl Fixed {
    /// Refuses a list that names samples of neither set; both ascend.
    fn refuse_strangers(&self, pool: &[u64], labelled: &[u64]) -> Result<()> {
        let is_stranger = |id: &&u64| pool.binary_search(id).is_err() && labelled.binary_search(id).is_err();
        let strangers: Vec<&u64> = self.order.iter().filter(is_stranger).collect();
        let Some(first) = strangers.first() else { return Ok(()) };
        Err(StrategyError::Failed(format!(
            "`order` names {} samples that are neither in the pool nor labelled, such as {first}; take them out, and \
             leave `subset_size` out if it is set",
            strangers.len()
        )))
    }
}

impl Selector for Fixed {
    fn select(&self, query: &Query) -> Result<Selection> {
        let (wanted, mut picks) = (query.wanted(), query.picks()?);
        let ids = query.ids()?;
        self.refuse_strangers(&ids, &query.labelled_ids()?)?;
        // Ids ascend.
        let in_pool = self.order.iter().filter_map(|id| ids.binary_search(id).ok().map(|row| row as u32));
        picks.take_all(in_pool.take(wanted as usize))?;
        if picks.missing() > 0 && self.fallback == Fallback::Error {
            return Err(StrategyError::Failed(format!(
                "`order` names {} samples that are still in the pool, but {wanted} are wanted; name more, or set \
                 `fallback = \"random\"`",
                picks.len()
            )));
        }
        picks.fill_at_random()
    }
}

package!(selectors: [Fixed]);
