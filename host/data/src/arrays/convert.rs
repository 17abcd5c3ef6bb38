//! From the values of a file to the values asked for, none changed in silence.

use std::fmt::Display;

use bytemuck::Pod;
use half::{bf16, f16};
use rayon::prelude::*;

use super::Raw;
use crate::error::DataError;
use crate::memory::reserve;

/// Types of values in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
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
}

impl Scalar {
    /// As numpy calls it, for messages.
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
        }
    }

    /// What can be read, for messages.
    pub const ALL: &str = "floats of 16, 32 or 64 bits or integers of 8 to 64 bits";

    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }
}

/// A type that values are read into.
pub(super) trait Target: Pod + Send + Sync {
    const SCALAR: Scalar;
    /// What may stand in an array of this type, for messages.
    const WANTED: &str;
    /// The same number, or `None` where there is none.
    fn from_float(value: f64) -> Option<Self>;
    /// The same number, or `None` where there is none.
    fn from_integer(value: i128) -> Option<Self>;
}

impl Target for f32 {
    const SCALAR: Scalar = Scalar::F32;
    const WANTED: &str = "a number that 32-bit floats can hold";

    /// Rounds to nearest; a finite value that would become infinite has no f32.
    fn from_float(value: f64) -> Option<Self> {
        let near = value as f32;
        (near.is_finite() || !value.is_finite()).then_some(near)
    }

    fn from_integer(value: i128) -> Option<Self> {
        let near = value as f32;
        (near as i128 == value).then_some(near)
    }
}

macro_rules! integer_target {
    ($type:ident, $scalar:ident, $wanted:literal) => {
        impl Target for $type {
            const SCALAR: Scalar = Scalar::$scalar;
            const WANTED: &str = $wanted;

            fn from_float(_: f64) -> Option<Self> {
                None
            }

            fn from_integer(value: i128) -> Option<Self> {
                Self::try_from(value).ok()
            }
        }
    };
}

integer_target!(u32, U32, "class numbers, 0 to 4294967295, of an integer type (in numpy `astype(\"uint32\")`)");
integer_target!(u64, U64, "ids, 0 or more, of an integer type (in numpy `astype(\"uint64\")`)");

/// Converts every value, in file order.
pub(super) fn convert<T: Target>(raw: &Raw<'_>, shape: &[usize], fortran: bool) -> Result<Vec<T>, DataError> {
    converted_by(raw, shape, fortran, true)
}

/// The same by this thread alone, for those who are one of many.
pub(super) fn convert_here<T: Target>(raw: &Raw<'_>, shape: &[usize]) -> Result<Vec<T>, DataError> {
    converted_by(raw, shape, false, false)
}

fn converted_by<T: Target>(raw: &Raw<'_>, shape: &[usize], fortran: bool, by_all: bool) -> Result<Vec<T>, DataError> {
    macro_rules! read {
        ($type:ident, $from:ident) => {{
            const SIZE: usize = size_of::<$type>();
            let big_endian = raw.big_endian;
            each(raw, (shape, fortran), by_all, SIZE, move |bytes| {
                let mut word = [0; SIZE];
                word.copy_from_slice(bytes);
                let value = if big_endian { $type::from_be_bytes(word) } else { $type::from_le_bytes(word) };
                T::$from(value.into()).ok_or(value)
            })
        }};
    }
    match raw.scalar {
        Scalar::F16 => read!(f16, from_float),
        Scalar::Bf16 => read!(bf16, from_float),
        Scalar::F32 => read!(f32, from_float),
        Scalar::F64 => read!(f64, from_float),
        Scalar::I8 => read!(i8, from_integer),
        Scalar::I16 => read!(i16, from_integer),
        Scalar::I32 => read!(i32, from_integer),
        Scalar::I64 => read!(i64, from_integer),
        Scalar::U8 => read!(u8, from_integer),
        Scalar::U16 => read!(u16, from_integer),
        Scalar::U32 => read!(u32, from_integer),
        Scalar::U64 => read!(u64, from_integer),
    }
}

fn each<T: Target, V: Display + Send>(
    raw: &Raw<'_>,
    (shape, fortran): (&[usize], bool),
    by_all: bool,
    size: usize,
    value_of: impl Fn(&[u8]) -> Result<T, V> + Sync,
) -> Result<Vec<T>, DataError> {
    let count = raw.bytes.len() / size;
    let mut values: Vec<T> = reserve(count as u64, raw.name)?;
    values.resize(count, T::zeroed());
    let convert_one = |(at, (to, bytes)): (usize, (&mut T, &[u8]))| match value_of(bytes) {
        Ok(value) => {
            *to = value;
            Ok(())
        }
        Err(value) => Err((at, value)),
    };
    // The first misfit in file order, whichever thread meets one first.
    let misfit = if by_all {
        let all = values.par_iter_mut().zip(raw.bytes.par_chunks_exact(size)).enumerate().with_min_len(1 << 14);
        all.filter_map(|item| convert_one(item).err()).min_by_key(|&(at, _)| at)
    } else {
        values.iter_mut().zip(raw.bytes.chunks_exact(size)).enumerate().find_map(|item| convert_one(item).err())
    };
    match misfit {
        None => Ok(values),
        Some((at, value)) => Err(DataError::malformed(
            raw.name,
            format_args!(", row {}", row_of(at, shape, fortran)),
            format!("the value {value}"),
            T::WANTED,
        )),
    }
}

/// Row of the value at a position in the file.
fn row_of(at: usize, shape: &[usize], fortran: bool) -> usize {
    match (shape, fortran) {
        ([], _) => 0,
        ([rows, ..], true) => at % rows,
        ([_, rest @ ..], false) => at / rest.iter().product::<usize>().max(1),
    }
}

/// Column-major values in row-major order.
pub(super) fn row_major<T: Copy>(values: &[T], shape: &[usize], name: &str) -> Result<Vec<T>, DataError> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    let mut index = vec![0; shape.len()];
    let mut from = 0;
    let mut ordered = reserve(values.len() as u64, name)?;
    for _ in 0..values.len() {
        ordered.push(values[from]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            from += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            from -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    Ok(ordered)
}
