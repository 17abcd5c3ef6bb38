//! libtorch's own random generator, and what else decides whether results repeat.

use crate::TorchError;
use crate::ffi;

/// Seeds the generators of every device. The CPU's generator uses the low 32 bits only.
///
/// # Errors
/// If libtorch refuses, or the CPU's generator does not hold the seed afterwards.
pub fn seed(seed: u64) -> Result<(), TorchError> {
    crate::runtime::init();
    // SAFETY: the message is the shim's.
    unsafe { ffi::checked(ffi::querist_seed(seed)) }
}

/// Switches to deterministic kernels where libtorch has them, and to full float32 precision on GPUs; convolutions there
/// round their factors to 11 bits if `tf32_convolutions`.
///
/// An operation without a deterministic form goes on with a warning from libtorch on standard error.
///
/// # Errors
/// If libtorch refuses.
pub fn reproducible(tf32_convolutions: bool) -> Result<(), TorchError> {
    crate::runtime::init();
    // SAFETY: the message is the shim's.
    unsafe { ffi::checked(ffi::querist_reproducible(tf32_convolutions)) }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn a_seed_decides_every_draw_after_it() {
        let draw = |value| {
            seed(value).unwrap();
            Vec::<f32>::try_from(Tensor::rand([100], (Kind::Float, Device::Cpu))).unwrap()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
