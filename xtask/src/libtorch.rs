//! Makes `.libtorch` exist: a link to a libtorch that is there, or the needed part of the published wheels.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use zip::ZipArchive;

/// The libtorch that the bindings were generated for.
const VERSION: &str = "2.11.0";

/// Version with its build, as written into `build-version`, which the bindings' build script checks.
const BUILD: &str = "2.11.0+cu130";

/// Python, ABI and platforms of the wheels; fixed, so that every machine fetches the same files.
const TAGS: [&str; 10] = [
    "--python-version=3.12",
    "--implementation=cp",
    "--abi=cp312",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_25_x86_64",
    "--platform=manylinux2014_x86_64",
    "--only-binary=:all:",
    "--no-deps",
    "--no-cache-dir",
    "--require-hashes",
];

/// A published wheel, and what of it is needed.
struct Wheel {
    requirement: &'static str,
    sha256: &'static str,
    /// Files that go into `lib/`.
    libraries: &'static [&'static str],
    /// Folder that becomes `include/`.
    headers: Option<&'static str>,
}

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

/// Makes `.libtorch` and the WebAssembly target exist; does nothing where they do.
///
/// # Errors
/// If no libtorch is found and none can be fetched, or the target cannot be added.
pub fn setup() -> Result<()> {
    let root = root()?;
    let target = root.join(".libtorch");
    if is_complete(&target) {
        step(&format!("libtorch {VERSION} is in {}", target.display()));
    } else if let Some(found) = exported(&target)?.or_else(installed) {
        link(&found, &target)?;
    } else {
        fetch(&root, &target)?;
    }
    add_wasm_target()
}

fn root() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(package.parent().context("xtask lies in the workspace")?.to_path_buf())
}

fn step(line: &str) {
    eprintln!("setup: {line}");
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

/// Python interpreters to ask, the active environment's first.
fn pythons() -> Vec<PathBuf> {
    let active = env::var_os("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    active.into_iter().chain(["python3".into(), "python".into()]).collect()
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

/// Removes a folder, or a link but not what it points to; nothing there is fine.
fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("removing {}", path.display()))
}

/// Downloads the wheels, unpacks what is needed, and moves it into place once it is whole.
fn fetch(root: &Path, target: &Path) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "libtorch is fetched for x86_64 Linux only. Here, install torch {VERSION} for Python \
             (`pip install torch=={VERSION}`) or export LIBTORCH with the folder of libtorch {VERSION}, then run this again"
        );
    }
    let partial = root.join(".libtorch.tmp");
    remove(&partial)?;
    let wheels = partial.join("wheels");
    fs::create_dir_all(&wheels).with_context(|| format!("creating {}", wheels.display()))?;
    let new = partial.join("libtorch");
    download(&wheels)?;
    step("unpacking the libraries and headers");
    for wheel in &WHEELS {
        unpack(&wheel_file(&wheels, wheel)?, wheel, &new)
            .with_context(|| format!("unpacking {}", wheel.requirement))?;
    }
    fs::write(new.join("build-version"), BUILD)?;
    ensure!(is_complete(&new), "the wheels of libtorch {VERSION} did not hold what was expected");
    remove(target)?;
    fs::rename(&new, target).with_context(|| format!("moving {} to {}", new.display(), target.display()))?;
    remove(&partial)?;
    step(&format!("libtorch {VERSION} is in {}", target.display()));
    Ok(())
}

fn download(into: &Path) -> Result<()> {
    let pip = pip().with_context(|| {
        format!(
            "found neither `python3 -m pip` nor `pip3`, with which libtorch is fetched. Install it (Debian and \
             Ubuntu: `apt install python3-pip`), or export LIBTORCH with the folder of libtorch {VERSION}"
        )
    })?;
    let requirements = into.join("requirements.txt");
    let lines: String = WHEELS.iter().map(|w| format!("{} --hash=sha256:{}\n", w.requirement, w.sha256)).collect();
    fs::write(&requirements, lines).with_context(|| format!("writing {}", requirements.display()))?;
    step(&format!("downloading libtorch {VERSION}, 545 MB, once"));
    let status = Command::new(&pip[0])
        .args(&pip[1..])
        .arg("download")
        .args(TAGS)
        .arg("--dest")
        .arg(into)
        .arg("--requirement")
        .arg(&requirements)
        .stdout(Stdio::from(io::stderr()))
        .status()
        .with_context(|| format!("running {}", pip.join(" ")))?;
    ensure!(status.success(), "`{} download` failed ({status}); its messages are above", pip.join(" "));
    Ok(())
}

/// The first pip that answers, as a command line.
fn pip() -> Option<Vec<String>> {
    let of_python = |python: PathBuf| vec![python.display().to_string(), "-m".to_owned(), "pip".to_owned()];
    let own = ["pip3", "pip"].map(|name| vec![name.to_owned()]);
    pythons().into_iter().map(of_python).chain(own).find(|pip| {
        let answer =
            Command::new(&pip[0]).args(&pip[1..]).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        answer.is_ok_and(|status| status.success())
    })
}

/// The downloaded file of a wheel.
fn wheel_file(folder: &Path, wheel: &Wheel) -> Result<PathBuf> {
    let name = wheel.requirement.replace("==", "-").replace("nvidia-cuda-", "nvidia_cuda_");
    let files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .into_iter()
        .find(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(&name)))
        .with_context(|| format!("pip left no file {name}*.whl in {}", folder.display()))
}

/// Writes the libraries of `wheel` flat into `lib/` and its headers into `include/`.
fn unpack(file: &Path, wheel: &Wheel, into: &Path) -> Result<()> {
    let mut archive = ZipArchive::new(File::open(file)?)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        // `None` for names that would leave the folder.
        let Some(name) = entry.enclosed_name().filter(|_| entry.is_file()) else { continue };
        let Some(place) = place(&name, wheel) else { continue };
        let place = into.join(place);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut out = File::create(&place).with_context(|| format!("creating {}", place.display()))?;
        io::copy(&mut entry, &mut out).with_context(|| format!("writing {}", place.display()))?;
    }
    Ok(())
}

/// Where a file of `wheel` goes; `None` if it is not needed.
fn place(name: &Path, wheel: &Wheel) -> Option<PathBuf> {
    if wheel.libraries.iter().any(|library| name == Path::new(library)) {
        return Some(Path::new("lib").join(name.file_name()?));
    }
    Some(Path::new("include").join(name.strip_prefix(wheel.headers?).ok()?))
}

/// Adds the target that plugins are built for, where it is missing.
fn add_wasm_target() -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().context("running rustc")?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        step(&format!("Rust's target {TARGET} is there"));
        return Ok(());
    }
    step(&format!("adding Rust's target {TARGET}"));
    let status = Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::from(io::stderr())).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`rustup target add {TARGET}` failed ({status})"),
        Err(error) => bail!("rustup: {error}; install Rust's target {TARGET} as your system installs Rust"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_unpacked() {
        let torch = &WHEELS[0];
        let at = |name: &str| place(Path::new(name), torch).map(|p| p.display().to_string());
        assert_eq!(at("torch/lib/libc10.so").as_deref(), Some("lib/libc10.so"));
        assert_eq!(at("torch/include/ATen/ATen.h").as_deref(), Some("include/ATen/ATen.h"));
        assert_eq!(at("torch/lib/libtorch_cuda.so"), None);
        assert_eq!(at("torch/functional.py"), None);
        assert_eq!(place(Path::new("torch/include/ATen/ATen.h"), &WHEELS[1]), None);
    }

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

    #[cfg(unix)]
    #[test]
    fn removing_a_link_leaves_what_it_points_to() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        remove(&link).unwrap();
        assert!(real.is_dir() && fs::symlink_metadata(&link).is_err());
        remove(&link).unwrap();
    }
}
