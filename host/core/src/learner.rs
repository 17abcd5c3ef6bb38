//! What trains, predicts and computes features.

use std::collections::BTreeMap;

use querist_protocol::Need;

use crate::array::Array;
use crate::ids::{Label, Round, SampleId};
use crate::observer::{Cancelled, Progress};
use crate::record::EpochRecord;

/// Trains a task model on labelled samples and computes arrays from it.
pub trait Learner {
    /// Whether every need can be met with this model, asked before anything is trained.
    ///
    /// # Errors
    /// [`LearnError::Need`] with the model option that would help.
    fn check_needs(&self, needs: &[Need]) -> Result<(), LearnError>;

    /// Trains from the start on the labelled samples (ascending), replacing any earlier model.
    ///
    /// # Errors
    /// If training fails, diverges or is cancelled.
    fn fit(
        &mut self,
        round: Round,
        labelled: &[(SampleId, Label)],
        progress: &dyn Progress,
    ) -> Result<Vec<EpochRecord>, LearnError>;

    /// Logits in eval mode with the eval transform, row-major `[samples, classes]`.
    ///
    /// # Errors
    /// If nothing was fitted, the device fails, or the user cancels.
    fn logits(&mut self, samples: &[SampleId], progress: &dyn Progress) -> Result<Vec<f32>, LearnError>;

    /// The arrays of these needs, by name, in eval mode with the eval transform; rows in the order of the samples.
    ///
    /// # Errors
    /// As for [`Learner::logits`], and if a need cannot be met.
    fn features(
        &mut self,
        needs: &[Need],
        pool: &[SampleId],
        labelled: &[SampleId],
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Array>, LearnError>;

    /// The fitted model as a safetensors file.
    ///
    /// # Errors
    /// If nothing was fitted or a tensor cannot be read back.
    fn model(&self) -> Result<Vec<u8>, LearnError>;

    /// Device and library versions, for the record.
    fn backend(&self) -> String;

    /// The most bytes that the device held at once since the last call, where the device can tell.
    fn take_peak_memory(&mut self) -> Option<u64>;
}

/// Why a learner failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// A need that this model cannot meet.
    #[error("the strategy needs `{need}`: {reason}")]
    Need {
        /// The need as text.
        need: String,
        /// Why not, and which option would help.
        reason: String,
    },
    /// Training produced NaN or infinity.
    #[error("training diverged in epoch {epoch}: the loss is {loss}; lower `recipe.lr` or raise `recipe.warmup`")]
    Diverged {
        /// Epoch from 0.
        epoch: usize,
        /// The loss.
        loss: f64,
    },
    /// The settings do not fit the data or the machine.
    #[error("{0}")]
    Config(String),
    /// The tensor library failed.
    #[error("{doing}: {reason}")]
    Backend {
        /// What was being done.
        doing: &'static str,
        /// What the library said.
        reason: String,
    },
    /// The user stopped it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
