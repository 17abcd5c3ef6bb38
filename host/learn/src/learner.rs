//! The learner that the loop uses.

mod arrays;
mod bodies;
mod frozen;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use querist_core::config::{Adversarial, EnsembleConfig, Evaluate, ModelConfig, Precision, Recipe};
use querist_core::fitted::EnsembleRecord;
use querist_core::progress::{Phase, Progress};
use querist_core::{
    Array, Dataset, FeatureTask, FitTask, Fitted, Head, HostServices, Label, LearnError, Learner, Round, SampleId,
    Seeds, ServiceScope, Synthetic,
};
use querist_protocol::{Need, TrainOverrides};
use querist_torchx::{memory, random, runtime};
use tch::Device;

use crate::backbone::Backbone;
use crate::checks;
use crate::device;
use crate::draws::log_probs;
use crate::ensemble::{Ensemble, Predicting, Training};
use crate::fault::{Doing, config};
use crate::gradient;
use crate::head::AskedHead;
use crate::hooks::Live;
use crate::images::ImageStore;
use crate::infer::{Wanted, predict, reporter};
use crate::model::{Architecture, Model};
use crate::need::{Feature, resolve};
use crate::optimiser::Stood;
use crate::perturb;
use crate::plan::Plan;
use crate::replicas::Replicas;
use crate::rows::Scratch;
use crate::services::{Base, Services};
use crate::train::{Outcome, Trainer};
use arrays::{Shared, linear_head, rows_array, tensor_array, wanted};
use bodies::Kept;

/// How a learner is set up.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// The task model.
    pub model: &'a ModelConfig,
    /// How it is trained.
    pub recipe: &'a Recipe,
    /// Sources of weights, order, augmentation and dropout.
    pub seeds: Seeds,
    /// `cpu`, `cuda` or `cuda:N`.
    pub device: &'a str,
    /// Numbers in which the model's body computes.
    pub precision: Precision,
    /// CPU threads of libtorch, for the whole process; part of a result's identity.
    pub threads: usize,
}

/// Trains and runs a task model with libtorch.
///
/// On the CPU, the same settings, samples and round give bitwise the same weights and outputs.
pub struct TorchLearner {
    images: ImageStore,
    architecture: Architecture,
    recipe: Recipe,
    ensemble: EnsembleConfig,
    /// Folder and limit of memory for the arrays of a query; no limit where it is left out.
    scratch: Option<(PathBuf, u64)>,
    seeds: Seeds,
    classes: usize,
    threads: usize,
    /// The round of the fitted model.
    round: Round,
    fitted: Option<Model>,
    /// The body that every fresh model starts from, where the run names a file of weights.
    pretrained: Option<Model>,
    /// Where embeddings by a body that no training changes are kept from run to run.
    kept: Option<Kept>,
    /// Of the dataset.
    digest: String,
    /// The ensemble around it, where one was asked for.
    members: Option<Ensemble>,
    /// Whether the strategy wants `fitted` to be there in the next round.
    keep: bool,
    /// The model of the round before, where the strategy wanted it kept.
    previous: Option<Model>,
    /// Where the optimiser stands that trained `fitted`, if it goes on.
    stood: Stood,
}

impl TorchLearner {
    /// Puts the dataset's images on the device and checks that model, recipe, data and machine fit each other.
    ///
    /// Where the dataset publishes no mean and standard deviation, they are measured on `pool`.
    ///
    /// # Errors
    /// [`LearnError::Config`] with the setting that does not fit; [`LearnError::Backend`] if the device has no room.
    pub fn new(dataset: &Dataset, pool: &[SampleId], settings: &Settings<'_>) -> Result<Self, LearnError> {
        Self::set_up(dataset, pool, settings, None)
    }

    fn set_up(
        dataset: &Dataset,
        pool: &[SampleId],
        settings: &Settings<'_>,
        backbone: Option<Backbone>,
    ) -> Result<Self, LearnError> {
        runtime::init();
        runtime::set_threads(settings.threads).or_else(|e| config(format!("compute.threads: {e}")))?;
        let device = device::parse(settings.device, &runtime::describe().cuda).map_err(in_config)?;
        if device.is_cuda() {
            random::reproducible(settings.precision == Precision::Tf32).doing("preparing the GPU")?;
        } else if settings.precision == Precision::Tf32 {
            return config("compute.precision is `tf32`, which only GPUs have; use `float32` or `bf16`, or a GPU");
        }
        checks::rows(dataset.embeddings().is_some(), settings.recipe, settings.model)?;
        let images = ImageStore::new(dataset, pool, device)?;
        let (shape, classes) = (images.shape(), dataset.classes() as i64);
        let architecture = match backbone {
            Some(backbone) => Architecture::brought(settings.model, backbone, shape, classes)?,
            None => Architecture::new(settings.model, shape, classes)?,
        };
        let architecture = architecture.with_precision(settings.precision);
        checks::recipe(settings.recipe, &architecture, settings.model)?;
        Ok(Self {
            images,
            architecture,
            recipe: settings.recipe.clone(),
            ensemble: EnsembleConfig::default(),
            scratch: None,
            seeds: settings.seeds,
            classes: dataset.classes(),
            threads: settings.threads,
            round: Round(0),
            fitted: None,
            pretrained: None,
            kept: None,
            digest: dataset.digest().to_owned(),
            members: None,
            keep: false,
            previous: None,
            stood: Stood::Nowhere,
        })
    }

    /// The same learner, which shares its work with more devices: each has a part of every minibatch, and blocks of
    /// samples where arrays are computed. All are GPUs, or all are the CPU.
    ///
    /// # Errors
    /// [`LearnError::Config`] if one cannot be used or is named twice.
    pub fn with_devices(mut self, others: &[String]) -> Result<Self, LearnError> {
        let others = device::parse_others(self.images.device(), others, &runtime::describe().cuda);
        let others = others.map_err(in_config)?;
        let replicas = Replicas::new(&self.architecture, &others)?;
        self.images.share_with(others, replicas);
        Ok(self)
    }

    /// The same learner, training ensembles as `ensemble` says.
    ///
    /// # Errors
    /// [`LearnError::Config`] with the setting that is out of range.
    pub fn with_ensemble(mut self, ensemble: &EnsembleConfig) -> Result<Self, LearnError> {
        checks::ensemble(ensemble, &self.architecture, self.images.are_rows())?;
        self.ensemble = ensemble.clone();
        Ok(self)
    }

    /// The same learner, keeping the arrays of a query in unnamed files in `folder` where they take more than `memory`
    /// bytes.
    #[must_use]
    pub fn with_scratch(mut self, folder: &Path, memory: u64) -> Self {
        self.scratch = Some((folder.to_owned(), memory));
        self
    }

    fn base<'a>(&'a self, scope: ServiceScope<'a>) -> Base<'a> {
        Base { images: &self.images, architecture: &self.architecture, recipe: &self.recipe, scope }
    }

    /// A trained model, and what its training leaves behind. `before` is the model of the round before, which the
    /// strategy may look at if it was `kept`.
    fn train(
        &self,
        task: FitTask<'_>,
        before: Option<&Model>,
        (kept, stood): (bool, Stood),
        progress: &dyn Progress,
    ) -> Result<(Model, Fitted, Stood), LearnError> {
        let FitTask { scope, mut hooks, synthetic, validation, needs: _ } = task;
        let ServiceScope { round, labelled, pool, .. } = scope;
        let made = synthetic.iter().map(|image| (image.sample, image.label));
        let mut labels = labelled.iter().copied().chain(made);
        if let Some((sample, label)) = labels.find(|(_, label)| label.index() >= self.classes) {
            return config(format!("sample {sample} has label {label}, but there are {} classes", self.classes));
        }
        let base = self.base(scope);
        let services = Services::of_training(base).with_previous(before.filter(|_| kept));
        let (overrides, plan) = match &mut hooks {
            None => (TrainOverrides::default(), self.plan(&TrainOverrides::default(), false).or_else(config)?),
            Some((hooks, state)) => {
                let overrides = hooks.plan_round(&services, *state, progress)?;
                let plan = self.plan(&overrides, hooks.present().batch_loss);
                (overrides, plan.map_err(|message| hooks.broke_rule(message))?)
            }
        };
        let trainer = Trainer {
            images: &self.images,
            plan: &plan,
            seeds: &self.seeds,
            round,
            labelled,
            validation,
            synthetic,
            pool,
            ensemble: None,
            pretrained: self.pretrained.as_ref(),
        };
        let model = trainer.build(before)?;
        let (outcome, metrics) = {
            let services = services.with_model(&model);
            let live = match hooks {
                None => None,
                Some((hooks, _)) => Some(Live::new(hooks, &services, &plan, &self.images, scope, trainer.steps())?),
            };
            (trainer.train(&model, live, stood, progress)?, services.metrics())
        };
        let Outcome { epochs, optimiser, validation } = outcome;
        let stood = if plan.recipe.keep_optimiser { Stood::At(optimiser) } else { Stood::Nowhere };
        Ok((model, Fitted { epochs, overrides, metrics, ensemble: None, validation_labels: validation }, stood))
    }

    fn plan(&self, overrides: &TrainOverrides, has_batch_loss: bool) -> Result<Plan, String> {
        Plan::merge(overrides, &self.recipe, &self.architecture, has_batch_loss)
    }

    /// The ensemble that the needs ask for, trained after the task model; none where nobody looks at its predictions.
    fn train_members(
        &self,
        needs: &[Need],
        scope: ServiceScope<'_>,
        (synthetic, validation): (&[Synthetic], &[(SampleId, Label)]),
        task_is_plain: bool,
        progress: &dyn Progress,
    ) -> Result<Option<(Ensemble, EnsembleRecord)>, LearnError> {
        let counts = needs.iter().map(|need| match resolve(need, &self.architecture)? {
            Feature::Members(count) => Ok(Some(count)),
            _ => Ok(None),
        });
        let most = counts.collect::<Result<Vec<_>, LearnError>>()?.into_iter().flatten().max();
        let is_seen = scope.batch > 0 || self.ensemble.evaluate == Evaluate::Mean;
        let Some(count) = most.filter(|_| is_seen) else { return Ok(None) };
        let plan = self.plan(&TrainOverrides::default(), false).or_else(config)?.afresh();
        if self.ensemble.adversarial != Adversarial::None && self.recipe.mixup().is_some() {
            return config(
                "recipe.augment has `mixup`, and ensemble.adversarial needs one label an image; leave one out",
            );
        }
        let (images, config, seeds) = (&self.images, &self.ensemble, self.seeds);
        let pretrained = self.pretrained.as_ref();
        let training =
            Training { images, plan: &plan, config, scope, synthetic, validation, seeds, task_is_plain, pretrained };
        training.train(count, progress).map(Some)
    }

    fn predicting<'a>(&'a self, task: &'a Model) -> Predicting<'a> {
        Predicting { architecture: &self.architecture, images: &self.images, task, classes: self.classes }
    }

    fn model_or_error(&self) -> Result<&Model, LearnError> {
        match &self.fitted {
            Some(model) => Ok(model),
            None => config("no model is fitted yet"),
        }
    }
}

/// Says where the device was named.
fn in_config(error: LearnError) -> LearnError {
    LearnError::Config(format!("compute.device: {error}"))
}

impl Learner for TorchLearner {
    fn check_needs(&self, needs: &[Need]) -> Result<(), LearnError> {
        needs.iter().try_for_each(|need| resolve(need, &self.architecture).map(|_| ()))
    }

    fn check_untrained(&self, needs: &[Need]) -> Result<(), LearnError> {
        let is_ready = self.images.are_rows() || self.pretrained.as_ref().is_some_and(Model::is_fixed);
        let mut needs = needs.iter();
        let fails = |need: &&Need| match resolve(need, &self.architecture) {
            Ok(Feature::OfTheLoop) => false,
            Ok(Feature::Embeddings) => !is_ready,
            _ => true,
        };
        needs.find(fails).map_or(Ok(()), |need| Err(LearnError::untrained(need)))
    }

    /// Weights and batch-norm statistics start afresh each time unless the strategy's plan says otherwise. A labelled
    /// set of one sample is an error for a model with batch-norm.
    fn fit(&mut self, task: FitTask<'_>, progress: &dyn Progress) -> Result<Fitted, LearnError> {
        self.round = task.scope.round;
        self.embed_once(progress)?;
        // The old model goes first: a failed fit must not leave one that looks fresh.
        let before = self.fitted.take();
        self.previous = None;
        self.members = None;
        let kept = std::mem::take(&mut self.keep);
        let (needs, scope, is_plain) = (task.needs, task.scope, task.hooks.is_none());
        let sets = (task.synthetic, task.validation);
        let stood = std::mem::take(&mut self.stood);
        if scope.labelled.is_empty() && task.synthetic.is_empty() && is_plain {
            self.fitted = Some(self.untrained()?);
            return Ok(Fitted::default());
        }
        let (model, mut fitted, stood) = self.train(task, before.as_ref(), (kept, stood), progress)?;
        self.stood = stood;
        if let Some((members, record)) = self.train_members(needs, scope, sets, is_plain, progress)? {
            (self.members, fitted.ensemble) = (Some(members), Some(record));
        }
        self.fitted = Some(model);
        self.keep = fitted.overrides.keep_previous_model;
        // Kept through the query too, which may look at it as training did.
        self.previous = before.filter(|_| kept);
        Ok(fitted)
    }

    fn restore(&mut self, model: &[u8], overrides: &TrainOverrides) -> Result<(), LearnError> {
        let fitted = self.architecture.build(self.images.device())?;
        fitted.parameters().read_safetensors(model)?;
        (self.fitted, self.keep, self.previous) = (Some(fitted), overrides.keep_previous_model, None);
        Ok(())
    }

    fn optimiser(&self) -> Result<Option<Vec<u8>>, LearnError> {
        self.stood.to_file()
    }

    fn restore_optimiser(&mut self, state: Vec<u8>) {
        self.stood = Stood::InFile(state);
    }

    fn services<'a>(&'a self, scope: ServiceScope<'a>) -> Option<Box<dyn HostServices + 'a>> {
        let services = Services::of_query(self.base(scope)).with_previous(self.previous.as_ref());
        Some(match &self.fitted {
            Some(model) => Box::new(services.with_model(model)),
            None => Box::new(services),
        })
    }

    fn head(&self) -> Option<Arc<dyn Head>> {
        let model = self.fitted.as_ref()?;
        Some(Arc::new(AskedHead::of(model, self.images.device())))
    }

    fn logits(&mut self, samples: &[SampleId], progress: &dyn Progress) -> Result<Vec<f32>, LearnError> {
        self.embed_once(progress)?;
        let report = reporter(progress, Phase::Evaluate, samples.len());
        let model = self.model_or_error()?;
        Ok(predict(model, &self.images, samples, Wanted::LOGITS, &Scratch::memory(), report)?.logits.into_vec())
    }

    fn evaluated(&mut self, samples: &[SampleId], progress: &dyn Progress) -> Result<Vec<f32>, LearnError> {
        self.embed_once(progress)?;
        match &self.members {
            Some(members) if self.ensemble.evaluate == Evaluate::Mean => {
                let report = reporter(progress, Phase::Evaluate, samples.len() * members.len());
                members.mean_log_probs(self.predicting(self.model_or_error()?), samples, report)
            }
            _ => self.logits(samples, progress),
        }
    }

    fn features(
        &mut self,
        task: FeatureTask<'_>,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Array>, LearnError> {
        let FeatureTask { needs, pool, labelled, .. } = task;
        self.embed_once(progress)?;
        let scratch = match &self.scratch {
            Some((folder, limit)) => Scratch::new(folder, *limit),
            None => Scratch::memory(),
        };
        let model = self.model_or_error()?;
        let resolved = needs
            .iter()
            .map(|need| Ok((need, resolve(need, &self.architecture)?)))
            .collect::<Result<Vec<_>, LearnError>>()?;
        let sides = [wanted(&resolved, false), wanted(&resolved, true)];
        let count = |side: Wanted, samples: &[SampleId]| if side == Wanted::default() { 0 } else { samples.len() };
        let passes = resolved.iter().map(|(need, feature)| {
            let samples = task.samples(need).len();
            match feature {
                Feature::Draws(_) | Feature::GradNorm(_) | Feature::GradEmbeddings => samples,
                Feature::Members(count) => samples * count,
                Feature::Perturbed(noise) => samples * noise.copies,
                _ => 0,
            }
        });
        let total = count(sides[0], pool) + count(sides[1], labelled) + passes.sum::<usize>();
        let mut report = reporter(progress, Phase::Features, total);
        let mut rows = |side: Wanted, samples: &[SampleId]| {
            let samples = &samples[..count(side, samples)];
            predict(model, &self.images, samples, side, &scratch, &mut report)
        };
        let sides =
            [Shared::new(rows(sides[0], pool)?, pool.len()), Shared::new(rows(sides[1], labelled)?, labelled.len())];
        let mut arrays = BTreeMap::new();
        for (need, feature) in resolved {
            let side = &sides[usize::from(need.split_labelled().1)];
            let array = match feature {
                Feature::Logits => rows_array(side.samples, self.classes, &side.logits),
                Feature::Embeddings => rows_array(side.samples, model.width(), &side.embeddings),
                Feature::Penultimate => rows_array(side.samples, model.head().last_width(), &side.penultimate),
                Feature::HeadWeights => tensor_array(&linear_head(model)?.weight),
                Feature::HeadBiases => tensor_array(&linear_head(model)?.bias),
                Feature::Draws(draws) => {
                    let samples = task.samples(need);
                    let stream = self.seeds.model_stream(if draws.coherent { "coherent" } else { "draws" }, self.round);
                    let rows = log_probs(model, &self.images, samples, draws, stream, &scratch, &mut report)?;
                    Array::f32(vec![samples.len(), draws.count, self.classes], rows.into_buffer())
                        .doing("shaping an array")
                }
                Feature::Members(count) => {
                    let samples = task.samples(need);
                    let Some(members) = self.members.as_ref().filter(|members| members.len() >= count) else {
                        return config(format!("no ensemble of {count} members was trained in this round"));
                    };
                    let rows = members.log_probs(self.predicting(model), samples, count, &scratch, &mut report)?;
                    Array::f32(vec![samples.len(), count, self.classes], rows.into_buffer()).doing("shaping an array")
                }
                Feature::Perturbed(noise) => {
                    let samples = task.samples(need);
                    let stream = |copy: usize| self.seeds.model_stream(&format!("perturbed/{copy}"), self.round);
                    let with = self.predicting(model);
                    let rows = perturb::logits(with, samples, noise, stream, &scratch, &mut report)?;
                    Array::f32(vec![samples.len(), noise.copies, self.classes], rows.into_buffer())
                        .doing("shaping an array")
                }
                Feature::GradNorm(norms) => {
                    let samples = task.samples(need);
                    let norms = gradient::of_samples(model, &self.images, samples, norms, &mut report)?;
                    Array::f32(vec![samples.len()], norms).doing("shaping an array")
                }
                Feature::GradEmbeddings => {
                    let samples = task.samples(need);
                    let rows = gradient::at_embeddings(model, &self.images, samples, &scratch, &mut report)?;
                    Array::f32(vec![samples.len(), model.width()], rows.into_buffer()).doing("shaping an array")
                }
                Feature::OfTheLoop | Feature::Condition => continue,
            };
            arrays.insert(need.name().to_owned(), array?);
        }
        Ok(arrays)
    }

    fn model(&self) -> Result<Vec<u8>, LearnError> {
        self.model_or_error()?.parameters().to_safetensors()
    }

    fn backend(&self) -> String {
        let version = runtime::describe().version;
        let devices = std::iter::once(self.images.device()).chain(self.images.others().iter().copied());
        let device = devices.map(device::name).collect::<Vec<_>>().join(" ");
        let plural = if self.threads == 1 { "" } else { "s" };
        let precision = match self.architecture.precision() {
            Precision::Float32 => "",
            Precision::Tf32 => ", tf32",
            Precision::Bf16 => ", bf16",
        };
        format!("libtorch {version} {device}, {} thread{plural}{precision}", self.threads)
    }

    fn take_peak_memory(&mut self) -> Option<u64> {
        let devices = std::iter::once(&self.images.device()).chain(self.images.others()).copied().collect::<Vec<_>>();
        let of = |device| match device {
            Device::Cuda(index) => memory::take_peak(index).ok(),
            _ => None,
        };
        devices.into_iter().filter_map(of).max()
    }
}
