//! Objects of the host. Each is a handle that is released when it goes out of scope.

use querist_protocol::{
    BLOCK_BYTES, DesignOptions, Handle, KmeansOptions, Merge, Metric, Reduction, Similarity, Uncertainty,
};

use crate::host::Host;
use crate::query::Scores;
use crate::strategy::Result;

macro_rules! object {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name {
            host: Host,
            handle: Handle,
        }

        impl $name {
            pub(crate) fn adopt(host: &Host, handle: Handle) -> Self {
                Self { host: host.clone(), handle }
            }

            /// The handle, for a call.
            #[allow(dead_code, reason = "not every kind is an argument of another's calls")]
            pub(crate) fn handle(&self) -> Handle {
                self.handle
            }

            /// Gives the handle away; whoever takes it releases it.
            #[doc(hidden)]
            pub fn into_handle(self) -> Handle {
                let handle = self.handle;
                // The host is reference-counted in a native build, so it must still be dropped.
                let mut this = std::mem::ManuallyDrop::new(self);
                // SAFETY: `this` is never dropped, so its host is dropped exactly once, here.
                unsafe { std::ptr::drop_in_place(&mut this.host) };
                handle
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.host.calls().release(self.handle);
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.handle)
            }
        }
    };
}

object! {
    /// Named random numbers.
    Stream
}

impl Stream {
    /// The next uniform number in (0, 1).
    ///
    /// # Errors
    /// If the host refuses.
    pub fn uniform(&self) -> Result<f64> {
        Ok(self.uniforms(1)?[0])
    }

    /// The next `count` uniform numbers in (0, 1).
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn uniforms(&self, count: u32) -> Result<Vec<f64>> {
        Ok(self.host.calls().stream_uniforms(self.handle, count)?)
    }

    /// A whole number below `bound`, each equally likely to within 2^-53.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn below(&self, bound: u32) -> Result<u32> {
        Ok(((self.uniform()? * f64::from(bound)) as u32).min(bound.saturating_sub(1)))
    }

    /// One uniform number in (0, 1) for each visible row, which belongs to its sample: it does not depend on the order
    /// of rows or on tiles. `step` tells several numbers of one sample apart.
    ///
    /// # Errors
    /// If a limit is passed.
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
    /// If the host refuses.
    pub fn len(&self) -> Result<u32> {
        Ok(self.host.calls().vector_len(self.handle)?)
    }

    /// Whether there are no values.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// A part of the values.
    ///
    /// # Errors
    /// If the part lies outside.
    pub fn read(&self, start: u32, count: u32) -> Result<Vec<f64>> {
        Ok(self.host.calls().vector_read(self.handle, start, count)?)
    }

    /// One value.
    ///
    /// # Errors
    /// If there is no such row.
    pub fn get(&self, row: u32) -> Result<f64> {
        Ok(self.read(row, 1)?[0])
    }

    /// All values.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn to_vec(&self) -> Result<Vec<f64>> {
        self.read(0, self.len()?)
    }

    /// Rows of the `count` largest values, largest first; `second` breaks ties, then the lower row.
    ///
    /// # Errors
    /// If lengths disagree.
    pub fn top(&self, second: Option<&Vector>, count: u32, excluded: Option<&Mask>) -> Result<Vec<u32>> {
        let (second, excluded) = (second.map(|v| v.handle), excluded.map(|m| m.handle));
        Ok(self.host.calls().vector_top(self.handle, second, count, excluded)?)
    }

    /// A row drawn with probability proportional to its value; `None` where all are 0.
    ///
    /// # Errors
    /// If a value is negative or lengths disagree.
    pub fn draw(&self, stream: &Stream, excluded: Option<&Mask>) -> Result<Option<u32>> {
        Ok(self.host.calls().vector_draw(self.handle, stream.handle, excluded.map(|m| m.handle))?)
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
    /// If the host refuses.
    pub fn count(&self) -> Result<u32> {
        Ok(self.host.calls().mask_count(self.handle)?)
    }
}

object! {
    /// `f32` values, row-major.
    Matrix
}

impl Matrix {
    fn sibling(&self, handle: Handle) -> Self {
        Self::adopt(&self.host, handle)
    }

    fn vector(&self, handle: Handle) -> Vector {
        Vector::adopt(&self.host, handle)
    }

    /// Rows and columns.
    ///
    /// # Errors
    /// If the host refuses.
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

    /// Calls `visit(first_row, values)` for blocks of whole rows that fit the cache, in order.
    ///
    /// # Errors
    /// The first error of `visit` or of the host.
    pub fn for_each_block(&self, mut visit: impl FnMut(u32, &[f32]) -> Result<()>) -> Result<()> {
        let (rows, columns) = self.shape()?;
        let block = (BLOCK_BYTES as u32 / (4 * columns.max(1))).max(1);
        let mut start = 0;
        while start < rows {
            let count = block.min(rows - start);
            visit(start, &self.read(start, count)?)?;
            start += count;
        }
        Ok(())
    }

    /// The named rows in the given order.
    ///
    /// # Errors
    /// If there is no such row or a limit is passed.
    pub fn gather(&self, rows: &[u32]) -> Result<Matrix> {
        Ok(self.sibling(self.host.calls().matrix_gather(self.handle, rows)?))
    }

    /// These rows, then those of `bottom`, as one matrix.
    ///
    /// # Errors
    /// If the columns disagree or a limit is passed.
    pub fn stack(&self, bottom: &Matrix) -> Result<Matrix> {
        Ok(self.sibling(self.host.calls().matrix_stack(self.handle, bottom.handle)?))
    }

    /// Each row divided by its Euclidean norm; rows of norm 0 stay 0.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn normalise(&self) -> Result<Matrix> {
        Ok(self.sibling(self.host.calls().matrix_normalise(self.handle)?))
    }

    /// Squared Euclidean norm of each row.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn sq_norms(&self) -> Result<Vector> {
        Ok(self.vector(self.host.calls().matrix_sq_norms(self.handle)?))
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
    /// If shapes do not fit or a limit is passed.
    pub fn product(&self, right: &Matrix, transpose_right: bool) -> Result<Matrix> {
        Ok(self.sibling(self.host.calls().matrix_product(self.handle, right.handle, transpose_right)?))
    }

    /// Softmax of each row of logits.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn softmax(&self) -> Result<Matrix> {
        Ok(self.sibling(self.host.calls().softmax(self.handle)?))
    }

    /// Softmax minus the one-hot of the largest logit: the gradient of the predicted class's loss at the logits.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn residual(&self) -> Result<Matrix> {
        Ok(self.sibling(self.host.calls().residual(self.handle)?))
    }

    /// Uncertainty of each row of logits with its tie-breaker.
    ///
    /// # Errors
    /// If there are fewer than two classes.
    pub fn uncertainty(&self, measure: Uncertainty) -> Result<Scores> {
        let (primary, second) = self.host.calls().uncertainty(self.handle, measure)?;
        Ok(Scores { primary: self.vector(primary), second: Some(self.vector(second)) })
    }

    /// Each row's distances to the rows of `centres`, reduced to one value.
    ///
    /// # Errors
    /// If widths disagree or there are no centres.
    pub fn distance_reduce(&self, centres: &Matrix, metric: Metric, reduction: Reduction) -> Result<Vector> {
        Ok(self.vector(self.host.calls().distance_reduce(self.handle, centres.handle, metric, reduction)?))
    }

    /// Mean distance of each row to its `neighbours` nearest other rows.
    ///
    /// # Errors
    /// If there are not that many other rows.
    pub fn neighbour_distance(&self, neighbours: u32, metric: Metric) -> Result<Vector> {
        Ok(self.vector(self.host.calls().neighbour_distance(self.handle, neighbours, metric)?))
    }

    /// Which rows lie nearer to each other than `radius`.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn neighbours_within(&self, radius: f64, metric: Metric) -> Result<Graph> {
        Ok(Graph::adopt(&self.host, self.host.calls().neighbours_within(self.handle, radius, metric)?))
    }

    /// k-means of the rows, optionally weighted.
    ///
    /// # Errors
    /// If there are fewer rows than clusters, or an option has no meaning.
    pub fn kmeans(&self, weights: Option<&Vector>, options: KmeansOptions, stream: &Stream) -> Result<Clustering> {
        let weights = weights.map(|w| w.handle);
        let handle = self.host.calls().kmeans(self.handle, weights, options, stream.handle)?;
        Ok(Clustering::adopt(&self.host, handle))
    }

    /// Average linkage of the rows: all merges, one fewer than rows, each after those of its parts.
    ///
    /// # Errors
    /// Under the cosine metric, or if a limit is passed: the Euclidean metric keeps rows² / 2 distances.
    pub fn average_linkage(&self, metric: Metric) -> Result<Vec<Merge>> {
        Ok(self.host.calls().average_linkage(self.handle, metric)?)
    }

    /// An engine that finds which of these rows covers most of `references` that a growing set does not.
    ///
    /// # Errors
    /// If columns or lengths disagree, there are no references, the width has no meaning, or a limit is passed.
    pub fn facility(&self, references: &Matrix, weights: Option<&Vector>, similarity: Similarity) -> Result<Facility> {
        let weights = weights.map(|w| w.handle);
        let handle = self.host.calls().facility(self.handle, references.handle, weights, similarity)?;
        Ok(Facility::adopt(&self.host, handle))
    }

    /// Expected entropy of each row's class under mixtures of its draws, where the columns are log-probabilities
    /// `[draws * classes]`: `sum_m shares_m H(sum_t weights_mt p_t)`.
    ///
    /// # Errors
    /// If the sizes do not fit or the columns are no log-probabilities.
    pub fn mixture_entropy(&self, weights: &Vector, shares: &Vector) -> Result<Vector> {
        Ok(self.vector(self.host.calls().mixture_entropy(self.handle, weights.handle, shares.handle)?))
    }

    /// Points that are the rows.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn points(&self) -> Result<Points> {
        Ok(Points::adopt(&self.host, self.host.calls().points(self.handle)?))
    }

    /// Points that are the outer products of these rows with those of `right`; they are never formed.
    ///
    /// # Errors
    /// If the numbers of rows disagree.
    pub fn outer_products(&self, right: &Matrix) -> Result<Points> {
        Ok(Points::adopt(&self.host, self.host.calls().points_factored(self.handle, right.handle)?))
    }
}

object! {
    /// Greedy experimental design for a linear head.
    Design
}

impl Design {
    /// A design over the pool's factors and embeddings, given the labelled set's.
    ///
    /// # Errors
    /// If sizes do not fit, an option has no meaning, or a limit is passed.
    pub fn over(pool: (&Matrix, &Matrix), labelled: (&Matrix, &Matrix), options: DesignOptions) -> Result<Self> {
        let host = &pool.0.host;
        let handles = |pair: (&Matrix, &Matrix)| (pair.0.handle, pair.1.handle);
        Ok(Self::adopt(host, host.calls().design(handles(pool), handles(labelled), options)?))
    }

    /// The row not yet added that lowers the cost most, with the fall; `None` where all are added.
    ///
    /// # Errors
    /// If a row was removed already, or numbers overflow.
    pub fn best(&self) -> Result<Option<(u32, f64)>> {
        Ok(self.host.calls().design_best(self.handle)?)
    }

    /// The added row whose removal raises the cost least, with the rise; `None` where none is added.
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
    /// Rows with a geometry.
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
    /// Adds rows of the points themselves to the set.
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

    /// The row farthest from the set, with its distance; `None` where every row is excluded.
    ///
    /// # Errors
    /// If the set is empty.
    pub fn farthest(&self, excluded: Option<&Mask>) -> Result<Option<(u32, f64)>> {
        Ok(self.host.calls().nearest_farthest(self.handle, excluded.map(|m| m.handle))?)
    }

    /// A row drawn with probability proportional to its distance; `None` where all are 0.
    ///
    /// # Errors
    /// If the set is empty.
    pub fn draw(&self, stream: &Stream, excluded: Option<&Mask>) -> Result<Option<u32>> {
        Ok(self.host.calls().nearest_draw(self.handle, stream.handle, excluded.map(|m| m.handle))?)
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
    /// The outcome of k-means.
    Clustering
}

impl Clustering {
    /// Number of rows in each cluster, `[clusters]`.
    ///
    /// # Errors
    /// If the host refuses.
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
    /// If the host refuses.
    pub fn inertia(&self) -> Result<f64> {
        Ok(self.host.calls().clustering_inertia(self.handle)?)
    }

    /// For each cluster its member nearest to the centre, or `None` where no member is left.
    ///
    /// # Errors
    /// If lengths disagree.
    pub fn representatives(&self, excluded: Option<&Mask>) -> Result<Vec<Option<u32>>> {
        Ok(self.host.calls().clustering_representatives(self.handle, excluded.map(|m| m.handle))?)
    }
}

object! {
    /// Which rows cover most of what a growing set does not.
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

    /// Adds the rows of another matrix to the set.
    ///
    /// # Errors
    /// If the columns disagree.
    pub fn add_others(&self, others: &Matrix) -> Result<()> {
        Ok(self.host.calls().facility_add_others(self.handle, others.handle)?)
    }

    /// The row with the largest gain, and the gain; `None` where every row is excluded.
    ///
    /// # Errors
    /// If lengths disagree.
    pub fn best(&self, excluded: Option<&Mask>) -> Result<Option<(u32, f64)>> {
        Ok(self.host.calls().facility_best(self.handle, excluded.map(|m| m.handle))?)
    }
}
