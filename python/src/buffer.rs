//! Arrays by Python's buffer protocol: NumPy, `array`, `memoryview`, and whatever else speaks it.
//!
//! Python declares the protocol as stable from 3.11 on, and has had the same functions and the same structure since
//! 3.0. They are declared here, so that one wheel serves 3.10 as well.

use std::ffi::{CStr, c_char, c_int, c_void};

use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use crate::view::{Element, View};

/// `Py_buffer`.
#[repr(C)]
struct Raw {
    buf: *mut c_void,
    obj: *mut PyObject,
    len: isize,
    itemsize: isize,
    readonly: c_int,
    ndim: c_int,
    format: *mut c_char,
    shape: *mut isize,
    strides: *mut isize,
    suboffsets: *mut isize,
    internal: *mut c_void,
}

// SAFETY: the functions of Python's C API of these names.
unsafe extern "C" {
    fn PyObject_CheckBuffer(object: *mut PyObject) -> c_int;
    fn PyObject_GetBuffer(object: *mut PyObject, view: *mut Raw, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut Raw);
}

/// Shape, strides and format; read-only memory will do.
const WANTED: c_int = 0x10 | 0x08 | 0x04;
/// Dimensions at most, as Python has it.
const MOST_DIMENSIONS: c_int = 64;

/// A buffer that is held. It stays in one place, since its exporter may point to it.
struct Held(Box<Raw>);

// SAFETY: it is released under Python's lock, whatever the thread.
unsafe impl Send for Held {}
// SAFETY: nothing of it changes until it is released.
unsafe impl Sync for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        // An interpreter that ends takes all memory with it.
        let _ = Python::try_attach(|_| {
            // SAFETY: it was filled by `PyObject_GetBuffer` and is released once.
            unsafe { PyBuffer_Release(&raw mut *self.0) }
        });
    }
}

/// Whether an object speaks the protocol.
pub fn has_one(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object lives, and the lock is held.
    unsafe { PyObject_CheckBuffer(object.as_ptr()) == 1 }
}

/// The values of an object, borrowed; or, in words, what its exporter or its format has against it.
pub fn view(object: &Bound<'_, PyAny>) -> Result<View, String> {
    // SAFETY: a structure of null pointers and zeros is valid, and is filled below.
    let mut raw: Box<Raw> = Box::new(unsafe { std::mem::zeroed() });
    // SAFETY: the object lives, the lock is held, and the structure has its final place.
    if unsafe { PyObject_GetBuffer(object.as_ptr(), &raw mut *raw, WANTED) } != 0 {
        return Err(PyErr::fetch(object.py()).to_string());
    }
    let held = Held(raw);
    let raw = &held.0;
    if !(0..=MOST_DIMENSIONS).contains(&raw.ndim) || !raw.suboffsets.is_null() {
        return Err("it is no plain block of memory".to_owned());
    }
    let format = match raw.format.is_null() {
        true => "B".to_owned(),
        // SAFETY: the exporter gave a text that lives as long as the buffer.
        false => unsafe { CStr::from_ptr(raw.format) }.to_string_lossy().into_owned(),
    };
    let element = element(&format, raw.itemsize)?;
    let dimensions = raw.ndim as usize;
    if dimensions > 0 && (raw.shape.is_null() || raw.strides.is_null()) {
        return Err("it has no shape".to_owned());
    }
    let values = |from: *mut isize| match dimensions {
        0 => Vec::new(),
        // SAFETY: so many extents and strides were asked for and are there.
        _ => unsafe { std::slice::from_raw_parts(from, dimensions) }.to_vec(),
    };
    let shape = values(raw.shape).into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| "it has a negative extent".to_owned())?;
    let (data, strides) = (raw.buf.cast_const().cast(), values(raw.strides));
    // SAFETY: the exporter keeps these values until the buffer is released.
    Ok(unsafe { View::new(data, shape, strides, element, Box::new(held)) })
}

/// The type that a format of the module `struct` means.
fn element(format: &str, size: isize) -> Result<Element, String> {
    let code = match format.strip_prefix(['@', '=', '<']) {
        Some(code) => code,
        None if format.starts_with(['>', '!']) => return Err(format!("its bytes are in another order (`{format}`)")),
        None => format,
    };
    let found = match (code, size) {
        ("e", 2) => Element::F16,
        ("f", 4) => Element::F32,
        ("d", 8) => Element::F64,
        ("?", 1) => Element::Bool,
        ("b", 1) => Element::I8,
        ("h" | "i" | "l" | "q" | "n", 2) => Element::I16,
        ("h" | "i" | "l" | "q" | "n", 4) => Element::I32,
        ("h" | "i" | "l" | "q" | "n", 8) => Element::I64,
        ("B" | "c", 1) => Element::U8,
        ("H" | "I" | "L" | "Q" | "N", 2) => Element::U16,
        ("H" | "I" | "L" | "Q" | "N", 4) => Element::U32,
        ("H" | "I" | "L" | "Q" | "N", 8) => Element::U64,
        _ => return Err(format!("its values are of the format `{format}`")),
    };
    Ok(found)
}
