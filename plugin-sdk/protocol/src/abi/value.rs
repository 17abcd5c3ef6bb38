//! How values of the tables are read and written.

use super::{Bytes, List};
use crate::{Fault, FaultCode, Numbered};

impl<T: Copy> List<T> {
    /// No values.
    pub const fn none() -> Self {
        Self { data: std::ptr::null(), count: 0 }
    }

    /// Copies the values.
    ///
    /// # Safety
    /// The host filled the list in, and was not called since.
    pub unsafe fn to_vec(&self) -> Vec<T> {
        if self.count == 0 {
            return Vec::new();
        }
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data, self.count) }.to_vec()
    }
}

/// A text padded with zeros to its room; what does not fit is cut off.
pub const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let (bytes, mut out, mut i) = (text.as_bytes(), [0; N], 0);
    // The last byte stays 0, so that every text ends.
    while i < bytes.len() && i + 1 < N {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// The text in a padded room, or `None` if it is not UTF-8.
pub fn unpadded(room: &[u8]) -> Option<&str> {
    let end = room.iter().position(|&byte| byte == 0).unwrap_or(room.len());
    std::str::from_utf8(&room[..end]).ok()
}

impl Bytes {
    /// Bytes that are there for as long as `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }

    /// # Safety
    /// `data` must be readable for `len` bytes for as long as the result is used, or `len` be 0.
    pub unsafe fn get<'a>(self) -> &'a [u8] {
        if self.len == 0 || self.data.is_null() {
            return &[];
        }
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }
}

/// A choice by its number.
///
/// # Errors
/// If there is none.
pub fn numbered<T: Numbered>(number: u32) -> Result<T, Fault> {
    let found = usize::try_from(number).ok().and_then(|at| T::ALL.get(at)).copied();
    found.ok_or_else(|| {
        let message = format!("{} {number}, expected 0 to {}", T::NAME, T::ALL.len() - 1);
        Fault::new(FaultCode::BadArgument, message)
    })
}
