//! Arrays as DLPack tensors: the exchange format of array libraries, version 1.
//!
//! Layouts are those of `dlpack.h`, version 1.0. A tensor lent here is read-only, compact and row-major.

use std::ffi::c_void;

use querist_core::{Array, Values};
use querist_protocol::{Fault, FaultCode};

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct Managed {
    version: [u32; 2],
    manager: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Managed)>,
    flags: u64,
    tensor: Plain,
}

/// `DLTensor`.
#[repr(C)]
struct Plain {
    data: *mut c_void,
    device: Device,
    dimensions: i32,
    kind: Kind,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct Device {
    kind: i32,
    id: i32,
}

#[repr(C)]
struct Kind {
    code: u8,
    bits: u8,
    lanes: u16,
}

const CPU: i32 = 1;
const READ_ONLY: u64 = 1;
const UNSIGNED: u8 = 1;
const FLOAT: u8 = 2;

/// What a lent tensor keeps alive.
struct Owner {
    _array: Array,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

/// Lends an array; the tensor's `deleter` gives it back.
pub(super) fn lend(array: &Array) -> Result<*mut c_void, Fault> {
    let (data, code, bits): (*const c_void, u8, u8) = match array.values() {
        Values::F32(values) => (values.as_ptr().cast(), FLOAT, 32),
        Values::U32(values) => (values.as_ptr().cast(), UNSIGNED, 32),
        Values::U64(values) => (values.as_ptr().cast(), UNSIGNED, 64),
        Values::Far(_) => {
            let message = "an array that is read from shards is not lent whole; read blocks of it, or call kernels";
            return Err(Fault::new(FaultCode::BadArgument, message));
        }
        #[expect(unreachable_patterns, reason = "kinds may be added")]
        other => {
            let message = format!("arrays of {} do not cross", other.type_name());
            return Err(Fault::new(FaultCode::BadArgument, message));
        }
    };
    let shape: Vec<i64> = array.shape().iter().map(|&n| n as i64).collect();
    let mut strides = vec![1i64; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    let mut owner = Box::new(Owner { _array: array.clone(), shape, strides });
    let tensor = Plain {
        data: data.cast_mut(),
        device: Device { kind: CPU, id: 0 },
        dimensions: owner.shape.len() as i32,
        kind: Kind { code, bits, lanes: 1 },
        shape: owner.shape.as_mut_ptr(),
        strides: owner.strides.as_mut_ptr(),
        byte_offset: 0,
    };
    let manager = Box::into_raw(owner).cast();
    let managed = Managed { version: [1, 0], manager, deleter: Some(give_back), flags: READ_ONLY, tensor };
    Ok(Box::into_raw(Box::new(managed)).cast())
}

unsafe extern "C" fn give_back(managed: *mut Managed) {
    if managed.is_null() {
        return;
    }
    // SAFETY: both boxes were made by `lend`, and DLPack allows one call of the deleter.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.manager.cast::<Owner>()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_array_is_the_array_itself() {
        let array = Array::f32(vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let managed: *mut Managed = lend(&array).unwrap().cast();
        // SAFETY: just lent.
        let lent = unsafe { &*managed };
        assert_eq!((lent.version, lent.flags), ([1, 0], READ_ONLY));
        assert_eq!((lent.tensor.kind.code, lent.tensor.kind.bits, lent.tensor.kind.lanes), (FLOAT, 32, 1));
        // SAFETY: two dimensions, as said.
        let (shape, strides) = unsafe {
            (std::slice::from_raw_parts(lent.tensor.shape, 2), std::slice::from_raw_parts(lent.tensor.strides, 2))
        };
        assert_eq!((lent.tensor.dimensions, shape, strides), (2, &[2i64, 3][..], &[3i64, 1][..]));
        assert_eq!(lent.tensor.data.cast_const().cast::<f32>(), array.as_f32().unwrap().as_ptr(), "no copy");
        drop(array);
        // SAFETY: the tensor keeps its array alive.
        assert_eq!(unsafe { *lent.tensor.data.cast::<f32>().add(5) }, 5.0);
        // SAFETY: once.
        unsafe { (lent.deleter.unwrap())(managed) };
    }
}
