//! Images that the task's model is most uncertain of.

use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, Init, OptimizerConfig};

/// Entropy in nats, `[n]`, of softmax distributions with logits `[n, classes]`.
///
/// # Errors
/// If libtorch fails.
pub fn entropy(logits: &Tensor) -> Result<Tensor> {
    let log_probs = logits.f_log_softmax(1, None)?;
    Ok(log_probs.f_exp()?.f_mul(&log_probs)?.f_sum_dim_intlist(1, false, None)?.f_neg()?)
}

/// How codes climb.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ascent {
    /// Steps.
    pub steps: u32,
    /// Learning rate of Adam.
    pub lr: f64,
}

impl Ascent {
    /// Codes `[n, latent]` after the ascent from `codes`, and the entropy `[n]` of the logits that `logits` gives of
    /// codes, on their graph. `go_on` is told the number of each step.
    ///
    /// # Errors
    /// If `logits` fails or `go_on` says so.
    pub fn climb(
        &self,
        codes: &Tensor,
        logits: &dyn Fn(&Tensor) -> Result<Tensor>,
        go_on: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<(Tensor, Tensor)> {
        let store = nn::VarStore::new(codes.device());
        let mut moving = store.root().f_var("codes", &codes.size(), Init::Const(0.0))?;
        {
            let _no_grad = tch::no_grad_guard();
            moving.f_copy_(codes)?;
        }
        let mut adam = nn::Adam::default().build(&store, self.lr)?;
        for step in 0..self.steps {
            go_on(step)?;
            let loss = entropy(&logits(&moving)?)?.f_sum(None)?.f_neg()?;
            go_on(step)?;
            // A plain backward pass would leave gradients in the task's model and the generator.
            let slope = grad(&loss, std::slice::from_ref(&moving), false)?.remove(0);
            adam.zero_grad();
            moving.f_mul(&slope)?.f_sum(None)?.f_backward()?;
            adam.step();
        }
        let reached = moving.f_detach()?;
        let entropies = entropy(&logits(&reached)?)?.f_detach()?;
        Ok((reached, entropies))
    }
}
