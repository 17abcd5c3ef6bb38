//! Array files: `.npy`, `.npz` and `.safetensors`.
//!
//! A file whose bytes already are the wanted values (`.safetensors`, or `.npy` in row-major order, little-endian, same
//! type) is mapped and costs no memory or time until it is read; everything else is converted.

mod columns;
mod convert;
mod far;
mod npy;
mod table;
mod write;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;
use querist_core::array::{Array, Buffer, Values};
use querist_files::{Links, length_of};
use querist_protocol::Shown;
use safetensors::{Dtype, SafeTensors};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::DataError;
use crate::zipped::{MAX_DIRECTORY, Zip};
pub use columns::{Column, Columns, read_columns, write_columns};
use convert::{Scalar, Target, convert};
pub use far::{far_array, is_several, shard_files};
pub use table::{Ids, Texts, read_ids};
pub use write::{NpyValue, npy_bytes, write_npy, write_safetensors};

/// Longest header of a `.safetensors` file, of some tens of thousands of arrays.
const MAX_HEADER: u64 = 4 << 20;
/// Longest row of an array without values.
const MAX_EMPTY_ROW: usize = 1 << 24;

/// Type of values to read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit floats; from floats of any width, and from integers that are exact in f32.
    F32,
    /// Labels; from integers of any width that fit.
    U32,
    /// Sample ids; from integers of any width that fit.
    U64,
}

/// Reads an array from `path`, which may name a member: `features.npz#embeddings`.
///
/// Without one, a file of one array gives that array and a file of several gives the one called `name`.
///
/// # Errors
/// If the file is not of its format, holds no such member, or a value does not fit `want` (with its row).
pub fn read_array(path: &Path, name: Option<&str>, want: Kind) -> Result<Array, DataError> {
    let (file, asked) = split_member(path);
    let wish = Wish { asked: asked.as_deref(), name };
    let ending = file.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("npy") if asked.is_none() => read_npy(&file, want),
        Some("npz") => read_npz(&file, wish, want),
        Some("safetensors") => read_safetensors(&file, wish, want),
        _ => Err(DataError::malformed(
            path.display(),
            "",
            "no array file by its ending",
            "`file.npy`, `file.npz`, `file.npz#member`, `file.safetensors` or `file.safetensors#member`",
        )),
    }
}

/// Cuts `#member` off a path, unless a file has that very name.
fn split_member(path: &Path) -> (PathBuf, Option<String>) {
    match path.to_str().and_then(|text| text.rsplit_once('#')) {
        Some((file, member)) if !path.exists() && !member.is_empty() => (file.into(), Some(member.to_owned())),
        _ => (path.to_owned(), None),
    }
}

/// Which member is wanted.
#[derive(Clone, Copy)]
struct Wish<'a> {
    asked: Option<&'a str>,
    name: Option<&'a str>,
}

impl Wish<'_> {
    fn choose<'m>(&self, file: &Path, members: &'m [String]) -> Result<&'m str, DataError> {
        let called = |name: &str| members.iter().find(|member| *member == name).map(String::as_str);
        let chosen = match (self.asked, members) {
            (Some(asked), _) => called(asked),
            (None, [only]) => Some(only.as_str()),
            (None, _) => self.name.and_then(called),
        };
        chosen.ok_or_else(|| {
            let wanted = match self.asked.or(self.name) {
                Some(name) => format!("no array `{}`", Shown::name(name)),
                None => format!("{} arrays", members.len()),
            };
            let file_name = file.file_name().and_then(|name| name.to_str()).unwrap_or("file");
            let some: Vec<_> = members.iter().take(20).map(|member| format!("`{}`", Shown::name(member))).collect();
            let expected = format!("one of {}; write `{file_name}#name`", some.join(", "));
            DataError::malformed(file.display(), "", wanted, expected)
        })
    }
}

/// Refuses what no array of samples is and every reader would have to guard against: more rows than there are numbers
/// for, rows without values (which cost a file nothing, but a host something for each), and sizes beyond the machine's.
fn check_shape(name: &str, shape: &[usize]) -> Result<(), DataError> {
    let bad = |expected: &str| {
        let shape = Shown::new(&format!("{shape:?}"), 200);
        Err(DataError::malformed(name, "", format!("shape {shape}"), expected))
    };
    let [rows, row @ ..] = shape else { return Ok(()) };
    if *rows > u32::MAX as usize {
        return bad("at most 4294967295 rows");
    }
    match row.iter().try_fold(1usize, |size, &extent| size.checked_mul(extent)) {
        None => bad("rows that fit in memory"),
        Some(0) if *rows > 0 => bad("a value in each row"),
        Some(size) if *rows == 0 && size > MAX_EMPTY_ROW => bad("rows of at most 16777216 values where there are none"),
        Some(_) => Ok(()),
    }
}

/// A mapped file, and its path for messages.
struct Mapped {
    file: File,
    map: Arc<Mmap>,
    path: PathBuf,
}

impl Mapped {
    #[expect(unsafe_code, reason = "mapping a file is the only way to read gigabytes without copying them")]
    fn open(path: &Path) -> Result<Self, DataError> {
        let file = querist_files::open(path, Links::Follow)?;
        if length_of(&file, path)? == 0 {
            return Err(DataError::malformed(path.display(), "", "an empty file", "an array"));
        }
        // SAFETY: the map is only ever read, as plain numbers for which every bit pattern is valid. What remains is a
        // contract with the user that no type can hold: the file must not be changed or cut while it is in use, or
        // values change under way and reading beyond a cut end stops the program (SIGBUS).
        let map = unsafe { Mmap::map(&file) }.map_err(DataError::io(path))?;
        Ok(Self { file, map: Arc::new(map), path: path.to_owned() })
    }

    /// The array of a `.npy` file.
    fn npy(&self) -> Result<Placed, DataError> {
        let name = self.path.display().to_string();
        let npy::Header { shape, layout } = npy::Header::read(&self.map, &name)?;
        Ok(Placed { name, shape, layout })
    }

    /// Values in `range` of the file: as they are where that is possible, else converted.
    fn array(&self, name: &str, shape: Vec<usize>, layout: Layout, want: Kind) -> Result<Array, DataError> {
        let slice = &self.map[layout.range.clone()];
        let raw = Raw { name, bytes: slice, scalar: layout.scalar, big_endian: layout.big_endian };
        match want {
            Kind::F32 => self.values(&raw, &shape, &layout).map(Values::F32),
            Kind::U32 => self.values(&raw, &shape, &layout).map(Values::U32),
            Kind::U64 => self.values(&raw, &shape, &layout).map(Values::U64),
        }
        .and_then(|values| finish(&self.path, shape, values))
    }

    fn values<T: Target>(&self, raw: &Raw<'_>, shape: &[usize], layout: &Layout) -> Result<Buffer<T>, DataError> {
        let same = layout.scalar == T::SCALAR && !layout.fortran && layout.big_endian == cfg!(target_endian = "big");
        if same && bytemuck::try_cast_slice::<u8, T>(raw.bytes).is_ok() {
            let range = layout.range.clone();
            return Ok(Buffer::new(MappedValues::<T> { map: Arc::clone(&self.map), range, values: PhantomData }));
        }
        Ok(converted(raw, shape, layout.fortran)?.into())
    }
}

/// Values of a mapped file; alignment and length were checked when it was made.
struct MappedValues<T> {
    map: Arc<Mmap>,
    range: Range<usize>,
    values: PhantomData<T>,
}

impl<T: Pod> AsRef<[T]> for MappedValues<T> {
    fn as_ref(&self) -> &[T] {
        bytemuck::cast_slice(&self.map[self.range.clone()])
    }
}

/// How values lie in a file.
struct Layout {
    range: Range<usize>,
    scalar: Scalar,
    big_endian: bool,
    fortran: bool,
}

/// Bytes that stand for values of one type; `name` is for messages.
struct Raw<'a> {
    name: &'a str,
    bytes: &'a [u8],
    scalar: Scalar,
    big_endian: bool,
}

fn converted<T: Target>(raw: &Raw<'_>, shape: &[usize], fortran: bool) -> Result<Vec<T>, DataError> {
    let values = convert(raw, shape, fortran)?;
    if fortran { convert::row_major(&values, shape, raw.name) } else { Ok(values) }
}

fn finish(path: &Path, shape: Vec<usize>, values: Values) -> Result<Array, DataError> {
    Array::new(shape, values)
        .map_err(|error| DataError::malformed(path.display(), "", error.to_string(), "values for its shape"))
}

fn read_npy(path: &Path, want: Kind) -> Result<Array, DataError> {
    let mapped = Mapped::open(path)?;
    let placed = mapped.npy()?;
    mapped.array(&placed.name, placed.shape, placed.layout, want)
}

/// An array in a file: its name for messages, its shape, and where its values lie.
struct Placed {
    name: String,
    shape: Vec<usize>,
    layout: Layout,
}

fn read_npz(path: &Path, wish: Wish<'_>, want: Kind) -> Result<Array, DataError> {
    let mut archive = Zip::open(path, MAX_DIRECTORY)?;
    let names = archive.members().iter().filter_map(|member| member.name.strip_suffix(".npy"));
    let members: Vec<String> = names.map(str::to_owned).collect();
    let mut seen = BTreeSet::new();
    if let Some(twice) = members.iter().find(|member| !seen.insert(*member)) {
        return Err(archive.twice(&format!("{}.npy", Shown::name(twice))));
    }
    let member = wish.choose(path, &members)?;
    let name = format!("{}#{member}", path.display());
    // The name was just listed.
    let bytes = archive.read(&format!("{member}.npy"), &name)?.unwrap_or_default();
    let npy::Header { shape, layout } = npy::Header::read(&bytes, &name)?;
    let raw =
        Raw { name: &name, bytes: &bytes[layout.range.clone()], scalar: layout.scalar, big_endian: layout.big_endian };
    let values = match want {
        Kind::F32 => Values::F32(converted(&raw, &shape, layout.fortran)?.into()),
        Kind::U32 => Values::U32(converted(&raw, &shape, layout.fortran)?.into()),
        Kind::U64 => Values::U64(converted(&raw, &shape, layout.fortran)?.into()),
    };
    finish(path, shape, values)
}

fn read_safetensors(path: &Path, wish: Wish<'_>, want: Kind) -> Result<Array, DataError> {
    let mapped = Mapped::open(path)?;
    let placed = safetensor(&mapped, wish)?;
    mapped.array(&placed.name, placed.shape, placed.layout, want)
}

fn safetensor(mapped: &Mapped, wish: Wish<'_>) -> Result<Placed, DataError> {
    let path = &*mapped.path;
    let bad = |found: String| DataError::malformed(path.display(), "", found, "a whole .safetensors file");
    let header = mapped.map.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header > MAX_HEADER {
        return Err(bad(format!("a header of {header} bytes, at most {MAX_HEADER} are read")));
    }
    // The general reader keeps the last of two, and says nothing of the other. What is no header at all is left to it.
    let names = mapped.map.get(8..8 + header as usize).and_then(|text| serde_json::from_slice(text).ok());
    if let Some(Names(Some(twice))) = names {
        return Err(DataError::malformed(path.display(), "", format!("two arrays `{twice}`"), "each name once"));
    }
    let tensors = SafeTensors::deserialize(&mapped.map).map_err(|error| bad(error.to_string()))?;
    let mut members: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    members.sort();
    let member = wish.choose(path, &members)?;
    let name = format!("{}#{member}", path.display());
    let view = tensors.tensor(member).map_err(|error| bad(error.to_string()))?;
    let scalar = scalar_of(view.dtype())
        .ok_or_else(|| DataError::malformed(&name, "", format!("values of type {:?}", view.dtype()), Scalar::ALL))?;
    check_shape(&name, view.shape())?;
    let start = view.data().as_ptr() as usize - mapped.map.as_ptr() as usize;
    let range = start..start + view.data().len();
    let layout = Layout { range, scalar, big_endian: false, fortran: false };
    Ok(Placed { shape: view.shape().to_vec(), layout, name })
}

/// The first name that stands twice in a header, if there is one.
struct Names(Option<Shown>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Twice;

        impl<'de> Visitor<'de> for Twice {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("arrays by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let (mut seen, mut twice) = (BTreeSet::new(), None);
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if seen.contains(&name) {
                        twice.get_or_insert_with(|| Shown::name(&name));
                    }
                    seen.insert(name);
                }
                Ok(Names(twice))
            }
        }

        deserializer.deserialize_map(Twice)
    }
}

fn scalar_of(dtype: Dtype) -> Option<Scalar> {
    Some(match dtype {
        Dtype::F16 => Scalar::F16,
        Dtype::BF16 => Scalar::Bf16,
        Dtype::F32 => Scalar::F32,
        Dtype::F64 => Scalar::F64,
        Dtype::I8 => Scalar::I8,
        Dtype::I16 => Scalar::I16,
        Dtype::I32 => Scalar::I32,
        Dtype::I64 => Scalar::I64,
        Dtype::U8 => Scalar::U8,
        Dtype::U16 => Scalar::U16,
        Dtype::U32 => Scalar::U32,
        Dtype::U64 => Scalar::U64,
        _ => return None,
    })
}
