//! The header of `.npy` files.
//!
//! Magic `\x93NUMPY`, version, length, and a Python dictionary with exactly three keys. The general readers of this
//! format multiply sizes unchecked and recurse with the nesting of the dictionary; a strict one is short.

use querist_protocol::Shown;

use super::Layout;
use super::convert::Scalar;
use crate::error::DataError;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest header; numpy pads to 64 bytes and asks for consent beyond 10,000.
const MAX_HEADER: usize = 10_000;
const PLAIN_HEADER: &str = "`{'descr': '<f4', 'fortran_order': False, 'shape': (rows, columns)}` with one plain type";
const MAX_DIMENSIONS: usize = 32;

/// Shape and place of the values.
pub(super) struct Header {
    pub shape: Vec<usize>,
    pub layout: Layout,
}

impl Header {
    /// Reads the header of a whole file and checks that the values fill the rest of it.
    pub fn read(file: &[u8], name: &str) -> Result<Self, DataError> {
        let bad = |at: usize, found: String, expected: &str| {
            DataError::malformed(name, format_args!(", byte {at}"), found, expected)
        };
        if !file.starts_with(MAGIC) {
            return Err(bad(0, "no NUMPY magic".to_owned(), "a .npy file"));
        }
        let (start, length) = match (file.get(6), file.get(8..12)) {
            (Some(1), Some(&[a, b, ..])) => (10, usize::from(u16::from_le_bytes([a, b]))),
            (Some(2 | 3), Some(&[a, b, c, d])) => (12, u32::from_le_bytes([a, b, c, d]) as usize),
            (version, _) => return Err(bad(6, format!("version {version:?}"), "version 1, 2 or 3 and a header")),
        };
        if length > MAX_HEADER {
            return Err(bad(8, format!("a header of {length} bytes"), "at most 10000"));
        }
        let text = file.get(start..start + length).and_then(|header| std::str::from_utf8(header).ok());
        let text = text.ok_or_else(|| bad(start, format!("no {length} bytes of text"), "the whole header"))?;
        let fields = parse(text)
            .ok_or_else(|| bad(start, format!("the header {}", Shown::new(text.trim_end(), 200)), PLAIN_HEADER))?;
        let (scalar, big_endian) = scalar_of(fields.descr)
            .ok_or_else(|| bad(start, format!("values of type `{}`", Shown::name(fields.descr)), Scalar::ALL))?;
        let size = fields.shape.iter().try_fold(scalar.size(), |size, &extent| size.checked_mul(extent));
        let there = file.len() - start - length;
        if size != Some(there) {
            let found = format!("{there} bytes of values for shape {:?} of {}", fields.shape, fields.descr);
            let expected = size.map_or("a shape that fits in memory".to_owned(), |size| format!("{size}"));
            return Err(bad(start + length, found, &expected));
        }
        super::check_shape(name, &fields.shape)?;
        let layout = Layout { range: start + length..file.len(), scalar, big_endian, fortran: fields.fortran };
        Ok(Self { shape: fields.shape, layout })
    }
}

struct Fields<'a> {
    descr: &'a str,
    fortran: bool,
    shape: Vec<usize>,
}

/// Reads the dictionary; `None` where it is anything but the three known keys with plain values.
fn parse(text: &str) -> Option<Fields<'_>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim_start();
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        rest = match key {
            "descr" if descr.is_none() => {
                let (text, after) = quoted(value)?;
                descr = Some(text);
                after
            }
            "fortran_order" if fortran.is_none() => {
                let is_true = value.starts_with("True");
                fortran = Some(is_true);
                value.strip_prefix(if is_true { "True" } else { "False" })?
            }
            "shape" if shape.is_none() => {
                let (inside, after) = value.strip_prefix('(')?.split_once(')')?;
                shape = Some(extents(inside)?);
                after
            }
            _ => return None,
        };
        let after = rest.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(Fields { descr: descr?, fortran: fortran?, shape: shape? })
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|&c| c == '\'' || c == '"')?;
    text[1..].split_once(quote)
}

fn extents(text: &str) -> Option<Vec<usize>> {
    let text = text.trim();
    let text = text.strip_suffix(',').unwrap_or(text);
    if text.is_empty() {
        return Some(Vec::new());
    }
    // Python 2 wrote long integers as `12L`.
    let extent = |text: &str| {
        let text = text.trim();
        text.strip_suffix('L').unwrap_or(text).parse().ok()
    };
    let extents: Vec<usize> = text.split(',').map(extent).collect::<Option<_>>()?;
    (extents.len() <= MAX_DIMENSIONS).then_some(extents)
}

fn scalar_of(descr: &str) -> Option<(Scalar, bool)> {
    let scalar = match descr.get(1..)? {
        "f2" => Scalar::F16,
        "f4" => Scalar::F32,
        "f8" => Scalar::F64,
        "i1" => Scalar::I8,
        "i2" => Scalar::I16,
        "i4" => Scalar::I32,
        "i8" => Scalar::I64,
        "u1" => Scalar::U8,
        "u2" => Scalar::U16,
        "u4" => Scalar::U32,
        "u8" => Scalar::U64,
        _ => return None,
    };
    match descr.as_bytes()[0] {
        b'<' => Some((scalar, false)),
        b'>' => Some((scalar, true)),
        b'=' => Some((scalar, cfg!(target_endian = "big"))),
        b'|' if scalar.size() == 1 => Some((scalar, false)),
        _ => None,
    }
}
