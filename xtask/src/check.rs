//! Every check, the cheapest first.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;

use crate::build::{self, cargo, program, run, step, target};
use crate::{lint, moved, onnx, schemas, setup, template, workspace};

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
        run(&mut with_runner(&["--run-ignored", "all"], &["--", "--include-ignored"]))?;
        step("benches");
        run(&mut cargo(["bench", "--workspace", "--no-run"]))?;
    } else {
        run(&mut with_runner(&[], &[]))?;
    }
    step("documentation tests");
    run(&mut cargo(["test", "--workspace", "--doc", "--quiet"]))?;
    eprintln!("==> all checks passed in {} s", clock.elapsed().as_secs());
    Ok(())
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
