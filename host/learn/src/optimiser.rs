//! SGD and Adam, with their state in our hands.

use querist_core::config::{Optimiser as Kind, Recipe};
use querist_torchx::TorchError;
use querist_torchx::optimiser::{Adam, AdamState, Sgd, adam_step, clear_gradients, sgd_step};
use tch::{Kind as TensorKind, TchError, Tensor};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// An optimiser over a fixed list of weights.
pub(crate) struct Optimiser {
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    state: State,
}

/// What is carried from step to step, one tensor a weight in each list.
enum State {
    /// Running directions; without momentum there are none.
    Sgd { momenta: Vec<Tensor>, first: bool },
    /// Running means of gradients and of their squares, and the steps taken.
    Adam { means: Vec<Tensor>, squares: Vec<Tensor>, steps: Vec<Tensor> },
}

impl Optimiser {
    /// An optimiser that has not taken a step.
    pub(crate) fn new(recipe: &Recipe, weights: &[Tensor]) -> Result<Self, TchError> {
        let _no_grad = tch::no_grad_guard();
        let zeros = || weights.iter().map(Tensor::f_zeros_like).collect::<Result<Vec<_>, _>>();
        let state = match recipe.optimiser {
            Kind::Sgd if recipe.momentum == 0.0 => State::Sgd { momenta: Vec::new(), first: true },
            Kind::Sgd => State::Sgd { momenta: zeros()?, first: true },
            Kind::Adam => {
                let count = |w: &Tensor| Tensor::f_zeros([], (TensorKind::Float, w.device()));
                State::Adam {
                    means: zeros()?,
                    squares: zeros()?,
                    steps: weights.iter().map(count).collect::<Result<_, _>>()?,
                }
            }
        };
        let Recipe { momentum, nesterov, weight_decay, .. } = *recipe;
        Ok(Self { momentum, nesterov, weight_decay, state })
    }

    /// Changes the weights by their gradients, at learning rate `lr`, and forgets the gradients.
    pub(crate) fn step(&mut self, weights: &[Tensor], lr: f64) -> Result<(), TorchError> {
        let weight_decay = self.weight_decay;
        match &mut self.state {
            State::Sgd { momenta, first } => {
                let settings = Sgd { lr, momentum: self.momentum, weight_decay, nesterov: self.nesterov };
                sgd_step(weights, momenta, *first, &settings)?;
                *first = false;
            }
            State::Adam { means, squares, steps } => {
                let settings = Adam { lr, beta1: BETA1, beta2: BETA2, eps: EPS, weight_decay };
                adam_step(weights, &AdamState { means, squares, steps }, &settings)?;
            }
        }
        clear_gradients(weights)
    }
}

#[cfg(test)]
mod tests {
    use querist_core::config::Recipe;
    use tch::Device;
    use tch::nn::{self, OptimizerConfig};

    use super::*;
    use crate::parameters::values;

    /// A loss with curvature that differs by weight and never vanishes.
    fn loss(weights: &[Tensor]) -> Tensor {
        (&weights[0] * &weights[0] * 3.0).sum(TensorKind::Float)
            + (&weights[1] - 1.0).pow_tensor_scalar(4).sum(TensorKind::Float)
            + weights[0].sum(TensorKind::Float) * weights[1].sum(TensorKind::Float)
    }

    /// Runs both side by side from the same weights and compares after every step.
    fn compare(recipe: Recipe, peer: impl OptimizerConfig) {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(5).unwrap();
        let store = nn::VarStore::new(Device::Cpu);
        let theirs = [store.root().randn("a", &[7, 5], 0.0, 1.0), store.root().randn("b", &[3], 0.0, 1.0)];
        let ours = theirs.each_ref().map(|t| t.detach().copy().set_requires_grad(true));
        let mut peer = peer.build(&store, 1.0).unwrap();
        let mut optimiser = Optimiser::new(&recipe, &ours).unwrap();
        for lr in [0.01, 0.01, 0.02, 0.005, 0.01] {
            peer.set_lr(lr);
            peer.backward_step(&loss(&theirs));
            loss(&ours).backward();
            optimiser.step(&ours, lr).unwrap();
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
    }

    /// By hand: gradient 2, weight 1, decay 0.5, rate 0.1, momentum 0.5.
    #[test]
    fn two_steps_of_momentum_by_hand() {
        querist_torchx::runtime::set_threads(1).unwrap();
        let weight = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
        let recipe = Recipe { weight_decay: 0.5, ..sgd(0.5, false) };
        let mut optimiser = Optimiser::new(&recipe, std::slice::from_ref(&weight)).unwrap();
        // d = 2 + 0.5, v = 2.5, weight 0.75; then d = 2.375, v = 3.625, weight 0.3875.
        for expected in [0.75, 0.3875f32] {
            (&weight * 2.0).sum(TensorKind::Float).backward();
            optimiser.step(std::slice::from_ref(&weight), 0.1).unwrap();
            assert!((values(&weight).unwrap()[0] - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_missing_gradient_is_an_error() {
        let weight = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
        let mut optimiser = Optimiser::new(&sgd(0.9, false), std::slice::from_ref(&weight)).unwrap();
        let error = optimiser.step(std::slice::from_ref(&weight), 0.1).unwrap_err().to_string();
        assert!(error.contains("parameter 0 has no gradient"), "{error}");
    }
}
