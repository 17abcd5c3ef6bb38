//! Files that `torch.save` wrote.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::slice;

use tch::Tensor;

use crate::TorchError;
use crate::ffi;

/// The tensors of a dictionary that `torch.save` wrote as a zip archive (PyTorch 1.6 and later), by name, on the CPU. A
/// dictionary in its entry `state_dict`, `model` or `model_state_dict` is looked into. No code of the file runs.
///
/// # Errors
/// If it is no such archive, or holds objects other than tensors, numbers, texts, lists, tuples and dictionaries.
pub fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, TorchError> {
    let mut tensors = BTreeMap::new();
    let context: *mut BTreeMap<String, Tensor> = &mut tensors;
    // SAFETY: the bytes are borrowed for the call, in which alone `keep` is called, with this context.
    unsafe {
        ffi::checked(ffi::querist_read_pickle(bytes.as_ptr().cast(), bytes.len(), context.cast(), keep))?;
    }
    Ok(tensors)
}

/// # Safety
/// `context` is that of [`tensors`], `name` has `length` bytes, and `tensor` is an `at::Tensor` that nobody else frees.
unsafe extern "C" fn keep(context: *mut c_void, name: *const c_char, length: usize, tensor: *mut c_void) {
    // SAFETY: as promised; nothing here unwinds.
    let (tensors, name, tensor) = unsafe {
        let tensors = &mut *context.cast::<BTreeMap<String, Tensor>>();
        (tensors, slice::from_raw_parts(name.cast::<u8>(), length), Tensor::from_ptr(tensor.cast()))
    };
    tensors.insert(String::from_utf8_lossy(name).into_owned(), tensor);
}
