//! The imports of a component as the calls that strategies make.
//!
//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.

#![allow(unused_qualifications, reason = "both sides of a conversion are named alike")]

use querist_protocol::{
    DesignOptions, Fault, Handle, HostCalls, Kind, KmeansOptions, LogLevel, Merge, Metric, QueryInfo, Reduction,
    Similarity, StreamScope, Uncertainty,
};

use crate::wasm::bindings::querist::strategy::{arrays, engines, head, kernels, query, types};
use crate::wasm::{Imports, Object, give, lend, lend_if, object, plain, take};

impl Object for arrays::Stream {
    const KIND: Kind = Kind::Stream;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

impl Object for arrays::Vector {
    const KIND: Kind = Kind::Vector;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

impl Object for arrays::Mask {
    const KIND: Kind = Kind::Mask;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

impl Object for arrays::Matrix {
    const KIND: Kind = Kind::Matrix;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

impl Object for kernels::Graph {
    const KIND: Kind = Kind::Graph;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

impl Object for kernels::Clustering {
    const KIND: Kind = Kind::Clustering;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

impl Object for engines::Points {
    const KIND: Kind = Kind::Points;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

impl Object for engines::Nearest {
    const KIND: Kind = Kind::Nearest;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

impl Object for engines::Facility {
    const KIND: Kind = Kind::Facility;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

impl Object for engines::Design {
    const KIND: Kind = Kind::Design;

    fn into_raw(self) -> u32 {
        self.take_handle()
    }

    unsafe fn of_raw(raw: u32) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_handle(raw) }
    }
}

pub(crate) fn convert_fault_code(value: types::FaultCode) -> querist_protocol::FaultCode {
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

fn convert_log_level(value: querist_protocol::LogLevel) -> types::LogLevel {
    match value {
        querist_protocol::LogLevel::Debug => types::LogLevel::Debug,
        querist_protocol::LogLevel::Info => types::LogLevel::Info,
        querist_protocol::LogLevel::Warning => types::LogLevel::Warning,
    }
}

fn convert_metric(value: querist_protocol::Metric) -> types::Metric {
    match value {
        querist_protocol::Metric::SqEuclidean => types::Metric::SqEuclidean,
        querist_protocol::Metric::Euclidean => types::Metric::Euclidean,
        querist_protocol::Metric::Cosine => types::Metric::Cosine,
    }
}

fn convert_reduction(value: querist_protocol::Reduction) -> types::Reduction {
    match value {
        querist_protocol::Reduction::Min => types::Reduction::Min,
        querist_protocol::Reduction::Argmin => types::Reduction::Argmin,
        querist_protocol::Reduction::Sum => types::Reduction::Sum,
        querist_protocol::Reduction::CountWithin(held) => types::Reduction::CountWithin(held),
    }
}

fn convert_uncertainty(value: querist_protocol::Uncertainty) -> types::Uncertainty {
    match value {
        querist_protocol::Uncertainty::LeastConfidence => types::Uncertainty::LeastConfidence,
        querist_protocol::Uncertainty::Margin => types::Uncertainty::Margin,
        querist_protocol::Uncertainty::Ratio => types::Uncertainty::Ratio,
        querist_protocol::Uncertainty::Entropy => types::Uncertainty::Entropy,
    }
}

fn convert_stream_scope(value: querist_protocol::StreamScope) -> types::StreamScope {
    match value {
        querist_protocol::StreamScope::Round => types::StreamScope::Round,
        querist_protocol::StreamScope::Run => types::StreamScope::Run,
    }
}

fn convert_init(value: querist_protocol::Init) -> types::Init {
    match value {
        querist_protocol::Init::KmeansPlusPlus => types::Init::KmeansPlusPlus,
        querist_protocol::Init::RandomPoints => types::Init::RandomPoints,
    }
}

fn convert_kmeans_options(value: querist_protocol::KmeansOptions) -> types::KmeansOptions {
    types::KmeansOptions {
        clusters: value.clusters,
        restarts: value.restarts,
        max_iterations: value.max_iterations,
        tolerance: value.tolerance,
        init: convert_init(value.init),
    }
}

fn convert_similarity_kind(value: querist_protocol::SimilarityKind) -> types::SimilarityKind {
    match value {
        querist_protocol::SimilarityKind::Rbf => types::SimilarityKind::Rbf,
        querist_protocol::SimilarityKind::Laplace => types::SimilarityKind::Laplace,
        querist_protocol::SimilarityKind::Student => types::SimilarityKind::Student,
        querist_protocol::SimilarityKind::Cauchy => types::SimilarityKind::Cauchy,
        querist_protocol::SimilarityKind::TopHat => types::SimilarityKind::TopHat,
    }
}

fn convert_similarity(value: querist_protocol::Similarity) -> types::Similarity {
    types::Similarity { kind: convert_similarity_kind(value.kind), width: value.width }
}

fn convert_merge(value: types::Merge) -> querist_protocol::Merge {
    querist_protocol::Merge { left: value.left, right: value.right, height: value.height }
}

fn convert_design_options(value: querist_protocol::DesignOptions) -> types::DesignOptions {
    types::DesignOptions {
        rank: value.rank,
        ridge: value.ridge,
        labelled_weight: value.labelled_weight,
        added_weight: value.added_weight,
    }
}

fn convert_query_info(value: types::QueryInfo) -> querist_protocol::QueryInfo {
    querist_protocol::QueryInfo {
        rows: value.rows,
        first_row: value.first_row,
        labelled_rows: value.labelled_rows,
        classes: value.classes,
        batch: value.batch,
        round: value.round,
    }
}

pub(crate) fn fault_code_to_wit(value: querist_protocol::FaultCode) -> types::FaultCode {
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

impl HostCalls for Imports {
    fn release(&self, handle: Handle) {
        match Kind::of(handle) {
            Some(Kind::Stream) => drop(take::<arrays::Stream>(handle)),
            Some(Kind::Vector) => drop(take::<arrays::Vector>(handle)),
            Some(Kind::Mask) => drop(take::<arrays::Mask>(handle)),
            Some(Kind::Matrix) => drop(take::<arrays::Matrix>(handle)),
            Some(Kind::Graph) => drop(take::<kernels::Graph>(handle)),
            Some(Kind::Clustering) => drop(take::<kernels::Clustering>(handle)),
            Some(Kind::Points) => drop(take::<engines::Points>(handle)),
            Some(Kind::Nearest) => drop(take::<engines::Nearest>(handle)),
            Some(Kind::Facility) => drop(take::<engines::Facility>(handle)),
            Some(Kind::Design) => drop(take::<engines::Design>(handle)),
            None => {}
        }
    }

    fn stream(&self, tag: &str, scope: StreamScope) -> Result<Handle, Fault> {
        object(arrays::Stream::open(tag, convert_stream_scope(scope)))
    }

    fn stream_uniforms(&self, stream: Handle, count: u32) -> Result<Vec<f64>, Fault> {
        plain(lend::<arrays::Stream>(stream).uniforms(count))
    }

    fn stream_by_row(&self, stream: Handle, step: u32) -> Result<Handle, Fault> {
        object(lend::<arrays::Stream>(stream).by_row(step))
    }

    fn vector(&self, values: &[f64]) -> Result<Handle, Fault> {
        object(arrays::Vector::of(values))
    }

    fn vector_len(&self, vector: Handle) -> Result<u32, Fault> {
        plain(lend::<arrays::Vector>(vector).len())
    }

    fn vector_read(&self, vector: Handle, start: u32, count: u32) -> Result<Vec<f64>, Fault> {
        plain(lend::<arrays::Vector>(vector).read(start, count))
    }

    fn vector_top(
        &self,
        vector: Handle,
        second: Option<Handle>,
        count: u32,
        excluded: Option<Handle>,
    ) -> Result<Vec<u32>, Fault> {
        let second = lend_if::<arrays::Vector>(second);
        let excluded = lend_if::<arrays::Mask>(excluded);
        plain(lend::<arrays::Vector>(vector).top(second.as_deref(), count, excluded.as_deref()))
    }

    fn vector_draw(&self, vector: Handle, numbers: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        let excluded = lend_if::<arrays::Mask>(excluded);
        plain(lend::<arrays::Vector>(vector).draw(&lend::<arrays::Stream>(numbers), excluded.as_deref()))
    }

    fn mask(&self, rows: u32) -> Result<Handle, Fault> {
        object(arrays::Mask::of(rows))
    }

    fn mask_exclude(&self, mask: Handle, rows: &[u32]) -> Result<(), Fault> {
        plain(lend::<arrays::Mask>(mask).exclude(rows))
    }

    fn mask_count(&self, mask: Handle) -> Result<u32, Fault> {
        plain(lend::<arrays::Mask>(mask).count())
    }

    fn matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Result<Handle, Fault> {
        object(arrays::Matrix::of(rows, columns, values))
    }

    fn matrix_shape(&self, matrix: Handle) -> Result<(u32, u32), Fault> {
        plain(lend::<arrays::Matrix>(matrix).shape())
    }

    fn matrix_read(&self, matrix: Handle, start: u32, count: u32) -> Result<Vec<f32>, Fault> {
        plain(lend::<arrays::Matrix>(matrix).read(start, count))
    }

    fn matrix_gather(&self, matrix: Handle, rows: &[u32]) -> Result<Handle, Fault> {
        object(lend::<arrays::Matrix>(matrix).gather(rows))
    }

    fn matrix_normalise(&self, matrix: Handle) -> Result<Handle, Fault> {
        object(lend::<arrays::Matrix>(matrix).normalise())
    }

    fn matrix_sq_norms(&self, matrix: Handle) -> Result<Handle, Fault> {
        object(lend::<arrays::Matrix>(matrix).sq_norms())
    }

    fn matrix_mean(&self, matrix: Handle) -> Result<Vec<f64>, Fault> {
        plain(lend::<arrays::Matrix>(matrix).mean())
    }

    fn matrix_product(&self, matrix: Handle, right: Handle, transpose_right: bool) -> Result<Handle, Fault> {
        object(lend::<arrays::Matrix>(matrix).product(&lend::<arrays::Matrix>(right), transpose_right))
    }

    fn matrix_stack(&self, matrix: Handle, bottom: Handle) -> Result<Handle, Fault> {
        object(lend::<arrays::Matrix>(matrix).stack(&lend::<arrays::Matrix>(bottom)))
    }

    fn log(&self, level: LogLevel, message: &str) -> Result<(), Fault> {
        plain(query::log(convert_log_level(level), message))
    }

    fn panicked(&self, message: &str) {
        query::panicked(message);
    }

    fn progress(&self, done: u64, total: u64) -> Result<(), Fault> {
        plain(query::progress(done, total))
    }

    fn info(&self) -> QueryInfo {
        convert_query_info(query::info())
    }

    fn ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        plain(query::ids(start, count))
    }

    fn labelled_ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        plain(query::labelled_ids(start, count))
    }

    fn has(&self, name: &str) -> Result<bool, Fault> {
        plain(query::has(name))
    }

    fn input(&self, name: &str) -> Result<Handle, Fault> {
        object(query::input(name))
    }

    fn labels(&self, name: &str, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        plain(query::labels(name, start, count))
    }

    fn graph_degrees(&self, graph: Handle) -> Result<Handle, Fault> {
        object(lend::<kernels::Graph>(graph).degrees())
    }

    fn graph_neighbours(&self, graph: Handle, row: u32) -> Result<Vec<u32>, Fault> {
        plain(lend::<kernels::Graph>(graph).neighbours(row))
    }

    fn clustering_sizes(&self, clustering: Handle) -> Result<Vec<u32>, Fault> {
        plain(lend::<kernels::Clustering>(clustering).sizes())
    }

    fn clustering_read(&self, clustering: Handle, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        plain(lend::<kernels::Clustering>(clustering).read(start, count))
    }

    fn clustering_centres(&self, clustering: Handle) -> Result<Handle, Fault> {
        object(lend::<kernels::Clustering>(clustering).centres())
    }

    fn clustering_inertia(&self, clustering: Handle) -> Result<f64, Fault> {
        plain(lend::<kernels::Clustering>(clustering).inertia())
    }

    fn clustering_representatives(
        &self,
        clustering: Handle,
        excluded: Option<Handle>,
    ) -> Result<Vec<Option<u32>>, Fault> {
        let excluded = lend_if::<arrays::Mask>(excluded);
        plain(lend::<kernels::Clustering>(clustering).representatives(excluded.as_deref()))
    }

    fn softmax(&self, logits: Handle) -> Result<Handle, Fault> {
        object(kernels::softmax(&lend::<arrays::Matrix>(logits)))
    }

    fn residual(&self, logits: Handle) -> Result<Handle, Fault> {
        object(kernels::residual(&lend::<arrays::Matrix>(logits)))
    }

    fn uncertainty(&self, logits: Handle, measure: Uncertainty) -> Result<(Handle, Handle), Fault> {
        let (first, second) =
            plain(kernels::uncertainty(&lend::<arrays::Matrix>(logits), convert_uncertainty(measure)))?;
        Ok((give(first), give(second)))
    }

    fn distance_reduce(
        &self,
        rows: Handle,
        centres: Handle,
        metric: Metric,
        reduction: Reduction,
    ) -> Result<Handle, Fault> {
        object(kernels::distance_reduce(
            &lend::<arrays::Matrix>(rows),
            &lend::<arrays::Matrix>(centres),
            convert_metric(metric),
            convert_reduction(reduction),
        ))
    }

    fn neighbour_distance(&self, rows: Handle, neighbours: u32, metric: Metric) -> Result<Handle, Fault> {
        object(kernels::neighbour_distance(&lend::<arrays::Matrix>(rows), neighbours, convert_metric(metric)))
    }

    fn neighbours_within(&self, rows: Handle, radius: f64, metric: Metric) -> Result<Handle, Fault> {
        object(kernels::neighbours_within(&lend::<arrays::Matrix>(rows), radius, convert_metric(metric)))
    }

    fn kmeans(
        &self,
        rows: Handle,
        weights: Option<Handle>,
        options: KmeansOptions,
        numbers: Handle,
    ) -> Result<Handle, Fault> {
        let weights = lend_if::<arrays::Vector>(weights);
        object(kernels::kmeans(
            &lend::<arrays::Matrix>(rows),
            weights.as_deref(),
            convert_kmeans_options(options),
            &lend::<arrays::Stream>(numbers),
        ))
    }

    fn average_linkage(&self, rows: Handle, metric: Metric) -> Result<Vec<Merge>, Fault> {
        Ok(plain(kernels::average_linkage(&lend::<arrays::Matrix>(rows), convert_metric(metric)))?
            .into_iter()
            .map(convert_merge)
            .collect())
    }

    fn mixture_entropy(&self, log_probs: Handle, weights: Handle, shares: Handle) -> Result<Handle, Fault> {
        object(kernels::mixture_entropy(
            &lend::<arrays::Matrix>(log_probs),
            &lend::<arrays::Vector>(weights),
            &lend::<arrays::Vector>(shares),
        ))
    }

    fn points(&self, rows: Handle) -> Result<Handle, Fault> {
        object(engines::Points::of(&lend::<arrays::Matrix>(rows)))
    }

    fn points_sq_norms(&self, points: Handle) -> Result<Handle, Fault> {
        object(lend::<engines::Points>(points).sq_norms())
    }

    fn outer_products(&self, left: Handle, right: Handle) -> Result<Handle, Fault> {
        object(engines::outer_products(&lend::<arrays::Matrix>(left), &lend::<arrays::Matrix>(right)))
    }

    fn nearest(&self, points: Handle, metric: Metric) -> Result<Handle, Fault> {
        object(engines::Nearest::over(&lend::<engines::Points>(points), convert_metric(metric)))
    }

    fn nearest_add(&self, nearest: Handle, rows: &[u32]) -> Result<(), Fault> {
        plain(lend::<engines::Nearest>(nearest).add(rows))
    }

    fn nearest_add_points(&self, nearest: Handle, points: Handle) -> Result<(), Fault> {
        plain(lend::<engines::Nearest>(nearest).add_points(&lend::<engines::Points>(points)))
    }

    fn nearest_farthest(&self, nearest: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        let excluded = lend_if::<arrays::Mask>(excluded);
        plain(lend::<engines::Nearest>(nearest).farthest(excluded.as_deref()))
    }

    fn nearest_draw(&self, nearest: Handle, numbers: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        let excluded = lend_if::<arrays::Mask>(excluded);
        plain(lend::<engines::Nearest>(nearest).draw(&lend::<arrays::Stream>(numbers), excluded.as_deref()))
    }

    fn nearest_values(&self, nearest: Handle) -> Result<Handle, Fault> {
        object(lend::<engines::Nearest>(nearest).values())
    }

    fn facility(
        &self,
        rows: Handle,
        references: Handle,
        weights: Option<Handle>,
        similarity: Similarity,
    ) -> Result<Handle, Fault> {
        let weights = lend_if::<arrays::Vector>(weights);
        object(engines::Facility::over(
            &lend::<arrays::Matrix>(rows),
            &lend::<arrays::Matrix>(references),
            weights.as_deref(),
            convert_similarity(similarity),
        ))
    }

    fn facility_add(&self, facility: Handle, rows: &[u32]) -> Result<(), Fault> {
        plain(lend::<engines::Facility>(facility).add(rows))
    }

    fn facility_add_others(&self, facility: Handle, others: Handle) -> Result<(), Fault> {
        plain(lend::<engines::Facility>(facility).add_others(&lend::<arrays::Matrix>(others)))
    }

    fn facility_best(&self, facility: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        let excluded = lend_if::<arrays::Mask>(excluded);
        plain(lend::<engines::Facility>(facility).best(excluded.as_deref()))
    }

    fn design(
        &self,
        factors: Handle,
        embeddings: Handle,
        labelled_factors: Handle,
        labelled_embeddings: Handle,
        options: DesignOptions,
    ) -> Result<Handle, Fault> {
        object(engines::Design::over(
            &lend::<arrays::Matrix>(factors),
            &lend::<arrays::Matrix>(embeddings),
            &lend::<arrays::Matrix>(labelled_factors),
            &lend::<arrays::Matrix>(labelled_embeddings),
            convert_design_options(options),
        ))
    }

    fn design_best(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        plain(lend::<engines::Design>(design).best())
    }

    fn design_least(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        plain(lend::<engines::Design>(design).least())
    }

    fn design_add(&self, design: Handle, row: u32) -> Result<(), Fault> {
        plain(lend::<engines::Design>(design).add(row))
    }

    fn design_remove(&self, design: Handle, row: u32) -> Result<(), Fault> {
        plain(lend::<engines::Design>(design).remove(row))
    }

    fn head_logits(&self, embeddings: Handle) -> Result<Handle, Fault> {
        object(head::head_logits(&lend::<arrays::Matrix>(embeddings)))
    }

    fn head_gradients(&self, embeddings: Handle, classes: &[u32]) -> Result<Handle, Fault> {
        object(head::head_gradients(&lend::<arrays::Matrix>(embeddings), classes))
    }
}
