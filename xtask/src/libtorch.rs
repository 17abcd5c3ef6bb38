//! Makes `.libtorch` exist: a link to a libtorch that is there, or the needed part of the published wheels.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::setup::step;
use crate::wheels::{self, Wheel, pythons, remove};

/// The libtorch that the bindings were generated for.
const VERSION: &str = "2.11.0";

/// Version with its build, as written into `build-version`, which the bindings' build script checks.
const BUILD: &str = "2.11.0+cu130";

const WHEELS: [Wheel; 3] = [
    Wheel {
        requirement: "torch==2.11.0",
        sha256: "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
        libraries: &[
            "torch/lib/libc10.so",
            "torch/lib/libtorch_cpu.so",
            "torch/lib/libtorch.so",
            "torch/lib/libgomp.so.1",
        ],
        headers: Some("torch/include/"),
    },
    // libtorch_cpu.so is linked against these two, also where there is no GPU.
    Wheel {
        requirement: "nvidia-cuda-cupti==13.0.85",
        sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        libraries: &["nvidia/cu13/lib/libcupti.so.13"],
        headers: None,
    },
    Wheel {
        requirement: "nvidia-cuda-runtime==13.0.96",
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        libraries: &["nvidia/cu13/lib/libcudart.so.13"],
        headers: None,
    },
];

/// Prints the folder of an installed torch and its version, without importing it.
const FIND_TORCH: &str = "
import importlib.util, os, runpy
spec = importlib.util.find_spec('torch')
if spec and spec.origin:
    folder = os.path.dirname(spec.origin)
    print(folder)
    print(runpy.run_path(os.path.join(folder, 'version.py'))['__version__'])
";

/// Makes `.libtorch` exist; does nothing where it does.
///
/// # Errors
/// If no libtorch is found and none can be fetched.
pub fn setup(root: &Path) -> Result<()> {
    let target = root.join(".libtorch");
    if is_complete(&target) {
        step(&format!("libtorch {VERSION} is in {}", target.display()));
    } else if let Some(found) = exported(&target)?.or_else(installed) {
        link(&found, &target)?;
    } else {
        fetch(&target)?;
    }
    Ok(())
}

/// Version of the libtorch in a folder: `build-version` of a fetched one, `version.py` of a Python package.
fn version(folder: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(folder.join("version.py")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(line.trim_matches(['\'', '"']).to_owned())
}

/// Whether `version` is the one the bindings need, of whatever build.
fn is_right(version: &str) -> bool {
    version.split('+').next() == Some(VERSION)
}

fn is_complete(folder: &Path) -> bool {
    let files = ["lib/libtorch_cpu.so", "lib/libc10.so", "include/ATen/ATen.h"];
    files.iter().all(|file| folder.join(file).is_file()) && version(folder).is_some_and(|v| is_right(&v))
}

/// The folder that `LIBTORCH` names, unless it is the one that this makes (cargo's settings export that).
fn exported(target: &Path) -> Result<Option<PathBuf>> {
    let Some(folder) = env::var_os("LIBTORCH").map(PathBuf::from).filter(|folder| folder != target) else {
        return Ok(None);
    };
    ensure!(
        is_complete(&folder),
        "LIBTORCH={}: expected libtorch {VERSION} with lib/, include/ and build-version or version.py, found {}; \
         unset LIBTORCH to have it fetched",
        folder.display(),
        version(&folder).map_or("no version".to_owned(), |v| format!("version {v}")),
    );
    Ok(Some(folder))
}

/// The torch package of the first Python that has the right one.
fn installed() -> Option<PathBuf> {
    pythons().into_iter().find_map(|python| {
        let output = Command::new(&python).args(["-c", FIND_TORCH]).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut lines = text.lines();
        let (folder, version) = (PathBuf::from(lines.next()?), lines.next()?);
        if is_right(version) && is_complete(&folder) {
            return Some(folder);
        }
        step(&format!("{} has torch {version}, which is not {VERSION}: passed over", python.display()));
        None
    })
}

/// Makes `target` a link to the whole folder: libtorch's libraries look for each other beside their real files.
fn link(found: &Path, target: &Path) -> Result<()> {
    let found = found.canonicalize().with_context(|| format!("resolving {}", found.display()))?;
    remove(target)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(&found, target)
        .with_context(|| format!("linking {} to {}", target.display(), found.display()))?;
    #[cfg(not(unix))]
    bail!("{} is libtorch {VERSION}: export LIBTORCH with this folder", found.display());
    step(&format!("linked {} to {}", target.display(), found.display()));
    Ok(())
}

/// Makes the folder from the published wheels.
fn fetch(target: &Path) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "libtorch is fetched for x86_64 Linux only. Here, install torch {VERSION} for Python \
             (`pip install torch=={VERSION}`) or export LIBTORCH with the folder of libtorch {VERSION}, then run this \
             again"
        );
    }
    step(&format!("downloading libtorch {VERSION}, 545 MB, once"));
    wheels::fetch(&WHEELS, target, |new| {
        fs::write(new.join("build-version"), BUILD)?;
        ensure!(is_complete(new), "the wheels of libtorch {VERSION} did not hold what was expected");
        Ok(())
    })?;
    step(&format!("libtorch {VERSION} is in {}", target.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_without_their_build() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(version(folder.path()), None);
        fs::write(folder.path().join("version.py"), "x = 1\n__version__ = '2.11.0+cpu'\ndebug = False\n").unwrap();
        assert_eq!(version(folder.path()).as_deref(), Some("2.11.0+cpu"));
        assert!(is_right("2.11.0") && is_right("2.11.0+cpu"));
        assert!(!is_right("2.11.01") && !is_right("2.11.1+cpu") && !is_right("2.1"));
        // The right version alone is not a libtorch.
        assert!(!is_complete(folder.path()));
    }
}
