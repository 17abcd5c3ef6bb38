//! Everything that a pool strategy may ask of the host while it answers one query.
//!
//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.

use super::types::{
    DesignOptions, KmeansOptions, LogLevel, Merge, Metric, QueryInfo, Reduction, Similarity, StreamScope, Uncertainty,
};
use crate::Fault;

/// Version of the boundary, as `major.minor`; a plugin states the one it was built for.
pub const API_VERSION: &str = "1.1";

/// A name for an object of the host, valid until released or until the query ends. Its top four bits are the
/// number of its [`Kind`], the rest is its place.
pub type Handle = u32;

/// Bits of a handle that are its place.
pub const PLACE_BITS: u32 = 28;

/// Kinds of objects of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Named random numbers.
    Stream,
    /// One `f64` a row.
    Vector,
    /// A set of excluded rows.
    Mask,
    /// `f32` values, row-major.
    Matrix,
    /// Rows that lie near each other.
    Graph,
    /// The outcome of k-means.
    Clustering,
    /// Rows with a geometry: those of a matrix, or the outer products of the rows of two.
    Points,
    /// Distances to the nearest of a growing set of chosen points.
    Nearest,
    /// Greedy facility location: which rows cover most of what a growing set does not.
    Facility,
    /// Greedy experimental design for a linear head.
    Design,
}

impl Kind {
    /// Every kind, by its number.
    pub const ALL: &[Self] = &[
        Self::Stream,
        Self::Vector,
        Self::Mask,
        Self::Matrix,
        Self::Graph,
        Self::Clustering,
        Self::Points,
        Self::Nearest,
        Self::Facility,
        Self::Design,
    ];

    /// The kind that a handle says it is of.
    pub fn of(handle: Handle) -> Option<Self> {
        Self::ALL.get((handle >> PLACE_BITS) as usize).copied()
    }

    /// The handle of the object at `place`, which has at most [`PLACE_BITS`] bits.
    pub fn handle(self, place: u32) -> Handle {
        place | (self as u32) << PLACE_BITS
    }
}

/// Query strategies for Querist. The host owns every array; a plugin holds handles.
///
/// Kernels return handles, scalars or short lists, so a strategy is a few hundred calls whatever the size of the pool.
///
/// This file is the source of the boundary. The trait of the calls, their types, the C table, both clients with the
/// objects of the SDK, and both servers are generated from it (`cargo xtask boundary`).
///
/// Rules for every call. A call checks its handles, indices and shapes, answers with a `fault` and never panics,
/// whatever it is given. Ties are always broken towards the lower row or number. Masks name rows that are *excluded*.
/// Handles are valid until they are released or the query ends.
///
/// What is here never changes. A record or an enum cannot grow without breaking plugins, so what one lacks comes as a
/// new function with a type of its own, at the place where it belongs and with its own `@since`: the C table is ordered
/// by version, then by place, and so it only grows at its end.
pub trait HostCalls {
    /// Releases an object; unknown handles are ignored.
    fn release(&self, handle: Handle);

    /// Opens the random stream named `tag`, at most 256 bytes. Opening it again gives the same values from the start.
    ///
    /// # Errors
    /// If the tag is too long, or a limit is passed.
    fn stream(&self, tag: &str, scope: StreamScope) -> Result<Handle, Fault>;

    /// The next `count` uniform numbers in (0, 1).
    ///
    /// # Errors
    /// If a limit is passed.
    fn stream_uniforms(&self, stream: Handle, count: u32) -> Result<Vec<f64>, Fault>;

    /// One uniform number in (0, 1) for each visible row, which belongs to its sample: it does not depend on the order
    /// of rows or on tiles. `step`, below 2^31, tells several numbers of one sample apart.
    ///
    /// # Errors
    /// If `step` is too large, or a limit is passed.
    fn stream_by_row(&self, stream: Handle, step: u32) -> Result<Handle, Fault>;

    /// A vector with these values.
    ///
    /// # Errors
    /// If a value is NaN, or a limit is passed.
    fn vector(&self, values: &[f64]) -> Result<Handle, Fault>;

    /// Number of values.
    ///
    /// # Errors
    /// If the handle is bad.
    fn vector_len(&self, vector: Handle) -> Result<u32, Fault>;

    /// A part of the values, `[count]`.
    ///
    /// # Errors
    /// If the part lies outside.
    fn vector_read(&self, vector: Handle, start: u32, count: u32) -> Result<Vec<f64>, Fault>;

    /// Rows of the `count` largest values, largest first; `second` breaks ties, then the lower row.
    ///
    /// # Errors
    /// If lengths disagree.
    fn vector_top(
        &self,
        vector: Handle,
        second: Option<Handle>,
        count: u32,
        excluded: Option<Handle>,
    ) -> Result<Vec<u32>, Fault>;

    /// A row drawn with probability proportional to its value; none where all are 0.
    ///
    /// One uniform number u of the stream is used, always. Values are summed in `f64` in row order by blocks of 1024
    /// rows, excluded rows as 0; the total is the sum of the block sums in order. The cumulative sum of a row is the
    /// sum of the blocks before its own plus the sum inside its block up to it. The answer is the first row whose
    /// cumulative sum exceeds u times the total, or the last row above 0 where rounding leaves none.
    ///
    /// # Errors
    /// If a value is negative, or lengths disagree.
    fn vector_draw(&self, vector: Handle, numbers: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault>;

    /// A mask over `rows` rows that excludes none.
    ///
    /// # Errors
    /// If a limit is passed.
    fn mask(&self, rows: u32) -> Result<Handle, Fault>;

    /// Excludes rows; excluding one twice is no error.
    ///
    /// # Errors
    /// If there is no such row.
    fn mask_exclude(&self, mask: Handle, rows: &[u32]) -> Result<(), Fault>;

    /// How many rows are excluded.
    ///
    /// # Errors
    /// If the handle is bad.
    fn mask_count(&self, mask: Handle) -> Result<u32, Fault>;

    /// A matrix with these values, `[rows, columns]`.
    ///
    /// # Errors
    /// If the sizes do not fit, a value is not finite, or a limit is passed.
    fn matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Result<Handle, Fault>;

    /// Rows and columns.
    ///
    /// # Errors
    /// If the handle is bad.
    fn matrix_shape(&self, matrix: Handle) -> Result<(u32, u32), Fault>;

    /// The values of some rows, `[count * columns]`.
    ///
    /// # Errors
    /// If the rows lie outside.
    fn matrix_read(&self, matrix: Handle, start: u32, count: u32) -> Result<Vec<f32>, Fault>;

    /// The named rows in the given order, as a matrix.
    ///
    /// # Errors
    /// If there is no such row, or a limit is passed.
    fn matrix_gather(&self, matrix: Handle, rows: &[u32]) -> Result<Handle, Fault>;

    /// Each row divided by its Euclidean norm; rows of norm 0 stay 0.
    ///
    /// # Errors
    /// If a limit is passed.
    fn matrix_normalise(&self, matrix: Handle) -> Result<Handle, Fault>;

    /// Squared Euclidean norm of each row.
    ///
    /// # Errors
    /// If a limit is passed.
    fn matrix_sq_norms(&self, matrix: Handle) -> Result<Handle, Fault>;

    /// Mean of the rows, `[columns]`.
    ///
    /// # Errors
    /// If there are no rows.
    fn matrix_mean(&self, matrix: Handle) -> Result<Vec<f64>, Fault>;

    /// The product with `right`, or with its transpose.
    ///
    /// # Errors
    /// If shapes do not fit, or a limit is passed.
    fn matrix_product(&self, matrix: Handle, right: Handle, transpose_right: bool) -> Result<Handle, Fault>;

    /// These rows, then those of `bottom`, as one matrix.
    ///
    /// # Errors
    /// If the columns disagree, or a limit is passed.
    fn matrix_stack(&self, matrix: Handle, bottom: Handle) -> Result<Handle, Fault>;

    /// Writes a line to the run's log.
    ///
    /// # Errors
    /// If the log is full.
    fn log(&self, level: LogLevel, message: &str) -> Result<(), Fault>;

    /// Hands over the text of a panic before the plugin stops.
    fn panicked(&self, message: &str);

    /// Reports progress.
    ///
    /// # Errors
    /// If the user has cancelled, or time is up; pass it on.
    fn progress(&self, done: u64, total: u64) -> Result<(), Fault>;

    /// Facts about the query.
    fn info(&self) -> QueryInfo;

    /// Global sample ids of visible rows, ascending, `[count]`.
    ///
    /// # Errors
    /// If the rows lie outside.
    fn ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault>;

    /// Global ids of the labelled set, ascending, `[count]`: row i of every labelled array is sample i of these.
    ///
    /// # Errors
    /// If the rows lie outside.
    fn labelled_ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault>;

    /// Whether this query has a need that the strategy declared: of two choices it has one.
    ///
    /// # Errors
    /// If it was not declared.
    fn has(&self, name: &str) -> Result<bool, Fault>;

    /// An `f32` array that the strategy declared, `[rows, rest]`; within a tile, only its rows.
    ///
    /// # Errors
    /// If it was not declared, or holds whole numbers.
    fn input(&self, name: &str) -> Result<Handle, Fault>;

    /// A part of a `u32` array that the strategy declared (`labelled.labels`, `calibration.labels`), `[count]`.
    ///
    /// # Errors
    /// If it was not declared, has fewer values, or holds floats.
    fn labels(&self, name: &str, start: u32, count: u32) -> Result<Vec<u32>, Fault>;

    /// Number of neighbours of each row, itself included.
    ///
    /// # Errors
    /// If a limit is passed.
    fn graph_degrees(&self, graph: Handle) -> Result<Handle, Fault>;

    /// The neighbours of a row, ascending.
    ///
    /// # Errors
    /// If there is no such row.
    fn graph_neighbours(&self, graph: Handle, row: u32) -> Result<Vec<u32>, Fault>;

    /// Number of rows in each cluster, `[clusters]`.
    ///
    /// # Errors
    /// If the handle is bad.
    fn clustering_sizes(&self, clustering: Handle) -> Result<Vec<u32>, Fault>;

    /// Cluster of some rows, `[count]`.
    ///
    /// # Errors
    /// If the rows lie outside.
    fn clustering_read(&self, clustering: Handle, start: u32, count: u32) -> Result<Vec<u32>, Fault>;

    /// The centres, `[clusters, columns]`.
    ///
    /// # Errors
    /// If a limit is passed.
    fn clustering_centres(&self, clustering: Handle) -> Result<Handle, Fault>;

    /// Weighted sum of squared distances to the centres.
    ///
    /// # Errors
    /// If the handle is bad.
    fn clustering_inertia(&self, clustering: Handle) -> Result<f64, Fault>;

    /// For each cluster its member nearest to the centre, or none where no member is left.
    ///
    /// # Errors
    /// If lengths disagree.
    fn clustering_representatives(
        &self,
        clustering: Handle,
        excluded: Option<Handle>,
    ) -> Result<Vec<Option<u32>>, Fault>;

    /// Softmax of each row of logits.
    ///
    /// # Errors
    /// If there are no classes, or a limit is passed.
    fn softmax(&self, logits: Handle) -> Result<Handle, Fault>;

    /// Softmax minus the one-hot of the largest logit (the lowest class among equals): the gradient of the predicted
    /// class's cross-entropy at the logits.
    ///
    /// # Errors
    /// If there are no classes, or a limit is passed.
    fn residual(&self, logits: Handle) -> Result<Handle, Fault>;

    /// Uncertainty of each row of logits, and its tie-breaker.
    ///
    /// # Errors
    /// If there are fewer than two classes.
    fn uncertainty(&self, logits: Handle, measure: Uncertainty) -> Result<(Handle, Handle), Fault>;

    /// Each row's distances to the rows of `centres`, reduced to one value. No `rows x centres` object is made.
    ///
    /// # Errors
    /// If widths disagree, or there are no centres.
    fn distance_reduce(
        &self,
        rows: Handle,
        centres: Handle,
        metric: Metric,
        reduction: Reduction,
    ) -> Result<Handle, Fault>;

    /// Mean distance of each row to its `neighbours` (at least 1) nearest other rows.
    ///
    /// # Errors
    /// If there are not that many other rows.
    fn neighbour_distance(&self, rows: Handle, neighbours: u32, metric: Metric) -> Result<Handle, Fault>;

    /// Which rows lie nearer to each other than `radius` (strictly; every row is its own neighbour).
    ///
    /// # Errors
    /// If a limit is passed.
    fn neighbours_within(&self, rows: Handle, radius: f64, metric: Metric) -> Result<Handle, Fault>;

    /// k-means of the rows, optionally weighted.
    ///
    /// Centres are `f32`, and assignments, distances and inertia are those to them. An empty cluster moves to the row
    /// farthest from its centre among clusters of several rows; a cluster may stay empty where rows are equal.
    ///
    /// # Errors
    /// If there are fewer rows than clusters, or an option has no meaning.
    fn kmeans(
        &self,
        rows: Handle,
        weights: Option<Handle>,
        options: KmeansOptions,
        numbers: Handle,
    ) -> Result<Handle, Fault>;

    /// Average linkage (UPGMA) of the rows: all merges, one fewer than rows, each after those of its parts.
    ///
    /// Two clusters merge when each is the other's nearest, the lowest among equals. Under squared Euclidean distances
    /// clusters are means in `f32` with a variance; Euclidean ones keep rows² / 2 distances; the cosine distance of
    /// normalised rows is half their squared Euclidean one.
    ///
    /// # Errors
    /// If the metric is the cosine, or a limit is passed.
    fn average_linkage(&self, rows: Handle, metric: Metric) -> Result<Vec<Merge>, Fault>;

    /// Expected entropy of each row's class under mixtures of its draws, in nats.
    ///
    /// `log-probs` is `[rows, draws * classes]`, `weights` holds `draws` weights for each mixture and `shares` one
    /// number a mixture; none is negative. A row's value is `sum_m shares_m H(sum_t weights_mt p_t)`, where p_t are the
    /// exponentials of draw t over their sum, which must be 1 to within 0.001. Sums over draws and classes run in
    /// order, those over mixtures in sixteen lanes.
    ///
    /// # Errors
    /// If the sizes do not fit, or the columns are no log-probabilities.
    fn mixture_entropy(&self, log_probs: Handle, weights: Handle, shares: Handle) -> Result<Handle, Fault>;

    /// Points that are the rows of a matrix.
    ///
    /// # Errors
    /// If a limit is passed.
    fn points(&self, rows: Handle) -> Result<Handle, Fault>;

    /// Squared norm of each point.
    ///
    /// # Errors
    /// If a limit is passed.
    fn points_sq_norms(&self, points: Handle) -> Result<Handle, Fault>;

    /// Points that are the outer products of the rows of two matrices, which are never formed.
    ///
    /// # Errors
    /// If the numbers of rows disagree.
    fn outer_products(&self, left: Handle, right: Handle) -> Result<Handle, Fault>;

    /// An engine that keeps each point's distance to the nearest of a growing set of chosen points.
    ///
    /// # Errors
    /// If the points do not have this metric.
    fn nearest(&self, points: Handle, metric: Metric) -> Result<Handle, Fault>;

    /// Adds rows of the points themselves to the set. Their distance is exactly 0 from then on.
    ///
    /// # Errors
    /// If there is no such row.
    fn nearest_add(&self, nearest: Handle, rows: &[u32]) -> Result<(), Fault>;

    /// Adds all of other points of the same geometry to the set.
    ///
    /// # Errors
    /// If the geometries disagree.
    fn nearest_add_points(&self, nearest: Handle, points: Handle) -> Result<(), Fault>;

    /// The row farthest from the set, with its distance; none where every row is excluded.
    ///
    /// # Errors
    /// If the set is empty, or lengths disagree.
    fn nearest_farthest(&self, nearest: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault>;

    /// A row drawn with probability proportional to its distance as `vector.draw` does; none where all are 0. With
    /// squared Euclidean distances this is k-means++.
    ///
    /// # Errors
    /// If the set is empty, or lengths disagree.
    fn nearest_draw(&self, nearest: Handle, numbers: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault>;

    /// Distance of each point to the set.
    ///
    /// # Errors
    /// If the set is empty.
    fn nearest_values(&self, nearest: Handle) -> Result<Handle, Fault>;

    /// An engine that finds which of `rows` covers most of `references` that a growing set does not.
    ///
    /// Reference j is covered by m_j, 0 at first; a row that joins the set raises it to their similarity k where that
    /// is larger. The gain of row i is the sum of `weights_j * max(k_ij - m_j, 0)` (weight 1 without weights), added in
    /// reference order by blocks of 1024 and then block by block, over the number of references.
    ///
    /// # Errors
    /// If columns or lengths disagree, there are no references, the width has no meaning, or a limit is passed.
    fn facility(
        &self,
        rows: Handle,
        references: Handle,
        weights: Option<Handle>,
        similarity: Similarity,
    ) -> Result<Handle, Fault>;

    /// Adds rows to the set.
    ///
    /// # Errors
    /// If there is no such row.
    fn facility_add(&self, facility: Handle, rows: &[u32]) -> Result<(), Fault>;

    /// Adds the rows of another matrix to the set. Each reference looks only at the nearest of them.
    ///
    /// # Errors
    /// If the columns disagree.
    fn facility_add_others(&self, facility: Handle, others: Handle) -> Result<(), Fault>;

    /// The row with the largest gain, and the gain; none where every row is excluded.
    ///
    /// # Errors
    /// If lengths disagree.
    fn facility_best(&self, facility: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault>;

    /// An engine for greedy experimental design over the pool's rows.
    ///
    /// A row of factors R `[blocks, rank]` (given as `[rows, blocks * rank]`) and of embeddings h `[width]` stands for
    /// the information `(R (x) h) (R (x) h)^T`. With M the ridge plus the weighted information of labelled and added
    /// rows, and F the mean information of all rows of both sets, the cost of the rows added so far is `tr(M^-1 F)`.
    ///
    /// # Errors
    /// If sizes do not fit, an option has no meaning, or a limit is passed.
    fn design(
        &self,
        factors: Handle,
        embeddings: Handle,
        labelled_factors: Handle,
        labelled_embeddings: Handle,
        options: DesignOptions,
    ) -> Result<Handle, Fault>;

    /// The row not yet added that lowers the cost most, with the fall; none where all are added.
    ///
    /// # Errors
    /// If a row was removed already, or numbers overflow.
    fn design_best(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault>;

    /// The added row whose removal raises the cost least, with the rise; none where none is added.
    ///
    /// # Errors
    /// If numbers overflow.
    fn design_least(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault>;

    /// Adds a row.
    ///
    /// # Errors
    /// If it was added before, or a row was removed already.
    fn design_add(&self, design: Handle, row: u32) -> Result<(), Fault>;

    /// Removes an added row.
    ///
    /// # Errors
    /// If it was not added.
    fn design_remove(&self, design: Handle, row: u32) -> Result<(), Fault>;

    /// Logits in eval mode, `[n, classes]`, of embeddings `[n, width]` that need not be those of samples.
    ///
    /// The learner computes them in blocks of 512 rows from the first on, so that the same question has the same
    /// answer; the last bits of a row may depend on its place in the block.
    ///
    /// # Errors
    /// If the head was not declared, the width is not the model's, a logit is not finite, or a limit is passed.
    fn head_logits(&self, embeddings: Handle) -> Result<Handle, Fault>;

    /// For each of the embeddings `[n, width]` the gradient there of the cross-entropy of a class, in eval mode, `[n,
    /// width]`. `classes` holds one class a row. Otherwise as `head-logits`.
    ///
    /// # Errors
    /// If as for `head-logits`, and if there is not one class of the task a row.
    fn head_gradients(&self, embeddings: Handle, classes: &[u32]) -> Result<Handle, Fault>;

    /// The `neighbours` (at least 1) nearest rows of another matrix for each row, the nearest first and the lower row
    /// among equals: their numbers and their distances, both `[rows * neighbours]`. No `rows x others` object is made.
    ///
    /// # Errors
    /// If widths disagree, there are not that many other rows, or a limit is passed.
    fn nearest_rows(
        &self,
        rows: Handle,
        others: Handle,
        neighbours: u32,
        metric: Metric,
    ) -> Result<(Handle, Handle), Fault>;
}
