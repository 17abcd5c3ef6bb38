//! Makes `.onnxruntime` exist: the library that runs ONNX files. Nothing else needs it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::setup::step;
use crate::wheels::{self, Wheel};

/// Of the version that `ort` is asked for in the root `Cargo.toml`, or a later one.
const VERSION: &str = "1.24.4";

/// Where the library lies in the folder, under the name that is looked for.
const LIBRARY: &str = "lib/libonnxruntime.so";

/// The folder.
pub const FOLDER: &str = ".onnxruntime";

const WHEELS: [Wheel; 1] = [Wheel {
    requirement: "onnxruntime==1.24.4",
    sha256: "0d640eb9f3782689b55cfa715094474cd5662f2f137be6a6f847a594b6e9705c",
    libraries: &["onnxruntime/capi/libonnxruntime.so.1.24.4"],
    headers: None,
}];

/// Makes `.onnxruntime` exist; does nothing where it does.
///
/// # Errors
/// If it cannot be fetched.
pub fn setup(root: &Path) -> Result<()> {
    if std::env::var_os("QUERIST_ONNXRUNTIME").is_some() {
        step("QUERIST_ONNXRUNTIME is exported: ONNX Runtime is there");
        return Ok(());
    }
    let target = root.join(FOLDER);
    if !target.join(LIBRARY).is_file() {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            bail!(
                "ONNX Runtime is fetched for x86_64 Linux only. Here, install `onnxruntime` {VERSION} or later for \
                 Python, and export QUERIST_ONNXRUNTIME with the path of the library in it"
            );
        }
        step(&format!("downloading ONNX Runtime {VERSION}, 17 MB, once"));
        wheels::fetch(&WHEELS, &target, |new| {
            let (from, to) = (new.join(format!("{LIBRARY}.{VERSION}")), new.join(LIBRARY));
            fs::rename(from, to).with_context(|| format!("the wheel of ONNX Runtime {VERSION} lacks its library"))
        })?;
    }
    step(&format!("ONNX Runtime {VERSION} is in {}", target.display()));
    Ok(())
}
