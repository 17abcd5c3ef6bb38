//! The host's side of the calls of one instance of a strategy.

use std::cell::RefCell;
use std::ops::{Deref, Range};
use std::sync::Arc;

use querist_core::{Array, Granted, Head, Round, Streams};
use querist_protocol::philox::{ANY_ROUND, Stream};
use querist_protocol::{
    DesignOptions, Fault, FaultCode, Handle, HostCalls, KmeansOptions, LogLevel, Merge, Metric, Need, QueryInfo,
    Reduction, Shown, Similarity, StreamScope, Uncertainty, names,
};

use crate::accelerator::Compute;
use crate::check;
use crate::control::{Control, Pacer};
use crate::design::{Blocks, Design};
use crate::distance;
use crate::facility::Facility;
use crate::graph::{self, Graph};
use crate::head;
use crate::kmeans::{self, Clustering};
use crate::linkage;
use crate::matrix::{Matrix, Rows};
use crate::memory::{Charge, Charged};
use crate::mixture;
use crate::nearest::Nearest;
use crate::points::Points;
use crate::rank;
use crate::uncertainty;
use crate::workers::Workers;

/// Bytes of a stream's tag at most.
const TAG_BYTES: usize = 256;

/// What one query consists of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What the strategy may see.
    pub arrays: Granted,
    /// Samples to ask for.
    pub batch: usize,
    /// Round of the run.
    pub round: Round,
    /// The strategy's random streams.
    pub streams: Streams,
    /// Threads and devices for kernels.
    pub compute: Compute,
}

/// What all sessions of one query share: the arrays, the threads and the control.
#[derive(Debug)]
pub struct Shared {
    setup: Setup,
    workers: Workers,
    rows: u32,
    info: QueryInfo,
}

/// A query that no session can serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A number that the boundary writes in 32 bits is larger.
    #[error("{what} is {value}, but a query has room for at most {} of them", u32::MAX)]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: usize,
    },
    /// The threads could not be started.
    #[error("{threads} kernel threads could not be started: {source}")]
    Threads {
        /// How many were wanted.
        threads: usize,
        /// Why not.
        source: rayon::ThreadPoolBuildError,
    },
}

impl Shared {
    /// Prepares a query; starts the threads.
    ///
    /// # Errors
    /// If a number passes 32 bits or the threads do not start.
    pub fn new(setup: Setup, control: Arc<Control>) -> Result<Self, SetupError> {
        let narrow = |what, value: usize| u32::try_from(value).map_err(|_| SetupError::TooLarge { what, value });
        let rows = narrow("pool rows", setup.arrays.ids().len())?;
        let info = QueryInfo {
            rows,
            first_row: 0,
            labelled_rows: narrow("labelled rows", setup.arrays.labelled_ids().len())?,
            classes: narrow("classes", setup.arrays.classes())?,
            batch: narrow("batch", setup.batch)?,
            round: setup.round.0,
        };
        let threads = setup.compute.threads.max(1);
        let workers =
            Workers::new(control, &setup.compute).map_err(|source| SetupError::Threads { threads, source })?;
        Ok(Self { setup, workers, rows, info })
    }

    /// The control of the query.
    pub fn control(&self) -> &Arc<Control> {
        self.workers.control()
    }

    /// Writes down that hidden labels of these rows are known from here on.
    fn reveal(&self, rows: Range<usize>, labels: &[u32]) -> Result<(), Fault> {
        let Some(reveals) = self.setup.arrays.reveals() else { return Ok(()) };
        let ids = self.setup.arrays.ids().get(rows).unwrap_or_default();
        let failed = |error| Fault::new(FaultCode::Quota, format!("a label could not be written down: {error}"));
        reveals.revealed(ids, labels).map_err(failed)
    }

    /// Refuses what the strategy did not declare.
    fn check_declared(&self, name: &str) -> Result<(), Fault> {
        let declared = self.setup.arrays.declared();
        if declared.iter().flat_map(Need::names).any(|declared| declared == name) {
            return Ok(());
        }
        let declared: Vec<String> = declared.iter().map(Need::to_string).collect();
        let message = format!("`{}` is not among the declared needs ({})", Shown::name(name), declared.join(", "));
        Err(Fault::new(FaultCode::NotDeclared, message))
    }

    /// A declared array of the query.
    fn array(&self, name: &str) -> Result<&Array, Fault> {
        self.check_declared(name)?;
        self.setup.arrays.get(name).ok_or_else(|| not_there(name))
    }

    /// The head, where it was declared.
    fn head(&self) -> Result<&dyn Head, Fault> {
        self.check_declared(names::HEAD)?;
        self.setup.arrays.head().ok_or_else(|| not_there(names::HEAD))
    }
}

fn not_there(name: &str) -> Fault {
    Fault::new(FaultCode::NotDeclared, format!("`{name}` was declared, but this query does not have it"))
}

/// An object of the host that a handle names.
enum Object {
    Matrix(Matrix),
    /// A matrix whose rows are to be divided by their norms once it is needed whole.
    Normalised(Matrix),
    Vector(Arc<Charged<f64>>),
    Mask(Mask),
    Points(Arc<Points>),
    /// `None` while the engine works.
    Nearest(Option<Box<Nearest>>),
    /// `None` while the engine works.
    Design(Option<Box<Design>>),
    Clustering(Arc<Clustering>),
    Graph(Arc<Graph>),
    /// `None` while the engine works.
    Facility(Option<Box<Facility>>),
    Stream(Stream),
}

impl Object {
    fn kind(&self) -> &'static str {
        match self {
            Self::Matrix(_) | Self::Normalised(_) => "a matrix",
            Self::Vector(_) => "a vector",
            Self::Mask(_) => "a mask",
            Self::Points(_) => "points",
            Self::Nearest(_) => "a nearest engine",
            Self::Design(_) => "a design",
            Self::Clustering(_) => "a clustering",
            Self::Graph(_) => "a graph",
            Self::Facility(_) => "a facility engine",
            Self::Stream(_) => "a stream",
        }
    }
}

/// A vector's values, which live on when its handle is released.
struct VectorValues(Arc<Charged<f64>>);

impl Deref for VectorValues {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.0
    }
}

/// A set of excluded rows.
struct Mask {
    excluded: Arc<Charged<bool>>,
    count: u32,
}

/// Objects by handle; freed places are used again.
#[derive(Default)]
struct Slab {
    places: Vec<Option<Object>>,
    free: Vec<Handle>,
}

/// One instance of a strategy as the host sees it: its visible rows and its objects.
pub struct Session {
    shared: Arc<Shared>,
    visible: Range<usize>,
    is_tile: bool,
    slab: RefCell<Slab>,
}

impl Session {
    /// A session that sees the whole pool.
    pub fn new(shared: Arc<Shared>) -> Self {
        let visible = 0..shared.rows as usize;
        Self { shared, visible, is_tile: false, slab: RefCell::default() }
    }

    /// A session that sees only some rows of the pool.
    ///
    /// # Errors
    /// If the rows lie outside the pool.
    pub fn tile(shared: Arc<Shared>, rows: Range<usize>) -> Result<Self, Fault> {
        if rows.start > rows.end || rows.end > shared.rows as usize {
            let message = format!("a tile of rows {rows:?} lies outside the pool of {} rows", shared.rows);
            return Err(Fault::new(FaultCode::BadIndex, message));
        }
        Ok(Self { shared, visible: rows, is_tile: true, slab: RefCell::default() })
    }

    /// The control of the query.
    pub fn control(&self) -> &Arc<Control> {
        self.shared.control()
    }

    /// Live handles.
    pub fn handles(&self) -> usize {
        let slab = self.slab.borrow();
        slab.places.len() - slab.free.len()
    }

    /// Rows of the `count` largest of scores that the host itself holds, as [`HostCalls::vector_top`] ranks them, without
    /// a copy. Scores are not NaN.
    ///
    /// # Errors
    /// If there is not one tie-breaker a score, or a limit is passed.
    pub fn rank(&self, scores: &[f64], second: Option<&[f64]>, count: usize) -> Result<Vec<u32>, Fault> {
        if let Some(second) = second {
            check::same(second.len(), scores.len(), "length of the tie-breaker")?;
        }
        rank::top(self.workers(), scores, second, count, None)
    }

    /// A declared array of the query, whole.
    ///
    /// # Errors
    /// If it was not declared.
    pub fn declared_array(&self, name: &str) -> Result<&Array, Fault> {
        self.shared.array(name)
    }

    /// The values of a vector, for the host itself.
    ///
    /// # Errors
    /// If the handle names no vector.
    pub fn vector_values(&self, vector: Handle) -> Result<impl Deref<Target = [f64]> + use<>, Fault> {
        Ok(VectorValues(self.get_vector(vector)?))
    }

    fn workers(&self) -> &Workers {
        &self.shared.workers
    }

    fn insert(&self, object: Object) -> Result<Handle, Fault> {
        let mut slab = self.slab.borrow_mut();
        if let Some(handle) = slab.free.pop() {
            slab.places[handle as usize] = Some(object);
            return Ok(handle);
        }
        let limit = self.control().limits().handles;
        if slab.places.len() >= limit as usize {
            let message = format!("{limit} objects are alive, which is the limit; release what is no longer needed");
            return Err(Fault::new(FaultCode::Quota, message));
        }
        slab.places.push(Some(object));
        Ok(slab.places.len() as Handle - 1)
    }

    /// Applies `f` to an object; `f` answers `None` where the kind is wrong.
    fn with<R>(&self, handle: Handle, kind: &str, f: impl FnOnce(&mut Object) -> Option<R>) -> Result<R, Fault> {
        let mut slab = self.slab.borrow_mut();
        let Some(object) = slab.places.get_mut(handle as usize).and_then(Option::as_mut) else {
            return Err(Fault::new(FaultCode::BadHandle, format!("handle {handle} names no live object")));
        };
        let found = object.kind();
        f(object)
            .ok_or_else(|| Fault::new(FaultCode::BadHandle, format!("handle {handle} names {found}, expected {kind}")))
    }

    fn get_matrix(&self, handle: Handle) -> Result<Matrix, Fault> {
        let rows = self.get_rows(handle)?;
        if !rows.normalised {
            return Ok(rows.matrix);
        }
        let whole = rows.matrix.normalise(self.workers())?;
        self.with(handle, "a matrix", |object| {
            *object = Object::Matrix(whole.clone());
            Some(())
        })?;
        Ok(whole)
    }

    /// The rows of a matrix, for those that never need it whole.
    fn get_rows(&self, handle: Handle) -> Result<Rows, Fault> {
        self.with(handle, "a matrix", |object| match object {
            Object::Matrix(matrix) => Some(Rows { matrix: matrix.clone(), normalised: false }),
            Object::Normalised(matrix) => Some(Rows { matrix: matrix.clone(), normalised: true }),
            _ => None,
        })
    }

    fn get_vector(&self, handle: Handle) -> Result<Arc<Charged<f64>>, Fault> {
        self.with(handle, "a vector", |object| match object {
            Object::Vector(vector) => Some(Arc::clone(vector)),
            _ => None,
        })
    }

    fn get_points(&self, handle: Handle) -> Result<Arc<Points>, Fault> {
        self.with(handle, "points", |object| match object {
            Object::Points(points) => Some(Arc::clone(points)),
            _ => None,
        })
    }

    fn get_clustering(&self, handle: Handle) -> Result<Arc<Clustering>, Fault> {
        self.with(handle, "a clustering", |object| match object {
            Object::Clustering(clustering) => Some(Arc::clone(clustering)),
            _ => None,
        })
    }

    fn get_graph(&self, handle: Handle) -> Result<Arc<Graph>, Fault> {
        self.with(handle, "a graph", |object| match object {
            Object::Graph(graph) => Some(Arc::clone(graph)),
            _ => None,
        })
    }

    /// The rows that a mask excludes, if one is given, over `rows` rows.
    fn get_excluded(&self, mask: Option<Handle>, rows: usize) -> Result<Option<Arc<Charged<bool>>>, Fault> {
        let Some(handle) = mask else { return Ok(None) };
        let excluded = self.with(handle, "a mask", |object| match object {
            Object::Mask(mask) => Some(Arc::clone(&mask.excluded)),
            _ => None,
        })?;
        check::same(excluded.len(), rows, "rows of the mask")?;
        Ok(Some(excluded))
    }

    /// Applies `f` to a stream, which moves on.
    fn with_stream<R>(&self, handle: Handle, f: impl FnOnce(&mut Stream) -> R) -> Result<R, Fault> {
        self.with(handle, "a stream", |object| match object {
            Object::Stream(stream) => Some(f(stream)),
            _ => None,
        })
    }

    /// Applies `f` to an engine while the other objects stay reachable.
    fn with_nearest<R>(&self, handle: Handle, f: impl FnOnce(&mut Nearest) -> Result<R, Fault>) -> Result<R, Fault> {
        let mut engine = self.with(handle, "a nearest engine", |object| match object {
            Object::Nearest(engine) => engine.take(),
            _ => None,
        })?;
        let result = f(&mut engine);
        self.with(handle, "a nearest engine", |object| match object {
            Object::Nearest(place) => {
                *place = Some(engine);
                Some(())
            }
            _ => None,
        })?;
        result
    }

    /// As [`Session::with_nearest`].
    fn with_facility<R>(&self, handle: Handle, f: impl FnOnce(&mut Facility) -> Result<R, Fault>) -> Result<R, Fault> {
        let mut engine = self.with(handle, "a facility engine", |object| match object {
            Object::Facility(engine) => engine.take(),
            _ => None,
        })?;
        let result = f(&mut engine);
        self.with(handle, "a facility engine", |object| match object {
            Object::Facility(place) => {
                *place = Some(engine);
                Some(())
            }
            _ => None,
        })?;
        result
    }

    /// Applies `f` to a design while the other objects stay reachable.
    fn with_design<R>(&self, handle: Handle, f: impl FnOnce(&mut Design) -> Result<R, Fault>) -> Result<R, Fault> {
        let mut design = self.with(handle, "a design", |object| match object {
            Object::Design(design) => design.take(),
            _ => None,
        })?;
        let result = f(&mut design);
        self.with(handle, "a design", |object| match object {
            Object::Design(place) => {
                *place = Some(design);
                Some(())
            }
            _ => None,
        })?;
        result
    }

    fn get_blocks(&self, (factors, embeddings): (Handle, Handle)) -> Result<Blocks, Fault> {
        Ok(Blocks { factors: self.get_matrix(factors)?, embeddings: self.get_matrix(embeddings)? })
    }

    /// The head and embeddings that it takes.
    fn head_and(&self, embeddings: Handle) -> Result<(&dyn Head, Matrix), Fault> {
        let head = self.shared.head()?;
        check::argument(!self.is_tile, || {
            "the head is for selectors: the last bits of what it computes of a row depend on the rows beside it"
                .to_owned()
        })?;
        let embeddings = self.get_matrix(embeddings)?;
        check::same(embeddings.columns(), head.width(), "columns of the embeddings")?;
        Ok((head, embeddings))
    }

    fn new_vector(&self, values: Charged<f64>) -> Result<Handle, Fault> {
        self.insert(Object::Vector(Arc::new(values)))
    }

    /// Copies a list out, with its room on the account while that happens.
    fn copy_out<T: Clone>(&self, values: &[T]) -> Result<Vec<T>, Fault> {
        let _room = Charge::of::<T>(self.control(), values.len())?;
        Ok(values.to_vec())
    }

    fn softmax_of(&self, logits: Handle, residual: bool) -> Result<Handle, Fault> {
        let logits = self.get_matrix(logits)?;
        if logits.columns() == 0 {
            return Err(Fault::new(FaultCode::BadShape, "logits need at least one class"));
        }
        self.insert(Object::Matrix(uncertainty::softmax(self.workers(), &logits, residual)?))
    }
}

impl HostCalls for Session {
    fn release(&self, handle: Handle) {
        let mut slab = self.slab.borrow_mut();
        if slab.places.get_mut(handle as usize).and_then(Option::take).is_some() {
            slab.free.push(handle);
        }
    }

    fn info(&self) -> QueryInfo {
        QueryInfo { rows: self.visible.len() as u32, first_row: self.visible.start as u32, ..self.shared.info }
    }

    fn ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        let range = check::range(start, count, self.visible.len(), "sample ids")?;
        self.copy_out(&self.shared.setup.arrays.ids()[self.visible.clone()][range])
    }

    fn input(&self, name: &str) -> Result<Handle, Fault> {
        let array = self.shared.array(name)?;
        let Some(values) = array.as_f32() else {
            let message = format!("`{name}` holds {}, read it with `labels`", array.values().type_name());
            return Err(Fault::new(FaultCode::BadArgument, message));
        };
        let is_of_pool = names::per_sample(name).is_some();
        let rows = if is_of_pool { self.visible.clone() } else { 0..array.rows() };
        let columns = array.row_len();
        if u32::try_from(rows.len()).is_err() || u32::try_from(columns).is_err() {
            let message = format!("`{name}` has {} x {columns} values, too many for one matrix", rows.len());
            return Err(Fault::new(FaultCode::BadShape, message));
        }
        self.insert(Object::Matrix(Matrix::of_input(values.clone(), rows.start * columns, rows.len(), columns)))
    }

    fn labels(&self, name: &str, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        let array = self.shared.array(name)?;
        let Some(values) = array.as_u32() else {
            let message = format!("`{name}` holds {}, read it with `input`", array.values().type_name());
            return Err(Fault::new(FaultCode::BadArgument, message));
        };
        let range = check::range(start, count, values.len(), "labels")?;
        if name == names::ORACLE_LABELS {
            self.shared.reveal(range.clone(), &values[range.clone()])?;
        }
        self.copy_out(&values[range])
    }

    fn log(&self, level: LogLevel, message: &str) -> Result<(), Fault> {
        self.control().write_log(level, message)
    }

    fn panicked(&self, message: &str) {
        self.control().set_panic(message);
    }

    fn progress(&self, done: u64, total: u64) -> Result<(), Fault> {
        self.control().set_progress(done, total);
        self.control().check()
    }

    fn stream(&self, tag: &str, scope: StreamScope) -> Result<Handle, Fault> {
        check::argument(tag.len() <= TAG_BYTES, || {
            format!("a stream's tag has at most {TAG_BYTES} bytes, this one {}", tag.len())
        })?;
        let setup = &self.shared.setup;
        let round = if scope == StreamScope::Round { setup.round } else { Round(ANY_ROUND) };
        self.insert(Object::Stream(setup.streams.stream(tag, round)))
    }

    fn stream_uniforms(&self, stream: Handle, count: u32) -> Result<Vec<f64>, Fault> {
        let _room = Charge::of::<f64>(self.control(), count as usize)?;
        let mut pacer = Pacer::new(self.control());
        let mut uniforms = Vec::with_capacity(count as usize);
        self.with_stream(stream, |stream| {
            for _ in 0..count {
                pacer.spend(16)?;
                uniforms.push(stream.next_uniform());
            }
            Ok(())
        })??;
        Ok(uniforms)
    }

    fn stream_by_row(&self, stream: Handle, step: u32) -> Result<Handle, Fault> {
        check::argument(step < 1 << 31, || format!("step {step} is not below 2^31"))?;
        let stream = self.with_stream(stream, |stream| *stream)?;
        let ids = &self.shared.setup.arrays.ids()[self.visible.clone()];
        let mut values = Charged::filled(self.control(), ids.len(), 0.0)?;
        self.workers().fill(&mut values, 1 << 14, |start, out| {
            for (out, &id) in out.iter_mut().zip(&ids[start..]) {
                *out = stream.item_uniform(id, step);
            }
            Ok(())
        })?;
        self.new_vector(values)
    }

    fn vector(&self, values: &[f64]) -> Result<Handle, Fault> {
        if let Some(at) = values.iter().position(|value| value.is_nan()) {
            return Err(Fault::new(FaultCode::NonFinite, format!("value {at} of the vector is NaN")));
        }
        check::range(0, u32::try_from(values.len()).unwrap_or(u32::MAX), values.len(), "values")?;
        self.new_vector(Charged::copied(self.control(), values)?)
    }

    fn vector_len(&self, vector: Handle) -> Result<u32, Fault> {
        Ok(self.get_vector(vector)?.len() as u32)
    }

    fn vector_read(&self, vector: Handle, start: u32, count: u32) -> Result<Vec<f64>, Fault> {
        let vector = self.get_vector(vector)?;
        self.copy_out(&vector[check::range(start, count, vector.len(), "values")?])
    }

    fn vector_top(
        &self,
        vector: Handle,
        second: Option<Handle>,
        count: u32,
        excluded: Option<Handle>,
    ) -> Result<Vec<u32>, Fault> {
        let values = self.get_vector(vector)?;
        let second = second.map(|second| self.get_vector(second)).transpose()?;
        if let Some(second) = &second {
            check::same(second.len(), values.len(), "length of the tie-breaker")?;
        }
        let excluded = self.get_excluded(excluded, values.len())?;
        let second = second.as_ref().map(|second| &***second);
        rank::top(self.workers(), &values, second, count as usize, excluded.as_ref().map(|mask| &***mask))
    }

    fn vector_draw(&self, vector: Handle, stream: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        let weights = self.get_vector(vector)?;
        check::weights(&weights)?;
        let excluded = self.get_excluded(excluded, weights.len())?;
        let u = self.with_stream(stream, Stream::next_uniform)?;
        rank::draw(&weights, excluded.as_ref().map(|mask| &***mask), u)
    }

    fn mask(&self, rows: u32) -> Result<Handle, Fault> {
        let excluded = Arc::new(Charged::filled(self.control(), rows as usize, false)?);
        self.insert(Object::Mask(Mask { excluded, count: 0 }))
    }

    fn mask_exclude(&self, mask: Handle, rows: &[u32]) -> Result<(), Fault> {
        self.with(mask, "a mask", |object| match object {
            Object::Mask(mask) => Some(mask.exclude(rows)),
            _ => None,
        })?
    }

    fn mask_count(&self, mask: Handle) -> Result<u32, Fault> {
        self.with(mask, "a mask", |object| match object {
            Object::Mask(mask) => Some(mask.count),
            _ => None,
        })
    }

    fn matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Result<Handle, Fault> {
        let (rows, columns) = (rows as usize, columns as usize);
        check::same(values.len(), check::product(rows, columns)?, "values of the matrix")?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let message = format!("the value in row {}, column {} is {}", at / columns, at % columns, values[at]);
            return Err(Fault::new(FaultCode::NonFinite, message));
        }
        self.insert(Object::Matrix(Matrix::of_values(Charged::copied(self.control(), values)?, rows, columns)))
    }

    fn matrix_shape(&self, matrix: Handle) -> Result<(u32, u32), Fault> {
        let matrix = self.get_rows(matrix)?.matrix;
        Ok((matrix.rows() as u32, matrix.columns() as u32))
    }

    fn matrix_read(&self, matrix: Handle, start: u32, count: u32) -> Result<Vec<f32>, Fault> {
        let matrix = self.get_matrix(matrix)?;
        let range = check::range(start, count, matrix.rows(), "rows")?;
        self.copy_out(&matrix.values()[range.start * matrix.columns()..range.end * matrix.columns()])
    }

    fn matrix_gather(&self, matrix: Handle, rows: &[u32]) -> Result<Handle, Fault> {
        let matrix = self.get_rows(matrix)?;
        check::rows(rows, matrix.matrix.rows())?;
        self.insert(Object::Matrix(matrix.gather(self.workers(), rows)?))
    }

    fn matrix_normalise(&self, matrix: Handle) -> Result<Handle, Fault> {
        self.insert(Object::Normalised(self.get_matrix(matrix)?))
    }

    fn matrix_sq_norms(&self, matrix: Handle) -> Result<Handle, Fault> {
        let matrix = self.get_matrix(matrix)?;
        self.new_vector(matrix.sq_norms(self.workers())?)
    }

    fn matrix_mean(&self, matrix: Handle) -> Result<Vec<f64>, Fault> {
        self.get_matrix(matrix)?.mean(self.workers())
    }

    fn matrix_product(&self, left: Handle, right: Handle, transpose_right: bool) -> Result<Handle, Fault> {
        let (left, right) = (self.get_matrix(left)?, self.get_matrix(right)?);
        self.insert(Object::Matrix(left.product(self.workers(), &right, transpose_right)?))
    }

    fn softmax(&self, logits: Handle) -> Result<Handle, Fault> {
        self.softmax_of(logits, false)
    }

    fn residual(&self, logits: Handle) -> Result<Handle, Fault> {
        self.softmax_of(logits, true)
    }

    fn uncertainty(&self, logits: Handle, measure: Uncertainty) -> Result<(Handle, Handle), Fault> {
        let logits = self.get_matrix(logits)?;
        if logits.columns() < 2 {
            let message = format!("uncertainty needs logits of at least 2 classes, found {}", logits.columns());
            return Err(Fault::new(FaultCode::BadShape, message));
        }
        let (first, second) = uncertainty::uncertainty(self.workers(), &logits, measure)?;
        let first = self.new_vector(first)?;
        let second = self.new_vector(second).inspect_err(|_| self.release(first))?;
        Ok((first, second))
    }

    fn distance_reduce(
        &self,
        rows: Handle,
        centres: Handle,
        metric: Metric,
        reduction: Reduction,
    ) -> Result<Handle, Fault> {
        let (rows, centres) = (self.get_matrix(rows)?, self.get_matrix(centres)?);
        check::same(centres.columns(), rows.columns(), "columns of the centres")?;
        let rows = Points::plain(self.workers(), rows)?;
        let centres = Points::plain(self.workers(), centres)?;
        self.new_vector(distance::reduce(self.workers(), &rows, &centres, metric, reduction)?)
    }

    fn neighbour_distance(&self, rows: Handle, neighbours: u32, metric: Metric) -> Result<Handle, Fault> {
        let points = Points::plain(self.workers(), self.get_matrix(rows)?)?;
        self.new_vector(graph::neighbour_distance(self.workers(), &points, neighbours as usize, metric)?)
    }

    fn neighbours_within(&self, rows: Handle, radius: f64, metric: Metric) -> Result<Handle, Fault> {
        let points = Points::plain(self.workers(), self.get_matrix(rows)?)?;
        self.insert(Object::Graph(Arc::new(Graph::within(self.workers(), &points, radius, metric)?)))
    }

    fn graph_degrees(&self, graph: Handle) -> Result<Handle, Fault> {
        let graph = self.get_graph(graph)?;
        let mut degrees = Charged::filled(self.control(), graph.rows(), 0.0)?;
        for (row, degree) in degrees.iter_mut().enumerate() {
            *degree = graph.neighbours(row).len() as f64;
        }
        self.new_vector(degrees)
    }

    fn graph_neighbours(&self, graph: Handle, row: u32) -> Result<Vec<u32>, Fault> {
        let graph = self.get_graph(graph)?;
        check::rows(&[row], graph.rows())?;
        self.copy_out(graph.neighbours(row as usize))
    }

    fn points(&self, matrix: Handle) -> Result<Handle, Fault> {
        let points = Points::plain(self.workers(), self.get_matrix(matrix)?)?;
        self.insert(Object::Points(Arc::new(points)))
    }

    fn points_factored(&self, left: Handle, right: Handle) -> Result<Handle, Fault> {
        let points = Points::factored(self.workers(), self.get_matrix(left)?, self.get_matrix(right)?)?;
        self.insert(Object::Points(Arc::new(points)))
    }

    fn points_sq_norms(&self, points: Handle) -> Result<Handle, Fault> {
        let points = self.get_points(points)?;
        self.new_vector(Charged::copied(self.control(), points.sq_norms())?)
    }

    fn nearest(&self, points: Handle, metric: Metric) -> Result<Handle, Fault> {
        let engine = Nearest::new(self.workers(), self.get_points(points)?, metric, None)?;
        self.insert(Object::Nearest(Some(Box::new(engine))))
    }

    fn nearest_add(&self, nearest: Handle, rows: &[u32]) -> Result<(), Fault> {
        self.with_nearest(nearest, |engine| engine.add(rows))
    }

    fn nearest_add_points(&self, nearest: Handle, points: Handle) -> Result<(), Fault> {
        let points = self.get_points(points)?;
        self.with_nearest(nearest, |engine| engine.add_points(self.workers(), points))
    }

    fn nearest_farthest(&self, nearest: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        self.with_nearest(nearest, |engine| {
            let excluded = self.get_excluded(excluded, engine.rows())?;
            engine.farthest(self.workers(), excluded.as_ref().map(|mask| &***mask))
        })
    }

    fn nearest_draw(&self, nearest: Handle, stream: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        self.with_nearest(nearest, |engine| {
            let excluded = self.get_excluded(excluded, engine.rows())?;
            let u = self.with_stream(stream, Stream::next_uniform)?;
            engine.draw(self.workers(), excluded.as_ref().map(|mask| &***mask), u)
        })
    }

    fn nearest_values(&self, nearest: Handle) -> Result<Handle, Fault> {
        let values = self.with_nearest(nearest, |engine| engine.values(self.workers()))?;
        self.new_vector(values)
    }

    fn kmeans(
        &self,
        rows: Handle,
        weights: Option<Handle>,
        options: KmeansOptions,
        stream: Handle,
    ) -> Result<Handle, Fault> {
        let rows = self.get_matrix(rows)?;
        let weights = weights.map(|weights| self.get_vector(weights)).transpose()?;
        let mut numbers = self.with_stream(stream, |stream| *stream)?;
        let clustering = kmeans::kmeans(self.workers(), &rows, weights, options, &mut numbers)?;
        self.with_stream(stream, |stream| *stream = numbers)?;
        self.insert(Object::Clustering(Arc::new(clustering)))
    }

    fn clustering_sizes(&self, clustering: Handle) -> Result<Vec<u32>, Fault> {
        Ok(self.get_clustering(clustering)?.sizes())
    }

    fn clustering_read(&self, clustering: Handle, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        let clustering = self.get_clustering(clustering)?;
        let clusters = clustering.clusters();
        self.copy_out(&clusters[check::range(start, count, clusters.len(), "rows")?])
    }

    fn clustering_centres(&self, clustering: Handle) -> Result<Handle, Fault> {
        let centres = self.get_clustering(clustering)?.centres().clone();
        self.insert(Object::Matrix(centres))
    }

    fn clustering_inertia(&self, clustering: Handle) -> Result<f64, Fault> {
        Ok(self.get_clustering(clustering)?.inertia())
    }

    fn clustering_representatives(
        &self,
        clustering: Handle,
        excluded: Option<Handle>,
    ) -> Result<Vec<Option<u32>>, Fault> {
        let clustering = self.get_clustering(clustering)?;
        let excluded = self.get_excluded(excluded, clustering.clusters().len())?;
        Ok(clustering.representatives(excluded.as_ref().map(|mask| &***mask)))
    }

    fn labelled_ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        let ids = self.shared.setup.arrays.labelled_ids();
        self.copy_out(&ids[check::range(start, count, ids.len(), "labelled ids")?])
    }

    fn matrix_stack(&self, top: Handle, bottom: Handle) -> Result<Handle, Fault> {
        let (top, bottom) = (self.get_matrix(top)?, self.get_matrix(bottom)?);
        check::same(bottom.columns(), top.columns(), "columns of the bottom matrix")?;
        let rows = top.rows() + bottom.rows();
        check::argument(u32::try_from(rows).is_ok(), || format!("{rows} rows are too many for one matrix"))?;
        self.insert(Object::Matrix(top.stack(self.workers(), &bottom)?))
    }

    fn facility(
        &self,
        rows: Handle,
        references: Handle,
        weights: Option<Handle>,
        similarity: Similarity,
    ) -> Result<Handle, Fault> {
        let (rows, references) = (self.get_rows(rows)?, self.get_matrix(references)?);
        let weights = weights.map(|weights| self.get_vector(weights)).transpose()?;
        let engine = Facility::new(self.workers(), rows, references, weights, similarity)?;
        self.insert(Object::Facility(Some(Box::new(engine))))
    }

    fn average_linkage(&self, rows: Handle, metric: Metric) -> Result<Vec<Merge>, Fault> {
        let rows = self.get_matrix(rows)?;
        // The merges, and what is remembered of each cluster.
        let _room = Charge::of::<[u64; 8]>(self.control(), rows.rows())?;
        linkage::average(self.workers(), &rows, metric)
    }

    fn facility_add(&self, facility: Handle, rows: &[u32]) -> Result<(), Fault> {
        self.with_facility(facility, |engine| engine.add(self.workers(), rows))
    }

    fn facility_add_others(&self, facility: Handle, others: Handle) -> Result<(), Fault> {
        let others = self.get_matrix(others)?;
        self.with_facility(facility, |engine| engine.add_others(self.workers(), others))
    }

    fn facility_best(&self, facility: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        self.with_facility(facility, |engine| {
            let excluded = self.get_excluded(excluded, engine.len())?;
            engine.best(self.workers(), excluded.as_ref().map(|mask| &***mask))
        })
    }

    fn mixture_entropy(&self, log_probs: Handle, weights: Handle, shares: Handle) -> Result<Handle, Fault> {
        let log_probs = self.get_matrix(log_probs)?;
        let (weights, shares) = (self.get_vector(weights)?, self.get_vector(shares)?);
        self.new_vector(mixture::entropy(self.workers(), &log_probs, &weights, &shares)?)
    }

    fn design(
        &self,
        pool: (Handle, Handle),
        labelled: (Handle, Handle),
        options: DesignOptions,
    ) -> Result<Handle, Fault> {
        let (pool, labelled) = (self.get_blocks(pool)?, self.get_blocks(labelled)?);
        let design = Design::new(self.workers(), pool, labelled, options)?;
        self.insert(Object::Design(Some(Box::new(design))))
    }

    fn design_best(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        self.with_design(design, |design| design.best(self.workers()))
    }

    fn design_least(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        self.with_design(design, |design| design.least())
    }

    fn design_add(&self, design: Handle, row: u32) -> Result<(), Fault> {
        self.with_design(design, |design| design.add(self.workers(), row))
    }

    fn design_remove(&self, design: Handle, row: u32) -> Result<(), Fault> {
        self.with_design(design, |design| design.remove(self.workers(), row))
    }

    fn has(&self, name: &str) -> Result<bool, Fault> {
        self.shared.check_declared(name)?;
        Ok(self.shared.setup.arrays.has(name))
    }

    fn head_logits(&self, embeddings: Handle) -> Result<Handle, Fault> {
        let (head, embeddings) = self.head_and(embeddings)?;
        self.insert(Object::Matrix(head::logits(self.workers(), head, &embeddings)?))
    }

    fn head_gradients(&self, embeddings: Handle, classes: &[u32]) -> Result<Handle, Fault> {
        let (head, embeddings) = self.head_and(embeddings)?;
        self.insert(Object::Matrix(head::gradients(self.workers(), head, &embeddings, classes)?))
    }
}

impl Mask {
    fn exclude(&mut self, rows: &[u32]) -> Result<(), Fault> {
        check::rows(rows, self.excluded.len())?;
        // Kernels share a mask only while they run.
        let Some(excluded) = Arc::get_mut(&mut self.excluded) else {
            return Err(Fault::new(FaultCode::BadHandle, "the mask is in use"));
        };
        for &row in rows {
            let place = &mut excluded[row as usize];
            self.count += u32::from(!*place);
            *place = true;
        }
        Ok(())
    }
}
