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
    Run,
    /// Of a study file.
    Study,
    /// Of the file beside an ONNX or TorchScript network.
    Sidecar,
    /// Of a strategy's parameters.
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
            listing.resolve(id).map_err(|error| crate::exit::Usage(error.to_string()))?.strategy.schema.clone()
        }
    };
    crate::output::line(&serde_json::to_string_pretty(&schema)?)
}
