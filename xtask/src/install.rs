//! Laying the program down so that it runs from anywhere, with nothing of this clone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use object::Endianness;
use object::elf::{DT_RPATH, DT_RUNPATH, Dyn64, FileHeader64};
use object::read::elf::{Dyn, FileHeader};

use crate::build::{self, program, step, target};
use crate::{onnx, setup};

/// Where the trainer looks for libtorch first: `host/cli/build.rs` says so to the linker.
const LIBTORCH: &str = "$ORIGIN/libtorch/lib";

/// What the set-up made.
const SOURCE: &str = ".libtorch/lib";

/// Installs `bin/querist` under `prefix`, and what belongs to it under `lib/querist`: the executable that trains,
/// libtorch and the plugins.
pub fn install(prefix: &Path) -> Result<()> {
    setup::setup()?;
    build::everything()?;
    step(&format!("installing into {}", prefix.display()));
    println!("{}", lay_down(prefix)?.display());
    Ok(())
}

/// Lays down what is built, and returns the program.
pub fn lay_down(prefix: &Path) -> Result<PathBuf> {
    let (bin, lib) = (prefix.join("bin"), prefix.join("lib/querist"));
    fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
    fs::create_dir_all(&lib).with_context(|| lib.display().to_string())?;
    libraries(&lib, "libtorch")?;
    onnx_runtime(&lib)?;
    executable(&target().join("debug/querist-train"), &lib.join("querist-train"), LIBTORCH)?;
    executable(&program(), &bin.join("querist"), LIBTORCH)?;
    let plugins = lib.join("plugins");
    remove(&plugins)?;
    copy_folder(&target().join("debug/plugins"), &plugins)?;
    words(prefix)?;
    Ok(bin.join("querist"))
}

/// Lays down manual pages, and completions where shells look for them.
fn words(prefix: &Path) -> Result<()> {
    let pages = prefix.join("share/man/man1");
    build::run(Command::new(program()).args(["man", "--out"]).arg(&pages))?;
    for (shell, file) in [
        ("bash", "share/bash-completion/completions/querist"),
        ("zsh", "share/zsh/site-functions/_querist"),
        ("fish", "share/fish/vendor_completions.d/querist.fish"),
    ] {
        let file = prefix.join(file);
        fs::create_dir_all(file.parent().unwrap_or(prefix)).with_context(|| file.display().to_string())?;
        let said = Command::new(program()).args(["completions", shell]).output()?;
        ensure!(said.status.success(), "completions of {shell}: {}", String::from_utf8_lossy(&said.stderr));
        fs::write(&file, said.stdout).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Puts an executable in place of another, with one folder where it looks for libtorch, which is not the clone. A
/// running program cannot be written over, but its name can be given to another file.
pub fn executable(from: &Path, to: &Path, libtorch: &str) -> Result<()> {
    let mut bytes = fs::read(from).with_context(|| from.display().to_string())?;
    forget_clone(&mut bytes, libtorch).with_context(|| from.display().to_string())?;
    let new = to.with_extension("new");
    fs::write(&new, bytes).with_context(|| new.display().to_string())?;
    fs::set_permissions(&new, fs::metadata(from)?.permissions())?;
    fs::rename(&new, to).with_context(|| to.display().to_string())
}

/// Writes one folder, which moves with the program, over the list of folders.
fn forget_clone(bytes: &mut [u8], libtorch: &str) -> Result<()> {
    let lists = search_lists(bytes)?;
    let [list] = lists[..] else { bail!("{} lists of folders for libraries, expected one", lists.len()) };
    let new = in_place_of(list, libtorch)?;
    // The list is a part of `bytes`.
    let at = list.as_ptr() as usize - bytes.as_ptr() as usize;
    bytes[at..at + new.len()].copy_from_slice(&new);
    Ok(())
}

/// A list of one folder, as long as the list that the linker made.
fn in_place_of(list: &[u8], libtorch: &str) -> Result<Vec<u8>> {
    let first = list.split(|&byte| byte == b':').next().unwrap_or_default();
    ensure!(
        first == LIBTORCH.as_bytes(),
        "libraries are sought in `{}`, expected {LIBTORCH} first: was it built anew?",
        String::from_utf8_lossy(list)
    );
    ensure!(libtorch.len() <= list.len(), "there is no room for {libtorch} in `{}`", String::from_utf8_lossy(list));
    let mut new = libtorch.as_bytes().to_vec();
    new.resize(list.len(), 0);
    Ok(new)
}

/// Lays libtorch into the folder `name` of `lib`: its libraries, and beside it those of other packages in which they
/// look for more.
pub fn libraries(lib: &Path, name: &str) -> Result<()> {
    let source = fs::canonicalize(SOURCE).with_context(|| format!("{SOURCE}: `cargo xtask setup` makes it"))?;
    let folder = lib.join(name).join("lib");
    remove(&lib.join(name))?;
    link_folder(&source, &folder)?;
    for beside in folders_beside(&source)? {
        let to = lib.join(&beside);
        remove(&to)?;
        link_folder(&source.join("../..").join(&beside), &to)?;
    }
    Ok(())
}

/// Lays the library that runs ONNX files beside the program, where it was fetched.
fn onnx_runtime(lib: &Path) -> Result<()> {
    let folder = lib.join("onnxruntime");
    remove(&folder)?;
    let source = Path::new(onnx::FOLDER).join("lib");
    if source.join("libonnxruntime.so").is_file() {
        link_folder(&source, &folder.join("lib"))?;
    }
    Ok(())
}

/// Folders that the libraries name by their place in an installed Python package: `$ORIGIN/../../nvidia/cudnn/lib`.
fn folders_beside(source: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for library in shared_libraries(source)? {
        let bytes = fs::read(&library).with_context(|| library.display().to_string())?;
        let lists = search_lists(&bytes).with_context(|| library.display().to_string())?.join(&b':');
        for folder in String::from_utf8_lossy(&lists).split(':') {
            let Some(beside) = folder.strip_prefix("$ORIGIN/../../").map(PathBuf::from) else { continue };
            let is_plain = beside.components().all(|part| matches!(part, Component::Normal(_)));
            if is_plain && source.join("../..").join(&beside).is_dir() {
                found.insert(beside);
            }
        }
    }
    Ok(found)
}

/// Lists of folders in which an executable or a library looks for others.
fn search_lists(bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let Some((entries, strings)) = sections.dynamic(endian, bytes)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, bytes, strings)?;
    let is_list = |entry: &&Dyn64<Endianness>| {
        entry.tag32(endian).map(i64::from).is_some_and(|tag| [DT_RPATH, DT_RUNPATH].contains(&tag))
    };
    entries.iter().filter(is_list).map(|entry| Ok(entry.string(endian, strings)?)).collect()
}

fn shared_libraries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && (name.ends_with(".so") || name.contains(".so.")) {
            found.push(path);
        }
    }
    ensure!(!found.is_empty(), "{} holds no libraries", folder.display());
    Ok(found)
}

/// Links the libraries of a folder, hard, so that they stay if the folder goes; copies them onto another disk.
fn link_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for library in shared_libraries(from)? {
        let other = to.join(library.file_name().unwrap_or_default());
        // The file itself, where a link leads to it.
        let library = fs::canonicalize(&library)?;
        if fs::hard_link(&library, &other).is_err() {
            fs::copy(&library, &other).with_context(|| other.display().to_string())?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_that_moves_along_is_kept() {
        let list = b"$ORIGIN/libtorch/lib:/home/me/clone/.libtorch/lib";
        for folder in [LIBTORCH, "$ORIGIN/../../torch/lib"] {
            let new = in_place_of(list, folder).unwrap();
            assert_eq!((new.len(), new.split(|&byte| byte == 0).next()), (list.len(), Some(folder.as_bytes())));
        }
        assert!(in_place_of(list, &"x".repeat(list.len() + 1)).is_err());
        for other in [&b"/home/me/clone/.libtorch/lib"[..], b"/lib:$ORIGIN/libtorch/lib", b""] {
            assert!(in_place_of(other, LIBTORCH).is_err(), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn lists_of_folders_are_found() {
        // This program's own, where the linker was given one.
        let bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(search_lists(&bytes).unwrap().len() <= 1);
        assert!(search_lists(b"no program").is_err());
    }
}
