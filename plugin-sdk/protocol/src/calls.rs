//! Everything a pool strategy may ask of the host while it answers one query.
//!
//! The host owns every array; a strategy holds handles. Kernels return handles, scalars or short lists, so a strategy
//! is a few hundred calls whatever the size of the pool. The same list of calls crosses as WIT imports for a component
//! and as plain function calls for a native build; `plugin-sdk/wit/` is its other written form.

use serde::{Deserialize, Serialize};

use crate::Fault;

/// A name for an object of the host, valid until released or until the query ends.
pub type Handle = u32;

/// Plain facts about the query at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryInfo {
    /// Rows that are visible: the pool, or one tile of it for a scorer.
    pub rows: u32,
    /// Pool row of the first visible row; 0 unless this is a tile.
    pub first_row: u32,
    /// Samples in the labelled set.
    pub labelled_rows: u32,
    /// Classes of the task, whether or not labels of each were seen.
    pub classes: u32,
    /// Samples to ask for.
    pub batch: u32,
    /// Round of the run, from 0.
    pub round: u32,
}

/// Distance between rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Sum of squared differences.
    SqEuclidean,
    /// Its square root.
    Euclidean,
    /// 1 - cosine of the angle; a row of norm 0 is at distance 1 from everything but another such row, where it is 0.
    Cosine,
}

/// What to keep of a row's distances to a set of centres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// The smallest distance.
    Min,
    /// The number of the nearest centre; the lowest among equals.
    Argmin,
    /// The sum of distances, in centre order.
    Sum,
    /// How many centres are nearer than this radius (strictly).
    CountWithin(f64),
}

/// Uncertainty of a class distribution given by logits; always larger = more uncertain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncertainty {
    /// 1 - p1, with -ln(p1) to break ties.
    LeastConfidence,
    /// -(p1 - p2), with 1 - margin in its exact form to break ties.
    Margin,
    /// p2 / p1, with ln(p2 / p1) to break ties.
    Ratio,
    /// Shannon entropy in nats, with 1 - p1 to break ties.
    Entropy,
}

/// Whether the round enters a stream's randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamScope {
    /// Fresh values in every round.
    Round,
    /// The same values in every round of a run.
    Run,
}

/// How k-means places its first centres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Each next centre is drawn with probability proportional to its squared distance from the nearest one.
    KmeansPlusPlus,
    /// Distinct rows, each equally likely.
    RandomPoints,
}

/// Settings of Lloyd's algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KmeansOptions {
    /// Number of clusters, at most the number of rows.
    pub clusters: u32,
    /// Restarts; the lowest inertia wins, then the earliest.
    pub restarts: u32,
    /// Iterations of one restart at most.
    pub max_iterations: u32,
    /// A restart ends when inertia falls by less than this share of itself.
    pub tolerance: f64,
    /// Placement of the first centres.
    pub init: Init,
}

/// Form of a similarity that falls with the Euclidean distance d of two rows, from 1 at 0; h is its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SimilarityKind {
    /// exp(-(d / h)²).
    Rbf,
    /// exp(-d / h).
    Laplace,
    /// (1 + 2 (d / h)²) ^ -0.75.
    Student,
    /// 1 / (1 + d²), whatever h.
    Cauchy,
    /// 1 where d < h, else 0.
    TopHat,
}

/// A similarity of two rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Similarity {
    /// Its form.
    pub kind: SimilarityKind,
    /// Its width h, between 1e-100 and 1e100.
    pub width: f64,
}

/// One step of a hierarchical clustering. A cluster is named by the lowest of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Merge {
    /// The cluster that the merged one is named after.
    pub left: u32,
    /// The other one, a larger number.
    pub right: u32,
    /// Their distance.
    pub height: f64,
}

/// How a design weighs information.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DesignOptions {
    /// Columns of a row's factor; the factor's values are `[blocks, rank]`.
    pub rank: u32,
    /// Multiple of the identity that the information starts from; above 0.
    pub ridge: f64,
    /// Weight of a labelled row's information.
    pub labelled_weight: f64,
    /// Weight of an added row's information.
    pub added_weight: f64,
}

/// Importance of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth acting on.
    Warning,
}

/// The calls. Handles are objects of the kinds *matrix* (`f32`, row-major), *vector* (`f64`), *mask* (a set of rows),
/// *points* (rows with a geometry), *nearest* (an engine over points), *clustering*, *graph*, *facility* (an
/// engine over rows) and *stream*.
///
/// Every call checks its handles, indices and shapes and answers with a [`Fault`]; none panics, whatever it is given.
/// Ties are always broken towards the lower row or number. Masks name rows that are *excluded*.
pub trait HostCalls {
    /// Releases an object; unknown handles are ignored.
    fn release(&self, handle: Handle);

    /// Facts about the query.
    fn info(&self) -> QueryInfo;
    /// Global sample ids of visible rows, ascending, `[count]`.
    fn ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault>;
    /// An `f32` array that the strategy declared, as a matrix `[rows, rest]`; within a tile, only its rows.
    fn input(&self, name: &str) -> Result<Handle, Fault>;
    /// A `u32` array that the strategy declared (`labelled.labels`, `calibration.labels`), in part.
    fn labels(&self, name: &str, start: u32, count: u32) -> Result<Vec<u32>, Fault>;

    /// Writes a line to the run's log.
    fn log(&self, level: LogLevel, message: &str) -> Result<(), Fault>;
    /// Hands over the text of a panic before the plugin stops.
    fn panicked(&self, message: &str);
    /// Reports progress; fails once the user has cancelled or time is up.
    fn progress(&self, done: u64, total: u64) -> Result<(), Fault>;

    /// Opens the random stream named `tag`. Opening it again gives the same values from the start.
    fn stream(&self, tag: &str, scope: StreamScope) -> Result<Handle, Fault>;
    /// The next uniform numbers in (0, 1) of a stream, `[count]`.
    fn stream_uniforms(&self, stream: Handle, count: u32) -> Result<Vec<f64>, Fault>;
    /// One uniform number in (0, 1) for each visible row, keyed by its sample id: a vector.
    fn stream_by_row(&self, stream: Handle, step: u32) -> Result<Handle, Fault>;

    /// A vector with these values; NaN is refused.
    fn vector(&self, values: &[f64]) -> Result<Handle, Fault>;
    /// Length of a vector.
    fn vector_len(&self, vector: Handle) -> Result<u32, Fault>;
    /// A part of a vector.
    fn vector_read(&self, vector: Handle, start: u32, count: u32) -> Result<Vec<f64>, Fault>;
    /// Rows of the `count` largest values, largest first; `second` breaks ties, then the lower row.
    fn vector_top(
        &self,
        vector: Handle,
        second: Option<Handle>,
        count: u32,
        excluded: Option<Handle>,
    ) -> Result<Vec<u32>, Fault>;
    /// A row drawn with probability proportional to its value (none negative); `None` where all are 0.
    ///
    /// One uniform number u of the stream is used, always. Values are summed in `f64` in row order by blocks of 1024
    /// rows, excluded rows as 0; the total is the sum of the block sums in order. The cumulative sum of a row is the sum
    /// of the blocks before its own plus the sum inside its block up to it. The answer is the first row whose cumulative
    /// sum exceeds u times the total, or the last row above 0 where rounding leaves none.
    fn vector_draw(&self, vector: Handle, stream: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault>;

    /// A mask over `rows` rows that excludes none.
    fn mask(&self, rows: u32) -> Result<Handle, Fault>;
    /// Excludes rows; excluding one twice is no error.
    fn mask_exclude(&self, mask: Handle, rows: &[u32]) -> Result<(), Fault>;
    /// How many rows are excluded.
    fn mask_count(&self, mask: Handle) -> Result<u32, Fault>;

    /// A matrix with these values (`rows * columns` of them, finite).
    fn matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Result<Handle, Fault>;
    /// Rows and columns.
    fn matrix_shape(&self, matrix: Handle) -> Result<(u32, u32), Fault>;
    /// The values of some rows, `[count * columns]`.
    fn matrix_read(&self, matrix: Handle, start: u32, count: u32) -> Result<Vec<f32>, Fault>;
    /// The named rows in the given order, as a matrix.
    fn matrix_gather(&self, matrix: Handle, rows: &[u32]) -> Result<Handle, Fault>;
    /// Each row divided by its Euclidean norm; rows of norm 0 stay 0.
    fn matrix_normalise(&self, matrix: Handle) -> Result<Handle, Fault>;
    /// Squared Euclidean norm of each row: a vector.
    fn matrix_sq_norms(&self, matrix: Handle) -> Result<Handle, Fault>;
    /// Mean of the rows, `[columns]`.
    fn matrix_mean(&self, matrix: Handle) -> Result<Vec<f64>, Fault>;
    /// Product of two matrices, or of the first with the transposed second.
    fn matrix_product(&self, left: Handle, right: Handle, transpose_right: bool) -> Result<Handle, Fault>;
    /// Softmax of each row of logits: a matrix.
    fn softmax(&self, logits: Handle) -> Result<Handle, Fault>;
    /// Softmax minus the one-hot of the largest logit (the lowest class among equals): a matrix.
    ///
    /// It is the gradient of the predicted class's cross-entropy at the logits.
    fn residual(&self, logits: Handle) -> Result<Handle, Fault>;
    /// Uncertainty of each row of logits and its tie-breaker: two vectors. Needs two classes or more.
    fn uncertainty(&self, logits: Handle, measure: Uncertainty) -> Result<(Handle, Handle), Fault>;

    /// Each row's distances to the rows of `centres`, reduced: a vector. No `rows x centres` object is made.
    fn distance_reduce(
        &self,
        rows: Handle,
        centres: Handle,
        metric: Metric,
        reduction: Reduction,
    ) -> Result<Handle, Fault>;
    /// Mean distance of each row to its `neighbours` (at least 1, fewer than the rows) nearest other rows: a vector.
    fn neighbour_distance(&self, rows: Handle, neighbours: u32, metric: Metric) -> Result<Handle, Fault>;
    /// Which rows lie nearer to each other than `radius` (strictly; every row is its own neighbour): a graph.
    fn neighbours_within(&self, rows: Handle, radius: f64, metric: Metric) -> Result<Handle, Fault>;
    /// Number of neighbours of each row: a vector.
    fn graph_degrees(&self, graph: Handle) -> Result<Handle, Fault>;
    /// The neighbours of a row, ascending.
    fn graph_neighbours(&self, graph: Handle, row: u32) -> Result<Vec<u32>, Fault>;

    /// Points that are the rows of a matrix.
    fn points(&self, matrix: Handle) -> Result<Handle, Fault>;
    /// Points that are the outer products of the rows of two matrices, which are never formed.
    fn points_factored(&self, left: Handle, right: Handle) -> Result<Handle, Fault>;
    /// Squared norm of each point: a vector.
    fn points_sq_norms(&self, points: Handle) -> Result<Handle, Fault>;

    /// An engine that keeps each point's distance to the nearest of a growing set of chosen points.
    fn nearest(&self, points: Handle, metric: Metric) -> Result<Handle, Fault>;
    /// Adds rows of the points themselves to the set. Their distance is exactly 0 from then on.
    fn nearest_add(&self, nearest: Handle, rows: &[u32]) -> Result<(), Fault>;
    /// Adds all of other points of the same geometry to the set.
    fn nearest_add_points(&self, nearest: Handle, points: Handle) -> Result<(), Fault>;
    /// The row farthest from the set, with its distance; `None` where every row is excluded. Needs a set that is not
    /// empty.
    fn nearest_farthest(&self, nearest: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault>;
    /// A row drawn with probability proportional to its distance as [`HostCalls::vector_draw`] does. Use the metric
    /// [`Metric::SqEuclidean`] for k-means++.
    fn nearest_draw(&self, nearest: Handle, stream: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault>;
    /// Distance of each point to the set: a vector.
    fn nearest_values(&self, nearest: Handle) -> Result<Handle, Fault>;

    /// k-means of the rows, optionally weighted by a vector: a clustering.
    ///
    /// Centres are `f32`, and assignments, distances and inertia are those to them. An empty cluster moves to the row
    /// farthest from its centre among clusters of several rows; a cluster may stay empty where rows are equal.
    fn kmeans(
        &self,
        rows: Handle,
        weights: Option<Handle>,
        options: KmeansOptions,
        stream: Handle,
    ) -> Result<Handle, Fault>;
    /// Number of rows in each cluster, `[clusters]`.
    fn clustering_sizes(&self, clustering: Handle) -> Result<Vec<u32>, Fault>;
    /// Cluster of some rows, `[count]`.
    fn clustering_read(&self, clustering: Handle, start: u32, count: u32) -> Result<Vec<u32>, Fault>;
    /// The centres: a matrix `[clusters, columns]`.
    fn clustering_centres(&self, clustering: Handle) -> Result<Handle, Fault>;
    /// Weighted sum of squared distances to the centres.
    fn clustering_inertia(&self, clustering: Handle) -> Result<f64, Fault>;
    /// For each cluster its member nearest to the centre, or `None` where no member is left.
    fn clustering_representatives(
        &self,
        clustering: Handle,
        excluded: Option<Handle>,
    ) -> Result<Vec<Option<u32>>, Fault>;

    /// Global ids of the labelled set, ascending, `[count]`: row i of every labelled array is sample i of these.
    fn labelled_ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault>;
    /// The rows of `top`, then those of `bottom`, as one matrix. Both have the same columns.
    fn matrix_stack(&self, top: Handle, bottom: Handle) -> Result<Handle, Fault>;

    /// An engine of greedy facility location: which of `rows` covers most of `references` that a growing set does not.
    ///
    /// Reference j is covered by m_j, 0 at first; a row that joins the set raises it to their similarity k where that is
    /// larger. The gain of row i is the sum of `weights_j * max(k_ij - m_j, 0)` (weight 1 without weights), added in
    /// reference order by blocks of 1024 and then block by block, over the number of references.
    fn facility(
        &self,
        rows: Handle,
        references: Handle,
        weights: Option<Handle>,
        similarity: Similarity,
    ) -> Result<Handle, Fault>;
    /// Adds rows to the set.
    fn facility_add(&self, facility: Handle, rows: &[u32]) -> Result<(), Fault>;
    /// Adds the rows of another matrix to the set. Each reference looks only at the nearest of them.
    fn facility_add_others(&self, facility: Handle, others: Handle) -> Result<(), Fault>;
    /// The row with the largest gain, and the gain; `None` where every row is excluded.
    fn facility_best(&self, facility: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault>;
    /// Expected entropy of each row's class under mixtures of its draws, in nats: a vector.
    ///
    /// `log_probs` is `[rows, draws * classes]`, `weights` holds `draws` weights for each mixture and `shares` one number
    /// a mixture; none is negative. A row's value is `sum_m shares_m H(sum_t weights_mt p_t)`, where p_t are the
    /// exponentials of draw t over their sum, which must be 1 to within 0.001. Sums over draws and classes run in order,
    /// those over mixtures in sixteen lanes.
    fn mixture_entropy(&self, log_probs: Handle, weights: Handle, shares: Handle) -> Result<Handle, Fault>;

    /// Average linkage (UPGMA) of the rows: all merges, one fewer than rows, each after those of its parts.
    ///
    /// Two clusters merge when each is the other's nearest, the lowest among equals. Under [`Metric::SqEuclidean`] clusters
    /// are means in `f32` with a variance; [`Metric::Euclidean`] keeps rows² / 2 distances; the cosine distance of
    /// normalised rows is half their squared Euclidean one.
    fn average_linkage(&self, rows: Handle, metric: Metric) -> Result<Vec<Merge>, Fault>;
    /// An engine for greedy experimental design over the pool's rows.
    ///
    /// A row of factors R `[blocks, rank]` (given as `[rows, blocks * rank]`) and of embeddings h `[width]` stands for the
    /// information `(R (x) h) (R (x) h)^T`. With M the ridge plus the weighted information of labelled and added rows, and
    /// F the mean information of all rows of both sets, the cost of the rows added so far is `tr(M^-1 F)`.
    fn design(
        &self,
        pool: (Handle, Handle),
        labelled: (Handle, Handle),
        options: DesignOptions,
    ) -> Result<Handle, Fault>;
    /// The row not yet added that lowers the cost most, with the fall; `None` where all are added.
    fn design_best(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault>;
    /// The added row whose removal raises the cost least, with the rise; `None` where none is added.
    fn design_least(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault>;
    /// Adds a row; refused once one was removed.
    fn design_add(&self, design: Handle, row: u32) -> Result<(), Fault>;
    /// Removes an added row.
    fn design_remove(&self, design: Handle, row: u32) -> Result<(), Fault>;

    /// Whether this query has a need that the strategy declared: of two choices it has one.
    fn has(&self, name: &str) -> Result<bool, Fault>;
    /// Logits in eval mode of embeddings `[n, width]` that need not be those of samples: a matrix `[n, classes]`.
    ///
    /// For selectors that declared [`crate::names::HEAD`]. The learner computes them in blocks of 512 rows from the first
    /// on, so that the same question has the same answer; the last bits of a row may depend on its place in the block.
    fn head_logits(&self, embeddings: Handle) -> Result<Handle, Fault>;
    /// For each of the embeddings `[n, width]` the gradient there of the cross-entropy of a class, in eval mode: a matrix
    /// `[n, width]`. `classes` holds one class a row. Otherwise as [`HostCalls::head_logits`].
    fn head_gradients(&self, embeddings: Handle, classes: &[u32]) -> Result<Handle, Fault>;
}
