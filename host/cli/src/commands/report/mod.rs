//! `querist report`: run folders to a table, a file of figures, or one self-contained page.

mod live;
mod load;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use load::Loaded;
pub use load::MOST_PICTURES;
use querist_files::{Links, shown};
use querist_report::{Columns, PageOptions, Report, ReportError};

use crate::exit::Usage;
use crate::output;
use crate::stored_run::StoredRun;
use crate::study::folder::StudyFolder;

/// Levels of folders below a named one in which runs are looked for.
const MAX_DEPTH: usize = 4;
/// Files and folders at most that are looked at below a named one.
const MOST_ENTRIES: usize = 1_000_000;
/// Bytes of a file of curves at most.
const MOST_CURVES: u64 = 1 << 30;

/// Summarise and compare finished runs, or curves that were made elsewhere.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  querist report runs/quick --html quick.html\n  querist report runs/quick --live\n  \
                        querist report --curves published.csv --labelled-column n --accuracy-column acc"
)]
pub struct ReportArgs {
    /// Run folders, or folders that hold some.
    #[arg(required_unless_present = "curves", conflicts_with = "curves", value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// What a curve is of: `strategy`, keys of the run files such as `recipe.optimiser`, and axes of the study by their
    /// names. What runs differ in otherwise makes settings, which are reported one by one [default: strategy].
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "curves")]
    pub curves_by: Vec<String>,
    /// Write one self-contained page, too.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the charts as SVG files in a folder, too.
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// Serve the page to a browser on this machine, and keep it up to date while runs go on, until Ctrl-C.
    #[arg(long, conflicts_with_all = ["curves", "html", "figures", "format"])]
    pub live: bool,
    /// Port of `--live` [default: a free one].
    #[arg(long, value_name = "N", requires = "live")]
    pub port: Option<u16>,
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
    if args.live {
        return live::serve(&args.folders, &args.curves_by, args.port);
    }
    let pictures = if args.html.is_some() { MOST_PICTURES } else { 0 };
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
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", shown(folder)))?;
        for (name, svg) in querist_report::svg_figures(&report) {
            write(&folder.join(format!("{name}.svg")), svg.as_bytes())?;
        }
        output::note(&format!("figures: {}", folder.display()));
    }
    show(&report, args.format)
}

/// Writes a file of the user's.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", shown(path)))
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
    show(&load(folders, 0, &[])?, format)
}

/// What is reported of the runs of a study that have begun, whatever else lies in its folder.
pub fn of_study(study: &StudyFolder, pictures: usize) -> Result<Report> {
    let begun: Vec<PathBuf> =
        study.cells.iter().map(|cell| study.run(cell)).filter(|folder| StoredRun::is_run(folder)).collect();
    let runs: Vec<Loaded> = load::read_all(&begun).into_iter().collect::<Result<_>>()?;
    Ok(Report::new(load::summaries(&runs, pictures)?.0, &[])?)
}

/// A report in every form, for fuzzers.
pub fn every_form(folder: &Path) -> Result<Vec<String>> {
    let report = load(&[folder.to_owned()], MOST_PICTURES, &[])?;
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

/// What is reported of the runs in some folders.
pub fn load(folders: &[PathBuf], pictures: usize, curves_by: &[String]) -> Result<Report> {
    let runs: Vec<Loaded> = load::read_all(&runs_of(folders)?).into_iter().collect::<Result<_>>()?;
    let (summaries, left_out) = load::summaries(&runs, pictures)?;
    if pictures > 0 && left_out > 0 {
        output::note(&format!(
            "note: the pictures of {left_out} rounds are left out, a page holds {pictures} pictures; name fewer runs \
             to see theirs"
        ));
    }
    Report::new(summaries, curves_by).map_err(|error| match error {
        ReportError::UnknownKey { .. } => Usage(error.to_string()).into(),
        other => other.into(),
    })
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
