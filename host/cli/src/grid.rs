//! What is wrong with a study before its first run: everything that all its runs would stumble over.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use querist_core::config::{
    Cell, Experiment, FixedConfig, FixedFile, Plan, RunConfig, StudyConfig, Task, UPPER_LABEL, WeightsConfig,
};
use querist_core::schema::{Problem, Schema};
use querist_core::{Dataset, Split};
use querist_data::{DataError, Search, load};
use querist_loader::Listing;
use querist_loader::package::trust::Policy;
use serde_json::{Value, json};

use crate::plugins::{self, PluginArgs};
use crate::{body, index_file, lists, upper};

/// A study that was looked at before its first run.
pub struct Grid {
    /// Everything that is wrong with it, at its place in the file.
    pub problems: Vec<Problem>,
    /// The plan of each cell, in the order of the cells; `None` where it has none.
    pub plans: Vec<Option<Plan>>,
}

/// Looks at all that runs of a study would stumble over, each part of it once.
pub fn check(config: &StudyConfig, cells: &[Cell], args: &PluginArgs) -> Result<Grid> {
    let mut problems = of_strategies(config, &*plugins::listing(&args.plugin_dir)?, &args.policy()?)?;
    problems.extend(of_seeds(config));
    let mut settled = cells.to_vec();
    for cell in &mut settled {
        // A file that is missing is told of below.
        if of_files(&cell.config.experiment).is_empty()
            && let Err(error) = body::settle(&mut cell.config.experiment)
        {
            problems.push(at_place(cell, problem("/model", format!("{error:#}"))));
        }
    }
    let cells = &settled;
    let mut plans = vec![None; cells.len()];
    for (dataset, places) in alike(cells, |cell| json!(cell.config.experiment.dataset)) {
        let loaded = load(&dataset.config.experiment.dataset, &Search::from_env());
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                problems.extend(of_dataset(error)?.into_iter().map(|problem| at_place(dataset, problem)));
                continue;
            }
        };
        let some: Vec<&Cell> = places.iter().map(|&at| &cells[at]).collect();
        for (first, inner) in alike(some.iter().copied(), parts) {
            match of_budget(&first.config, &loaded) {
                Ok(plan) => inner.iter().for_each(|&at| plans[places[at]] = Some(plan.clone())),
                Err(problem) => problems.push(at_place(first, problem)),
            }
        }
    }
    for (cell, _) in alike(cells, |cell| json!(cell.config.experiment)) {
        problems.extend(of_files(&cell.config.experiment).into_iter().map(|problem| at_place(cell, problem)));
        let upper = config.upper.as_ref().and_then(|_| upper::misfit(&cell.config.experiment));
        problems.extend(upper.map(|message| problem("/upper", message)));
    }
    // Cells that share a place share its problem.
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert((problem.pointer.clone(), problem.message.clone())));
    Ok(Grid { problems, plans })
}

/// What of a run decides how many labels it buys when.
fn parts(cell: &Cell) -> Value {
    json!([cell.config.experiment.dataset, cell.config.experiment.budget])
}

/// Cells that agree in something: the first of them, and the places of all.
fn alike<'a>(
    cells: impl IntoIterator<Item = &'a Cell>,
    what: impl Fn(&Cell) -> Value,
) -> impl Iterator<Item = (&'a Cell, Vec<usize>)> {
    let mut classes: BTreeMap<String, (&'a Cell, Vec<usize>)> = BTreeMap::new();
    for (at, cell) in cells.into_iter().enumerate() {
        classes.entry(what(cell).to_string()).or_insert_with(|| (cell, Vec::new())).1.push(at);
    }
    classes.into_values()
}

fn at_place(cell: &Cell, problem: Problem) -> Problem {
    Problem { pointer: cell.place(&problem.pointer), ..problem }
}

fn problem(pointer: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { pointer: pointer.into(), message: message.into(), help: None }
}

fn of_strategies(config: &StudyConfig, listing: &Listing, policy: &Policy) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut labels = BTreeSet::new();
    for (i, strategy) in config.strategies.iter().enumerate() {
        let at = format!("/strategies/{i}");
        if strategy.is_upper() {
            let message = "it is no strategy, and is not ranked among them: `upper = { proposals = 100 }` runs it";
            problems.push(problem(format!("{at}/id"), message));
            continue;
        }
        if config.upper.is_some() && strategy.label() == UPPER_LABEL {
            let message = format!("the upper baseline is labelled `{UPPER_LABEL}`: give the strategy another `label`");
            problems.push(problem(&at, message));
        }
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
fn of_files(experiment: &Experiment) -> Vec<Problem> {
    fn parts<'a>(key: &str, FixedFile { file, ids }: &'a FixedFile) -> Vec<(String, &'a String)> {
        let ids = ids.iter().map(|ids| (format!("{key}/ids"), ids));
        std::iter::once((format!("{key}/file"), file)).chain(ids).collect()
    }
    let mut named: Vec<(String, &String)> =
        experiment.arrays.iter().flat_map(|(name, file)| parts(&format!("/arrays/{name}"), file)).collect();
    match &experiment.fixed_embeddings {
        None => {}
        Some(FixedConfig::File(file)) => named.extend(parts("/fixed_embeddings", file)),
        Some(FixedConfig::Frozen(model)) => named.push(("/fixed_embeddings/model".to_owned(), &model.model)),
    }
    named.extend(experiment.budget.initial_file().map(|index| ("/budget/initial/file".to_owned(), &index.file)));
    let keys = [("/model/file", &experiment.model.file), ("/model/sidecar", &experiment.model.sidecar)];
    named.extend(keys.into_iter().filter_map(|(key, file)| Some((key.to_owned(), file.as_ref()?))));
    if let Some(weights) = &experiment.model.weights {
        named.push(match weights {
            WeightsConfig::File(file) => ("/model/weights".to_owned(), file),
            WeightsConfig::Table(table) => ("/model/weights/file".to_owned(), &table.file),
        });
    }
    let files = experiment.learner.iter().flat_map(|learner| &learner.files).enumerate();
    named.extend(files.map(|(at, file)| (format!("/learner/files/{at}"), file)));
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

/// The plan of a run on its dataset; its seeds change which samples are held out, not how many.
fn of_budget(config: &RunConfig, dataset: &Dataset) -> std::result::Result<Plan, Problem> {
    let wanted = &config.experiment.dataset;
    let split = Split::draw(dataset, wanted.validation, wanted.test, config.seeds.split_stream())
        .map_err(|error| problem("/dataset", error.to_string()))?;
    let varied = querist_data::vary(dataset, &split, wanted, &Search::from_env(), &config.seeds)
        .map_err(|error| problem("/dataset/variant", error.to_string()))?;
    let (dataset, split) = match varied {
        Some((dataset, split, _)) => (Cow::Owned(dataset), split),
        None => (Cow::Borrowed(dataset), split),
    };
    let split = split.with_reserve(&dataset, wanted.reserve, &config.seeds);
    let (dataset, split) = (&*dataset, &split.map_err(|error| problem("/dataset", error.to_string()))?);
    let budget = &config.experiment.budget;
    let listed = budget.initial_file().map(|file| index_file::read(file, dataset, split)).transpose();
    let listed = listed.map_err(|error| problem("/budget/initial", format!("{error:#}")))?;
    let task =
        Task { pool: split.pool.len(), classes: dataset.classes(), listed: listed.map(|listed| listed.samples.len()) };
    budget.plan(task).map_err(|error| problem("/budget", error.to_string()))
}
