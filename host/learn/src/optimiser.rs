//! SGD and Adam, with their state in our hands.

use std::collections::BTreeMap;

use querist_core::LearnError;
use querist_core::config::{Optimiser as Kind, Recipe, Trained};
use querist_torchx::TorchError;
use querist_torchx::optimiser::{
    Adam, AdamState, Sgd, adam_step, clamp_gradients, clear_gradients, clip_gradients, sgd_step,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Kind as TensorKind, TchError, Tensor};

use crate::fault::{Doing, config};
use crate::parameters::{Parameters, is_head, shape, values};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

const DOING: &str = "keeping the optimiser's state";

/// Weights that are changed alike.
pub(crate) struct Group {
    weights: Vec<Tensor>,
    /// Their rate as a multiple of the schedule's.
    factor: f64,
    weight_decay: f64,
}

/// The weights that a recipe trains, in groups; one group, in the order of the layers, where nothing tells them apart.
pub(crate) fn groups(recipe: &Recipe, parameters: &Parameters) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for ((name, _), weight) in parameters.named().zip(parameters.weights()) {
        let is_head = is_head(name);
        if recipe.train == Trained::Head && !is_head {
            continue;
        }
        let factor = recipe.head_lr.filter(|_| is_head).map_or(1.0, |rate| rate / recipe.lr);
        let decays = recipe.decay_norm_bias || weight.dim() > 1;
        let weight_decay = if decays { recipe.weight_decay } else { 0.0 };
        let weight = weight.shallow_clone();
        match groups.iter_mut().find(|group| group.factor == factor && group.weight_decay == weight_decay) {
            Some(group) => group.weights.push(weight),
            None => groups.push(Group { weights: vec![weight], factor, weight_decay }),
        }
    }
    groups
}

/// An optimiser over groups of weights.
pub(crate) struct Optimiser {
    momentum: f64,
    nesterov: bool,
    decoupled: bool,
    clamp: Option<f64>,
    clip: Option<f64>,
    groups: Vec<(Group, State)>,
    /// All weights that are trained.
    weights: Vec<Tensor>,
}

/// Where an optimiser stands that goes on in the next round.
#[derive(Default)]
pub(crate) enum Stood {
    /// None does.
    #[default]
    Nowhere,
    /// Here.
    At(Optimiser),
    /// As its file says.
    InFile(Vec<u8>),
}

impl Stood {
    /// As a file; `None` where none goes on.
    pub(crate) fn to_file(&self) -> Result<Option<Vec<u8>>, LearnError> {
        match self {
            Self::Nowhere => Ok(None),
            Self::At(optimiser) => optimiser.to_safetensors().map(Some),
            Self::InFile(file) => Ok(Some(file.clone())),
        }
    }
}

/// What is carried from step to step, one tensor a weight in each list.
enum State {
    /// Running directions; without momentum there are none.
    Sgd { momenta: Vec<Tensor>, first: bool },
    /// Running means of gradients and of their squares, and the steps taken.
    Adam { means: Vec<Tensor>, squares: Vec<Tensor>, steps: Vec<Tensor> },
}

impl State {
    fn new(recipe: &Recipe, weights: &[Tensor]) -> Result<Self, TchError> {
        let zeros = || weights.iter().map(Tensor::f_zeros_like).collect::<Result<Vec<_>, _>>();
        Ok(match recipe.optimiser {
            Kind::Sgd if recipe.momentum == 0.0 => Self::Sgd { momenta: Vec::new(), first: true },
            Kind::Sgd => Self::Sgd { momenta: zeros()?, first: true },
            Kind::Adam | Kind::Adamw => {
                let count = |w: &Tensor| Tensor::f_zeros([], (TensorKind::Float, w.device()));
                let steps = weights.iter().map(count).collect::<Result<_, _>>()?;
                Self::Adam { means: zeros()?, squares: zeros()?, steps }
            }
        })
    }

    /// Its tensors by the names of their lists.
    fn lists(&self) -> Vec<(&'static str, &[Tensor])> {
        match self {
            Self::Sgd { momenta, .. } => vec![("momentum", momenta)],
            Self::Adam { means, squares, steps } => vec![("mean", means), ("square", squares), ("steps", steps)],
        }
    }
}

impl Optimiser {
    /// An optimiser that has not taken a step.
    pub(crate) fn new(recipe: &Recipe, groups: Vec<Group>) -> Result<Self, TchError> {
        let _no_grad = tch::no_grad_guard();
        let weights = groups.iter().flat_map(|group| &group.weights).map(Tensor::shallow_clone).collect();
        let with_state = |group: Group| State::new(recipe, &group.weights).map(|state| (group, state));
        let Recipe { momentum, nesterov, clamp_gradient, clip_norm, .. } = *recipe;
        Ok(Self {
            momentum,
            nesterov,
            decoupled: recipe.optimiser == Kind::Adamw,
            clamp: clamp_gradient,
            clip: clip_norm,
            groups: groups.into_iter().map(with_state).collect::<Result<_, _>>()?,
            weights,
        })
    }

    /// The same, standing where another stood, which was over weights of the same shapes.
    pub(crate) fn standing_at(mut self, stood: Stood) -> Result<Self, LearnError> {
        match stood {
            Stood::Nowhere => {}
            Stood::InFile(file) => self.read_safetensors(&file)?,
            Stood::At(before) => {
                for ((_, state), (_, stood)) in self.groups.iter_mut().zip(before.groups) {
                    *state = stood;
                }
            }
        }
        Ok(self)
    }

    /// Changes the weights by their gradients, at learning rate `lr`, and forgets the gradients.
    pub(crate) fn step(&mut self, lr: f64) -> Result<(), TorchError> {
        if let Some(bound) = self.clamp {
            clamp_gradients(&self.weights, bound)?;
        }
        if let Some(bound) = self.clip {
            clip_gradients(&self.weights, bound)?;
        }
        for (Group { weights, factor, weight_decay }, state) in &mut self.groups {
            let (lr, weight_decay) = (lr * *factor, *weight_decay);
            match state {
                State::Sgd { momenta, first } => {
                    let settings = Sgd { lr, momentum: self.momentum, weight_decay, nesterov: self.nesterov };
                    sgd_step(weights, momenta, *first, &settings)?;
                    *first = false;
                }
                State::Adam { means, squares, steps } => {
                    let decoupled = self.decoupled;
                    let settings = Adam { lr, beta1: BETA1, beta2: BETA2, eps: EPS, weight_decay, decoupled };
                    adam_step(weights, &AdamState { means, squares, steps }, &settings)?;
                }
            }
        }
        clear_gradients(&self.weights)
    }

    /// Its state as a safetensors file.
    pub(crate) fn to_safetensors(&self) -> Result<Vec<u8>, LearnError> {
        let mut bytes: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for (name, tensor) in self.named() {
            let floats = values(&tensor.f_contiguous().doing(DOING)?)?;
            bytes.insert(name, (shape(tensor), floats.iter().flat_map(|value| value.to_le_bytes()).collect()));
        }
        let views = bytes.iter().map(|(name, (shape, bytes))| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view)).doing(DOING)
        });
        safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, None).doing(DOING)
    }

    /// Takes the state of such a file, of an optimiser over the same weights that has taken steps.
    pub(crate) fn read_safetensors(&mut self, bytes: &[u8]) -> Result<(), LearnError> {
        let _no_grad = tch::no_grad_guard();
        let file = SafeTensors::deserialize(bytes).doing("reading the optimiser's state")?;
        let named = self.named().map(|(name, tensor)| (name, tensor.shallow_clone())).collect::<Vec<_>>();
        if file.len() != named.len() {
            let (found, expected) = (file.len(), named.len());
            return config(format!(
                "an optimiser's state of {found} tensors, expected {expected}: it is of another one"
            ));
        }
        for (name, mut tensor) in named {
            let view = file.tensor(&name).doing("reading the optimiser's state")?;
            if view.dtype() != Dtype::F32 || view.shape() != shape(&tensor) {
                let (found, expected) = (view.shape(), shape(&tensor));
                return config(format!("an optimiser's `{name}` is {found:?}, expected {expected:?} of F32"));
            }
            let floats = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let floats = Tensor::f_from_slice(&floats.collect::<Vec<f32>>());
            let floats = floats.and_then(|floats| floats.f_view(tensor.size().as_slice()));
            floats.and_then(|floats| tensor.f_copy_(&floats)).doing("reading the optimiser's state")?;
        }
        for (_, state) in &mut self.groups {
            if let State::Sgd { first, .. } = state {
                *first = false;
            }
        }
        Ok(())
    }

    fn named(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.groups.iter().enumerate().flat_map(|(group, (_, state))| {
            state.lists().into_iter().flat_map(move |(list, tensors)| {
                tensors.iter().enumerate().map(move |(at, tensor)| (format!("{group}.{at}.{list}"), tensor))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName};
    use tch::Device;
    use tch::nn::{self, OptimizerConfig};

    use super::*;
    use crate::model::{Architecture, ImageShape, Model};

    /// A loss with curvature that differs by weight and never vanishes.
    fn loss(weights: &[Tensor]) -> Tensor {
        (&weights[0] * &weights[0] * 3.0).sum(TensorKind::Float)
            + (&weights[1] - 1.0).pow_tensor_scalar(4).sum(TensorKind::Float)
            + weights[0].sum(TensorKind::Float) * weights[1].sum(TensorKind::Float)
    }

    fn over(recipe: &Recipe, weights: &[Tensor]) -> Optimiser {
        let weights = weights.iter().map(Tensor::shallow_clone).collect();
        Optimiser::new(recipe, vec![Group { weights, factor: 1.0, weight_decay: recipe.weight_decay }]).unwrap()
    }

    /// Runs both side by side from the same weights and compares after every step.
    fn compare(recipe: Recipe, peer: impl OptimizerConfig) {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(5).unwrap();
        let store = nn::VarStore::new(Device::Cpu);
        let theirs = [store.root().randn("a", &[7, 5], 0.0, 1.0), store.root().randn("b", &[3], 0.0, 1.0)];
        let ours = theirs.each_ref().map(|t| t.detach().copy().set_requires_grad(true));
        let mut peer = peer.build(&store, 1.0).unwrap();
        let mut optimiser = over(&recipe, &ours);
        for lr in [0.01, 0.01, 0.02, 0.005, 0.01] {
            peer.set_lr(lr);
            peer.backward_step(&loss(&theirs));
            loss(&ours).backward();
            optimiser.step(lr).unwrap();
            assert!(!ours[0].grad().defined(), "the gradient must be gone");
            for (our, their) in ours.iter().zip(&theirs) {
                for (a, b) in values(our).unwrap().into_iter().zip(values(&their.detach()).unwrap()) {
                    assert!((a - b).abs() <= 2e-6 * b.abs().max(1.0), "{a} {b} at rate {lr}");
                }
            }
        }
    }

    fn sgd(momentum: f64, nesterov: bool) -> Recipe {
        Recipe { optimiser: Kind::Sgd, momentum, nesterov, weight_decay: 0.1, ..Recipe::default() }
    }

    #[test]
    fn sgd_steps_as_libtorch_does() {
        for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
            compare(sgd(momentum, nesterov), nn::Sgd { momentum, dampening: 0.0, wd: 0.1, nesterov });
        }
    }

    #[test]
    fn adam_steps_as_libtorch_does() {
        let recipe = Recipe { optimiser: Kind::Adam, weight_decay: 0.1, ..Recipe::default() };
        compare(recipe, nn::Adam { beta1: BETA1, beta2: BETA2, wd: 0.1, eps: EPS, amsgrad: false });
        let recipe = Recipe { optimiser: Kind::Adamw, weight_decay: 0.1, ..Recipe::default() };
        compare(recipe, nn::AdamW { beta1: BETA1, beta2: BETA2, wd: 0.1, eps: EPS, amsgrad: false });
    }

    /// By hand: gradient 2, weight 1, decay 0.5, rate 0.1, momentum 0.5.
    #[test]
    fn two_steps_of_momentum_by_hand() {
        querist_torchx::runtime::set_threads(1).unwrap();
        let weight = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
        let recipe = Recipe { weight_decay: 0.5, ..sgd(0.5, false) };
        let mut optimiser = over(&recipe, std::slice::from_ref(&weight));
        // d = 2 + 0.5, v = 2.5, weight 0.75; then d = 2.375, v = 3.625, weight 0.3875.
        for expected in [0.75, 0.3875f32] {
            (&weight * 2.0).sum(TensorKind::Float).backward();
            optimiser.step(0.1).unwrap();
            assert!((values(&weight).unwrap()[0] - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_missing_gradient_is_an_error() {
        let weight = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
        let mut optimiser = over(&sgd(0.9, false), std::slice::from_ref(&weight));
        let error = optimiser.step(0.1).unwrap_err().to_string();
        assert!(error.contains("parameter 0 has no gradient"), "{error}");
    }

    /// Gradients 3 and -4 in two tensors: clamped to 0.1 each, or shortened from length 5 to 1.
    #[test]
    fn gradients_are_bounded_by_element_and_by_length() {
        querist_torchx::runtime::set_threads(1).unwrap();
        let plain = Recipe { weight_decay: 0.0, ..sgd(0.0, false) };
        for (recipe, expected) in [
            (Recipe { clamp_gradient: Some(0.1), ..plain.clone() }, [-0.1f32, 0.1]),
            (Recipe { clip_norm: Some(1.0), ..plain.clone() }, [-0.6, 0.8]),
            (Recipe { clip_norm: Some(10.0), ..plain.clone() }, [-3.0, 4.0]),
        ] {
            let weights = [0, 1].map(|_| Tensor::from_slice(&[0.0f32]).set_requires_grad(true));
            let mut optimiser = over(&recipe, &weights);
            (&weights[0] * 3.0 - &weights[1] * 4.0).sum(TensorKind::Float).backward();
            optimiser.step(1.0).unwrap();
            for (weight, expected) in weights.iter().zip(expected) {
                let found = values(weight).unwrap()[0];
                assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
            }
        }
    }

    fn model() -> Model {
        querist_torchx::runtime::set_threads(1).unwrap();
        let shape = ImageShape { channels: 1, height: 8, width: 8 };
        let options = ModelConfig::of(ModelName::Resnet18);
        Architecture::new(&options, shape, 3).unwrap().build(Device::Cpu).unwrap()
    }

    #[test]
    fn groups_tell_heads_and_norms_apart() {
        let model = model();
        let of = |recipe: Recipe| groups(&recipe, model.parameters());
        let all = model.parameters().weights().len();
        let base = Recipe { lr: 0.1, weight_decay: 0.5, ..Recipe::default() };
        let one = of(base.clone());
        assert_eq!((one.len(), one[0].weights.len(), one[0].factor, one[0].weight_decay), (1, all, 1.0, 0.5));
        // 20 convolutions, and the weight and bias of the head; the rest is scales and shifts.
        let spared = of(Recipe { decay_norm_bias: false, ..base.clone() });
        let sizes = |groups: &[Group]| groups.iter().map(|g| (g.weights.len(), g.weight_decay)).collect::<Vec<_>>();
        assert_eq!(sizes(&spared), [(21, 0.5), (all - 21, 0.0)]);
        let faster = of(Recipe { head_lr: Some(1.0), ..base.clone() });
        assert_eq!(sizes(&faster), [(all - 2, 0.5), (2, 0.5)]);
        assert_eq!(faster[1].factor, 10.0);
        let head = of(Recipe { train: Trained::Head, ..base });
        assert_eq!(sizes(&head), [(2, 0.5)]);
    }

    /// Four steps in one go are two, a file, and two.
    #[test]
    fn state_goes_on_through_a_file() {
        querist_torchx::runtime::set_threads(1).unwrap();
        for recipe in [sgd(0.9, true), Recipe { optimiser: Kind::Adam, ..Recipe::default() }] {
            let start = || [2.0f32, -1.0].map(|at| Tensor::from_slice(&[at]).set_requires_grad(true));
            let steps = |weights: &[Tensor], optimiser: &mut Optimiser| {
                for _ in 0..2 {
                    loss(weights).backward();
                    optimiser.step(0.01).unwrap();
                }
            };
            let (whole, parted) = (start(), start());
            let mut optimiser = over(&recipe, &whole);
            steps(&whole, &mut optimiser);
            steps(&whole, &mut optimiser);
            let mut first = over(&recipe, &parted);
            steps(&parted, &mut first);
            let file = first.to_safetensors().unwrap();
            let mut second = over(&recipe, &parted);
            second.read_safetensors(&file).unwrap();
            steps(&parted, &mut second);
            assert_eq!(whole, parted);
            let other = &start()[..1];
            assert!(over(&recipe, other).read_safetensors(&file).is_err(), "of other weights");
        }
    }
}
