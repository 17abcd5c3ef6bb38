//! Room for the values of arrays: in memory while they are within their limit, then in a file.
//!
//! The file has no name from the start, so that it goes when the array does, also where the process is killed. Its
//! blocks are reserved before it is mapped: a full disk is an error here instead of a crash at the first write.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use memmap2::MmapMut;
use querist_core::{Buffer, LearnError};
use rustix::fs::{FallocateFlags, fallocate};

use crate::fault::config;

/// Where room is made, and how much of it in memory.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: Option<PathBuf>,
    /// Bytes that may still be taken from memory.
    left: Cell<u64>,
}

impl Scratch {
    /// Memory without a limit.
    pub(crate) fn memory() -> Self {
        Self { folder: None, left: Cell::new(u64::MAX) }
    }

    /// `limit` bytes of memory, then files in `folder`.
    pub(crate) fn new(folder: &Path, limit: u64) -> Self {
        Self { folder: Some(folder.to_owned()), left: Cell::new(limit) }
    }

    /// Room for `len` values, all 0.
    ///
    /// # Errors
    /// If there is no room on the disk.
    pub(crate) fn rows(&self, len: usize) -> Result<Rows, LearnError> {
        let bytes = len as u64 * size_of::<f32>() as u64;
        match (&self.folder, self.left.get().checked_sub(bytes)) {
            (Some(folder), None) => Ok(Rows::File(mapped(folder, bytes)?)),
            (_, left) => {
                self.left.set(left.unwrap_or(0));
                Ok(Rows::Memory(vec![0.0; len]))
            }
        }
    }
}

#[expect(unsafe_code, reason = "mapping a file is the only way to keep more than fits into memory")]
fn mapped(folder: &Path, bytes: u64) -> Result<MmapMut, LearnError> {
    let fail = |error: &dyn std::fmt::Display| {
        let folder = folder.display();
        config(format!(
            "no room for an array of {bytes} bytes in {folder}: {error}; free some there, raise `compute.memory`, or \
             set `strategy.subset_size`"
        ))
    };
    let file = match tempfile::tempfile_in(folder) {
        Ok(file) => file,
        Err(error) => return fail(&error),
    };
    if let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        return fail(&error);
    }
    // SAFETY: the file has no name, so nobody else can change or cut it.
    unsafe { MmapMut::map_mut(&file) }.or_else(|error| fail(&error))
}

/// Values of an array while they are filled in.
#[derive(Debug)]
pub(crate) enum Rows {
    Memory(Vec<f32>),
    File(MmapMut),
}

impl Default for Rows {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl Deref for Rows {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Memory(values) => values,
            Self::File(map) => bytemuck::cast_slice(map),
        }
    }
}

impl DerefMut for Rows {
    fn deref_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Memory(values) => values,
            Self::File(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

impl AsRef<[f32]> for Rows {
    fn as_ref(&self) -> &[f32] {
        self
    }
}

impl Rows {
    /// The values in memory.
    pub(crate) fn into_vec(self) -> Vec<f32> {
        match self {
            Self::Memory(values) => values,
            Self::File(_) => self.to_vec(),
        }
    }

    /// The values, to be read from now on.
    pub(crate) fn into_buffer(self) -> Buffer<f32> {
        Buffer::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_limit_lies_in_files_without_names() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path(), 4 * 100);
        let mut rows: Vec<Rows> = [60, 50, 40, 1].map(|len| scratch.rows(len).unwrap()).into();
        let in_memory: Vec<bool> = rows.iter().map(|rows| matches!(rows, Rows::Memory(_))).collect();
        assert_eq!(in_memory, [true, false, true, false]);
        for rows in &mut rows {
            assert!(rows.iter().all(|&value| value == 0.0));
            let last = rows.len() - 1;
            rows[last] = 3.5;
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let buffer = rows.remove(1).into_buffer();
        assert_eq!((buffer.len(), buffer[48], buffer[49]), (50, 0.0, 3.5));
        assert_eq!(scratch.rows(0).unwrap().len(), 0);
    }

    #[test]
    fn a_full_disk_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Scratch::new(folder.path(), 0).rows(1 << 55).unwrap_err().to_string();
        assert!(error.contains("no room for an array of 144115188075855872 bytes") && error.contains("compute.memory"));
        let gone = Scratch::new(Path::new("/nowhere"), 0).rows(1).unwrap_err().to_string();
        assert!(gone.contains("in /nowhere"), "{gone}");
    }
}
