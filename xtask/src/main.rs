//! Set-up, build, test and demo.

mod libtorch;

use clap::Parser;

/// Work on Querist itself.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Verb {
    /// Make everything that the build needs exist: libtorch in `.libtorch`, and Rust's WebAssembly target.
    Setup,
}

fn main() -> anyhow::Result<()> {
    match Verb::parse() {
        Verb::Setup => libtorch::setup(),
    }
}
