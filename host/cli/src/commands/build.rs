//! `querist plugin build`: from an author's project to its package.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use querist_files::shown;
use querist_loader::pack;
use querist_protocol::Shown;
use serde_json::Value;

use crate::exit::Usage;
use crate::program;

/// The target that components are built for.
const WASM: &str = "wasm32-unknown-unknown";
/// The crate of strategies that share libtorch: what depends on it is a native library.
const TORCH_SDK: &str = "querist-sdk-torch";
/// The script of a project that is not cargo's.
const SCRIPT: &str = "build.sh";

/// Flags of `querist plugin build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The project: a folder with a Cargo.toml, or with a build.sh whose last line says what it made.
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Folder in which the package gets a folder of its own [default: DIR/plugins].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run the code of a native library in this process, to have it describe itself.
    #[arg(long)]
    allow_native: bool,
}

/// Whether a folder is a project that can be built.
pub fn is_project(folder: &Path) -> bool {
    ["Cargo.toml", SCRIPT].iter().any(|file| folder.join(file).is_file())
}

/// Builds a project with its own tools; the file that came of it, which can be packed.
///
/// # Errors
/// If it is no project, or its tools fail.
pub fn built(project: &Path) -> Result<PathBuf> {
    let dir = project.canonicalize().map_err(|error| Usage(format!("{}: {error}", shown(project))))?;
    if dir.join("Cargo.toml").is_file() {
        return by_cargo(&dir);
    }
    if dir.join(SCRIPT).is_file() {
        return by_script(&dir);
    }
    let message = format!(
        "{} is no project: expected a Cargo.toml, or a {SCRIPT}; `querist plugin new` writes one",
        shown(project)
    );
    Err(Usage(message).into())
}

/// Runs the verb: builds, and has this program pack what was made.
pub fn main(args: &BuildArgs) -> Result<()> {
    let made = built(&args.dir)?;
    if pack::is_native(&made) && !args.allow_native {
        let message =
            format!("{} is native code, and packing runs it: add `--allow-native` if you trust it", shown(&made));
        return Err(Usage(message).into());
    }
    // As people write it: `plugins/NAME` in the working folder.
    let beside = |dir: &Path| if dir == Path::new(".") { PathBuf::from("plugins") } else { dir.join("plugins") };
    let out = args.out.clone().unwrap_or_else(|| beside(&args.dir));
    // A process of its own packs: that of the executable with libtorch, where the library shares it.
    let mut command = program::command()?;
    command.args(["plugin", "pack"]).arg(&made).arg("--out").arg(&out);
    command.args(args.allow_native.then_some("--allow-native"));
    match command.status().context("cannot start this program again")? {
        status if status.success() => Ok(()),
        _ => bail!("{} was built, but could not be packed", shown(&made)),
    }
}

/// Has cargo build the project; the library that came of it.
fn by_cargo(dir: &Path) -> Result<PathBuf> {
    let is_native = shares_libtorch(dir)?;
    let mut build = cargo(dir);
    build.args(["build", "--release", "--message-format=json-render-diagnostics"]);
    if !is_native {
        build.args(["--target", WASM]);
    }
    let said = said(build.stderr(Stdio::inherit()), "cargo build")?;
    let ending = if is_native { ".so" } else { ".wasm" };
    let mut messages = said.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let library = messages.find_map(|message| artifact(&message, dir, ending));
    library.with_context(|| {
        format!("cargo built no {ending} library in {}: its `[lib]` needs `crate-type = [\"cdylib\"]`", shown(dir))
    })
}

/// The file of a message of cargo about the library of the project itself.
fn artifact(message: &Value, dir: &Path, ending: &str) -> Option<PathBuf> {
    let is_ours = message["reason"] == "compiler-artifact"
        && Path::new(message["manifest_path"].as_str()?).parent()? == dir
        && message["target"]["kind"].as_array()?.iter().any(|kind| kind == "cdylib");
    let files = message["filenames"].as_array().filter(|_| is_ours)?;
    files.iter().filter_map(Value::as_str).find(|file| file.ends_with(ending)).map(PathBuf::from)
}

/// Whether the project depends on the SDK of strategies that share libtorch.
fn shares_libtorch(dir: &Path) -> Result<bool> {
    let mut metadata = cargo(dir);
    metadata.args(["metadata", "--no-deps", "--format-version", "1"]);
    let text = said(metadata.stderr(Stdio::inherit()), "cargo metadata")?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
    let manifest = dir.join("Cargo.toml");
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let own =
        packages.filter(|package| package["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest));
    let mut dependencies = own.flat_map(|package| package["dependencies"].as_array().into_iter().flatten());
    Ok(dependencies.any(|dependency| dependency["name"] == TORCH_SDK))
}

fn cargo(dir: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(dir);
    command
}

/// Runs the project's script; what its last line names.
fn by_script(dir: &Path) -> Result<PathBuf> {
    let mut script = Command::new("sh");
    script.arg(SCRIPT).current_dir(dir).stderr(Stdio::inherit());
    // The script may call this program.
    if let Some(paths) = with_own_folder() {
        script.env("PATH", paths);
    }
    let text = said(&mut script, SCRIPT)?;
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let made = dir.join(last.trim());
    if last.is_empty() || !made.is_file() {
        let last = Shown::name(last);
        bail!("{SCRIPT} ended with the line `{last}`; the last line names the file that it made, such as mine.wasm");
    }
    Ok(made)
}

/// `PATH` with this program's folder behind the others.
fn with_own_folder() -> Option<OsString> {
    let own = program::folder()?;
    // Where there is none, shells know where tools usually are.
    let paths = std::env::var_os("PATH")?;
    std::env::join_paths(std::env::split_paths(&paths).chain([own])).ok()
}

/// What a tool says, which must end well.
fn said(command: &mut Command, name: &str) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{name} ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_library_of_the_project_itself_counts() {
        let message = |manifest: &str, kind: &str| {
            json!({
                "reason": "compiler-artifact", "manifest_path": manifest, "target": {"kind": [kind, "rlib"]},
                "filenames": ["/t/libmine.rlib", "/t/mine.wasm"],
            })
        };
        let of = |message: Value| artifact(&message, Path::new("/p"), ".wasm");
        assert_eq!(of(message("/p/Cargo.toml", "cdylib")), Some(PathBuf::from("/t/mine.wasm")));
        assert_eq!(of(message("/other/Cargo.toml", "cdylib")), None);
        assert_eq!(of(message("/p/Cargo.toml", "lib")), None);
        assert_eq!(of(json!({"reason": "build-finished"})), None);
    }
}
