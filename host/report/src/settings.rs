//! Runs to curves: what runs differ in, beside strategy and seed, makes their setting.

use std::collections::{BTreeMap, BTreeSet};

use querist_protocol::Shown;
use serde_json::Value;

use crate::curve::{Curve, Seed, Setting};
use crate::report::ReportError;
use crate::run::{RunState, RunSummary};

/// Parts of a config in which the runs of a comparison may differ: who chooses, the seeds, and what no figure depends
/// on.
const FREE: [&str; 6] = ["strategy", "seeds", "compute", "limits", "keep", "version"];
/// What names a setting best, before all other keys.
const FIRST: [&str; 5] = ["dataset.name", "dataset.path", "dataset.kind", "model.name", "recipe.preset"];
/// What stands for the strategy's label among keys.
const STRATEGY: &str = "strategy";
/// Value of a key that a run does not have.
const UNSET: &str = "not set";

/// Names of a run's config, flat: `budget.batch`. The dataset's digest and the layout of the run folder are among them.
fn keys(run: &RunSummary) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    if let Some(config) = run.config.as_object() {
        for (name, value) in config.iter().filter(|(name, _)| !FREE.contains(&name.as_str())) {
            flatten(name, value, &mut keys);
        }
    }
    // What is drawn into a pool differs from seed to seed; the keys of the variant say what it is.
    if run.config.pointer("/dataset/variant").is_none_or(Value::is_null) {
        keys.insert("dataset.sha256".to_owned(), short(run.dataset_digest.as_str()));
    }
    keys.insert("dataset.name".to_owned(), run.dataset.to_string());
    keys.insert("model.name".to_owned(), run.model.to_string());
    keys.insert("run folder layout".to_owned(), run.layout.to_string());
    keys
}

fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(entries) => {
            entries.iter().for_each(|(key, value)| flatten(&format!("{name}.{key}"), value, into));
        }
        Value::Null => {}
        Value::String(text) => drop(into.insert(shown(name), shown(text))),
        other => drop(into.insert(shown(name), shown(&other.to_string()))),
    }
}

fn shown(text: &str) -> String {
    Shown::name(text).into_string()
}

/// The start of a digest, enough to tell builds apart.
pub(crate) fn short(digest: &str) -> String {
    shown(&digest.chars().take(12).collect::<String>())
}

/// A run with its place in the comparison.
pub(crate) struct Placed {
    /// What else was chosen than strategy and seed.
    pub setting: Setting,
    /// Name of its curve.
    pub label: String,
    /// What pairs it.
    pub seed: Seed,
}

/// The place of each run: its setting, of the fewest names of axes and keys that tell all settings apart, and its
/// label. Where `curves_by` names axes or keys, these make the label, with the strategy where it is among them, and are
/// in no setting; nor are the keys that an axis stands for.
///
/// # Errors
/// A name in `curves_by` that no run has.
pub(crate) fn place(runs: &[RunSummary], curves_by: &[String]) -> Result<Vec<Placed>, ReportError> {
    let mut keys: Vec<BTreeMap<String, String>> = runs.iter().map(keys).collect();
    let axes = axes(runs, &keys);
    let mut free = curves_by.to_vec();
    free.extend(curves_by.iter().filter(|name| axes.contains(name)).flat_map(|axis| stood_for(axis, runs, &keys)));
    for (run, keys) in runs.iter().zip(&mut keys) {
        keys.extend(axes.iter().filter_map(|axis| Some((axis.clone(), shown(run.point.get(axis)?)))));
    }
    let value = |at: usize, key: &str| {
        let known = keys[at].get(key).cloned().or_else(|| anywhere(&runs[at].config, key));
        known.or_else(|| runs[at].point.get(key).map(|value| shown(value)))
    };
    let is_known = |key: &&String| *key == STRATEGY || (0..runs.len()).any(|at| value(at, key).is_some());
    if let Some(key) = curves_by.iter().find(|key| !is_known(key)) {
        return Err(ReportError::UnknownKey { key: shown(key) });
    }
    let telling = telling(&keys, &axes, &free);
    let or_unset = |value: Option<String>| value.unwrap_or_else(|| UNSET.to_owned());
    let label = |at: usize, run: &RunSummary| match curves_by {
        [] => run.label.to_string(),
        named => {
            let part = |key: &String| match key.as_str() {
                STRATEGY => run.label.to_string(),
                key => or_unset(value(at, key)),
            };
            // The upper baseline shares no label with strategies, whatever curves are called by.
            let is_named = named.iter().any(|key| key == "strategy");
            let own = (run.strategy.is_upper() && !is_named).then(|| run.label.to_string());
            own.into_iter().chain(named.iter().map(part)).collect::<Vec<_>>().join(", ")
        }
    };
    let placed = runs.iter().enumerate().map(|(at, run)| Placed {
        setting: telling.iter().map(|key| (key.clone(), or_unset(keys[at].get(key).cloned()))).collect(),
        label: label(at, run),
        seed: seed(run),
    });
    Ok(placed.collect())
}

/// Axes by names of their own, which say in a word what several keys say. One that tells runs of equal keys apart, such
/// as by their seeds, names no setting.
fn axes(runs: &[RunSummary], keys: &[BTreeMap<String, String>]) -> Vec<String> {
    let all: BTreeSet<&String> = runs.iter().flat_map(|run| run.point.keys()).collect();
    let is_name = |axis: &&&String| keys.iter().all(|keys| !keys.contains_key(**axis));
    let says_no_more = |axis: &&&String| {
        let mut of_keys = BTreeMap::new();
        runs.iter().zip(keys).all(|(run, keys)| {
            let own = run.point.get(**axis);
            *of_keys.entry(keys).or_insert(own) == own
        })
    };
    all.iter().filter(is_name).filter(says_no_more).map(|axis| shown(axis)).collect()
}

/// Keys that have one value for each value of an axis, and not the same for all.
fn stood_for(axis: &str, runs: &[RunSummary], keys: &[BTreeMap<String, String>]) -> Vec<String> {
    let all: BTreeSet<&String> = keys.iter().flat_map(BTreeMap::keys).collect();
    let follows = |key: &&&String| {
        let mut of_axis = BTreeMap::new();
        runs.iter().zip(keys).all(|(run, keys)| {
            let own = keys.get(**key);
            *of_axis.entry(run.point.get(axis)).or_insert(own) == own
        })
    };
    all.iter().filter(follows).map(|key| (*key).clone()).collect()
}

/// A value of the config, in whichever part: `strategy.params.first`, `seeds.model`. None where there are more below.
fn anywhere(config: &Value, key: &str) -> Option<String> {
    match key.split('.').try_fold(config, |value, part| value.get(part))? {
        Value::Null | Value::Object(_) => None,
        Value::String(text) => Some(shown(text)),
        other => Some(shown(&other.to_string())),
    }
}

/// The curve of a finished run.
pub(crate) fn curve(run: &RunSummary, placed: &Placed) -> Option<Curve> {
    let tested = run.rounds.iter().filter(|round| !round.metrics.accuracy.is_nan());
    let mut points: Vec<(usize, f64)> = tested.map(|round| (round.labelled, round.metrics.accuracy)).collect();
    // Of rounds that no label came between, the last counts: most was held out by then.
    points.reverse();
    points.dedup_by_key(|point| point.0);
    points.reverse();
    let Placed { setting, label, seed } = placed;
    let is_upper = run.strategy.is_upper();
    let is_known = run.state == RunState::Finished && !points.is_empty();
    let curve = || Curve { setting: setting.clone(), label: label.clone(), seed: seed.clone(), points, is_upper };
    is_known.then(curve)
}

/// The seeds of a run: its root where that is all, else every part.
fn seed(run: &RunSummary) -> Seed {
    let part = |name: &str| Some(format!("{name} {}", run.config.get("seeds")?.get(name)?.as_u64()?));
    let parts: Vec<String> = ["split", "initial", "model"].into_iter().filter_map(part).collect();
    match parts.as_slice() {
        [] => Seed::Number(run.seed),
        parts => Seed::Text(format!("{}, {}", run.seed, parts.join(", "))),
    }
}

/// Fewest names, axes and then the best keys first, that tell as many settings apart as all keys.
fn telling(runs: &[BTreeMap<String, String>], axes: &[String], free: &[String]) -> Vec<String> {
    let all: BTreeSet<&str> = runs.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    let best: Vec<&str> = axes.iter().map(String::as_str).chain(FIRST).filter(|key| all.contains(key)).collect();
    let first = best.iter().copied();
    let rest = all.iter().copied().filter(|key| !best.contains(key));
    let mut classes = vec![0; runs.len()];
    let mut telling = Vec::new();
    for key in first.chain(rest).filter(|key| !free.iter().any(|free| free == key)) {
        let before = classes.iter().max().copied();
        let finer: Vec<(usize, Option<&String>)> =
            classes.iter().zip(runs).map(|(&class, run)| (class, run.get(key))).collect();
        let numbers: BTreeMap<&(usize, Option<&String>), usize> =
            finer.iter().collect::<BTreeSet<_>>().into_iter().enumerate().map(|(at, class)| (class, at)).collect();
        if numbers.len() > before.map_or(0, |most| most + 1) {
            classes = finer.iter().map(|class| numbers[class]).collect();
            telling.push(key.to_owned());
        }
    }
    telling
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(keys: &[(&str, &str)]) -> BTreeMap<String, String> {
        keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn keys_that_only_say_the_same_again_name_no_setting() {
        let runs = [
            run(&[("dataset.name", "mnist"), ("dataset.sha256", "a"), ("budget.batch", "10")]),
            run(&[("dataset.name", "digits"), ("dataset.sha256", "b"), ("budget.batch", "10")]),
            run(&[("dataset.name", "digits"), ("dataset.sha256", "b"), ("budget.batch", "20")]),
        ];
        assert_eq!(telling(&runs, &[], &[]), ["dataset.name", "budget.batch"]);
        assert_eq!(telling(&runs[..1], &[], &[]), Vec::<String>::new());
        assert_eq!(telling(&runs, &[], &["budget.batch".to_owned()]), ["dataset.name"]);
    }

    #[test]
    fn two_datasets_of_one_name_are_told_apart() {
        let runs = [
            run(&[("dataset.name", "folder"), ("dataset.sha256", "a")]),
            run(&[("dataset.name", "folder"), ("dataset.sha256", "b")]),
        ];
        assert_eq!(telling(&runs, &[], &[]), ["dataset.sha256"]);
    }

    #[test]
    fn a_key_that_one_run_lacks_tells_it_apart() {
        assert_eq!(telling(&[run(&[("recipe.swa", "true")]), run(&[])], &[], &[]), ["recipe.swa"]);
    }
}
