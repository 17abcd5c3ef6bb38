//! An array of somebody else's, wherever it came from: where its values lie, and of which type they are.

use std::any::Any;

/// The type of an array's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
}

impl Element {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Its name as array libraries write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::Bool => "bool",
        }
    }

    /// Whether values are floats.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }
}

/// Values in memory, with what keeps them there.
pub struct View {
    data: *const u8,
    shape: Vec<usize>,
    /// Bytes from one value to the next, by dimension.
    strides: Vec<isize>,
    element: Element,
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: it only reads, and its owner may be dropped anywhere.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// A view of values; `strides` are in bytes.
    ///
    /// # Safety
    /// Every value of `shape`, by `strides` from `data`, can be read as long as `owner` lives.
    pub unsafe fn new(
        data: *const u8,
        shape: Vec<usize>,
        strides: Vec<isize>,
        element: Element,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self { data, shape, strides, element, _owner: owner }
    }

    /// Extent in each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Type of the values.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the values stand one behind the other, the last dimension fastest.
    pub fn is_in_order(&self) -> bool {
        let mut expected = self.element.bytes() as isize;
        self.len() == 0
            || self.shape.iter().zip(&self.strides).rev().all(|(&extent, &stride)| {
                let fits = extent == 1 || stride == expected;
                expected *= extent as isize;
                fits
            })
    }

    /// The values as they lie, where these are `T` in order; of no other use is memory that may be unaligned.
    ///
    /// # Safety
    /// `T` is what [`Self::element`] says.
    pub unsafe fn as_slice<T: Copy>(&self) -> Option<&[T]> {
        if self.len() == 0 {
            return Some(&[]);
        }
        let fits = size_of::<T>() == self.element.bytes() && self.is_in_order();
        // SAFETY: all values are there, in order and aligned; the caller says that they are `T`.
        (fits && self.data.cast::<T>().is_aligned())
            .then(|| unsafe { std::slice::from_raw_parts(self.data.cast::<T>(), self.len()) })
    }

    /// Every value in the order of the last dimension first, with what `take` makes of it.
    ///
    /// # Safety
    /// As for [`Self::as_slice`].
    pub unsafe fn each<T: Copy, U>(&self, mut take: impl FnMut(T) -> U) -> Vec<U> {
        let count = self.len();
        let mut values = Vec::with_capacity(count);
        if count == 0 {
            return values;
        }
        let last = self.shape.len().saturating_sub(1);
        let (inner, step) = match self.shape.last() {
            Some(&extent) => (extent, self.strides[last]),
            None => (1, 0),
        };
        let mut at = vec![0usize; last];
        loop {
            let start: isize = at.iter().zip(&self.strides).map(|(&at, &stride)| at as isize * stride).sum();
            for column in 0..inner as isize {
                // SAFETY: the place is that of a value of this shape.
                let value = unsafe { self.data.offset(start + column * step).cast::<T>().read_unaligned() };
                values.push(take(value));
            }
            // The next row, as an odometer counts.
            let mut dimension = last;
            loop {
                if dimension == 0 {
                    return values;
                }
                dimension -= 1;
                at[dimension] += 1;
                if at[dimension] < self.shape[dimension] {
                    break;
                }
                at[dimension] = 0;
            }
        }
    }
}
