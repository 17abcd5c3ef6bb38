//! Write query strategies for Querist.
//!
//! A strategy is a struct of parameters that implements [`Strategy`] and either [`Scorer`] (rows are scored one by one)
//! or [`Selector`] (the whole pool is seen at once). [`package!`] exports any number of them. The same source builds as
//! a sandboxed WebAssembly component and natively, and answers with the same rows and the same score bits.
//!
//! ```
//! use querist_sdk::prelude::*;
//!
//! /// Selects the samples that the model is least sure of.
//! #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! pub struct Unsure {}
//!
//! impl Strategy for Unsure {
//!     const ID: &'static str = "unsure";
//!     const SUMMARY: &'static str = "Samples whose predicted class distribution has the largest entropy";
//!     const PAPER: &'static str = "Shannon, A Mathematical Theory of Communication, 1948";
//!
//!     fn needs(&self) -> Vec<Need> {
//!         Need::all([names::LOGITS])
//!     }
//! }
//!
//! impl Scorer for Unsure {
//!     fn score(&self, tile: &Query) -> Result<Scores> {
//!         Ok(tile.matrix(names::LOGITS)?.uncertainty(Uncertainty::Entropy)?.into())
//!     }
//! }
//!
//! package!(scorers: [Unsure]);
//! ```
#![deny(missing_docs)]

mod descent;
pub mod draws;
/// Made from `wit`.
mod generated {
    #[cfg(not(target_family = "wasm"))]
    mod native;
    pub(crate) mod objects;
    #[cfg(target_family = "wasm")]
    pub(crate) mod wasm;
}
mod host;
mod lazy;
mod linkage;
#[cfg(not(target_family = "wasm"))]
pub mod native;
mod normals;
mod objects;
mod package;
mod params;
mod picks;
pub mod principal;
mod query;
mod range;
mod softmax;
mod spelling;
mod strategy;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod wasm;

pub use descent::{Descent, Slope, descend};
pub use host::Host;
pub use lazy::LazyGreedy;
pub use linkage::Dendrogram;
pub use normals::Normals;
pub use objects::{Clustering, Design, Facility, Graph, Mask, Matrix, Nearest, Points, Stream, Vector};
pub use package::{Entry, Package};
#[doc(hidden)]
pub use package::{describe, nothing_to_choose, package_name, parse};
pub use picks::Picks;
pub use query::{Query, Scores};
pub use range::Range;
pub use softmax::Softmax;
pub use spelling::{add_old_name, with_underscores};
pub use strategy::{Result, Scorer, Selector, Strategy};

pub use querist_protocol as protocol;

/// Everything that a strategy's source file wants in scope.
pub mod prelude {
    pub use querist_protocol::layers::Layer;
    pub use querist_protocol::math;
    pub use querist_protocol::{
        Capability, DesignOptions, Init, KmeansOptions, LogLevel, Merge, Metric, Need, Reduction, Selection,
        Similarity, SimilarityKind, StrategyError, StreamScope, Uncertainty, names,
    };
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};

    pub use crate::{
        Clustering, Design, Facility, Graph, Mask, Matrix, Nearest, Picks, Points, Query, Result, Scorer, Scores,
        Selector, Strategy, Stream, Vector, add_old_name, package, params, with_underscores,
    };
}

#[doc(hidden)]
pub use schemars;
#[doc(hidden)]
pub use serde;
