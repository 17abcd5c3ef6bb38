//! `querist report`: run folders to a table, a file of figures, or one self-contained page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use querist_files::shown;
use querist_protocol::Shown;
use querist_report::{PageOptions, Picture, Report, RunState, RunSummary, Thumbnail};

use crate::exit::Usage;
use crate::output;
use crate::round_files::PICTURES;
use crate::stored_run::{StoredRound, StoredRun};
use crate::thumbnails;

/// Levels of folders below a named one in which runs are looked for.
const MAX_DEPTH: usize = 4;
/// Files and folders at most that are looked at below a named one.
const MOST_ENTRIES: usize = 1_000_000;
/// Bytes of pixels in a page at most; those of one more round may come on top.
const MOST_PICTURES: usize = 256 << 20;

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
    let pictures = if args.html.is_some() { Pictures::Shown } else { Pictures::None };
    let report = load(&args.folders, pictures)?;
    if let Some(path) = &args.html {
        let page = querist_report::html(&report, &PageOptions::default())?;
        std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        output::note(&format!("report: {}", path.display()));
    }
    show(&report, args.format)
}

/// Prints the figures of some folders.
pub fn print(folders: &[PathBuf], format: Format) -> Result<()> {
    show(&load(folders, Pictures::None)?, format)
}

/// A report in every form, for fuzzers.
pub fn every_form(folder: &Path) -> Result<Vec<String>> {
    let report = load(&[folder.to_owned()], Pictures::Shown)?;
    let mut csv = Vec::new();
    querist_report::csv(&report, &mut csv)?;
    Ok(vec![
        querist_report::html(&report, &PageOptions::default())?,
        querist_report::table(&report),
        String::from_utf8(csv)?,
        querist_report::json_text(&report)?,
    ])
}

fn show(report: &Report, format: Format) -> Result<()> {
    match format {
        Format::Table => output::text(&querist_report::table(report)),
        Format::Csv => {
            let mut csv = Vec::new();
            querist_report::csv(report, &mut csv)?;
            output::bytes(&csv, None)
        }
        Format::Json => output::line(&querist_report::json_text(report)?),
    }
}

/// The run folders below a folder, in order.
pub fn runs_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut search = Search::default();
    search.find(folder, MAX_DEPTH)?;
    search.found.sort();
    Ok(search.found)
}

/// The runs in folders that the user named, in order, each once.
pub fn runs_of(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    for folder in folders {
        let mut search = Search::default();
        search.find(folder, MAX_DEPTH)?;
        if let Some(first) = search.links.first() {
            let count = search.links.len();
            output::note(&format!(
                "note: links are not followed: {count} in {}, such as {}",
                shown(folder),
                shown(first)
            ));
        }
        if search.found.is_empty() {
            return Err(Usage(format!("{} holds no runs", shown(folder))).into());
        }
        runs.append(&mut search.found);
    }
    runs.sort();
    // A folder may be named twice, in two spellings.
    let mut seen = BTreeSet::new();
    runs.retain(|run| seen.insert(run.canonicalize().unwrap_or_else(|_| run.clone())));
    Ok(runs)
}

fn load(folders: &[PathBuf], pictures: Pictures) -> Result<Report> {
    let runs = runs_of(folders)?;
    let mut album = Album { wanted: pictures == Pictures::Shown, bytes: 0, left_out: 0 };
    let summaries = runs.iter().map(|folder| summary(folder, &mut album)).collect::<Result<Vec<_>>>()?;
    if album.left_out > 0 {
        let rounds = album.left_out;
        output::note(&format!(
            "note: the pictures of {rounds} rounds are left out, a page holds {MOST_PICTURES} bytes of them"
        ));
    }
    Ok(Report::new(summaries)?)
}

/// Looks for runs below a folder, and never leaves it.
#[derive(Default)]
struct Search {
    found: Vec<PathBuf>,
    links: Vec<PathBuf>,
    entries: usize,
}

impl Search {
    fn find(&mut self, folder: &Path, depth: usize) -> Result<()> {
        if StoredRun::is_run(folder) {
            self.found.push(folder.to_owned());
            return Ok(());
        }
        let cannot = || format!("cannot read {}", shown(folder));
        for entry in std::fs::read_dir(folder).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                let message = format!(
                    "more than {MOST_ENTRIES} files and folders where runs are looked for, at {}: name the runs, or a \
                     folder that holds little else",
                    shown(folder)
                );
                return Err(Usage(message).into());
            }
            let (path, kind) = (entry.path(), entry.file_type().with_context(cannot)?);
            if kind.is_symlink() && path.is_dir() {
                self.links.push(path);
            } else if depth > 0 && kind.is_dir() {
                self.find(&path, depth - 1)?;
            }
        }
        Ok(())
    }
}

fn summary(folder: &Path, album: &mut Album) -> Result<RunSummary> {
    let run = StoredRun::read(folder)?;
    let state = if run.is_finished() {
        RunState::Finished
    } else {
        RunState::Incomplete { done: run.rounds.len(), planned: run.planned() }
    };
    let model = serde_json::to_value(run.config.experiment.model.name)?;
    let classes = &run.header.dataset.classes;
    Ok(RunSummary {
        label: Shown::name(run.config.strategy.label()),
        strategy: run.header.strategy.clone(),
        layout: run.header.layout,
        seed: run.config.seeds.root,
        dataset: Shown::name(&run.header.dataset.name),
        dataset_digest: Shown::name(&run.header.dataset.digest),
        model: Shown::name(model.as_str().unwrap_or_default()),
        config: serde_json::to_value(&run.config)?,
        thumbnails: run.rounds.iter().map(|round| album.pictures(round, classes)).collect::<Result<_>>()?,
        rounds: run.rounds.into_iter().map(|round| round.record).collect(),
        state,
    })
}

/// Whether a report shows pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pictures {
    Shown,
    None,
}

/// The pictures of a report.
struct Album {
    wanted: bool,
    bytes: usize,
    left_out: usize,
}

impl Album {
    /// The queried pictures that the round kept.
    fn pictures(&mut self, round: &StoredRound, classes: &[String]) -> Result<Vec<Thumbnail>> {
        if !self.wanted || !round.files.names(PICTURES) {
            return Ok(Vec::new());
        }
        if self.bytes > MOST_PICTURES {
            self.left_out += 1;
            return Ok(Vec::new());
        }
        let path = round.files.folder().join(PICTURES);
        let png = round.files.bytes(PICTURES)?.unwrap_or_default();
        let count = round.labels.len().min(thumbnails::MAX_PICTURES);
        let tiles = thumbnails::tiles(&png, count).with_context(|| shown(&path).into_string())?;
        let mut pictures = Vec::with_capacity(count);
        for (rank, (tile, (_, label))) in tiles.into_iter().zip(&round.labels).enumerate() {
            let thumbnails::Tile { height, width, channels, pixels } = tile;
            let class = Shown::name(classes.get(label.index()).context("a label has no class")?);
            self.bytes += pixels.len();
            pictures.push(Thumbnail { rank, class, picture: Picture::Raw { height, width, channels, pixels } });
        }
        Ok(pictures)
    }
}
