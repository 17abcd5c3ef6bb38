//! The cells of a study's grid.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::StudyConfig;
use crate::config::{RunConfig, StrategyConfig, UPPER_LABEL, UpperConfig, schemas};
use crate::digest::sha256;
use crate::schema::{Problem, Schema};

/// Cells of a study at most.
pub const MOST_CELLS: usize = 100_000;
/// Hex digits of a digest in the name of a cell's folder.
const DIGITS: usize = 10;
/// First parts of keys that stand in a run file.
const PARTS: [&str; 13] = [
    "version",
    "dataset",
    "learner",
    "model",
    "recipe",
    "ensemble",
    "fixed_embeddings",
    "arrays",
    "budget",
    "compute",
    "limits",
    "keep",
    "seeds",
];

/// One run of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Its run.
    pub config: RunConfig,
    /// What it has of each axis, as text, by the axis's name.
    pub point: BTreeMap<String, String>,
    /// SHA-256, in hex, of what its result depends on.
    pub digest: String,
    /// Where keys of its run stand in the study file, by key.
    places: Vec<(String, String)>,
}

impl Cell {
    /// The folder of the run within the study's, `LABEL/seed-N-DIGEST`: another config has another folder.
    pub fn folder(&self) -> String {
        let Self { config, digest, .. } = self;
        format!("{}/seed-{}-{}", config.strategy.label(), config.seeds.root, &digest[..DIGITS])
    }

    /// The place in the study file of what is at a place of the run.
    pub fn place(&self, pointer: &str) -> String {
        place_of(self.places.iter().map(|(key, place)| (key.as_str(), place.as_str())), pointer)
    }
}

/// Keys of the run file that go together, and where in the study file they stand.
#[derive(Clone, Default)]
struct Change {
    /// Value and its place in the file, by dotted key.
    keys: Vec<(String, Value, String)>,
    point: BTreeMap<String, String>,
}

/// Cells that share everything but strategy and seed.
struct Wanted<'a> {
    change: Change,
    strategies: Vec<&'a StrategyConfig>,
    /// What stands in the place of a strategy for the upper baseline, where the study has one.
    upper: Option<StrategyConfig>,
    seeds: Vec<u64>,
}

impl StudyConfig {
    /// The cells of the grid, in the order in which they are run: axes, then seeds, then strategies.
    ///
    /// # Errors
    /// If an axis is none, or a cell is no run: every problem once, at its place in the study file.
    pub fn cells(&self) -> Result<Vec<Cell>, Vec<Problem>> {
        let mut changes = vec![Change::default()];
        for (name, values) in &self.axes {
            let axis = axis(name, values)?;
            if changes.len().saturating_mul(axis.len()) > MOST_CELLS {
                return Err(vec![too_many()]);
            }
            changes = changes.iter().flat_map(|change| axis.iter().map(|value| change.and(value))).collect();
        }
        let all: Vec<&StrategyConfig> = self.strategies.iter().collect();
        let (seeds, upper) = (&self.seeds, self.upper.as_ref().map(UpperConfig::chooser));
        let grid = changes.into_iter().map(|change| {
            let (strategies, upper, seeds) = (all.clone(), upper.clone(), seeds.clone());
            Wanted { change, strategies, upper, seeds }
        });
        let beside = self.include.iter().enumerate().map(|(at, table)| self.included(at, table));
        let mut wanted: Vec<Wanted<'_>> = grid.collect();
        wanted.extend(beside.collect::<Result<Vec<_>, _>>()?);
        let choosers = |wanted: &Wanted<'_>| wanted.strategies.len() + usize::from(wanted.upper.is_some());
        let count = wanted.iter().map(|wanted| choosers(wanted).saturating_mul(wanted.seeds.len()));
        if count.fold(0usize, usize::saturating_add) > MOST_CELLS {
            return Err(vec![too_many()]);
        }
        self.runs(wanted)
    }

    fn runs(&self, wanted: Vec<Wanted<'_>>) -> Result<Vec<Cell>, Vec<Problem>> {
        let schema = Schema::new(schemas()["run"].clone())
            .map_err(|error| vec![problem("", format!("the schema of run files cannot be used: {error}"))])?;
        let mut cells = Vec::new();
        let (mut problems, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for Wanted { change, strategies, upper, seeds } in wanted {
            let Some(base) = self.base_of(&change, &schema, &mut problems) else { continue };
            for &seed in &seeds {
                for strategy in strategies.iter().copied().chain(&upper) {
                    let mut config = base.clone();
                    config.strategy = strategy.clone();
                    config.seeds.root = seed;
                    let config = config.resolved();
                    if self.is_excluded(&config) {
                        continue;
                    }
                    let digest = digest(&config);
                    // What is in the grid already is not done twice.
                    if seen.insert(digest.clone()) {
                        cells.push(Cell { config, point: change.point.clone(), digest, places: change.places() });
                    }
                }
            }
        }
        if problems.is_empty() && cells.is_empty() {
            problems.insert("/exclude".to_owned(), problem("/exclude", "it leaves out every cell"));
        }
        if problems.is_empty() { Ok(cells) } else { Err(problems.into_values().collect()) }
    }

    /// The run that strategies and seeds of one point share; its problems at their places in the study file.
    fn base_of(&self, change: &Change, schema: &Schema, problems: &mut BTreeMap<String, Problem>) -> Option<RunConfig> {
        let mut file = Value::Object(self.base.clone());
        file["strategy"] = json!({ "id": self.strategies[0].id });
        for (key, value, place) in &change.keys {
            if let Err(message) = set(&mut file, key, value.clone()) {
                problems.insert(place.clone(), problem(place, message));
                return None;
            }
        }
        if let Some(upper) = &self.upper {
            let slice = file.get_mut("dataset").and_then(Value::as_object_mut);
            slice.map(|dataset| dataset.entry("reserve").or_insert(json!(upper.slice)));
        }
        let mut found = schema.problems(&file);
        if found.is_empty() {
            match serde_json::from_value::<RunConfig>(file) {
                Ok(config) => return Some(config),
                Err(error) => found.push(problem("", error.to_string())),
            }
        }
        for problem in found {
            let pointer = place_of(change.keys.iter().map(|(key, _, place)| (&**key, &**place)), &problem.pointer);
            problems.insert(format!("{pointer} {}", problem.message), Problem { pointer, ..problem });
        }
        None
    }

    fn included(&self, at: usize, table: &Map<String, Value>) -> Result<Wanted<'_>, Vec<Problem>> {
        let place = format!("/include/{at}");
        let mut change = Change::default();
        let (mut strategies, mut seeds) = (self.strategies.iter().collect::<Vec<_>>(), self.seeds.clone());
        let mut upper = self.upper.as_ref().map(UpperConfig::chooser);
        for (key, value) in table {
            let at = format!("{place}/{}", escaped(key));
            let any = any_of(value);
            match key.as_str() {
                "strategy" => {
                    let is_named = |name: &str| any.iter().any(|label| **label == json!(name));
                    strategies.retain(|strategy| is_named(strategy.label()));
                    upper = upper.filter(|_| is_named(UPPER_LABEL));
                    if strategies.is_empty() && upper.is_none() {
                        return Err(vec![problem(at, format!("no strategy is labelled {value}"))]);
                    }
                }
                "seed" => {
                    seeds = any.iter().filter_map(|seed| seed.as_u64()).collect();
                    if seeds.len() != any.len() {
                        return Err(vec![problem(at, format!("{value} is no seed; expected a number, or several"))]);
                    }
                }
                key => change.add(key, value, at)?,
            }
        }
        Ok(Wanted { change, strategies, upper, seeds })
    }

    fn is_excluded(&self, config: &RunConfig) -> bool {
        if self.exclude.is_empty() {
            return false;
        }
        let file = serde_json::to_value(config).unwrap_or_default();
        let has = |key: &str, value: &Value| {
            let found = match key {
                "strategy" => json!(config.strategy.label()),
                "seed" => json!(config.seeds.root),
                key => file.pointer(&format!("/{}", key.replace('.', "/"))).cloned().unwrap_or(Value::Null),
            };
            any_of(value).into_iter().any(|value| *value == found)
        };
        self.exclude.iter().any(|table| !table.is_empty() && table.iter().all(|(key, value)| has(key, value)))
    }
}

impl Change {
    fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.keys.extend(other.keys.iter().cloned());
        both.point.extend(other.point.clone());
        both
    }

    fn add(&mut self, key: &str, value: &Value, place: String) -> Result<(), Vec<Problem>> {
        if !is_key(key) {
            let message = format!("`{key}` is no key of a run file; expected one such as `budget.batch`");
            return Err(vec![problem(place, message)]);
        }
        self.keys.push((key.to_owned(), value.clone(), place));
        self.point.insert(key.to_owned(), shown(value));
        Ok(())
    }

    fn places(&self) -> Vec<(String, String)> {
        self.keys.iter().map(|(key, _, place)| (key.clone(), place.clone())).collect()
    }
}

/// Where in the study file stands what is at a place of the run; the last key that leads there counts.
fn place_of<'a>(keys: impl DoubleEndedIterator<Item = (&'a str, &'a str)>, pointer: &str) -> String {
    let inside = keys.rev().find_map(|(key, place)| {
        let at = format!("/{}", key.replace('.', "/"));
        let rest = pointer.strip_prefix(&at).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(format!("{place}{rest}"))
    });
    inside.unwrap_or_else(|| pointer.to_owned())
}

/// The values of an axis.
fn axis(name: &str, values: &[Value]) -> Result<Vec<Change>, Vec<Problem>> {
    let place = format!("/axes/{}", escaped(name));
    let of_value = |(at, value): (usize, &Value)| {
        let at = format!("{place}/{at}");
        let mut change = Change::default();
        if is_key(name) && !goes_together(value) {
            change.add(name, value, at)?;
            return Ok(change);
        }
        let Some(table) = value.as_object() else {
            let message = format!(
                "`{name}` is no key of a run file, so its values are tables of keys, such as \
                 {{ \"budget.batch\" = 10 }}"
            );
            return Err(vec![problem(at, message)]);
        };
        for (key, value) in table.iter().filter(|(key, _)| *key != "label") {
            change.add(key, value, format!("{at}/{}", escaped(key)))?;
        }
        let keys = || change.keys.iter().map(|(key, value, _)| format!("{key} {}", shown(value))).collect::<Vec<_>>();
        let label = table.get("label").map_or_else(|| keys().join(", "), shown);
        change.point = BTreeMap::from([(name.to_owned(), label)]);
        Ok(change)
    };
    values.iter().enumerate().map(of_value).collect()
}

/// Whether a value is a table of keys of the run file: nothing like it stands in one, whatever the axis is called.
fn goes_together(value: &Value) -> bool {
    value.as_object().is_some_and(|table| table.keys().any(|key| key.contains('.') && is_key(key)))
}

fn is_key(name: &str) -> bool {
    PARTS.contains(&name.split('.').next().unwrap_or_default())
}

fn any_of(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |values| values.iter().collect())
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn problem(pointer: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { pointer: pointer.into(), message: message.into(), help: None }
}

fn too_many() -> Problem {
    problem("/axes", format!("the grid has more than {MOST_CELLS} cells; make several studies of it"))
}

/// Puts a value at a dotted key.
fn set(file: &mut Value, key: &str, value: Value) -> Result<(), String> {
    let mut here = file;
    for part in key.split('.') {
        let table = here.as_object_mut().ok_or_else(|| format!("`{key}`: what is above `{part}` is no table"))?;
        here = table.entry(part.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    }
    *here = value;
    Ok(())
}

/// SHA-256, in hex, of what the result of a run depends on.
fn digest(config: &RunConfig) -> String {
    sha256(essence(config).to_string().as_bytes())
}

/// The config without limits, its learner's among them, and without what has its default, so that a key that a later
/// release adds changes no digest.
fn essence(config: &RunConfig) -> Value {
    static DEFAULTS: LazyLock<Value> = LazyLock::new(|| {
        let smallest = json!({
            "version": 1, "dataset": { "name": "" }, "budget": { "initial": 1, "batch": 1, "rounds": 1 },
            "strategy": { "id": "" },
        });
        let config = serde_json::from_value::<RunConfig>(smallest);
        json!(config.unwrap_or_else(|error| unreachable!("the smallest run file is one: {error}")))
    });
    let mut config = json!(config);
    if let Some(config) = config.as_object_mut() {
        config.remove("limits");
        config.get_mut("learner").and_then(Value::as_object_mut).map(|learner| learner.remove("limits"));
        config.get_mut("learner").and_then(Value::as_object_mut).map(|learner| learner.remove("limits"));
        for (part, value) in config.iter_mut().filter(|(part, _)| *part != "strategy" && *part != "budget") {
            if let (Some(value), Some(defaults)) = (value.as_object_mut(), DEFAULTS.get(part)) {
                value.retain(|key, value| defaults.get(key) != Some(value));
            }
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(more: Value) -> StudyConfig {
        let mut file = json!({
            "version": 1, "dataset": { "name": "digits", "test": 300 },
            "budget": { "initial": 10, "batch": 10, "rounds": 2 },
            "strategies": [{ "id": "random" }, { "id": "margin" }], "seeds": [0, 1],
        });
        file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(file).unwrap()
    }

    fn problems(more: Value) -> Vec<String> {
        let found = study(more).cells().unwrap_err();
        found.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect()
    }

    #[test]
    fn strategies_times_seeds_times_axes() {
        assert_eq!(study(json!({})).cells().unwrap().len(), 4);
        let axes = json!({ "axes": {
            "budget.batch": [5, 10],
            "data": [
                { "label": "large", "dataset.name": "mnist" },
                { "dataset.name": "digits", "dataset.test": 200, "model.name": "mlp" },
            ],
            "seeds.model": [7, 8, 9],
        } });
        let cells = study(axes).cells().unwrap();
        assert_eq!(cells.len(), 4 * 2 * 2 * 3);
        let folders: BTreeSet<String> = cells.iter().map(Cell::folder).collect();
        assert_eq!(folders.len(), cells.len(), "each has a folder of its own");
        let last = cells.last().unwrap();
        assert_eq!((last.config.seeds.model, last.config.seeds.root), (Some(9), 1));
        assert_eq!(last.config.experiment.dataset.test, Some(200));
        assert_eq!(last.point["budget.batch"], "10");
        assert_eq!(cells[0].point["data"], "large");
        assert_eq!(last.point["data"], "dataset.name digits, dataset.test 200, model.name mlp");
        assert_eq!(last.config.strategy.label(), "margin");
    }

    #[test]
    fn an_axis_may_be_called_as_a_key_is() {
        let axes = json!({ "axes": { "recipe": [{ "label": "slow", "recipe.lr": 0.1 }, { "epochs": 7 }] } });
        let cells = study(axes).cells().unwrap();
        assert_eq!((cells[0].point["recipe"].as_str(), cells[0].config.experiment.recipe.lr), ("slow", 0.1));
        assert_eq!(cells[4].config.experiment.recipe.epochs, 7);
    }

    #[test]
    fn cells_are_left_out_and_added() {
        let more = json!({
            "axes": { "budget.batch": [5, 10] },
            "exclude": [{ "strategy": "margin", "budget.batch": 5 }, { "seed": [1, 2], "strategy": "random" }],
            "include": [
                { "budget.batch": 50, "strategy": "random", "seed": 9 },
                { "budget.batch": 10, "strategy": "margin", "seed": 0 },
            ],
        });
        let cells = study(more).cells().unwrap();
        let named: Vec<String> = cells
            .iter()
            .map(|cell| {
                format!("{} {} {}", cell.config.strategy.label(), cell.config.seeds.root, cell.point["budget.batch"])
            })
            .collect();
        assert_eq!(named, ["random 0 5", "random 0 10", "margin 0 10", "margin 1 10", "random 9 50"]);
    }

    #[test]
    fn an_axis_may_give_what_the_base_lacks() {
        let mut study =
            study(json!({ "axes": { "dataset": [{ "name": "digits", "test": 300 }, { "name": "mnist" }] } }));
        study.base.remove("dataset");
        assert_eq!(study.cells().unwrap().len(), 8);
        study.axes.clear();
        let found = study.cells().unwrap_err();
        assert!(found.len() == 1 && found[0].message.contains("dataset"), "{found:?}");
    }

    #[test]
    fn problems_stand_where_they_were_written() {
        assert_eq!(
            problems(json!({ "axes": { "budget.batch": [5, "many"] } })).len(),
            1,
            "once, not once a strategy and seed"
        );
        assert!(problems(json!({ "axes": { "budget.batch": [5, "many"] } }))[0].starts_with("/axes/budget.batch/1"));
        let nested = problems(json!({ "axes": { "size": [{ "recipe.lr": -1.0 }] } }));
        assert!(nested[0].starts_with("/axes/size/0/recipe.lr: "), "{nested:?}");
        assert!(problems(json!({ "axes": { "size": [3] } }))[0].contains("its values are tables of keys"));
        assert!(problems(json!({ "include": [{ "sizes": 3 }] }))[0].starts_with("/include/0/sizes: `sizes` is no key"));
        assert!(problems(json!({ "include": [{ "strategy": "badge" }] }))[0].contains("no strategy is labelled"));
        assert!(problems(json!({ "exclude": [{ "seed": [0, 1] }] }))[0].contains("it leaves out every cell"));
        let many: Vec<u64> = (0..500).collect();
        let axes = json!({ "axes": { "seeds.model": many, "seeds.initial": many } });
        assert!(problems(axes)[0].contains("more than 100000 cells"));
    }

    #[test]
    fn a_digest_is_of_what_counts() {
        let of = |more: Value| study(more).cells().unwrap()[0].digest.clone();
        let plain = of(json!({}));
        assert_eq!(plain, of(json!({ "limits": { "seconds": 77.0 } })));
        let learner = |limits: Value| of(json!({ "learner": { "command": ["train"], "limits": limits } }));
        assert_eq!(learner(json!({})), learner(json!({ "fit": 60.0 })));
        assert_ne!(plain, learner(json!({})));
        assert_eq!(plain, of(json!({ "recipe": { "epochs": 30 } })), "the default, said");
        let own = |limits: Value| of(json!({ "learner": { "command": ["learner"], "limits": limits } }));
        assert!(own(json!({})) != plain && own(json!({})) == own(json!({ "fit": 7.0 })));
        assert_ne!(plain, of(json!({ "recipe": { "epochs": 31 } })));
        assert_ne!(plain, of(json!({ "compute": { "threads": 3 } })), "threads are part of a result");
        let cells = study(json!({ "recipe": { "epochs": 31 } })).cells().unwrap();
        let essence = essence(&cells[0].config);
        assert_eq!(
            (&essence["recipe"], &essence["dataset"]),
            (&json!({"epochs": 31}), &json!({"name": "digits", "test": 300}))
        );
    }
}
