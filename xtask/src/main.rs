//! Set-up, build, test and demo of Querist.

mod build;
mod check;
mod demo;
mod highs;
mod install;
mod libtorch;
mod page;
mod schemas;
mod setup;
mod wheels;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

/// Work on Querist itself.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Verb {
    /// Make everything that the build needs exist: libtorch in `.libtorch`, HiGHS in `.highs`, and Rust's
    /// WebAssembly target.
    Setup,
    /// Build the program and pack the plugins beside it.
    Build,
    /// Set up, build, run the example study and show where its report is.
    Demo {
        /// Folder of the study.
        #[arg(long, default_value = "runs/quick")]
        out: PathBuf,
    },
    /// Set up and run every check.
    Test {
        /// Slow extras too: longer kill tests, training on real pictures, benches built.
        #[arg(long)]
        full: bool,
    },
    /// Set up, build and check every rule on every plugin, with measurements.
    Conformance,
    /// Set up, build and run the benches.
    Bench,
    /// Write the JSON Schemas of files and strategies into `schemas/`, and `docs/strategies.md`.
    Schemas {
        /// Only say what differs.
        #[arg(long)]
        check: bool,
    },
    /// Set up, build and lay the program and its plugins down in a folder.
    Install {
        /// Folder that gets `bin/querist` and `lib/querist/plugins`.
        #[arg(long)]
        prefix: PathBuf,
    },
}

fn main() -> Result<()> {
    let verb = Verb::parse();
    let folder = std::env::current_dir().context("where am I?")?;
    let absolute = |path: PathBuf| folder.join(path);
    std::env::set_current_dir(workspace()).context("the workspace is gone")?;
    match verb {
        Verb::Setup => setup::setup(),
        Verb::Build => {
            setup::setup()?;
            build::everything()
        }
        Verb::Demo { out } => demo::demo(&absolute(out)),
        Verb::Test { full } => check::test(full),
        Verb::Conformance => {
            setup::setup()?;
            build::everything()?;
            check::conformance()
        }
        Verb::Bench => {
            setup::setup()?;
            build::everything()?;
            build::run(&mut build::cargo(["bench", "--workspace", "--profile", "dev", "--benches"]))
        }
        Verb::Schemas { check } => {
            setup::setup()?;
            build::everything()?;
            schemas::write(check)
        }
        Verb::Install { prefix } => install::install(&absolute(prefix)),
    }
}

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
