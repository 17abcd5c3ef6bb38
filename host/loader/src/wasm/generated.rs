//! The calls of components, from WIT to the session.
//!
//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.

#![allow(unused_qualifications, reason = "both sides of a conversion are named alike")]

use querist_protocol::{Fault, HostCalls};
use wasmtime::component::Resource;

use super::state::CallState;
use bindings::querist::strategy::arrays::HostMask;
use bindings::querist::strategy::arrays::HostMatrix;
use bindings::querist::strategy::arrays::HostStream;
use bindings::querist::strategy::arrays::HostVector;
use bindings::querist::strategy::engines::HostDesign;
use bindings::querist::strategy::engines::HostFacility;
use bindings::querist::strategy::engines::HostNearest;
use bindings::querist::strategy::engines::HostPoints;
use bindings::querist::strategy::kernels::HostClustering;
use bindings::querist::strategy::kernels::HostGraph;
use bindings::querist::strategy::{arrays, engines, head, kernels, query, types};

/// What `bindgen` makes of the WIT.
#[allow(missing_docs, reason = "generated")]
pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../plugin-sdk/wit",
        world: "plugin",
        with: {
            "querist:strategy/arrays.stream": super::objects::Stream,
            "querist:strategy/arrays.vector": super::objects::Vector,
            "querist:strategy/arrays.mask": super::objects::Mask,
            "querist:strategy/arrays.matrix": super::objects::Matrix,
            "querist:strategy/kernels.graph": super::objects::Graph,
            "querist:strategy/kernels.clustering": super::objects::Clustering,
            "querist:strategy/engines.points": super::objects::Points,
            "querist:strategy/engines.nearest": super::objects::Nearest,
            "querist:strategy/engines.facility": super::objects::Facility,
            "querist:strategy/engines.design": super::objects::Design,
        },
    });
}

/// Kinds of handles. Their numbers are the session's handles.
pub(super) mod objects {
    pub struct Stream;
    pub struct Vector;
    pub struct Mask;
    pub struct Matrix;
    pub struct Graph;
    pub struct Clustering;
    pub struct Points;
    pub struct Nearest;
    pub struct Facility;
    pub struct Design;
}

use objects::{Clustering, Design, Facility, Graph, Mask, Matrix, Nearest, Points, Stream, Vector};

type Call<T> = Result<T, types::Fault>;

fn plain<T>(result: Result<T, Fault>) -> Call<T> {
    result.map_err(fault_to_wit)
}

fn fault_to_wit(fault: Fault) -> types::Fault {
    types::Fault { code: convert_fault_code(fault.code), message: fault.message }
}

/// Hands a new object of the session to the guest.
fn object<T: 'static>(result: Result<u32, Fault>) -> Call<Resource<T>> {
    result.map(Resource::new_own).map_err(fault_to_wit)
}

fn rep<T: 'static>(resource: Option<Resource<T>>) -> Option<u32> {
    resource.map(|resource| resource.rep())
}

fn convert_fault_code(value: querist_protocol::FaultCode) -> types::FaultCode {
    match value {
        querist_protocol::FaultCode::BadHandle => types::FaultCode::BadHandle,
        querist_protocol::FaultCode::BadIndex => types::FaultCode::BadIndex,
        querist_protocol::FaultCode::BadShape => types::FaultCode::BadShape,
        querist_protocol::FaultCode::BadArgument => types::FaultCode::BadArgument,
        querist_protocol::FaultCode::NotDeclared => types::FaultCode::NotDeclared,
        querist_protocol::FaultCode::Quota => types::FaultCode::Quota,
        querist_protocol::FaultCode::Deadline => types::FaultCode::Deadline,
        querist_protocol::FaultCode::Cancelled => types::FaultCode::Cancelled,
        querist_protocol::FaultCode::NonFinite => types::FaultCode::NonFinite,
    }
}

fn convert_log_level(value: types::LogLevel) -> querist_protocol::LogLevel {
    match value {
        types::LogLevel::Debug => querist_protocol::LogLevel::Debug,
        types::LogLevel::Info => querist_protocol::LogLevel::Info,
        types::LogLevel::Warning => querist_protocol::LogLevel::Warning,
    }
}

fn convert_metric(value: types::Metric) -> querist_protocol::Metric {
    match value {
        types::Metric::SqEuclidean => querist_protocol::Metric::SqEuclidean,
        types::Metric::Euclidean => querist_protocol::Metric::Euclidean,
        types::Metric::Cosine => querist_protocol::Metric::Cosine,
    }
}

fn convert_reduction(value: types::Reduction) -> querist_protocol::Reduction {
    match value {
        types::Reduction::Min => querist_protocol::Reduction::Min,
        types::Reduction::Argmin => querist_protocol::Reduction::Argmin,
        types::Reduction::Sum => querist_protocol::Reduction::Sum,
        types::Reduction::CountWithin(held) => querist_protocol::Reduction::CountWithin(held),
    }
}

fn convert_uncertainty(value: types::Uncertainty) -> querist_protocol::Uncertainty {
    match value {
        types::Uncertainty::LeastConfidence => querist_protocol::Uncertainty::LeastConfidence,
        types::Uncertainty::Margin => querist_protocol::Uncertainty::Margin,
        types::Uncertainty::Ratio => querist_protocol::Uncertainty::Ratio,
        types::Uncertainty::Entropy => querist_protocol::Uncertainty::Entropy,
    }
}

fn convert_stream_scope(value: types::StreamScope) -> querist_protocol::StreamScope {
    match value {
        types::StreamScope::Round => querist_protocol::StreamScope::Round,
        types::StreamScope::Run => querist_protocol::StreamScope::Run,
    }
}

fn convert_init(value: types::Init) -> querist_protocol::Init {
    match value {
        types::Init::KmeansPlusPlus => querist_protocol::Init::KmeansPlusPlus,
        types::Init::RandomPoints => querist_protocol::Init::RandomPoints,
    }
}

fn convert_kmeans_options(value: types::KmeansOptions) -> querist_protocol::KmeansOptions {
    querist_protocol::KmeansOptions {
        clusters: value.clusters,
        restarts: value.restarts,
        max_iterations: value.max_iterations,
        tolerance: value.tolerance,
        init: convert_init(value.init),
    }
}

fn convert_similarity_kind(value: types::SimilarityKind) -> querist_protocol::SimilarityKind {
    match value {
        types::SimilarityKind::Rbf => querist_protocol::SimilarityKind::Rbf,
        types::SimilarityKind::Laplace => querist_protocol::SimilarityKind::Laplace,
        types::SimilarityKind::Student => querist_protocol::SimilarityKind::Student,
        types::SimilarityKind::Cauchy => querist_protocol::SimilarityKind::Cauchy,
        types::SimilarityKind::TopHat => querist_protocol::SimilarityKind::TopHat,
    }
}

fn convert_similarity(value: types::Similarity) -> querist_protocol::Similarity {
    querist_protocol::Similarity { kind: convert_similarity_kind(value.kind), width: value.width }
}

fn convert_merge(value: querist_protocol::Merge) -> types::Merge {
    types::Merge { left: value.left, right: value.right, height: value.height }
}

fn convert_design_options(value: types::DesignOptions) -> querist_protocol::DesignOptions {
    querist_protocol::DesignOptions {
        rank: value.rank,
        ridge: value.ridge,
        labelled_weight: value.labelled_weight,
        added_weight: value.added_weight,
    }
}

fn convert_query_info(value: querist_protocol::QueryInfo) -> types::QueryInfo {
    types::QueryInfo {
        rows: value.rows,
        first_row: value.first_row,
        labelled_rows: value.labelled_rows,
        classes: value.classes,
        batch: value.batch,
        round: value.round,
    }
}

pub(super) fn fault_code_from_wit(value: types::FaultCode) -> querist_protocol::FaultCode {
    match value {
        types::FaultCode::BadHandle => querist_protocol::FaultCode::BadHandle,
        types::FaultCode::BadIndex => querist_protocol::FaultCode::BadIndex,
        types::FaultCode::BadShape => querist_protocol::FaultCode::BadShape,
        types::FaultCode::BadArgument => querist_protocol::FaultCode::BadArgument,
        types::FaultCode::NotDeclared => querist_protocol::FaultCode::NotDeclared,
        types::FaultCode::Quota => querist_protocol::FaultCode::Quota,
        types::FaultCode::Deadline => querist_protocol::FaultCode::Deadline,
        types::FaultCode::Cancelled => querist_protocol::FaultCode::Cancelled,
        types::FaultCode::NonFinite => querist_protocol::FaultCode::NonFinite,
    }
}

impl types::Host for CallState {}

impl arrays::Host for CallState {}

impl engines::Host for CallState {
    fn outer_products(&mut self, left: Resource<Matrix>, right: Resource<Matrix>) -> Call<Resource<Points>> {
        object(self.calls().outer_products(left.rep(), right.rep()))
    }
}

impl head::Host for CallState {
    fn head_logits(&mut self, embeddings: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.calls().head_logits(embeddings.rep()))
    }

    fn head_gradients(&mut self, embeddings: Resource<Matrix>, classes: Vec<u32>) -> Call<Resource<Matrix>> {
        object(self.calls().head_gradients(embeddings.rep(), &classes))
    }
}

impl kernels::Host for CallState {
    fn softmax(&mut self, logits: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.calls().softmax(logits.rep()))
    }

    fn residual(&mut self, logits: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.calls().residual(logits.rep()))
    }

    fn uncertainty(
        &mut self,
        logits: Resource<Matrix>,
        measure: types::Uncertainty,
    ) -> Call<(Resource<Vector>, Resource<Vector>)> {
        let (first, second) = plain(self.calls().uncertainty(logits.rep(), convert_uncertainty(measure)))?;
        Ok((Resource::new_own(first), Resource::new_own(second)))
    }

    fn distance_reduce(
        &mut self,
        rows: Resource<Matrix>,
        centres: Resource<Matrix>,
        metric: types::Metric,
        reduction: types::Reduction,
    ) -> Call<Resource<Vector>> {
        object(self.calls().distance_reduce(
            rows.rep(),
            centres.rep(),
            convert_metric(metric),
            convert_reduction(reduction),
        ))
    }

    fn neighbour_distance(
        &mut self,
        rows: Resource<Matrix>,
        neighbours: u32,
        metric: types::Metric,
    ) -> Call<Resource<Vector>> {
        object(self.calls().neighbour_distance(rows.rep(), neighbours, convert_metric(metric)))
    }

    fn neighbours_within(
        &mut self,
        rows: Resource<Matrix>,
        radius: f64,
        metric: types::Metric,
    ) -> Call<Resource<Graph>> {
        object(self.calls().neighbours_within(rows.rep(), radius, convert_metric(metric)))
    }

    fn kmeans(
        &mut self,
        rows: Resource<Matrix>,
        weights: Option<Resource<Vector>>,
        options: types::KmeansOptions,
        numbers: Resource<Stream>,
    ) -> Call<Resource<Clustering>> {
        object(self.calls().kmeans(rows.rep(), rep(weights), convert_kmeans_options(options), numbers.rep()))
    }

    fn average_linkage(&mut self, rows: Resource<Matrix>, metric: types::Metric) -> Call<Vec<types::Merge>> {
        Ok(plain(self.calls().average_linkage(rows.rep(), convert_metric(metric)))?
            .into_iter()
            .map(convert_merge)
            .collect())
    }

    fn mixture_entropy(
        &mut self,
        log_probs: Resource<Matrix>,
        weights: Resource<Vector>,
        shares: Resource<Vector>,
    ) -> Call<Resource<Vector>> {
        object(self.calls().mixture_entropy(log_probs.rep(), weights.rep(), shares.rep()))
    }

    fn nearest_rows(
        &mut self,
        rows: Resource<Matrix>,
        others: Resource<Matrix>,
        neighbours: u32,
        metric: types::Metric,
    ) -> Call<(Resource<Vector>, Resource<Vector>)> {
        let (first, second) =
            plain(self.calls().nearest_rows(rows.rep(), others.rep(), neighbours, convert_metric(metric)))?;
        Ok((Resource::new_own(first), Resource::new_own(second)))
    }
}

impl query::Host for CallState {
    fn log(&mut self, level: types::LogLevel, message: String) -> Call<()> {
        plain(self.calls().log(convert_log_level(level), &message))
    }

    fn panicked(&mut self, message: String) {
        self.calls().panicked(&message);
    }

    fn progress(&mut self, done: u64, total: u64) -> Call<()> {
        plain(self.calls().progress(done, total))
    }

    fn info(&mut self) -> types::QueryInfo {
        convert_query_info(self.calls().info())
    }

    fn ids(&mut self, start: u32, count: u32) -> Call<Vec<u64>> {
        plain(self.calls().ids(start, count))
    }

    fn labelled_ids(&mut self, start: u32, count: u32) -> Call<Vec<u64>> {
        plain(self.calls().labelled_ids(start, count))
    }

    fn has(&mut self, name: String) -> Call<bool> {
        plain(self.calls().has(&name))
    }

    fn input(&mut self, name: String) -> Call<Resource<Matrix>> {
        object(self.calls().input(&name))
    }

    fn labels(&mut self, name: String, start: u32, count: u32) -> Call<Vec<u32>> {
        plain(self.calls().labels(&name, start, count))
    }
}

impl HostStream for CallState {
    fn open(&mut self, tag: String, scope: types::StreamScope) -> Call<Resource<Stream>> {
        object(self.calls().stream(&tag, convert_stream_scope(scope)))
    }

    fn uniforms(&mut self, stream: Resource<Stream>, count: u32) -> Call<Vec<f64>> {
        plain(self.calls().stream_uniforms(stream.rep(), count))
    }

    fn by_row(&mut self, stream: Resource<Stream>, step: u32) -> Call<Resource<Vector>> {
        object(self.calls().stream_by_row(stream.rep(), step))
    }

    fn drop(&mut self, object: Resource<Stream>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
}

impl HostVector for CallState {
    fn of(&mut self, values: Vec<f64>) -> Call<Resource<Vector>> {
        object(self.calls().vector(&values))
    }

    fn len(&mut self, vector: Resource<Vector>) -> Call<u32> {
        plain(self.calls().vector_len(vector.rep()))
    }

    fn read(&mut self, vector: Resource<Vector>, start: u32, count: u32) -> Call<Vec<f64>> {
        plain(self.calls().vector_read(vector.rep(), start, count))
    }

    fn top(
        &mut self,
        vector: Resource<Vector>,
        second: Option<Resource<Vector>>,
        count: u32,
        excluded: Option<Resource<Mask>>,
    ) -> Call<Vec<u32>> {
        plain(self.calls().vector_top(vector.rep(), rep(second), count, rep(excluded)))
    }

    fn draw(
        &mut self,
        vector: Resource<Vector>,
        numbers: Resource<Stream>,
        excluded: Option<Resource<Mask>>,
    ) -> Call<Option<u32>> {
        plain(self.calls().vector_draw(vector.rep(), numbers.rep(), rep(excluded)))
    }

    fn drop(&mut self, object: Resource<Vector>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
}

impl HostMask for CallState {
    fn of(&mut self, rows: u32) -> Call<Resource<Mask>> {
        object(self.calls().mask(rows))
    }

    fn exclude(&mut self, mask: Resource<Mask>, rows: Vec<u32>) -> Call<()> {
        plain(self.calls().mask_exclude(mask.rep(), &rows))
    }

    fn count(&mut self, mask: Resource<Mask>) -> Call<u32> {
        plain(self.calls().mask_count(mask.rep()))
    }

    fn drop(&mut self, object: Resource<Mask>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
}

impl HostMatrix for CallState {
    fn of(&mut self, rows: u32, columns: u32, values: Vec<f32>) -> Call<Resource<Matrix>> {
        object(self.calls().matrix(rows, columns, &values))
    }

    fn shape(&mut self, matrix: Resource<Matrix>) -> Call<(u32, u32)> {
        plain(self.calls().matrix_shape(matrix.rep()))
    }

    fn read(&mut self, matrix: Resource<Matrix>, start: u32, count: u32) -> Call<Vec<f32>> {
        plain(self.calls().matrix_read(matrix.rep(), start, count))
    }

    fn gather(&mut self, matrix: Resource<Matrix>, rows: Vec<u32>) -> Call<Resource<Matrix>> {
        object(self.calls().matrix_gather(matrix.rep(), &rows))
    }

    fn normalise(&mut self, matrix: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.calls().matrix_normalise(matrix.rep()))
    }

    fn sq_norms(&mut self, matrix: Resource<Matrix>) -> Call<Resource<Vector>> {
        object(self.calls().matrix_sq_norms(matrix.rep()))
    }

    fn mean(&mut self, matrix: Resource<Matrix>) -> Call<Vec<f64>> {
        plain(self.calls().matrix_mean(matrix.rep()))
    }

    fn product(
        &mut self,
        matrix: Resource<Matrix>,
        right: Resource<Matrix>,
        transpose_right: bool,
    ) -> Call<Resource<Matrix>> {
        object(self.calls().matrix_product(matrix.rep(), right.rep(), transpose_right))
    }

    fn stack(&mut self, matrix: Resource<Matrix>, bottom: Resource<Matrix>) -> Call<Resource<Matrix>> {
        object(self.calls().matrix_stack(matrix.rep(), bottom.rep()))
    }

    fn drop(&mut self, object: Resource<Matrix>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
}

impl HostGraph for CallState {
    fn degrees(&mut self, graph: Resource<Graph>) -> Call<Resource<Vector>> {
        object(self.calls().graph_degrees(graph.rep()))
    }

    fn neighbours(&mut self, graph: Resource<Graph>, row: u32) -> Call<Vec<u32>> {
        plain(self.calls().graph_neighbours(graph.rep(), row))
    }

    fn drop(&mut self, object: Resource<Graph>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
}

impl HostClustering for CallState {
    fn sizes(&mut self, clustering: Resource<Clustering>) -> Call<Vec<u32>> {
        plain(self.calls().clustering_sizes(clustering.rep()))
    }

    fn read(&mut self, clustering: Resource<Clustering>, start: u32, count: u32) -> Call<Vec<u32>> {
        plain(self.calls().clustering_read(clustering.rep(), start, count))
    }

    fn centres(&mut self, clustering: Resource<Clustering>) -> Call<Resource<Matrix>> {
        object(self.calls().clustering_centres(clustering.rep()))
    }

    fn inertia(&mut self, clustering: Resource<Clustering>) -> Call<f64> {
        plain(self.calls().clustering_inertia(clustering.rep()))
    }

    fn representatives(
        &mut self,
        clustering: Resource<Clustering>,
        excluded: Option<Resource<Mask>>,
    ) -> Call<Vec<Option<u32>>> {
        plain(self.calls().clustering_representatives(clustering.rep(), rep(excluded)))
    }

    fn drop(&mut self, object: Resource<Clustering>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
}

impl HostPoints for CallState {
    fn of(&mut self, rows: Resource<Matrix>) -> Call<Resource<Points>> {
        object(self.calls().points(rows.rep()))
    }

    fn sq_norms(&mut self, points: Resource<Points>) -> Call<Resource<Vector>> {
        object(self.calls().points_sq_norms(points.rep()))
    }

    fn drop(&mut self, object: Resource<Points>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
}

impl HostNearest for CallState {
    fn over(&mut self, points: Resource<Points>, metric: types::Metric) -> Call<Resource<Nearest>> {
        object(self.calls().nearest(points.rep(), convert_metric(metric)))
    }

    fn add(&mut self, nearest: Resource<Nearest>, rows: Vec<u32>) -> Call<()> {
        plain(self.calls().nearest_add(nearest.rep(), &rows))
    }

    fn add_points(&mut self, nearest: Resource<Nearest>, points: Resource<Points>) -> Call<()> {
        plain(self.calls().nearest_add_points(nearest.rep(), points.rep()))
    }

    fn farthest(&mut self, nearest: Resource<Nearest>, excluded: Option<Resource<Mask>>) -> Call<Option<(u32, f64)>> {
        plain(self.calls().nearest_farthest(nearest.rep(), rep(excluded)))
    }

    fn draw(
        &mut self,
        nearest: Resource<Nearest>,
        numbers: Resource<Stream>,
        excluded: Option<Resource<Mask>>,
    ) -> Call<Option<u32>> {
        plain(self.calls().nearest_draw(nearest.rep(), numbers.rep(), rep(excluded)))
    }

    fn values(&mut self, nearest: Resource<Nearest>) -> Call<Resource<Vector>> {
        object(self.calls().nearest_values(nearest.rep()))
    }

    fn drop(&mut self, object: Resource<Nearest>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
}

impl HostFacility for CallState {
    fn over(
        &mut self,
        rows: Resource<Matrix>,
        references: Resource<Matrix>,
        weights: Option<Resource<Vector>>,
        similarity: types::Similarity,
    ) -> Call<Resource<Facility>> {
        object(self.calls().facility(rows.rep(), references.rep(), rep(weights), convert_similarity(similarity)))
    }

    fn add(&mut self, facility: Resource<Facility>, rows: Vec<u32>) -> Call<()> {
        plain(self.calls().facility_add(facility.rep(), &rows))
    }

    fn add_others(&mut self, facility: Resource<Facility>, others: Resource<Matrix>) -> Call<()> {
        plain(self.calls().facility_add_others(facility.rep(), others.rep()))
    }

    fn best(&mut self, facility: Resource<Facility>, excluded: Option<Resource<Mask>>) -> Call<Option<(u32, f64)>> {
        plain(self.calls().facility_best(facility.rep(), rep(excluded)))
    }

    fn drop(&mut self, object: Resource<Facility>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
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
        object(self.calls().design(
            factors.rep(),
            embeddings.rep(),
            labelled_factors.rep(),
            labelled_embeddings.rep(),
            convert_design_options(options),
        ))
    }

    fn best(&mut self, design: Resource<Design>) -> Call<Option<(u32, f64)>> {
        plain(self.calls().design_best(design.rep()))
    }

    fn least(&mut self, design: Resource<Design>) -> Call<Option<(u32, f64)>> {
        plain(self.calls().design_least(design.rep()))
    }

    fn add(&mut self, design: Resource<Design>, row: u32) -> Call<()> {
        plain(self.calls().design_add(design.rep(), row))
    }

    fn remove(&mut self, design: Resource<Design>, row: u32) -> Call<()> {
        plain(self.calls().design_remove(design.rep(), row))
    }

    fn drop(&mut self, object: Resource<Design>) -> wasmtime::Result<()> {
        self.calls().release(object.rep());
        Ok(())
    }
}
