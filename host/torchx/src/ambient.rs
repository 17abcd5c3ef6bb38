//! What code on a thread may move and must find as it was: grad mode, thread count, default dtype, generators, tensors.

use std::ffi::c_void;
use std::ptr::null_mut;

use tch::Tensor;

use crate::TorchError;
use crate::ffi::{self, addresses};

/// Grad mode, autocast, thread count, default dtype and the states of the random generators, at one time.
pub struct Ambient {
    saved: *mut c_void,
}

impl Ambient {
    /// How things are now on this thread, with the generators of the CPU and of the GPU of number `cuda`.
    ///
    /// # Errors
    /// If there is no such GPU.
    pub fn save(cuda: Option<usize>) -> Result<Self, TorchError> {
        let cuda = match cuda {
            None => -1,
            Some(n) => i32::try_from(n).map_err(|_| TorchError(format!("no CUDA device has number {n}")))?,
        };
        let mut saved = null_mut();
        // SAFETY: `saved` is a live place for the result; the message is the shim's.
        unsafe { ffi::checked(ffi::querist_ambient_save(cuda, &mut saved)) }?;
        Ok(Self { saved })
    }

    /// Puts everything back as it was.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn restore(&self) -> Result<(), TorchError> {
        // SAFETY: `saved` came from the shim and lives as long as `self`.
        unsafe { ffi::checked(ffi::querist_ambient_restore(self.saved)) }
    }

    /// Puts the random generators back, and nothing else.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn restore_random(&self) -> Result<(), TorchError> {
        // SAFETY: as above.
        unsafe { ffi::checked(ffi::querist_ambient_restore_random(self.saved)) }
    }
}

impl Drop for Ambient {
    fn drop(&mut self) {
        // SAFETY: made by the shim, freed once.
        unsafe { ffi::querist_ambient_free(self.saved) };
    }
}

// SAFETY: it holds numbers and tensors of its own, which libtorch lets any thread use.
unsafe impl Send for Ambient {}

/// Marks of tensors by which later changes show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks(Vec<[u64; 3]>);

impl Marks {
    /// Marks of these tensors now.
    ///
    /// They see writes that libtorch counts (whatever goes through its in-place operations), other storage, and a
    /// changed wish for gradients. Writes past libtorch, by address or through `Tensor::data`, are not seen.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn of(tensors: &[Tensor]) -> Result<Self, TorchError> {
        let mut marks = vec![[0; 3]; tensors.len()];
        let tensors = addresses(tensors);
        // SAFETY: the list holds addresses of live tensors, and there is room for three numbers each.
        unsafe { ffi::checked(ffi::querist_marks(tensors.as_ptr(), tensors.len(), marks.as_mut_ptr().cast())) }?;
        Ok(Self(marks))
    }

    /// Positions of the tensors that changed between the two.
    pub fn changed(&self, later: &Self) -> Vec<usize> {
        let pairs = self.0.iter().zip(&later.0).enumerate();
        pairs.filter(|(_, (before, after))| before != after).map(|(at, _)| at).collect()
    }
}

/// Grad mode of this thread until it is dropped, also when that is by a panic.
pub struct GradMode {
    before: bool,
}

impl GradMode {
    /// Switches the recording of gradients on or off.
    pub fn set(enabled: bool) -> Self {
        // SAFETY: takes and returns a flag of this thread.
        Self { before: unsafe { ffi::querist_set_grad(enabled) } }
    }
}

impl Drop for GradMode {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { ffi::querist_set_grad(self.before) };
    }
}

/// Convolutions and products of this thread in bfloat16 until it is dropped, also when that is by a panic.
pub struct Bf16 {
    before: *mut c_void,
}

impl Bf16 {
    /// Switches it on, for tensors on GPUs or on the CPU.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn enter(cuda: bool) -> Result<Self, TorchError> {
        let mut before = null_mut();
        // SAFETY: `before` is a live place for the result; the message is the shim's.
        unsafe { ffi::checked(ffi::querist_bf16_enter(cuda, &mut before)) }?;
        Ok(Self { before })
    }
}

impl Drop for Bf16 {
    fn drop(&mut self) {
        // SAFETY: made by the shim, given back once. It belongs to this thread: a pointer is not `Send`.
        unsafe { ffi::querist_bf16_leave(self.before) };
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn draw() -> Vec<f32> {
        Vec::try_from(Tensor::rand([5], (Kind::Float, Device::Cpu))).unwrap()
    }

    #[test]
    fn everything_is_put_back() {
        crate::runtime::set_threads(1).unwrap();
        crate::random::seed(3).unwrap();
        let before = Ambient::save(None).unwrap();
        let expected = draw();
        let _left_off = std::mem::ManuallyDrop::new(GradMode::set(false));
        crate::runtime::set_threads(2).unwrap();
        before.restore().unwrap();
        assert_eq!(draw(), expected);
        assert_eq!(tch::get_num_threads(), 1);
        assert!(GradMode::set(true).before, "grad mode is on again");
        before.restore_random().unwrap();
        assert_eq!(draw(), expected);
    }

    #[test]
    fn products_lose_bits_while_it_is_on_and_see_new_weights() {
        crate::runtime::set_threads(1).unwrap();
        let weight = Tensor::full([4, 4], 1.0 + 1.0 / 1024.0, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let product = || weight.matmul(&Tensor::ones([4, 1], (Kind::Float, Device::Cpu)));
        let (exact, rounded, again) = (
            product(),
            {
                let _on = Bf16::enter(false).unwrap();
                product()
            },
            product(),
        );
        assert_eq!([exact.kind(), rounded.kind(), again.kind()], [Kind::Float, Kind::BFloat16, Kind::Float]);
        assert_eq!([exact.double_value(&[0, 0]), rounded.double_value(&[0, 0])], [4.00390625, 4.0]);
        let _ = tch::no_grad(|| weight.shallow_clone().fill_(2.0));
        let _on = Bf16::enter(false).unwrap();
        assert_eq!(product().double_value(&[0, 0]), 8.0);
    }

    #[test]
    fn marks_see_writes_and_flags() {
        crate::runtime::set_threads(1).unwrap();
        let tensors: Vec<Tensor> = (0..4).map(|i| Tensor::full([2], i, (Kind::Float, Device::Cpu))).collect();
        let before = Marks::of(&tensors).unwrap();
        let _ = tensors[0].shallow_clone() + 1.0;
        assert_eq!(before.changed(&Marks::of(&tensors).unwrap()), [0usize; 0]);
        let _ = tensors[1].detach().fill_(5.0);
        let _ = tensors[2].shallow_clone().set_requires_grad(true);
        tensors[3].shallow_clone().set_data(&Tensor::zeros([2], (Kind::Float, Device::Cpu)));
        assert_eq!(before.changed(&Marks::of(&tensors).unwrap()), [1, 2, 3]);
    }
}
