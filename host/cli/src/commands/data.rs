//! `querist data`: the public datasets.

use std::ops::ControlFlow;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use querist_core::SampleId;
use querist_core::config::{ColumnsConfig, DatasetConfig, DatasetLayout, ListConfig, SampleOrder};
use querist_data::{CheckReport, FetchOptions, FileReport, FileState, Search, Summary, catalogue};
use querist_files::shown;
use querist_protocol::Shown;
use serde_json::{Value, json};

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
                            querist data check folder --path ~/flowers --size 32\n  \
                            querist data check list --path ~/photos --train-list train.txt --test-list test.txt")]
    Check {
        #[command(flatten)]
        dataset: Given,
        /// Form of the answer.
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
    },
    /// List the samples of a dataset by id: where each comes from.
    #[command(after_help = "Ids number the samples of a run, and the rows of `fixed_embeddings`.\n\nExample:\n  \
                            querist data files folder --path ~/flowers --size 32 > samples.csv")]
    Files {
        #[command(flatten)]
        dataset: Given,
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

/// A dataset, as under `[dataset]` in a run file.
#[derive(Debug, Args)]
pub struct Given {
    /// Name of the dataset, or of a form of your own data: `folder`, `list`, `manifest`, `parquet`, `webdataset`.
    name: String,
    /// Folder or archive that holds it [default: the cache].
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// How folders of pictures are read [default: by their names].
    #[arg(long, value_enum)]
    layout: Option<Layout>,
    /// Side in pixels to which every image is resized; numbers of samples do not depend on it.
    #[arg(long, value_name = "PIXELS")]
    size: Option<u32>,
    /// List of training pictures, `dataset.list.train`.
    #[arg(long, value_name = "FILE")]
    train_list: Option<String>,
    /// List of validation pictures, `dataset.list.validation`.
    #[arg(long, value_name = "FILE", requires = "train_list")]
    validation_list: Option<String>,
    /// List of test pictures, or a folder with a folder a class, `dataset.list.test`.
    #[arg(long, value_name = "FILE", requires = "train_list")]
    test_list: Option<String>,
    /// Column of pictures or paths, `dataset.columns.image`.
    #[arg(long, value_name = "COLUMN")]
    image_column: Option<String>,
    /// Column or key of classes, `dataset.columns.label`.
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<String>,
    /// Column of splits, `dataset.columns.split`.
    #[arg(long, value_name = "COLUMN")]
    split_column: Option<String>,
    /// How samples are numbered, `dataset.order`.
    #[arg(long, value_enum)]
    order: Option<Order>,
}

/// How samples are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// By a hash of their contents.
    Content,
    /// As in the files.
    Published,
}

impl Given {
    fn config(&self) -> DatasetConfig {
        let list = self.train_list.clone().map(|train| ListConfig {
            train,
            validation: self.validation_list.clone(),
            test: self.test_list.clone(),
        });
        let columns = ColumnsConfig {
            image: self.image_column.clone(),
            label: self.label_column.clone(),
            split: self.split_column.clone(),
        };
        DatasetConfig {
            path: self.path.clone(),
            layout: self.layout.map(DatasetLayout::from),
            size: self.size,
            list,
            columns: Some(columns).filter(|columns| *columns != ColumnsConfig::default()),
            order: self.order.map(|order| match order {
                Order::Content => SampleOrder::Content,
                Order::Published => SampleOrder::Published,
            }),
            ..DatasetConfig::named(&self.name)
        }
    }
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
        DataCommand::Check { dataset, format } => check(&search, &dataset.config(), *format),
        DataCommand::Files { dataset, format } => files(&search, &dataset.config(), *format),
        DataCommand::Fetch { name, mirror } => fetch(&search, name, mirror.as_deref()),
    }
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

fn check(search: &Search, config: &DatasetConfig, format: ListFormat) -> Result<()> {
    let name = &config.name;
    let report = querist_data::check(config, search)?;
    if format == ListFormat::Json {
        return check_as_json(name, report);
    }
    for file in &report.files {
        let state = match &file.state {
            FileState::Differs { sha256 } => format!("not the published file (SHA-256 {sha256})"),
            other => state_of(other).to_owned(),
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

/// A file's state in words.
fn state_of(state: &FileState) -> &'static str {
    match state {
        FileState::Missing => "missing",
        FileState::Verified => "verified",
        FileState::SameContent => "same content, other compression",
        FileState::Differs { .. } => "differs",
    }
}

/// The same for programs; what is understood of pictures and rows stands there as people read it.
fn check_as_json(name: &str, report: CheckReport) -> Result<()> {
    let file = |file: &FileReport| {
        let sha256 = match &file.state {
            FileState::Differs { sha256 } => Some(sha256),
            _ => None,
        };
        json!({ "path": shown(&file.path).as_str(), "state": state_of(&file.state), "sha256": sha256 })
    };
    let summary = |summary: &Summary| {
        let class = |(name, counts): &(String, [usize; 3])| {
            let ([train, validation, test], name) = (counts, Shown::name(name));
            json!({ "name": name.as_str(), "train": train, "validation": validation, "test": test })
        };
        let classes: Vec<Value> = summary.classes.iter().map(class).collect();
        json!({ "shape": summary.shape, "embedding": summary.embedding, "classes": classes })
    };
    let is_good = report.is_good();
    let value = json!({
        "name": name,
        "good": is_good,
        "digest": report.dataset.as_ref().ok(),
        "problem": report.dataset.as_ref().err().map(ToString::to_string),
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
        "pictures": report.pictures.as_ref().map(ToString::to_string),
        "summary": report.summary.as_ref().map(summary),
    });
    output::line(&serde_json::to_string_pretty(&value)?)?;
    report.dataset?;
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
