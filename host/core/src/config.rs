//! Run and study files, and what they resolve to.
//!
//! The types are the schema: every field is documented, bounded and either required or defaulted, and unknown keys are
//! refused. Files are read elsewhere; here they only have a shape.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::Round;
use crate::seed::Seeds;

/// One run: one strategy, one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Version of this file format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// What is learned.
    pub dataset: DatasetConfig,
    /// The task model.
    #[serde(default)]
    pub model: ModelConfig,
    /// How it is trained.
    #[serde(default)]
    pub recipe: RecipeConfig,
    /// How an ensemble is trained, where the strategy needs one.
    #[serde(default)]
    pub ensemble: EnsembleConfig,
    /// Where fixed embeddings come from; the task model's own where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_embeddings: Option<FixedConfig>,
    /// How many labels are bought, and when.
    pub budget: BudgetConfig,
    /// Who chooses.
    pub strategy: StrategyConfig,
    /// Sources of randomness.
    #[serde(default)]
    pub seeds: Seeds,
    /// Where it is computed.
    #[serde(default)]
    pub compute: ComputeConfig,
    /// What a plugin may use.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What is kept beyond the records.
    #[serde(default)]
    pub keep: KeepConfig,
}

/// A grid of runs: every strategy with every seed, everything else alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StudyConfig {
    /// Version of this file format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// What is learned.
    pub dataset: DatasetConfig,
    /// The task model.
    #[serde(default)]
    pub model: ModelConfig,
    /// How it is trained.
    #[serde(default)]
    pub recipe: RecipeConfig,
    /// How an ensemble is trained, for the strategies that need one.
    #[serde(default)]
    pub ensemble: EnsembleConfig,
    /// Where fixed embeddings come from; the task model's own where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_embeddings: Option<FixedConfig>,
    /// How many labels are bought, and when.
    pub budget: BudgetConfig,
    /// The strategies to compare; two of one id need different labels.
    #[schemars(length(min = 1, max = 1000))]
    pub strategies: Vec<StrategyConfig>,
    /// Root seeds, distinct. Every strategy is run with each; all of one seed share split, initial set and weights.
    #[schemars(length(min = 1, max = 10000))]
    pub seeds: Vec<u64>,
    /// Where it is computed.
    #[serde(default)]
    pub compute: ComputeConfig,
    /// What a plugin may use.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What is kept beyond the records.
    #[serde(default)]
    pub keep: KeepConfig,
}

impl StudyConfig {
    /// The run of one strategy and one seed.
    pub fn run(&self, strategy: &StrategyConfig, seed: u64) -> RunConfig {
        RunConfig {
            version: self.version,
            dataset: self.dataset.clone(),
            model: self.model.clone(),
            recipe: self.recipe.clone(),
            ensemble: self.ensemble.clone(),
            fixed_embeddings: self.fixed_embeddings.clone(),
            budget: self.budget.clone(),
            strategy: strategy.clone(),
            seeds: Seeds::new(seed),
            compute: self.compute.clone(),
            limits: self.limits.clone(),
            keep: self.keep.clone(),
        }
    }
}

/// A dataset, by name or by place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// `digits` (built in), `mnist`, `fashion-mnist`, `emnist-balanced`, `emnist-letters`, `cifar10`, `cifar100`, or
    /// `folder` for images of your own in one folder a class.
    pub name: String,
    /// Folder or archive that holds it, relative to the working folder; the cache of `querist data fetch` where it is
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How folders of pictures are read; by their names where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<DatasetLayout>,
    /// Samples to hold out for validation, stratified by class; only for datasets without a validation set of their
    /// own. They are evaluated each round, and used for nothing else.
    #[serde(default)]
    pub validation: usize,
    /// Samples to hold out for the test, stratified by class; only for datasets without an official test set (`digits`,
    /// and `folder` without a test folder).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub test: Option<usize>,
    /// Side in pixels to which every image is resized; without it all images must be of one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 1024))]
    pub size: Option<u32>,
}

/// What folders of pictures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetLayout {
    /// Each folder is a class, whatever its name.
    Classes,
    /// Each folder is a split (training, validation or test, by its name), with a folder a class in it.
    Splits,
    /// As `splits`, and what is called validation is the test set.
    ValidationIsTest,
}

/// Network architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// Three convolutions and a 128-wide embedding, for small grey images.
    Cnn,
    /// Two 5x5 convolutions with dropout and a 50-wide embedding.
    Lenet,
    /// Two hidden layers on the raw pixels.
    Mlp,
    /// ResNet-18 with the 3x3 stem for 32-pixel images.
    Resnet18,
}

/// The task model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Architecture.
    pub name: ModelName,
    /// Probability that an input of the last linear layer is dropped while training: a value of the embedding, or of
    /// the head's hidden layer where it has one. The architecture's own default (lenet 0.5, others 0) where it is left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: Option<f64>,
    /// Units of a hidden layer between embedding and logits: the head is then linear, ReLU, dropout, linear. One linear
    /// layer where it is left out, which some strategies need.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub head_hidden: Option<u32>,
}

impl ModelConfig {
    /// The architecture with every option at its default.
    pub fn of(name: ModelName) -> Self {
        Self { name, dropout: None, head_hidden: None }
    }

    /// Probability that an input of the last linear layer is dropped, the architecture's own where none is set.
    pub fn dropout(&self) -> f64 {
        self.dropout.unwrap_or(if self.name == ModelName::Lenet { 0.5 } else { 0.0 })
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self::of(ModelName::Cnn)
    }
}

/// Recipes of published systems; a preset only sets defaults of the other fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// SGD 0.1, momentum 0.9, weight decay 5e-4, 200 epochs of minibatches of 128, a tenth of the rate from epoch 160,
    /// crops and flips.
    S0,
    /// As `s0`, 100 epochs, a tenth of the rate from epochs 80 and 120.
    S1,
    /// Adam 1e-4, weight decay 0, 50 epochs of minibatches of 50, a constant rate, no augmentation.
    S3,
    /// SGD 0.02 with Nesterov momentum 0.9, weight decay 5e-4, 100 epochs of minibatches of 256, half the rate from
    /// epochs 60 and 80, crops and flips.
    S4,
}

/// Optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Optimiser {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with betas 0.9 and 0.999.
    Adam,
}

/// How the learning rate changes after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The rate stays as it is.
    Constant,
    /// Times `gamma` at each of `milestones`.
    MultiStep,
    /// Half a cosine down to 0 at the last step.
    Cosine,
}

/// Random changes of training images, drawn anew in every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Pad by an eighth of the side (4 of 32) with zeros and cut out the original size anywhere.
    Crop,
    /// Mirror left and right with probability 1/2.
    Flip,
}

/// How the model is trained; every field is optional and falls back to the preset, then to the default in its text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecipeConfig {
    /// Published recipe that sets the defaults of this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Optimiser; default `sgd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimiser: Option<Optimiser>,
    /// Learning rate; default 0.05 for SGD, 0.001 for Adam. A preset's rate counts only with the preset's optimiser.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1e-8, max = 100.0))]
    pub lr: Option<f64>,
    /// Momentum of SGD; default 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.9999))]
    pub momentum: Option<f64>,
    /// Nesterov momentum; default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
    /// L2 penalty on every parameter; default 5e-4.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight_decay: Option<f64>,
    /// Schedule of the learning rate; default `constant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Epochs at whose start `multi-step` lowers the rate; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub milestones: Option<Vec<usize>>,
    /// Factor of `multi-step`; default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1e-6, max = 1.0))]
    pub gamma: Option<f64>,
    /// Epochs over which the rate rises linearly from 0; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<usize>,
    /// Passes over the labelled set; default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub epochs: Option<usize>,
    /// Samples in a minibatch; default 64. The last, short one is used too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub minibatch: Option<usize>,
    /// Random changes of training images; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2))]
    pub augment: Option<Vec<Augmentation>>,
}

/// A recipe with nothing left open.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `RecipeConfig`")]
pub struct Recipe {
    pub optimiser: Optimiser,
    pub lr: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
    pub schedule: Schedule,
    pub milestones: Vec<usize>,
    pub gamma: f64,
    pub warmup: usize,
    pub epochs: usize,
    pub minibatch: usize,
    pub augment: Vec<Augmentation>,
}

impl RecipeConfig {
    /// Fills what is left open: own fields, then the preset's, then the defaults.
    pub fn resolve(&self) -> Recipe {
        let preset = self.preset.map(Preset::recipe).unwrap_or_default();
        let optimiser = self.optimiser.or(preset.optimiser).unwrap_or(Optimiser::Sgd);
        let default_lr = if optimiser == Optimiser::Sgd { 0.05 } else { 1e-3 };
        // A preset's rate belongs to its optimiser.
        let preset_lr = preset.lr.filter(|_| preset.optimiser == Some(optimiser));
        Recipe {
            optimiser,
            lr: self.lr.or(preset_lr).unwrap_or(default_lr),
            momentum: self.momentum.or(preset.momentum).unwrap_or(0.9),
            nesterov: self.nesterov.or(preset.nesterov).unwrap_or(false),
            weight_decay: self.weight_decay.or(preset.weight_decay).unwrap_or(5e-4),
            schedule: self.schedule.or(preset.schedule).unwrap_or(Schedule::Constant),
            milestones: self.milestones.clone().or(preset.milestones).unwrap_or_default(),
            gamma: self.gamma.or(preset.gamma).unwrap_or(0.1),
            warmup: self.warmup.unwrap_or(0),
            epochs: self.epochs.or(preset.epochs).unwrap_or(30),
            minibatch: self.minibatch.or(preset.minibatch).unwrap_or(64),
            augment: self.augment.clone().or(preset.augment).unwrap_or_default(),
        }
    }
}

impl Recipe {
    /// The recipe with every field written out.
    pub fn into_config(self) -> RecipeConfig {
        RecipeConfig {
            preset: None,
            optimiser: Some(self.optimiser),
            lr: Some(self.lr),
            momentum: Some(self.momentum),
            nesterov: Some(self.nesterov),
            weight_decay: Some(self.weight_decay),
            schedule: Some(self.schedule),
            milestones: Some(self.milestones),
            gamma: Some(self.gamma),
            warmup: Some(self.warmup),
            epochs: Some(self.epochs),
            minibatch: Some(self.minibatch),
            augment: Some(self.augment),
        }
    }
}

impl Preset {
    fn recipe(self) -> RecipeConfig {
        let sgd = RecipeConfig {
            optimiser: Some(Optimiser::Sgd),
            momentum: Some(0.9),
            weight_decay: Some(5e-4),
            schedule: Some(Schedule::MultiStep),
            augment: Some(vec![Augmentation::Crop, Augmentation::Flip]),
            ..RecipeConfig::default()
        };
        let steps = |lr, epochs, minibatch, milestones: &[usize], gamma| RecipeConfig {
            lr: Some(lr),
            epochs: Some(epochs),
            minibatch: Some(minibatch),
            milestones: Some(milestones.to_vec()),
            gamma: Some(gamma),
            ..sgd.clone()
        };
        match self {
            Self::S0 => steps(0.1, 200, 128, &[160], 0.1),
            Self::S1 => steps(0.1, 100, 128, &[80, 120], 0.1),
            Self::S3 => RecipeConfig {
                optimiser: Some(Optimiser::Adam),
                lr: Some(1e-4),
                weight_decay: Some(0.0),
                epochs: Some(50),
                minibatch: Some(50),
                ..RecipeConfig::default()
            },
            Self::S4 => RecipeConfig { nesterov: Some(true), ..steps(0.02, 100, 256, &[60, 80], 0.5) },
        }
    }
}

/// Embeddings that do not change from round to round, for strategies that want them (`typiclust`, `probcover`, ...).
/// Files are read from the working folder; their SHA-256 is in the header, and a run goes on only with the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FixedConfig {
    /// A file of arrays.
    File(FixedFile),
    /// A model that is not trained any more.
    Frozen(FrozenModel),
}

/// A file of embeddings, one row a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedFile {
    /// `.npy`, `.npz` (`FILE#MEMBER`) or `.safetensors` (`FILE#TENSOR`), `[rows, width]`, finite.
    pub file: String,
    /// File of the sample id of each row; every sample of the pool has one. Without it row i is of sample i, as
    /// `querist data files` lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<String>,
}

/// A model file whose embeddings of all samples are taken once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrozenModel {
    /// A `model.safetensors` that a run has kept. Its head may be of other classes.
    pub model: String,
    /// Its architecture.
    pub name: ModelName,
}

/// Held-out samples that a strategy may aim at. It sees predictions on their images, never their labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSet {
    /// The validation set.
    Validation,
    /// The test set.
    Test,
}

/// What the members of an ensemble learn beside the cross-entropy of their minibatch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Adversarial {
    /// Nothing.
    #[default]
    None,
    /// The cross-entropy of the same images, each pixel moved by `fgsm_eps` in the direction that raises it.
    Fgsm,
    /// Predictions that stay the same under the worst small change of *unlabelled* images of the pool (virtual
    /// adversarial training).
    Vat,
}

/// Whose predictions are evaluated in a run that trains an ensemble.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluate {
    /// The mean of the members' class probabilities.
    #[default]
    Mean,
    /// Those of the task model, which is trained without adversarial images.
    Task,
}

/// How members are trained where a strategy needs an ensemble (`ensemble-*`); without one this table does nothing. How
/// many members there are is the strategy's parameter `members`.
///
/// Each is trained by the recipe on the same labels, from weights and in an order of its own. The first is the task
/// model itself, unless adversarial images take part. Members wait in main memory; one at a time is on the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnsembleConfig {
    /// What members learn beside the cross-entropy of their minibatch; recorded, and shown in reports.
    pub adversarial: Adversarial,
    /// Change of a pixel under `fgsm`, as a share of the range of its channel.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fgsm_eps: f64,
    /// Length of the change of an image under `vat`, in normalised pixels.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub vat_eps: f64,
    /// Length of the trial change from which `vat` finds the worst direction.
    #[schemars(range(min = 1e-9, max = 10.0))]
    pub vat_xi: f64,
    /// Trials of `vat`: steps of the power iteration.
    #[schemars(range(min = 1, max = 100))]
    pub vat_iters: u32,
    /// Whose figures a round records.
    pub evaluate: Evaluate,
}

impl Default for EnsembleConfig {
    fn default() -> Self {
        Self {
            adversarial: Adversarial::None,
            fgsm_eps: 0.01,
            vat_eps: 2.5,
            vat_xi: 1e-6,
            vat_iters: 1,
            evaluate: Evaluate::Mean,
        }
    }
}

/// How many samples a query selects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Batch {
    /// The same number every round, such as `20`.
    Samples(#[schemars(range(min = 1))] usize),
    /// One number a round, such as `[20, 20, 40]`.
    List(#[schemars(length(min = 1, max = 100000))] Vec<usize>),
    /// The labelled set's size after each round, such as `{ totals = [100, 200] }`.
    Totals(Totals),
    /// A share of the pool at the start, such as `"5%"`, every round.
    Share(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?%$"), extend("examples" = ["5%"]))] String),
}

/// Sizes of the labelled set after each round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Ascending sizes, each above the one before.
    #[schemars(length(min = 1, max = 100000))]
    pub totals: Vec<usize>,
}

/// How many labels are bought, and when. The model is trained and evaluated once more after the last query: `rounds =
/// 8` gives rounds 0 to 8. Initial set and batches must fit into the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Samples labelled before the first round.
    #[schemars(range(min = 1))]
    pub initial: usize,
    /// Whether the initial set holds as many samples of each class as of any other.
    #[serde(default)]
    pub per_class: bool,
    /// Samples selected in a round: a number, a list of numbers, `{ totals = [...] }` or a share such as `"5%"`.
    pub batch: Batch,
    /// Number of queries; may be left out where `batch` is a list or totals, whose length it then is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub rounds: Option<usize>,
}

/// The batches of a run, with nothing left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    initial: usize,
    batches: Vec<usize>,
}

impl Plan {
    /// Samples labelled before the first round.
    pub fn initial(&self) -> usize {
        self.initial
    }

    /// Number of queries. The model is trained and evaluated once more after the last.
    pub fn rounds(&self) -> usize {
        self.batches.len()
    }

    /// Samples to ask for in a round; `None` in the last, which only evaluates.
    pub fn batch(&self, round: Round) -> Option<usize> {
        self.batches.get(round.index()).copied()
    }

    /// Labels bought in all.
    pub fn total(&self) -> usize {
        self.initial + self.batches.iter().sum::<usize>()
    }
}

impl BudgetConfig {
    /// The batches for a pool of `pool` samples, initial set included.
    ///
    /// # Errors
    /// If the budget is contradictory or does not fit the pool.
    pub fn plan(&self, pool: usize) -> Result<Plan, BudgetError> {
        let error = |message: String| Err(BudgetError(message));
        let batches = match (&self.batch, self.rounds) {
            (Batch::Samples(n), Some(rounds)) => vec![*n; rounds],
            (Batch::Share(share), Some(rounds)) => {
                let percent: f64 = share.trim_end_matches('%').parse().map_err(|_| BudgetError(share.clone()))?;
                if percent <= 0.0 {
                    return error(format!("a share of `{share}` asks for nothing"));
                }
                vec![((percent / 100.0 * pool as f64).round() as usize).max(1); rounds]
            }
            (Batch::Samples(_) | Batch::Share(_), None) => {
                return error("`rounds` is missing; only a list of batches can do without it".to_owned());
            }
            (Batch::List(list), rounds) => check_rounds(list.clone(), rounds)?,
            (Batch::Totals(Totals { totals }), rounds) => {
                let mut before = self.initial;
                let mut batches = Vec::with_capacity(totals.len());
                for &total in totals {
                    if total <= before {
                        return error(format!("total {total} follows {before}; totals must grow from `initial` on"));
                    }
                    batches.push(total - before);
                    before = total;
                }
                check_rounds(batches, rounds)?
            }
        };
        if batches.contains(&0) {
            return error("a batch of 0 samples asks for nothing".to_owned());
        }
        let total = batches.iter().try_fold(self.initial, |sum, &n| sum.checked_add(n));
        match total {
            Some(total) if total <= pool => Ok(Plan { initial: self.initial, batches }),
            _ => error(format!(
                "initial set and batches add up to {}, but the pool holds {pool} samples",
                total.map_or("too many".to_owned(), |total| total.to_string())
            )),
        }
    }
}

fn check_rounds(batches: Vec<usize>, rounds: Option<usize>) -> Result<Vec<usize>, BudgetError> {
    match rounds {
        Some(rounds) if rounds != batches.len() => {
            Err(BudgetError(format!("`rounds` is {rounds}, but `batch` lists {} rounds", batches.len())))
        }
        _ => Ok(batches),
    }
}

/// A budget that makes no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("budget: {0}")]
pub struct BudgetError(pub String);

/// A strategy with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrategyConfig {
    /// Id of the strategy, `package/strategy` where several packages have it, or another name of it.
    pub id: String,
    /// Its parameters; `querist plugin show ID` lists them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, Value>,
    /// Name in tables and folders: letters, digits, `.`, `_`, `-`; 64 at most. The id where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub label: Option<String>,
    /// Samples that a query may choose from, drawn at random from the pool for each query; at least the largest batch.
    /// The whole pool where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub subset_size: Option<usize>,
    /// Held-out samples whose images the strategy aims at, where it wants such a set (`epig` with `target =
    /// "provided"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSet>,
}

impl StrategyConfig {
    /// Name in tables and folders.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(self.id.rsplit('/').next().unwrap_or(&self.id))
    }
}

/// Where it is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComputeConfig {
    /// `cpu` or `cuda:N`, of training, arrays and the bounds of kernels; `--device` replaces it.
    #[schemars(regex(pattern = r"^(cpu|cuda:[0-9]{1,3})$"))]
    pub device: String,
    /// Numbers in which the body of a model computes. Weights, updates, the head and the loss are single precision with
    /// all, and each gives the same numbers every time; part of a result's identity.
    pub precision: Precision,
    /// Threads of training and kernels; part of a result's identity, so a run that is gone on with keeps what it began
    /// with. Left out: all cores that affinity and control group leave to the program, which the runs of a study share,
    /// `cores / jobs` each. More threads than cores are a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Main memory that the arrays of a query may take. What is beyond lies in files of the run folder that have no
    /// name and go with the round.
    pub memory: Bytes,
}

/// Numbers in which the body of a model computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision throughout: 24 bits a number.
    #[default]
    Float32,
    /// Convolutions on a GPU round their factors to 11 bits. It is PyTorch's own default, and several times as fast on
    /// cards with units for it.
    Tf32,
    /// Convolutions and products of 8 bits a number, in half the memory.
    Bf16,
}

impl ComputeConfig {
    /// Threads of training and kernels.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }
}

/// Cores that this process may use, as its affinity and control group say.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Default for ComputeConfig {
    fn default() -> Self {
        Self { device: "cpu".to_owned(), precision: Precision::Float32, threads: None, memory: Bytes(8 << 30) }
    }
}

/// What a sandboxed plugin may use in one query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Linear memory of the plugin, and again as much for host objects made for it.
    pub memory: Bytes,
    /// Wall-clock seconds.
    #[schemars(range(min = 0.01, max = 1e7))]
    pub seconds: f64,
    /// WebAssembly fuel; no limit where it is left out. It is counted and recorded in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub fuel: Option<u64>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { memory: Bytes(512 << 20), seconds: 3600.0, fuel: None }
    }
}

/// Which rounds keep something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeepRounds {
    /// No round.
    None,
    /// Only the newest.
    Last,
    /// Every round.
    All,
}

/// What is kept beyond the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepConfig {
    /// Rounds whose fitted models are kept, as safetensors. For a strategy that takes part in training `none` means
    /// `last`: a run goes on from it.
    pub model: KeepRounds,
    /// Rounds whose arrays, as the strategy saw them, are kept as safetensors.
    pub features: KeepRounds,
    /// Whether training curves are kept.
    pub epochs: bool,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self { model: KeepRounds::Last, features: KeepRounds::None, epochs: true }
    }
}

/// A number of bytes, written as `"512MiB"` or `"8GiB"`; without a unit it counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A number of bytes, such as \"512MiB\" or \"8GiB\".",
            "pattern": "^[0-9]{1,15}(B|KiB|MiB|GiB|TiB)?$",
        })
    }
}

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&(_, shift): &(&str, u32)| self.0.is_multiple_of(1 << shift) && self.0 >= 1 << shift;
        let (unit, shift) = UNITS.into_iter().find(fits).unwrap_or(("B", 0));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(text: &str) -> Result<Self, BytesError> {
        let fail = || BytesError(text.chars().take(40).collect());
        let (digits, shift) = UNITS
            .iter()
            .find_map(|&(unit, shift)| text.strip_suffix(unit).map(|digits| (digits, shift)))
            .unwrap_or((text, 0));
        let number: u64 = digits.trim().parse().map_err(|_| fail())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(fail)
    }
}

impl TryFrom<String> for Bytes {
    type Error = BytesError;

    fn try_from(text: String) -> Result<Self, BytesError> {
        text.parse()
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

/// Text that is no number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size; write a whole number with B, KiB, MiB, GiB or TiB, such as \"512MiB\"")]
pub struct BytesError(String);

impl RunConfig {
    /// The same run with every default written out, so that a later release reads it the same way.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        self.recipe = self.recipe.resolve().into_config();
        self.model.dropout = Some(self.model.dropout());
        self.strategy.label = Some(self.strategy.label().to_owned());
        self
    }
}

/// The JSON Schemas of the files, by name.
pub fn schemas() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("run", schemars::schema_for!(RunConfig).to_value()),
        ("study", schemars::schema_for!(StudyConfig).to_value()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(batch: Batch, rounds: Option<usize>) -> BudgetConfig {
        BudgetConfig { initial: 20, per_class: false, batch, rounds }
    }

    #[test]
    fn batches_of_every_form() {
        let batches = |batch, rounds| budget(batch, rounds).plan(1000).map(|plan| plan.batches);
        assert_eq!(batches(Batch::Samples(10), Some(3)), Ok(vec![10; 3]));
        assert_eq!(batches(Batch::List(vec![5, 7]), None), Ok(vec![5, 7]));
        assert_eq!(batches(Batch::Totals(Totals { totals: vec![50, 100] }), None), Ok(vec![30, 50]));
        assert_eq!(batches(Batch::Share("5%".to_owned()), Some(2)), Ok(vec![50; 2]));
        for (batch, rounds) in [
            (Batch::Samples(10), None),
            (Batch::Samples(500), Some(2)),
            (Batch::List(vec![5, 0]), None),
            (Batch::List(vec![5]), Some(2)),
            (Batch::Totals(Totals { totals: vec![20] }), None),
        ] {
            assert!(batches(batch, rounds).is_err());
        }
    }

    #[test]
    fn sizes_survive_their_text_form() {
        for (text, bytes) in [("512MiB", 512 << 20), ("8GiB", 8 << 30), ("1000B", 1000)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!("1000".parse(), Ok(Bytes(1000)));
        for text in ["", "MiB", "1.5GiB", "-1B", "99999999TiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_preset_sets_defaults_only() {
        let recipe = RecipeConfig { preset: Some(Preset::S4), epochs: Some(3), ..RecipeConfig::default() }.resolve();
        assert_eq!((recipe.lr, recipe.nesterov, recipe.epochs, recipe.gamma), (0.02, true, 3, 0.5));
        assert_eq!(recipe.clone().into_config().resolve(), recipe);
        let other = RecipeConfig { preset: Some(Preset::S4), optimiser: Some(Optimiser::Adam), ..Default::default() };
        assert_eq!(other.resolve().lr, 1e-3, "a preset's rate belongs to its optimiser");
    }
}
