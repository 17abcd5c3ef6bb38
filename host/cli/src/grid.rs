//! What is wrong with a study before its first run: everything that all its runs would stumble over.

use std::collections::BTreeSet;

use anyhow::Result;
use querist_core::config::{FixedConfig, FixedFile, StudyConfig, Task, WeightsConfig};
use querist_core::schema::{Problem, Schema};
use querist_core::{Dataset, Seeds, Split};
use querist_data::{DataError, Search, load};
use querist_loader::Listing;
use querist_loader::package::trust::Policy;
use serde_json::Value;

use crate::plugins::{self, PluginArgs};
use crate::{index_file, lists};

/// Every problem with a study, at its place in the file.
pub fn problems(config: &StudyConfig, args: &PluginArgs) -> Result<Vec<Problem>> {
    let mut problems = of_strategies(config, &plugins::listing(&args.plugin_dir)?, &args.policy()?)?;
    problems.extend(of_seeds(config));
    problems.extend(of_files(config));
    match load(&config.experiment.dataset, &Search::from_env()) {
        Ok(dataset) => problems.extend(of_budget(config, &dataset)),
        Err(error) => problems.extend(of_dataset(error)?),
    }
    Ok(problems)
}

fn problem(pointer: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { pointer: pointer.into(), message: message.into(), help: None }
}

fn of_strategies(config: &StudyConfig, listing: &Listing, policy: &Policy) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut labels = BTreeSet::new();
    for (i, strategy) in config.strategies.iter().enumerate() {
        let at = format!("/strategies/{i}");
        if !labels.insert(strategy.label().to_owned()) {
            let message = format!("a second strategy is labelled `{}`: give it a `label` of its own", strategy.label());
            problems.push(problem(&at, message));
        }
        let resolved = match listing.resolve(&strategy.id) {
            Ok(resolved) => resolved,
            Err(error) => {
                problems.push(problem(format!("{at}/id"), error.to_string()));
                continue;
            }
        };
        if let Err(error) = policy.mode(&resolved) {
            problems.push(problem(format!("{at}/id"), error.to_string()));
        }
        let schema = Schema::new(resolved.strategy.schema.clone())?;
        let mut given = Value::Object(strategy.params.clone());
        if let Err(error) = lists::read(&mut given, &resolved.strategy.schema) {
            problems.push(problem(format!("{at}/params"), format!("{error:#}")));
            continue;
        }
        let found = schema.problems(&given);
        problems.extend(found.into_iter().map(|p| Problem { pointer: format!("{at}/params{}", p.pointer), ..p }));
    }
    Ok(problems)
}

fn of_seeds(config: &StudyConfig) -> impl Iterator<Item = Problem> + '_ {
    let mut seeds = BTreeSet::new();
    let again = config.seeds.iter().enumerate().filter(move |(_, seed)| !seeds.insert(**seed));
    again.map(|(i, seed)| problem(format!("/seeds/{i}"), format!("seed {seed} stands here twice")))
}

/// Files that every run would look for.
fn of_files(config: &StudyConfig) -> Vec<Problem> {
    fn parts<'a>(key: &str, FixedFile { file, ids }: &'a FixedFile) -> Vec<(String, &'a String)> {
        let ids = ids.iter().map(|ids| (format!("{key}/ids"), ids));
        std::iter::once((format!("{key}/file"), file)).chain(ids).collect()
    }
    let experiment = &config.experiment;
    let mut named: Vec<(String, &String)> =
        experiment.arrays.iter().flat_map(|(name, file)| parts(&format!("/arrays/{name}"), file)).collect();
    match &experiment.fixed_embeddings {
        None => {}
        Some(FixedConfig::File(file)) => named.extend(parts("/fixed_embeddings", file)),
        Some(FixedConfig::Frozen(model)) => named.push(("/fixed_embeddings/model".to_owned(), &model.model)),
    }
    named.extend(experiment.budget.initial_file().map(|index| ("/budget/initial/file".to_owned(), &index.file)));
    if let Some(weights) = &experiment.model.weights {
        named.push(match weights {
            WeightsConfig::File(file) => ("/model/weights".to_owned(), file),
            WeightsConfig::Table(table) => ("/model/weights/file".to_owned(), &table.file),
        });
    }
    let missing = named.into_iter().filter_map(|(key, path)| {
        let file = path.rsplit_once('#').map_or(path.as_str(), |(file, _)| file);
        let is_there = std::path::Path::new(path).exists() || std::path::Path::new(file).exists();
        (!is_there).then(|| problem(key, "there is no such file"))
    });
    missing.collect()
}

/// A dataset that cannot be had. What has no place in the file is told as it is.
fn of_dataset(error: DataError) -> Result<Vec<Problem>> {
    let at = match &error {
        DataError::UnknownDataset { .. } => "/dataset/name",
        DataError::Missing { .. } | DataError::File(_) => "/dataset/path",
        DataError::Config { .. }
        | DataError::MissingPictures { .. }
        | DataError::Malformed { .. }
        | DataError::Dataset(_) => "/dataset",
        _ => return Err(error.into()),
    };
    Ok(vec![problem(at, error.to_string())])
}

/// A budget or a split that does not fit the dataset, with any seed.
fn of_budget(config: &StudyConfig, dataset: &Dataset) -> Vec<Problem> {
    let wanted = &config.experiment.dataset;
    // Seeds change which samples are held out, not how many.
    let seeds = Seeds::new(config.seeds[0]);
    let split = match Split::draw(dataset, wanted.validation, wanted.test, seeds.split_stream()) {
        Ok(split) => split,
        Err(error) => return vec![problem("/dataset", error.to_string())],
    };
    let search = Search::from_env();
    let varied = match querist_data::vary(dataset, &split, wanted, &search, &seeds) {
        Ok(varied) => varied,
        Err(error) => return vec![problem("/dataset/variant", error.to_string())],
    };
    let (dataset, split) = match &varied {
        Some((dataset, split, _)) => (dataset, split),
        None => (dataset, &split),
    };
    let budget = &config.experiment.budget;
    let listed = match budget.initial_file().map(|file| index_file::read(file, dataset, split)).transpose() {
        Ok(listed) => listed.map(|listed| listed.samples.len()),
        Err(error) => return vec![problem("/budget/initial", format!("{error:#}"))],
    };
    match budget.plan(Task { pool: split.pool.len(), classes: dataset.classes(), listed }) {
        Ok(_) => Vec::new(),
        Err(error) => vec![problem("/budget", error.to_string())],
    }
}
