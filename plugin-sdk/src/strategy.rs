//! What an author implements.

use querist_protocol::layers::Layer;
use querist_protocol::{Capability, Need, Selection, StrategyError};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::query::{Query, Scores};

/// What a strategy answers, or why it does not.
pub type Result<T, E = StrategyError> = std::result::Result<T, E>;

/// A query strategy. The value *is* its parameters: nothing else lives from one query to the next.
///
/// Derive `Serialize`, `Deserialize` and `JsonSchema`, set `#[serde(deny_unknown_fields, default)]`, document every
/// field and give it a range: the host builds its checks, messages and documentation from that.
pub trait Strategy: Default + Serialize + DeserializeOwned + JsonSchema {
    /// Id in kebab-case, as users write it.
    const ID: &'static str;
    /// One line that says what it selects.
    const SUMMARY: &'static str;
    /// The paper it follows, as a citation.
    const PAPER: &'static str;
    /// Time and memory beyond the inputs, with N rows in the pool, L labelled, A = N + L, batch b, C classes, width D
    /// and T draws or members; for readers of its documentation.
    const COST: &'static str = "";
    /// Other names under which the field knows it.
    const ALIASES: &'static [&'static str] = &[];
    /// Whether it says in which order the whole pool would be picked. Where it does not, it is never asked to take all:
    /// then the answer is every row in order, without scores, and it always has something to choose.
    const RANKS_ALL: bool = true;
    /// Declared powers beyond arrays.
    const CAPABILITIES: &'static [Capability] = &[];

    /// Published settings that a user chooses by name, and defaults that depend on another parameter. The host fills
    /// them in: a strategy gets settled values only, and has no parameter `preset`.
    ///
    /// The default value of the strategy is what holds where nothing is chosen.
    fn layers() -> Vec<Layer<Self>> {
        Vec::new()
    }

    /// The arrays it wants under these parameters.
    fn needs(&self) -> Vec<Need>;

    /// The arrays that it may want under other parameters than the default ones, beside those that it wants under
    /// these. Only the names count. An isolated strategy gets nothing that stands in neither list.
    fn may_need() -> Vec<Need> {
        Vec::new()
    }

    /// Checks what the schema cannot say, such as one parameter against another. Ranges that the schema states are
    /// checked before, by host and testkit.
    ///
    /// # Errors
    /// A sentence that names the parameter, its value and what is wanted.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A strategy that scores each row on its own. The host cuts the tiles, runs them in parallel and ranks.
pub trait Scorer: Strategy {
    /// Scores of the rows of `tile`, in order; higher ranks first.
    ///
    /// The score of a row must not depend on which other rows are in the tile.
    ///
    /// # Errors
    /// If the rows cannot be scored.
    fn score(&self, tile: &Query) -> Result<Scores>;
}

/// A strategy that sees the whole pool.
pub trait Selector: Strategy {
    /// Exactly [`Query::wanted`] distinct rows, in pick order: see [`Query::picks`]. At least one is wanted, and fewer
    /// than there are unless it [ranks all](Strategy::RANKS_ALL).
    ///
    /// # Errors
    /// If no selection can be made.
    fn select(&self, query: &Query) -> Result<Selection>;
}
