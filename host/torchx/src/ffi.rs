//! The shim's functions, as `shim/shim.h` declares them.

use std::ffi::{CStr, c_char, c_void};

use tch::Tensor;

use crate::TorchError;

/// Address of an `at::Tensor`.
pub(crate) type TensorAddress = *const c_void;

unsafe extern "C" {
    pub(crate) fn querist_free(message: *mut c_char);
    pub(crate) fn querist_torch_version() -> *const c_char;
    pub(crate) fn querist_cuda_devices() -> i32;
    pub(crate) fn querist_keep_memory(bytes: i32);
    pub(crate) fn querist_set_threads(threads: i32) -> *mut c_char;
    pub(crate) fn querist_seed(seed: u64) -> *mut c_char;
    pub(crate) fn querist_reproducible(tf32_convolutions: bool) -> *mut c_char;
    pub(crate) fn querist_take_peak_memory(device: i32, bytes: *mut u64) -> *mut c_char;
    pub(crate) fn querist_sgd_step(
        parameters: *const TensorAddress,
        momenta: *const TensorAddress,
        count: usize,
        lr: f64,
        momentum: f64,
        weight_decay: f64,
        nesterov: bool,
        first: bool,
    ) -> *mut c_char;
    pub(crate) fn querist_adam_step(
        parameters: *const TensorAddress,
        means: *const TensorAddress,
        squares: *const TensorAddress,
        steps: *const TensorAddress,
        count: usize,
        lr: f64,
        beta1: f64,
        beta2: f64,
        eps: f64,
        weight_decay: f64,
        decoupled: bool,
    ) -> *mut c_char;
    pub(crate) fn querist_clamp_gradients(parameters: *const TensorAddress, count: usize, bound: f64) -> *mut c_char;
    pub(crate) fn querist_clip_gradients(parameters: *const TensorAddress, count: usize, bound: f64) -> *mut c_char;
    pub(crate) fn querist_lerp(
        tensors: *const TensorAddress,
        towards: *const TensorAddress,
        count: usize,
        weight: f64,
    ) -> *mut c_char;
    pub(crate) fn querist_clear_gradients(parameters: *const TensorAddress, count: usize) -> *mut c_char;
    pub(crate) fn querist_ambient_save(cuda: i32, ambient: *mut *mut c_void) -> *mut c_char;
    pub(crate) fn querist_ambient_restore(ambient: *const c_void) -> *mut c_char;
    pub(crate) fn querist_ambient_restore_random(ambient: *const c_void) -> *mut c_char;
    pub(crate) fn querist_ambient_free(ambient: *mut c_void);
    pub(crate) fn querist_bf16_enter(cuda: bool, autocast: *mut *mut c_void) -> *mut c_char;
    pub(crate) fn querist_bf16_leave(autocast: *mut c_void);
    pub(crate) fn querist_marks(tensors: *const TensorAddress, count: usize, marks: *mut u64) -> *mut c_char;
    pub(crate) fn querist_set_grad(enabled: bool) -> bool;
    pub(crate) fn querist_read_pickle(
        bytes: *const c_char,
        size: usize,
        context: *mut c_void,
        found: unsafe extern "C" fn(*mut c_void, *const c_char, usize, *mut c_void),
    ) -> *mut c_char;
    pub(crate) fn querist_script_load(
        bytes: *const c_char,
        size: usize,
        cuda: i32,
        module: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn querist_script_free(module: *mut c_void);
    pub(crate) fn querist_script_tensors(
        module: *mut c_void,
        context: *mut c_void,
        found: unsafe extern "C" fn(*mut c_void, *const c_char, usize, *mut c_void, bool),
    ) -> *mut c_char;
    pub(crate) fn querist_script_forward(
        module: *mut c_void,
        images: TensorAddress,
        mode: i32,
        name: *const c_char,
        name_size: usize,
        position: i64,
        output: *mut *mut c_void,
    ) -> *mut c_char;
}

/// Takes the message of a shim function over.
///
/// # Safety
/// `message` is null or what a shim function just returned.
pub(crate) unsafe fn checked(message: *mut c_char) -> Result<(), TorchError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the shim returns null or a text of its own that ends in 0 and is ours to free, once.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        querist_free(message);
        text
    };
    Err(TorchError(text))
}

/// The addresses of tensors, valid while those are borrowed.
pub(crate) fn addresses(tensors: &[Tensor]) -> Vec<TensorAddress> {
    tensors.iter().map(|tensor| tensor.as_ptr().cast()).collect()
}
