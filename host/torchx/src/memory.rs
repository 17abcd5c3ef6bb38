//! How much memory a device holds.

use crate::TorchError;
use crate::ffi;

/// The most bytes that tensors on a CUDA device held at once since the last call.
///
/// # Errors
/// If there is no such device.
pub fn take_peak(device: usize) -> Result<u64, TorchError> {
    let device = i32::try_from(device).map_err(|_| TorchError(format!("no CUDA device has number {device}")))?;
    let mut bytes = 0;
    // SAFETY: `bytes` is a live place for the result; the message is the shim's.
    unsafe { ffi::checked(ffi::querist_take_peak_memory(device, &mut bytes)) }?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        crate::runtime::init();
        assert!(take_peak(63).is_err());
        assert!(take_peak(usize::MAX).is_err());
    }
}
