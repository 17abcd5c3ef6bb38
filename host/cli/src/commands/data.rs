//! `querist data`: the public datasets.

use std::ops::ControlFlow;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use querist_core::SampleId;
use querist_core::config::{DatasetConfig, DatasetLayout};
use querist_data::{FetchOptions, FileState, Search, catalogue};
use querist_files::shown;
use serde_json::json;

use crate::commands::plugin::ListFormat;
use crate::exit::Usage;
use crate::output;
use crate::progress::{self, stopped};

/// List, check and download datasets.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the datasets that can be named in a run file.
    #[command(after_help = "Example:\n  querist data list")]
    List {
        /// Form of the list.
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
    },
    /// Verify a dataset's files and read all of it.
    ///
    /// Of folders of pictures it shows what is understood of them: splits, classes, sizes, modes, what is skipped.
    #[command(after_help = "Examples:\n  querist data check mnist --path ~/mnist\n  \
                            querist data check folder --path ~/flowers --size 32")]
    Check {
        /// Name of the dataset, or `folder` for images of your own.
        name: String,
        /// Folder or archive that holds it [default: the cache].
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
        /// How folders of pictures are read [default: by their names].
        #[arg(long, value_enum)]
        layout: Option<Layout>,
        /// Side in pixels to which every image is resized.
        #[arg(long, value_name = "PIXELS")]
        size: Option<u32>,
    },
    /// List the samples of a dataset by id: where each comes from.
    #[command(after_help = "Ids number the samples of a run, and the rows of `fixed_embeddings`.\n\nExample:\n  \
                            querist data files folder --path ~/flowers --size 32 > samples.csv")]
    Files {
        /// Name of the dataset, or `folder` for images of your own.
        name: String,
        /// Folder or archive that holds it [default: the cache].
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
        /// How folders of pictures are read [default: by their names].
        #[arg(long, value_enum)]
        layout: Option<Layout>,
        /// Side in pixels to which every image is resized; numbers do not depend on it.
        #[arg(long, value_name = "PIXELS")]
        size: Option<u32>,
        /// Form of the list.
        #[arg(long, value_enum, default_value_t = FilesFormat::Csv)]
        format: FilesFormat,
    },
    /// Download a dataset into the cache; an interrupted download goes on where it stopped.
    #[command(after_help = "Example:\n  querist data fetch cifar10")]
    Fetch {
        /// Name of the dataset.
        name: String,
        /// Address of a folder that holds the same files, instead of the official ones.
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
}

/// What folders of pictures are, as `dataset.layout` in a run file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// Each folder is a class, whatever its name.
    Classes,
    /// Each folder is a split, with a folder a class in it.
    Splits,
    /// As splits, and what is called validation is the test set.
    ValidationIsTest,
}

impl From<Layout> for DatasetLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Classes => Self::Classes,
            Layout::Splits => Self::Splits,
            Layout::ValidationIsTest => Self::ValidationIsTest,
        }
    }
}

/// Forms of the list of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FilesFormat {
    /// id, file.
    Csv,
    /// A list of objects of the same.
    Json,
}

/// Runs the verb.
pub fn main(command: &DataCommand) -> Result<()> {
    let search = Search::from_env();
    match command {
        DataCommand::List { format } => list(&search, *format),
        DataCommand::Check { name, path, layout, size } => check(&search, &config(name, path, *layout, *size)),
        DataCommand::Files { name, path, layout, size, format } => {
            files(&search, &config(name, path, *layout, *size), *format)
        }
        DataCommand::Fetch { name, mirror } => fetch(&search, name, mirror.as_deref()),
    }
}

fn config(name: &str, path: &Option<String>, layout: Option<Layout>, size: Option<u32>) -> DatasetConfig {
    let layout = layout.map(DatasetLayout::from);
    DatasetConfig { path: path.clone(), layout, size, ..DatasetConfig::named(name) }
}

fn list(search: &Search, format: ListFormat) -> Result<()> {
    let listings = querist_data::list(search);
    if format == ListFormat::Json {
        let rows: Vec<_> = listings
            .iter()
            .map(|l| {
                json!({
                    "name": l.set.name, "train": l.set.train, "test": l.set.test, "classes": l.set.classes,
                    "shape": l.set.shape, "present": l.present, "folder": l.folder, "origin": l.set.origin,
                })
            })
            .collect();
        return output::line(&serde_json::to_string_pretty(&rows)?);
    }
    let mut text = format!("{:<17} {:>7} {:>6} {:>8}  {:<9} STATE\n", "NAME", "TRAIN", "TEST", "CLASSES", "SHAPE");
    for l in listings {
        let [height, width, channels] = l.set.shape;
        let state = match (&l.folder, l.present) {
            (None, true) => "built in".to_owned(),
            (Some(folder), true) => shown(folder).into_string(),
            (_, false) if l.set.files.is_empty() => "not fetched; give `path`".to_owned(),
            (_, false) => format!("missing; `querist data fetch {}`", l.set.name),
        };
        let shape = if height == 0 { "any".to_owned() } else { format!("{height}x{width}x{channels}") };
        let (name, train, test, classes) = (l.set.name, l.set.train, l.set.test, l.set.classes);
        text += &format!("{name:<17} {train:>7} {test:>6} {classes:>8}  {shape:<9} {state}\n");
    }
    text += "folder            images of your own, one folder a class: give `path`\n";
    text += "list              pictures that text files name, a path and a label a line: `path`, `list`\n";
    text += "manifest          pictures that a CSV table names: `path`, `columns`\n";
    text += "parquet           tables with pictures or their paths, as Hugging Face's: `path`, `columns`\n";
    text += "webdataset        tar shards with KEY.jpg and KEY.cls or KEY.json: `path`\n";
    output::text(&text)
}

fn check(search: &Search, config: &DatasetConfig) -> Result<()> {
    let name = &config.name;
    let report = querist_data::check(config, search)?;
    for file in &report.files {
        let state = match &file.state {
            FileState::Missing => "missing".to_owned(),
            FileState::Verified => "verified".to_owned(),
            FileState::SameContent => "same content, other compression".to_owned(),
            FileState::Differs { sha256 } => format!("not the published file (SHA-256 {sha256})"),
        };
        output::line(&format!("{}  {state}", shown(&file.path)))?;
    }
    if let Some(pictures) = &report.pictures {
        output::text(&pictures.to_string())?;
    }
    if let Some(summary) = &report.summary {
        output::text(&summary.to_string())?;
    }
    let is_good = report.is_good();
    let digest = report.dataset?;
    output::line(&format!("{name}  readable, digest {digest}"))?;
    if is_good { Ok(()) } else { Err(Usage(format!("{name} is not the published dataset")).into()) }
}

fn files(search: &Search, config: &DatasetConfig, format: FilesFormat) -> Result<()> {
    let name = &config.name;
    let dataset = querist_data::load(config, search)?;
    let samples = (0..dataset.len() as u64).map(SampleId);
    // Sets without files of their own are numbered as published.
    let file = |sample: SampleId| dataset.file(sample).map_or_else(|| format!("{name}#{sample}"), str::to_owned);
    if format == FilesFormat::Json {
        let rows: Vec<_> = samples.map(|sample| json!({ "id": sample.0, "file": file(sample) })).collect();
        return output::line(&serde_json::to_string_pretty(&rows)?);
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["id", "file"])?;
    for sample in samples {
        csv.write_record([sample.to_string(), file(sample)])?;
    }
    output::bytes(&csv.into_inner()?, None)
}

fn fetch(search: &Search, name: &str, mirror: Option<&str>) -> Result<()> {
    let set = catalogue::find(name).map_err(|error| Usage(error.to_string()))?;
    progress::stop_on_interrupt()?;
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg:30} {wide_bar} {bytes}/{total_bytes} {eta:>5}") {
        bar.set_style(style);
    }
    let options = FetchOptions { mirror, ..FetchOptions::default() };
    let fetched = querist_data::fetch(set, search, options, &mut |progress| {
        bar.set_message(progress.file);
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        if stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish_and_clear();
    for file in fetched {
        let did = if file.downloaded { "downloaded" } else { "already there" };
        output::line(&format!("{}  {did}, verified", shown(&file.path)))?;
    }
    Ok(())
}
