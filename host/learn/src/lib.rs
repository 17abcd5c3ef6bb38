//! Models, training, evaluation and features over libtorch.
//!
//! [`TorchLearner`] is what the loop uses. A model is a body, which turns images into embeddings, and one linear head.
//! Every weight, minibatch order, augmentation and dropout mask comes from a named stream of the run's seeds.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod accelerator;
mod adversary;
mod augment;
mod averaging;
mod backbone;
mod checks;
mod device;
mod draws;
mod ensemble;
mod fault;
mod gradient;
mod head;
mod hooks;
mod images;
mod infer;
mod labelled;
mod layer;
mod learner;
mod minibatches;
mod model;
mod need;
mod optimiser;
mod parameters;
mod perturb;
mod plan;
mod replicas;
mod rows;
mod schedule;
mod services;
mod stream;
mod train;
mod watch;
mod weights;

pub use accelerator::TorchAccelerator;
pub use backbone::{Backbone, onnx_library};
pub use device::CPU;
pub use infer::BLOCK;
pub use learner::{Settings, TorchLearner};
pub use services::{EmbeddedServices, EmbeddedTask};
