//! The Python package `querist-torch`: the executable that trains and the native plugins, for an installed torch.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::FileHeader;

use crate::build::{run, step, target};
use crate::wheel::{builder, environment, only_file, plugins_of, tempdir};
use crate::{install, wheels, workspace};

/// Bytes of the wheel at most.
const MOST_BYTES: u64 = 45_000_000;
/// Kinds of packages that the wheel holds.
const KINDS: [&str; 2] = ["native", "native-torch"];
/// Where the executable finds the libtorch of the package `torch`, which is installed beside this one.
const LIBTORCH: &str = "$ORIGIN/../../torch/lib";
/// The glibc of PyTorch's own wheels; no older system can use this one.
const OLDEST_GLIBC: (u32, u32) = (2, 28);

/// Builds the wheel beside that of `querist`, which was built before, and gives its file.
pub fn build() -> Result<PathBuf> {
    step("the wheel for PyTorch");
    let root = workspace().canonicalize()?;
    let source = root.join(target()).join("python/querist-torch");
    let package = source.join("querist_torch");
    // A copy, since the tool leaves much beside what it builds.
    wheels::remove(&source)?;
    fs::create_dir_all(package.join("bin"))?;
    for file in ["pyproject.toml", "setup.py", "README.md", "querist_torch/__init__.py"] {
        fs::copy(Path::new("python-torch").join(file), source.join(file)).with_context(|| file.to_owned())?;
    }
    let train = package.join("bin/querist-train");
    run(Command::new("strip").arg("-o").arg(&train).arg(target().join("debug/querist-train")))?;
    install::executable(&train, &train, LIBTORCH)?;
    plugins_of(&KINDS, &package.join("plugins"))?;
    // By which the host knows that it came with them.
    fs::copy(target().join("debug/plugins/SHA256SUMS"), package.join("plugins/SHA256SUMS"))?;
    let (major, minor) = glibc_of(&package)?.max(OLDEST_GLIBC);
    let out = target().join("wheels");
    let mut pip = Command::new(builder()?);
    pip.args(["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]);
    pip.arg("--wheel-dir").arg(&out).arg(&source);
    pip.env("QUERIST_VERSION", env!("CARGO_PKG_VERSION"));
    pip.env("QUERIST_PLATFORM", format!("manylinux_{major}_{minor}_{}", std::env::consts::ARCH));
    run(&mut pip)?;
    let wheel = only_file(&out, "querist_torch-")?;
    let bytes = fs::metadata(&wheel)?.len();
    eprintln!("{} has {:.1} MB", wheel.display(), bytes as f64 / 1e6);
    ensure!(bytes <= MOST_BYTES, "the wheel has {bytes} bytes, expected at most {MOST_BYTES}");
    Ok(wheel)
}

/// Installs both wheels into a clean environment, and trains there.
///
/// Mostly the libraries of the set-up take the place of an installed torch: they are files of that package, and lie
/// where it has them. All of it, three gigabytes from the registry, is installed for the full check.
pub fn test(both: &[PathBuf; 2], minor: u32, python: &Path, full: bool) -> Result<()> {
    step(&format!("both wheels with Python 3.{minor}"));
    let folder = environment(&format!("torch-3.{minor}"))?;
    wheels::remove(&folder)?;
    run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
    let own = folder.join("bin/python");
    let pip = || {
        let mut pip = Command::new(&own);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    run(pip().args(["-r", "python/requirements-test.txt"]))?;
    if full {
        run(pip().args(both))?;
    } else {
        run(pip().args(["--no-deps", "--no-index"]).args(both))?;
        install::libraries(&site(&own)?, "torch")?;
    }
    let root = workspace().canonicalize()?;
    let mut pytest = Command::new(&own);
    pytest.args(["-m", "pytest", "-q", "-c"]).arg(root.join("python/pyproject.toml"));
    pytest.arg(root.join("python-torch/tests"));
    if full {
        let others = root.join("python/tests/test_others.py");
        pytest.args(["test_torch", "test_torch_workers"].map(|test| format!("{}::{test}", others.display())));
    }
    // As on a machine that has no other libtorch.
    run(pytest.current_dir(tempdir(&folder)?).env_remove("LD_LIBRARY_PATH").env_remove("LIBTORCH"))?;
    // Gigabytes of copies, or links that would keep the set-up's files.
    wheels::remove(&folder)
}

/// The folder of packages with machine code of an environment.
fn site(python: &Path) -> Result<PathBuf> {
    let ask = "import sysconfig; print(sysconfig.get_path('platlib'))";
    let said = Command::new(python).args(["-c", ask]).output()?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Ok(PathBuf::from(String::from_utf8(said.stdout)?.trim()))
}

/// The glibc that the machine code below a folder needs.
fn glibc_of(folder: &Path) -> Result<(u32, u32)> {
    let mut needed = (2, 0);
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            needed = needed.max(glibc_of(&path)?);
            continue;
        }
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        if bytes.starts_with(b"\x7fELF") {
            needed = needed.max(glibc(&bytes).with_context(|| path.display().to_string())?);
        }
    }
    Ok(needed)
}

/// The newest version of glibc whose symbols an executable or a library needs.
fn glibc(bytes: &[u8]) -> Result<(u32, u32)> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let Some((mut libraries, strings)) = sections.gnu_verneed(endian, bytes)? else { bail!("needs no versions") };
    let strings = sections.strings(endian, bytes, strings)?;
    let mut needed = (2, 0);
    while let Some((_, mut versions)) = libraries.next()? {
        while let Some(version) = versions.next()? {
            let name = String::from_utf8_lossy(version.name(endian, strings)?);
            let Some(numbers) = name.strip_prefix("GLIBC_") else { continue };
            let numbers: Vec<u32> = numbers.split('.').filter_map(|number| number.parse().ok()).collect();
            if let [major, minor, ..] = numbers[..] {
                needed = needed.max((major, minor));
            }
        }
    }
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_glibc_of_a_program_is_found() {
        // This program's own: it was linked on a system that has been able to run Rust's programs for years.
        let own = glibc(&fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap();
        assert!(own > (2, 10) && own < (3, 0), "{own:?}");
        assert!(glibc(b"\x7fELF").is_err());
    }
}
