//! Arrays of numpy, as a pickle tells them.

use std::fmt;

use super::{Id, Value};

/// Dimensions of an array.
const MAX_DIMENSIONS: usize = 32;

/// Type of the elements of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ElementType {
    /// numpy's letter: `u`, `i`, `f`, `b`.
    pub letter: u8,
    /// Bytes of an element.
    pub size: u8,
    pub is_big_endian: bool,
}

impl ElementType {
    /// From what numpy calls it: `u1`, `i8`, `<f4`. Objects, texts and records have no such name.
    pub fn named(name: &str) -> Option<Self> {
        let (order, name) = match name.as_bytes() {
            [order @ (b'<' | b'>' | b'|' | b'='), rest @ ..] => (*order, rest),
            rest => (b'<', rest),
        };
        let &[letter @ (b'u' | b'i' | b'f' | b'b'), size @ (b'1' | b'2' | b'4' | b'8')] = name else { return None };
        Some(Self { letter, size: size - b'0', is_big_endian: order == b'>' })
    }
}

/// An array; its data are bytes among the values.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub shape: Vec<u64>,
    pub element: ElementType,
    pub is_column_major: bool,
    pub data: Id,
}

impl Array {
    /// Bytes that all elements have, where that is a number of 64 bits.
    pub fn len_bytes(&self) -> Option<u64> {
        self.shape.iter().try_fold(u64::from(self.element.size), |size, &n| size.checked_mul(n))
    }

    /// Whether its data are bytes in the order of its rows.
    pub fn is_bytes_by_row(&self) -> bool {
        let is_flat = self.shape.iter().filter(|&&n| n != 1).count() <= 1;
        (self.element.letter, self.element.size) == (b'u', 1) && (!self.is_column_major || is_flat)
    }

    /// Its elements where they are integers.
    pub fn integers(&self, data: &[u8]) -> Option<Vec<i64>> {
        let ElementType { letter, size, .. } = self.element;
        if !matches!(letter, b'u' | b'i') {
            return None;
        }
        data.chunks_exact(usize::from(size)).map(|bytes| self.element.integer(bytes)).collect()
    }
}

impl ElementType {
    /// An integer of this type.
    pub fn integer(self, bytes: &[u8]) -> Option<i64> {
        let first = if self.is_big_endian { bytes.first()? } else { bytes.last()? };
        let fill = if self.letter == b'i' && first & 0x80 != 0 { 0xff } else { 0 };
        let mut wide = [fill; 8];
        let digits = bytes.iter().copied();
        let digits: Vec<u8> = if self.is_big_endian { digits.rev().collect() } else { digits.collect() };
        wide.get_mut(..digits.len())?.copy_from_slice(&digits);
        let number = i64::from_le_bytes(wide);
        (self.letter == b'i' || number >= 0).then_some(number)
    }
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ElementType { letter, size, .. } = self.element;
        let order = if self.is_column_major { ", columns first" } else { "" };
        write!(f, "an array of `{}{size}` of shape {:?}{order}", char::from(letter), self.shape)
    }
}

/// The array that a state `(version, shape, type, column-major, data)` tells.
pub(super) fn from_state(values: &[Value<'_>], state: &[Id]) -> Result<Array, &'static str> {
    let &[.., shape, element, order, data] = state else { return Err("an array with an unknown state") };
    let Value::Bool(is_column_major) = values[order] else { return Err("an array with an unknown state") };
    from_parts(values, (shape, element, is_column_major, data))
}

/// The array of these parts.
pub(super) fn from_parts(values: &[Value<'_>], parts: (Id, Id, bool, Id)) -> Result<Array, &'static str> {
    let (shape, element, is_column_major, data) = parts;
    let Value::Tuple(sizes) = &values[shape] else { return Err("an array without a shape") };
    if sizes.len() > MAX_DIMENSIONS {
        return Err("an array of more than 32 dimensions");
    }
    let size = |id: &Id| match values[*id] {
        Value::Int(size) => u64::try_from(size).map_err(|_| "an array with a negative size"),
        _ => Err("an array with a size that is no number"),
    };
    let shape = sizes.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let Value::ElementType(element) = values[element] else { return Err("an array without a type") };
    match values[data] {
        Value::Bytes(_) => Ok(Array { shape, element, is_column_major, data }),
        _ => Err("an array of objects"),
    }
}
