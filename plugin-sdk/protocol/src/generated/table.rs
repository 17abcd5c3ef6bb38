//! The calls as a C table.
//!
//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.

use super::types;
use crate::Fault;
use crate::abi::{Bytes, Call, List, Status, numbered};

/// Functions of the newest version, counted from 0: higher ones have more functions at the end of the table.
pub const ABI_MINOR: u16 = 0;

/// Settings of Lloyd's algorithm.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct KmeansOptions {
    /// Number of clusters, at most the number of rows.
    pub clusters: u32,
    /// Restarts; the lowest inertia wins, then the earliest.
    pub restarts: u32,
    /// Iterations of one restart at most.
    pub max_iterations: u32,
    /// A restart ends when inertia falls by less than this share of itself.
    pub tolerance: f64,
    /// Placement of the first centres. 0 kmeans plus plus, 1 random points.
    pub init: u32,
}

impl From<types::KmeansOptions> for KmeansOptions {
    fn from(from: types::KmeansOptions) -> Self {
        Self {
            clusters: from.clusters,
            restarts: from.restarts,
            max_iterations: from.max_iterations,
            tolerance: from.tolerance,
            init: types::Numbered::number(from.init),
        }
    }
}

impl TryFrom<KmeansOptions> for types::KmeansOptions {
    type Error = Fault;

    fn try_from(from: KmeansOptions) -> Result<Self, Fault> {
        Ok(Self {
            clusters: from.clusters,
            restarts: from.restarts,
            max_iterations: from.max_iterations,
            tolerance: from.tolerance,
            init: numbered(from.init)?,
        })
    }
}

/// A similarity of two rows.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Similarity {
    /// Its form. 0 rbf, 1 laplace, 2 student, 3 cauchy, 4 top hat.
    pub kind: u32,
    /// Its width h, between 1e-100 and 1e100.
    pub width: f64,
}

impl From<types::Similarity> for Similarity {
    fn from(from: types::Similarity) -> Self {
        Self { kind: types::Numbered::number(from.kind), width: from.width }
    }
}

impl TryFrom<Similarity> for types::Similarity {
    type Error = Fault;

    fn try_from(from: Similarity) -> Result<Self, Fault> {
        Ok(Self { kind: numbered(from.kind)?, width: from.width })
    }
}

/// One step of a hierarchical clustering. A cluster is named by the lowest of its rows.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Merge {
    /// The cluster that the merged one is named after.
    pub left: u32,
    /// The other one, a larger number.
    pub right: u32,
    /// Their distance.
    pub height: f64,
}

impl From<types::Merge> for Merge {
    fn from(from: types::Merge) -> Self {
        Self { left: from.left, right: from.right, height: from.height }
    }
}

impl TryFrom<Merge> for types::Merge {
    type Error = Fault;

    fn try_from(from: Merge) -> Result<Self, Fault> {
        Ok(Self { left: from.left, right: from.right, height: from.height })
    }
}

/// How a design weighs information.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
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

impl From<types::DesignOptions> for DesignOptions {
    fn from(from: types::DesignOptions) -> Self {
        Self {
            rank: from.rank,
            ridge: from.ridge,
            labelled_weight: from.labelled_weight,
            added_weight: from.added_weight,
        }
    }
}

impl TryFrom<DesignOptions> for types::DesignOptions {
    type Error = Fault;

    fn try_from(from: DesignOptions) -> Result<Self, Fault> {
        Ok(Self {
            rank: from.rank,
            ridge: from.ridge,
            labelled_weight: from.labelled_weight,
            added_weight: from.added_weight,
        })
    }
}

/// Plain facts about the query at hand.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct QueryInfo {
    /// Rows that are visible: the pool, or one tile of it for a scorer.
    pub rows: u32,
    /// Pool row of the first visible row; 0 unless this is a tile.
    pub first_row: u32,
    /// Samples in the labelled set.
    pub labelled_rows: u32,
    /// Classes of the task, whether or not labels of each were seen.
    pub classes: u32,
    /// Samples to select.
    pub batch: u32,
    /// Round of the run, from 0.
    pub round: u32,
}

impl From<types::QueryInfo> for QueryInfo {
    fn from(from: types::QueryInfo) -> Self {
        Self {
            rows: from.rows,
            first_row: from.first_row,
            labelled_rows: from.labelled_rows,
            classes: from.classes,
            batch: from.batch,
            round: from.round,
        }
    }
}

impl TryFrom<QueryInfo> for types::QueryInfo {
    type Error = Fault;

    fn try_from(from: QueryInfo) -> Result<Self, Fault> {
        Ok(Self {
            rows: from.rows,
            first_row: from.first_row,
            labelled_rows: from.labelled_rows,
            classes: from.classes,
            batch: from.batch,
            round: from.round,
        })
    }
}

/// What the host does while one query is answered. `release` takes a handle; the others are explained one by one.
/// They return 0, or the number of a fault, whose sentence `fault_text` tells.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CallTable {
    /// Bytes of this table.
    pub size: u32,
    /// [`ABI_MINOR`] of the host.
    pub minor: u32,
    /// Releases an object; unknown handles are ignored.
    pub release: unsafe extern "C" fn(call: *mut Call, handle: u32) -> Status,
    /// Opens the random stream named `tag`, at most 256 bytes. Opening it again gives the same values from the start.
    ///
    /// # Errors
    /// If the tag is too long, or a limit is passed.
    ///
    /// `scope`: 0 round, 1 run.
    pub stream: unsafe extern "C" fn(call: *mut Call, tag: Bytes, scope: u32, out: *mut u32) -> Status,
    /// The next `count` uniform numbers in (0, 1).
    ///
    /// # Errors
    /// If a limit is passed.
    pub stream_uniforms: unsafe extern "C" fn(call: *mut Call, stream: u32, count: u32, out: *mut List<f64>) -> Status,
    /// One uniform number in (0, 1) for each visible row, which belongs to its sample: it does not depend on the order
    /// of rows or on tiles. `step`, below 2^31, tells several numbers of one sample apart.
    ///
    /// # Errors
    /// If `step` is too large, or a limit is passed.
    pub stream_by_row: unsafe extern "C" fn(call: *mut Call, stream: u32, step: u32, out: *mut u32) -> Status,
    /// A vector with these values.
    ///
    /// # Errors
    /// If a value is NaN, or a limit is passed.
    pub vector: unsafe extern "C" fn(call: *mut Call, values: *const f64, values_count: usize, out: *mut u32) -> Status,
    /// Number of values.
    ///
    /// # Errors
    /// If the handle is bad.
    pub vector_len: unsafe extern "C" fn(call: *mut Call, vector: u32, out: *mut u32) -> Status,
    /// A part of the values, `[count]`.
    ///
    /// # Errors
    /// If the part lies outside.
    pub vector_read:
        unsafe extern "C" fn(call: *mut Call, vector: u32, start: u32, count: u32, out: *mut List<f64>) -> Status,
    /// Rows of the `count` largest values, largest first; `second` breaks ties, then the lower row.
    ///
    /// # Errors
    /// If lengths disagree.
    ///
    /// `second` may be `NO_HANDLE`.
    ///
    /// `excluded` may be `NO_HANDLE`.
    pub vector_top: unsafe extern "C" fn(
        call: *mut Call,
        vector: u32,
        second: u32,
        count: u32,
        excluded: u32,
        out: *mut List<u32>,
    ) -> Status,
    /// A row drawn with probability proportional to its value; none where all are 0.
    ///
    /// One uniform number u of the stream is used, always. Values are summed in `f64` in row order by blocks of 1024
    /// rows, excluded rows as 0; the total is the sum of the block sums in order. The cumulative sum of a row is the
    /// sum of the blocks before its own plus the sum inside its block up to it. The answer is the first row whose
    /// cumulative sum exceeds u times the total, or the last row above 0 where rounding leaves none.
    ///
    /// # Errors
    /// If a value is negative, or lengths disagree.
    ///
    /// `excluded` may be `NO_HANDLE`.
    ///
    /// `out_row` is `NO_ROW` for none.
    pub vector_draw:
        unsafe extern "C" fn(call: *mut Call, vector: u32, numbers: u32, excluded: u32, out_row: *mut u32) -> Status,
    /// A mask over `rows` rows that excludes none.
    ///
    /// # Errors
    /// If a limit is passed.
    pub mask: unsafe extern "C" fn(call: *mut Call, rows: u32, out: *mut u32) -> Status,
    /// Excludes rows; excluding one twice is no error.
    ///
    /// # Errors
    /// If there is no such row.
    pub mask_exclude: unsafe extern "C" fn(call: *mut Call, mask: u32, rows: *const u32, rows_count: usize) -> Status,
    /// How many rows are excluded.
    ///
    /// # Errors
    /// If the handle is bad.
    pub mask_count: unsafe extern "C" fn(call: *mut Call, mask: u32, out: *mut u32) -> Status,
    /// A matrix with these values, `[rows, columns]`.
    ///
    /// # Errors
    /// If the sizes do not fit, a value is not finite, or a limit is passed.
    pub matrix: unsafe extern "C" fn(
        call: *mut Call,
        rows: u32,
        columns: u32,
        values: *const f32,
        values_count: usize,
        out: *mut u32,
    ) -> Status,
    /// Rows and columns.
    ///
    /// # Errors
    /// If the handle is bad.
    pub matrix_shape: unsafe extern "C" fn(call: *mut Call, matrix: u32, out: *mut u32, out_second: *mut u32) -> Status,
    /// The values of some rows, `[count * columns]`.
    ///
    /// # Errors
    /// If the rows lie outside.
    pub matrix_read:
        unsafe extern "C" fn(call: *mut Call, matrix: u32, start: u32, count: u32, out: *mut List<f32>) -> Status,
    /// The named rows in the given order, as a matrix.
    ///
    /// # Errors
    /// If there is no such row, or a limit is passed.
    pub matrix_gather: unsafe extern "C" fn(
        call: *mut Call,
        matrix: u32,
        rows: *const u32,
        rows_count: usize,
        out: *mut u32,
    ) -> Status,
    /// Each row divided by its Euclidean norm; rows of norm 0 stay 0.
    ///
    /// # Errors
    /// If a limit is passed.
    pub matrix_normalise: unsafe extern "C" fn(call: *mut Call, matrix: u32, out: *mut u32) -> Status,
    /// Squared Euclidean norm of each row.
    ///
    /// # Errors
    /// If a limit is passed.
    pub matrix_sq_norms: unsafe extern "C" fn(call: *mut Call, matrix: u32, out: *mut u32) -> Status,
    /// Mean of the rows, `[columns]`.
    ///
    /// # Errors
    /// If there are no rows.
    pub matrix_mean: unsafe extern "C" fn(call: *mut Call, matrix: u32, out: *mut List<f64>) -> Status,
    /// The product with `right`, or with its transpose.
    ///
    /// # Errors
    /// If shapes do not fit, or a limit is passed.
    pub matrix_product:
        unsafe extern "C" fn(call: *mut Call, matrix: u32, right: u32, transpose_right: bool, out: *mut u32) -> Status,
    /// These rows, then those of `bottom`, as one matrix.
    ///
    /// # Errors
    /// If the columns disagree, or a limit is passed.
    pub matrix_stack: unsafe extern "C" fn(call: *mut Call, matrix: u32, bottom: u32, out: *mut u32) -> Status,
    /// Writes a line to the run's log.
    ///
    /// # Errors
    /// If the log is full.
    ///
    /// `level`: 0 debug, 1 info, 2 warning.
    pub log: unsafe extern "C" fn(call: *mut Call, level: u32, message: Bytes) -> Status,
    /// Hands over the text of a panic before the plugin stops.
    pub panicked: unsafe extern "C" fn(call: *mut Call, message: Bytes) -> Status,
    /// Reports progress.
    ///
    /// # Errors
    /// If the user has cancelled, or time is up; pass it on.
    pub progress: unsafe extern "C" fn(call: *mut Call, done: u64, total: u64) -> Status,
    /// Facts about the query.
    pub info: unsafe extern "C" fn(call: *mut Call, out: *mut QueryInfo) -> Status,
    /// Global sample ids of visible rows, ascending, `[count]`.
    ///
    /// # Errors
    /// If the rows lie outside.
    pub ids: unsafe extern "C" fn(call: *mut Call, start: u32, count: u32, out: *mut List<u64>) -> Status,
    /// Global ids of the labelled set, ascending, `[count]`: row i of every labelled array is sample i of these.
    ///
    /// # Errors
    /// If the rows lie outside.
    pub labelled_ids: unsafe extern "C" fn(call: *mut Call, start: u32, count: u32, out: *mut List<u64>) -> Status,
    /// Whether this query has a need that the strategy declared: of two choices it has one.
    ///
    /// # Errors
    /// If it was not declared.
    pub has: unsafe extern "C" fn(call: *mut Call, name: Bytes, out: *mut bool) -> Status,
    /// An `f32` array that the strategy declared, `[rows, rest]`; within a tile, only its rows.
    ///
    /// # Errors
    /// If it was not declared, or holds whole numbers.
    pub input: unsafe extern "C" fn(call: *mut Call, name: Bytes, out: *mut u32) -> Status,
    /// A part of a `u32` array that the strategy declared (`labelled.labels`, `calibration.labels`), `[count]`.
    ///
    /// # Errors
    /// If it was not declared, has fewer values, or holds floats.
    pub labels:
        unsafe extern "C" fn(call: *mut Call, name: Bytes, start: u32, count: u32, out: *mut List<u32>) -> Status,
    /// Number of neighbours of each row, itself included.
    ///
    /// # Errors
    /// If a limit is passed.
    pub graph_degrees: unsafe extern "C" fn(call: *mut Call, graph: u32, out: *mut u32) -> Status,
    /// The neighbours of a row, ascending.
    ///
    /// # Errors
    /// If there is no such row.
    pub graph_neighbours: unsafe extern "C" fn(call: *mut Call, graph: u32, row: u32, out: *mut List<u32>) -> Status,
    /// Number of rows in each cluster, `[clusters]`.
    ///
    /// # Errors
    /// If the handle is bad.
    pub clustering_sizes: unsafe extern "C" fn(call: *mut Call, clustering: u32, out: *mut List<u32>) -> Status,
    /// Cluster of some rows, `[count]`.
    ///
    /// # Errors
    /// If the rows lie outside.
    pub clustering_read:
        unsafe extern "C" fn(call: *mut Call, clustering: u32, start: u32, count: u32, out: *mut List<u32>) -> Status,
    /// The centres, `[clusters, columns]`.
    ///
    /// # Errors
    /// If a limit is passed.
    pub clustering_centres: unsafe extern "C" fn(call: *mut Call, clustering: u32, out: *mut u32) -> Status,
    /// Weighted sum of squared distances to the centres.
    ///
    /// # Errors
    /// If the handle is bad.
    pub clustering_inertia: unsafe extern "C" fn(call: *mut Call, clustering: u32, out: *mut f64) -> Status,
    /// For each cluster its member nearest to the centre, or none where no member is left.
    ///
    /// # Errors
    /// If lengths disagree.
    ///
    /// `excluded` may be `NO_HANDLE`.
    ///
    /// `NO_ROW` stands for none.
    pub clustering_representatives:
        unsafe extern "C" fn(call: *mut Call, clustering: u32, excluded: u32, out: *mut List<u32>) -> Status,
    /// Softmax of each row of logits.
    ///
    /// # Errors
    /// If there are no classes, or a limit is passed.
    pub softmax: unsafe extern "C" fn(call: *mut Call, logits: u32, out: *mut u32) -> Status,
    /// Softmax minus the one-hot of the largest logit (the lowest class among equals): the gradient of the predicted
    /// class's cross-entropy at the logits.
    ///
    /// # Errors
    /// If there are no classes, or a limit is passed.
    pub residual: unsafe extern "C" fn(call: *mut Call, logits: u32, out: *mut u32) -> Status,
    /// Uncertainty of each row of logits, and its tie-breaker.
    ///
    /// # Errors
    /// If there are fewer than two classes.
    ///
    /// `measure`: 0 least confidence, 1 margin, 2 ratio, 3 entropy.
    pub uncertainty:
        unsafe extern "C" fn(call: *mut Call, logits: u32, measure: u32, out: *mut u32, out_second: *mut u32) -> Status,
    /// Each row's distances to the rows of `centres`, reduced to one value. No `rows x centres` object is made.
    ///
    /// # Errors
    /// If widths disagree, or there are no centres.
    ///
    /// `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
    ///
    /// `reduction`: 0 min, 1 argmin, 2 sum, 3 count within.
    pub distance_reduce: unsafe extern "C" fn(
        call: *mut Call,
        rows: u32,
        centres: u32,
        metric: u32,
        reduction: u32,
        reduction_value: f64,
        out: *mut u32,
    ) -> Status,
    /// Mean distance of each row to its `neighbours` (at least 1) nearest other rows.
    ///
    /// # Errors
    /// If there are not that many other rows.
    ///
    /// `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
    pub neighbour_distance:
        unsafe extern "C" fn(call: *mut Call, rows: u32, neighbours: u32, metric: u32, out: *mut u32) -> Status,
    /// Which rows lie nearer to each other than `radius` (strictly; every row is its own neighbour).
    ///
    /// # Errors
    /// If a limit is passed.
    ///
    /// `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
    pub neighbours_within:
        unsafe extern "C" fn(call: *mut Call, rows: u32, radius: f64, metric: u32, out: *mut u32) -> Status,
    /// k-means of the rows, optionally weighted.
    ///
    /// Centres are `f32`, and assignments, distances and inertia are those to them. An empty cluster moves to the row
    /// farthest from its centre among clusters of several rows; a cluster may stay empty where rows are equal.
    ///
    /// # Errors
    /// If there are fewer rows than clusters, or an option has no meaning.
    ///
    /// `weights` may be `NO_HANDLE`.
    pub kmeans: unsafe extern "C" fn(
        call: *mut Call,
        rows: u32,
        weights: u32,
        options: *const KmeansOptions,
        numbers: u32,
        out: *mut u32,
    ) -> Status,
    /// Average linkage (UPGMA) of the rows: all merges, one fewer than rows, each after those of its parts.
    ///
    /// Two clusters merge when each is the other's nearest, the lowest among equals. Under squared Euclidean distances
    /// clusters are means in `f32` with a variance; Euclidean ones keep rows² / 2 distances; the cosine distance of
    /// normalised rows is half their squared Euclidean one.
    ///
    /// # Errors
    /// If the metric is the cosine, or a limit is passed.
    ///
    /// `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
    pub average_linkage: unsafe extern "C" fn(call: *mut Call, rows: u32, metric: u32, out: *mut List<Merge>) -> Status,
    /// Expected entropy of each row's class under mixtures of its draws, in nats.
    ///
    /// `log-probs` is `[rows, draws * classes]`, `weights` holds `draws` weights for each mixture and `shares` one
    /// number a mixture; none is negative. A row's value is `sum_m shares_m H(sum_t weights_mt p_t)`, where p_t are the
    /// exponentials of draw t over their sum, which must be 1 to within 0.001. Sums over draws and classes run in
    /// order, those over mixtures in sixteen lanes.
    ///
    /// # Errors
    /// If the sizes do not fit, or the columns are no log-probabilities.
    pub mixture_entropy:
        unsafe extern "C" fn(call: *mut Call, log_probs: u32, weights: u32, shares: u32, out: *mut u32) -> Status,
    /// Points that are the rows of a matrix.
    ///
    /// # Errors
    /// If a limit is passed.
    pub points: unsafe extern "C" fn(call: *mut Call, rows: u32, out: *mut u32) -> Status,
    /// Squared norm of each point.
    ///
    /// # Errors
    /// If a limit is passed.
    pub points_sq_norms: unsafe extern "C" fn(call: *mut Call, points: u32, out: *mut u32) -> Status,
    /// Points that are the outer products of the rows of two matrices, which are never formed.
    ///
    /// # Errors
    /// If the numbers of rows disagree.
    pub outer_products: unsafe extern "C" fn(call: *mut Call, left: u32, right: u32, out: *mut u32) -> Status,
    /// An engine that keeps each point's distance to the nearest of a growing set of chosen points.
    ///
    /// # Errors
    /// If the points do not have this metric.
    ///
    /// `metric`: 0 sq euclidean, 1 euclidean, 2 cosine.
    pub nearest: unsafe extern "C" fn(call: *mut Call, points: u32, metric: u32, out: *mut u32) -> Status,
    /// Adds rows of the points themselves to the set. Their distance is exactly 0 from then on.
    ///
    /// # Errors
    /// If there is no such row.
    pub nearest_add: unsafe extern "C" fn(call: *mut Call, nearest: u32, rows: *const u32, rows_count: usize) -> Status,
    /// Adds all of other points of the same geometry to the set.
    ///
    /// # Errors
    /// If the geometries disagree.
    pub nearest_add_points: unsafe extern "C" fn(call: *mut Call, nearest: u32, points: u32) -> Status,
    /// The row farthest from the set, with its distance; none where every row is excluded.
    ///
    /// # Errors
    /// If the set is empty, or lengths disagree.
    ///
    /// `excluded` may be `NO_HANDLE`.
    ///
    /// `out_row` is `NO_ROW` for none.
    pub nearest_farthest: unsafe extern "C" fn(
        call: *mut Call,
        nearest: u32,
        excluded: u32,
        out_row: *mut u32,
        out_value: *mut f64,
    ) -> Status,
    /// A row drawn with probability proportional to its distance as `vector.draw` does; none where all are 0. With
    /// squared Euclidean distances this is k-means++.
    ///
    /// # Errors
    /// If the set is empty, or lengths disagree.
    ///
    /// `excluded` may be `NO_HANDLE`.
    ///
    /// `out_row` is `NO_ROW` for none.
    pub nearest_draw:
        unsafe extern "C" fn(call: *mut Call, nearest: u32, numbers: u32, excluded: u32, out_row: *mut u32) -> Status,
    /// Distance of each point to the set.
    ///
    /// # Errors
    /// If the set is empty.
    pub nearest_values: unsafe extern "C" fn(call: *mut Call, nearest: u32, out: *mut u32) -> Status,
    /// An engine that finds which of `rows` covers most of `references` that a growing set does not.
    ///
    /// Reference j is covered by m_j, 0 at first; a row that joins the set raises it to their similarity k where that
    /// is larger. The gain of row i is the sum of `weights_j * max(k_ij - m_j, 0)` (weight 1 without weights), added in
    /// reference order by blocks of 1024 and then block by block, over the number of references.
    ///
    /// # Errors
    /// If columns or lengths disagree, there are no references, the width has no meaning, or a limit is passed.
    ///
    /// `weights` may be `NO_HANDLE`.
    pub facility: unsafe extern "C" fn(
        call: *mut Call,
        rows: u32,
        references: u32,
        weights: u32,
        similarity: *const Similarity,
        out: *mut u32,
    ) -> Status,
    /// Adds rows to the set.
    ///
    /// # Errors
    /// If there is no such row.
    pub facility_add:
        unsafe extern "C" fn(call: *mut Call, facility: u32, rows: *const u32, rows_count: usize) -> Status,
    /// Adds the rows of another matrix to the set. Each reference looks only at the nearest of them.
    ///
    /// # Errors
    /// If the columns disagree.
    pub facility_add_others: unsafe extern "C" fn(call: *mut Call, facility: u32, others: u32) -> Status,
    /// The row with the largest gain, and the gain; none where every row is excluded.
    ///
    /// # Errors
    /// If lengths disagree.
    ///
    /// `excluded` may be `NO_HANDLE`.
    ///
    /// `out_row` is `NO_ROW` for none.
    pub facility_best: unsafe extern "C" fn(
        call: *mut Call,
        facility: u32,
        excluded: u32,
        out_row: *mut u32,
        out_value: *mut f64,
    ) -> Status,
    /// An engine for greedy experimental design over the pool's rows.
    ///
    /// A row of factors R `[blocks, rank]` (given as `[rows, blocks * rank]`) and of embeddings h `[width]` stands for
    /// the information `(R (x) h) (R (x) h)^T`. With M the ridge plus the weighted information of labelled and added
    /// rows, and F the mean information of all rows of both sets, the cost of the rows added so far is `tr(M^-1 F)`.
    ///
    /// # Errors
    /// If sizes do not fit, an option has no meaning, or a limit is passed.
    pub design: unsafe extern "C" fn(
        call: *mut Call,
        factors: u32,
        embeddings: u32,
        labelled_factors: u32,
        labelled_embeddings: u32,
        options: *const DesignOptions,
        out: *mut u32,
    ) -> Status,
    /// The row not yet added that lowers the cost most, with the fall; none where all are added.
    ///
    /// # Errors
    /// If a row was removed already, or numbers overflow.
    ///
    /// `out_row` is `NO_ROW` for none.
    pub design_best:
        unsafe extern "C" fn(call: *mut Call, design: u32, out_row: *mut u32, out_value: *mut f64) -> Status,
    /// The added row whose removal raises the cost least, with the rise; none where none is added.
    ///
    /// # Errors
    /// If numbers overflow.
    ///
    /// `out_row` is `NO_ROW` for none.
    pub design_least:
        unsafe extern "C" fn(call: *mut Call, design: u32, out_row: *mut u32, out_value: *mut f64) -> Status,
    /// Adds a row.
    ///
    /// # Errors
    /// If it was added before, or a row was removed already.
    pub design_add: unsafe extern "C" fn(call: *mut Call, design: u32, row: u32) -> Status,
    /// Removes an added row.
    ///
    /// # Errors
    /// If it was not added.
    pub design_remove: unsafe extern "C" fn(call: *mut Call, design: u32, row: u32) -> Status,
    /// Logits in eval mode, `[n, classes]`, of embeddings `[n, width]` that need not be those of samples.
    ///
    /// The learner computes them in blocks of 512 rows from the first on, so that the same question has the same
    /// answer; the last bits of a row may depend on its place in the block.
    ///
    /// # Errors
    /// If the head was not declared, the width is not the model's, a logit is not finite, or a limit is passed.
    pub head_logits: unsafe extern "C" fn(call: *mut Call, embeddings: u32, out: *mut u32) -> Status,
    /// For each of the embeddings `[n, width]` the gradient there of the cross-entropy of a class, in eval mode, `[n,
    /// width]`. `classes` holds one class a row. Otherwise as `head-logits`.
    ///
    /// # Errors
    /// If as for `head-logits`, and if there is not one class of the task a row.
    pub head_gradients: unsafe extern "C" fn(
        call: *mut Call,
        embeddings: u32,
        classes: *const u32,
        classes_count: usize,
        out: *mut u32,
    ) -> Status,
}
