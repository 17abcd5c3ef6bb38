//! The samples of a list, in its order: replays a recorded run, or any order made elsewhere.
//!
//! Each query takes the next ids of the list that are still in the pool. Ids that are labelled already, or that the
//! pool never held, are passed over.

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
#[schemars(example = Fixed { order: vec![40, 7, 13], fallback: Fallback::Random })]
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

impl Selector for Fixed {
    fn select(&self, query: &Query) -> Result<Selection> {
        let (wanted, mut picks) = (query.wanted(), query.picks()?);
        let ids = query.ids()?;
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
