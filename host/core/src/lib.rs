//! The active-learning loop and its nouns.
//!
//! No tensors, no plugins, no files: those are behind the traits [`Learner`], [`Strategy`], [`Oracle`] and
//! [`Observer`]. [`run`] is the whole loop.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod acquisition;
pub mod agreement;
pub mod array;
pub mod config;
pub mod dataset;
pub mod digest;
pub mod failure;
mod far;
pub mod fitted;
mod fixed;
pub mod head;
pub mod identity;
pub mod ids;
pub mod learner;
pub mod metric;
pub mod observer;
pub mod oracle;
pub mod outcome;
pub mod partition;
pub mod progress;
pub mod question;
pub mod record;
mod run;
pub mod schema;
pub mod seed;
pub mod split;
pub mod strategy;
mod synthetic;
pub mod training;
pub mod upper;
pub mod variant;

pub use acquisition::Acquisition;
pub use array::{Array, Buffer, Values};
pub use dataset::{Dataset, Embeddings, Images};
pub use failure::{Failure, Hint, Limit, QueryError, QueryErrorKind, ServiceError};
pub use far::RowSource;
pub use fitted::Fitted;
pub use fixed::{FixedArray, FixedArrays, FixedError, FixedFault};
pub use head::{Head, LinearHead};
pub use identity::{StrategyIdentity, StrategyKind};
pub use ids::{Label, PoolRow, Round, SampleId};
pub use learner::{FeatureTask, FitTask, KeepsEmbeddings, LearnError, Learner, OwnFault, OwnFaultKind};
pub use observer::{AskedRound, FinishedRound, Guess, Observer};
pub use oracle::{DatasetOracle, Oracle, OracleError, People};
pub use outcome::Outcome;
pub use partition::Partition;
pub use question::{
    Arrays, Given, GivenError, Granted, Pairs, Query, Question, Reveals, RightsError, Settled, Sorted, Tally,
    candidates, rights, subset,
};
pub use record::RoundRecord;

pub use run::{Asked, Evaluation, Position, QueryOptions, Run, RunError, ask, check, run, tell};
pub use schema::Schema;
pub use seed::{Seeds, Streams};
pub use split::Split;
pub use strategy::{Answer, Beside, Strategy, Usage, tile_rows};
pub use synthetic::{Handed, Synthetic, SyntheticError};
pub use training::{HooksPresent, HostServices, ServiceScope, TrainingHooks};
