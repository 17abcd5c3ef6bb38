//! Objects of the host. Each is a handle that is released when it goes out of scope.
//!
//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.

use querist_protocol::{
    DesignOptions, KmeansOptions, LogLevel, Merge, Metric, QueryInfo, Reduction, Similarity, StreamScope, Uncertainty,
};

use crate::host::Host;
use crate::objects::object;
use crate::strategy::Result;

object! {
    /// Named random numbers.
    Stream
}

impl Stream {
    /// The next `count` uniform numbers in (0, 1).
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn uniforms(&self, count: u32) -> Result<Vec<f64>> {
        Ok(self.host.calls().stream_uniforms(self.handle, count)?)
    }

    /// One uniform number in (0, 1) for each visible row, which belongs to its sample: it does not depend on the order
    /// of rows or on tiles. `step`, below 2^31, tells several numbers of one sample apart.
    ///
    /// # Errors
    /// If `step` is too large, or a limit is passed.
    pub fn by_row(&self, step: u32) -> Result<Vector> {
        Ok(Vector::adopt(&self.host, self.host.calls().stream_by_row(self.handle, step)?))
    }
}

object! {
    /// One `f64` a row.
    Vector
}

impl Vector {
    /// Number of values.
    ///
    /// # Errors
    /// If the handle is bad.
    pub fn len(&self) -> Result<u32> {
        Ok(self.host.calls().vector_len(self.handle)?)
    }

    /// A part of the values, `[count]`.
    ///
    /// # Errors
    /// If the part lies outside.
    pub fn read(&self, start: u32, count: u32) -> Result<Vec<f64>> {
        Ok(self.host.calls().vector_read(self.handle, start, count)?)
    }

    /// Rows of the `count` largest values, largest first; `second` breaks ties, then the lower row.
    ///
    /// # Errors
    /// If lengths disagree.
    pub fn top(&self, second: Option<&Vector>, count: u32, excluded: Option<&Mask>) -> Result<Vec<u32>> {
        Ok(self.host.calls().vector_top(
            self.handle,
            second.map(|one| one.handle),
            count,
            excluded.map(|one| one.handle),
        )?)
    }

    /// A row drawn with probability proportional to its value; none where all are 0.
    ///
    /// One uniform number u of the stream is used, always. Values are summed in `f64` in row order by blocks of 1024
    /// rows, excluded rows as 0; the total is the sum of the block sums in order. The cumulative sum of a row is the
    /// sum of the blocks before its own plus the sum inside its block up to it. The answer is the first row whose
    /// cumulative sum exceeds u times the total, or the last row above 0 where rounding leaves none.
    ///
    /// # Errors
    /// If a value is negative, or lengths disagree.
    pub fn draw(&self, numbers: &Stream, excluded: Option<&Mask>) -> Result<Option<u32>> {
        Ok(self.host.calls().vector_draw(self.handle, numbers.handle, excluded.map(|one| one.handle))?)
    }
}

object! {
    /// A set of excluded rows.
    Mask
}

impl Mask {
    /// Excludes rows; excluding one twice is no error.
    ///
    /// # Errors
    /// If there is no such row.
    pub fn exclude(&self, rows: &[u32]) -> Result<()> {
        Ok(self.host.calls().mask_exclude(self.handle, rows)?)
    }

    /// How many rows are excluded.
    ///
    /// # Errors
    /// If the handle is bad.
    pub fn count(&self) -> Result<u32> {
        Ok(self.host.calls().mask_count(self.handle)?)
    }
}

object! {
    /// `f32` values, row-major.
    Matrix
}

impl Matrix {
    /// Rows and columns.
    ///
    /// # Errors
    /// If the handle is bad.
    pub fn shape(&self) -> Result<(u32, u32)> {
        Ok(self.host.calls().matrix_shape(self.handle)?)
    }

    /// The values of some rows, `[count * columns]`.
    ///
    /// # Errors
    /// If the rows lie outside.
    pub fn read(&self, start: u32, count: u32) -> Result<Vec<f32>> {
        Ok(self.host.calls().matrix_read(self.handle, start, count)?)
    }

    /// The named rows in the given order, as a matrix.
    ///
    /// # Errors
    /// If there is no such row, or a limit is passed.
    pub fn gather(&self, rows: &[u32]) -> Result<Matrix> {
        Ok(Matrix::adopt(&self.host, self.host.calls().matrix_gather(self.handle, rows)?))
    }

    /// Each row divided by its Euclidean norm; rows of norm 0 stay 0.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn normalise(&self) -> Result<Matrix> {
        Ok(Matrix::adopt(&self.host, self.host.calls().matrix_normalise(self.handle)?))
    }

    /// Squared Euclidean norm of each row.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn sq_norms(&self) -> Result<Vector> {
        Ok(Vector::adopt(&self.host, self.host.calls().matrix_sq_norms(self.handle)?))
    }

    /// Mean of the rows, `[columns]`.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn mean(&self) -> Result<Vec<f64>> {
        Ok(self.host.calls().matrix_mean(self.handle)?)
    }

    /// The product with `right`, or with its transpose.
    ///
    /// # Errors
    /// If shapes do not fit, or a limit is passed.
    pub fn product(&self, right: &Matrix, transpose_right: bool) -> Result<Matrix> {
        Ok(Matrix::adopt(&self.host, self.host.calls().matrix_product(self.handle, right.handle, transpose_right)?))
    }

    /// These rows, then those of `bottom`, as one matrix.
    ///
    /// # Errors
    /// If the columns disagree, or a limit is passed.
    pub fn stack(&self, bottom: &Matrix) -> Result<Matrix> {
        Ok(Matrix::adopt(&self.host, self.host.calls().matrix_stack(self.handle, bottom.handle)?))
    }

    /// Softmax of each row of logits.
    ///
    /// # Errors
    /// If there are no classes, or a limit is passed.
    pub fn softmax(&self) -> Result<Matrix> {
        Ok(Matrix::adopt(&self.host, self.host.calls().softmax(self.handle)?))
    }

    /// Softmax minus the one-hot of the largest logit (the lowest class among equals): the gradient of the predicted
    /// class's cross-entropy at the logits.
    ///
    /// # Errors
    /// If there are no classes, or a limit is passed.
    pub fn residual(&self) -> Result<Matrix> {
        Ok(Matrix::adopt(&self.host, self.host.calls().residual(self.handle)?))
    }

    /// Uncertainty of each row of logits, and its tie-breaker.
    ///
    /// # Errors
    /// If there are fewer than two classes.
    pub fn uncertainty(&self, measure: Uncertainty) -> Result<(Vector, Vector)> {
        let (first, second) = self.host.calls().uncertainty(self.handle, measure)?;
        Ok((Vector::adopt(&self.host, first), Vector::adopt(&self.host, second)))
    }

    /// Each row's distances to the rows of `centres`, reduced to one value. No `rows x centres` object is made.
    ///
    /// # Errors
    /// If widths disagree, or there are no centres.
    pub fn distance_reduce(&self, centres: &Matrix, metric: Metric, reduction: Reduction) -> Result<Vector> {
        Ok(Vector::adopt(
            &self.host,
            self.host.calls().distance_reduce(self.handle, centres.handle, metric, reduction)?,
        ))
    }

    /// Mean distance of each row to its `neighbours` (at least 1) nearest other rows.
    ///
    /// # Errors
    /// If there are not that many other rows.
    pub fn neighbour_distance(&self, neighbours: u32, metric: Metric) -> Result<Vector> {
        Ok(Vector::adopt(&self.host, self.host.calls().neighbour_distance(self.handle, neighbours, metric)?))
    }

    /// Which rows lie nearer to each other than `radius` (strictly; every row is its own neighbour).
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn neighbours_within(&self, radius: f64, metric: Metric) -> Result<Graph> {
        Ok(Graph::adopt(&self.host, self.host.calls().neighbours_within(self.handle, radius, metric)?))
    }

    /// k-means of the rows, optionally weighted.
    ///
    /// Centres are `f32`, and assignments, distances and inertia are those to them. An empty cluster moves to the row
    /// farthest from its centre among clusters of several rows; a cluster may stay empty where rows are equal.
    ///
    /// # Errors
    /// If there are fewer rows than clusters, or an option has no meaning.
    pub fn kmeans(&self, weights: Option<&Vector>, options: KmeansOptions, numbers: &Stream) -> Result<Clustering> {
        Ok(Clustering::adopt(
            &self.host,
            self.host.calls().kmeans(self.handle, weights.map(|one| one.handle), options, numbers.handle)?,
        ))
    }

    /// Average linkage (UPGMA) of the rows: all merges, one fewer than rows, each after those of its parts.
    ///
    /// Two clusters merge when each is the other's nearest, the lowest among equals. Under squared Euclidean distances
    /// clusters are means in `f32` with a variance; Euclidean ones keep rows² / 2 distances; the cosine distance of
    /// normalised rows is half their squared Euclidean one.
    ///
    /// # Errors
    /// If the metric is the cosine, or a limit is passed.
    pub fn average_linkage(&self, metric: Metric) -> Result<Vec<Merge>> {
        Ok(self.host.calls().average_linkage(self.handle, metric)?)
    }

    /// Expected entropy of each row's class under mixtures of its draws, in nats.
    ///
    /// `log-probs` is `[rows, draws * classes]`, `weights` holds `draws` weights for each mixture and `shares` one
    /// number a mixture; none is negative. A row's value is `sum_m shares_m H(sum_t weights_mt p_t)`, where p_t are the
    /// exponentials of draw t over their sum, which must be 1 to within 0.001. Sums over draws and classes run in
    /// order, those over mixtures in sixteen lanes.
    ///
    /// # Errors
    /// If the sizes do not fit, or the columns are no log-probabilities.
    pub fn mixture_entropy(&self, weights: &Vector, shares: &Vector) -> Result<Vector> {
        Ok(Vector::adopt(&self.host, self.host.calls().mixture_entropy(self.handle, weights.handle, shares.handle)?))
    }

    /// Points that are the rows of a matrix.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn points(&self) -> Result<Points> {
        Ok(Points::adopt(&self.host, self.host.calls().points(self.handle)?))
    }

    /// Points that are the outer products of the rows of two matrices, which are never formed.
    ///
    /// # Errors
    /// If the numbers of rows disagree.
    pub fn outer_products(&self, right: &Matrix) -> Result<Points> {
        Ok(Points::adopt(&self.host, self.host.calls().outer_products(self.handle, right.handle)?))
    }

    /// An engine that finds which of `rows` covers most of `references` that a growing set does not.
    ///
    /// Reference j is covered by m_j, 0 at first; a row that joins the set raises it to their similarity k where that
    /// is larger. The gain of row i is the sum of `weights_j * max(k_ij - m_j, 0)` (weight 1 without weights), added in
    /// reference order by blocks of 1024 and then block by block, over the number of references.
    ///
    /// # Errors
    /// If columns or lengths disagree, there are no references, the width has no meaning, or a limit is passed.
    pub fn facility(&self, references: &Matrix, weights: Option<&Vector>, similarity: Similarity) -> Result<Facility> {
        Ok(Facility::adopt(
            &self.host,
            self.host.calls().facility(self.handle, references.handle, weights.map(|one| one.handle), similarity)?,
        ))
    }

    /// An engine for greedy experimental design over the pool's rows.
    ///
    /// A row of factors R `[blocks, rank]` (given as `[rows, blocks * rank]`) and of embeddings h `[width]` stands for
    /// the information `(R (x) h) (R (x) h)^T`. With M the ridge plus the weighted information of labelled and added
    /// rows, and F the mean information of all rows of both sets, the cost of the rows added so far is `tr(M^-1 F)`.
    ///
    /// # Errors
    /// If sizes do not fit, an option has no meaning, or a limit is passed.
    pub fn design(
        &self,
        embeddings: &Matrix,
        labelled_factors: &Matrix,
        labelled_embeddings: &Matrix,
        options: DesignOptions,
    ) -> Result<Design> {
        Ok(Design::adopt(
            &self.host,
            self.host.calls().design(
                self.handle,
                embeddings.handle,
                labelled_factors.handle,
                labelled_embeddings.handle,
                options,
            )?,
        ))
    }

    /// Logits in eval mode, `[n, classes]`, of embeddings `[n, width]` that need not be those of samples.
    ///
    /// The learner computes them in blocks of 512 rows from the first on, so that the same question has the same
    /// answer; the last bits of a row may depend on its place in the block.
    ///
    /// # Errors
    /// If the head was not declared, the width is not the model's, a logit is not finite, or a limit is passed.
    pub fn head_logits(&self) -> Result<Matrix> {
        Ok(Matrix::adopt(&self.host, self.host.calls().head_logits(self.handle)?))
    }

    /// For each of the embeddings `[n, width]` the gradient there of the cross-entropy of a class, in eval mode, `[n,
    /// width]`. `classes` holds one class a row. Otherwise as `head-logits`.
    ///
    /// # Errors
    /// If as for `head-logits`, and if there is not one class of the task a row.
    pub fn head_gradients(&self, classes: &[u32]) -> Result<Matrix> {
        Ok(Matrix::adopt(&self.host, self.host.calls().head_gradients(self.handle, classes)?))
    }
}

object! {
    /// Rows that lie near each other.
    Graph
}

impl Graph {
    /// Number of neighbours of each row, itself included.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn degrees(&self) -> Result<Vector> {
        Ok(Vector::adopt(&self.host, self.host.calls().graph_degrees(self.handle)?))
    }

    /// The neighbours of a row, ascending.
    ///
    /// # Errors
    /// If there is no such row.
    pub fn neighbours(&self, row: u32) -> Result<Vec<u32>> {
        Ok(self.host.calls().graph_neighbours(self.handle, row)?)
    }
}

object! {
    /// The outcome of k-means.
    Clustering
}

impl Clustering {
    /// Number of rows in each cluster, `[clusters]`.
    ///
    /// # Errors
    /// If the handle is bad.
    pub fn sizes(&self) -> Result<Vec<u32>> {
        Ok(self.host.calls().clustering_sizes(self.handle)?)
    }

    /// Cluster of some rows, `[count]`.
    ///
    /// # Errors
    /// If the rows lie outside.
    pub fn read(&self, start: u32, count: u32) -> Result<Vec<u32>> {
        Ok(self.host.calls().clustering_read(self.handle, start, count)?)
    }

    /// The centres, `[clusters, columns]`.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn centres(&self) -> Result<Matrix> {
        Ok(Matrix::adopt(&self.host, self.host.calls().clustering_centres(self.handle)?))
    }

    /// Weighted sum of squared distances to the centres.
    ///
    /// # Errors
    /// If the handle is bad.
    pub fn inertia(&self) -> Result<f64> {
        Ok(self.host.calls().clustering_inertia(self.handle)?)
    }

    /// For each cluster its member nearest to the centre, or none where no member is left.
    ///
    /// # Errors
    /// If lengths disagree.
    pub fn representatives(&self, excluded: Option<&Mask>) -> Result<Vec<Option<u32>>> {
        Ok(self.host.calls().clustering_representatives(self.handle, excluded.map(|one| one.handle))?)
    }
}

object! {
    /// Rows with a geometry: those of a matrix, or the outer products of the rows of two.
    Points
}

impl Points {
    /// Squared norm of each point.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn sq_norms(&self) -> Result<Vector> {
        Ok(Vector::adopt(&self.host, self.host.calls().points_sq_norms(self.handle)?))
    }

    /// An engine that keeps each point's distance to the nearest of a growing set of chosen points.
    ///
    /// # Errors
    /// If the points do not have this metric.
    pub fn nearest(&self, metric: Metric) -> Result<Nearest> {
        Ok(Nearest::adopt(&self.host, self.host.calls().nearest(self.handle, metric)?))
    }
}

object! {
    /// Distances to the nearest of a growing set of chosen points.
    Nearest
}

impl Nearest {
    /// Adds rows of the points themselves to the set. Their distance is exactly 0 from then on.
    ///
    /// # Errors
    /// If there is no such row.
    pub fn add(&self, rows: &[u32]) -> Result<()> {
        Ok(self.host.calls().nearest_add(self.handle, rows)?)
    }

    /// Adds all of other points of the same geometry to the set.
    ///
    /// # Errors
    /// If the geometries disagree.
    pub fn add_points(&self, points: &Points) -> Result<()> {
        Ok(self.host.calls().nearest_add_points(self.handle, points.handle)?)
    }

    /// The row farthest from the set, with its distance; none where every row is excluded.
    ///
    /// # Errors
    /// If the set is empty, or lengths disagree.
    pub fn farthest(&self, excluded: Option<&Mask>) -> Result<Option<(u32, f64)>> {
        Ok(self.host.calls().nearest_farthest(self.handle, excluded.map(|one| one.handle))?)
    }

    /// A row drawn with probability proportional to its distance as `vector.draw` does; none where all are 0. With
    /// squared Euclidean distances this is k-means++.
    ///
    /// # Errors
    /// If the set is empty, or lengths disagree.
    pub fn draw(&self, numbers: &Stream, excluded: Option<&Mask>) -> Result<Option<u32>> {
        Ok(self.host.calls().nearest_draw(self.handle, numbers.handle, excluded.map(|one| one.handle))?)
    }

    /// Distance of each point to the set.
    ///
    /// # Errors
    /// If the set is empty.
    pub fn values(&self) -> Result<Vector> {
        Ok(Vector::adopt(&self.host, self.host.calls().nearest_values(self.handle)?))
    }
}

object! {
    /// Greedy facility location: which rows cover most of what a growing set does not.
    Facility
}

impl Facility {
    /// Adds rows to the set.
    ///
    /// # Errors
    /// If there is no such row.
    pub fn add(&self, rows: &[u32]) -> Result<()> {
        Ok(self.host.calls().facility_add(self.handle, rows)?)
    }

    /// Adds the rows of another matrix to the set. Each reference looks only at the nearest of them.
    ///
    /// # Errors
    /// If the columns disagree.
    pub fn add_others(&self, others: &Matrix) -> Result<()> {
        Ok(self.host.calls().facility_add_others(self.handle, others.handle)?)
    }

    /// The row with the largest gain, and the gain; none where every row is excluded.
    ///
    /// # Errors
    /// If lengths disagree.
    pub fn best(&self, excluded: Option<&Mask>) -> Result<Option<(u32, f64)>> {
        Ok(self.host.calls().facility_best(self.handle, excluded.map(|one| one.handle))?)
    }
}

object! {
    /// Greedy experimental design for a linear head.
    Design
}

impl Design {
    /// The row not yet added that lowers the cost most, with the fall; none where all are added.
    ///
    /// # Errors
    /// If a row was removed already, or numbers overflow.
    pub fn best(&self) -> Result<Option<(u32, f64)>> {
        Ok(self.host.calls().design_best(self.handle)?)
    }

    /// The added row whose removal raises the cost least, with the rise; none where none is added.
    ///
    /// # Errors
    /// If numbers overflow.
    pub fn least(&self) -> Result<Option<(u32, f64)>> {
        Ok(self.host.calls().design_least(self.handle)?)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// If it was added before, or a row was removed already.
    pub fn add(&self, row: u32) -> Result<()> {
        Ok(self.host.calls().design_add(self.handle, row)?)
    }

    /// Removes an added row.
    ///
    /// # Errors
    /// If it was not added.
    pub fn remove(&self, row: u32) -> Result<()> {
        Ok(self.host.calls().design_remove(self.handle, row)?)
    }
}

/// Calls that no object answers.
impl Host {
    /// Opens the random stream named `tag`, at most 256 bytes. Opening it again gives the same values from the start.
    ///
    /// # Errors
    /// If the tag is too long, or a limit is passed.
    pub fn stream(&self, tag: &str, scope: StreamScope) -> Result<Stream> {
        Ok(Stream::adopt(self, self.calls().stream(tag, scope)?))
    }

    /// A vector with these values.
    ///
    /// # Errors
    /// If a value is NaN, or a limit is passed.
    pub fn vector(&self, values: &[f64]) -> Result<Vector> {
        Ok(Vector::adopt(self, self.calls().vector(values)?))
    }

    /// A mask over `rows` rows that excludes none.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn mask(&self, rows: u32) -> Result<Mask> {
        Ok(Mask::adopt(self, self.calls().mask(rows)?))
    }

    /// A matrix with these values, `[rows, columns]`.
    ///
    /// # Errors
    /// If the sizes do not fit, a value is not finite, or a limit is passed.
    pub fn matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Result<Matrix> {
        Ok(Matrix::adopt(self, self.calls().matrix(rows, columns, values)?))
    }

    /// Writes a line to the run's log.
    ///
    /// # Errors
    /// If the log is full.
    pub fn log(&self, level: LogLevel, message: &str) -> Result<()> {
        Ok(self.calls().log(level, message)?)
    }

    /// Hands over the text of a panic before the plugin stops.
    pub fn panicked(&self, message: &str) {
        self.calls().panicked(message);
    }

    /// Reports progress.
    ///
    /// # Errors
    /// If the user has cancelled, or time is up; pass it on.
    pub fn progress(&self, done: u64, total: u64) -> Result<()> {
        Ok(self.calls().progress(done, total)?)
    }

    /// Facts about the query.
    pub fn info(&self) -> QueryInfo {
        self.calls().info()
    }

    /// Global sample ids of visible rows, ascending, `[count]`.
    ///
    /// # Errors
    /// If the rows lie outside.
    pub fn ids(&self, start: u32, count: u32) -> Result<Vec<u64>> {
        Ok(self.calls().ids(start, count)?)
    }

    /// Global ids of the labelled set, ascending, `[count]`: row i of every labelled array is sample i of these.
    ///
    /// # Errors
    /// If the rows lie outside.
    pub fn labelled_ids(&self, start: u32, count: u32) -> Result<Vec<u64>> {
        Ok(self.calls().labelled_ids(start, count)?)
    }

    /// Whether this query has a need that the strategy declared: of two choices it has one.
    ///
    /// # Errors
    /// If it was not declared.
    pub fn has(&self, name: &str) -> Result<bool> {
        Ok(self.calls().has(name)?)
    }

    /// An `f32` array that the strategy declared, `[rows, rest]`; within a tile, only its rows.
    ///
    /// # Errors
    /// If it was not declared, or holds whole numbers.
    pub fn input(&self, name: &str) -> Result<Matrix> {
        Ok(Matrix::adopt(self, self.calls().input(name)?))
    }

    /// A part of a `u32` array that the strategy declared (`labelled.labels`, `calibration.labels`), `[count]`.
    ///
    /// # Errors
    /// If it was not declared, has fewer values, or holds floats.
    pub fn labels(&self, name: &str, start: u32, count: u32) -> Result<Vec<u32>> {
        Ok(self.calls().labels(name, start, count)?)
    }
}
