//! Ensembles: the task model again and again, from other weights and in another order, on the same labels.
//!
//! Members are trained one after the other, and only one is on the device at a time; the others wait as bytes. Member i
//! alone is the model of a run with the seeds of member i. Member 0 is the task model itself where that was trained as
//! members are.
//!
//! Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep
//! Ensembles", NIPS 2017 (arXiv 1612.01474); for active learning: Beluch, Genewein, Nürnberger and Köhler, "The Power
//! of Ensembles for Active Learning in Image Classification", CVPR 2018.

use std::time::Instant;

use querist_core::config::{Adversarial, EnsembleConfig};
use querist_core::fitted::EnsembleRecord;
use querist_core::progress::{Cancelled, Phase, Progress};
use querist_core::{Label, LearnError, SampleId, Seeds, ServiceScope, Synthetic};
use querist_protocol::LogLevel;
use tch::{Device, Kind, TchError, Tensor};

use crate::fault::Doing;
use crate::images::ImageStore;
use crate::infer::{Wanted, predict};
use crate::model::{Architecture, Model};
use crate::optimiser::Stood;
use crate::plan::Plan;
use crate::rows::{Rows, Scratch};
use crate::train::Trainer;

/// Fewer is no ensemble.
pub(crate) const FEWEST_MEMBERS: usize = 2;
/// More is a mistake.
pub(crate) const MOST_MEMBERS: usize = 100;

const DOING: &str = "predicting with an ensemble";

/// The trained members of a round.
pub(crate) struct Ensemble {
    members: Vec<Member>,
}

/// One of them.
enum Member {
    /// The task model.
    Task,
    /// A model as a safetensors file.
    Stored(Vec<u8>),
}

/// How members are trained.
pub(crate) struct Training<'a> {
    pub(crate) images: &'a ImageStore,
    pub(crate) plan: &'a Plan,
    pub(crate) config: &'a EnsembleConfig,
    pub(crate) scope: ServiceScope<'a>,
    pub(crate) synthetic: &'a [Synthetic],
    pub(crate) validation: &'a [(SampleId, Label)],
    pub(crate) seeds: Seeds,
    /// Whether the task model was trained by the recipe alone.
    pub(crate) task_is_plain: bool,
    /// The body that members start from, if not from a fresh one.
    pub(crate) pretrained: Option<&'a Model>,
}

impl Training<'_> {
    /// Trains `count` members.
    pub(crate) fn train(
        &self,
        count: usize,
        progress: &dyn Progress,
    ) -> Result<(Ensemble, EnsembleRecord), LearnError> {
        let EnsembleConfig { adversarial, evaluate, .. } = *self.config;
        let task_is_first = self.task_is_plain && adversarial == Adversarial::None;
        let unlabelled = if adversarial == Adversarial::Vat { self.scope.pool.len() } else { 0 };
        let mut record = EnsembleRecord { adversarial, evaluate, unlabelled, seconds: Vec::with_capacity(count) };
        let mut members = Vec::with_capacity(count);
        for member in 0..count {
            let clock = Instant::now();
            if member == 0 && task_is_first {
                members.push(Member::Task);
                record.seconds.push(0.0);
                continue;
            }
            let model = self.member(member, &Share { progress, member, count })?;
            members.push(Member::Stored(model.parameters().to_safetensors()?));
            record.seconds.push(clock.elapsed().as_secs_f64());
        }
        Ok((Ensemble { members }, record))
    }

    fn member(&self, member: usize, progress: &dyn Progress) -> Result<Model, LearnError> {
        let ServiceScope { round, labelled, pool, .. } = self.scope;
        let seeds = self.seeds.member(member);
        let ensemble = Some(self.config);
        let (images, plan, synthetic, pretrained) = (self.images, self.plan, self.synthetic, self.pretrained);
        let (validation, seeds) = (self.validation, &seeds);
        let trainer =
            Trainer { images, plan, seeds, round, labelled, validation, synthetic, pool, ensemble, pretrained };
        let model = trainer.build(None)?;
        trainer.train(&model, None, Stood::Nowhere, progress)?;
        Ok(model)
    }
}

/// The training of one member as a share of that of all.
struct Share<'a> {
    progress: &'a dyn Progress,
    member: usize,
    count: usize,
}

impl Progress for Share<'_> {
    fn report(&self, phase: Phase, done: u64, total: u64) -> Result<(), Cancelled> {
        self.progress.report(phase, self.member as u64 * total + done, self.count as u64 * total)
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.progress.log(level, message);
    }
}

/// What predictions of members are made with.
#[derive(Clone, Copy)]
pub(crate) struct Predicting<'a> {
    pub(crate) architecture: &'a Architecture,
    pub(crate) images: &'a ImageStore,
    /// The task model.
    pub(crate) task: &'a Model,
    pub(crate) classes: usize,
}

impl Ensemble {
    /// Number of members.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Log-probabilities of the first `count` members by row, member and class, `[samples, count, classes]`.
    pub(crate) fn log_probs(
        &self,
        with: Predicting<'_>,
        samples: &[SampleId],
        count: usize,
        scratch: &Scratch,
        mut done: impl FnMut(usize) -> Result<(), LearnError>,
    ) -> Result<Rows, LearnError> {
        let (classes, width) = (with.classes, count * with.classes);
        let mut rows = scratch.rows(samples.len() * width)?;
        for (at, member) in self.members.iter().take(count).enumerate() {
            let log_probs = member.log_probs(with, samples, &mut done)?;
            for (row, log_probs) in rows.chunks_exact_mut(width).zip(log_probs.chunks_exact(classes)) {
                row[at * classes..(at + 1) * classes].copy_from_slice(log_probs);
            }
        }
        Ok(rows)
    }

    /// Logarithms of the members' mean probabilities, `[samples, classes]`.
    pub(crate) fn mean_log_probs(
        &self,
        with: Predicting<'_>,
        samples: &[SampleId],
        mut done: impl FnMut(usize) -> Result<(), LearnError>,
    ) -> Result<Vec<f32>, LearnError> {
        let mut total: Option<Tensor> = None;
        for member in &self.members {
            let log_probs = member.log_probs(with, samples, &mut done)?;
            let add = |total: Option<Tensor>| -> Result<Tensor, TchError> {
                let log_probs = Tensor::f_from_slice(&log_probs)?.f_to_kind(Kind::Double)?;
                match total {
                    None => Ok(log_probs),
                    Some(total) => total.f_logaddexp(&log_probs),
                }
            };
            total = Some(add(total).doing(DOING)?);
        }
        let Some(total) = total else { return Ok(Vec::new()) };
        let mean = total.f_sub_scalar((self.len() as f64).ln()).and_then(|mean| mean.f_to_kind(Kind::Float));
        crate::parameters::values(&mean.doing(DOING)?)
    }
}

impl Member {
    /// `[samples, classes]`.
    fn log_probs(
        &self,
        with: Predicting<'_>,
        samples: &[SampleId],
        done: impl FnMut(usize) -> Result<(), LearnError>,
    ) -> Result<Vec<f32>, LearnError> {
        let logits = match self {
            Self::Task => predict(with.task, with.images, samples, Wanted::LOGITS, &Scratch::memory(), done)?.logits,
            Self::Stored(bytes) => {
                let model = with.architecture.build(with.images.device())?;
                model.parameters().read_safetensors(bytes)?;
                predict(&model, with.images, samples, Wanted::LOGITS, &Scratch::memory(), done)?.logits
            }
        };
        let log_probs = Tensor::f_from_slice(&logits)
            .and_then(|logits| logits.f_view([samples.len() as i64, with.classes as i64]))
            .and_then(|logits| logits.f_log_softmax(1, Kind::Float))
            .doing(DOING)?;
        debug_assert_eq!(log_probs.device(), Device::Cpu);
        crate::parameters::values(&log_probs)
    }
}
