//! `querist schema`: the JSON Schema of a file or of a strategy's parameters.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use querist_core::config::schemas;

use crate::plugins;

/// Print a JSON Schema.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist schema strategy badge")]
pub struct SchemaArgs {
    /// Which schema.
    #[command(subcommand)]
    pub of: SchemaOf,
}

/// Which schema.
#[derive(Debug, Subcommand)]
pub enum SchemaOf {
    /// Of a run file.
    #[command(after_help = "Example:\n  querist schema run > run.schema.json")]
    Run,
    /// Of a study file.
    #[command(after_help = "Example:\n  querist schema study > study.schema.json")]
    Study,
    /// Of the file beside an ONNX or TorchScript network.
    #[command(after_help = "Example:\n  querist schema sidecar > sidecar.schema.json")]
    Sidecar,
    /// Of a strategy's parameters.
    #[command(after_help = "Example:\n  querist schema strategy badge")]
    Strategy {
        /// Id of the strategy.
        id: String,
        /// Look for plugins here too, first.
        #[arg(long, value_name = "DIR")]
        plugin_dir: Vec<PathBuf>,
    },
}

/// Runs the verb.
pub fn main(args: &SchemaArgs) -> Result<()> {
    let schema = match &args.of {
        SchemaOf::Run => schemas()["run"].clone(),
        SchemaOf::Study => schemas()["study"].clone(),
        SchemaOf::Sidecar => schemas()["sidecar"].clone(),
        SchemaOf::Strategy { id, plugin_dir } => {
            let listing = plugins::listing(plugin_dir)?;
            listing.resolve(id)?.strategy.schema.clone()
        }
    };
    crate::output::line(&serde_json::to_string_pretty(&schema)?)
}
