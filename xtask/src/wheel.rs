//! The Python package: its wheel, and the tests of it.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::build::{self, run, step, target};
use crate::{install, torch_wheel, wheels, workspace};

/// Bytes of the wheel that is shipped at most.
const MOST_BYTES: u64 = 20_000_000;
/// Minor versions of Python 3 that are looked for, the oldest first.
const MINORS: std::ops::RangeInclusive<u32> = 10..=15;
/// Kinds of packages that the wheel holds: those that run in the sandbox, and those made of others.
const KINDS: [&str; 2] = ["wasm", "composite"];

/// How the code of a wheel is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As all else here, so that little is left to build.
    Dev,
    /// As it is shipped: small and fast, and minutes in the making.
    Wheel,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Wheel => "wheel",
        }
    }
}

/// Builds the wheel into a folder of the target, and gives its file. The workspace is built.
pub fn build(profile: Profile) -> Result<PathBuf> {
    step("the wheel");
    // Where maturin finds them.
    plugins_of(&KINDS, Path::new("python/querist/plugins"))?;
    let out = target().join("wheels");
    wheels::remove(&out)?;
    let python = builder()?;
    let mut maturin = Command::new(python.with_file_name("maturin"));
    maturin.args(["build", "--manifest-path", "python/Cargo.toml", "--profile", profile.name(), "--strip"]);
    maturin.arg("--out").arg(&out).args(["--interpreter"]).arg(&python);
    run(&mut maturin)?;
    let wheel = only_file(&out, "querist-")?;
    let bytes = fs::metadata(&wheel)?.len();
    eprintln!("{} has {:.1} MB", wheel.display(), bytes as f64 / 1e6);
    let is_small = bytes <= MOST_BYTES || profile != Profile::Wheel;
    ensure!(is_small, "the wheel has {bytes} bytes, expected at most {MOST_BYTES}");
    Ok(wheel)
}

/// Installs the wheels into clean environments of the oldest and the newest Python, and tests them there. `torch` is
/// the one that trains.
pub fn test(wheel: &Path, torch: &Path, full: bool) -> Result<()> {
    let pythons = pythons();
    let (Some((oldest, first)), Some((newest, last))) = (pythons.first_key_value(), pythons.last_key_value()) else {
        bail!("no Python from 3.{} on is there: install python3 with its module `venv`", MINORS.start());
    };
    if oldest > MINORS.start() {
        eprintln!("==> NOT checked: the wheel with Python 3.{}, which is not here", MINORS.start());
    }
    for (minor, python) in BTreeMap::from([(oldest, first), (newest, last)]) {
        step(&format!("the wheel with Python 3.{minor}"));
        alone(wheel, *minor, python)?;
        let files: &[&str] = match (minor == newest, full) {
            (true, true) => &["requirements-test.txt", "requirements-types.txt", "requirements-full.txt"],
            (true, false) => &["requirements-test.txt", "requirements-types.txt"],
            _ => &["requirements-test.txt"],
        };
        with_others(wheel, *minor, python, files)?;
    }
    torch_wheel::test(&[wheel.to_owned(), torch.to_owned()], *newest, last, full)
}

/// The first example of the README in an environment that has nothing but the wheel.
fn alone(wheel: &Path, minor: u32, python: &Path) -> Result<()> {
    let folder = environment(&format!("alone-3.{minor}"))?;
    wheels::remove(&folder)?;
    run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
    let own = folder.join("bin/python");
    run(Command::new(&own).args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]).arg(wheel))?;
    let example = example("README.md")?;
    ensure!(example.lines().count() <= 8, "the Python example of README.md has more than eight lines:\n{example}");
    let away = tempdir(&folder)?;
    run(Command::new(&own).args(["-c", &example]).current_dir(&away))?;
    run(Command::new(folder.join("bin/querist")).arg("doctor").current_dir(&away).stdout(Stdio::null()))
}

/// The tests, beside what they need.
fn with_others(wheel: &Path, minor: u32, python: &Path, requirements: &[&str]) -> Result<()> {
    let folder = environment(&format!("test-3.{minor}"))?;
    let own = folder.join("bin/python");
    if !own.exists() {
        run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
    }
    let mut pip = Command::new(&own);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    for file in requirements {
        pip.arg("-r").arg(Path::new("python").join(file));
    }
    run(&mut pip)?;
    let mut pip = Command::new(&own);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--force-reinstall", "--no-deps"]);
    run(pip.arg(wheel))?;
    let root = workspace().canonicalize()?;
    let mut pytest = Command::new(&own);
    pytest.args(["-m", "pytest", "-q", "-c"]).arg(root.join("python/pyproject.toml")).arg(root.join("python/tests"));
    pytest.current_dir(tempdir(&folder)?);
    pytest.env("QUERIST_PROGRAM", root.join(build::program()));
    if requirements.len() > 2 {
        pytest.env("QUERIST_FULL", "1");
    }
    run(&mut pytest)
}

/// The folder of an environment, from the root: its Python is started in other folders.
pub fn environment(name: &str) -> Result<PathBuf> {
    Ok(workspace().canonicalize()?.join(target()).join("python").join(name))
}

/// The first block of Python in a page.
fn example(page: &str) -> Result<String> {
    let text = fs::read_to_string(page).with_context(|| page.to_owned())?;
    let block = text.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    block.map(str::to_owned).with_context(|| format!("{page} has no example in Python"))
}

/// An empty folder, so that nothing of the clone is found beside a program.
pub fn tempdir(beside: &Path) -> Result<PathBuf> {
    let folder = beside.join("away");
    wheels::remove(&folder)?;
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Puts the built packages of some kinds into a folder.
pub fn plugins_of(kinds: &[&str], to: &Path) -> Result<()> {
    let from = target().join("debug/plugins");
    wheels::remove(to)?;
    let mut count = 0;
    for entry in fs::read_dir(&from).with_context(|| format!("{}: build first", from.display()))? {
        let path = entry?.path();
        if path.is_dir() && kinds.contains(&kind_of(&path)?.as_str()) {
            install::copy_folder(&path, &to.join(path.file_name().unwrap_or_default()))?;
            count += 1;
        }
    }
    ensure!(count > 0, "{} holds no package of the kinds {kinds:?}", from.display());
    Ok(())
}

/// What a package says it is.
fn kind_of(package: &Path) -> Result<String> {
    let file = package.join("plugin.toml");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let table: toml::Table = text.parse().with_context(|| file.display().to_string())?;
    let kind = table.get("kind").and_then(toml::Value::as_str);
    kind.map(str::to_owned).with_context(|| format!("{} has no `kind`", file.display()))
}

/// The Python of an environment that has the tools that build wheels, as the list of them was last.
pub fn builder() -> Result<PathBuf> {
    let folder = target().join("python/build");
    let python = folder.join("bin/python");
    let (list, done) = (fs::read("python/requirements-build.txt")?, folder.join("requirements"));
    if fs::read(&done).ok().as_ref() != Some(&list) {
        let all = pythons();
        let newest = all.values().next_back().context("no Python is there: install python3 with its module `venv`")?;
        wheels::remove(&folder)?;
        run(Command::new(newest).args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
        run(pip.args(["-r", "python/requirements-build.txt"]))?;
        fs::write(done, list)?;
    }
    Ok(workspace().canonicalize()?.join(python))
}

/// Interpreters that work, by minor version: on the path, in the active environment, and those of pyenv.
fn pythons() -> BTreeMap<u32, PathBuf> {
    let named = MINORS.map(|minor| PathBuf::from(format!("python3.{minor}")));
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".pyenv")));
    let kept = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let kept = kept.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("bin/python")));
    let mut found = BTreeMap::new();
    for python in named.chain(wheels::pythons()).chain(kept) {
        if let Some(minor) = minor_of(&python).filter(|minor| MINORS.contains(minor)) {
            found.entry(minor).or_insert(python);
        }
    }
    found
}

/// The minor version of a Python 3 that can make environments.
fn minor_of(python: &Path) -> Option<u32> {
    const ASK: &str = "import sys, venv, ensurepip; print(sys.version_info[0], sys.version_info[1])";
    let said = Command::new(python).args(["-c", ASK]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    text.trim().strip_prefix("3 ")?.parse().ok()
}

/// The one file of a folder whose name begins like this.
pub fn only_file(folder: &Path, start: &str) -> Result<PathBuf> {
    let all = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_meant = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    let files: Vec<PathBuf> = all.filter(is_meant).collect();
    match &files[..] {
        [file] => Ok(workspace().canonicalize()?.join(file)),
        files => bail!("{} holds {} files {start}.., expected one wheel", folder.display(), files.len()),
    }
}
