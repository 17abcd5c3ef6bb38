//! Arrays by DLPack: PyTorch, JAX, CuPy, and whatever else speaks it. A tensor in the memory of the CPU is borrowed.

use std::ffi::{CStr, c_void};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::view::{Element, View};

/// Memory of the CPU, and such that a device may reach, too.
const ON_CPU: [i32; 2] = [1, 3];
/// Dimensions at most; more is no array of anybody's.
const MOST_DIMENSIONS: i32 = 64;

#[repr(C)]
#[derive(Clone, Copy)]
struct Device {
    kind: i32,
    number: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct DataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device: Device,
    ndim: i32,
    dtype: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct Managed {
    tensor: Tensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Managed)>,
}

/// A tensor that is held until it is given back.
struct Held(*mut Managed);

// SAFETY: a tensor may be given back on any thread; here under Python's lock.
unsafe impl Send for Held {}
// SAFETY: nothing of it changes until it is given back.
unsafe impl Sync for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = Python::try_attach(|_| {
            // SAFETY: the capsule handed the tensor over, and it is given back once.
            unsafe {
                if let Some(deleter) = (*self.0).deleter {
                    deleter(self.0);
                }
            }
        });
    }
}

/// Where an object that speaks DLPack lies: whether the CPU reaches it. `None` of one that does not speak it.
pub fn is_on_cpu(object: &Bound<'_, PyAny>) -> Option<PyResult<bool>> {
    let device = object.getattr("__dlpack_device__").ok()?;
    let kind = device.call0().and_then(|device| device.extract::<(i32, i32)>());
    Some(kind.map(|(kind, _)| ON_CPU.contains(&kind)))
}

/// The values of an object on the CPU, borrowed; or, in words, what speaks against it.
pub fn view(object: &Bound<'_, PyAny>) -> Result<View, String> {
    const NAME: &CStr = c"dltensor";
    const USED: &CStr = c"used_dltensor";
    let py = object.py();
    let capsule = object.call_method0("__dlpack__").map_err(|error| error.value(py).to_string())?;
    // SAFETY: the capsule lives, the lock is held, and the name is that of tensors that nobody took yet.
    let managed = unsafe {
        if ffi::PyCapsule_IsValid(capsule.as_ptr(), NAME.as_ptr()) != 1 {
            return Err("its `__dlpack__` gives no tensor".to_owned());
        }
        let managed = ffi::PyCapsule_GetPointer(capsule.as_ptr(), NAME.as_ptr()).cast::<Managed>();
        if ffi::PyCapsule_SetName(capsule.as_ptr(), USED.as_ptr()) != 0 {
            return Err(PyErr::fetch(py).to_string());
        }
        managed
    };
    let held = Held(managed);
    // SAFETY: the tensor is ours from here on.
    let tensor = unsafe { &(*held.0).tensor };
    if !ON_CPU.contains(&tensor.device.kind) || !(0..=MOST_DIMENSIONS).contains(&tensor.ndim) {
        return Err("its `__dlpack__` gives a tensor that cannot be read here".to_owned());
    }
    let (element, dimensions) = (element(tensor.dtype)?, tensor.ndim as usize);
    if dimensions > 0 && tensor.shape.is_null() {
        return Err("its `__dlpack__` gives a tensor without a shape".to_owned());
    }
    let values = |from: *mut i64| match dimensions {
        0 => Vec::new(),
        // SAFETY: so many extents and strides are there, where there are any.
        _ => unsafe { std::slice::from_raw_parts(from, dimensions) }.to_vec(),
    };
    let shape: Result<Vec<usize>, _> = values(tensor.shape).into_iter().map(usize::try_from).collect();
    let shape = shape.map_err(|_| "it has a negative extent".to_owned())?;
    let size = element.bytes() as isize;
    let strides = match tensor.strides.is_null() {
        true => in_order(&shape, size),
        false => values(tensor.strides).into_iter().map(|stride| stride as isize * size).collect(),
    };
    let offset = usize::try_from(tensor.byte_offset).map_err(|_| "it begins beyond all memory".to_owned())?;
    let data = tensor.data.cast_const().cast::<u8>().wrapping_add(offset);
    // SAFETY: the library keeps these values until the tensor is given back.
    Ok(unsafe { View::new(data, shape, strides, element, Box::new(held)) })
}

/// Strides of values that stand one behind the other.
fn in_order(shape: &[usize], size: isize) -> Vec<isize> {
    let mut strides = vec![size; shape.len()];
    for at in (0..shape.len().saturating_sub(1)).rev() {
        strides[at] = strides[at + 1] * shape[at + 1] as isize;
    }
    strides
}

fn element(found: DataType) -> Result<Element, String> {
    let DataType { code, bits, lanes } = found;
    match (code, bits, lanes) {
        (0, 8, 1) => Ok(Element::I8),
        (0, 16, 1) => Ok(Element::I16),
        (0, 32, 1) => Ok(Element::I32),
        (0, 64, 1) => Ok(Element::I64),
        (1, 8, 1) => Ok(Element::U8),
        (1, 16, 1) => Ok(Element::U16),
        (1, 32, 1) => Ok(Element::U32),
        (1, 64, 1) => Ok(Element::U64),
        (2, 16, 1) => Ok(Element::F16),
        (2, 32, 1) => Ok(Element::F32),
        (2, 64, 1) => Ok(Element::F64),
        (4, 16, 1) => Ok(Element::Bf16),
        (6, 8, 1) => Ok(Element::Bool),
        (5, ..) => Err("its values are complex".to_owned()),
        _ => Err(format!("its values are of a type that is not known here (code {code}, {bits} bits)")),
    }
}
