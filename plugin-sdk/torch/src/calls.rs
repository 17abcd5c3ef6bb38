//! What the host does for a strategy that shares its libtorch.

use querist_protocol::{Fault, abi};

/// The services of the host over images and model; see [`abi::TorchApi`] for the meaning of each.
///
/// Strategies use them through [`crate::Round`]. Tensors in arguments are lent for the call, tensors in results are
/// given.
#[expect(clippy::missing_errors_doc, reason = "all fail alike: the host refuses, and says why")]
pub trait Calls {
    /// Facts about the task.
    fn task(&self) -> Result<abi::Task, Fault>;
    /// Opens a stream of images.
    fn open_stream(&self, spec: &abi::StreamSpec, tag: &str, rows: &[u32]) -> Result<u32, Fault>;
    /// The next batch of a stream.
    fn next_batch(&self, stream: u32) -> Result<abi::ImageBatch, Fault>;
    /// Closes a stream.
    fn close_stream(&self, stream: u32) -> Result<(), Fault>;
    /// A forward pass of the task's model over a live tensor.
    fn forward(&self, images: &tch::Tensor, flags: u32) -> Result<abi::Outputs, Fault>;
    /// Logits of embeddings.
    fn head_forward(&self, embeddings: &tch::Tensor, flags: u32) -> Result<abi::Tensor, Fault>;
    /// The model's parameters.
    fn parameters(&self) -> Result<Vec<abi::Tensor>, Fault>;
    /// Norms of gradients of single images.
    fn gradient_norms(&self, images: &tch::Tensor, targets: &tch::Tensor) -> Result<abi::Tensor, Fault>;
    /// Records a figure.
    fn log_metric(&self, name: &str, value: f64) -> Result<(), Fault>;
    /// Hands in images to train on.
    fn add_synthetic(&self, rows: &[u32], images: &tch::Tensor) -> Result<(), Fault>;
}
