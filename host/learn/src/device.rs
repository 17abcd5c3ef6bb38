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

/// What a device is called in records.
pub(crate) fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => CPU.to_owned(),
    }
}

/// The devices that share the work of `first`, by name: other GPUs, or the CPU again.
///
/// # Errors
/// If one cannot be used, is another kind of device, or a GPU that is named twice.
pub(crate) fn parse_others(first: Device, names: &[String], cuda: &Cuda) -> Result<Vec<Device>, LearnError> {
    let mut devices = vec![first];
    for name in names {
        let device = parse(name, cuda)?;
        if device.is_cuda() != first.is_cuda() {
            return config(format!("`{name}` stands beside another kind of device: name GPUs alone, or `cpu` alone"));
        }
        if device.is_cuda() && devices.contains(&device) {
            return config(format!("`{name}` is named twice; a GPU shares its work with others, not with itself"));
        }
        devices.push(device);
    }
    Ok(devices.split_off(1))
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
    #[test]
    fn several_devices_are_of_one_kind_and_distinct() {
        let three = Cuda::Loaded { devices: 3 };
        let others = |first: Device, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            parse_others(first, &names, &three).map_err(|error| error.to_string())
        };
        assert_eq!(others(Device::Cuda(0), &["cuda:2", "cuda:1"]).unwrap(), [Device::Cuda(2), Device::Cuda(1)]);
        assert_eq!(others(Device::Cpu, &["cpu", "cpu"]).unwrap(), [Device::Cpu; 2]);
        assert_eq!(others(Device::Cpu, &[]).unwrap(), []);
        for (first, names, said) in [
            (Device::Cuda(0), &["cuda:1", "cuda:1"][..], "`cuda:1` is named twice"),
            (Device::Cuda(0), &["cuda"], "`cuda` is named twice"),
            (Device::Cuda(0), &["cuda:3"], "no device `cuda:3`"),
            (Device::Cuda(0), &["cpu"], "`cpu` stands beside another kind"),
            (Device::Cpu, &["cuda:0"], "`cuda:0` stands beside another kind"),
        ] {
            let error = others(first, names).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
