//! Arrays of many files, whose rows are read a block at a time and never all at once.
//!
//! Values stay as they are in the files, floats of 16 bits too; each block becomes 32-bit floats when it is read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use querist_core::{Array, RowSource};
use querist_files::{Links, shown};
use rustix::fs::{Advice, fadvise};

use super::convert::{Scalar, convert_here};
use super::table::{self, Spooled};
use super::{Mapped, Placed, Raw, Wish, safetensor, split_member};
use crate::error::DataError;
use crate::shards::{check_complete, matching};

/// Bytes that the system is asked to have ready.
const AHEAD: u64 = 4 << 20;
/// Bytes from which on a read is one of many in a row.
const LONG_BLOCK: u64 = 1 << 16;

/// Files that stay open; more of them are opened for each block.
const MOST_OPEN: usize = 512;

/// Whether a name stands for several files: a pattern with `*`, or a list with commas; or for a table, which is read
/// like them.
pub fn is_several(name: &str) -> bool {
    let path = Path::new(name);
    let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    let is_table = is_parquet(&split_member(path).0);
    !path.exists() && (file.contains('*') || name.contains(',')) || is_table
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

/// The files of a list with commas, of which each may be a pattern with `*`; numbers in names are in order. `key` is
/// what the user called them by, for messages.
///
/// # Errors
/// If one is not there, nothing matches, the names say that one is missing, or one is named twice.
pub fn shard_files(list: &str, key: &str) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let found = matching(Path::new(name))?;
        if found.is_empty() {
            let what = if name.contains('*') { "no file has a name like this" } else { "no such file" };
            return Err(DataError::malformed(name, "", what, format!("shards of `{key}`; correct their names")));
        }
        files.extend(found);
    }
    check_complete(&files)?;
    let mut seen = BTreeMap::new();
    for file in &files {
        let (whole, member) = split_member(file);
        let opened = querist_files::open(&whole, Links::Follow)?;
        let place = opened.metadata().map_err(DataError::io(&whole))?;
        if let Some(first) = seen.insert((place.dev(), place.ino(), member), file) {
            let found = format!("the same file as `{}`, which is among the shards of `{key}`", shown(first));
            return Err(DataError::malformed(shown(file), "", found, "each shard once"));
        }
    }
    Ok(files)
}

/// An array whose rows are those of `files`, one file behind the other: `.npy`, `.safetensors`, or a column of
/// `.parquet`. A file may name its member or column, `part-1.safetensors#logits`; else it is the only one, or the one
/// called `name`.
///
/// # Errors
/// If a file is not whole, or holds other values or rows of another width than the first.
pub fn far_array(files: &[PathBuf], name: &str) -> Result<Array, DataError> {
    if files.is_empty() {
        return Err(DataError::malformed(name, "", "no file", "one shard or more"));
    }
    let mut shards: Vec<Shard> = Vec::with_capacity(files.len());
    let (mut row_shape, mut rows) = (Vec::new(), 0usize);
    let keep_open = files.len() <= MOST_OPEN;
    for path in files {
        let (shard, shape) = Shard::open(path, name, rows, keep_open)?;
        if let Some(first) = shards.first() {
            let as_first = |what: String| format!("{what}, as in `{}`", shown(&first.path));
            if shape != row_shape {
                let found = format!("rows of shape {shape:?}");
                let expected = as_first(format!("rows of shape {row_shape:?}"));
                return Err(DataError::malformed(shown(path), "", found, expected));
            }
            if shard.scalar != first.scalar {
                let found = format!("values of type {}", shard.scalar.name());
                return Err(DataError::malformed(shown(path), "", found, as_first(first.scalar.name().to_owned())));
            }
        }
        row_shape = shape;
        rows += shard.rows;
        if rows > u32::MAX as usize {
            return Err(DataError::malformed(shown(path), "", format!("{rows} rows so far"), "at most 4294967295"));
        }
        shards.push(shard);
    }
    let width = row_shape.iter().product();
    let shape = std::iter::once(rows).chain(row_shape).collect();
    let source: Arc<dyn RowSource> = Arc::new(Shards { shards, rows, width });
    Array::far(shape, source).map_err(|error| DataError::malformed(name, "", error.to_string(), "shards of one array"))
}

/// One file of an array.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// `None` where it is opened for each block.
    file: Option<File>,
    /// Bytes of the whole file, to see that it is still the same.
    length: u64,
    /// Where values begin.
    start: u64,
    first_row: usize,
    rows: usize,
    scalar: Scalar,
    big_endian: bool,
}

impl Shard {
    /// Opens a shard; beside it the shape of a row.
    fn open(path: &Path, name: &str, first_row: usize, keep_open: bool) -> Result<(Self, Vec<usize>), DataError> {
        let (whole, asked) = split_member(path);
        let wish = Wish { asked: asked.as_deref(), name: Some(name) };
        let ending = whole.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        let (file, placed) = match ending.as_deref() {
            Some("npy") if asked.is_none() => {
                let mapped = Mapped::open(&whole)?;
                let placed = mapped.npy()?;
                (mapped.file, placed)
            }
            Some("safetensors") => {
                let mapped = Mapped::open(&whole)?;
                let placed = safetensor(&mapped, wish)?;
                (mapped.file, placed)
            }
            Some("parquet") => {
                let Spooled { file, rows, width, scalar } = table::spool(&whole, asked.as_deref(), name)?;
                let length = file.metadata().map_err(DataError::io(&whole))?.len();
                let (path, big_endian) = (path.to_owned(), cfg!(target_endian = "big"));
                let shard = Self { path, file: Some(file), length, start: 0, first_row, rows, scalar, big_endian };
                return Ok((shard, vec![width]));
            }
            _ => {
                let expected = "`.npy`, `.safetensors` or `.parquet`, with `#name` of an array where there are several";
                return Err(DataError::malformed(shown(path), "", "no shard by its ending", expected));
            }
        };
        let Placed { shape, layout, .. } = placed;
        let [rows, row_shape @ ..] = &shape[..] else {
            return Err(DataError::malformed(shown(path), "", "a single number", "an array of rows"));
        };
        if layout.fortran && !row_shape.is_empty() {
            let expected = "rows behind one another, as `numpy.ascontiguousarray` lays them";
            return Err(DataError::malformed(shown(path), "", "columns behind one another", expected));
        }
        let length = file.metadata().map_err(DataError::io(&whole))?.len();
        // A hint; without it reading is slower.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        let shard = Self {
            path: whole,
            file: keep_open.then_some(file),
            length,
            start: layout.range.start as u64,
            first_row,
            rows: *rows,
            scalar: layout.scalar,
            big_endian: layout.big_endian,
        };
        Ok((shard, row_shape.to_vec()))
    }

    /// Fills `out` with rows of `width` values, from this shard's row `first` on.
    fn read(&self, first: usize, width: usize, out: &mut [f32]) -> Result<(), String> {
        let opened;
        let file = match &self.file {
            Some(file) => file,
            None => {
                opened = querist_files::open(&self.path, Links::Follow).map_err(|error| error.to_string())?;
                if opened.metadata().map_err(|error| self.failed(first, &error))?.len() != self.length {
                    return Err(format!("{}: it was changed while it was read", shown(&self.path)));
                }
                &opened
            }
        };
        let size = self.scalar.size();
        let at = self.start + (first * width * size) as u64;
        let is_native = self.big_endian == cfg!(target_endian = "big");
        let end = at + (out.len() * size) as u64;
        // The disk goes on while a long block is worked on. A hint; without it reading is slower.
        if end - at >= LONG_BLOCK && at / AHEAD != end / AHEAD {
            let _ = fadvise(file, end, NonZeroU64::new(2 * AHEAD), Advice::WillNeed);
        }
        if self.scalar == Scalar::F32 && is_native {
            let bytes = bytemuck::cast_slice_mut(out);
            return file.read_exact_at(bytes, at).map_err(|error| self.failed(first, &error));
        }
        BYTES.with_borrow_mut(|words| {
            // Of eight bytes each, so that values of every type are aligned.
            words.resize((out.len() * size).div_ceil(8), 0);
            let bytes = &mut bytemuck::cast_slice_mut::<u64, u8>(words)[..out.len() * size];
            file.read_exact_at(bytes, at).map_err(|error| self.failed(first, &error))?;
            match self.scalar {
                Scalar::F16 if is_native => words_of(bytes).reinterpret_cast::<f16>().convert_to_f32_slice(out),
                Scalar::Bf16 if is_native => words_of(bytes).reinterpret_cast::<bf16>().convert_to_f32_slice(out),
                scalar => {
                    let name = format!("{}, rows from {first} on", shown(&self.path));
                    let raw = Raw { name: &name, bytes, scalar, big_endian: self.big_endian };
                    let values = convert_here::<f32>(&raw, &[out.len() / width.max(1), width]);
                    out.copy_from_slice(&values.map_err(|error| error.to_string())?);
                }
            }
            Ok(())
        })
    }

    fn failed(&self, row: usize, error: &io::Error) -> String {
        let what = match error.kind() {
            ErrorKind::UnexpectedEof => "it ends before this row: it was cut while it was read".to_owned(),
            _ => error.to_string(),
        };
        format!("{}, row {row}: {what}", shown(&self.path))
    }
}

thread_local! {
    /// Room for the bytes of a block.
    static BYTES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn words_of(bytes: &[u8]) -> &[u16] {
    bytemuck::cast_slice(bytes)
}

/// All files of an array.
#[derive(Debug)]
struct Shards {
    shards: Vec<Shard>,
    rows: usize,
    width: usize,
}

impl Shards {
    /// The shard that holds a row; empty ones hold none.
    fn of(&self, row: usize) -> &Shard {
        let after = self.shards.partition_point(|shard| shard.first_row <= row);
        &self.shards[after.saturating_sub(1)]
    }
}

impl RowSource for Shards {
    fn rows(&self) -> usize {
        self.rows
    }

    fn width(&self) -> usize {
        self.width
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), String> {
        let width = self.width.max(1);
        let (mut row, mut out) = (first, out);
        if first + out.len() / width > self.rows {
            return Err(format!("rows beyond the {} of the shards", self.rows));
        }
        while !out.is_empty() {
            let shard = self.of(row);
            let count = (shard.first_row + shard.rows - row).min(out.len() / width);
            let (here, rest) = out.split_at_mut(count * width);
            shard.read(row - shard.first_row, width, here)?;
            (row, out) = (row + count, rest);
        }
        Ok(())
    }

    fn place(&self, row: usize) -> String {
        let shard = self.of(row);
        format!("{}, row {}", shown(&shard.path), row - shard.first_row)
    }
}
