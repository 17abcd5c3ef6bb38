//! The trained head, as strategies ask it while they pick.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use querist_core::ServiceError;
use querist_torchx::ambient::GradMode;
use tch::{Device, TchError, Tensor};

use crate::layer::{Mode, Pass};
use crate::model::{Head, Model};

/// The head of a fitted model, in eval mode. It shares the model's weights.
pub(crate) struct AskedHead {
    /// One question at a time: libtorch has the threads.
    head: Mutex<Head>,
    device: Device,
    width: usize,
    classes: usize,
}

impl AskedHead {
    pub(crate) fn of(model: &Model, device: Device) -> Self {
        let (width, classes) = (model.width(), model.classes());
        Self { head: Mutex::new(model.head().share()), device, width, classes }
    }

    fn ask(
        &self,
        embeddings: &[f32],
        out: &mut [f32],
        answer: impl FnOnce(&Head, &Tensor) -> Result<Tensor, TchError>,
    ) -> Result<(), ServiceError> {
        // A question that failed leaves the weights as they are.
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = || {
            let rows = Tensor::f_from_slice(embeddings)?.f_view([-1, self.width as i64])?;
            answer(&head, &rows.f_to_device(self.device)?)?.f_copy_data(out, out.len())
        };
        answered().map_err(|error| ServiceError(error.to_string()))
    }
}

impl querist_core::Head for AskedHead {
    fn width(&self) -> usize {
        self.width
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&self, embeddings: &[f32], logits: &mut [f32]) -> Result<(), ServiceError> {
        self.ask(embeddings, logits, |head, rows| {
            let _no_grad = GradMode::set(false);
            head.logits(rows, &mut Pass::new(Mode::Eval))
        })
    }

    fn gradients(&self, embeddings: &[f32], classes: &[u32], gradients: &mut [f32]) -> Result<(), ServiceError> {
        self.ask(embeddings, gradients, |head, rows| {
            let classes: Vec<i64> = classes.iter().map(|&class| i64::from(class)).collect();
            head.gradients(rows, &Tensor::f_from_slice(&classes)?.f_view([-1, 1])?.f_to_device(self.device)?)
        })
    }
}

impl fmt::Debug for AskedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AskedHead({} to {})", self.width, self.classes)
    }
}
