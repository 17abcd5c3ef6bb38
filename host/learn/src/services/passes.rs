//! Passes through the model.

use std::fmt::Display;

use querist_core::ServiceError;
use querist_protocol::abi;
use querist_torchx::ambient::GradMode;
use tch::{Kind, Tensor};

use super::tensor::{array, given, lent};
use super::{Services, refuse};
use crate::gradient;
use crate::layer::Mode;
use crate::model::Model;

impl<'a> Services<'a> {
    pub(super) fn model_for(&self, flags: u32) -> Result<&'a Model, ServiceError> {
        let known = abi::FORWARD_TRAIN | abi::FORWARD_GRAD | abi::FORWARD_STAGES | abi::FORWARD_PREVIOUS;
        if flags & !known != 0 {
            return refuse(format!("flags {flags:#x} of a forward pass have no meaning beyond {known:#x}"));
        }
        let previous = flags & abi::FORWARD_PREVIOUS != 0;
        match (previous, self.model, self.previous) {
            (false, Some(model), _) | (true, _, Some(model)) => Ok(model),
            (false, None, _) => refuse("there is no model yet: it is built after `plan_round`"),
            (true, _, None) => refuse(
                "no model of the round before is at hand: set `keep_previous_model` in the plan of every round, and do \
                 without in round 0",
            ),
        }
    }

    /// How a pass with these flags treats dropout and batch-norm.
    fn mode(&self, flags: u32) -> Mode {
        let training = flags & abi::FORWARD_TRAIN != 0;
        let own = flags & abi::FORWARD_PREVIOUS == 0;
        match (training, own && self.statistics_move.get()) {
            (false, _) => Mode::Eval,
            (true, true) => Mode::Train,
            (true, false) => Mode::TrainStill,
        }
    }

    /// Checks that a tensor of the plugin has this shape (`-1` is any size), is of floats and on the model's device.
    pub(super) fn check(&self, what: &str, tensor: &Tensor, shape: &[i64]) -> Result<(), ServiceError> {
        let size = tensor.size();
        let fits = size.len() == shape.len() && size.iter().zip(shape).all(|(n, want)| *want == -1 || n == want);
        if !fits {
            return refuse(format!("{what} have shape {size:?}, expected {}", Shape(shape)));
        }
        let (kind, device) = (tensor.f_kind().or_else(refuse)?, tensor.device());
        if kind != Kind::Float {
            return refuse(format!("{what} are of type {kind:?}, expected Float"));
        }
        if device != self.device() {
            return refuse(format!("{what} are on {device:?}, expected {:?}", self.device()));
        }
        Ok(())
    }

    pub(super) fn image_shape(&self) -> [i64; 4] {
        let shape = self.base.images.shape();
        [-1, shape.channels, shape.height, shape.width]
    }

    /// # Safety
    /// `images` is null or the address of a live tensor.
    pub(super) unsafe fn run_model(&self, images: abi::Tensor, flags: u32) -> Result<abi::Outputs, ServiceError> {
        let model = self.model_for(flags)?;
        // SAFETY: promised by the caller.
        let images = unsafe { lent(images) }?;
        self.check("images", &images, &self.image_shape())?;
        let stages = flags & abi::FORWARD_STAGES != 0;
        if stages && self.base.architecture.stages().is_empty() {
            return refuse(format!("model.name = {} has no stage maps", self.base.architecture.label()));
        }
        let grad = flags & abi::FORWARD_GRAD != 0;
        if grad && !self.base.architecture.is_differentiable() {
            return refuse(format!(
                "it asks for gradients through the body, which model.name = {} does not give; bring the network as \
                 TorchScript, or choose a strategy that works on embeddings",
                self.base.architecture.label()
            ));
        }
        let _grad = GradMode::set(grad);
        let out = model.forward(&images, self.mode(flags), stages).or_else(refuse)?;
        let (maps, stage_count) = array(out.stages.into_iter().map(given));
        Ok(abi::Outputs { logits: given(out.logits), embeddings: given(out.embeddings), stages: maps, stage_count })
    }

    /// # Safety
    /// `embeddings` is null or the address of a live tensor.
    pub(super) unsafe fn run_head(&self, embeddings: abi::Tensor, flags: u32) -> Result<abi::Tensor, ServiceError> {
        let model = self.model_for(flags)?;
        // SAFETY: promised by the caller.
        let embeddings = unsafe { lent(embeddings) }?;
        self.check("embeddings", &embeddings, &[-1, self.base.architecture.width()])?;
        let _grad = GradMode::set(flags & abi::FORWARD_GRAD != 0);
        Ok(given(model.classify(&embeddings, self.mode(flags)).or_else(refuse)?))
    }

    /// # Safety
    /// Each is null or the address of a live tensor.
    pub(super) unsafe fn norms(&self, images: abi::Tensor, targets: abi::Tensor) -> Result<abi::Tensor, ServiceError> {
        let model = self.model_for(0)?;
        // SAFETY: promised by the caller.
        let (images, targets) = unsafe { (lent(images)?, lent(targets)?) };
        self.check("images", &images, &self.image_shape())?;
        let rows = images.size()[0];
        self.check("targets", &targets, &[rows, self.base.architecture.classes()])?;
        Ok(given(gradient::norms(model, &images, &targets).or_else(refuse)?))
    }
}

/// A shape in which -1 is any size.
struct Shape<'a>(&'a [i64]);

impl Display for Shape<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes: Vec<String> = self.0.iter().map(|&n| if n < 0 { "n".to_owned() } else { n.to_string() }).collect();
        write!(f, "[{}]", sizes.join(", "))
    }
}
