//! Shared, read-only arrays: what the host computes and a strategy sees.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use querist_protocol::names;

use crate::far::{self, RowSource};

/// A shared, read-only block of values: a vector, a mapped file, or whatever else can lend a slice.
#[derive(Clone)]
pub struct Buffer<T> {
    owner: Arc<dyn AsRef<[T]> + Send + Sync>,
    is_mapped: bool,
}

impl<T> Buffer<T> {
    /// A buffer over anything that can lend a slice for ever.
    pub fn new(owner: impl AsRef<[T]> + Send + Sync + 'static) -> Self {
        Self { owner: Arc::new(owner), is_mapped: false }
    }

    /// The same over a mapped file that is too large to be copied to memory as a whole.
    pub fn mapped(owner: impl AsRef<[T]> + Send + Sync + 'static) -> Self {
        Self { owner: Arc::new(owner), is_mapped: true }
    }

    /// Whether it must not be copied to memory as a whole.
    pub fn is_mapped(&self) -> bool {
        self.is_mapped
    }
}

impl<T: Send + Sync + 'static> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Self {
        Self::new(values)
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        (*self.owner).as_ref()
    }
}

impl<T> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} values)", self.len())
    }
}

/// The values of an array, by type.
#[derive(Debug, Clone)]
pub enum Values {
    /// 32-bit floats.
    F32(Buffer<f32>),
    /// 32-bit floats that are read in blocks.
    Far(Arc<dyn RowSource>),
    /// Labels.
    U32(Buffer<u32>),
    /// Sample ids.
    U64(Buffer<u64>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Far(source) => source.rows() * source.width(),
            Self::U32(values) => values.len(),
            Self::U64(values) => values.len(),
        }
    }

    /// Type name as users write it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) | Self::Far(_) => "f32",
            Self::U32(_) => "u32",
            Self::U64(_) => "u64",
        }
    }
}

/// Row-major values with a shape.
#[derive(Debug, Clone)]
pub struct Array {
    shape: Vec<usize>,
    values: Values,
}

impl Array {
    /// An array of `shape`.
    ///
    /// # Errors
    /// If the shape does not account for every value.
    pub fn new(shape: Vec<usize>, values: Values) -> Result<Self, ArrayError> {
        match shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) {
            Some(n) if n == values.len() => Ok(Self { shape, values }),
            _ => Err(ArrayError::Size { shape, values: values.len() }),
        }
    }

    /// Floats of `shape`; see [`Array::new`].
    pub fn f32(shape: Vec<usize>, values: impl Into<Buffer<f32>>) -> Result<Self, ArrayError> {
        Self::new(shape, Values::F32(values.into()))
    }

    /// Floats of `shape` that are read in blocks of rows.
    ///
    /// # Errors
    /// As for [`Array::new`].
    pub fn far(shape: Vec<usize>, source: Arc<dyn RowSource>) -> Result<Self, ArrayError> {
        Self::new(shape, Values::Far(source))
    }

    /// A list of labels.
    pub fn labels(values: impl Into<Buffer<u32>>) -> Self {
        let values = values.into();
        Self { shape: vec![values.len()], values: Values::U32(values) }
    }

    /// These rows, in this order.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        let width = self.row_len();
        let values = match &self.values {
            Values::Far(_) if rows.is_empty() => Values::F32(Vec::new().into()),
            Values::Far(source) => Values::Far(far::some_rows(source, rows)),
            Values::F32(values) => Values::F32(gather(values, width, rows).into()),
            Values::U32(values) => Values::U32(gather(values, width, rows).into()),
            Values::U64(values) => Values::U64(gather(values, width, rows).into()),
        };
        let shape = self.shape.iter().enumerate().map(|(at, &extent)| if at == 0 { rows.len() } else { extent });
        Self { shape: shape.collect(), values }
    }

    /// Extent in each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Extent of the first dimension; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Values in one row.
    pub fn row_len(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// The values.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The values if they are floats in memory.
    pub fn as_f32(&self) -> Option<&Buffer<f32>> {
        if let Values::F32(values) = &self.values { Some(values) } else { None }
    }

    /// The values if they are floats that are read in blocks.
    pub fn as_far(&self) -> Option<&Arc<dyn RowSource>> {
        if let Values::Far(source) = &self.values { Some(source) } else { None }
    }

    /// The same array, whose rows come from what `f` makes of their source; any other array is left as it is.
    pub(crate) fn with_source(&self, f: impl FnOnce(Arc<dyn RowSource>) -> Arc<dyn RowSource>) -> Self {
        match &self.values {
            Values::Far(source) => Self { shape: self.shape.clone(), values: Values::Far(f(Arc::clone(source))) },
            _ => self.clone(),
        }
    }

    /// Whether the values are floats, wherever they are.
    pub fn is_floats(&self) -> bool {
        matches!(self.values, Values::F32(_) | Values::Far(_))
    }

    /// The values if they are labels.
    pub fn as_u32(&self) -> Option<&Buffer<u32>> {
        if let Values::U32(values) = &self.values { Some(values) } else { None }
    }
}

/// Rows of `width` values each.
pub(crate) fn gather<T: Copy>(values: &[T], width: usize, rows: &[u32]) -> Vec<T> {
    match width {
        // The length is known beforehand, so that millions of ids are written once.
        1 => rows.iter().map(|&row| values[row as usize]).collect(),
        _ => rows.iter().flat_map(|&row| &values[row as usize * width..][..width]).copied().collect(),
    }
}

/// Arrays that do not fit the contract.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ArrayError {
    #[error("shape {shape:?} does not hold {values} values")]
    Size { shape: Vec<usize>, values: usize },
    #[error("no array is called `{name}`; the names are {}", names::ALL.join(", "))]
    UnknownName { name: String },
    #[error("array `{name}` is {found}, expected {expected}")]
    Shape { name: String, found: String, expected: String },
    #[error("`{second}` and `{first}` disagree on the {what}: {found} and {expected}")]
    Disagree { what: &'static str, first: String, expected: usize, second: String, found: usize },
    #[error("array `{name}` holds {value} in row {row}; every value must be finite")]
    NotFinite { name: String, row: usize, value: f32 },
    #[error("array `{name}` holds label {label} in row {row}, but there are {classes} classes (0 to {})", classes - 1)]
    Label { name: String, row: usize, label: u32, classes: usize },
    #[error("`{name}` must ascend without repeats, but row {row} holds {id} after {before}")]
    IdOrder { name: &'static str, row: usize, id: u64, before: u64 },
    #[error("sample {id} is both in the pool and labelled")]
    Overlap { id: u64 },
}
