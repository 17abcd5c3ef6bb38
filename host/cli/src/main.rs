//! `querist`: active learning with plugin strategies.

mod commands;
mod config_file;
mod exit;
mod output;
mod plugins;
mod progress;
mod run_folder;
mod thumbnails;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{data, doctor, plugin, report, run, schema, select, study};

/// Active learning with plugin strategies.
#[derive(Debug, Parser)]
#[command(name = "querist", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::RunArgs),
    #[command(subcommand)]
    Study(study::StudyCommand),
    Report(report::ReportArgs),
    Select(select::SelectArgs),
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    Schema(schema::SchemaArgs),
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Say what this program found on this machine, and what is missing.
    Doctor,
    /// Compile one component; the sandbox calls this in a process of its own.
    #[command(hide = true, name = plugins::COMPILE_VERB)]
    Compile {
        source: PathBuf,
        target: PathBuf,
    },
}

fn main() -> ExitCode {
    // Before anything asks libtorch about CUDA: it caches the first answer.
    querist_torchx::runtime::init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: they go to standard output with code 0.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match &cli.verb {
        Verb::Run(args) => run::main(args),
        Verb::Study(command) => study::main(command),
        Verb::Report(args) => report::main(args),
        Verb::Select(args) => select::main(args),
        Verb::Plugin(command) => plugin::main(command),
        Verb::Schema(args) => schema::main(args),
        Verb::Data(command) => data::main(command),
        Verb::Doctor => doctor::main(),
        Verb::Compile { source, target } => querist_loader::compile_file(source, target).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
