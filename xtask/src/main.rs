//! Set-up, build, test and demo of Querist.

mod build;
mod check;
mod demo;
mod highs;
mod install;
mod keys;
mod label_page;
mod libtorch;
mod lint;
mod moved;
mod onnx;
mod page;
mod schemas;
mod setup;
mod template;
mod torch_wheel;
mod weights;
mod wheel;
mod wheels;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

/// Work on Querist itself: set up, build, try, check, install.
///
/// Every verb sets up first what it needs; `demo` and `test` are all that a fresh clone asks for.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Fetch what the build needs: libtorch into `.libtorch`, HiGHS into `.highs`, Rust's WebAssembly target.
    Setup {
        /// Published weights too, into `.weights`; some tests are skipped without them.
        #[arg(long)]
        weights: bool,
        /// ONNX Runtime too, into `.onnxruntime`: for models in ONNX files.
        #[arg(long)]
        onnx: bool,
    },
    /// Build the program, and pack the plugins beside it in `target/debug/plugins`.
    Build,
    /// Build what the example study needs, run it, and say where its report is.
    Demo {
        /// Folder of the study.
        #[arg(long, default_value = "runs/quick")]
        out: PathBuf,
    },
    /// Run every check: what must pass before a merge.
    Test {
        /// Slow extras too: longer kill tests, training on real pictures, benches built, the check for GPUs without
        /// one.
        #[arg(long)]
        full: bool,
    },
    /// Check format, spelling, licences and sources of crates, lints and documentation.
    ///
    /// Needs `typos` and `cargo-deny`: `cargo install --locked typos-cli cargo-deny`. `test` runs those two where they
    /// are installed.
    Lint,
    /// Build, then check the template that authors copy: test it outside the workspace, build, pack and check it.
    Template,
    /// Build, then check every rule that strategies keep on every plugin, with measurements.
    Conformance,
    /// Build, then run the benches.
    Bench,
    /// Build, then write what is generated: `schemas/`, `docs/strategies.md`, `docs/errors.md`, the tables of
    /// `docs/run-files.md`.
    ///
    /// Other generated files and snapshots are written by tests: `UPDATE_EXPECT=1 cargo test -p CRATE`.
    Schemas {
        /// Only say what differs.
        #[arg(long)]
        check: bool,
    },
    /// Write the calls between host and plugins anew from `plugin-sdk/wit`: trait, types, C table, both ends of both
    /// routes.
    Boundary {
        /// Only say what differs.
        #[arg(long)]
        check: bool,
    },
    /// Check the types of the page on which people label, and write its programs anew; needs Node with npm.
    Page {
        /// Only say what differs.
        #[arg(long)]
        check: bool,
    },
    /// Build, then make the Python wheels in `target/wheels`: one of the command line, the sandboxed plugins and the
    /// API of Python, and one of what trains with an installed torch.
    Wheel {
        /// Build its code as all else here: larger, and in seconds instead of minutes.
        #[arg(long)]
        quick: bool,
        /// Test it, too, in environments of the oldest and the newest Python that are here.
        #[arg(long)]
        test: bool,
    },
    /// Build, then lay the program, libtorch and the plugins down in a folder that needs nothing of this clone.
    Install {
        /// Folder that gets `bin/querist` and `lib/querist`.
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
        Verb::Setup { weights, onnx } => {
            setup::setup()?;
            if weights {
                weights::setup(&workspace())?;
            }
            if onnx { onnx::setup(&workspace()) } else { Ok(()) }
        }
        Verb::Build => {
            setup::setup()?;
            build::everything()
        }
        Verb::Demo { out } => demo::demo(&absolute(out)),
        Verb::Test { full } => check::test(full),
        Verb::Lint => lint::lint(),
        Verb::Template => {
            setup::setup()?;
            build::everything()?;
            template::template()
        }
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
        Verb::Boundary { check } => {
            let mut command = build::cargo(["run", "--quiet", "--package", "querist-boundary", "--"]);
            build::run(if check { command.arg("--check") } else { &mut command })
        }
        Verb::Page { check } => label_page::page(check),
        Verb::Wheel { quick, test } => {
            setup::setup()?;
            build::everything()?;
            let wheel = wheel::build(if quick { wheel::Profile::Dev } else { wheel::Profile::Wheel })?;
            let torch = torch_wheel::build()?;
            if test { wheel::test(&wheel, &torch, false) } else { Ok(()) }
        }
        Verb::Install { prefix } => install::install(&absolute(prefix)),
    }
}

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    /// Words behind `cargo xtask` in a text.
    fn called(text: &str) -> impl Iterator<Item = &str> {
        text.split("cargo xtask ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next())
    }

    /// Texts below a folder in which a verb may be named.
    fn texts(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() || ["target", "runs", ".git"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                texts(&path, found);
            } else if [".md", ".rs", ".toml", ".yml", "/run"].iter().any(|end| path.to_string_lossy().ends_with(end)) {
                found.push(path);
            }
        }
    }

    #[test]
    fn pages_name_every_verb_and_no_other() {
        let command = Verb::command();
        let verbs: BTreeSet<&str> = command.get_subcommands().map(|verb| verb.get_name()).collect();
        let page = fs::read_to_string(workspace().join("CONTRIBUTING.md")).unwrap();
        let told: BTreeSet<&str> = called(&page).collect();
        assert_eq!(told, verbs, "CONTRIBUTING.md");
        let mut files = Vec::new();
        texts(&workspace(), &mut files);
        assert!(files.len() > 300, "{} files", files.len());
        for path in files {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let strange: Vec<&str> = called(&text).filter(|word| !word.is_empty() && !verbs.contains(word)).collect();
            assert!(strange.is_empty(), "{}: there is no `cargo xtask {}`", path.display(), strange.join("`, `"));
        }
    }
}
