//! `querist plugin check --watch`: the check again, whenever what is checked changes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use querist_files::shown;
use walkdir::WalkDir;

use super::build::{built, is_project};
use crate::exit::Usage;
use crate::{output, program, progress};

/// Time between two looks at the files.
const EVERY: Duration = Duration::from_millis(300);
/// Files that are looked at, at most.
const MOST_FILES: usize = 10_000;
/// Folders of tools, and of what is made: what changes there was made by a build.
const MADE: [&str; 6] = ["target", "plugins", "environment", "bindings", "node_modules", "__pycache__"];
/// Endings of files that builds make beside the sources.
const MADE_ENDINGS: [&str; 2] = ["wasm", "so"];

/// Checks until the user stops it. Each check is a process of its own: a library that was loaded stays loaded.
pub fn main(path: &Path) -> Result<()> {
    if !path.exists() {
        return Err(Usage(format!("{}: there is no such file or folder", shown(path))).into());
    }
    progress::stop_on_interrupt()?;
    let is_project = path.is_dir() && is_project(path);
    while !progress::stopped() {
        // Before the build, so that what changes meanwhile is seen.
        let before = snapshot(path, is_project);
        match if is_project { built(path) } else { Ok(path.to_owned()) } {
            Ok(made) => check(&made)?,
            // It was told why, and the next change may mend it.
            Err(error) => output::note(&format!("{error:#}")),
        }
        output::note(&format!("waiting for a change of {}; Ctrl-C ends", shown(path)));
        while !progress::stopped() && snapshot(path, is_project) == before {
            std::thread::sleep(EVERY);
        }
    }
    Ok(())
}

/// The call of this process without `--watch`, for another path. It tells people itself what it found.
fn check(path: &Path) -> Result<()> {
    let args: Vec<OsString> = program::args().into_iter().skip(1).collect();
    let mut command = program::command()?;
    command.args(same_for(&args, path)).status().context("cannot start this program again")?;
    Ok(())
}

/// Flags of `check` that are followed by a value of their own.
const WITH_VALUE: [&str; 6] = ["--strategy", "--params", "--param", "--memory", "--seconds", "--plugin-dir"];

/// The arguments of a check of another path.
fn same_for(args: &[OsString], path: &Path) -> Vec<OsString> {
    let mut same: Vec<OsString> = ["plugin", "check"].map(OsString::from).to_vec();
    let mut rest = args.iter().skip(2);
    while let Some(arg) = rest.next() {
        let text = arg.to_string_lossy();
        if WITH_VALUE.contains(&&*text) {
            same.push(arg.clone());
            same.extend(rest.next().cloned());
        } else if text.starts_with("--") && text != "--watch" && text != "--" {
            same.push(arg.clone());
        }
    }
    same.push(path.as_os_str().to_owned());
    same
}

/// Length and time of change of every file that matters.
fn snapshot(path: &Path, is_project: bool) -> BTreeMap<PathBuf, (u64, Option<SystemTime>)> {
    let is_source = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        let is_made = entry.file_type().is_dir() && (MADE.contains(&&*name) || name.starts_with('.'));
        entry.depth() == 0 || !is_project || !is_made
    };
    let files = WalkDir::new(path).into_iter().filter_entry(is_source).filter_map(Result::ok).take(MOST_FILES);
    files
        .filter(|entry| entry.file_type().is_file() && !(is_project && is_made(entry.path())))
        .filter_map(|entry| {
            let of = entry.metadata().ok()?;
            Some((entry.into_path(), (of.len(), of.modified().ok())))
        })
        .collect()
}

fn is_made(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "Cargo.lock" || name == "package-lock.json")
        || file.extension().is_some_and(|ending| MADE_ENDINGS.iter().any(|made| ending == *made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_make_is_no_change_of_the_project() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "a");
        let before = snapshot(folder.path(), true);
        for made in ["target/x", "plugins/p/p.wasm", "mine.wasm", "Cargo.lock", ".git/index", "environment/lib/y.py"] {
            write(made, "made");
            assert_eq!(snapshot(folder.path(), true), before, "{made}");
        }
        assert_ne!(snapshot(folder.path(), false), before);
        write("src/lib.rs", "ab");
        assert_ne!(snapshot(folder.path(), true), before);
    }

    #[test]
    fn the_same_check_is_of_another_path() {
        let args: Vec<OsString> = ["plugin", "check", "--watch", "--quick", "--param", "a=b", "mine", "--strategy=x"]
            .map(Into::into)
            .to_vec();
        let same = same_for(&args, Path::new("/packed"));
        assert_eq!(
            same,
            ["plugin", "check", "--quick", "--param", "a=b", "--strategy=x", "/packed"].map(OsString::from)
        );
    }
}
