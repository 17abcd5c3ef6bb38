//! `querist label`: people label what a run asks for.

mod backend;
mod export;
mod files;
mod import;
mod serve;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Have people label what a run asks for.
#[derive(Debug, Args)]
pub struct LabelArgs {
    #[command(subcommand)]
    command: LabelCommand,
}

#[derive(Debug, Subcommand)]
enum LabelCommand {
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Serve(serve::ServeArgs),
}

/// Runs the verb.
pub fn main(args: &LabelArgs) -> Result<()> {
    match &args.command {
        LabelCommand::Export(args) => export::main(args),
        LabelCommand::Import(args) => import::main(args),
        LabelCommand::Serve(args) => serve::main(args),
    }
}
