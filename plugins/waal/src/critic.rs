//! The critic, which learns how far the embeddings of unlabelled samples are from those of labelled ones.

use querist_sdk_torch::linear;
use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, OptimizerConfig};

/// Units of the hidden layer.
const HIDDEN: i64 = 50;

/// What the critic's number passes at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CriticOutput {
    /// Nothing, so that it can be as steep as the penalty lets it.
    Linear,
    /// A sigmoid.
    Sigmoid,
}

/// How the critic steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CriticOptimiser {
    /// Adam. Under a penalty it is the stable one.
    Adam,
    /// Stochastic gradient descent.
    Sgd,
}

/// What the critic is and how it learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What its number passes at last.
    pub output: CriticOutput,
    /// Share of hidden values dropped in training.
    pub dropout: f64,
    /// Weight of the gradient penalty.
    pub gp_weight: f64,
    /// How it steps.
    pub optimiser: CriticOptimiser,
    /// Learning rate.
    pub lr: f64,
    /// Momentum of SGD.
    pub momentum: f64,
}

/// A network of one hidden layer over embeddings.
pub struct Critic {
    settings: Settings,
    store: nn::VarStore,
    layers: [nn::Linear; 2],
    optimiser: nn::Optimizer,
}

impl Critic {
    /// With fresh weights, over embeddings of this width.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(settings: Settings, width: i64, device: Device) -> Result<Self> {
        let store = nn::VarStore::new(device);
        let root = store.root();
        let layers = [linear(&root / "hidden", width, HIDDEN), linear(&root / "output", HIDDEN, 1)];
        let Settings { momentum, lr, .. } = settings;
        let optimiser = match settings.optimiser {
            CriticOptimiser::Adam => nn::Adam::default().build(&store, lr)?,
            CriticOptimiser::Sgd => nn::Sgd { momentum, dampening: 0.0, wd: 0.0, nesterov: false }.build(&store, lr)?,
        };
        Ok(Self { settings, store, layers, optimiser })
    }

    /// Numbers that training changes.
    pub fn parameters(&self) -> usize {
        self.store.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// The critic's number of each embedding, `[n, width]` to `[n]`: higher for what looks unlabelled. `frozen` weights
    /// get no gradients.
    ///
    /// # Errors
    /// If the embeddings are of another width.
    pub fn judge(&self, embeddings: &Tensor, frozen: bool, train: bool) -> Result<Tensor> {
        let layer = |layer: &nn::Linear, x: &Tensor| -> Result<Tensor> {
            let hold = |weight: &Tensor| if frozen { weight.f_detach() } else { Ok(weight.shallow_clone()) };
            let bias = layer.bs.as_ref().map(hold).transpose()?;
            Ok(x.f_linear(&hold(&layer.ws)?, bias.as_ref())?)
        };
        let hidden = layer(&self.layers[0], embeddings)?.f_relu()?.f_dropout(self.settings.dropout, train)?;
        let number = layer(&self.layers[1], &hidden)?.f_squeeze_dim(1)?;
        Ok(match self.settings.output {
            CriticOutput::Linear => number,
            CriticOutput::Sigmoid => number.f_sigmoid()?,
        })
    }

    /// One step on embeddings of unlabelled and of labelled samples, which are held fixed. Returns distance and penalty
    /// before it, without reading them.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn step(&mut self, unlabelled: &Tensor, labelled: &Tensor, weight: f64) -> Result<[Tensor; 2]> {
        self.optimiser.zero_grad();
        let (unlabelled, labelled) = (unlabelled.f_detach()?, labelled.f_detach()?);
        let judge = |embeddings: &Tensor| self.judge(embeddings, false, true);
        let distance = distance(&judge(&unlabelled)?, &judge(&labelled)?, weight)?;
        let penalty = penalty(&judge, &points(&unlabelled, &labelled)?)?;
        distance.f_neg()?.f_add(&penalty.f_mul_scalar(self.settings.gp_weight)?)?.f_backward()?;
        self.optimiser.step();
        Ok([distance.f_detach()?, penalty.f_detach()?])
    }
}

/// `mean g(U) - weight mean g(L)`, of numbers `[n]` and `[m]`.
///
/// # Errors
/// If libtorch fails.
pub fn distance(unlabelled: &Tensor, labelled: &Tensor, weight: f64) -> Result<Tensor> {
    Ok(unlabelled.f_mean(None)?.f_sub(&labelled.f_mean(None)?.f_mul_scalar(weight)?)?)
}

/// Mean over `points` `[n, width]` of the squared difference from 1 of the norm of the critic's gradient there.
///
/// # Errors
/// If libtorch fails.
pub fn penalty(judge: &dyn Fn(&Tensor) -> Result<Tensor>, points: &Tensor) -> Result<Tensor> {
    let points = points.f_detach()?.set_requires_grad(true);
    let slope = grad(&judge(&points)?.f_sum(None)?, std::slice::from_ref(&points), true)?.remove(0);
    // The root of 0 has no slope, and a critic that is flat somewhere must not end in NaN.
    let norm = slope.f_square()?.f_sum_dim_intlist(1, false, None)?.f_add_scalar(1e-12)?.f_sqrt()?;
    Ok(norm.f_sub_scalar(1.0)?.f_square()?.f_mean(None)?)
}

/// Where the penalty looks: at both sets and, for as many as the smaller one has, somewhere between the two.
fn points(unlabelled: &Tensor, labelled: &Tensor) -> Result<Tensor> {
    let pairs = unlabelled.size()[0].min(labelled.size()[0]);
    let share = Tensor::f_rand([pairs, 1], (unlabelled.kind(), unlabelled.device()))?;
    let (from, to) = (labelled.f_narrow(0, 0, pairs)?, unlabelled.f_narrow(0, 0, pairs)?);
    let between = to.f_sub(&from)?.f_mul(&share)?.f_add(&from)?;
    Ok(Tensor::f_cat(&[&between, labelled, unlabelled], 0)?)
}
