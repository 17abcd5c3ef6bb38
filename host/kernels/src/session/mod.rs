//! The host's side of the calls of one instance of a strategy.

mod calls;
mod objects;
mod setup;
mod tiles;

use std::cell::RefCell;
use std::ops::{Deref, Range};
use std::sync::Arc;

use querist_core::{Array, Head, Values};
#[cfg(doc)]
use querist_protocol::HostCalls;
use querist_protocol::{Fault, FaultCode, Handle, Uncertainty, names};

use crate::check;
use crate::control::Control;
use crate::design::Blocks;
use crate::matrix::{Matrix, Rows};
use crate::memory::{Charge, Charged};
use crate::meter::Span;
use crate::rank;
use crate::uncertainty;
use crate::workers::Workers;
use objects::{Mask, Object, Objects};
pub use setup::{Setup, SetupError, Shared};
pub use tiles::{Tile, Tiled, score_tiles};

/// A vector's values, which live on when its handle is released.
struct VectorValues(Arc<Charged<f64>>);

impl Deref for VectorValues {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.0
    }
}

/// The rows that a mask excludes, for the time of a call.
struct Excluded(Arc<Charged<bool>>);

impl Deref for Excluded {
    type Target = [bool];

    fn deref(&self) -> &[bool] {
        &self.0
    }
}

/// One instance of a strategy as the host sees it: its visible rows and its objects.
pub struct Session {
    shared: Arc<Shared>,
    visible: Range<usize>,
    is_tile: bool,
    objects: RefCell<Objects>,
}

impl Session {
    /// A session that sees the whole pool.
    pub fn new(shared: Arc<Shared>) -> Self {
        let visible = 0..shared.rows as usize;
        Self { shared, visible, is_tile: false, objects: RefCell::default() }
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
        Ok(Self { shared, visible: rows, is_tile: true, objects: RefCell::default() })
    }

    /// The control of the query.
    pub fn control(&self) -> &Arc<Control> {
        self.shared.control()
    }

    /// Live handles.
    pub fn handles(&self) -> usize {
        self.objects.borrow().len()
    }

    /// Rows of the `count` largest of scores that the host itself holds, as [`HostCalls::vector_top`] ranks them,
    /// without a copy. Scores are not NaN.
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
        Ok(VectorValues(self.get::<Arc<Charged<f64>>>(vector)?))
    }

    fn workers(&self) -> &Workers {
        &self.shared.workers
    }

    fn insert<T: Object>(&self, object: T) -> Result<Handle, Fault> {
        self.objects.borrow_mut().insert(object, self.control().limits().handles)
    }

    /// Applies `f` to an object, where it lies.
    fn with<T: Object, R>(&self, handle: Handle, f: impl FnOnce(&mut T) -> R) -> Result<R, Fault> {
        self.objects.borrow_mut().get::<T>(handle).map(f)
    }

    /// An object that several may hold.
    fn get<T: Object + Clone>(&self, handle: Handle) -> Result<T, Fault> {
        self.with(handle, |object: &mut T| object.clone())
    }

    /// Applies `f` to an engine while the other objects stay reachable.
    fn work<T, R>(&self, handle: Handle, f: impl FnOnce(&mut T) -> Result<R, Fault>) -> Result<R, Fault>
    where
        Box<T>: Object,
    {
        let mut engine: Box<T> = self.objects.borrow_mut().take_out(handle)?;
        let result = f(&mut engine);
        self.objects.borrow_mut().put_back(handle, engine)?;
        result
    }

    /// A matrix, whole and in memory.
    fn get_matrix(&self, handle: Handle) -> Result<Matrix, Fault> {
        let matrix = self.get_far_matrix(handle)?;
        if !matrix.is_far() {
            return Ok(matrix);
        }
        let near = matrix.near(self.workers())?;
        self.with(handle, |rows: &mut Rows| *rows = Rows { matrix: near.clone(), normalised: false })?;
        Ok(near)
    }

    /// A matrix, whole, for those that also work with rows that are read in blocks.
    fn get_far_matrix(&self, handle: Handle) -> Result<Matrix, Fault> {
        if !self.with(handle, |rows: &mut Rows| rows.normalised)? {
            return Ok(self.get_rows(handle)?.matrix);
        }
        // What nobody else holds is taken out and normalised in place: only the end of the query stops that.
        let own = self.with(handle, |rows: &mut Rows| {
            rows.matrix.values_mut().is_some().then(|| std::mem::replace(&mut rows.matrix, Matrix::none()))
        })?;
        let matrix = own.map_or_else(|| Ok(self.get_rows(handle)?.matrix), Ok)?;
        let whole = matrix.normalise(self.workers())?;
        self.with(handle, |rows: &mut Rows| *rows = Rows { matrix: whole.clone(), normalised: false })?;
        Ok(whole)
    }

    /// The rows of a matrix, for those that never need it whole.
    fn get_rows(&self, handle: Handle) -> Result<Rows, Fault> {
        self.get::<Rows>(handle)
    }

    /// The rows that a mask excludes, if one is given, over `rows` rows.
    fn get_excluded(&self, mask: Option<Handle>, rows: usize) -> Result<Option<Excluded>, Fault> {
        let Some(handle) = mask else { return Ok(None) };
        let excluded = self.with(handle, |mask: &mut Mask| Arc::clone(&mask.excluded))?;
        check::same(excluded.len(), rows, "rows of the mask")?;
        Ok(Some(Excluded(excluded)))
    }

    /// The visible rows of an input, or the whole of one that is not over the pool.
    fn input_matrix(&self, name: &str) -> Result<Matrix, Fault> {
        let array = self.shared.array(name)?;
        let is_of_pool = names::per_sample(name).is_some();
        let rows = if is_of_pool { self.visible.clone() } else { 0..array.rows() };
        let columns = array.row_len();
        if u32::try_from(rows.len()).is_err() || u32::try_from(columns).is_err() {
            let message = format!("`{name}` has {} x {columns} values, too many for one matrix", rows.len());
            return Err(Fault::new(FaultCode::BadShape, message));
        }
        match array.values() {
            Values::F32(values) => Ok(Matrix::of_input(values.clone(), rows.start * columns, rows.len(), columns)),
            Values::Far(source) => Ok(Matrix::of_source(self.control(), source, rows)),
            other => {
                let message = format!("`{name}` holds {}, read it with `labels`", other.type_name());
                Err(Fault::new(FaultCode::BadArgument, message))
            }
        }
    }

    /// Copies rows out, as [`Session::copy_out`] does.
    fn copy_rows_out(&self, matrix: &Matrix, rows: Range<usize>) -> Result<Vec<f32>, Fault> {
        let length = rows.len() * matrix.columns();
        let _room = Charge::of::<f32>(self.control(), length)?;
        let _timed = self.control().meter().time(Span::Copy);
        let mut values = vec![0.0; length];
        matrix.read(rows.start, &mut values)?;
        Ok(values)
    }

    fn get_blocks(&self, factors: Handle, embeddings: Handle) -> Result<Blocks, Fault> {
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
        self.insert(Arc::new(values))
    }

    fn new_matrix(&self, matrix: Matrix) -> Result<Handle, Fault> {
        self.insert(Rows { matrix, normalised: false })
    }

    /// Copies a list out, with its room on the account while that happens.
    fn copy_out<T: Clone>(&self, values: &[T]) -> Result<Vec<T>, Fault> {
        let _room = Charge::of::<T>(self.control(), values.len())?;
        let _timed = self.control().meter().time(Span::Copy);
        Ok(values.to_vec())
    }

    /// The uncertainty of each row, which for those of a whole array may be known, and is told to whoever keeps a
    /// tally.
    fn uncertainty_of(&self, logits: &Matrix, measure: Uncertainty) -> Result<(Charged<f64>, Charged<f64>), Fault> {
        if logits.columns() < 2 {
            let message = format!("uncertainty needs logits of at least 2 classes, found {}", logits.columns());
            return Err(Fault::new(FaultCode::BadShape, message));
        }
        let counted = self.shared.setup.arrays.tally().zip(self.shared.name_of(logits).filter(|_| !self.is_tile));
        let Some((tally, name)) = counted else { return uncertainty::uncertainty(self.workers(), logits, measure) };
        let of = format!("uncertainty {measure:?}");
        if let Some((first, second)) = tally.known(name, &of) {
            check::same(first.len(), logits.rows(), "rows of which the uncertainty is known")?;
            return Ok((Charged::copied(self.control(), &first)?, Charged::copied(self.control(), &second)?));
        }
        let (first, second) = uncertainty::uncertainty(self.workers(), logits, measure)?;
        tally.measured(name, &of, &first, &second);
        Ok((first, second))
    }

    fn softmax_of(&self, logits: Handle, residual: bool) -> Result<Handle, Fault> {
        let logits = self.get_far_matrix(logits)?;
        if logits.columns() == 0 {
            return Err(Fault::new(FaultCode::BadShape, "logits need at least one class"));
        }
        self.new_matrix(uncertainty::softmax(self.workers(), &logits, residual)?)
    }
}
