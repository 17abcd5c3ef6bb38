//! Devices by name.

use querist_core::LearnError;
use querist_torchx::runtime::Cuda;
use tch::Device;

use crate::fault::config;

/// The name of the device that every machine has.
pub const CPU: &str = "cpu";

/// The device that `compute.device` or `--device` names: `cpu`, `cuda` (the first GPU) or `cuda:N`.
///
/// # Errors
/// If the name means nothing, or the GPU cannot be used; the message says what is missing.
pub(crate) fn parse(name: &str, cuda: &Cuda) -> Result<Device, LearnError> {
    let index = match name.split_once(':') {
        None if name == CPU => return Ok(Device::Cpu),
        None if name == "cuda" => Some(0),
        Some(("cuda", digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    };
    let Some(index) = index else {
        return config(format!("there is no device `{name}`, expected `cpu`, `cuda` or `cuda:N`"));
    };
    match cuda.devices() {
        0 => config(format!("device `{name}` cannot be used: {cuda}; use `cpu`, or a libtorch and driver for GPUs")),
        n if index >= n => config(format!("there is no device `{name}`: the last GPU is `cuda:{}`", n - 1)),
        _ => Ok(Device::Cuda(index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_checked_against_the_machine() {
        let two = Cuda::Loaded { devices: 2 };
        for (name, device) in [("cpu", Device::Cpu), ("cuda", Device::Cuda(0)), ("cuda:1", Device::Cuda(1))] {
            assert_eq!(parse(name, &two).unwrap(), device);
        }
        for name in ["", "gpu", "cuda:", "cuda:+1", "cuda:x", "cuda:99999999999999999999", "cpu:0", "CPU", "cuda:2"] {
            assert!(matches!(parse(name, &two), Err(LearnError::Config(_))), "{name}");
        }
        let error = parse("cuda:0", &Cuda::NotInstalled).unwrap_err().to_string();
        assert!(error.contains("libtorch_cuda.so"), "{error}");
        assert_eq!(parse("cpu", &Cuda::NotInstalled).unwrap(), Device::Cpu);
    }
}
