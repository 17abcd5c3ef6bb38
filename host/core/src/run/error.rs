//! What stops a run.

use crate::acquisition::ContractError;
use crate::array::ArrayError;
use crate::failure::QueryError;
use crate::fixed::FixedError;
use crate::ids::Round;
use crate::learner::LearnError;
use crate::oracle::OracleError;
use crate::partition::PartitionError;
use crate::synthetic::SyntheticError;

/// Why a run stopped before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Training, evaluation or features failed.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// An array that does not come from the model does not fit the dataset.
    #[error(transparent)]
    Fixed(#[from] FixedError),
    /// The learner's arrays do not fit the contract.
    #[error("features: {0}")]
    Arrays(#[from] ArrayError),
    /// The subset that a query chooses from is smaller than a batch.
    #[error(
        "strategy.subset_size is {subset}, but round {round} asks for {batch} samples; set it to {batch} or more, or \
         leave it out"
    )]
    Subset {
        /// Its size.
        subset: usize,
        /// The first round that asks for more.
        round: Round,
        /// Its batch.
        batch: usize,
    },
    /// The strategy gave no answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The strategy's answer breaks the contract.
    #[error("{strategy} broke its contract: {source}")]
    Contract {
        /// Which strategy.
        strategy: String,
        /// The rule.
        source: ContractError,
    },
    /// Images that the strategy handed in cannot be trained on.
    #[error("{strategy} broke its contract: {source}")]
    Synthetic {
        /// Which strategy.
        strategy: String,
        /// The rule.
        source: SyntheticError,
    },
    /// The oracle failed.
    #[error(transparent)]
    Oracle(#[from] OracleError),
    /// Labels do not fit the partition.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// A round could not be made durable.
    #[error("the round could not be saved: {0}")]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}
