//! Writing arrays, whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Write};
use std::path::Path;

use bytemuck::Pod;
use querist_core::array::{Array, Values};
use querist_files::Links;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::NamedTempFile;

use crate::error::DataError;

/// Types that a `.npy` file is written from.
pub trait NpyValue: Pod + sealed::Sealed {
    /// Type code without byte order.
    #[doc(hidden)]
    const CODE: &str;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! npy_value {
    ($($type:ident $code:literal),*) => {
        $(impl sealed::Sealed for $type {}
        impl NpyValue for $type {
            const CODE: &str = $code;
        })*
    };
}

npy_value!(f32 "f4", f64 "f8", u8 "u1", u32 "u4", u64 "u8", i64 "i8");

/// Writes row-major `values` of `shape` as `.npy`, so that the file is there whole or not at all.
///
/// # Errors
/// If the shape does not account for every value, or the disk refuses.
pub fn write_npy<T: NpyValue>(path: &Path, shape: &[usize], values: &[T]) -> Result<(), DataError> {
    let header = npy_header(&path.display().to_string(), shape, values)?;
    whole(path, |file| {
        file.write_all(&header)?;
        file.write_all(bytemuck::cast_slice(values))
    })
}

/// The bytes of a `.npy` file that is called `name`.
///
/// # Errors
/// If the shape does not account for every value.
pub fn npy_bytes<T: NpyValue>(name: &str, shape: &[usize], values: &[T]) -> Result<Vec<u8>, DataError> {
    let mut bytes = npy_header(name, shape, values)?;
    bytes.extend_from_slice(bytemuck::cast_slice(values));
    Ok(bytes)
}

/// All of a `.npy` file before its values, which begin at a multiple of 64 bytes, so that they can be mapped.
fn npy_header<T: NpyValue>(name: &str, shape: &[usize], values: &[T]) -> Result<Vec<u8>, DataError> {
    if shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent)) != Some(values.len()) {
        let found = format!("{} values for shape {shape:?}", values.len());
        return Err(DataError::malformed(name, "", found, "one value for each place of the shape"));
    }
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let order = if cfg!(target_endian = "big") { '>' } else { '<' };
    let text = format!("{{'descr': '{order}{}', 'fortran_order': False, 'shape': ({extents}), }}", T::CODE);
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let said = u16::try_from(length)
        .map_err(|_| DataError::malformed(name, "", format!("{} dimensions", shape.len()), "fewer of them"))?;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(said.to_le_bytes());
    header.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    Ok(header)
}

/// Writes arrays by name as `.safetensors`, so that the file is there whole or not at all.
///
/// # Errors
/// If the disk refuses.
pub fn write_safetensors(path: &Path, arrays: &BTreeMap<String, Array>) -> Result<(), DataError> {
    let mut views = BTreeMap::new();
    for (name, array) in arrays {
        let (dtype, bytes): (_, &[u8]) = match array.values() {
            Values::F32(values) => (Dtype::F32, bytemuck::cast_slice(values)),
            Values::U32(values) => (Dtype::U32, bytemuck::cast_slice(values)),
            Values::U64(values) => (Dtype::U64, bytemuck::cast_slice(values)),
            Values::Far(_) => {
                let found = format!("`{name}` in shards");
                return Err(DataError::malformed(path.display(), "", found, "arrays in memory"));
            }
        };
        views.insert(name, TensorView::new(dtype, array.shape().to_vec(), bytes).map_err(other(path))?);
    }
    serialised(path, views, None)
}

/// Writes views by name, with a header.
pub(super) fn serialised(
    path: &Path,
    views: BTreeMap<&String, TensorView<'_>>,
    header: Option<HashMap<String, String>>,
) -> Result<(), DataError> {
    let file = temporary(path)?;
    let rights = file.as_file().metadata().map_err(DataError::io(path))?.permissions();
    // The crate puts a new file, readable by its owner only, in the place of the temporary one.
    safetensors::serialize_to_file(views, header, file.path()).map_err(other(path))?;
    let written = querist_files::open(file.path(), Links::Refuse)?;
    written.set_permissions(rights).and_then(|()| written.sync_all()).map_err(DataError::io(path))?;
    persist(file, path)
}

fn other(path: &Path) -> impl FnOnce(safetensors::SafeTensorError) -> DataError + '_ {
    |error| DataError::io(path)(std::io::Error::other(error))
}

/// A file beside `path` with the rights of any new file.
fn temporary(path: &Path) -> Result<NamedTempFile, DataError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(DataError::io(path))
}

fn whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), DataError> {
    let mut file = temporary(path)?;
    let mut buffered = BufWriter::new(&mut file);
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(DataError::io(path))?;
    drop(buffered);
    file.as_file().sync_all().map_err(DataError::io(path))?;
    persist(file, path)
}

fn persist(file: NamedTempFile, path: &Path) -> Result<(), DataError> {
    file.persist(path).map_err(|error| DataError::io(path)(error.error))?;
    Ok(())
}
