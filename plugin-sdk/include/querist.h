// The boundary of native plugins for Querist. Made from plugin-sdk/wit and plugin-sdk/protocol/src/abi.rs;
// do not edit.
//
// A plugin exports `querist_plugin_v2` and one QUERIST_IDENTITY, and is packed by `querist plugin pack`.

#ifndef QUERIST_H
#define QUERIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Version of the tables' layout; another one cannot be read.
#define QueristABI_MAJOR 2

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

// Functions of the newest version, counted from 0: higher ones have more functions at the end of the table.
#define QueristABI_MINOR 1

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
  // Hands in images to train on from the next round on, each with the label that the oracle gives for its row:
  // `images` is `f32 [n, channels, height, width]`, normalised and finite, `rows` are n distinct rows that the query
  // then picks. Only inside a query, by a strategy that needs `synthetic_images`. Since minor version 1.
  QueristStatus (*add_synthetic)(struct QueristCall *call,
                                 const uint32_t *rows,
                                 uintptr_t row_count,
                                 QueristTensor images);
} QueristTorchApi;

// A list that the host lends. It lives until the next call with the same [`Call`]: copy what is to be kept.
typedef struct QueristList_f64 {
  // The first value; may be null where there are none.
  const double *data;
  // How many.
  uintptr_t count;
} QueristList_f64;

// A list that the host lends. It lives until the next call with the same [`Call`]: copy what is to be kept.
typedef struct QueristList_u32 {
  // The first value; may be null where there are none.
  const uint32_t *data;
  // How many.
  uintptr_t count;
} QueristList_u32;

// A list that the host lends. It lives until the next call with the same [`Call`]: copy what is to be kept.
typedef struct QueristList_f32 {
  // The first value; may be null where there are none.
  const float *data;
  // How many.
  uintptr_t count;
} QueristList_f32;

// Plain facts about the query at hand.
typedef struct QueristQueryInfo {
  // Rows that are visible: the pool, or one tile of it for a scorer.
  uint32_t rows;
  // Pool row of the first visible row; 0 unless this is a tile.
  uint32_t first_row;
  // Samples in the labelled set.
  uint32_t labelled_rows;
  // Classes of the task, whether or not labels of each were seen.
  uint32_t classes;
  // Samples to select.
  uint32_t batch;
  // Round of the run, from 0.
  uint32_t round;
} QueristQueryInfo;

// A list that the host lends. It lives until the next call with the same [`Call`]: copy what is to be kept.
typedef struct QueristList_u64 {
  // The first value; may be null where there are none.
  const uint64_t *data;
  // How many.
  uintptr_t count;
} QueristList_u64;

// Settings of Lloyd's algorithm.
typedef struct QueristKmeansOptions {
  // Number of clusters, at most the number of rows.
  uint32_t clusters;
  // Restarts; the lowest inertia wins, then the earliest.
  uint32_t restarts;
  // Iterations of one restart at most.
  uint32_t max_iterations;
  // A restart ends when inertia falls by less than this share of itself.
  double tolerance;
  // Placement of the first centres. 0 kmeans plus plus, 1 random points.
  uint32_t init;
} QueristKmeansOptions;

// One step of a hierarchical clustering. A cluster is named by the lowest of its rows.
typedef struct QueristMerge {
  // The cluster that the merged one is named after.
  uint32_t left;
  // The other one, a larger number.
  uint32_t right;
  // Their distance.
  double height;
} QueristMerge;

// A list that the host lends. It lives until the next call with the same [`Call`]: copy what is to be kept.
typedef struct QueristList_Merge {
  // The first value; may be null where there are none.
  const struct QueristMerge *data;
  // How many.
  uintptr_t count;
} QueristList_Merge;

// A similarity of two rows.
typedef struct QueristSimilarity {
  // Its form. 0 rbf, 1 laplace, 2 student, 3 cauchy, 4 top hat.
  uint32_t kind;
  // Its width h, between 1e-100 and 1e100.
  double width;
} QueristSimilarity;

// How a design weighs information.
typedef struct QueristDesignOptions {
  // Columns of a row's factor; the factor's values are `[blocks, rank]`.
  uint32_t rank;
  // Multiple of the identity that the information starts from; above 0.
  double ridge;
  // Weight of a labelled row's information.
  double labelled_weight;
  // Weight of an added row's information.
  double added_weight;
} QueristDesignOptions;

// What the host does while one query is answered. `release` takes a handle; the others are explained one by one.
// They return 0, or the number of a fault, whose sentence `fault_text` tells.
typedef struct QueristCallTable {
  // Bytes of this table.
  uint32_t size;
  // [`ABI_MINOR`] of the host.
  uint32_t minor;
  // Releases an object; unknown handles are ignored.
  QueristStatus (*release)(struct QueristCall *call, uint32_t handle);
  // Opens the random stream named `tag`, at most 256 bytes. Opening it again gives the same values from the start.
  //
  // # Errors
  // If the tag is too long, or a limit is passed.
  //
  // `scope`: 0 round, 1 run.
  QueristStatus (*stream)(struct QueristCall *call, struct QueristBytes tag, uint32_t scope, uint32_t *out);
  // The next `count` uniform numbers in (0, 1).
  //
  // # Errors
  // If a limit is passed.
  QueristStatus (*stream_uniforms)(struct QueristCall *call,
                                   uint32_t stream,
                                   uint32_t count,
                                   struct QueristList_f64 *out);
  // One uniform number in (0, 1) for each visible row, which belongs to its sample: it does not depend on the order
  // of rows or on tiles. `step`, below 2^31, tells several numbers of one sample apart.
  //
  // # Errors
  // If `step` is too large, or a limit is passed.
  QueristStatus (*stream_by_row)(struct QueristCall *call, uint32_t stream, uint32_t step, uint32_t *out);
  // A vector with these values.
  //
  // # Errors
  // If a value is NaN, or a limit is passed.
  QueristStatus (*vector)(struct QueristCall *call, const double *values, uintptr_t values_count, uint32_t *out);
  // Number of values.
  //
  // # Errors
  // If the handle is bad.
  QueristStatus (*vector_len)(struct QueristCall *call, uint32_t vector, uint32_t *out);
  // A part of the values, `[count]`.
  //
  // # Errors
  // If the part lies outside.
  QueristStatus (*vector_read)(struct QueristCall *call,
                               uint32_t vector,
                               uint32_t start,
                               uint32_t count,
                               struct QueristList_f64 *out);
  // Rows of the `count` largest values, largest first; `second` breaks ties, then the lower row.
  //
  // # Errors
  // If lengths disagree.
  //
  // `second` may be `NO_HANDLE`.
  //
  // `excluded` may be `NO_HANDLE`.
  QueristStatus (*vector_top)(struct QueristCall *call,
                              uint32_t vector,
                              uint32_t second,
                              uint32_t count,
                              uint32_t excluded,
                              struct QueristList_u32 *out);
  // A row drawn with probability proportional to its value; none where all are 0.
  //
  // One uniform number u of the stream is used, always. Values are summed in `f64` in row order by blocks of 1024
  // rows, excluded rows as 0; the total is the sum of the block sums in order. The cumulative sum of a row is the
  // sum of the blocks before its own plus the sum inside its block up to it. The answer is the first row whose
  // cumulative sum exceeds u times the total, or the last row above 0 where rounding leaves none.
  //
  // # Errors
  // If a value is negative, or lengths disagree.
  //
  // `excluded` may be `NO_HANDLE`.
  //
  // `out_row` is `NO_ROW` for none.
  QueristStatus (*vector_draw)(struct QueristCall *call,
                               uint32_t vector,
                               uint32_t numbers,
                               uint32_t excluded,
                               uint32_t *out_row);
  // A mask over `rows` rows that excludes none.
  //
  // # Errors
  // If a limit is passed.
  QueristStatus (*mask)(struct QueristCall *call, uint32_t rows, uint32_t *out);
  // Excludes rows; excluding one twice is no error.
  //
  // # Errors
  // If there is no such row.
  QueristStatus (*mask_exclude)(struct QueristCall *call, uint32_t mask, const uint32_t *rows, uintptr_t rows_count);
  // How many rows are excluded.
  //
  // # Errors
  // If the handle is bad.
  QueristStatus (*mask_count)(struct QueristCall *call, uint32_t mask, uint32_t *out);
  // A matrix with these values, `[rows, columns]`.
  //
  // # Errors
  // If the sizes do not fit, a value is not finite, or a limit is passed.
  QueristStatus (*matrix)(struct QueristCall *call,
                          uint32_t rows,
                          uint32_t columns,
                          const float *values,
                          uintptr_t values_count,
                          uint32_t *out);
  // Rows and columns.
  //
  // # Errors
  // If the handle is bad.
  QueristStatus (*matrix_shape)(struct QueristCall *call, uint32_t matrix, uint32_t *out, uint32_t *out_second);
  // The values of some rows, `[count * columns]`.
  //
  // # Errors
  // If the rows lie outside.
  QueristStatus (*matrix_read)(struct QueristCall *call,
                               uint32_t matrix,
                               uint32_t start,
                               uint32_t count,
                               struct QueristList_f32 *out);
  // The named rows in the given order, as a matrix.
  //
  // # Errors
  // If there is no such row, or a limit is passed.
  QueristStatus (*matrix_gather)(struct QueristCall *call,
                                 uint32_t matrix,
                                 const uint32_t *rows,
                                 uintptr_t rows_count,
                                 uint32_t *out);
  // Each row divided by its Euclidean norm; rows of norm 0 stay 0.
  //
  // # Errors
  // If a limit is passed.
  QueristStatus (*matrix_normalise)(struct QueristCall *call, uint32_t matrix, uint32_t *out);
  // Squared Euclidean norm of each row.
  //
  // # Errors
  // If a limit is passed.
  QueristStatus (*matrix_sq_norms)(struct QueristCall *call, uint32_t matrix, uint32_t *out);
  // Mean of the rows, `[columns]`.
  //
  // # Errors
  // If there are no rows.
  QueristStatus (*matrix_mean)(struct QueristCall *call, uint32_t matrix, struct QueristList_f64 *out);
  // The product with `right`, or with its transpose.
  //
  // # Errors
  // If shapes do not fit, or a limit is passed.
  QueristStatus (*matrix_product)(struct QueristCall *call,
                                  uint32_t matrix,
                                  uint32_t right,
                                  bool transpose_right,
                                  uint32_t *out);
  // These rows, then those of `bottom`, as one matrix.
  //
  // # Errors
  // If the columns disagree, or a limit is passed.
  QueristStatus (*matrix_stack)(struct QueristCall *call, uint32_t matrix, uint32_t bottom, uint32_t *out);
  // Writes a line to the run's log.
  //
  // # Errors
  // If the log is full.
  //
  // `level`: 0 debug, 1 info, 2 warning.
  QueristStatus (*log)(struct QueristCall *call, uint32_t level, struct QueristBytes message);
  // Hands over the text of a panic before the plugin stops.
  QueristStatus (*panicked)(struct QueristCall *call, struct QueristBytes message);
  // Reports progress.
  //
  // # Errors
  // If the user has cancelled, or time is up; pass it on.
  QueristStatus (*progress)(struct QueristCall *call, uint64_t done, uint64_t total);
  // Facts about the query.
  QueristStatus (*info)(struct QueristCall *call, struct QueristQueryInfo *out);
  // Global sample ids of visible rows, ascending, `[count]`.
  //
  // # Errors
  // If the rows lie outside.
  QueristStatus (*ids)(struct QueristCall *call, uint32_t start, uint32_t count, struct QueristList_u64 *out);
  // Global ids of the labelled set, ascending, `[count]`: row i of every labelled array is sample i of these.
  //
  // # Errors
  // If the rows lie outside.
  QueristStatus (*labelled_ids)(struct QueristCall *call, uint32_t start, uint32_t count, struct QueristList_u64 *out);
  // Whether this query has a need that the strategy declared: of two choices it has one.
  //
  // # Errors
  // If it was not declared.
  QueristStatus (*has)(struct QueristCall *call, struct QueristBytes name, bool *out);
  // An `f32` array that the strategy declared, `[rows, rest]`; within a tile, only its rows.
  //
  // # Errors
  // If it was not declared, or holds whole numbers.
  QueristStatus (*input)(struct QueristCall *call, struct QueristBytes name, uint32_t *out);
  // A part of a `u32` array that the strategy declared (`labelled.labels`, `calibration.labels`), `[count]`.
  //
  // # Errors
  // If it was not declared, has fewer values, or holds floats.
  QueristStatus (*labels)(struct QueristCall *call,
                          struct QueristBytes name,
                          uint32_t start,
                          uint32_t count,
                          struct QueristList_u32 *out);
  // Number of neighbours of each row, itself included.
  //
  // # Errors
  // If a limit is passed.
  QueristStatus (*graph_degrees)(struct QueristCall *call, uint32_t graph, uint32_t *out);
  // The neighbours of a row, ascending.
  //
  // # Errors
  // If there is no such row.
  QueristStatus (*graph_neighbours)(struct QueristCall *call, uint32_t graph, uint32_t row, struct QueristList_u32 *out);
  // Number of rows in each cluster, `[clusters]`.
  //
  // # Errors
  // If the handle is bad.
  QueristStatus (*clustering_sizes)(struct QueristCall *call, uint32_t clustering, struct QueristList_u32 *out);
  // Cluster of some rows, `[count]`.
  //
  // # Errors
  // If the rows lie outside.
  QueristStatus (*clustering_read)(struct QueristCall *call,
                                   uint32_t clustering,
                                   uint32_t start,
                                   uint32_t count,
                                   struct QueristList_u32 *out);
  // The centres, `[clusters, columns]`.
  //
  // # Errors
  // If a limit is passed.
  QueristStatus (*clustering_centres)(struct QueristCall *call, uint32_t clustering, uint32_t *out);
  // Weighted sum of squared distances to the centres.
  //
  // # Errors
  // If the handle is bad.
  QueristStatus (*clustering_inertia)(struct QueristCall *call, uint32_t clustering, double *out);
  // For each cluster its member nearest to the centre, or none where no member is left.
  //
  // # Errors
  // If lengths disagree.
  //
  // `excluded` may be `NO_HANDLE`.
  //
  // `NO_ROW` stands for none.
  QueristStatus (*clustering_representatives)(struct QueristCall *call,
                                              uint32_t clustering,
                                              uint32_t excluded,
                                              struct QueristList_u32 *out);
  // Softmax of each row of logits.
  //
  // # Errors
  // If there are no classes, or a limit is passed.
  QueristStatus (*softmax)(struct QueristCall *call, uint32_t logits, uint32_t *out);
  // Softmax minus the one-hot of the largest logit (the lowest class among equals): the gradient of the predicted
  // class's cross-entropy at the logits.
  //
  // # Errors
  // If there are no classes, or a limit is passed.
  QueristStatus (*residual)(struct QueristCall *call, uint32_t logits, uint32_t *out);
  // Uncertainty of each row of logits, and its tie-breaker.
  //
  // # Errors
  // If there are fewer than two classes.
  //
  // `measure`: 0 least confidence, 1 margin, 2 ratio, 3 entropy.
  QueristStatus (*uncertainty)(struct QueristCall *call,
                               uint32_t logits,
                               uint32_t measure,
                               uint32_t *out,
                               uint32_t *out_second);
  // Each row's distances to the rows of `centres`, reduced to one value. No `rows x centres` object is made.
  //
  // # Errors
  // If widths disagree, or there are no centres.
  //
  // `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
  //
  // `reduction`: 0 min, 1 argmin, 2 sum, 3 count within.
  QueristStatus (*distance_reduce)(struct QueristCall *call,
                                   uint32_t rows,
                                   uint32_t centres,
                                   uint32_t metric,
                                   uint32_t reduction,
                                   double reduction_value,
                                   uint32_t *out);
  // Mean distance of each row to its `neighbours` (at least 1) nearest other rows.
  //
  // # Errors
  // If there are not that many other rows.
  //
  // `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
  QueristStatus (*neighbour_distance)(struct QueristCall *call,
                                      uint32_t rows,
                                      uint32_t neighbours,
                                      uint32_t metric,
                                      uint32_t *out);
  // Which rows lie nearer to each other than `radius` (strictly; every row is its own neighbour).
  //
  // # Errors
  // If a limit is passed.
  //
  // `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
  QueristStatus (*neighbours_within)(struct QueristCall *call,
                                     uint32_t rows,
                                     double radius,
                                     uint32_t metric,
                                     uint32_t *out);
  // k-means of the rows, optionally weighted.
  //
  // Centres are `f32`, and assignments, distances and inertia are those to them. An empty cluster moves to the row
  // farthest from its centre among clusters of several rows; a cluster may stay empty where rows are equal.
  //
  // # Errors
  // If there are fewer rows than clusters, or an option has no meaning.
  //
  // `weights` may be `NO_HANDLE`.
  QueristStatus (*kmeans)(struct QueristCall *call,
                          uint32_t rows,
                          uint32_t weights,
                          const struct QueristKmeansOptions *options,
                          uint32_t numbers,
                          uint32_t *out);
  // Average linkage (UPGMA) of the rows: all merges, one fewer than rows, each after those of its parts.
  //
  // Two clusters merge when each is the other's nearest, the lowest among equals. Under squared Euclidean distances
  // clusters are means in `f32` with a variance; Euclidean ones keep rows² / 2 distances; the cosine distance of
  // normalised rows is half their squared Euclidean one.
  //
  // # Errors
  // If the metric is the cosine, or a limit is passed.
  //
  // `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
  QueristStatus (*average_linkage)(struct QueristCall *call,
                                   uint32_t rows,
                                   uint32_t metric,
                                   struct QueristList_Merge *out);
  // Expected entropy of each row's class under mixtures of its draws, in nats.
  //
  // `log-probs` is `[rows, draws * classes]`, `weights` holds `draws` weights for each mixture and `shares` one
  // number a mixture; none is negative. A row's value is `sum_m shares_m H(sum_t weights_mt p_t)`, where p_t are the
  // exponentials of draw t over their sum, which must be 1 to within 0.001. Sums over draws and classes run in
  // order, those over mixtures in sixteen lanes.
  //
  // # Errors
  // If the sizes do not fit, or the columns are no log-probabilities.
  QueristStatus (*mixture_entropy)(struct QueristCall *call,
                                   uint32_t log_probs,
                                   uint32_t weights,
                                   uint32_t shares,
                                   uint32_t *out);
  // Points that are the rows of a matrix.
  //
  // # Errors
  // If a limit is passed.
  QueristStatus (*points)(struct QueristCall *call, uint32_t rows, uint32_t *out);
  // Squared norm of each point.
  //
  // # Errors
  // If a limit is passed.
  QueristStatus (*points_sq_norms)(struct QueristCall *call, uint32_t points, uint32_t *out);
  // Points that are the outer products of the rows of two matrices, which are never formed.
  //
  // # Errors
  // If the numbers of rows disagree.
  QueristStatus (*outer_products)(struct QueristCall *call, uint32_t left, uint32_t right, uint32_t *out);
  // An engine that keeps each point's distance to the nearest of a growing set of chosen points.
  //
  // # Errors
  // If the points do not have this metric.
  //
  // `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
  QueristStatus (*nearest)(struct QueristCall *call, uint32_t points, uint32_t metric, uint32_t *out);
  // Adds rows of the points themselves to the set. Their distance is exactly 0 from then on.
  //
  // # Errors
  // If there is no such row.
  QueristStatus (*nearest_add)(struct QueristCall *call, uint32_t nearest, const uint32_t *rows, uintptr_t rows_count);
  // Adds all of other points of the same geometry to the set.
  //
  // # Errors
  // If the geometries disagree.
  QueristStatus (*nearest_add_points)(struct QueristCall *call, uint32_t nearest, uint32_t points);
  // The row farthest from the set, with its distance; none where every row is excluded.
  //
  // # Errors
  // If the set is empty, or lengths disagree.
  //
  // `excluded` may be `NO_HANDLE`.
  //
  // `out_row` is `NO_ROW` for none.
  QueristStatus (*nearest_farthest)(struct QueristCall *call,
                                    uint32_t nearest,
                                    uint32_t excluded,
                                    uint32_t *out_row,
                                    double *out_value);
  // A row drawn with probability proportional to its distance as `vector.draw` does; none where all are 0. With
  // squared Euclidean distances this is k-means++.
  //
  // # Errors
  // If the set is empty, or lengths disagree.
  //
  // `excluded` may be `NO_HANDLE`.
  //
  // `out_row` is `NO_ROW` for none.
  QueristStatus (*nearest_draw)(struct QueristCall *call,
                                uint32_t nearest,
                                uint32_t numbers,
                                uint32_t excluded,
                                uint32_t *out_row);
  // Distance of each point to the set.
  //
  // # Errors
  // If the set is empty.
  QueristStatus (*nearest_values)(struct QueristCall *call, uint32_t nearest, uint32_t *out);
  // An engine that finds which of `rows` covers most of `references` that a growing set does not.
  //
  // Reference j is covered by m_j, 0 at first; a row that joins the set raises it to their similarity k where that
  // is larger. The gain of row i is the sum of `weights_j * max(k_ij - m_j, 0)` (weight 1 without weights), added in
  // reference order by blocks of 1024 and then block by block, over the number of references.
  //
  // # Errors
  // If columns or lengths disagree, there are no references, the width has no meaning, or a limit is passed.
  //
  // `weights` may be `NO_HANDLE`.
  QueristStatus (*facility)(struct QueristCall *call,
                            uint32_t rows,
                            uint32_t references,
                            uint32_t weights,
                            const struct QueristSimilarity *similarity,
                            uint32_t *out);
  // Adds rows to the set.
  //
  // # Errors
  // If there is no such row.
  QueristStatus (*facility_add)(struct QueristCall *call, uint32_t facility, const uint32_t *rows, uintptr_t rows_count);
  // Adds the rows of another matrix to the set. Each reference looks only at the nearest of them.
  //
  // # Errors
  // If the columns disagree.
  QueristStatus (*facility_add_others)(struct QueristCall *call, uint32_t facility, uint32_t others);
  // The row with the largest gain, and the gain; none where every row is excluded.
  //
  // # Errors
  // If lengths disagree.
  //
  // `excluded` may be `NO_HANDLE`.
  //
  // `out_row` is `NO_ROW` for none.
  QueristStatus (*facility_best)(struct QueristCall *call,
                                 uint32_t facility,
                                 uint32_t excluded,
                                 uint32_t *out_row,
                                 double *out_value);
  // An engine for greedy experimental design over the pool's rows.
  //
  // A row of factors R `[blocks, rank]` (given as `[rows, blocks * rank]`) and of embeddings h `[width]` stands for
  // the information `(R (x) h) (R (x) h)^T`. With M the ridge plus the weighted information of labelled and added
  // rows, and F the mean information of all rows of both sets, the cost of the rows added so far is `tr(M^-1 F)`.
  //
  // # Errors
  // If sizes do not fit, an option has no meaning, or a limit is passed.
  QueristStatus (*design)(struct QueristCall *call,
                          uint32_t factors,
                          uint32_t embeddings,
                          uint32_t labelled_factors,
                          uint32_t labelled_embeddings,
                          const struct QueristDesignOptions *options,
                          uint32_t *out);
  // The row not yet added that lowers the cost most, with the fall; none where all are added.
  //
  // # Errors
  // If a row was removed already, or numbers overflow.
  //
  // `out_row` is `NO_ROW` for none.
  QueristStatus (*design_best)(struct QueristCall *call, uint32_t design, uint32_t *out_row, double *out_value);
  // The added row whose removal raises the cost least, with the rise; none where none is added.
  //
  // # Errors
  // If numbers overflow.
  //
  // `out_row` is `NO_ROW` for none.
  QueristStatus (*design_least)(struct QueristCall *call, uint32_t design, uint32_t *out_row, double *out_value);
  // Adds a row.
  //
  // # Errors
  // If it was added before, or a row was removed already.
  QueristStatus (*design_add)(struct QueristCall *call, uint32_t design, uint32_t row);
  // Removes an added row.
  //
  // # Errors
  // If it was not added.
  QueristStatus (*design_remove)(struct QueristCall *call, uint32_t design, uint32_t row);
  // Logits in eval mode, `[n, classes]`, of embeddings `[n, width]` that need not be those of samples.
  //
  // The learner computes them in blocks of 512 rows from the first on, so that the same question has the same
  // answer; the last bits of a row may depend on its place in the block.
  //
  // # Errors
  // If the head was not declared, the width is not the model's, a logit is not finite, or a limit is passed.
  QueristStatus (*head_logits)(struct QueristCall *call, uint32_t embeddings, uint32_t *out);
  // For each of the embeddings `[n, width]` the gradient there of the cross-entropy of a class, in eval mode, `[n,
  // width]`. `classes` holds one class a row. Otherwise as `head-logits`.
  //
  // # Errors
  // If as for `head-logits`, and if there is not one class of the task a row.
  QueristStatus (*head_gradients)(struct QueristCall *call,
                                  uint32_t embeddings,
                                  const uint32_t *classes,
                                  uintptr_t classes_count,
                                  uint32_t *out);
  // The `neighbours` (at least 1) nearest rows of another matrix for each row, the nearest first and the lower row
  // among equals: their numbers and their distances, both `[rows * neighbours]`. No `rows x others` object is made.
  //
  // # Errors
  // If widths disagree, there are not that many other rows, or a limit is passed.
  //
  // `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
  QueristStatus (*nearest_rows)(struct QueristCall *call,
                                uint32_t rows,
                                uint32_t others,
                                uint32_t neighbours,
                                uint32_t metric,
                                uint32_t *out,
                                uint32_t *out_second);
} QueristCallTable;

// What the host does for every plugin.
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
  // What a query may ask of the host.
  const struct QueristCallTable *calls;
  // An array that the strategy declared, as a `DLManagedTensorVersioned*` (DLPack 1.x), read-only, in the memory
  // where it lies. Its `deleter` must be called before the call that lent it returns.
  QueristStatus (*array_dlpack)(struct QueristCall *call, struct QueristBytes name, void **tensor);
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
