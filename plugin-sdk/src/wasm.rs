//! The boundary of a component: imports as [`HostCalls`], exports from a [`Package`].

use std::mem::ManuallyDrop;
use std::sync::Once;

use querist_protocol::{
    DesignOptions, Fault, FaultCode, Handle, HostCalls, Init, KmeansOptions, LogLevel, Merge, Metric, QueryInfo,
    Reduction, Similarity, SimilarityKind, StrategyError, StreamScope, Uncertainty,
};

use crate::host::Host;
use crate::package::Package;

/// What `wit-bindgen` makes of `wit/strategy.wit`.
#[expect(missing_docs, reason = "generated")]
#[expect(clippy::all, clippy::undocumented_unsafe_blocks, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_package",
    });
}

pub use bindings::export_package as export;

use bindings::exports::querist::strategy::strategies as exported;
use bindings::querist::strategy::{host, types};

/// Names the package that a component exports.
pub trait Exports {
    /// The package.
    fn package() -> &'static Package;
}

impl<T: Exports> exported::Guest for T {
    fn describe() -> String {
        report_panics();
        serde_json::to_string(&T::package().describe()).unwrap_or_else(|error| error.to_string())
    }

    fn needs(id: String, params: String) -> Result<Vec<String>, types::Error> {
        report_panics();
        let needs = T::package().needs(&id, &params).map_err(error_to_wit)?;
        Ok(needs.iter().map(ToString::to_string).collect())
    }

    fn score(id: String, params: String) -> Result<exported::Scores, types::Error> {
        report_panics();
        let scores = T::package().score(&id, &params, Host::imports()).map_err(error_to_wit)?;
        Ok(exported::Scores {
            primary: take(scores.primary.into_handle()),
            second: scores.second.map(|second| take(second.into_handle())),
        })
    }

    fn select(id: String, params: String, state: Option<Vec<u8>>) -> Result<exported::Selection, types::Error> {
        report_panics();
        let selection = T::package().select(&id, &params, state, Host::imports()).map_err(error_to_wit)?;
        Ok(exported::Selection {
            rows: selection.rows,
            scores: selection.scores,
            diagnostics: selection.diagnostics,
            state: selection.state,
        })
    }
}

/// A panic is a bare trap in WebAssembly, so its message goes to the host first.
fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|panic| host::panicked(&panic.to_string()))));
}

fn error_to_wit(error: StrategyError) -> types::Error {
    match error {
        StrategyError::InvalidParams(message) => types::Error::InvalidParams(message),
        StrategyError::Unknown(message) => types::Error::Unknown(message),
        StrategyError::Fault(fault) => {
            types::Error::Fault(types::Fault { code: code_to_wit(fault.code), message: fault.message })
        }
        other => types::Error::Failed(other.to_string()),
    }
}

macro_rules! fault_codes {
    ($($code:ident),*) => {
        fn code_to_wit(code: FaultCode) -> types::FaultCode {
            match code { $(FaultCode::$code => types::FaultCode::$code,)* }
        }

        fn fault_from_wit(fault: types::Fault) -> Fault {
            let code = match fault.code { $(types::FaultCode::$code => FaultCode::$code,)* };
            Fault::new(code, fault.message)
        }
    };
}

fault_codes!(BadHandle, BadIndex, BadShape, BadArgument, NotDeclared, Quota, Deadline, Cancelled, NonFinite);

/// The host's calls as imports of the component.
///
/// A handle carries the kind of its object in its top four bits, which the component model leaves free, because
/// releasing an object needs to know its kind.
pub struct Imports;

trait Object: Sized {
    const KIND: u32;
    fn into_raw(self) -> u32;
    /// # Safety
    /// `raw` is a live handle of this kind, and whoever calls owns it or forgets the result.
    unsafe fn of_raw(raw: u32) -> Self;
}

const KIND_SHIFT: u32 = 28;

macro_rules! objects {
    ($($kind:ident $number:literal),*) => {
        $(impl Object for host::$kind {
            const KIND: u32 = $number;
            fn into_raw(self) -> u32 {
                self.take_handle()
            }
            unsafe fn of_raw(raw: u32) -> Self {
                // SAFETY: the caller's promise is the same.
                unsafe { Self::from_handle(raw) }
            }
        })*

        fn release_any(handle: Handle) {
            match handle >> KIND_SHIFT {
                $($number => drop(take::<host::$kind>(handle)),)*
                _ => {}
            }
        }
    };
}

objects!(Stream 1, Vector 2, Mask 3, Matrix 4, Graph 5, Points 6, Nearest 7, Clustering 8, Facility 9, Design 10);

fn give<T: Object>(object: T) -> Handle {
    object.into_raw() | T::KIND << KIND_SHIFT
}

/// Takes an object back from its handle.
fn take<T: Object>(handle: Handle) -> T {
    assert_eq!(handle >> KIND_SHIFT, T::KIND, "a handle of another kind");
    // SAFETY: the kind was checked, and the SDK's objects give each handle away once.
    unsafe { T::of_raw(handle & !(u32::MAX << KIND_SHIFT)) }
}

/// Borrows an object for a call.
fn lend<T: Object>(handle: Handle) -> ManuallyDrop<T> {
    ManuallyDrop::new(take(handle))
}

fn lend_if<T: Object>(handle: Option<Handle>) -> Option<ManuallyDrop<T>> {
    handle.map(lend)
}

type Call<T> = Result<T, Fault>;

fn plain<T>(result: Result<T, types::Fault>) -> Call<T> {
    result.map_err(fault_from_wit)
}

fn object<T: Object>(result: Result<T, types::Fault>) -> Call<Handle> {
    result.map(give).map_err(fault_from_wit)
}

fn metric(metric: Metric) -> types::Metric {
    match metric {
        Metric::SqEuclidean => types::Metric::SqEuclidean,
        Metric::Euclidean => types::Metric::Euclidean,
        Metric::Cosine => types::Metric::Cosine,
    }
}

impl HostCalls for Imports {
    fn release(&self, handle: Handle) {
        release_any(handle);
    }

    fn info(&self) -> QueryInfo {
        let i = host::info();
        QueryInfo {
            rows: i.rows,
            first_row: i.first_row,
            labelled_rows: i.labelled_rows,
            classes: i.classes,
            batch: i.batch,
            round: i.round,
        }
    }

    fn ids(&self, start: u32, count: u32) -> Call<Vec<u64>> {
        plain(host::ids(start, count))
    }

    fn input(&self, name: &str) -> Call<Handle> {
        object(host::input(name))
    }

    fn labels(&self, name: &str, start: u32, count: u32) -> Call<Vec<u32>> {
        plain(host::labels(name, start, count))
    }

    fn log(&self, level: LogLevel, message: &str) -> Call<()> {
        let level = match level {
            LogLevel::Debug => types::LogLevel::Debug,
            LogLevel::Info => types::LogLevel::Info,
            LogLevel::Warning => types::LogLevel::Warning,
        };
        plain(host::log(level, message))
    }

    fn panicked(&self, message: &str) {
        host::panicked(message);
    }

    fn progress(&self, done: u64, total: u64) -> Call<()> {
        plain(host::progress(done, total))
    }

    fn stream(&self, tag: &str, scope: StreamScope) -> Call<Handle> {
        let scope = match scope {
            StreamScope::Round => types::StreamScope::Round,
            StreamScope::Run => types::StreamScope::Run,
        };
        object(host::open_stream(tag, scope))
    }

    fn stream_uniforms(&self, stream: Handle, count: u32) -> Call<Vec<f64>> {
        plain(lend::<host::Stream>(stream).uniforms(count))
    }

    fn stream_by_row(&self, stream: Handle, step: u32) -> Call<Handle> {
        object(lend::<host::Stream>(stream).by_row(step))
    }

    fn vector(&self, values: &[f64]) -> Call<Handle> {
        object(host::Vector::of(values))
    }

    fn vector_len(&self, vector: Handle) -> Call<u32> {
        plain(lend::<host::Vector>(vector).len())
    }

    fn vector_read(&self, vector: Handle, start: u32, count: u32) -> Call<Vec<f64>> {
        plain(lend::<host::Vector>(vector).read(start, count))
    }

    fn vector_top(
        &self,
        vector: Handle,
        second: Option<Handle>,
        count: u32,
        excluded: Option<Handle>,
    ) -> Call<Vec<u32>> {
        let (second, excluded) = (lend_if::<host::Vector>(second), lend_if::<host::Mask>(excluded));
        plain(lend::<host::Vector>(vector).top(second.as_deref(), count, excluded.as_deref()))
    }

    fn vector_draw(&self, vector: Handle, stream: Handle, excluded: Option<Handle>) -> Call<Option<u32>> {
        let excluded = lend_if::<host::Mask>(excluded);
        plain(lend::<host::Vector>(vector).draw(&lend::<host::Stream>(stream), excluded.as_deref()))
    }

    fn mask(&self, rows: u32) -> Call<Handle> {
        object(host::Mask::of(rows))
    }

    fn mask_exclude(&self, mask: Handle, rows: &[u32]) -> Call<()> {
        plain(lend::<host::Mask>(mask).exclude(rows))
    }

    fn mask_count(&self, mask: Handle) -> Call<u32> {
        plain(lend::<host::Mask>(mask).count())
    }

    fn matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Call<Handle> {
        object(host::Matrix::of(rows, columns, values))
    }

    fn matrix_shape(&self, matrix: Handle) -> Call<(u32, u32)> {
        plain(lend::<host::Matrix>(matrix).shape())
    }

    fn matrix_read(&self, matrix: Handle, start: u32, count: u32) -> Call<Vec<f32>> {
        plain(lend::<host::Matrix>(matrix).read(start, count))
    }

    fn matrix_gather(&self, matrix: Handle, rows: &[u32]) -> Call<Handle> {
        object(lend::<host::Matrix>(matrix).gather(rows))
    }

    fn matrix_normalise(&self, matrix: Handle) -> Call<Handle> {
        object(lend::<host::Matrix>(matrix).normalise())
    }

    fn matrix_sq_norms(&self, matrix: Handle) -> Call<Handle> {
        object(lend::<host::Matrix>(matrix).sq_norms())
    }

    fn matrix_mean(&self, matrix: Handle) -> Call<Vec<f64>> {
        plain(lend::<host::Matrix>(matrix).mean())
    }

    fn matrix_product(&self, left: Handle, right: Handle, transpose_right: bool) -> Call<Handle> {
        object(lend::<host::Matrix>(left).product(&lend::<host::Matrix>(right), transpose_right))
    }

    fn softmax(&self, logits: Handle) -> Call<Handle> {
        object(lend::<host::Matrix>(logits).softmax())
    }

    fn residual(&self, logits: Handle) -> Call<Handle> {
        object(lend::<host::Matrix>(logits).residual())
    }

    fn uncertainty(&self, logits: Handle, measure: Uncertainty) -> Call<(Handle, Handle)> {
        let measure = match measure {
            Uncertainty::LeastConfidence => types::Uncertainty::LeastConfidence,
            Uncertainty::Margin => types::Uncertainty::Margin,
            Uncertainty::Ratio => types::Uncertainty::Ratio,
            Uncertainty::Entropy => types::Uncertainty::Entropy,
        };
        let (primary, second) = plain(lend::<host::Matrix>(logits).uncertainty(measure))?;
        Ok((give(primary), give(second)))
    }

    fn distance_reduce(&self, rows: Handle, centres: Handle, by: Metric, reduction: Reduction) -> Call<Handle> {
        let reduction = match reduction {
            Reduction::Min => types::Reduction::Min,
            Reduction::Argmin => types::Reduction::Argmin,
            Reduction::Sum => types::Reduction::Sum,
            Reduction::CountWithin(radius) => types::Reduction::CountWithin(radius),
        };
        object(lend::<host::Matrix>(rows).distance_reduce(&lend::<host::Matrix>(centres), metric(by), reduction))
    }

    fn neighbour_distance(&self, rows: Handle, neighbours: u32, by: Metric) -> Call<Handle> {
        object(lend::<host::Matrix>(rows).neighbour_distance(neighbours, metric(by)))
    }

    fn neighbours_within(&self, rows: Handle, radius: f64, by: Metric) -> Call<Handle> {
        object(lend::<host::Matrix>(rows).neighbours_within(radius, metric(by)))
    }

    fn graph_degrees(&self, graph: Handle) -> Call<Handle> {
        object(lend::<host::Graph>(graph).degrees())
    }

    fn graph_neighbours(&self, graph: Handle, row: u32) -> Call<Vec<u32>> {
        plain(lend::<host::Graph>(graph).neighbours(row))
    }

    fn points(&self, matrix: Handle) -> Call<Handle> {
        object(host::Points::plain(&lend::<host::Matrix>(matrix)))
    }

    fn points_factored(&self, left: Handle, right: Handle) -> Call<Handle> {
        object(host::Points::factored(&lend::<host::Matrix>(left), &lend::<host::Matrix>(right)))
    }

    fn points_sq_norms(&self, points: Handle) -> Call<Handle> {
        object(lend::<host::Points>(points).sq_norms())
    }

    fn nearest(&self, points: Handle, by: Metric) -> Call<Handle> {
        object(host::Nearest::over(&lend::<host::Points>(points), metric(by)))
    }

    fn nearest_add(&self, nearest: Handle, rows: &[u32]) -> Call<()> {
        plain(lend::<host::Nearest>(nearest).add(rows))
    }

    fn nearest_add_points(&self, nearest: Handle, points: Handle) -> Call<()> {
        plain(lend::<host::Nearest>(nearest).add_points(&lend::<host::Points>(points)))
    }

    fn nearest_farthest(&self, nearest: Handle, excluded: Option<Handle>) -> Call<Option<(u32, f64)>> {
        plain(lend::<host::Nearest>(nearest).farthest(lend_if::<host::Mask>(excluded).as_deref()))
    }

    fn nearest_draw(&self, nearest: Handle, stream: Handle, excluded: Option<Handle>) -> Call<Option<u32>> {
        let excluded = lend_if::<host::Mask>(excluded);
        plain(lend::<host::Nearest>(nearest).draw(&lend::<host::Stream>(stream), excluded.as_deref()))
    }

    fn nearest_values(&self, nearest: Handle) -> Call<Handle> {
        object(lend::<host::Nearest>(nearest).values())
    }

    fn kmeans(&self, rows: Handle, weights: Option<Handle>, options: KmeansOptions, stream: Handle) -> Call<Handle> {
        let options = types::KmeansOptions {
            clusters: options.clusters,
            restarts: options.restarts,
            max_iterations: options.max_iterations,
            tolerance: options.tolerance,
            init: match options.init {
                Init::KmeansPlusPlus => types::Init::KmeansPlusPlus,
                Init::RandomPoints => types::Init::RandomPoints,
            },
        };
        let weights = lend_if::<host::Vector>(weights);
        object(lend::<host::Matrix>(rows).kmeans(weights.as_deref(), options, &lend::<host::Stream>(stream)))
    }

    fn clustering_sizes(&self, clustering: Handle) -> Call<Vec<u32>> {
        plain(lend::<host::Clustering>(clustering).sizes())
    }

    fn clustering_read(&self, clustering: Handle, start: u32, count: u32) -> Call<Vec<u32>> {
        plain(lend::<host::Clustering>(clustering).read(start, count))
    }

    fn clustering_centres(&self, clustering: Handle) -> Call<Handle> {
        object(lend::<host::Clustering>(clustering).centres())
    }

    fn clustering_inertia(&self, clustering: Handle) -> Call<f64> {
        plain(lend::<host::Clustering>(clustering).inertia())
    }

    fn clustering_representatives(&self, clustering: Handle, excluded: Option<Handle>) -> Call<Vec<Option<u32>>> {
        plain(lend::<host::Clustering>(clustering).representatives(lend_if::<host::Mask>(excluded).as_deref()))
    }

    fn labelled_ids(&self, start: u32, count: u32) -> Call<Vec<u64>> {
        plain(host::labelled_ids(start, count))
    }

    fn matrix_stack(&self, top: Handle, bottom: Handle) -> Call<Handle> {
        object(lend::<host::Matrix>(top).stack(&lend::<host::Matrix>(bottom)))
    }

    fn facility(
        &self,
        rows: Handle,
        references: Handle,
        weights: Option<Handle>,
        similarity: Similarity,
    ) -> Call<Handle> {
        let kind = match similarity.kind {
            SimilarityKind::Rbf => types::SimilarityKind::Rbf,
            SimilarityKind::Laplace => types::SimilarityKind::Laplace,
            SimilarityKind::Student => types::SimilarityKind::Student,
            SimilarityKind::Cauchy => types::SimilarityKind::Cauchy,
            SimilarityKind::TopHat => types::SimilarityKind::TopHat,
        };
        let similarity = types::Similarity { kind, width: similarity.width };
        let weights = lend_if::<host::Vector>(weights);
        let (rows, references) = (lend::<host::Matrix>(rows), lend::<host::Matrix>(references));
        object(host::Facility::over(&rows, &references, weights.as_deref(), similarity))
    }

    fn average_linkage(&self, rows: Handle, by: Metric) -> Call<Vec<Merge>> {
        let merges = plain(lend::<host::Matrix>(rows).average_linkage(metric(by)))?;
        let merge = |merge: types::Merge| Merge { left: merge.left, right: merge.right, height: merge.height };
        Ok(merges.into_iter().map(merge).collect())
    }

    fn facility_add(&self, facility: Handle, rows: &[u32]) -> Call<()> {
        plain(lend::<host::Facility>(facility).add(rows))
    }

    fn facility_add_others(&self, facility: Handle, others: Handle) -> Call<()> {
        plain(lend::<host::Facility>(facility).add_others(&lend::<host::Matrix>(others)))
    }

    fn facility_best(&self, facility: Handle, excluded: Option<Handle>) -> Call<Option<(u32, f64)>> {
        plain(lend::<host::Facility>(facility).best(lend_if::<host::Mask>(excluded).as_deref()))
    }

    fn mixture_entropy(&self, log_probs: Handle, weights: Handle, shares: Handle) -> Call<Handle> {
        let (weights, shares) = (lend::<host::Vector>(weights), lend::<host::Vector>(shares));
        object(lend::<host::Matrix>(log_probs).mixture_entropy(&weights, &shares))
    }

    fn design(&self, pool: (Handle, Handle), labelled: (Handle, Handle), options: DesignOptions) -> Call<Handle> {
        let matrix = lend::<host::Matrix>;
        let (pool, labelled) = ((matrix(pool.0), matrix(pool.1)), (matrix(labelled.0), matrix(labelled.1)));
        let options = types::DesignOptions {
            rank: options.rank,
            ridge: options.ridge,
            labelled_weight: options.labelled_weight,
            added_weight: options.added_weight,
        };
        object(host::Design::over(&pool.0, &pool.1, &labelled.0, &labelled.1, options))
    }

    fn design_best(&self, design: Handle) -> Call<Option<(u32, f64)>> {
        plain(lend::<host::Design>(design).best())
    }

    fn design_least(&self, design: Handle) -> Call<Option<(u32, f64)>> {
        plain(lend::<host::Design>(design).least())
    }

    fn design_add(&self, design: Handle, row: u32) -> Call<()> {
        plain(lend::<host::Design>(design).add(row))
    }

    fn design_remove(&self, design: Handle, row: u32) -> Call<()> {
        plain(lend::<host::Design>(design).remove(row))
    }

    fn has(&self, name: &str) -> Call<bool> {
        plain(host::has(name))
    }

    fn head_logits(&self, embeddings: Handle) -> Call<Handle> {
        object(host::head_logits(&lend::<host::Matrix>(embeddings)))
    }

    fn head_gradients(&self, embeddings: Handle, classes: &[u32]) -> Call<Handle> {
        object(host::head_gradients(&lend::<host::Matrix>(embeddings), classes))
    }
}
