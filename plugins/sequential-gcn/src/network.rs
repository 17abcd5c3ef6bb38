//! The graph network that tells labelled nodes from the others.

use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, Init, OptimizerConfig};

use crate::graph::Graph;

/// Sizes and training of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Units of the hidden layer.
    pub hidden: i64,
    /// Share of hidden values dropped in training.
    pub dropout: f64,
    /// Weight of unlabelled nodes beside that of labelled ones.
    pub lambda: f64,
    /// Learning rate of Adam.
    pub lr: f64,
    /// Its weight decay.
    pub weight_decay: f64,
}

/// Two graph convolutions: `H = dropout(ReLU(A F W1 + b1))`, and the log-odds `A H W2 + b2` that a node is labelled.
pub struct Network {
    graph: Graph,
    /// `A F`, `f32 [n, d]`: the same in every epoch.
    spread: Tensor,
    unlabelled: i64,
    settings: Settings,
    store: nn::VarStore,
    weights: [Tensor; 2],
    biases: [Tensor; 2],
    optimiser: nn::Optimizer,
}

impl Network {
    /// With fresh weights, over embeddings `f32 [n, d]` of which the first `unlabelled` are of unlabelled samples.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(embeddings: &Tensor, unlabelled: i64, settings: Settings) -> Result<Self> {
        let graph = Graph::new(embeddings)?;
        let (width, hidden) = (graph.nodes().size()[1], settings.hidden);
        let store = nn::VarStore::new(embeddings.device());
        // By the number of units, not of inputs, as in the authors' code: 1 for the last layer.
        let fresh = |name: &str, shape: &[i64], units: i64| {
            let bound = 1.0 / (units as f64).sqrt();
            store.root().f_var(name, shape, Init::Uniform { lo: -bound, up: bound })
        };
        let weights = [fresh("weight1", &[width, hidden], hidden)?, fresh("weight2", &[hidden, 1], 1)?];
        let biases = [fresh("bias1", &[hidden], hidden)?, fresh("bias2", &[1], 1)?];
        let optimiser = nn::Adam { wd: settings.weight_decay, ..nn::Adam::default() }.build(&store, settings.lr)?;
        let spread = graph.spread(graph.nodes())?;
        Ok(Self { graph, spread, unlabelled, settings, store, weights, biases, optimiser })
    }

    /// Numbers that training changes.
    pub fn parameters(&self) -> usize {
        self.store.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// Hidden values `f32 [n, hidden]` and log-odds `f32 [n]` of being labelled.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(&self, train: bool) -> Result<(Tensor, Tensor)> {
        let hidden = self.spread.f_matmul(&self.weights[0])?.f_add(&self.biases[0])?.f_relu()?;
        let hidden = hidden.f_dropout(self.settings.dropout, train)?;
        // One column is spread, not all units.
        let odds = self.graph.spread(&hidden.f_matmul(&self.weights[1])?)?.f_add(&self.biases[1])?;
        Ok((hidden, odds.f_squeeze_dim(1)?))
    }

    /// One step on all nodes; the loss before it. `go_on` is asked between forward and backward pass.
    ///
    /// # Errors
    /// If libtorch fails or `go_on` says so.
    pub fn step(&mut self, go_on: &mut dyn FnMut() -> Result<()>) -> Result<Tensor> {
        self.optimiser.zero_grad();
        let loss = self.loss(&self.forward(true)?.1)?;
        go_on()?;
        loss.f_backward()?;
        self.optimiser.step();
        Ok(loss.f_detach()?)
    }

    /// `-mean log s` over labelled nodes and `-lambda mean log (1 - s)` over the others, s being the sigmoid of the
    /// odds.
    fn loss(&self, odds: &Tensor) -> Result<Tensor> {
        let nodes = odds.size()[0];
        let unlabelled = odds.f_narrow(0, 0, self.unlabelled)?.f_softplus()?.f_mean(None)?;
        let labelled = odds.f_narrow(0, self.unlabelled, nodes - self.unlabelled)?;
        let labelled = labelled.f_neg()?.f_softplus()?.f_mean(None)?;
        Ok(labelled.f_add(&unlabelled.f_mul_scalar(self.settings.lambda)?)?)
    }
}
