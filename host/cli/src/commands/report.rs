//! `querist report`: run folders to a table, a file of figures, or one self-contained page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use querist_files::{Links, shown};
use querist_protocol::Shown;
use querist_report::{Columns, PageOptions, Picture, Report, RunState, RunSummary, Thumbnail};

use crate::exit::Usage;
use crate::output;
use crate::round_files::{EPOCHS, PICTURES, sha256};
use crate::stored_run::{StoredRound, StoredRun};
use crate::thumbnails;

/// Levels of folders below a named one in which runs are looked for.
const MAX_DEPTH: usize = 4;
/// Files and folders at most that are looked at below a named one.
const MOST_ENTRIES: usize = 1_000_000;
/// Bytes of pixels in a page at most; those of one more round may come on top.
const MOST_PICTURES: usize = 256 << 20;

/// Bytes of a file of curves at most.
const MOST_CURVES: u64 = 1 << 30;
/// Bytes of `initial.csv` and of `epochs.csv` at most that are looked at.
const MOST_LINES: u64 = 256 << 20;

/// Summarise and compare finished runs, or curves that were made elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  querist report runs/quick --html quick.html\n  \
                        querist report --curves published.csv --labelled-column n --accuracy-column acc")]
pub struct ReportArgs {
    /// Run folders, or folders that hold some.
    #[arg(required_unless_present = "curves", conflicts_with = "curves", value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// What a curve is of: keys of the run files such as `recipe.optimiser`, and `strategy`. What runs differ in
    /// otherwise makes settings, which are reported one by one [default: strategy].
    #[arg(long, value_name = "KEY", value_delimiter = ',', conflicts_with = "curves")]
    pub curves_by: Vec<String>,
    /// Write one self-contained page, too.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the charts as SVG files in a folder, too.
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// Form of the figures on standard output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    pub curves: CurvesArgs,
}

/// Curves that were made elsewhere.
#[derive(Debug, Args)]
pub struct CurvesArgs {
    /// CSV file with a header: a strategy, a seed, labelled samples and an accuracy a row; other columns are settings.
    #[arg(long, value_name = "FILE.csv")]
    pub curves: Option<PathBuf>,
    /// Column of the strategy's name.
    #[arg(long, value_name = "NAME", default_value = "strategy", requires = "curves")]
    pub strategy_column: String,
    /// Column of what pairs the curves of two strategies.
    #[arg(long, value_name = "NAME", default_value = "seed", requires = "curves")]
    pub seed_column: String,
    /// Column of the number of labelled samples.
    #[arg(long, value_name = "NAME", default_value = "labelled", requires = "curves")]
    pub labelled_column: String,
    /// Column of the accuracy, a fraction.
    #[arg(long, value_name = "NAME", default_value = "accuracy", requires = "curves")]
    pub accuracy_column: String,
    /// Column that says nothing of the setting, such as a time; may be given more than once.
    #[arg(long, value_name = "NAME", requires = "curves")]
    pub ignore_column: Vec<String>,
    /// Accuracies are percentages.
    #[arg(long, requires = "curves")]
    pub percent: bool,
}

/// Forms of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One row a run and round.
    Csv,
    /// One row a point of each mean curve, with its intervals.
    CurvesCsv,
    /// Every table, for a README.
    Markdown,
    /// Every table, for a paper.
    Latex,
    /// Every number of every table, and the records.
    Json,
}

/// Runs the verb.
pub fn main(args: &ReportArgs) -> Result<()> {
    let pictures = if args.html.is_some() { Pictures::Shown } else { Pictures::None };
    let report = match &args.curves.curves {
        Some(file) => of_curves(file, &args.curves, args.format)?,
        None => load(&args.folders, pictures, &args.curves_by)?,
    };
    if let Some(path) = &args.html {
        let page = querist_report::html(&report, &PageOptions::default())?;
        write(path, page.as_bytes())?;
        output::note(&format!("report: {}", path.display()));
    }
    if let Some(folder) = &args.figures {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (name, svg) in querist_report::svg_figures(&report) {
            write(&folder.join(format!("{name}.svg")), svg.as_bytes())?;
        }
        output::note(&format!("figures: {}", folder.display()));
    }
    show(&report, args.format)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn of_curves(file: &Path, args: &CurvesArgs, format: Format) -> Result<Report> {
    if format == Format::Csv {
        let message = "`--format csv` has a row for each round of a run; for curves there is `--format curves-csv`";
        return Err(Usage(message.to_owned()).into());
    }
    let columns = Columns {
        strategy: args.strategy_column.clone(),
        seed: args.seed_column.clone(),
        labelled: args.labelled_column.clone(),
        accuracy: args.accuracy_column.clone(),
        ignored: args.ignore_column.clone(),
        percent: args.percent,
    };
    let bytes = querist_files::read(file, Links::Follow, MOST_CURVES)?;
    let curves = columns.read(&bytes[..]).map_err(|error| Usage(format!("{}: {error}", shown(file))))?;
    Ok(Report::of_curves(curves)?)
}

/// Prints the figures of some folders.
pub fn print(folders: &[PathBuf], format: Format) -> Result<()> {
    show(&load(folders, Pictures::None, &[])?, format)
}

/// A report in every form, for fuzzers.
pub fn every_form(folder: &Path) -> Result<Vec<String>> {
    let report = load(&[folder.to_owned()], Pictures::Shown, &[])?;
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
        Format::CurvesCsv => {
            let mut csv = Vec::new();
            querist_report::curves_csv(report, &mut csv)?;
            output::bytes(&csv, None)
        }
        Format::Markdown => output::text(&querist_report::markdown(report)),
        Format::Latex => output::text(&querist_report::latex(report)),
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

fn load(folders: &[PathBuf], pictures: Pictures, curves_by: &[String]) -> Result<Report> {
    let runs = runs_of(folders)?;
    let mut album = Album { wanted: pictures == Pictures::Shown, bytes: 0, left_out: 0 };
    let summaries = runs.iter().map(|folder| summary(folder, &mut album)).collect::<Result<Vec<_>>>()?;
    if album.left_out > 0 {
        let rounds = album.left_out;
        output::note(&format!(
            "note: the pictures of {rounds} rounds are left out, a page holds {MOST_PICTURES} bytes of them"
        ));
    }
    Ok(Report::new(summaries, curves_by)?)
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
        start: Shown::name(&start(folder)?),
        losses: match album.wanted {
            true => run.rounds.iter().map(losses).collect::<Result<_>>()?,
            false => Vec::new(),
        },
        thumbnails: run.rounds.iter().map(|round| album.pictures(round, classes)).collect::<Result<_>>()?,
        rounds: run.rounds.into_iter().map(|round| round.record).collect(),
        state,
    })
}

/// SHA-256 of the initial labelled set, in hex.
fn start(folder: &Path) -> Result<String> {
    let bytes = querist_files::read(&folder.join("initial.csv"), Links::Refuse, MOST_LINES)?;
    Ok(sha256(&bytes))
}

/// Training loss of each epoch of a round; none where they were not kept.
fn losses(round: &StoredRound) -> Result<Vec<f64>> {
    let Some(bytes) = round.files.bytes(EPOCHS)? else { return Ok(Vec::new()) };
    let path = round.files.folder().join(EPOCHS);
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let column = reader.headers()?.iter().position(|name| name == "loss");
    let column = column.with_context(|| format!("{} has no column `loss`", shown(&path)))?;
    let loss = |row: csv::Result<csv::StringRecord>| {
        let value: f64 = row?.get(column).unwrap_or_default().parse()?;
        anyhow::ensure!(value.is_finite(), "a loss is {value}");
        Ok(value)
    };
    reader.records().map(loss).collect::<Result<_>>().with_context(|| shown(&path).into_string())
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
