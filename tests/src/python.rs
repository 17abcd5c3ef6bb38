//! Pythons for tests that need one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workspace;

/// The interpreter itself, wherever a shim or a link leads: tests start it without an environment.
///
/// # Panics
/// If this machine has no Python, which building needs, too.
pub fn python() -> String {
    python_that("import sys").expect("python3 can be started")
}

/// One that has these packages; `None`, said, where there is none.
pub fn python_with(packages: &str) -> Option<String> {
    let found = python_that(&format!("import {packages}"));
    if found.is_none() {
        eprintln!("skipped: no Python with `{packages}`; QUERIST_TEST_PYTHON may name one");
    }
    found
}

fn python_that(can: &str) -> Option<String> {
    let named = std::env::var_os("QUERIST_TEST_PYTHON").map(PathBuf::from);
    let active = std::env::var_os("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    let all = named.into_iter().chain(active).chain(["python3".into(), "/usr/bin/python3".into()]);
    all.into_iter().find_map(|python| {
        let script = format!("{can}\nimport sys\nprint(sys.executable)");
        let output = Command::new(python).args(["-c", &script]).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    })
}

/// A virtual environment with packages from PyPI, made once and kept beside what is built; gives its interpreter.
///
/// # Panics
/// If it cannot be made.
pub fn environment(name: &str, packages: &[&str]) -> String {
    let folder = crate::target().join("python").join(name);
    let (python, done) = (folder.join("bin/python"), folder.join("packages.txt"));
    let wanted = packages.join("\n");
    // Tests run in processes of their own, and several want the same environment.
    std::fs::create_dir_all(folder.parent().expect("it has a name")).expect("the folder is ours");
    let lock = std::fs::File::create(folder.with_extension("lock")).expect("the folder is ours");
    lock.lock().expect("locks work here");
    if std::fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return python.display().to_string();
    }
    let run = |command: &mut Command| assert!(command.status().is_ok_and(|s| s.success()), "{command:?}");
    run(Command::new(self::python()).args(["-m", "venv", "--clear"]).arg(&folder));
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-cache-dir"]).args(packages));
    std::fs::write(&done, wanted).expect("the folder is ours");
    python.display().to_string()
}

/// A folder for `PYTHONPATH` in which `querist.learner` is found, and nothing else of the package.
///
/// # Panics
/// If the place cannot be written to.
pub fn learner_module(place: &crate::cli::Place) -> PathBuf {
    let source = workspace().join("python/querist/learner/__init__.py");
    place.write("python/querist/learner/__init__.py", std::fs::read(source).expect("the module is there"));
    place.at("python")
}
