//! Libraries from published Python packages: the files that are needed, checked against fixed digests.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use zip::ZipArchive;

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
pub struct Wheel {
    pub requirement: &'static str,
    pub sha256: &'static str,
    /// Files that go into `lib/`.
    pub libraries: &'static [&'static str],
    /// Folder that becomes `include/`.
    pub headers: Option<&'static str>,
}

/// Python interpreters to ask, the active environment's first.
pub fn pythons() -> Vec<PathBuf> {
    let active = env::var_os("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    active.into_iter().chain(["python3".into(), "python".into()]).collect()
}

/// Removes a folder, or a link but not what it points to; nothing there is fine.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("removing {}", path.display()))
}

/// Downloads wheels, unpacks what is needed, and moves it to `target` once `finish` finds it whole.
pub fn fetch(wheels: &[Wheel], target: &Path, finish: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let partial = target.with_extension("tmp");
    remove(&partial)?;
    let downloads = partial.join("wheels");
    fs::create_dir_all(&downloads).with_context(|| format!("creating {}", downloads.display()))?;
    let new = partial.join("new");
    download(wheels, &downloads)?;
    for wheel in wheels {
        unpack(&wheel_file(&downloads, wheel)?, wheel, &new)
            .with_context(|| format!("unpacking {}", wheel.requirement))?;
    }
    finish(&new)?;
    remove(target)?;
    fs::rename(&new, target).with_context(|| format!("moving {} to {}", new.display(), target.display()))?;
    remove(&partial)
}

fn download(wheels: &[Wheel], into: &Path) -> Result<()> {
    let pip = pip().context(
        "found neither `python3 -m pip` nor `pip3`, with which libraries are fetched. Install it (Debian and Ubuntu: \
         `apt install python3-pip`), or export LIBTORCH and HIGHS_LIBRARY with what you have; see README.md",
    )?;
    let requirements = into.join("requirements.txt");
    let lines: String = wheels.iter().map(|w| format!("{} --hash=sha256:{}\n", w.requirement, w.sha256)).collect();
    fs::write(&requirements, lines).with_context(|| format!("writing {}", requirements.display()))?;
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
    let name = wheel.requirement.replace("==", "-").replace('-', "_");
    let files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .into_iter()
        .find(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.replace('-', "_").starts_with(&name)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_unpacked() {
        let wheel =
            Wheel { requirement: "x==1", sha256: "", libraries: &["x/lib/libx.so"], headers: Some("x/include/") };
        let at = |name: &str| place(Path::new(name), &wheel).map(|p| p.display().to_string());
        assert_eq!(at("x/lib/libx.so").as_deref(), Some("lib/libx.so"));
        assert_eq!(at("x/include/A/A.h").as_deref(), Some("include/A/A.h"));
        assert_eq!(at("x/lib/libx_cuda.so"), None);
        assert_eq!(at("x/functional.py"), None);
        assert_eq!(place(Path::new("x/include/A/A.h"), &Wheel { headers: None, ..wheel }), None);
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
