//! Checks that build nothing to run: format, lints, documentation, spelling, and what crates of others must keep.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::build::{cargo, run, step};
use crate::setup;

/// A tool that does not come with Rust: its name, the crate it is in, and how it is called.
struct Tool {
    name: &'static str,
    krate: &'static str,
    call: &'static [&'static str],
}

const TOOLS: [Tool; 2] = [
    Tool { name: "typos", krate: "typos-cli", call: &["typos"] },
    // What needs no network; deny.toml says where the rest runs.
    Tool {
        name: "cargo-deny",
        krate: "cargo-deny",
        call: &["cargo-deny", "--log-level", "error", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"],
    },
];

/// Runs every one of them; a tool that is missing is an error.
///
/// # Errors
/// If something is wrong, or a tool is not installed.
pub fn lint() -> Result<()> {
    format()?;
    for tool in &TOOLS {
        if !tool.is_installed() {
            bail!("`{}` is not installed: `cargo install --locked {}`", tool.name, tool.krate);
        }
        tool.run()?;
    }
    step("lock file of fuzz/");
    run(&mut cargo(["update", "--quiet", "--workspace", "--locked", "--manifest-path", "fuzz/Cargo.toml"]))?;
    setup::setup()?;
    code()
}

/// Runs the tools that are installed, and says which are not.
///
/// # Errors
/// If one of them finds something.
pub fn installed_tools() -> Result<()> {
    for tool in &TOOLS {
        if tool.is_installed() {
            tool.run()?;
        } else {
            step(&format!("NOT checked: `{}` is not installed (`cargo install --locked {}`)", tool.name, tool.krate));
        }
    }
    Ok(())
}

/// The format of all sources.
///
/// # Errors
/// If a file is formatted otherwise.
pub fn format() -> Result<()> {
    step("format");
    run(&mut cargo(["fmt", "--all", "--check"]))
}

/// Lints and documentation; both deny warnings.
///
/// # Errors
/// If there is one.
pub fn code() -> Result<()> {
    step("lints");
    run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    step("documentation");
    run(cargo(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "--deny warnings"))
}

impl Tool {
    fn is_installed(&self) -> bool {
        let mut command = Command::new(self.name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn run(&self) -> Result<()> {
        step(&self.call.join(" "));
        run(Command::new(self.call[0]).args(&self.call[1..]))
    }
}
