//! The active-learning loop and its nouns.
//!
//! No tensors, no plugins, no files: those are behind the traits [`Learner`], [`Strategy`], [`Oracle`] and
//! [`Observer`]. [`run`] is the whole loop.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod acquisition;
pub mod array;
pub mod config;
pub mod dataset;
mod fixed;
pub mod head;
pub mod ids;
pub mod learner;
pub mod metric;
pub mod observer;
pub mod oracle;
pub mod partition;
pub mod record;
pub mod rights;
mod run;
pub mod schema;
pub mod seed;
pub mod split;
pub mod strategy;
mod subset;
mod synthetic;
pub mod training;

pub use acquisition::Acquisition;
pub use array::{Array, Arrays, Buffer, Reveals, Values};
pub use dataset::{Dataset, Images};
pub use fixed::{FixedEmbeddings, FixedError};
pub use head::{Head, LinearHead};
pub use ids::{Label, PoolRow, Round, SampleId};
pub use learner::{FeatureTask, FitTask, Fitted, LearnError, Learner};
pub use observer::Observer;
pub use oracle::{DatasetOracle, Oracle, OracleError};
pub use partition::Partition;
pub use record::RoundRecord;
pub use rights::{Granted, RightsError, Settled};
pub use run::{Parts, Position, QueryOptions, RunError, check, run};
pub use schema::Schema;
pub use seed::{Seeds, Streams};
pub use split::Split;
pub use strategy::{
    Answer, Hint, Limit, Query, QueryError, Strategy, StrategyIdentity, StrategyKind, Usage, tile_rows,
};
pub use subset::subset;
pub use synthetic::{Handed, Synthetic, SyntheticError};
pub use training::{HooksPresent, HostServices, ServiceError, ServiceScope, TrainingHooks};
