//! What the host and every plugin agree on: plain types, one arithmetic and one source of random numbers.
//!
//! Nothing here does I/O, allocates handles or knows a strategy. The host implements [`HostCalls`]; the SDK calls it,
//! over WIT in a sandboxed component and through C tables in a native build. What is in `generated` comes from
//! `plugin-sdk/wit`.
#![deny(missing_docs)]

pub mod abi;
mod array;
mod describe;
mod fault;
mod generated {
    pub mod calls;
    pub mod table;
    pub mod types;
}
pub mod layers;
pub mod math;
mod need;
pub mod philox;
mod selection;
mod shown;
mod training;
mod usual;

pub use array::{ARRAYS, ArrayKind, Dimension, Element, Giver, NAME, Rows, StandIn};
pub use describe::{Capability, Description, StrategyDescription};
pub use fault::{Fault, StrategyError};
pub use generated::calls::{API_VERSION, Handle, HostCalls, Kind, PLACE_BITS};
pub use generated::types::{
    DesignOptions, FaultCode, Init, KmeansOptions, LogLevel, Merge, Metric, Numbered, QueryInfo, Reduction, Similarity,
    SimilarityKind, StreamScope, Uncertainty,
};
pub use need::{Need, NeedParseError, names};
pub use selection::Selection;
pub use shown::{Shown, is_showable};
pub use training::{EpochLength, InitPolicy, StreamOf, TrainOverrides, Transform, UnlabelledStream};

/// Bytes of input that the host hands to a scorer at once.
///
/// Every tile gets a fresh instance, which costs next to nothing beside the work on so many bytes.
pub const TILE_BYTES: usize = 1 << 20;

/// Bytes of input that a strategy should pull at once.
///
/// A block of this size is still in the second-level cache when the plugin reads it.
pub const BLOCK_BYTES: usize = 256 * 1024;
