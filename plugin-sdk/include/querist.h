// The boundary of native plugins for Querist. Made from plugin-sdk/protocol/src/abi.rs; do not edit.
//
// A plugin exports `querist_plugin_v1` and one QUERIST_IDENTITY, and is packed by `querist plugin pack`.

#ifndef QUERIST_H
#define QUERIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Version of the tables' layout; another one cannot be read.
#define QueristABI_MAJOR 1

// Version of the tables' length: higher ones have more functions at the end.
#define QueristABI_MINOR 1

// Stands for "no handle" where one may be left out.
#define QueristNO_HANDLE UINT32_MAX

// Stands for "no row" in answers that may have none.
#define QueristNO_ROW UINT32_MAX

// Stage maps that a model hands out at most.
#define QueristMAX_STAGES 8

// Channels of an image at most for which the values of black and white are told.
#define QueristMAX_CHANNELS 4

// The plugin's code unwinds on a panic.
#define QueristPANIC_UNWIND 1

// The plugin's code ends the process on a panic, so it is not loaded into the host's.
#define QueristPANIC_ABORT 2

// The plugin's language has no panics.
#define QueristPANIC_NONE 0

// The plugin uses no libtorch.
#define QueristTIER_PLAIN 0

// The plugin shares the host's libtorch.
#define QueristTIER_TORCH 1

// A forward pass runs as in training: dropout on, batch-norm with the batch's statistics.
#define QueristFORWARD_TRAIN 1

// A forward pass is recorded for gradients.
#define QueristFORWARD_GRAD 2

// A forward pass hands out stage maps.
#define QueristFORWARD_STAGES 4

// The model of the round before is asked, not this round's.
#define QueristFORWARD_PREVIOUS 8

// How a call ended: 0 for well, anything else is an error. Functions of the host return 1 + the number of the fault's
// kind, in the order of [`crate::FaultCode`]; `fault_text` tells its sentence. Functions of a plugin return
// [`FAILED`] or [`PANICKED`] after they called `fail`.
typedef uint32_t QueristStatus;

// Why a plugin gives no answer, for `fail`.
typedef uint32_t QueristFailKind;

// One call of the host into a plugin; whatever the plugin asks meanwhile goes by it. Valid until that call returns, on
// that thread.
typedef struct QueristCall {
  uint8_t _private[0];
} QueristCall;

// What a strategy that uses images or the model may know of the task.
typedef struct QueristTask {
  // Round of the run, from 0.
  uint32_t round;
  // Labelled samples.
  uint32_t labelled;
  // Samples that were labelled at the start of the run.
  uint32_t initial;
  // Unlabelled samples.
  uint32_t pool;
  // Samples to ask for; 0 where nothing is asked.
  uint32_t batch;
  // Classes.
  uint32_t classes;
  // Channels of an image.
  uint32_t channels;
  // Height of an image.
  uint32_t height;
  // Width of an image.
  uint32_t width;
  // Epochs of the task's training.
  uint32_t epochs;
  // Labelled samples of a training minibatch.
  uint32_t minibatch;
  // Width of an embedding.
  uint32_t embedding;
  // The recipe's weight decay.
  double weight_decay;
  // -1 for the CPU, else the number of the CUDA device.
  int32_t device;
  // Stage maps that the model hands out, at most `MAX_STAGES`.
  uint32_t stages;
  // Channels of each.
  uint32_t stage_channels[QueristMAX_STAGES];
  // What byte 0 becomes by normalisation, in each of the first channels.
  float black[QueristMAX_CHANNELS];
  // What byte 255 becomes.
  float white[QueristMAX_CHANNELS];
} QueristTask;

// Bytes of UTF-8, or of a blob; not ended by a 0.
typedef struct QueristBytes {
  // The first byte; may be null where there are none.
  const uint8_t *data;
  // How many.
  uintptr_t len;
} QueristBytes;

// Which images a stream gives, and how.
typedef struct QueristStreamSpec {
  // 0: the labelled set; 1: the pool; 2: `rows` of the pool.
  uint32_t of;
  // 0: the training transform; 1: the eval transform.
  uint32_t transform;
  // Images of a batch, 1 or more.
  uint32_t batch;
  // Whether each pass has a new random order.
  bool shuffle;
  // Whether a new pass starts where one ends.
  bool infinite;
  // Whether a last batch that is short is left out. An infinite stream whose set is smaller than a batch gives the
  // whole set.
  bool drop_last;
  // Name of its random numbers; two streams of one name go alike.
  struct QueristBytes tag;
  // Rows of the pool, where `of` is 2.
  const uint32_t *rows;
  // How many.
  uintptr_t row_count;
} QueristStreamSpec;

// A tensor of libtorch: the address of an `at::Tensor`. Null stands for "none".
typedef void *QueristTensor;

// One batch of a stream. Tensors are given.
typedef struct QueristImageBatch {
  // `f32 [n, channels, height, width]`; null at the end of the stream.
  QueristTensor images;
  // `i64 [n]`; null but for the labelled set.
  QueristTensor labels;
  // `i64 [n]` on the CPU: rows of the pool, or of the labelled set.
  QueristTensor rows;
} QueristImageBatch;

// What a forward pass gives. Tensors are given.
typedef struct QueristOutputs {
  // `f32 [n, classes]`.
  QueristTensor logits;
  // `f32 [n, embedding]`.
  QueristTensor embeddings;
  // Stage maps, `f32 [n, channels, height, width]` each.
  QueristTensor stages[QueristMAX_STAGES];
  // How many stage maps there are.
  uint32_t stage_count;
} QueristOutputs;

// What the host does for plugins that share its libtorch. See [`HostApi`] for how functions end.
typedef struct QueristTorchApi {
  // Bytes of this table.
  uint32_t size;
  // [`ABI_MINOR`] of the host.
  uint32_t minor;
  // Facts about the task.
  QueristStatus (*task)(struct QueristCall *call, struct QueristTask *out);
  // Opens a stream of images.
  QueristStatus (*open_stream)(struct QueristCall *call, const struct QueristStreamSpec *spec, uint32_t *stream);
  // The next batch of a stream; `images` is null at its end.
  QueristStatus (*next_batch)(struct QueristCall *call, uint32_t stream, struct QueristImageBatch *out);
  // Closes a stream.
  QueristStatus (*close_stream)(struct QueristCall *call, uint32_t stream);
  // Runs the task's model on normalised images; `flags` is a sum of `FORWARD_...`.
  QueristStatus (*forward)(struct QueristCall *call, QueristTensor images, uint32_t flags, struct QueristOutputs *out);
  // Runs the task's head on embeddings; `flags` as for `forward`.
  QueristStatus (*head_forward)(struct QueristCall *call,
                                QueristTensor embeddings,
                                uint32_t flags,
                                QueristTensor *logits);
  // The model's parameters, given as references to the same storage: for gradients, never to be changed. Up to
  // `capacity` are written; `count` is how many there are.
  QueristStatus (*parameters)(struct QueristCall *call, QueristTensor *out, uint32_t capacity, uint32_t *count);
  // For each image the norm of the gradient, over all parameters, of the sum over classes of `targets` times
  // cross-entropy: `f32 [n]`, for images `[n, ...]` and targets `f32 [n, classes]`, in eval mode.
  QueristStatus (*gradient_norms)(struct QueristCall *call,
                                  QueristTensor images,
                                  QueristTensor targets,
                                  QueristTensor *norms);
  // Records a named figure of this round.
  QueristStatus (*log_metric)(struct QueristCall *call, struct QueristBytes name, double value);
  // Hands in images to train on from the next round on, each with the label that the oracle gives for its row: `images`
  // is `f32 [n, channels, height, width]`, normalised and finite, `rows` are n distinct rows that the query then
  // picks. Only inside a query, by a strategy that needs `synthetic_images`. Since minor version 1.
  QueristStatus (*add_synthetic)(struct QueristCall *call,
                                 const uint32_t *rows,
                                 uintptr_t row_count,
                                 QueristTensor images);
} QueristTorchApi;

// Facts about the query at hand; see [`crate::QueryInfo`].
typedef struct QueristInfo {
  // Rows that are visible.
  uint32_t rows;
  // Pool row of the first visible row.
  uint32_t first_row;
  // Samples in the labelled set.
  uint32_t labelled_rows;
  // Classes of the task.
  uint32_t classes;
  // Samples to ask for.
  uint32_t batch;
  // Round of the run, from 0.
  uint32_t round;
} QueristInfo;

// Settings of k-means; see [`crate::KmeansOptions`].
typedef struct QueristKmeans {
  // Number of clusters.
  uint32_t clusters;
  // Restarts.
  uint32_t restarts;
  // Iterations of one restart at most.
  uint32_t max_iterations;
  // 0: each next centre drawn by squared distance; 1: distinct rows at random.
  uint32_t init;
  // Least relative fall of inertia.
  double tolerance;
} QueristKmeans;

// One step of a hierarchical clustering; see [`crate::Merge`].
typedef struct QueristMerge {
  // The cluster that the merged one is named after.
  uint32_t left;
  // The other one.
  uint32_t right;
  // Their distance.
  double height;
} QueristMerge;

// How a design weighs information; see [`crate::DesignOptions`].
typedef struct QueristDesign {
  // Columns of a row's factor.
  uint32_t rank;
  // Multiple of the identity that the information starts from.
  double ridge;
  // Weight of a labelled row's information.
  double labelled_weight;
  // Weight of an added row's information.
  double added_weight;
} QueristDesign;

// What the host does for every plugin. A function's meaning is that of the method of [`crate::HostCalls`] of the same
// name. Lists are written to room that the caller provides; where their length is not known beforehand, `capacity` says
// how much room there is, `count` how many there are, and nothing is written if that is more.
typedef struct QueristHostApi {
  // Bytes of this table.
  uint32_t size;
  // [`ABI_MINOR`] of the host.
  uint32_t minor;
  // Services over the host's libtorch; null where it has none.
  const struct QueristTorchApi *torch;
  // Says why the plugin gives no answer. `fault` is the status of the refused host call for `FAIL_FAULT`, else 0.
  void (*fail)(struct QueristCall *call, QueristFailKind kind, QueristStatus fault, struct QueristBytes message);
  // The sentence of the last refused host call, up to `capacity` bytes; returns its whole length.
  uintptr_t (*fault_text)(struct QueristCall *call, uint8_t *out, uintptr_t capacity);
  // Answers `describe`, `needs` and `plan_round`: JSON.
  QueristStatus (*answer_text)(struct QueristCall *call, struct QueristBytes json);
  // Answers `score`: a vector of one score a row, and one of tie-breakers or `NO_HANDLE`.
  QueristStatus (*answer_scores)(struct QueristCall *call, uint32_t primary, uint32_t second);
  // Answers `select`: distinct pool rows in pick order, and a finite score for each or null.
  QueristStatus (*answer_rows)(struct QueristCall *call, const uint32_t *rows, const double *scores, uintptr_t count);
  // Adds a named figure to the answer.
  QueristStatus (*answer_diagnostic)(struct QueristCall *call, struct QueristBytes name, double value);
  // State to hand back in the next round.
  QueristStatus (*answer_state)(struct QueristCall *call, struct QueristBytes state);
  void (*release)(struct QueristCall *call, uint32_t handle);
  QueristStatus (*info)(struct QueristCall *call, struct QueristInfo *out);
  QueristStatus (*ids)(struct QueristCall *call, uint32_t start, uint32_t count, uint64_t *out);
  QueristStatus (*input)(struct QueristCall *call, struct QueristBytes name, uint32_t *matrix);
  QueristStatus (*labels)(struct QueristCall *call,
                          struct QueristBytes name,
                          uint32_t start,
                          uint32_t count,
                          uint32_t *out);
  // 0: debug, 1: info, 2: warning.
  QueristStatus (*log)(struct QueristCall *call, uint32_t level, struct QueristBytes message);
  // Reports progress; fails once the user has cancelled or time is up.
  QueristStatus (*progress)(struct QueristCall *call, uint64_t done, uint64_t total);
  // `scope` is 0 for fresh numbers in every round, 1 for the same ones.
  QueristStatus (*stream)(struct QueristCall *call, struct QueristBytes tag, uint32_t scope, uint32_t *stream);
  QueristStatus (*stream_uniforms)(struct QueristCall *call, uint32_t stream, uint32_t count, double *out);
  QueristStatus (*stream_by_row)(struct QueristCall *call, uint32_t stream, uint32_t step, uint32_t *vector);
  QueristStatus (*vector)(struct QueristCall *call, const double *values, uintptr_t count, uint32_t *vector);
  QueristStatus (*vector_len)(struct QueristCall *call, uint32_t vector, uint32_t *len);
  QueristStatus (*vector_read)(struct QueristCall *call, uint32_t vector, uint32_t start, uint32_t count, double *out);
  // Writes at most `count` rows; `second` and `excluded` may be `NO_HANDLE`.
  QueristStatus (*vector_top)(struct QueristCall *call,
                              uint32_t vector,
                              uint32_t second,
                              uint32_t count,
                              uint32_t excluded,
                              uint32_t *out,
                              uint32_t *written);
  // The row is `NO_ROW` where there is none.
  QueristStatus (*vector_draw)(struct QueristCall *call,
                               uint32_t vector,
                               uint32_t stream,
                               uint32_t excluded,
                               uint32_t *row);
  QueristStatus (*mask)(struct QueristCall *call, uint32_t rows, uint32_t *mask);
  QueristStatus (*mask_exclude)(struct QueristCall *call, uint32_t mask, const uint32_t *rows, uintptr_t count);
  QueristStatus (*mask_count)(struct QueristCall *call, uint32_t mask, uint32_t *count);
  QueristStatus (*matrix)(struct QueristCall *call,
                          uint32_t rows,
                          uint32_t columns,
                          const float *values,
                          uint32_t *matrix);
  QueristStatus (*matrix_shape)(struct QueristCall *call, uint32_t matrix, uint32_t *rows, uint32_t *columns);
  // `out` has room for `capacity` values; `count` rows of the matrix's width must fit.
  QueristStatus (*matrix_read)(struct QueristCall *call,
                               uint32_t matrix,
                               uint32_t start,
                               uint32_t count,
                               float *out,
                               uintptr_t capacity);
  QueristStatus (*matrix_gather)(struct QueristCall *call,
                                 uint32_t matrix,
                                 const uint32_t *rows,
                                 uintptr_t count,
                                 uint32_t *gathered);
  QueristStatus (*matrix_normalise)(struct QueristCall *call, uint32_t matrix, uint32_t *normalised);
  QueristStatus (*matrix_sq_norms)(struct QueristCall *call, uint32_t matrix, uint32_t *vector);
  QueristStatus (*matrix_mean)(struct QueristCall *call,
                               uint32_t matrix,
                               double *out,
                               uint32_t capacity,
                               uint32_t *count);
  QueristStatus (*matrix_product)(struct QueristCall *call,
                                  uint32_t left,
                                  uint32_t right,
                                  bool transpose_right,
                                  uint32_t *product);
  QueristStatus (*softmax)(struct QueristCall *call, uint32_t logits, uint32_t *matrix);
  QueristStatus (*residual)(struct QueristCall *call, uint32_t logits, uint32_t *matrix);
  // 0: least confidence, 1: margin, 2: ratio, 3: entropy.
  QueristStatus (*uncertainty)(struct QueristCall *call,
                               uint32_t logits,
                               uint32_t measure,
                               uint32_t *vector,
                               uint32_t *second);
  // Metrics: 0 squared Euclidean, 1 Euclidean, 2 cosine. Reductions: 0 min, 1 argmin, 2 sum, 3 count within `radius`.
  QueristStatus (*distance_reduce)(struct QueristCall *call,
                                   uint32_t rows,
                                   uint32_t centres,
                                   uint32_t metric,
                                   uint32_t reduction,
                                   double radius,
                                   uint32_t *vector);
  QueristStatus (*neighbour_distance)(struct QueristCall *call,
                                      uint32_t rows,
                                      uint32_t neighbours,
                                      uint32_t metric,
                                      uint32_t *vector);
  QueristStatus (*neighbours_within)(struct QueristCall *call,
                                     uint32_t rows,
                                     double radius,
                                     uint32_t metric,
                                     uint32_t *graph);
  QueristStatus (*graph_degrees)(struct QueristCall *call, uint32_t graph, uint32_t *vector);
  QueristStatus (*graph_neighbours)(struct QueristCall *call,
                                    uint32_t graph,
                                    uint32_t row,
                                    uint32_t *out,
                                    uint32_t capacity,
                                    uint32_t *count);
  QueristStatus (*points)(struct QueristCall *call, uint32_t matrix, uint32_t *points);
  QueristStatus (*points_factored)(struct QueristCall *call, uint32_t left, uint32_t right, uint32_t *points);
  QueristStatus (*points_sq_norms)(struct QueristCall *call, uint32_t points, uint32_t *vector);
  QueristStatus (*nearest)(struct QueristCall *call, uint32_t points, uint32_t metric, uint32_t *nearest);
  QueristStatus (*nearest_add)(struct QueristCall *call, uint32_t nearest, const uint32_t *rows, uintptr_t count);
  QueristStatus (*nearest_add_points)(struct QueristCall *call, uint32_t nearest, uint32_t points);
  // The row is `NO_ROW` where every row is excluded.
  QueristStatus (*nearest_farthest)(struct QueristCall *call,
                                    uint32_t nearest,
                                    uint32_t excluded,
                                    uint32_t *row,
                                    double *distance);
  QueristStatus (*nearest_draw)(struct QueristCall *call,
                                uint32_t nearest,
                                uint32_t stream,
                                uint32_t excluded,
                                uint32_t *row);
  QueristStatus (*nearest_values)(struct QueristCall *call, uint32_t nearest, uint32_t *vector);
  QueristStatus (*kmeans)(struct QueristCall *call,
                          uint32_t rows,
                          uint32_t weights,
                          const struct QueristKmeans *options,
                          uint32_t stream,
                          uint32_t *clustering);
  QueristStatus (*clustering_sizes)(struct QueristCall *call,
                                    uint32_t clustering,
                                    uint32_t *out,
                                    uint32_t capacity,
                                    uint32_t *count);
  QueristStatus (*clustering_read)(struct QueristCall *call,
                                   uint32_t clustering,
                                   uint32_t start,
                                   uint32_t count,
                                   uint32_t *out);
  QueristStatus (*clustering_centres)(struct QueristCall *call, uint32_t clustering, uint32_t *matrix);
  QueristStatus (*clustering_inertia)(struct QueristCall *call, uint32_t clustering, double *inertia);
  // A cluster without a member is `NO_ROW`.
  QueristStatus (*clustering_representatives)(struct QueristCall *call,
                                              uint32_t clustering,
                                              uint32_t excluded,
                                              uint32_t *out,
                                              uint32_t capacity,
                                              uint32_t *count);
  // An array that the strategy declared, as a `DLManagedTensorVersioned*` (DLPack 1.x), read-only, in the memory where
  // it lies. Its `deleter` must be called before the call that lent it returns.
  QueristStatus (*array_dlpack)(struct QueristCall *call, struct QueristBytes name, void **tensor);
  QueristStatus (*labelled_ids)(struct QueristCall *call, uint32_t start, uint32_t count, uint64_t *out);
  QueristStatus (*matrix_stack)(struct QueristCall *call, uint32_t top, uint32_t bottom, uint32_t *stacked);
  // Similarities: 0 rbf, 1 Laplace, 2 Student, 3 Cauchy, 4 top hat. `weights` may be `NO_HANDLE`.
  QueristStatus (*facility)(struct QueristCall *call,
                            uint32_t rows,
                            uint32_t references,
                            uint32_t weights,
                            uint32_t similarity,
                            double width,
                            uint32_t *facility);
  QueristStatus (*facility_add)(struct QueristCall *call, uint32_t facility, const uint32_t *rows, uintptr_t count);
  QueristStatus (*facility_add_others)(struct QueristCall *call, uint32_t facility, uint32_t others);
  // The row is `NO_ROW` where every row is excluded.
  QueristStatus (*facility_best)(struct QueristCall *call,
                                 uint32_t facility,
                                 uint32_t excluded,
                                 uint32_t *row,
                                 double *gain);
  QueristStatus (*mixture_entropy)(struct QueristCall *call,
                                   uint32_t log_probs,
                                   uint32_t weights,
                                   uint32_t shares,
                                   uint32_t *vector);
  QueristStatus (*average_linkage)(struct QueristCall *call,
                                   uint32_t rows,
                                   uint32_t metric,
                                   struct QueristMerge *out,
                                   uint32_t capacity,
                                   uint32_t *count);
  QueristStatus (*design)(struct QueristCall *call,
                          uint32_t pool_factors,
                          uint32_t pool_embeddings,
                          uint32_t labelled_factors,
                          uint32_t labelled_embeddings,
                          const struct QueristDesign *options,
                          uint32_t *design);
  // The row is `NO_ROW` where all are added.
  QueristStatus (*design_best)(struct QueristCall *call, uint32_t design, uint32_t *row, double *fall);
  // The row is `NO_ROW` where none is added.
  QueristStatus (*design_least)(struct QueristCall *call, uint32_t design, uint32_t *row, double *rise);
  QueristStatus (*design_add)(struct QueristCall *call, uint32_t design, uint32_t row);
  QueristStatus (*design_remove)(struct QueristCall *call, uint32_t design, uint32_t row);
  QueristStatus (*has)(struct QueristCall *call, struct QueristBytes name, bool *has);
  QueristStatus (*head_logits)(struct QueristCall *call, uint32_t embeddings, uint32_t *logits);
  // One class for each row of the embeddings.
  QueristStatus (*head_gradients)(struct QueristCall *call,
                                  uint32_t embeddings,
                                  const uint32_t *classes,
                                  uintptr_t count,
                                  uint32_t *gradients);
} QueristHostApi;

// A living strategy of a plugin.
typedef struct QueristStrategy {
  uint8_t _private[0];
} QueristStrategy;

// One training minibatch, as `batch_loss` sees it. All tensors are lent.
typedef struct QueristMinibatch {
  // Epoch, from 0.
  uint32_t epoch;
  // Minibatch of the epoch, from 0.
  uint32_t step;
  // `f32 [n, channels, height, width]`, augmented and normalised.
  QueristTensor images;
  // `i64 [n]`.
  QueristTensor labels;
  // `f32 [n, classes]`, on the graph.
  QueristTensor logits;
  // `f32 [n, embedding]`, on the graph, before dropout.
  QueristTensor embeddings;
  // `f32 [n]`: cross-entropy of each sample, on the graph; null unless asked for.
  QueristTensor losses;
  // `f32 [m, channels, height, width]` of the pool; null unless asked for.
  QueristTensor unlabelled;
  // Stage maps, `f32 [n, channels, height, width]` each, on the graph; none unless asked for.
  QueristTensor stages[QueristMAX_STAGES];
  // How many stage maps there are.
  uint32_t stage_count;
} QueristMinibatch;

// What `batch_loss` adds to a minibatch's loss.
typedef struct QueristLoss {
  // A scalar on the graph that is added; null for none. Given away.
  QueristTensor extra;
  // What the mean cross-entropy is multiplied with, in [0, 1].
  double task_scale;
} QueristLoss;

// Figures of a finished epoch.
typedef struct QueristEpochFigures {
  // Mean loss over the training samples.
  double loss;
  // Share of right predictions.
  double accuracy;
  // Learning rate at its end.
  double lr;
} QueristEpochFigures;

// What a plugin does. A function that the plugin does not have is null. Every function but `destroy` ends with a
// [`Status`]; answers go by the host's `answer_...` functions.
typedef struct QueristPluginApi {
  // Bytes of this table.
  uint32_t size;
  // [`ABI_MINOR`] of the plugin.
  uint32_t minor;
  // Answers with the package's description: JSON of [`crate::Description`].
  QueristStatus (*describe)(struct QueristCall *call);
  // Answers with the needs of strategy `id` under `params`: a JSON list of texts.
  QueristStatus (*needs)(struct QueristCall *call, struct QueristBytes id, struct QueristBytes params);
  // Scores the visible rows.
  QueristStatus (*score)(struct QueristCall *call, struct QueristBytes id, struct QueristBytes params);
  // Selects from the pool. `state` is what was kept in the round before.
  QueristStatus (*select)(struct QueristCall *call,
                          struct QueristBytes id,
                          struct QueristBytes params,
                          struct QueristBytes state);
  // Makes a living strategy for one round, with the state of the round before (no bytes where there is none).
  QueristStatus (*create)(struct QueristCall *call,
                          struct QueristBytes id,
                          struct QueristBytes params,
                          struct QueristBytes state,
                          struct QueristStrategy **strategy);
  // Ends it.
  void (*destroy)(struct QueristStrategy *strategy);
  // Whether strategy `id` takes part in training at all: sets `live`.
  QueristStatus (*has_hooks)(struct QueristCall *call, struct QueristBytes id, bool *live);
  // Answers with JSON of [`crate::TrainOverrides`], before the model is built.
  QueristStatus (*plan_round)(struct QueristCall *call, struct QueristStrategy *strategy);
  // The model is built, nothing is trained.
  QueristStatus (*train_begin)(struct QueristCall *call, struct QueristStrategy *strategy);
  // An epoch begins.
  QueristStatus (*epoch_begin)(struct QueristCall *call, struct QueristStrategy *strategy, uint32_t epoch);
  // After the forward pass, before the backward pass.
  QueristStatus (*batch_loss)(struct QueristCall *call,
                              struct QueristStrategy *strategy,
                              const struct QueristMinibatch *minibatch,
                              struct QueristLoss *loss);
  // After the optimiser's step.
  QueristStatus (*batch_step)(struct QueristCall *call, struct QueristStrategy *strategy, uint32_t epoch, uint32_t step);
  // An epoch is over.
  QueristStatus (*epoch_end)(struct QueristCall *call,
                             struct QueristStrategy *strategy,
                             uint32_t epoch,
                             const struct QueristEpochFigures *figures);
  // Training is over.
  QueristStatus (*train_end)(struct QueristCall *call, struct QueristStrategy *strategy);
  // Answers with rows, as `select` does.
  QueristStatus (*query)(struct QueristCall *call, struct QueristStrategy *strategy);
  // Answers with the state to keep for the next round, by `answer_state`, or with nothing.
  QueristStatus (*save_state)(struct QueristCall *call, struct QueristStrategy *strategy);
} QueristPluginApi;

// Who a plugin is, in the section [`IDENTITY_SECTION`] of its file: read before any of its code is loaded. Texts end
// at their first 0 byte.
typedef struct QueristIdentity {
  // [`IDENTITY_MAGIC`].
  uint8_t magic[8];
  // Size of this structure in bytes.
  uint32_t size;
  // [`ABI_MAJOR`].
  uint16_t abi_major;
  // [`ABI_MINOR`].
  uint16_t abi_minor;
  // What a panic does: `PANIC_UNWIND`, `PANIC_ABORT` or `PANIC_NONE`.
  uint8_t panic;
  // Whether libtorch is shared: `TIER_PLAIN` or `TIER_TORCH`.
  uint8_t tier;
  // Whether libtorch's C++ strings are those of C++11; 0 without libtorch.
  uint8_t cxx11;
  // 0.
  uint8_t reserved;
  // Name of the package.
  uint8_t package[64];
  // Version of the package.
  uint8_t version[32];
  // Compiler, such as `rustc 1.95.0`.
  uint8_t compiler[64];
  // Target triple.
  uint8_t target[64];
  // Version of libtorch whose headers it was built with, such as `2.11.0`; empty without libtorch.
  uint8_t libtorch[32];
  // SHA-256 of the package's description as JSON; zeros until the package is made.
  uint8_t description[32];
} QueristIdentity;

// The function that a plugin exports as [`ENTRY`]. Returns null if it cannot work with this host. Both tables live as
// long as the process.
typedef const struct QueristPluginApi *(*QueristEntry)(const struct QueristHostApi *host);

// The call did what it should.
#define QueristOK 0

// The plugin gave no answer and told the host why.
#define QueristFAILED 1

// The plugin's code panicked, was caught, and told the host so.
#define QueristPANICKED 2

// The strategy cannot answer.
#define QueristFAIL_FAILED 0

// The parameters do not fit.
#define QueristFAIL_INVALID_PARAMS 1

// The package has no such strategy.
#define QueristFAIL_UNKNOWN 2

// The code panicked.
#define QueristFAIL_PANIC 3

// A host call was refused and the refusal is passed on.
#define QueristFAIL_FAULT 4

#endif  /* QUERIST_H */


// Says who the plugin is; once in a plugin, at the top level. PACKAGE, VERSION and TARGET are string literals.
#define QUERIST_IDENTITY(PACKAGE, VERSION, TARGET)                                                     \
  __attribute__((used, section(".querist"))) static const QueristIdentity querist_identity = {         \
      {'Q', 'U', 'E', 'R', 'I', 'S', 'T', 0},                                                          \
      sizeof(QueristIdentity),                                                                         \
      QueristABI_MAJOR,                                                                                \
      QueristABI_MINOR,                                                                                \
      QueristPANIC_NONE,                                                                               \
      QueristTIER_PLAIN,                                                                               \
      0,                                                                                               \
      0,                                                                                               \
      PACKAGE,                                                                                         \
      VERSION,                                                                                         \
      "C " __VERSION__,                                                                                \
      TARGET,                                                                                          \
      "",                                                                                              \
      {0}}
