//! The host's calls, from WIT to the session.

use querist_protocol::{
    DesignOptions, Fault, FaultCode, HostCalls, Init, KmeansOptions, LogLevel, Merge, Metric, Reduction, Similarity,
    SimilarityKind, StreamScope, Uncertainty,
};
use wasmtime::component::Resource;

use super::CallState;
use super::bindings::querist::strategy::host::{
    self, HostClustering, HostDesign, HostFacility, HostGraph, HostMask, HostMatrix, HostNearest, HostPoints,
    HostStream, HostVector,
};
use super::bindings::querist::strategy::types;
use super::objects::{Clustering, Design, Facility, Graph, Mask, Matrix, Nearest, Points, Stream, Vector};

type Call<T> = Result<T, types::Fault>;

macro_rules! fault_codes {
    ($($code:ident),*) => {
        fn fault_to_wit(fault: Fault) -> types::Fault {
            let code = match fault.code { $(FaultCode::$code => types::FaultCode::$code,)* };
            types::Fault { code, message: fault.message }
        }

        pub(super) fn fault_from_wit(fault: types::Fault) -> Fault {
            let code = match fault.code { $(types::FaultCode::$code => FaultCode::$code,)* };
            Fault::new(code, fault.message)
        }
    };
}

fault_codes!(BadHandle, BadIndex, BadShape, BadArgument, NotDeclared, Quota, Deadline, Cancelled, NonFinite);

fn plain<T>(result: Result<T, Fault>) -> Call<T> {
    result.map_err(fault_to_wit)
}

/// Hands a new object of the session to the guest.
fn object<T: 'static>(result: Result<u32, Fault>) -> Call<Resource<T>> {
    result.map(Resource::new_own).map_err(fault_to_wit)
}

fn rep<T: 'static>(resource: Option<Resource<T>>) -> Option<u32> {
    resource.map(|resource| resource.rep())
}

fn metric(metric: types::Metric) -> Metric {
    match metric {
        types::Metric::SqEuclidean => Metric::SqEuclidean,
        types::Metric::Euclidean => Metric::Euclidean,
        types::Metric::Cosine => Metric::Cosine,
    }
}

impl types::Host for CallState {}

impl host::Host for CallState {
    fn log(&mut self, level: types::LogLevel, message: String) -> Call<()> {
        let level = match level {
            types::LogLevel::Debug => LogLevel::Debug,
            types::LogLevel::Info => LogLevel::Info,
            types::LogLevel::Warning => LogLevel::Warning,
        };
        plain(self.session.log(level, &message))
    }

    fn panicked(&mut self, message: String) {
        self.session.panicked(&message);
    }

    fn progress(&mut self, done: u64, total: u64) -> Call<()> {
        plain(self.session.progress(done, total))
    }

    fn info(&mut self) -> types::QueryInfo {
        let i = self.session.info();
        types::QueryInfo {
            rows: i.rows,
            first_row: i.first_row,
            labelled_rows: i.labelled_rows,
            classes: i.classes,
            batch: i.batch,
            round: i.round,
        }
    }

    fn ids(&mut self, start: u32, count: u32) -> Call<Vec<u64>> {
        plain(self.session.ids(start, count))
    }

    fn input(&mut self, name: String) -> Call<Resource<Matrix>> {
        object(self.session.input(&name))
    }

    fn labels(&mut self, name: String, start: u32, count: u32) -> Call<Vec<u32>> {
        plain(self.session.labels(&name, start, count))
    }

    fn open_stream(&mut self, tag: String, scope: types::StreamScope) -> Call<Resource<Stream>> {
        let scope = match scope {
            types::StreamScope::Round => StreamScope::Round,
            types::StreamScope::Run => StreamScope::Run,
        };
        object(self.session.stream(&tag, scope))
    }

    fn labelled_ids(&mut self, start: u32, count: u32) -> Call<Vec<u64>> {
        plain(self.session.labelled_ids(start, count))
    }

    fn has(&mut self, name: String) -> Call<bool> {
        plain(self.session.has(&name))
    }

    fn head_logits(&mut self, embeddings: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.session.head_logits(embeddings.rep()))
    }

    fn head_gradients(&mut self, embeddings: Resource<Matrix>, classes: Vec<u32>) -> Call<Resource<Matrix>> {
        object(self.session.head_gradients(embeddings.rep(), &classes))
    }
}

macro_rules! released {
    ($kind:ident) => {
        fn drop(&mut self, object: Resource<$kind>) -> wasmtime::Result<()> {
            self.session.release(object.rep());
            Ok(())
        }
    };
}

impl HostStream for CallState {
    fn uniforms(&mut self, this: Resource<Stream>, count: u32) -> Call<Vec<f64>> {
        plain(self.session.stream_uniforms(this.rep(), count))
    }

    fn by_row(&mut self, this: Resource<Stream>, step: u32) -> Call<Resource<Vector>> {
        object(self.session.stream_by_row(this.rep(), step))
    }

    released!(Stream);
}

impl HostVector for CallState {
    fn of(&mut self, values: Vec<f64>) -> Call<Resource<Vector>> {
        object(self.session.vector(&values))
    }

    fn len(&mut self, this: Resource<Vector>) -> Call<u32> {
        plain(self.session.vector_len(this.rep()))
    }

    fn read(&mut self, this: Resource<Vector>, start: u32, count: u32) -> Call<Vec<f64>> {
        plain(self.session.vector_read(this.rep(), start, count))
    }

    fn top(
        &mut self,
        this: Resource<Vector>,
        second: Option<Resource<Vector>>,
        count: u32,
        excluded: Option<Resource<Mask>>,
    ) -> Call<Vec<u32>> {
        plain(self.session.vector_top(this.rep(), rep(second), count, rep(excluded)))
    }

    fn draw(
        &mut self,
        this: Resource<Vector>,
        numbers: Resource<Stream>,
        excluded: Option<Resource<Mask>>,
    ) -> Call<Option<u32>> {
        plain(self.session.vector_draw(this.rep(), numbers.rep(), rep(excluded)))
    }

    released!(Vector);
}

impl HostMask for CallState {
    fn of(&mut self, rows: u32) -> Call<Resource<Mask>> {
        object(self.session.mask(rows))
    }

    fn exclude(&mut self, this: Resource<Mask>, rows: Vec<u32>) -> Call<()> {
        plain(self.session.mask_exclude(this.rep(), &rows))
    }

    fn count(&mut self, this: Resource<Mask>) -> Call<u32> {
        plain(self.session.mask_count(this.rep()))
    }

    released!(Mask);
}

impl HostMatrix for CallState {
    fn of(&mut self, rows: u32, columns: u32, values: Vec<f32>) -> Call<Resource<Matrix>> {
        object(self.session.matrix(rows, columns, &values))
    }

    fn shape(&mut self, this: Resource<Matrix>) -> Call<(u32, u32)> {
        plain(self.session.matrix_shape(this.rep()))
    }

    fn read(&mut self, this: Resource<Matrix>, start: u32, count: u32) -> Call<Vec<f32>> {
        plain(self.session.matrix_read(this.rep(), start, count))
    }

    fn gather(&mut self, this: Resource<Matrix>, rows: Vec<u32>) -> Call<Resource<Matrix>> {
        object(self.session.matrix_gather(this.rep(), &rows))
    }

    fn normalise(&mut self, this: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.session.matrix_normalise(this.rep()))
    }

    fn sq_norms(&mut self, this: Resource<Matrix>) -> Call<Resource<Vector>> {
        object(self.session.matrix_sq_norms(this.rep()))
    }

    fn mean(&mut self, this: Resource<Matrix>) -> Call<Vec<f64>> {
        plain(self.session.matrix_mean(this.rep()))
    }

    fn product(
        &mut self,
        this: Resource<Matrix>,
        right: Resource<Matrix>,
        transpose_right: bool,
    ) -> Call<Resource<Matrix>> {
        object(self.session.matrix_product(this.rep(), right.rep(), transpose_right))
    }

    fn softmax(&mut self, this: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.session.softmax(this.rep()))
    }

    fn residual(&mut self, this: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.session.residual(this.rep()))
    }

    fn uncertainty(
        &mut self,
        this: Resource<Matrix>,
        measure: types::Uncertainty,
    ) -> Call<(Resource<Vector>, Resource<Vector>)> {
        let measure = match measure {
            types::Uncertainty::LeastConfidence => Uncertainty::LeastConfidence,
            types::Uncertainty::Margin => Uncertainty::Margin,
            types::Uncertainty::Ratio => Uncertainty::Ratio,
            types::Uncertainty::Entropy => Uncertainty::Entropy,
        };
        let (primary, second) = plain(self.session.uncertainty(this.rep(), measure))?;
        Ok((Resource::new_own(primary), Resource::new_own(second)))
    }

    fn distance_reduce(
        &mut self,
        this: Resource<Matrix>,
        centres: Resource<Matrix>,
        by: types::Metric,
        reduction: types::Reduction,
    ) -> Call<Resource<Vector>> {
        let reduction = match reduction {
            types::Reduction::Min => Reduction::Min,
            types::Reduction::Argmin => Reduction::Argmin,
            types::Reduction::Sum => Reduction::Sum,
            types::Reduction::CountWithin(radius) => Reduction::CountWithin(radius),
        };
        object(self.session.distance_reduce(this.rep(), centres.rep(), metric(by), reduction))
    }

    fn neighbour_distance(
        &mut self,
        this: Resource<Matrix>,
        neighbours: u32,
        by: types::Metric,
    ) -> Call<Resource<Vector>> {
        object(self.session.neighbour_distance(this.rep(), neighbours, metric(by)))
    }

    fn neighbours_within(&mut self, this: Resource<Matrix>, radius: f64, by: types::Metric) -> Call<Resource<Graph>> {
        object(self.session.neighbours_within(this.rep(), radius, metric(by)))
    }

    fn kmeans(
        &mut self,
        this: Resource<Matrix>,
        weights: Option<Resource<Vector>>,
        options: types::KmeansOptions,
        numbers: Resource<Stream>,
    ) -> Call<Resource<Clustering>> {
        let options = KmeansOptions {
            clusters: options.clusters,
            restarts: options.restarts,
            max_iterations: options.max_iterations,
            tolerance: options.tolerance,
            init: match options.init {
                types::Init::KmeansPlusPlus => Init::KmeansPlusPlus,
                types::Init::RandomPoints => Init::RandomPoints,
            },
        };
        object(self.session.kmeans(this.rep(), rep(weights), options, numbers.rep()))
    }

    fn average_linkage(&mut self, this: Resource<Matrix>, by: types::Metric) -> Call<Vec<types::Merge>> {
        let merges = plain(self.session.average_linkage(this.rep(), metric(by)))?;
        let merge = |merge: Merge| types::Merge { left: merge.left, right: merge.right, height: merge.height };
        Ok(merges.into_iter().map(merge).collect())
    }

    fn stack(&mut self, this: Resource<Matrix>, bottom: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.session.matrix_stack(this.rep(), bottom.rep()))
    }

    fn mixture_entropy(
        &mut self,
        this: Resource<Matrix>,
        weights: Resource<Vector>,
        shares: Resource<Vector>,
    ) -> Call<Resource<Vector>> {
        object(self.session.mixture_entropy(this.rep(), weights.rep(), shares.rep()))
    }

    released!(Matrix);
}

impl HostGraph for CallState {
    fn degrees(&mut self, this: Resource<Graph>) -> Call<Resource<Vector>> {
        object(self.session.graph_degrees(this.rep()))
    }

    fn neighbours(&mut self, this: Resource<Graph>, row: u32) -> Call<Vec<u32>> {
        plain(self.session.graph_neighbours(this.rep(), row))
    }

    released!(Graph);
}

impl HostPoints for CallState {
    fn plain(&mut self, rows: Resource<Matrix>) -> Call<Resource<Points>> {
        object(self.session.points(rows.rep()))
    }

    fn factored(&mut self, left: Resource<Matrix>, right: Resource<Matrix>) -> Call<Resource<Points>> {
        object(self.session.points_factored(left.rep(), right.rep()))
    }

    fn sq_norms(&mut self, this: Resource<Points>) -> Call<Resource<Vector>> {
        object(self.session.points_sq_norms(this.rep()))
    }

    released!(Points);
}

impl HostNearest for CallState {
    fn over(&mut self, points: Resource<Points>, by: types::Metric) -> Call<Resource<Nearest>> {
        object(self.session.nearest(points.rep(), metric(by)))
    }

    fn add(&mut self, this: Resource<Nearest>, rows: Vec<u32>) -> Call<()> {
        plain(self.session.nearest_add(this.rep(), &rows))
    }

    fn add_points(&mut self, this: Resource<Nearest>, points: Resource<Points>) -> Call<()> {
        plain(self.session.nearest_add_points(this.rep(), points.rep()))
    }

    fn farthest(&mut self, this: Resource<Nearest>, excluded: Option<Resource<Mask>>) -> Call<Option<(u32, f64)>> {
        plain(self.session.nearest_farthest(this.rep(), rep(excluded)))
    }

    fn draw(
        &mut self,
        this: Resource<Nearest>,
        numbers: Resource<Stream>,
        excluded: Option<Resource<Mask>>,
    ) -> Call<Option<u32>> {
        plain(self.session.nearest_draw(this.rep(), numbers.rep(), rep(excluded)))
    }

    fn values(&mut self, this: Resource<Nearest>) -> Call<Resource<Vector>> {
        object(self.session.nearest_values(this.rep()))
    }

    released!(Nearest);
}

impl HostDesign for CallState {
    fn over(
        &mut self,
        factors: Resource<Matrix>,
        embeddings: Resource<Matrix>,
        labelled_factors: Resource<Matrix>,
        labelled_embeddings: Resource<Matrix>,
        options: types::DesignOptions,
    ) -> Call<Resource<Design>> {
        let options = DesignOptions {
            rank: options.rank,
            ridge: options.ridge,
            labelled_weight: options.labelled_weight,
            added_weight: options.added_weight,
        };
        let labelled = (labelled_factors.rep(), labelled_embeddings.rep());
        object(self.session.design((factors.rep(), embeddings.rep()), labelled, options))
    }

    fn best(&mut self, this: Resource<Design>) -> Call<Option<(u32, f64)>> {
        plain(self.session.design_best(this.rep()))
    }

    fn least(&mut self, this: Resource<Design>) -> Call<Option<(u32, f64)>> {
        plain(self.session.design_least(this.rep()))
    }

    fn add(&mut self, this: Resource<Design>, row: u32) -> Call<()> {
        plain(self.session.design_add(this.rep(), row))
    }

    fn remove(&mut self, this: Resource<Design>, row: u32) -> Call<()> {
        plain(self.session.design_remove(this.rep(), row))
    }

    released!(Design);
}

impl HostClustering for CallState {
    fn sizes(&mut self, this: Resource<Clustering>) -> Call<Vec<u32>> {
        plain(self.session.clustering_sizes(this.rep()))
    }

    fn read(&mut self, this: Resource<Clustering>, start: u32, count: u32) -> Call<Vec<u32>> {
        plain(self.session.clustering_read(this.rep(), start, count))
    }

    fn centres(&mut self, this: Resource<Clustering>) -> Call<Resource<Matrix>> {
        object(self.session.clustering_centres(this.rep()))
    }

    fn inertia(&mut self, this: Resource<Clustering>) -> Call<f64> {
        plain(self.session.clustering_inertia(this.rep()))
    }

    fn representatives(
        &mut self,
        this: Resource<Clustering>,
        excluded: Option<Resource<Mask>>,
    ) -> Call<Vec<Option<u32>>> {
        plain(self.session.clustering_representatives(this.rep(), rep(excluded)))
    }

    released!(Clustering);
}

impl HostFacility for CallState {
    fn over(
        &mut self,
        rows: Resource<Matrix>,
        references: Resource<Matrix>,
        weights: Option<Resource<Vector>>,
        similarity: types::Similarity,
    ) -> Call<Resource<Facility>> {
        let kind = match similarity.kind {
            types::SimilarityKind::Rbf => SimilarityKind::Rbf,
            types::SimilarityKind::Laplace => SimilarityKind::Laplace,
            types::SimilarityKind::Student => SimilarityKind::Student,
            types::SimilarityKind::Cauchy => SimilarityKind::Cauchy,
            types::SimilarityKind::TopHat => SimilarityKind::TopHat,
        };
        let similarity = Similarity { kind, width: similarity.width };
        object(self.session.facility(rows.rep(), references.rep(), rep(weights), similarity))
    }

    fn add(&mut self, this: Resource<Facility>, rows: Vec<u32>) -> Call<()> {
        plain(self.session.facility_add(this.rep(), &rows))
    }

    fn add_others(&mut self, this: Resource<Facility>, others: Resource<Matrix>) -> Call<()> {
        plain(self.session.facility_add_others(this.rep(), others.rep()))
    }

    fn best(&mut self, this: Resource<Facility>, excluded: Option<Resource<Mask>>) -> Call<Option<(u32, f64)>> {
        plain(self.session.facility_best(this.rep(), rep(excluded)))
    }

    released!(Facility);
}
