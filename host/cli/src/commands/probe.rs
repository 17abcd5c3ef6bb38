//! `querist probe`: how good labelled sets are, by what is learned from them and nothing else.
//!
//! The evaluations of "A Simple Baseline for Low-Budget Active Learning" (Pourahmadi, Nooralinejad and Pirsiavash,
//! 2021): a linear head or the nearest neighbours on embeddings that nobody trains, fine-tuning, and training from
//! scratch.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use querist_core::config::{IndexFile, InitialSet, RunConfig, cores, schemas};
use querist_core::metric::Metrics;
use querist_core::{Array, Dataset, DatasetOracle, Embeddings, FitTask, Label, Oracle, Round, SampleId, Split};
use querist_kernels::{Compute, nearest_rows};
use serde_json::{Value, json};

use crate::config_file::ConfigFile;
use crate::exit::Usage;
use crate::flags;
use crate::progress::{self, Display};
use crate::trainer::Trainer;
use crate::{body, index_file, output};

/// Judge labelled sets by what a model learns from them.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  querist probe linear probe.toml --indices picked.npy")]
pub enum ProbeCommand {
    /// A linear head on embeddings of length 1 by the body in `model.weights` or `model.file`, which stays as it is.
    #[command(after_help = "The preset is `low-budget-linear`, where the file names none.\n\n\
                            Example:\n  querist probe linear probe.toml --indices picked.npy")]
    Linear(ProbeArgs),
    /// The classes of the nearest labelled embeddings by the body in `model.weights` or `model.file`.
    #[command(after_help = "Example:\n  querist probe knn probe.toml --indices a.npy b.npy --neighbours 5")]
    Knn {
        #[command(flatten)]
        args: ProbeArgs,
        /// Neighbours that vote; among classes with as many votes the one whose neighbours are nearer in sum wins, then
        /// the lower.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        neighbours: u32,
    },
    /// The whole model from `model.weights`, head and body with rates of their own.
    #[command(after_help = "The preset is `low-budget-finetune`, where the file names none.\n\nExample:\n  \
                            querist probe finetune probe.toml --indices picked.npy --device cuda:0")]
    Finetune(ProbeArgs),
    /// The whole model from fresh weights.
    #[command(after_help = "The preset is `low-budget-scratch`, where the file names none.\n\n\
                            Example:\n  querist probe scratch probe.toml --indices picked.txt --base 1")]
    Scratch(ProbeArgs),
}

/// What every probe takes.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// A run file; its dataset, model, recipe and compute count.
    pub file: PathBuf,
    /// Files of sample numbers, `.npy` or text: each is a labelled set of its own.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub indices: Vec<PathBuf>,
    /// The number of the first sample in these files.
    #[arg(long, default_value_t = 0, value_name = "0|1", value_parser = clap::value_parser!(u8).range(0..=1))]
    pub base: u8,
    #[arg(long = "set", value_name = "KEY=VALUE", help = flags::SET)]
    pub set: Vec<String>,
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Form of the results on standard output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Where it is computed.
#[derive(Debug, Args)]
pub struct MachineArgs {
    #[arg(long, value_name = "cpu|cuda:N", help = flags::DEVICE)]
    pub device: Option<String>,
    /// Threads where the file names none [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl MachineArgs {
    /// What was set by `--set`, and the device that was named.
    pub fn overrides(&self, set: &[String]) -> Vec<String> {
        let device = self.device.as_ref().map(|device| format!("compute.device=\"{device}\""));
        set.iter().cloned().chain(device).collect()
    }
}

/// Forms of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// Everything.
    Json,
}

impl ProbeCommand {
    fn args(&self) -> &ProbeArgs {
        match self {
            Self::Linear(args) | Self::Finetune(args) | Self::Scratch(args) | Self::Knn { args, .. } => args,
        }
    }

    /// What a file that says nothing of it gets.
    fn defaults(&self) -> &'static [&'static str] {
        match self {
            Self::Linear(_) => &["recipe.preset=\"low-budget-linear\"", "model.normalise=true"],
            Self::Knn { .. } => &["model.normalise=true"],
            Self::Finetune(_) => &["recipe.preset=\"low-budget-finetune\"", "model.normalise=true"],
            Self::Scratch(_) => &["recipe.preset=\"low-budget-scratch\""],
        }
    }
}

/// A dataset, its split, and the settings of a model over it.
pub struct Prepared {
    /// The dataset, with the variant that the file asks for.
    pub dataset: Dataset,
    split: Split,
    config: RunConfig,
}

/// A labelled set, judged.
struct Judged {
    file: PathBuf,
    labels: usize,
    classes: usize,
    test: Metrics,
    seconds: f64,
}

/// Runs the verb.
pub fn main(command: &ProbeCommand, trainer: &dyn Trainer) -> Result<()> {
    let args = command.args();
    let mut file = ConfigFile::read(&args.file, &args.machine.overrides(&args.set))?;
    if file.is_study() {
        return Err(Usage("a study has several strategies; a probe takes a run file".to_owned()).into());
    }
    file.default_to("strategy.id=\"random\"");
    file.default_to("budget={ initial = 1, batch = 1, rounds = 1 }");
    // What the file says itself goes before.
    command.defaults().iter().for_each(|assignment| file.default_to(assignment));
    if matches!(command, ProbeCommand::Scratch(_)) && (file.has("/model/weights") || file.has("/model/file")) {
        let message = "a probe from scratch starts from fresh weights: leave `model.weights` and `model.file` out, or \
                       use `finetune`";
        return Err(Usage(message.to_owned()).into());
    }
    progress::stop_on_interrupt()?;
    let display = Display::new(false);
    let prepared = Prepared::new(&file, &args.machine)?;
    // Every file is read before the first training.
    let sets = args.indices.iter().map(|path| prepared.labelled(path, args.base)).collect::<Result<Vec<_>>>()?;
    let judged = match command {
        ProbeCommand::Knn { neighbours, .. } => prepared.by_neighbours(sets, *neighbours as usize, trainer, &display),
        _ => prepared.by_training(sets, trainer, &display),
    };
    display.clear();
    show(&judged?, args.format)
}

/// A labelled set and its file.
type Labelled = (PathBuf, Vec<(SampleId, Label)>);

impl Prepared {
    /// Reads what a run file names.
    pub fn new(file: &ConfigFile, machine: &MachineArgs) -> Result<Self> {
        let mut config = file.check::<RunConfig>(&schemas()["run"])?.resolved();
        body::settle(&mut config.experiment)?;
        let threads = config.experiment.compute.threads.or(machine.threads.map(usize::from));
        config.experiment.compute.threads = Some(threads.unwrap_or_else(cores));
        let search = querist_data::Search::from_env();
        let whole = querist_data::load(&config.experiment.dataset, &search)?;
        let d = &config.experiment.dataset;
        let drawn = Split::draw(&whole, d.validation, d.test, config.seeds.split_stream());
        let drawn = drawn.map_err(|error| Usage(error.to_string()))?;
        let varied = querist_data::vary(&whole, &drawn, d, &search, &config.seeds)?;
        let (dataset, split) = match varied {
            Some((dataset, split, _)) => (dataset, split),
            None => (whole, drawn),
        };
        let split = split.with_reserve(&dataset, d.reserve, &config.seeds).map_err(|error| Usage(error.to_string()))?;
        Ok(Self { dataset, split, config })
    }

    /// Labels of samples, for whoever writes a dataset down.
    pub fn labels(&self, samples: &[SampleId]) -> Result<Vec<u32>> {
        let labels = DatasetOracle::new(&self.dataset).reveal(samples)?;
        Ok(labels.into_iter().map(|label| label.0).collect())
    }

    /// The samples that may be labelled.
    pub fn pool(&self) -> &[SampleId] {
        &self.split.pool
    }

    fn labelled(&self, path: &Path, base: u8) -> Result<Labelled> {
        let index = IndexFile { file: path.to_string_lossy().into_owned(), base: u64::from(base) };
        let listed = index_file::read(&index, &self.dataset, &self.split);
        let listed = listed.map_err(|error| Usage(format!("--indices: {error:#}")))?.samples;
        let stream = self.config.seeds.initial_stream();
        let set = InitialSet::Listed(listed.len());
        let labelled = DatasetOracle::new(&self.dataset).initial_set(&self.split, &set, &listed, stream)?;
        Ok((path.to_owned(), labelled))
    }

    /// Trains on each set from the start.
    fn by_training(&self, sets: Vec<Labelled>, trainer: &dyn Trainer, display: &Display) -> Result<Vec<Judged>> {
        let body = body::read(&self.config.experiment.model)?;
        let say = |line: &str| display.line(line);
        let mut learner = trainer.learner(&self.dataset, &self.split.pool, &self.config, None, body.as_ref(), &say)?;
        let judge = |(file, labelled): Labelled| {
            let clock = Instant::now();
            learner.fit(FitTask::plain(Round(0), &labelled), display)?;
            let logits = learner.evaluated(&self.split.test, display)?;
            Ok(self.judged(file, &labelled, &logits, clock))
        };
        sets.into_iter().map(judge).collect()
    }

    /// Classes of the nearest labelled embeddings.
    fn by_neighbours(
        &self,
        sets: Vec<Labelled>,
        neighbours: usize,
        trainer: &dyn Trainer,
        display: &Display,
    ) -> Result<Vec<Judged>> {
        if let Some((file, set)) = sets.iter().find(|(_, set)| set.len() < neighbours) {
            let (file, found) = (querist_files::shown(file), set.len());
            return Err(Usage(format!("{file} lists {found} samples, but --neighbours is {neighbours}")).into());
        }
        let test = self.embeddings(&self.split.test, false, trainer, display)?;
        let compute = Compute::threads(self.config.experiment.compute.threads());
        let judge = |(file, labelled): Labelled| {
            let clock = Instant::now();
            let samples: Vec<SampleId> = labelled.iter().map(|&(sample, _)| sample).collect();
            let rows = self.embeddings(&samples, false, trainer, display)?;
            let width = rows.shape()[1];
            let floats = |array: &Array| array.as_f32().cloned().context("embeddings are floats");
            let found = nearest_rows(floats(&test)?, floats(&rows)?, width, neighbours, &compute);
            let found = found.map_err(|message| anyhow!(message))?;
            let classes = self.dataset.classes();
            let logits: Vec<f32> = found.chunks(neighbours).flat_map(|near| votes(near, &labelled, classes)).collect();
            Ok(self.judged(file, &labelled, &logits, clock))
        };
        sets.into_iter().map(judge).collect()
    }

    /// Embeddings by the body in `model.weights` or `model.file`, `f32 [samples, width]`: as a run has them, or in less
    /// time, but for roundings.
    pub fn embeddings(
        &self,
        samples: &[SampleId],
        exact: bool,
        trainer: &dyn Trainer,
        display: &Display,
    ) -> Result<Array> {
        if let Some(embeddings) = self.dataset.embeddings() {
            return rows_of(embeddings, samples, self.config.experiment.model.normalise);
        }
        let model = &self.config.experiment.model;
        let Some(body) = body::read(model)? else {
            let message =
                "embeddings need a body: set `model.weights` to a file of weights, or `model.file` to a network";
            return Err(Usage(message.to_owned()).into());
        };
        let (dataset, pool, config) = (&self.dataset, &self.split.pool, &self.config);
        if body.sidecar.is_some() {
            return Ok(trainer.embeddings(dataset, pool, config, &body, samples, display)?);
        }
        let said = || model.weights.as_ref().map_or_else(String::new, |w| format!("model.weights = {}", w.file()));
        let file = (model, body.bytes.as_slice());
        let found = match exact {
            true => trainer.frozen(dataset, pool, config, file, samples, display),
            false => trainer.embed(dataset, pool, config, file, samples, display),
        };
        found.with_context(said)
    }

    fn judged(&self, file: PathBuf, labelled: &[(SampleId, Label)], logits: &[f32], clock: Instant) -> Judged {
        let classes: BTreeSet<Label> = labelled.iter().map(|&(_, label)| label).collect();
        let test = Metrics::of(logits, &self.split.test_labels(&self.dataset), self.dataset.classes());
        let seconds = clock.elapsed().as_secs_f64();
        Judged { file, labels: labelled.len(), classes: classes.len(), test, seconds }
    }
}

/// Rows of a dataset that are embeddings already, divided by their length where that is asked for.
fn rows_of(embeddings: &Embeddings, samples: &[SampleId], normalise: bool) -> Result<Array> {
    /// Shorter rows are divided by this: one of zeros stays one.
    const SHORTEST: f32 = 1e-12;
    let mut values = Vec::with_capacity(samples.len() * embeddings.width);
    for &sample in samples {
        let row = embeddings.row(sample);
        let squares: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
        let length = if normalise { (squares.sqrt() as f32).max(SHORTEST) } else { 1.0 };
        values.extend(row.iter().map(|value| value / length));
    }
    Ok(Array::f32(vec![samples.len(), embeddings.width], values)?)
}

/// One row of logits that is highest at the class that wins.
fn votes(near: &[(u32, f64)], labelled: &[(SampleId, Label)], classes: usize) -> Vec<f32> {
    let mut count = vec![(0usize, 0.0f64); classes];
    for &(row, distance) in near {
        let of_class = &mut count[labelled[row as usize].1.index()];
        *of_class = (of_class.0 + 1, of_class.1 + distance.sqrt());
    }
    let better = |a: usize, b: usize| count[a].0.cmp(&count[b].0).then(count[b].1.total_cmp(&count[a].1));
    // Of equals the first, which is the lower class.
    let best = (1..classes).fold(0, |best, class| if better(class, best).is_gt() { class } else { best });
    (0..classes).map(|class| if class == best { 1.0 } else { 0.0 }).collect()
}

fn show(judged: &[Judged], format: Format) -> Result<()> {
    match format {
        Format::Json => {
            let rows: Vec<Value> = judged
                .iter()
                .map(|one| {
                    json!({
                        "indices": one.file, "labelled": one.labels, "classes": one.classes,
                        "accuracy": one.test.accuracy, "per_class": one.test.per_class, "seconds": one.seconds,
                    })
                })
                .collect();
            output::line(&serde_json::to_string_pretty(&rows)?)
        }
        Format::Table => {
            let mut text =
                format!("{:>8}  {:>7}  {:>10}  {:>8}  INDICES\n", "LABELLED", "CLASSES", "ACCURACY %", "SECONDS");
            for one in judged {
                let (accuracy, file) = (one.test.accuracy * 100.0, querist_files::shown(&one.file));
                text +=
                    &format!("{:>8}  {:>7}  {accuracy:>10.2}  {:>8.1}  {file}\n", one.labels, one.classes, one.seconds);
            }
            output::text(&text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_votes_break_ties_and_then_the_lower_class_wins() {
        let labelled: Vec<(SampleId, Label)> = [2, 0, 1, 2].map(|label| (SampleId(7), Label(label))).to_vec();
        let winner = |near: &[(u32, f64)]| votes(near, &labelled, 3).iter().position(|&v| v == 1.0);
        assert_eq!(winner(&[(1, 1.0), (0, 4.0), (3, 4.0)]), Some(2), "two votes beat one");
        assert_eq!(winner(&[(0, 1.0), (1, 4.0)]), Some(2), "the nearer of two");
        assert_eq!(winner(&[(0, 1.0), (2, 1.0), (1, 1.0)]), Some(0), "the lower of equals");
        // Summed distances, not squares: 1 + 3 is less than 2.5 + 2.
        assert_eq!(winner(&[(0, 1.0), (3, 9.0)]), Some(2));
    }
}
