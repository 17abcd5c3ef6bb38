//! Files of columns that this program writes for itself to read again: `.safetensors` with a text in its header, and a
//! digest of the columns, so that what is cut or changed is seen.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;

use querist_files::{Links, shown};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::write::serialised;
use crate::error::DataError;

/// Keys of the header.
const TEXT: &str = "querist";
const DIGEST: &str = "sha256";
/// Bytes of such a file at most.
const MOST_BYTES: u64 = 64 << 30;

/// One column.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Column {
    F64(Vec<f64>),
    U64(Vec<u64>),
    Bytes(Vec<u8>),
}

impl Column {
    fn view(&self) -> (Dtype, usize, &[u8]) {
        match self {
            Self::F64(values) => (Dtype::F64, values.len(), bytemuck::cast_slice(values)),
            Self::U64(values) => (Dtype::U64, values.len(), bytemuck::cast_slice(values)),
            Self::Bytes(bytes) => (Dtype::U8, bytes.len(), bytes),
        }
    }

    fn of(dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        let words = || bytes.as_chunks::<8>().0.iter();
        Some(match dtype {
            Dtype::F64 => Self::F64(words().map(|word| f64::from_le_bytes(*word)).collect()),
            Dtype::U64 => Self::U64(words().map(|word| u64::from_le_bytes(*word)).collect()),
            Dtype::U8 => Self::Bytes(bytes.to_vec()),
            _ => return None,
        })
    }
}

/// Columns by name.
pub type Columns = BTreeMap<String, Column>;

/// Writes columns with a text, so that the file is there whole or not at all.
///
/// # Errors
/// If the disk refuses.
pub fn write_columns(path: &Path, text: &str, columns: &Columns) -> Result<(), DataError> {
    let mut views = BTreeMap::new();
    for (name, column) in columns {
        let (dtype, count, bytes) = column.view();
        let view = TensorView::new(dtype, vec![count], bytes);
        views.insert(name, view.map_err(|error| DataError::io(path)(std::io::Error::other(error)))?);
    }
    let header = [(TEXT, text.to_owned()), (DIGEST, digest(text, columns))];
    let header: HashMap<String, String> = header.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    serialised(path, views, Some(header))
}

/// Reads what [`write_columns`] wrote: the text, and the columns.
///
/// # Errors
/// If the file is none of these, or is not whole.
pub fn read_columns(path: &Path) -> Result<(String, Columns), DataError> {
    let bad = |found: String, expected: &str| DataError::malformed(shown(path), "", found, expected);
    let expected = "a whole file that `querist score` wrote";
    let bytes = querist_files::read(path, Links::Follow, MOST_BYTES)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| bad(error.to_string(), expected))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| bad(error.to_string(), expected))?;
    let key = |key: &str| header.metadata().as_ref().and_then(|header| header.get(key)).cloned();
    let (Some(text), Some(said)) = (key(TEXT), key(DIGEST)) else {
        return Err(bad("another `.safetensors` file".to_owned(), expected));
    };
    let mut columns = Columns::new();
    for (name, view) in tensors.tensors() {
        let column = Column::of(view.dtype(), view.data());
        let column = column.ok_or_else(|| bad(format!("values of type {:?}", view.dtype()), expected))?;
        columns.insert(name, column);
    }
    if digest(&text, &columns) != said {
        return Err(bad("content that is not what was written".to_owned(), expected));
    }
    Ok((text, columns))
}

fn digest(text: &str, columns: &Columns) -> String {
    let mut hash = Sha256::new();
    hash.update(text.as_bytes());
    for (name, column) in columns {
        let (_, count, bytes) = column.view();
        hash.update(name.as_bytes());
        hash.update((count as u64).to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
