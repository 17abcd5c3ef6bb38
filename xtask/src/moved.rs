//! The installation, tried as strangers have it: moved, without the clone, and without what the shell exports here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::build::{step, target};
use crate::install;

/// A run that trains, and that a native plugin takes part in.
const RUN: &str = r#"version = 1

[dataset]
name = "digits"
test = 397

[model]
name = "cnn"

[recipe]
optimiser = "adam"
lr = 0.002
epochs = 1
minibatch = 32

[budget]
initial = 20
batch = 20
rounds = 1

[strategy]
id = "learning-loss"
"#;

/// Installs into a folder, moves that, and runs the program there with libtorch out of its old place.
///
/// # Errors
/// If the program does not run there, or anything of the clone or of another libtorch is loaded.
pub fn works() -> Result<()> {
    step("the installed program, moved");
    let place = target().join("installed");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
    }
    install::lay_down(&place.join("first"))?;
    fs::create_dir(place.join("work"))?;
    fs::rename(place.join("first"), place.join("second"))?;
    let place = fs::canonicalize(&place)?;
    let home = place.join("second/lib/querist");
    let trainer = home.join("querist-train");
    ensure_own(&traced(&trainer)?, &home)?;
    fs::write(place.join("work/run.toml"), RUN)?;
    let program = place.join("second/bin/querist");
    let mut call = alone(&program, &place)?;
    call.args(["run", "run.toml", "--allow-native", "--out", "run"]).stdout(Stdio::null());
    let output = call.stderr(Stdio::piped()).output().context("the installed program")?;
    ensure!(
        output.status.success() && place.join("work/run/rounds").is_dir(),
        "the installed program cannot run: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::remove_dir_all(&place).with_context(|| place.display().to_string())
}

/// Libraries that an executable would load, each with its file.
fn traced(executable: &Path) -> Result<String> {
    let output = Command::new(executable).env_clear().env("LD_TRACE_LOADED_OBJECTS", "1").output();
    let output = output.with_context(|| executable.display().to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether libtorch is the one that was laid down.
fn ensure_own(libraries: &str, home: &Path) -> Result<()> {
    let own = format!("=> {}", home.join("libtorch/lib").display());
    for name in ["libtorch_cpu.so", "libc10.so"] {
        let line = libraries.lines().find(|line| line.trim_start().starts_with(name));
        ensure!(
            line.is_some_and(|line| line.contains(&own)),
            "{name} is not loaded from {}:\n{libraries}",
            home.display()
        );
    }
    Ok(())
}

/// A call in an empty environment, of a process for which the folder that libtorch was taken from is empty.
fn alone(program: &Path, place: &Path) -> Result<Command> {
    let (home, nothing, old) = (place.join("home"), place.join("nothing"), fs::canonicalize(".libtorch/lib")?);
    fs::create_dir(&home)?;
    fs::create_dir(&nothing)?;
    const HIDE: &str = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let hidden = |rest: &[&Path]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", HIDE, "sh"]).args([&nothing, &old]).args(rest);
        command
    };
    let tried = hidden(&[Path::new("true")]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let mut command = if tried.is_ok_and(|status| status.success()) {
        hidden(&[program])
    } else {
        step("NOT tried with the old libtorch out of reach: this system grants no namespaces");
        Command::new(program)
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", home).current_dir(place.join("work"));
    Ok(command)
}
