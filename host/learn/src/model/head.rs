//! From embeddings to logits: one linear layer, or linear, ReLU, dropout, linear.

use querist_torchx::ambient::GradMode;
use tch::{TchError, Tensor};

use crate::layer::{Linear, Mode, Pass};
use crate::parameters::Parameters;

/// Units of a hidden layer at most.
pub(crate) const MOST_HIDDEN: u32 = 65_536;

/// The part of a model behind the embedding.
pub(crate) struct Head {
    hidden: Option<Linear>,
    last: Linear,
    dropout: f64,
}

/// Sizes of a head, and the share of the last layer's inputs that it drops in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct HeadShape {
    pub(crate) width: i64,
    pub(crate) hidden: Option<i64>,
    pub(crate) classes: i64,
    pub(crate) dropout: f64,
}

impl Head {
    /// One linear layer is called `head`; the two of a hidden layer are `head.hidden` and `head.last`.
    pub(crate) fn new(parameters: &mut Parameters, shape: HeadShape) -> Result<Self, TchError> {
        let HeadShape { width, hidden, classes, dropout } = shape;
        let (hidden, last) = match hidden {
            None => (None, Linear::new(parameters, "head", width, classes)?),
            Some(units) => {
                let hidden = Linear::new(parameters, "head.hidden", width, units)?;
                (Some(hidden), Linear::new(parameters, "head.last", units, classes)?)
            }
        };
        Ok(Self { hidden, last, dropout })
    }

    /// The same weights under another name: what training changes in one changes in both.
    pub(crate) fn share(&self) -> Self {
        Self { hidden: self.hidden.as_ref().map(Linear::share), last: self.last.share(), dropout: self.dropout }
    }

    /// Logits `[n, classes]` of embeddings `[n, width]`.
    pub(crate) fn logits(&self, embeddings: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let inputs = self.penultimate(embeddings, pass)?;
        if self.dropout == 0.0 || !pass.is_training() {
            return self.last.forward(&inputs, pass);
        }
        self.last.forward(&inputs.f_dropout(self.dropout, true)?, pass)
    }

    /// Inputs of the last linear layer, without dropout: the embeddings themselves where there is no other.
    pub(crate) fn penultimate(&self, embeddings: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        match &self.hidden {
            None => Ok(embeddings.shallow_clone()),
            Some(hidden) => {
                let x = hidden.forward(embeddings, pass)?;
                pass.relu(x)
            }
        }
    }

    /// Logits in eval mode of inputs of the last layer.
    pub(crate) fn last(&self, inputs: &Tensor) -> Result<Tensor, TchError> {
        self.last.forward(inputs, &mut Pass::new(Mode::Eval))
    }

    /// The only layer, where there is only one.
    pub(crate) fn linear(&self) -> Option<&Linear> {
        if self.hidden.is_none() { Some(&self.last) } else { None }
    }

    /// Share of the last layer's inputs that are dropped in training.
    pub(crate) fn dropout(&self) -> f64 {
        self.dropout
    }

    /// Classes of the task.
    pub(crate) fn classes(&self) -> usize {
        self.last.bias.numel()
    }

    /// Width of the last layer's inputs.
    pub(crate) fn last_width(&self) -> usize {
        self.last.weight.numel() / self.classes().max(1)
    }

    /// For each row the gradient at the embedding, in eval mode, of the cross-entropy of a class; `classes` is `i64 [n,
    /// 1]` and the result `[n, width]`.
    pub(crate) fn gradients(&self, embeddings: &Tensor, classes: &Tensor) -> Result<Tensor, TchError> {
        let _grad = GradMode::set(true);
        let embeddings = embeddings.f_detach()?.f_set_requires_grad(true)?;
        let logits = self.logits(&embeddings, &mut Pass::new(Mode::Eval))?;
        // What the other classes have, and minus that for the class itself: p - 1 would cancel where p is almost 1.
        let others = logits.f_detach()?.f_softmax(1, None)?.f_scatter_value(1, classes, 0.0)?;
        let own = others.f_sum_dim_intlist(1, true, None)?.f_neg()?;
        let loss = logits.f_mul(&others.f_scatter(1, classes, &own)?)?.f_sum(None)?;
        Ok(Tensor::f_run_backward(&[loss], &[&embeddings], false, false)?.swap_remove(0))
    }
}
