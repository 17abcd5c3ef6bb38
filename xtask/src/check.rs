//! Every check, the cheapest first.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::build::{self, cargo, program, run, step, target};
use crate::{label_page, lint, moved, onnx, schemas, setup, template, torch_wheel, wheel, wheels, workspace};

/// Crates that are published, in the order in which they depend on each other.
const PUBLISHED: [&str; 8] = [
    "querist-protocol",
    "querist-sdk",
    "querist-core",
    "querist-kernels",
    "querist-conformance",
    "querist-testkit",
    "querist-sdk-torch",
    "querist-torch-parts",
];

/// Packs the crates that are published, as cargo would upload them. What they hold compiles in the workspace already.
fn published() -> Result<()> {
    step("crates that are published");
    let mut publish = cargo(["publish", "--dry-run", "--no-verify", "--allow-dirty"]);
    for name in PUBLISHED {
        publish.args(["--package", name]);
    }
    run(&mut publish)
}

/// Sets up and runs every check.
pub fn test(full: bool) -> Result<()> {
    let clock = Instant::now();
    lint::format()?;
    lint::installed_tools()?;
    setup::setup()?;
    onnx::setup(&workspace())?;
    build::with_tests()?;
    schemas::write(true)?;
    lint::code()?;
    template::template()?;
    moved::works()?;
    step("tests");
    if full {
        label_page::page(true)?;
        run(&mut with_runner(&["--run-ignored", "all"], &["--", "--include-ignored"]))?;
        step("benches");
        // In the profile that everything is built in; figures are taken in that of releases.
        run(&mut cargo(["bench", "--workspace", "--no-run", "--profile", "dev"]))?;
        published()?;
        gpu_check()?;
    } else {
        run(&mut with_runner(&[], &[]))?;
    }
    wheel::test(&wheel::build(wheel::Profile::Dev)?, &torch_wheel::build()?, full)?;
    step("documentation tests");
    run(&mut cargo(["test", "--workspace", "--doc", "--quiet"]))?;
    eprintln!("==> all checks passed in {} s", clock.elapsed().as_secs());
    Ok(())
}

/// What of the check for machines with a GPU needs none, on small data.
fn gpu_check() -> Result<()> {
    step("the check for GPUs, without one");
    let results = target().join("gpu-check");
    wheels::remove(&results)?;
    let works = |python: &PathBuf| {
        let asked = Command::new(python).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    let python = wheels::pythons().into_iter().find(works).context("no Python is there: install python3")?;
    let mut command = Command::new(python);
    command.args(["docs/benchmarks/gpu_check.py", "--device", "cpu", "--quick", "--programs"]);
    run(command.arg(target().join("debug")).arg("--results").arg(results))
}

/// Checks every rule on every built plugin.
pub fn conformance() -> Result<()> {
    step("checking the plugins");
    run(Command::new(program()).args(["plugin", "check"]).arg(target().join("debug/plugins")))
}

/// The tests under nextest where it is installed, else under cargo's own runner.
fn with_runner(nextest: &[&str], own: &[&str]) -> Command {
    let has_nextest = cargo(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut command = if has_nextest {
        let mut command = cargo(["nextest", "run", "--workspace"]);
        command.args(nextest);
        command
    } else {
        let mut command = cargo(["test", "--workspace", "--lib", "--bins", "--tests"]);
        // Trainings draw from libtorch's generator, which a process has one of.
        command.args(own).env("RUST_TEST_THREADS", "1");
        command
    };
    // Many test processes share few cores.
    command.env("OMP_NUM_THREADS", "1");
    command
}
