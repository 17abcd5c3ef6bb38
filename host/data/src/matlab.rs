//! Arrays of numbers in MATLAB's files of version 5, plain or compressed; version 7.3 is HDF5 and not read.
//!
//! A header of 128 bytes, then elements: a type, a length, and so many bytes, padded to eight. A compressed element is
//! a zlib stream of another element.

use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;
use querist_files::Links;

use crate::error::DataError;
use crate::source::DEFLATE_RATIO;

const HEADER: usize = 128;
/// Types of elements.
const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;
/// Longest file, and longest array.
const MOST_BYTES: u64 = 4 << 30;

/// An array of integers, columns first; its values are bytes or fit into bytes.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub sizes: Vec<u64>,
    pub values: Vec<u8>,
}

/// Reads the arrays called `names` from a file, in this order.
pub(crate) fn read<const N: usize>(path: &Path, names: [&str; N]) -> Result<[Matrix; N], DataError> {
    let file = path.display().to_string();
    let bytes = querist_files::read(path, Links::Follow, MOST_BYTES)?;
    let bad = |found: &str| DataError::malformed(&file, "", found, "a whole MATLAB file of version 5 (`-v7` or `-v6`)");
    let Some((header, mut rest)) = bytes.split_at_checked(HEADER) else { return Err(bad("fewer than 128 bytes")) };
    if header.starts_with(b"MATLAB 7.3") || bytes.get(512..520).is_some_and(|magic| magic == b"\x89HDF\r\n\x1a\n") {
        let expected = "version 5: save it again with `-v7`, or with scipy's `savemat`";
        return Err(DataError::malformed(&file, "", "MATLAB's version 7.3, which is not read", expected));
    }
    let is_little = match &header[124..] {
        b"\x00\x01IM" => true,
        b"\x01\x00MI" => false,
        _ => return Err(bad("no header of a MATLAB file")),
    };
    let mut found: [Option<Matrix>; N] = [const { None }; N];
    while !rest.is_empty() {
        let (kind, body, after) =
            element(rest, is_little).ok_or_else(|| bad("an element beyond the end of the file"))?;
        rest = after;
        let inflated;
        let (kind, body) = match kind {
            COMPRESSED => {
                inflated = inflate(body).map_err(|error| bad(&format!("damaged compressed data ({error})")))?;
                let inner = element(&inflated, is_little).ok_or_else(|| bad("compressed data without an element"))?;
                (inner.0, inner.1)
            }
            _ => (kind, body),
        };
        if kind != MATRIX {
            continue;
        }
        let parts = Parts::of(body, is_little).ok_or_else(|| bad("an array without name or sizes"))?;
        if let Some(at) = names.iter().position(|name| name.as_bytes() == parts.name) {
            let matrix = parts.matrix(is_little).map_err(|why| bad(&format!("array `{}`: {why}", names[at])))?;
            if found[at].replace(matrix).is_some() {
                return Err(bad(&format!("array `{}` twice", names[at])));
            }
        }
    }
    if let Some(at) = found.iter().position(Option::is_none) {
        return Err(DataError::malformed(&file, "", format!("no array `{}`", names[at]), "it"));
    }
    Ok(found.map(|matrix| matrix.unwrap_or_else(|| Matrix { sizes: Vec::new(), values: Vec::new() })))
}

fn inflate(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let most = (body.len() as u64).saturating_mul(DEFLATE_RATIO).min(MOST_BYTES);
    let mut bytes = Vec::new();
    // Memory grows with the bytes that come.
    ZlibDecoder::new(body).take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn number(bytes: &[u8], is_little: bool) -> Option<u32> {
    let bytes = *bytes.first_chunk::<4>()?;
    Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
}

/// The type and the content of the first element, and what comes after it.
fn element(bytes: &[u8], is_little: bool) -> Option<(u32, &[u8], &[u8])> {
    let first = number(bytes, is_little)?;
    // A short element has its length and its content in the place of the length.
    if first >> 16 != 0 {
        let body = bytes.get(4..8)?.get(..(first >> 16) as usize)?;
        return Some((first & 0xffff, body, &bytes[8..]));
    }
    let length = number(bytes.get(4..)?, is_little)? as usize;
    let body = bytes.get(8..)?.get(..length)?;
    // Compressed elements are not padded, and the last one need not be.
    let padded = if first == COMPRESSED { length } else { length.next_multiple_of(8) };
    Some((first, body, bytes.get(8 + padded..).unwrap_or_default()))
}

/// The elements that an array is made of.
struct Parts<'a> {
    name: &'a [u8],
    sizes: Vec<u64>,
    class: u32,
    kind: u32,
    values: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(body: &'a [u8], is_little: bool) -> Option<Self> {
        let (_, flags, rest) = element(body, is_little)?;
        let class = number(flags, is_little)? & 0xff;
        let (_, sizes, rest) = element(rest, is_little)?;
        let sizes = sizes.chunks_exact(4).map(|size| number(size, is_little).map(u64::from)).collect::<Option<_>>()?;
        let (_, name, rest) = element(rest, is_little)?;
        // Cells and structs have other parts; only their names are of interest.
        let (kind, values, _) = element(rest, is_little).unwrap_or((0, &[], &[]));
        Some(Self { name, sizes, class, kind, values })
    }

    fn matrix(self, is_little: bool) -> Result<Matrix, String> {
        // Numbers of any type: double, single, and integers of 8 to 64 bits.
        if !(6..=15).contains(&self.class) {
            return Err(format!("class {}, expected numbers", self.class));
        }
        let width = match self.kind {
            1 | 2 => 1,
            3 | 4 => 2,
            5..=7 => 4,
            9 | 12 | 13 => 8,
            kind => return Err(format!("values of type {kind}, expected numbers")),
        };
        let count = self.sizes.iter().try_fold(1u64, |count, &size| count.checked_mul(size));
        if count.and_then(|count| count.checked_mul(width)) != Some(self.values.len() as u64) {
            return Err(format!("{} bytes of values for sizes {:?}", self.values.len(), self.sizes));
        }
        let values = match self.kind {
            2 => self.values.to_vec(),
            _ => {
                let value = |bytes| byte(bytes, self.kind, is_little).ok_or("a value that is no whole number 0 to 255");
                self.values.chunks_exact(width as usize).map(value).collect::<Result<_, _>>()?
            }
        };
        Ok(Matrix { sizes: self.sizes, values })
    }
}

/// A number of this type as a byte, where it is one.
fn byte(bytes: &[u8], kind: u32, is_little: bool) -> Option<u8> {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    if !is_little {
        wide[..bytes.len()].reverse();
    }
    let float = match kind {
        7 => f64::from(f32::from_le_bytes(*wide.first_chunk()?)),
        9 => f64::from_le_bytes(wide),
        // A negative number has its high bits set and is no byte.
        _ => return u8::try_from(u64::from_le_bytes(wide)).ok(),
    };
    (float.fract() == 0.0 && (0.0..=255.0).contains(&float)).then_some(float as u8)
}
