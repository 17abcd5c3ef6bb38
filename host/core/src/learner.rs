//! What trains, predicts and computes features.

use std::collections::BTreeMap;
use std::sync::Arc;

use querist_protocol::{ArrayKind, Need, Rows, TrainOverrides};

use crate::array::Array;
use crate::failure::QueryError;
use crate::fitted::Fitted;
use crate::head::Head;
use crate::ids::{Label, Round, SampleId};
use crate::progress::{Cancelled, Progress};
use crate::seed::Streams;
use crate::synthetic::Synthetic;
use crate::training::{HostServices, ServiceScope, TrainingHooks};

/// One training of the task model.
pub struct FitTask<'a> {
    /// The round, with its samples.
    pub scope: ServiceScope<'a>,
    /// The strategy, where it takes part in training, with its state of the round before.
    pub hooks: Option<(&'a mut dyn TrainingHooks, Option<&'a [u8]>)>,
    /// What the strategy wants from this training beside the model: an ensemble is trained only where one is needed.
    pub needs: &'a [Need],
    /// Images that strategies made, to train on beside the labelled samples.
    pub synthetic: &'a [Synthetic],
    /// The validation set with its labels, which only some recipes look at.
    pub validation: &'a [(SampleId, Label)],
}

impl<'a> FitTask<'a> {
    /// Training on labelled samples and nothing else.
    pub fn plain(round: Round, labelled: &'a [(SampleId, Label)]) -> Self {
        let initial = labelled.len();
        let scope = ServiceScope { round, pool: &[], labelled, initial, batch: 0, streams: Streams::NONE };
        Self { scope, hooks: None, needs: &[], synthetic: &[], validation: &[] }
    }
}

/// What the arrays of a query are computed for.
#[derive(Debug, Clone, Copy, Default)]
pub struct FeatureTask<'a> {
    /// The arrays.
    pub needs: &'a [Need],
    /// Rows of the query.
    pub pool: &'a [SampleId],
    /// Labelled samples.
    pub labelled: &'a [SampleId],
    /// Samples of the target set, where a need is about one.
    pub target: &'a [SampleId],
}

impl<'a> FeatureTask<'a> {
    /// The samples that an array of this need has a row for.
    pub fn samples(&self, need: &Need) -> &'a [SampleId] {
        match ArrayKind::of(need.name()) {
            Some((ArrayKind { rows: Rows::Targets, .. }, _)) => self.target,
            Some((_, true)) => self.labelled,
            _ => self.pool,
        }
    }
}

/// Trains a task model on labelled samples and computes arrays from it.
pub trait Learner {
    /// Whether every need can be met with this model, asked before anything is trained.
    ///
    /// # Errors
    /// [`LearnError::Need`] with the model option that would help.
    fn check_needs(&self, needs: &[Need]) -> Result<(), LearnError>;

    /// Whether every need can be met without a label, by a model that was never trained: of [`Self::fit`] with no
    /// samples nothing but the head's first weights come.
    ///
    /// # Errors
    /// [`LearnError::Need`] with the first that cannot.
    fn check_untrained(&self, needs: &[Need]) -> Result<(), LearnError> {
        match needs.first() {
            None => Ok(()),
            Some(need) => Err(LearnError::untrained(need)),
        }
    }

    /// Trains on the labelled samples, from the start unless the strategy's plan says otherwise, and replaces the
    /// earlier model.
    ///
    /// # Errors
    /// If training fails, diverges or is cancelled, or the strategy breaks a rule.
    fn fit(&mut self, task: FitTask<'_>, progress: &dyn Progress) -> Result<Fitted, LearnError>;

    /// Takes over the model of the last finished round from its file, as [`Learner::model`] wrote it, with what the
    /// strategy changed in its training: a run that goes on in another process trains and predicts as if it had gone on
    /// in one.
    ///
    /// # Errors
    /// If the file holds no model of this architecture.
    fn restore(&mut self, model: &[u8], overrides: &TrainOverrides) -> Result<(), LearnError>;

    /// The state of the optimiser, as a file, where it goes on in the next round.
    ///
    /// # Errors
    /// If a tensor cannot be read back.
    fn optimiser(&self) -> Result<Option<Vec<u8>>, LearnError> {
        Ok(None)
    }

    /// Takes over the state of the optimiser of the last finished round from its file, which is looked at when training
    /// goes on.
    fn restore_optimiser(&mut self, _state: Vec<u8>) {}

    /// What a strategy that uses images and the model may ask for, about the fitted model; `None` for a learner without
    /// such services.
    fn services<'a>(&'a self, _scope: ServiceScope<'a>) -> Option<Box<dyn HostServices + 'a>> {
        None
    }

    /// The fitted model's head as it is now, which strategies may ask while they pick; `None` where nothing is fitted
    /// or the learner has none.
    fn head(&self) -> Option<Arc<dyn Head>> {
        None
    }

    /// Logits in eval mode with the eval transform, row-major `[samples, classes]`.
    ///
    /// # Errors
    /// If nothing was fitted, the device fails, or the user cancels.
    fn logits(&mut self, samples: &[SampleId], progress: &dyn Progress) -> Result<Vec<f32>, LearnError>;

    /// The logits that are evaluated: those of the model, unless the learner joins the predictions of several.
    ///
    /// # Errors
    /// As for [`Learner::logits`].
    fn evaluated(&mut self, samples: &[SampleId], progress: &dyn Progress) -> Result<Vec<f32>, LearnError> {
        self.logits(samples, progress)
    }

    /// The arrays of these needs, by name, in eval mode with the eval transform; rows in the order of the samples.
    ///
    /// # Errors
    /// As for [`Learner::logits`], and if a need cannot be met.
    fn features(
        &mut self,
        task: FeatureTask<'_>,
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

/// Where embeddings by a body that no training changes are kept from run to run. Nothing depends on it.
pub trait KeepsEmbeddings: Send {
    /// So many values that were kept under `of`, which says everything that they hang on; none where they are not
    /// there, or not as they were.
    fn read(&self, of: &str, values: usize) -> Option<Vec<f32>>;

    /// Keeps values, where that can be done.
    fn write(&self, of: &str, values: &[f32]);
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
    /// The strategy that takes part in training failed or broke a rule.
    #[error(transparent)]
    Strategy(#[from] QueryError),
    /// A program of the user's own that learns failed or broke a rule.
    #[error(transparent)]
    Own(#[from] OwnFault),
    /// The user stopped it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// What a program of the user's own did that learns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OwnFault {
    /// What it was.
    pub kind: OwnFaultKind,
    /// The whole message: who, at what, and what it said last.
    pub message: String,
}

/// Kinds of what such a program can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnFaultKind {
    /// It ended, or was ended by somebody else.
    Ended,
    /// It took longer than it may.
    Time,
    /// Its answer is none, or its arrays are not what was asked for.
    Answer,
    /// It said that it cannot.
    Refused,
    /// What it is handed could not be written.
    Disk,
}

impl LearnError {
    /// What a need that a trained model would meet is where nothing is labelled.
    pub fn untrained(need: &Need) -> Self {
        Self::Need {
            need: need.to_string(),
            reason: "nothing is labelled before the first query (`budget.initial = 0`), so no model is trained; label \
                     some samples first, or choose a strategy that needs nothing of the model, such as `random`, or \
                     `typiclust` with `fixed_embeddings`"
                .to_owned(),
        }
    }
}
