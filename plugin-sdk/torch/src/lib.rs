//! Write strategies for Querist that train networks of their own or take part in the training of the task's model.
//!
//! Such a strategy is a native library that shares libtorch with the host: tensors, and the graphs they are on, cross
//! as they are. It implements [`TorchStrategy`]; [`torch_package!`] exports any number of them. Its crate has the crate
//! type `cdylib` and depends on this one, `schemars`, `serde`, and on the `torch-sys` of this one's version, which
//! tells its build where libtorch lies.
//!
//! ```no_run
//! use querist_sdk_torch::prelude::*;
//!
//! /// Adds the mean square of the logits to the loss, and selects the samples whose logits are smallest.
//! #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! pub struct CalmParams {
//!     /// Weight of the extra loss.
//!     #[schemars(range(min = 0.0))]
//!     pub weight: f64,
//! }
//!
//! impl Strategy for CalmParams {
//!     const ID: &'static str = "calm";
//!     const SUMMARY: &'static str = "Samples with small logits, under a penalty on large ones";
//!     const PAPER: &'static str = "None";
//!
//!     fn needs(&self) -> Vec<Need> {
//!         vec![]
//!     }
//! }
//!
//! /// What lives through a round: here the parameters, elsewhere networks and optimisers.
//! pub struct Calm(CalmParams);
//!
//! impl TorchStrategy for Calm {
//!     type Params = CalmParams;
//!     const HOOKS: Hooks = Hooks { batch_loss: true, ..Hooks::NONE };
//!
//!     fn new(params: CalmParams, _: &Round, _: Option<&[u8]>) -> Result<Self> {
//!         Ok(Self(params))
//!     }
//!
//!     fn batch_loss(&mut self, _: &Round, minibatch: &Minibatch) -> Result<Loss> {
//!         let penalty = minibatch.logits.f_square()?.f_mean(Kind::Float)?;
//!         Ok(Loss::extra(penalty.f_mul_scalar(self.0.weight)?))
//!     }
//!
//!     fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
//!         let mut scores = Vec::new();
//!         let stream = round.images(Of::Pool).batch(256).open()?;
//!         while let Some(batch) = stream.next(round)? {
//!             let logits = round.forward(&batch.images).run()?.logits;
//!             scores.extend(floats(&logits.f_square()?.f_sum_dim_intlist(1, false, Kind::Float)?.f_neg()?)?);
//!         }
//!         let rows: Vec<u32> = (0..query.rows()).collect();
//!         largest(&rows, &scores, query.wanted())
//!     }
//! }
//!
//! torch_package!(Calm);
//! ```
//!
//! # Rules
//!
//! - Tensors that a hook is handed are the task's own. Never write into them; what you return must be on the graph.
//! - `batch_loss` adds a loss. Only the host steps the task's model, and it checks that nobody else did.
//! - Draw from libtorch's generator as you like: the host gives a strategy generators of its own, seeded by the run,
//!   the strategy and the round. For what must not depend on the order of calls there is [`Round::rng`].
//! - Never hold gradients back with `tch::no_grad(closure)`, which leaves them off after a panic; use
//!   `tch::no_grad_guard`.
#![deny(missing_docs)]

mod calls;
mod error;
mod pace;
mod package;
mod pick;
mod round;
mod strategy;
mod stream;
#[doc(hidden)]
pub mod table;

pub use calls::Calls;
pub use error::{Error, Result};
pub use pace::Pace;
pub use package::{Entry, Living, Package};
pub use pick::{floats, largest};
pub use round::{Forward, Outputs, Round, Task};
pub use strategy::{Hooks, Loss, Minibatch, TorchStrategy, grad, linear, uniform};
pub use stream::{ImageBatch, ImageStream, Images, Of};

pub use querist_sdk;
pub use tch;

/// Everything that a strategy's source file wants in scope.
pub mod prelude {
    pub use querist_sdk::prelude::{
        Deserialize, JsonSchema, Layer, LogLevel, Need, Query, Selection, Serialize, Strategy, StrategyError,
        StreamScope, add_old_name, names, params, with_underscores,
    };
    pub use querist_sdk::protocol::abi::EpochFigures;
    pub use querist_sdk::protocol::philox::Stream as Numbers;
    pub use querist_sdk::protocol::{EpochLength, InitPolicy, TrainOverrides, Transform, UnlabelledStream};
    pub use tch::{self, Device, Kind, Tensor};

    pub use crate::{
        Error, Hooks, ImageBatch, ImageStream, Loss, Minibatch, Of, Outputs, Pace, Result, Round, TorchStrategy,
        floats, grad, largest, torch_package,
    };
}
