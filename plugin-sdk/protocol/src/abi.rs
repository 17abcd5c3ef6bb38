//! The boundary of native plugins: C tables that both sides read.
//!
//! A plugin is a shared library that exports one function, [`ENTRY`]. It is given the host's table and returns its own.
//! Tables start with their size and only ever grow at the end, so that each side knows which functions the other has.
//! No memory changes its owner: a plugin answers by calling the host's `answer_...` functions, which copy; what the host
//! fills in lies in the plugin's own variables. The one exception is tensors of libtorch: a tensor handed *into* a
//! function is lent for the time of the call, one handed *out* belongs to whoever receives it.
//!
//! `plugin-sdk/include/querist.h` is made from this file.

use std::ffi::c_void;

/// Name of the function that a plugin exports, of type [`Entry`].
pub const ENTRY: &str = "querist_plugin_v1";
/// Version of the tables' layout; another one cannot be read.
pub const ABI_MAJOR: u16 = 1;
/// Version of the tables' length: higher ones have more functions at the end.
pub const ABI_MINOR: u16 = 1;
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

/// Facts about the query at hand; see [`crate::QueryInfo`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Info {
    /// Rows that are visible.
    pub rows: u32,
    /// Pool row of the first visible row.
    pub first_row: u32,
    /// Samples in the labelled set.
    pub labelled_rows: u32,
    /// Classes of the task.
    pub classes: u32,
    /// Samples to ask for.
    pub batch: u32,
    /// Round of the run, from 0.
    pub round: u32,
}

/// Settings of k-means; see [`crate::KmeansOptions`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Kmeans {
    /// Number of clusters.
    pub clusters: u32,
    /// Restarts.
    pub restarts: u32,
    /// Iterations of one restart at most.
    pub max_iterations: u32,
    /// 0: each next centre drawn by squared distance; 1: distinct rows at random.
    pub init: u32,
    /// Least relative fall of inertia.
    pub tolerance: f64,
}

/// One step of a hierarchical clustering; see [`crate::Merge`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Merge {
    /// The cluster that the merged one is named after.
    pub left: u32,
    /// The other one.
    pub right: u32,
    /// Their distance.
    pub height: f64,
}

/// How a design weighs information; see [`crate::DesignOptions`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Design {
    /// Columns of a row's factor.
    pub rank: u32,
    /// Multiple of the identity that the information starts from.
    pub ridge: f64,
    /// Weight of a labelled row's information.
    pub labelled_weight: f64,
    /// Weight of an added row's information.
    pub added_weight: f64,
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
    /// Hands in images to train on from the next round on, each with the label that the oracle gives for its row: `images`
    /// is `f32 [n, channels, height, width]`, normalised and finite, `rows` are n distinct rows that the query then
    /// picks. Only inside a query, by a strategy that needs `synthetic_images`. Since minor version 1.
    pub add_synthetic:
        unsafe extern "C" fn(call: *mut Call, rows: *const u32, row_count: usize, images: Tensor) -> Status,
}

/// What the host does for every plugin. A function's meaning is that of the method of [`crate::HostCalls`] of the same
/// name. Lists are written to room that the caller provides; where their length is not known beforehand, `capacity` says
/// how much room there is, `count` how many there are, and nothing is written if that is more.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "a field is the method of its name in `HostCalls`")]
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

    pub release: unsafe extern "C" fn(call: *mut Call, handle: u32),
    pub info: unsafe extern "C" fn(call: *mut Call, out: *mut Info) -> Status,
    pub ids: unsafe extern "C" fn(call: *mut Call, start: u32, count: u32, out: *mut u64) -> Status,
    pub input: unsafe extern "C" fn(call: *mut Call, name: Bytes, matrix: *mut u32) -> Status,
    pub labels: unsafe extern "C" fn(call: *mut Call, name: Bytes, start: u32, count: u32, out: *mut u32) -> Status,
    /// 0: debug, 1: info, 2: warning.
    pub log: unsafe extern "C" fn(call: *mut Call, level: u32, message: Bytes) -> Status,
    /// Reports progress; fails once the user has cancelled or time is up.
    pub progress: unsafe extern "C" fn(call: *mut Call, done: u64, total: u64) -> Status,
    /// `scope` is 0 for fresh numbers in every round, 1 for the same ones.
    pub stream: unsafe extern "C" fn(call: *mut Call, tag: Bytes, scope: u32, stream: *mut u32) -> Status,
    pub stream_uniforms: unsafe extern "C" fn(call: *mut Call, stream: u32, count: u32, out: *mut f64) -> Status,
    pub stream_by_row: unsafe extern "C" fn(call: *mut Call, stream: u32, step: u32, vector: *mut u32) -> Status,
    pub vector: unsafe extern "C" fn(call: *mut Call, values: *const f64, count: usize, vector: *mut u32) -> Status,
    pub vector_len: unsafe extern "C" fn(call: *mut Call, vector: u32, len: *mut u32) -> Status,
    pub vector_read:
        unsafe extern "C" fn(call: *mut Call, vector: u32, start: u32, count: u32, out: *mut f64) -> Status,
    /// Writes at most `count` rows; `second` and `excluded` may be `NO_HANDLE`.
    pub vector_top: unsafe extern "C" fn(
        call: *mut Call,
        vector: u32,
        second: u32,
        count: u32,
        excluded: u32,
        out: *mut u32,
        written: *mut u32,
    ) -> Status,
    /// The row is `NO_ROW` where there is none.
    pub vector_draw:
        unsafe extern "C" fn(call: *mut Call, vector: u32, stream: u32, excluded: u32, row: *mut u32) -> Status,
    pub mask: unsafe extern "C" fn(call: *mut Call, rows: u32, mask: *mut u32) -> Status,
    pub mask_exclude: unsafe extern "C" fn(call: *mut Call, mask: u32, rows: *const u32, count: usize) -> Status,
    pub mask_count: unsafe extern "C" fn(call: *mut Call, mask: u32, count: *mut u32) -> Status,
    pub matrix:
        unsafe extern "C" fn(call: *mut Call, rows: u32, columns: u32, values: *const f32, matrix: *mut u32) -> Status,
    pub matrix_shape: unsafe extern "C" fn(call: *mut Call, matrix: u32, rows: *mut u32, columns: *mut u32) -> Status,
    /// `out` has room for `capacity` values; `count` rows of the matrix's width must fit.
    pub matrix_read: unsafe extern "C" fn(
        call: *mut Call,
        matrix: u32,
        start: u32,
        count: u32,
        out: *mut f32,
        capacity: usize,
    ) -> Status,
    pub matrix_gather: unsafe extern "C" fn(
        call: *mut Call,
        matrix: u32,
        rows: *const u32,
        count: usize,
        gathered: *mut u32,
    ) -> Status,
    pub matrix_normalise: unsafe extern "C" fn(call: *mut Call, matrix: u32, normalised: *mut u32) -> Status,
    pub matrix_sq_norms: unsafe extern "C" fn(call: *mut Call, matrix: u32, vector: *mut u32) -> Status,
    pub matrix_mean:
        unsafe extern "C" fn(call: *mut Call, matrix: u32, out: *mut f64, capacity: u32, count: *mut u32) -> Status,
    pub matrix_product: unsafe extern "C" fn(
        call: *mut Call,
        left: u32,
        right: u32,
        transpose_right: bool,
        product: *mut u32,
    ) -> Status,
    pub softmax: unsafe extern "C" fn(call: *mut Call, logits: u32, matrix: *mut u32) -> Status,
    pub residual: unsafe extern "C" fn(call: *mut Call, logits: u32, matrix: *mut u32) -> Status,
    /// 0: least confidence, 1: margin, 2: ratio, 3: entropy.
    pub uncertainty:
        unsafe extern "C" fn(call: *mut Call, logits: u32, measure: u32, vector: *mut u32, second: *mut u32) -> Status,
    /// Metrics: 0 squared Euclidean, 1 Euclidean, 2 cosine. Reductions: 0 min, 1 argmin, 2 sum, 3 count within `radius`.
    pub distance_reduce: unsafe extern "C" fn(
        call: *mut Call,
        rows: u32,
        centres: u32,
        metric: u32,
        reduction: u32,
        radius: f64,
        vector: *mut u32,
    ) -> Status,
    pub neighbour_distance:
        unsafe extern "C" fn(call: *mut Call, rows: u32, neighbours: u32, metric: u32, vector: *mut u32) -> Status,
    pub neighbours_within:
        unsafe extern "C" fn(call: *mut Call, rows: u32, radius: f64, metric: u32, graph: *mut u32) -> Status,
    pub graph_degrees: unsafe extern "C" fn(call: *mut Call, graph: u32, vector: *mut u32) -> Status,
    pub graph_neighbours: unsafe extern "C" fn(
        call: *mut Call,
        graph: u32,
        row: u32,
        out: *mut u32,
        capacity: u32,
        count: *mut u32,
    ) -> Status,
    pub points: unsafe extern "C" fn(call: *mut Call, matrix: u32, points: *mut u32) -> Status,
    pub points_factored: unsafe extern "C" fn(call: *mut Call, left: u32, right: u32, points: *mut u32) -> Status,
    pub points_sq_norms: unsafe extern "C" fn(call: *mut Call, points: u32, vector: *mut u32) -> Status,
    pub nearest: unsafe extern "C" fn(call: *mut Call, points: u32, metric: u32, nearest: *mut u32) -> Status,
    pub nearest_add: unsafe extern "C" fn(call: *mut Call, nearest: u32, rows: *const u32, count: usize) -> Status,
    pub nearest_add_points: unsafe extern "C" fn(call: *mut Call, nearest: u32, points: u32) -> Status,
    /// The row is `NO_ROW` where every row is excluded.
    pub nearest_farthest:
        unsafe extern "C" fn(call: *mut Call, nearest: u32, excluded: u32, row: *mut u32, distance: *mut f64) -> Status,
    pub nearest_draw:
        unsafe extern "C" fn(call: *mut Call, nearest: u32, stream: u32, excluded: u32, row: *mut u32) -> Status,
    pub nearest_values: unsafe extern "C" fn(call: *mut Call, nearest: u32, vector: *mut u32) -> Status,
    pub kmeans: unsafe extern "C" fn(
        call: *mut Call,
        rows: u32,
        weights: u32,
        options: *const Kmeans,
        stream: u32,
        clustering: *mut u32,
    ) -> Status,
    pub clustering_sizes:
        unsafe extern "C" fn(call: *mut Call, clustering: u32, out: *mut u32, capacity: u32, count: *mut u32) -> Status,
    pub clustering_read:
        unsafe extern "C" fn(call: *mut Call, clustering: u32, start: u32, count: u32, out: *mut u32) -> Status,
    pub clustering_centres: unsafe extern "C" fn(call: *mut Call, clustering: u32, matrix: *mut u32) -> Status,
    pub clustering_inertia: unsafe extern "C" fn(call: *mut Call, clustering: u32, inertia: *mut f64) -> Status,
    /// A cluster without a member is `NO_ROW`.
    pub clustering_representatives: unsafe extern "C" fn(
        call: *mut Call,
        clustering: u32,
        excluded: u32,
        out: *mut u32,
        capacity: u32,
        count: *mut u32,
    ) -> Status,
    /// An array that the strategy declared, as a `DLManagedTensorVersioned*` (DLPack 1.x), read-only, in the memory where
    /// it lies. Its `deleter` must be called before the call that lent it returns.
    pub array_dlpack: unsafe extern "C" fn(call: *mut Call, name: Bytes, tensor: *mut *mut c_void) -> Status,
    pub labelled_ids: unsafe extern "C" fn(call: *mut Call, start: u32, count: u32, out: *mut u64) -> Status,
    pub matrix_stack: unsafe extern "C" fn(call: *mut Call, top: u32, bottom: u32, stacked: *mut u32) -> Status,
    /// Similarities: 0 rbf, 1 Laplace, 2 Student, 3 Cauchy, 4 top hat. `weights` may be `NO_HANDLE`.
    pub facility: unsafe extern "C" fn(
        call: *mut Call,
        rows: u32,
        references: u32,
        weights: u32,
        similarity: u32,
        width: f64,
        facility: *mut u32,
    ) -> Status,
    pub facility_add: unsafe extern "C" fn(call: *mut Call, facility: u32, rows: *const u32, count: usize) -> Status,
    pub facility_add_others: unsafe extern "C" fn(call: *mut Call, facility: u32, others: u32) -> Status,
    /// The row is `NO_ROW` where every row is excluded.
    pub facility_best:
        unsafe extern "C" fn(call: *mut Call, facility: u32, excluded: u32, row: *mut u32, gain: *mut f64) -> Status,
    pub mixture_entropy:
        unsafe extern "C" fn(call: *mut Call, log_probs: u32, weights: u32, shares: u32, vector: *mut u32) -> Status,
    pub average_linkage: unsafe extern "C" fn(
        call: *mut Call,
        rows: u32,
        metric: u32,
        out: *mut Merge,
        capacity: u32,
        count: *mut u32,
    ) -> Status,
    pub design: unsafe extern "C" fn(
        call: *mut Call,
        pool_factors: u32,
        pool_embeddings: u32,
        labelled_factors: u32,
        labelled_embeddings: u32,
        options: *const Design,
        design: *mut u32,
    ) -> Status,
    /// The row is `NO_ROW` where all are added.
    pub design_best: unsafe extern "C" fn(call: *mut Call, design: u32, row: *mut u32, fall: *mut f64) -> Status,
    /// The row is `NO_ROW` where none is added.
    pub design_least: unsafe extern "C" fn(call: *mut Call, design: u32, row: *mut u32, rise: *mut f64) -> Status,
    pub design_add: unsafe extern "C" fn(call: *mut Call, design: u32, row: u32) -> Status,
    pub design_remove: unsafe extern "C" fn(call: *mut Call, design: u32, row: u32) -> Status,
    pub has: unsafe extern "C" fn(call: *mut Call, name: Bytes, has: *mut bool) -> Status,
    pub head_logits: unsafe extern "C" fn(call: *mut Call, embeddings: u32, logits: *mut u32) -> Status,
    /// One class for each row of the embeddings.
    pub head_gradients: unsafe extern "C" fn(
        call: *mut Call,
        embeddings: u32,
        classes: *const u32,
        count: usize,
        gradients: *mut u32,
    ) -> Status,
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

/// A text padded with zeros to its room; what does not fit is cut off.
pub const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let (bytes, mut out, mut i) = (text.as_bytes(), [0; N], 0);
    // The last byte stays 0, so that every text ends.
    while i < bytes.len() && i + 1 < N {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// The text in a padded room, or `None` if it is not UTF-8.
pub fn unpadded(room: &[u8]) -> Option<&str> {
    let end = room.iter().position(|&byte| byte == 0).unwrap_or(room.len());
    std::str::from_utf8(&room[..end]).ok()
}

impl Bytes {
    /// Bytes that are there for as long as `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }

    /// # Safety
    /// `data` must be readable for `len` bytes for as long as the result is used, or `len` be 0.
    pub unsafe fn get<'a>(self) -> &'a [u8] {
        if self.len == 0 || self.data.is_null() {
            return &[];
        }
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }
}
