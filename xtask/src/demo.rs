//! The first thing a newcomer runs.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::build::{self, program, run, step};
use crate::setup;

/// Runs the example study and makes its report.
pub fn demo(out: &Path) -> Result<()> {
    setup::setup()?;
    build::everything()?;
    step("running examples/quick.toml (finished runs are skipped)");
    run(Command::new(program()).args(["study", "run", "examples/quick.toml", "--out"]).arg(out))?;
    let page = out.join("report.html");
    run(Command::new(program())
        .arg("report")
        .arg(out)
        .arg("--html")
        .arg(&page)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null()))?;
    println!("\nOpen {} in a browser.", page.display());
    Ok(())
}
