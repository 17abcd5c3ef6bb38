//! `querist embed`: the embeddings of a dataset by a body that is not trained, as arrays.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Args;
use querist_core::{Dataset, SampleId};
use querist_data::arrays::write_npy;
use querist_data::embeddings::{CLASSES, SPLITS};
use querist_files::shown;

use crate::commands::probe::{MachineArgs, Prepared};
use crate::exit::Usage;
use crate::flags;
use crate::output;
use crate::progress::{self, Display};
use crate::trainer::Trainer;

/// Write the embeddings of a dataset by the body of a model that is not trained.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist embed probe.toml --out features --shard 1/4")]
pub struct EmbedArgs {
    /// A run file; only its dataset, model and compute count, and `model.weights` or `model.file` must be there.
    pub file: PathBuf,
    #[arg(long = "set", value_name = "KEY=VALUE", help = flags::SET)]
    pub set: Vec<String>,
    /// Folder of the arrays, `embeddings.npy`, `ids.npy`, `labels.npy` and `splits.npy`, or `embeddings-I-of-N.npy` and
    /// so on of a shard, and `classes.txt`: a dataset `embeddings` reads it.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The I-th of N parts of the samples, from 1; each has rows of neighbouring samples.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Only samples of the pool, as the split and `dataset.variant` leave it: no validation and no test samples.
    #[arg(long)]
    pub pool: bool,
    /// The numbers that a run has, to the last bit; without it they come in less time, but for roundings.
    #[arg(long)]
    pub exact: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// One of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    of: usize,
}

/// Parts at most.
const MOST_SHARDS: usize = 100_000;

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=MOST_SHARDS).contains(&of) && (1..=of).contains(&number) => {
                Ok(Self { number, of })
            }
            _ => Err(format!("expected I/N with I from 1 to N and N at most {MOST_SHARDS}, such as 1/4")),
        }
    }
}

impl Shard {
    /// Its part of `samples`; parts differ by one sample at most.
    fn of(self, samples: usize) -> std::ops::Range<usize> {
        let start = |part: usize| (samples as u128 * part as u128 / self.of as u128) as usize;
        start(self.number - 1)..start(self.number)
    }
}

/// Runs the verb.
pub fn main(args: &EmbedArgs, trainer: &dyn Trainer) -> Result<()> {
    let mut file = crate::config_file::ConfigFile::read(&args.file, &args.machine.overrides(&args.set))?;
    file.default_to("strategy.id=\"random\"");
    file.default_to("budget={ initial = 1, batch = 1, rounds = 1 }");
    let display = Display::new(false);
    progress::stop_on_interrupt()?;
    let prepared = Prepared::new(&file, &args.machine)?;
    let Prepared { dataset, .. } = &prepared;
    let all: Vec<SampleId> = match args.pool {
        true => prepared.pool().to_vec(),
        false => (0..dataset.len() as u64).map(SampleId).collect(),
    };
    let range = args.shard.map_or(0..all.len(), |shard| shard.of(all.len()));
    if range.is_empty() {
        return Err(Usage(format!("{} samples have no such part: ask for fewer of them", all.len())).into());
    }
    let samples = &all[range];
    let name = |what: &str| match args.shard {
        None => args.out.join(format!("{what}.npy")),
        Some(Shard { number, of }) => args.out.join(format!("{what}-{number}-of-{of}.npy")),
    };
    let (rows, ids, of, splits) = (name("embeddings"), name("ids"), name("labels"), name("splits"));
    refuse_existing(&[&rows, &ids, &of, &splits])?;
    let array = prepared.embeddings(samples, args.exact, trainer, &display)?;
    display.clear();
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", shown(&args.out)))?;
    let numbers: Vec<u64> = samples.iter().map(|sample| sample.0).collect();
    let values = array.as_f32().context("embeddings are floats")?;
    write_npy(&ids, &[numbers.len()], &numbers)?;
    write_npy(&of, &[numbers.len()], &prepared.labels(samples)?)?;
    write_npy(&splits, &[numbers.len()], &splits_of(samples, dataset, args.pool))?;
    write_classes(&args.out.join(CLASSES), dataset)?;
    write_npy(&rows, array.shape(), values)?;
    output::note(&format!("{}: {} rows of {} columns", shown(&rows), array.shape()[0], array.shape()[1]));
    Ok(())
}

/// Which official part each sample is of; of a pool all are there to train on.
fn splits_of(samples: &[SampleId], dataset: &Dataset, pool: bool) -> Vec<u32> {
    let [train, validation, test] = SPLITS;
    let official = dataset.official();
    samples
        .iter()
        .map(|sample| match sample.index() {
            _ if pool => train,
            at if official.test.contains(&at) => test,
            at if official.validation.contains(&at) => validation,
            _ => train,
        })
        .collect()
}

/// Names of the classes, one a line; shards share the file.
fn write_classes(path: &Path, dataset: &Dataset) -> Result<()> {
    let names = dataset.class_names();
    if names.iter().any(|name| name.is_empty() || name.contains(['\n', '\r'])) {
        output::note("note: names of classes that are no lines of a text are left out, and are numbers there");
        return Ok(());
    }
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    std::fs::write(path, text).with_context(|| format!("cannot write {}", shown(path)))
}

fn refuse_existing(files: &[&Path]) -> Result<()> {
    match files.iter().find(|file| file.symlink_metadata().is_ok()) {
        Some(file) => {
            Err(Usage(format!("{} is there, and nothing is replaced: choose another --out", shown(file))).into())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_everything_once() {
        for (samples, of) in [(10, 3), (3, 3), (2, 5), (1_000_003, 7)] {
            let parts: Vec<_> = (1..=of).map(|number| Shard { number, of }.of(samples)).collect();
            assert_eq!(parts.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..samples).collect::<Vec<_>>());
        }
        for text in ["0/3", "4/3", "1", "1/0", "a/b", "1/100001"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, of: 3 }));
    }
}
