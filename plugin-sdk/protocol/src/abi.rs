//! The boundary of native plugins: C tables that both sides read.
//!
//! A plugin is a shared library that exports one function, [`ENTRY`]. It is given the host's table and returns its own.
//! Tables start with their size and only ever grow at the end, so that each side knows which functions the other has.
//! No memory changes its owner: a plugin answers by calling the host's `answer_...` functions, which copy; what the
//! host fills in lies in the plugin's own variables, and lists are lent until the next call. The one exception is
//! tensors of libtorch: a tensor handed *into* a function is lent for the time of the call, one handed *out* belongs to
//! whoever receives it.
//!
//! `plugin-sdk/include/querist.h` is made from this file and from the generated [`table`].

mod value;

use std::ffi::c_void;

pub use crate::generated::table;
pub use table::{ABI_MINOR, CallTable};
pub use value::{numbered, padded, unpadded};

/// Name of the function that a plugin exports, of type [`Entry`].
pub const ENTRY: &str = "querist_plugin_v2";
/// Version of the tables' layout; another one cannot be read.
pub const ABI_MAJOR: u16 = 2;
/// Name of the ELF section with the plugin's [`Identity`].
pub const IDENTITY_SECTION: &str = ".querist";
/// First bytes of an [`Identity`].
pub const IDENTITY_MAGIC: [u8; 8] = *b"QUERIST\0";
/// Stands for "no handle" where one may be left out.
pub const NO_HANDLE: u32 = u32::MAX;
/// Stands for "no row" in answers that may have none.
pub const NO_ROW: u32 = u32::MAX;
/// Stage maps that a model hands out at most.
pub const MAX_STAGES: usize = 8;

/// Channels of an image at most for which the values of black and white are told.
pub const MAX_CHANNELS: usize = 4;

/// How a call ended: 0 for well, anything else is an error. Functions of the host return 1 + the number of the fault's
/// kind, in the order of [`crate::FaultCode`]; `fault_text` tells its sentence. Functions of a plugin return
/// [`FAILED`] or [`PANICKED`] after they called `fail`.
pub type Status = u32;
/// The call did what it should.
pub const OK: Status = 0;
/// The plugin gave no answer and told the host why.
pub const FAILED: Status = 1;
/// The plugin's code panicked, was caught, and told the host so.
pub const PANICKED: Status = 2;

/// Why a plugin gives no answer, for `fail`.
pub type FailKind = u32;
/// The strategy cannot answer.
pub const FAIL_FAILED: FailKind = 0;
/// The parameters do not fit.
pub const FAIL_INVALID_PARAMS: FailKind = 1;
/// The package has no such strategy.
pub const FAIL_UNKNOWN: FailKind = 2;
/// The code panicked.
pub const FAIL_PANIC: FailKind = 3;
/// A host call was refused and the refusal is passed on.
pub const FAIL_FAULT: FailKind = 4;

/// The plugin's code unwinds on a panic.
pub const PANIC_UNWIND: u8 = 1;
/// The plugin's code ends the process on a panic, so it is not loaded into the host's.
pub const PANIC_ABORT: u8 = 2;
/// The plugin's language has no panics.
pub const PANIC_NONE: u8 = 0;

/// The plugin uses no libtorch.
pub const TIER_PLAIN: u8 = 0;
/// The plugin shares the host's libtorch.
pub const TIER_TORCH: u8 = 1;

/// Who a plugin is, in the section [`IDENTITY_SECTION`] of its file: read before any of its code is loaded. Texts end
/// at their first 0 byte.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// [`IDENTITY_MAGIC`].
    pub magic: [u8; 8],
    /// Size of this structure in bytes.
    pub size: u32,
    /// [`ABI_MAJOR`].
    pub abi_major: u16,
    /// [`ABI_MINOR`].
    pub abi_minor: u16,
    /// What a panic does: `PANIC_UNWIND`, `PANIC_ABORT` or `PANIC_NONE`.
    pub panic: u8,
    /// Whether libtorch is shared: `TIER_PLAIN` or `TIER_TORCH`.
    pub tier: u8,
    /// Whether libtorch's C++ strings are those of C++11; 0 without libtorch.
    pub cxx11: u8,
    /// 0.
    pub reserved: u8,
    /// Name of the package.
    pub package: [u8; 64],
    /// Version of the package.
    pub version: [u8; 32],
    /// Compiler, such as `rustc 1.95.0`.
    pub compiler: [u8; 64],
    /// Target triple.
    pub target: [u8; 64],
    /// Version of libtorch whose headers it was built with, such as `2.11.0`; empty without libtorch.
    pub libtorch: [u8; 32],
    /// SHA-256 of the package's description as JSON; zeros until the package is made.
    pub description: [u8; 32],
}

/// Bytes of UTF-8, or of a blob; not ended by a 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    /// The first byte; may be null where there are none.
    pub data: *const u8,
    /// How many.
    pub len: usize,
}

/// A list that the host lends. It lives until the next call with the same [`Call`]: copy what is to be kept.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct List<T> {
    /// The first value; may be null where there are none.
    pub data: *const T,
    /// How many.
    pub count: usize,
}

/// One call of the host into a plugin; whatever the plugin asks meanwhile goes by it. Valid until that call returns, on
/// that thread.
#[repr(C)]
pub struct Call {
    _private: [u8; 0],
}

/// A living strategy of a plugin.
#[repr(C)]
pub struct Strategy {
    _private: [u8; 0],
}

/// A tensor of libtorch: the address of an `at::Tensor`. Null stands for "none".
pub type Tensor = *mut c_void;

/// What a strategy that uses images or the model may know of the task.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Task {
    /// Round of the run, from 0.
    pub round: u32,
    /// Labelled samples.
    pub labelled: u32,
    /// Samples that were labelled at the start of the run.
    pub initial: u32,
    /// Unlabelled samples.
    pub pool: u32,
    /// Samples to ask for; 0 where nothing is asked.
    pub batch: u32,
    /// Classes.
    pub classes: u32,
    /// Channels of an image.
    pub channels: u32,
    /// Height of an image.
    pub height: u32,
    /// Width of an image.
    pub width: u32,
    /// Epochs of the task's training.
    pub epochs: u32,
    /// Labelled samples of a training minibatch.
    pub minibatch: u32,
    /// Width of an embedding.
    pub embedding: u32,
    /// The recipe's weight decay.
    pub weight_decay: f64,
    /// -1 for the CPU, else the number of the CUDA device.
    pub device: i32,
    /// Stage maps that the model hands out, at most `MAX_STAGES`.
    pub stages: u32,
    /// Channels of each.
    pub stage_channels: [u32; MAX_STAGES],
    /// What byte 0 becomes by normalisation, in each of the first channels.
    pub black: [f32; MAX_CHANNELS],
    /// What byte 255 becomes.
    pub white: [f32; MAX_CHANNELS],
}

/// One training minibatch, as `batch_loss` sees it. All tensors are lent.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Minibatch {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Minibatch of the epoch, from 0.
    pub step: u32,
    /// `f32 [n, channels, height, width]`, augmented and normalised.
    pub images: Tensor,
    /// `i64 [n]`.
    pub labels: Tensor,
    /// `f32 [n, classes]`, on the graph.
    pub logits: Tensor,
    /// `f32 [n, embedding]`, on the graph, before dropout.
    pub embeddings: Tensor,
    /// `f32 [n]`: cross-entropy of each sample, on the graph; null unless asked for.
    pub losses: Tensor,
    /// `f32 [m, channels, height, width]` of the pool; null unless asked for.
    pub unlabelled: Tensor,
    /// Stage maps, `f32 [n, channels, height, width]` each, on the graph; none unless asked for.
    pub stages: [Tensor; MAX_STAGES],
    /// How many stage maps there are.
    pub stage_count: u32,
}

/// What `batch_loss` adds to a minibatch's loss.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Loss {
    /// A scalar on the graph that is added; null for none. Given away.
    pub extra: Tensor,
    /// What the mean cross-entropy is multiplied with, in [0, 1].
    pub task_scale: f64,
}

/// Figures of a finished epoch.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct EpochFigures {
    /// Mean loss over the training samples.
    pub loss: f64,
    /// Share of right predictions.
    pub accuracy: f64,
    /// Learning rate at its end.
    pub lr: f64,
}

/// Which images a stream gives, and how.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StreamSpec {
    /// 0: the labelled set; 1: the pool; 2: `rows` of the pool.
    pub of: u32,
    /// 0: the training transform; 1: the eval transform.
    pub transform: u32,
    /// Images of a batch, 1 or more.
    pub batch: u32,
    /// Whether each pass has a new random order.
    pub shuffle: bool,
    /// Whether a new pass starts where one ends.
    pub infinite: bool,
    /// Whether a last batch that is short is left out. An infinite stream whose set is smaller than a batch gives the
    /// whole set.
    pub drop_last: bool,
    /// Name of its random numbers; two streams of one name go alike.
    pub tag: Bytes,
    /// Rows of the pool, where `of` is 2.
    pub rows: *const u32,
    /// How many.
    pub row_count: usize,
}

/// One batch of a stream. Tensors are given.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ImageBatch {
    /// `f32 [n, channels, height, width]`; null at the end of the stream.
    pub images: Tensor,
    /// `i64 [n]`; null but for the labelled set.
    pub labels: Tensor,
    /// `i64 [n]` on the CPU: rows of the pool, or of the labelled set.
    pub rows: Tensor,
}

/// A forward pass runs as in training: dropout on, batch-norm with the batch's statistics.
pub const FORWARD_TRAIN: u32 = 1;
/// A forward pass is recorded for gradients.
pub const FORWARD_GRAD: u32 = 2;
/// A forward pass hands out stage maps.
pub const FORWARD_STAGES: u32 = 4;
/// The model of the round before is asked, not this round's.
pub const FORWARD_PREVIOUS: u32 = 8;

/// What a forward pass gives. Tensors are given.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Outputs {
    /// `f32 [n, classes]`.
    pub logits: Tensor,
    /// `f32 [n, embedding]`.
    pub embeddings: Tensor,
    /// Stage maps, `f32 [n, channels, height, width]` each.
    pub stages: [Tensor; MAX_STAGES],
    /// How many stage maps there are.
    pub stage_count: u32,
}

/// What the host does for plugins that share its libtorch. See [`HostApi`] for how functions end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TorchApi {
    /// Bytes of this table.
    pub size: u32,
    /// [`ABI_MINOR`] of the host.
    pub minor: u32,
    /// Facts about the task.
    pub task: unsafe extern "C" fn(call: *mut Call, out: *mut Task) -> Status,
    /// Opens a stream of images.
    pub open_stream: unsafe extern "C" fn(call: *mut Call, spec: *const StreamSpec, stream: *mut u32) -> Status,
    /// The next batch of a stream; `images` is null at its end.
    pub next_batch: unsafe extern "C" fn(call: *mut Call, stream: u32, out: *mut ImageBatch) -> Status,
    /// Closes a stream.
    pub close_stream: unsafe extern "C" fn(call: *mut Call, stream: u32) -> Status,
    /// Runs the task's model on normalised images; `flags` is a sum of `FORWARD_...`.
    pub forward: unsafe extern "C" fn(call: *mut Call, images: Tensor, flags: u32, out: *mut Outputs) -> Status,
    /// Runs the task's head on embeddings; `flags` as for `forward`.
    pub head_forward:
        unsafe extern "C" fn(call: *mut Call, embeddings: Tensor, flags: u32, logits: *mut Tensor) -> Status,
    /// The model's parameters, given as references to the same storage: for gradients, never to be changed. Up to
    /// `capacity` are written; `count` is how many there are.
    pub parameters: unsafe extern "C" fn(call: *mut Call, out: *mut Tensor, capacity: u32, count: *mut u32) -> Status,
    /// For each image the norm of the gradient, over all parameters, of the sum over classes of `targets` times
    /// cross-entropy: `f32 [n]`, for images `[n, ...]` and targets `f32 [n, classes]`, in eval mode.
    pub gradient_norms:
        unsafe extern "C" fn(call: *mut Call, images: Tensor, targets: Tensor, norms: *mut Tensor) -> Status,
    /// Records a named figure of this round.
    pub log_metric: unsafe extern "C" fn(call: *mut Call, name: Bytes, value: f64) -> Status,
    /// Hands in images to train on from the next round on, each with the label that the oracle gives for its row:
    /// `images` is `f32 [n, channels, height, width]`, normalised and finite, `rows` are n distinct rows that the query
    /// then picks. Only inside a query, by a strategy that needs `synthetic_images`. Since minor version 1.
    pub add_synthetic:
        unsafe extern "C" fn(call: *mut Call, rows: *const u32, row_count: usize, images: Tensor) -> Status,
}

/// What the host does for every plugin.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostApi {
    /// Bytes of this table.
    pub size: u32,
    /// [`ABI_MINOR`] of the host.
    pub minor: u32,
    /// Services over the host's libtorch; null where it has none.
    pub torch: *const TorchApi,

    /// Says why the plugin gives no answer. `fault` is the status of the refused host call for `FAIL_FAULT`, else 0.
    pub fail: unsafe extern "C" fn(call: *mut Call, kind: FailKind, fault: Status, message: Bytes),
    /// The sentence of the last refused host call, up to `capacity` bytes; returns its whole length.
    pub fault_text: unsafe extern "C" fn(call: *mut Call, out: *mut u8, capacity: usize) -> usize,
    /// Answers `describe`, `needs` and `plan_round`: JSON.
    pub answer_text: unsafe extern "C" fn(call: *mut Call, json: Bytes) -> Status,
    /// Answers `score`: a vector of one score a row, and one of tie-breakers or `NO_HANDLE`.
    pub answer_scores: unsafe extern "C" fn(call: *mut Call, primary: u32, second: u32) -> Status,
    /// Answers `select`: distinct pool rows in pick order, and a finite score for each or null.
    pub answer_rows:
        unsafe extern "C" fn(call: *mut Call, rows: *const u32, scores: *const f64, count: usize) -> Status,
    /// Adds a named figure to the answer.
    pub answer_diagnostic: unsafe extern "C" fn(call: *mut Call, name: Bytes, value: f64) -> Status,
    /// State to hand back in the next round.
    pub answer_state: unsafe extern "C" fn(call: *mut Call, state: Bytes) -> Status,

    /// What a query may ask of the host.
    pub calls: *const CallTable,
    /// An array that the strategy declared, as a `DLManagedTensorVersioned*` (DLPack 1.x), read-only, in the memory
    /// where it lies. Its `deleter` must be called before the call that lent it returns.
    pub array_dlpack: unsafe extern "C" fn(call: *mut Call, name: Bytes, tensor: *mut *mut c_void) -> Status,
}

// SAFETY: tables hold functions and numbers, and never change once they are handed over.
unsafe impl Sync for HostApi {}
// SAFETY: as above.
unsafe impl Send for HostApi {}

/// What a plugin does. A function that the plugin does not have is null. Every function but `destroy` ends with a
/// [`Status`]; answers go by the host's `answer_...` functions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PluginApi {
    /// Bytes of this table.
    pub size: u32,
    /// [`ABI_MINOR`] of the plugin.
    pub minor: u32,
    /// Answers with the package's description: JSON of [`crate::Description`].
    pub describe: Option<unsafe extern "C" fn(call: *mut Call) -> Status>,
    /// Answers with the needs of strategy `id` under `params`: a JSON list of texts.
    pub needs: Option<unsafe extern "C" fn(call: *mut Call, id: Bytes, params: Bytes) -> Status>,
    /// Scores the visible rows.
    pub score: Option<unsafe extern "C" fn(call: *mut Call, id: Bytes, params: Bytes) -> Status>,
    /// Selects from the pool. `state` is what was kept in the round before.
    pub select: Option<unsafe extern "C" fn(call: *mut Call, id: Bytes, params: Bytes, state: Bytes) -> Status>,

    /// Makes a living strategy for one round, with the state of the round before (no bytes where there is none).
    pub create: Option<
        unsafe extern "C" fn(
            call: *mut Call,
            id: Bytes,
            params: Bytes,
            state: Bytes,
            strategy: *mut *mut Strategy,
        ) -> Status,
    >,
    /// Ends it.
    pub destroy: Option<unsafe extern "C" fn(strategy: *mut Strategy)>,
    /// Whether strategy `id` takes part in training at all: sets `live`.
    pub has_hooks: Option<unsafe extern "C" fn(call: *mut Call, id: Bytes, live: *mut bool) -> Status>,
    /// Answers with JSON of [`crate::TrainOverrides`], before the model is built.
    pub plan_round: Option<unsafe extern "C" fn(call: *mut Call, strategy: *mut Strategy) -> Status>,
    /// The model is built, nothing is trained.
    pub train_begin: Option<unsafe extern "C" fn(call: *mut Call, strategy: *mut Strategy) -> Status>,
    /// An epoch begins.
    pub epoch_begin: Option<unsafe extern "C" fn(call: *mut Call, strategy: *mut Strategy, epoch: u32) -> Status>,
    /// After the forward pass, before the backward pass.
    pub batch_loss: Option<
        unsafe extern "C" fn(
            call: *mut Call,
            strategy: *mut Strategy,
            minibatch: *const Minibatch,
            loss: *mut Loss,
        ) -> Status,
    >,
    /// After the optimiser's step.
    pub batch_step:
        Option<unsafe extern "C" fn(call: *mut Call, strategy: *mut Strategy, epoch: u32, step: u32) -> Status>,
    /// An epoch is over.
    pub epoch_end: Option<
        unsafe extern "C" fn(
            call: *mut Call,
            strategy: *mut Strategy,
            epoch: u32,
            figures: *const EpochFigures,
        ) -> Status,
    >,
    /// Training is over.
    pub train_end: Option<unsafe extern "C" fn(call: *mut Call, strategy: *mut Strategy) -> Status>,
    /// Answers with rows, as `select` does.
    pub query: Option<unsafe extern "C" fn(call: *mut Call, strategy: *mut Strategy) -> Status>,
    /// Answers with the state to keep for the next round, by `answer_state`, or with nothing.
    pub save_state: Option<unsafe extern "C" fn(call: *mut Call, strategy: *mut Strategy) -> Status>,
}

// SAFETY: as for `HostApi`.
unsafe impl Sync for PluginApi {}

/// The function that a plugin exports as [`ENTRY`]. Returns null if it cannot work with this host. Both tables live as
/// long as the process.
pub type Entry = unsafe extern "C" fn(host: *const HostApi) -> *const PluginApi;
