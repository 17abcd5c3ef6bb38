//! `querist export`: finished runs in the files of other systems, for their readers and plots.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use querist_files::shown;
use querist_protocol::Shown;

use super::report;
use crate::exit::Usage;
use crate::export::{self, File, Trial};
use crate::output;
use crate::track::mlflow;

/// Write finished runs in the form of another system.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist export runs/quick --format al-baselines --out exported")]
pub struct ExportArgs {
    /// Run folders, or folders that hold some.
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// Whose files to write.
    #[arg(long, value_enum)]
    pub format: Format,
    /// Folder to write into; nothing in it is replaced.
    #[arg(long, value_name = "DIR", required_unless_present = "to", conflicts_with = "to")]
    pub out: Option<PathBuf>,
    /// Address of the tracking server, for `mlflow`; a run that is there already is not sent again.
    #[arg(long, value_name = "URI")]
    pub to: Option<String>,
    /// Experiment of the tracking server.
    #[arg(long, value_name = "NAME", default_value = "querist", requires = "to")]
    pub experiment: String,
}

/// Systems whose files can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// euphoria0-0/Active-Learning-for-Image-Classification: accuracies, settings and queried indices of all trials.
    AlBaselines,
    /// cure-lab/deep-active-learning: one row a round in `result.csv`.
    CureLab,
    /// UCDvision/low-budget-al: the labelled indices of every size, as `.npy`.
    LowBudget,
    /// sgiardl/ActiveLearning: `records.json` of each run.
    Ift780,
    /// He-Yinan/UWE: results of each cycle, queries and initial indices; mean and deviation over seeds.
    Uwe,
    /// Runs with their parameters and figures on an MLflow tracking server.
    Mlflow,
}

/// Runs the verb.
pub fn main(args: &ExportArgs) -> Result<()> {
    let trials =
        report::runs_of(&args.folders)?.iter().map(|folder| Trial::read(folder)).collect::<Result<Vec<_>>>()?;
    if let Some(unfinished) = trials.iter().find(|trial| !trial.is_finished) {
        let folder = shown(&unfinished.folder);
        return Err(
            Usage(format!("{folder} is not finished; go on with it by `querist run ... --resume` first")).into()
        );
    }
    if let Some(upper) = trials.iter().find(|trial| trial.is_upper && args.format != Format::Mlflow) {
        let folder = shown(&upper.folder);
        let message = "is an upper baseline that knows the labels, and no strategy: it is not exported as one";
        return Err(Usage(format!("{folder} {message}")).into());
    }
    let files = match args.format {
        Format::AlBaselines => export::al_baselines(&trials),
        Format::CureLab => export::cure_lab(&trials),
        Format::LowBudget => export::low_budget(&trials),
        Format::Ift780 => export::ift780(&trials),
        Format::Uwe => export::uwe(&trials),
        Format::Mlflow => return send(args, &trials),
    }?;
    let Some(out) = &args.out else {
        let message = "`--to` is for `--format mlflow`; the files of other systems go into `--out DIR`";
        return Err(Usage(message.to_owned()).into());
    };
    write(out, &files)?;
    let plural = if files.len() == 1 { "" } else { "s" };
    output::note(&format!("{} file{plural} in {}", files.len(), shown(out)));
    Ok(())
}

/// Writes all files, or none where one of them is there or two are one.
fn write(out: &Path, files: &[File]) -> Result<()> {
    let mut seen = BTreeSet::new();
    if let Some(file) = files.iter().find(|file| !seen.insert(&file.path)) {
        let path = shown(&file.path);
        let message = format!("two of these runs have the same strategy, dataset and seed, and would both be {path}");
        return Err(Usage(format!("{message}: export them apart")).into());
    }
    if let Some(there) = files.iter().map(|file| out.join(&file.path)).find(|path| path.symlink_metadata().is_ok()) {
        return Err(Usage(format!("{} is there, and nothing is replaced: choose another --out", shown(&there))).into());
    }
    for file in files {
        let path = out.join(&file.path);
        let folder = path.parent().unwrap_or(out);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", shown(folder)))?;
        std::fs::write(&path, &file.bytes).with_context(|| format!("cannot write {}", shown(&path)))?;
    }
    Ok(())
}

/// Sends runs to a tracking server.
fn send(args: &ExportArgs, trials: &[Trial]) -> Result<()> {
    let is_address = |to: &&String| to.starts_with("http://") || to.starts_with("https://");
    let Some(to) = args.to.as_ref().filter(is_address) else {
        let message = "`--format mlflow` needs the address of a tracking server: `--to http://127.0.0.1:5000` for one \
                       that `mlflow server` has started";
        return Err(Usage(message.to_owned()).into());
    };
    let folders: Vec<&PathBuf> = trials.iter().map(|trial| &trial.folder).collect();
    let (new, before) = mlflow::send_all(to, &args.experiment, &folders)?;
    output::note(&format!("{new} runs sent to {}, {before} were there already", Shown::name(to)));
    Ok(())
}
