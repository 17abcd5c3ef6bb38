//! `querist report`: run folders to a table, a file of figures, or one self-contained page.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use querist_report::{PageOptions, Picture, Report, RunState, RunSummary, Thumbnail};

use crate::exit::Usage;
use crate::output;
use crate::run_folder::{StoredRound, StoredRun};
use crate::thumbnails;

/// Levels of folders below a named one in which runs are looked for.
const MAX_DEPTH: usize = 4;

/// Summarise and compare finished runs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist report runs/quick --html quick.html")]
pub struct ReportArgs {
    /// Run folders, or folders that hold some.
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// Write one self-contained page, too.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Form of the figures on standard output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Forms of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One row a run and round.
    Csv,
    /// Everything.
    Json,
}

/// Runs the verb.
pub fn main(args: &ReportArgs) -> Result<()> {
    let report = load(&args.folders)?;
    if let Some(path) = &args.html {
        let page = querist_report::html(&report, &PageOptions::default())?;
        std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("report: {}", path.display());
    }
    show(&report, args.format)
}

/// Prints the figures of some folders.
pub fn print(folders: &[PathBuf], format: Format) -> Result<()> {
    show(&load(folders)?, format)
}

fn show(report: &Report, format: Format) -> Result<()> {
    match format {
        Format::Table => output::text(&querist_report::table(report)),
        Format::Csv => {
            let mut csv = Vec::new();
            querist_report::csv(report, &mut csv)?;
            output::bytes(&csv, None)
        }
        Format::Json => output::line(&serde_json::to_string_pretty(&querist_report::json(report))?),
    }
}

fn load(folders: &[PathBuf]) -> Result<Report> {
    let mut runs = Vec::new();
    for folder in folders {
        let mut found = Vec::new();
        find(folder, MAX_DEPTH, &mut found)?;
        if found.is_empty() {
            return Err(Usage(format!("{} holds no runs", folder.display())).into());
        }
        runs.extend(found);
    }
    runs.sort();
    runs.dedup();
    let summaries = runs.iter().map(|folder| summary(folder)).collect::<Result<Vec<_>>>()?;
    Ok(Report::new(summaries)?)
}

fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if StoredRun::is_run(folder) {
        found.push(folder.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if depth > 0 && path.is_dir() {
            find(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

fn summary(folder: &Path) -> Result<RunSummary> {
    let run = StoredRun::read(folder)?;
    let state = if run.is_finished()? {
        RunState::Finished
    } else {
        let planned = run.config.budget.plan(run.header.dataset.pool)?.rounds() + 1;
        RunState::Incomplete { done: run.rounds.len(), planned }
    };
    let model = serde_json::to_value(run.config.model.name)?;
    let classes = &run.header.dataset.classes;
    Ok(RunSummary {
        label: run.config.strategy.label().to_owned(),
        strategy: run.header.strategy.clone(),
        seed: run.config.seeds.root,
        dataset: run.header.dataset.name.clone(),
        dataset_digest: run.header.dataset.digest.clone(),
        model: model.as_str().unwrap_or_default().to_owned(),
        config: serde_json::to_value(&run.config)?,
        thumbnails: run.rounds.iter().map(|round| pictures(round, classes)).collect::<Result<_>>()?,
        rounds: run.rounds.into_iter().map(|round| round.record).collect(),
        state,
    })
}

/// The queried pictures that the round kept.
fn pictures(round: &StoredRound, classes: &[String]) -> Result<Vec<Thumbnail>> {
    let path = round.folder.join("picks.png");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let count = round.labels.len().min(thumbnails::MAX_PICTURES);
    let tiles = thumbnails::tiles(&path, count).with_context(|| path.display().to_string())?;
    let mut pictures = Vec::with_capacity(count);
    for (rank, (tile, (_, label))) in tiles.into_iter().zip(&round.labels).enumerate() {
        let thumbnails::Tile { height, width, channels, pixels } = tile;
        let class = classes.get(label.index()).cloned().unwrap_or_default();
        pictures.push(Thumbnail { rank, class, picture: Picture::Raw { height, width, channels, pixels } });
    }
    Ok(pictures)
}
