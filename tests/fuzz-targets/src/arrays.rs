//! Array files.

use std::fs;

use querist_core::Values;
use querist_data::{Kind, read_array};

use crate::runs::in_memory;

/// Values that a byte of a file can become at most: a zip member shrinks 1032 times, and a bit is no value.
const VALUES_A_BYTE: usize = 1100;

/// Two bytes that choose format, member and type, then a file.
pub fn arrays(data: &[u8]) {
    let Some((&[format, want], file)) = data.split_first_chunk() else { return };
    let name = ["a.npy", "a.npz", "a.safetensors", "a.npz#x", "a.safetensors#x"][usize::from(format) % 5];
    let want = [Kind::F32, Kind::U32, Kind::U64][usize::from(want) % 3];
    in_memory(|folder| {
        let path = name.split('#').next().unwrap_or(name);
        fs::write(folder.join(path), file).expect("the folder is ours");
        match read_array(&folder.join(name), Some("x"), want) {
            Ok(array) => {
                let (count, sum) = match array.values() {
                    Values::F32(values) => (values.len(), values.iter().map(|v| v.to_bits() as u64).fold(0, add)),
                    Values::U32(values) => (values.len(), values.iter().map(|&v| u64::from(v)).fold(0, add)),
                    Values::Far(source) => (source.rows() * source.width(), 0),
                    Values::U64(values) => (values.len(), values.iter().copied().fold(0, add)),
                };
                std::hint::black_box(sum);
                assert_eq!(array.shape().iter().product::<usize>(), count, "the shape does not fit");
                assert!(count <= VALUES_A_BYTE * file.len(), "{count} values of {} bytes", file.len());
            }
            Err(error) => drop(error.to_string()),
        }
    });
}

fn add(sum: u64, value: u64) -> u64 {
    sum.wrapping_add(value)
}
