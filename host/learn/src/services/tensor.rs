//! Tensors as addresses, lent or given away.

use std::mem::ManuallyDrop;

use querist_core::ServiceError;
use querist_protocol::abi;
use tch::Tensor;

use super::refuse;

/// Stands for no tensor.
pub(crate) fn none() -> abi::Tensor {
    std::ptr::null_mut()
}

/// Gives a tensor away.
pub(crate) fn given(tensor: Tensor) -> abi::Tensor {
    ManuallyDrop::new(tensor).as_mut_ptr().cast()
}

/// Lends a tensor for as long as it lives.
pub(crate) fn lend(tensor: &Tensor) -> abi::Tensor {
    tensor.as_ptr().cast_mut().cast()
}

/// Another name for a tensor that was lent.
///
/// # Safety
/// `tensor` is null or the address of a live tensor.
pub(super) unsafe fn lent(tensor: abi::Tensor) -> Result<Tensor, ServiceError> {
    if tensor.is_null() {
        return refuse("a tensor is missing: its address is null");
    }
    // SAFETY: promised by the caller.
    let tensor = unsafe { Tensor::clone_from_ptr(tensor.cast()) };
    if tensor.defined() { Ok(tensor) } else { refuse("a tensor is undefined") }
}

/// Takes a tensor that was given; `None` for a null address.
///
/// # Safety
/// `tensor` is null, or was given away and is used by nobody else.
pub(crate) unsafe fn taken(tensor: abi::Tensor) -> Option<Tensor> {
    // SAFETY: promised by the caller.
    (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor.cast()) })
}

/// Addresses in a room of fixed size, and how many there are.
pub(crate) fn array(tensors: impl Iterator<Item = abi::Tensor>) -> ([abi::Tensor; abi::MAX_STAGES], u32) {
    let (mut room, mut count) = ([none(); abi::MAX_STAGES], 0);
    for (place, tensor) in room.iter_mut().zip(tensors) {
        *place = tensor;
        count += 1;
    }
    (room, count)
}
