//! Modules of TorchScript: networks with their code in one file, as `torch.jit.save` writes them.

use std::ffi::{c_char, c_void};
use std::ptr::null_mut;
use std::slice;

use tch::{Device, Tensor};

use crate::TorchError;
use crate::ffi;

/// A loaded module. Its code runs when it is called, and is trusted as a library is.
pub struct Script {
    module: *mut c_void,
}

/// How a forward pass treats dropout, batch-norm and whatever else knows training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptMode {
    /// As in evaluation.
    Eval,
    /// As in training.
    Train,
    /// As in training, with buffers that stay as they are.
    TrainStill,
}

/// Which of its outputs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptOutput<'a> {
    /// An entry of the dictionary.
    Name(&'a str),
    /// An element of the tuple, or 0 for the only output.
    Position(u32),
}

/// A tensor of a module.
#[derive(Debug)]
pub struct ScriptTensor {
    /// Its name, with the names of the modules that hold it.
    pub name: String,
    /// The tensor, which shares the module's storage.
    pub tensor: Tensor,
    /// Whether it is a parameter; else a buffer.
    pub is_parameter: bool,
}

impl Script {
    /// Loads a file from memory.
    ///
    /// # Errors
    /// With libtorch's message, if it is no such file or there is no such device.
    pub fn load(bytes: &[u8], device: Device) -> Result<Self, TorchError> {
        let cuda = match device {
            Device::Cuda(number) => i32::try_from(number).map_err(|_| TorchError(format!("no device {number}")))?,
            _ => -1,
        };
        let mut module = null_mut();
        // SAFETY: the bytes are borrowed for the call, which copies what it keeps; `module` is a place for the result.
        unsafe { ffi::checked(ffi::querist_script_load(bytes.as_ptr().cast(), bytes.len(), cuda, &raw mut module))? };
        Ok(Self { module })
    }

    /// Its parameters, then its buffers.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn tensors(&self) -> Result<Vec<ScriptTensor>, TorchError> {
        let mut found: Vec<ScriptTensor> = Vec::new();
        let context: *mut Vec<ScriptTensor> = &raw mut found;
        // SAFETY: the module lives; `keep` is called with this context within the call alone.
        unsafe { ffi::checked(ffi::querist_script_tensors(self.module, context.cast(), keep))? };
        Ok(found)
    }

    /// An output of a forward pass, recorded for gradients where those are on.
    ///
    /// # Errors
    /// With libtorch's message, if the module does not take the images or has no such output.
    pub fn forward(&self, images: &Tensor, mode: ScriptMode, output: ScriptOutput<'_>) -> Result<Tensor, TorchError> {
        let (name, position) = match output {
            ScriptOutput::Name(name) => (name, 0),
            ScriptOutput::Position(position) => ("", i64::from(position)),
        };
        let mode = match mode {
            ScriptMode::Eval => 0,
            ScriptMode::Train => 1,
            ScriptMode::TrainStill => 2,
        };
        let (images, mut output) = (images.as_ptr().cast(), null_mut());
        let (text, length) = (name.as_ptr().cast(), name.len());
        // SAFETY: module, tensor and name live through the call; a tensor that it gives is ours.
        unsafe {
            ffi::checked(ffi::querist_script_forward(
                self.module,
                images,
                mode,
                text,
                length,
                position,
                &raw mut output,
            ))?;
            Ok(Tensor::from_ptr(output.cast()))
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // SAFETY: the shim made it, and nobody else frees it.
        unsafe { ffi::querist_script_free(self.module) }
    }
}

// SAFETY: libtorch ties a module to no thread, and it is not `Sync`: one thread uses it at a time.
unsafe impl Send for Script {}

/// # Safety
/// `context` is that of [`Script::tensors`], `name` has `length` bytes, and `tensor` is an `at::Tensor` that nobody
/// else frees.
unsafe extern "C" fn keep(
    context: *mut c_void,
    name: *const c_char,
    length: usize,
    tensor: *mut c_void,
    is_parameter: bool,
) {
    // SAFETY: as promised; nothing here unwinds.
    let (found, name, tensor) = unsafe {
        let found = &mut *context.cast::<Vec<ScriptTensor>>();
        (found, slice::from_raw_parts(name.cast::<u8>(), length), Tensor::from_ptr(tensor.cast()))
    };
    let name = String::from_utf8_lossy(name).into_owned();
    found.push(ScriptTensor { name, tensor, is_parameter });
}
