//! `querist label export`: what a run asks, as a file for another tool.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use querist_files::shown;
use querist_people::formats::{self, Export, Format, Pictures};

use super::files;
use crate::exit::Usage;
use crate::output;

/// Write what a run asks people, with the answers so far, for another tool.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist label export runs/birds --format csv --out batch.csv")]
pub struct ExportArgs {
    /// Run folder.
    pub run: PathBuf,
    /// Whose files to write.
    #[arg(long, value_parser = files::format_parser())]
    pub format: Format,
    /// File for `csv` and `parquet`, folder for all others; nothing is replaced.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Only pictures without an outcome yet.
    #[arg(long)]
    pub open: bool,
    /// Write what the model takes each picture for, too; people who see it agree with it more often.
    #[arg(long)]
    pub guesses: bool,
    /// How pictures get beside the files [default: copy].
    #[arg(long, value_enum)]
    pub pictures: Option<PicturesBy>,
    /// For `label-studio`: what stands before a picture's name in its address [default: /data/local-files/?d=].
    #[arg(long, value_name = "PREFIX")]
    pub address: Option<String>,
}

/// How pictures get beside the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PicturesBy {
    /// As copies.
    Copy,
    /// As hard links, which take no room; a tool that changes one changes the original.
    Link,
}

/// Runs the verb.
pub fn main(args: &ExportArgs) -> Result<()> {
    let format = args.format;
    let refused = [
        (args.guesses && !format.has_guesses(), "--guesses", "csv, label-studio and parquet"),
        (args.pictures.is_some() && !format.has_pictures(), "--pictures", "folder, coco, cvat and fiftyone"),
        (args.address.is_some() && args.format != Format::LabelStudio, "--address", "label-studio"),
    ];
    if let Some((_, flag, formats)) = refused.iter().find(|(is_refused, ..)| *is_refused) {
        return Err(Usage(format!("`{flag}` is for {formats}; files of `{format}` have no place for it")).into());
    }
    let journal = files::open(&args.run)?;
    let mut export = Export::of(&journal, args.open);
    if export.rows.is_empty() {
        return Err(Usage("every picture has an outcome, so none is open: leave out `--open`".to_owned()).into());
    }
    export.guesses = args.guesses;
    if let Some(by) = args.pictures {
        export.pictures = match by {
            PicturesBy::Copy => Pictures::Copy,
            PicturesBy::Link => Pictures::Link,
        };
    }
    if let Some(address) = &args.address {
        export.address = address;
    }
    formats::write(format, &export, &args.out).map_err(files::told)?;
    let (count, stage) = (export.rows.len(), journal.batch().stage);
    let open = export.rows.iter().filter(|row| !row.outcome.is_final()).count();
    output::note(&format!("{count} pictures of {stage} in {}, {open} of them open", shown(&args.out)));
    Ok(())
}
