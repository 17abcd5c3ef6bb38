//! Parameters that a study searches: each combination of values is a setting of its strategy.

use std::collections::BTreeSet;

use anyhow::Result;
use querist_core::config::{StrategyConfig, StudyConfig, Tried};
use querist_core::digest::sha256;
use querist_core::schema::{Problem, Range, SEARCH, Schema};
use querist_loader::Listing;
use querist_protocol::Shown;
use serde_json::{Map, Value, json};

/// Strategies of a study at most, settings that are searched among them.
const MOST_STRATEGIES: usize = 1000;
/// Characters of a label at most.
const LABEL_CHARACTERS: usize = 64;
/// Characters of a label that is cut, before the digest of its values.
const CUT_CHARACTERS: usize = 50;

/// What is tried of a strategy.
struct Search<'a> {
    strategy: &'a StrategyConfig,
    schema: Schema,
    /// Place in the study file.
    place: String,
    problems: Vec<Problem>,
}

/// The study with every setting that is searched in the place of its strategy, or what is wrong with the search.
pub fn settle(study: &StudyConfig, listing: &Listing) -> Result<Result<StudyConfig, Vec<Problem>>> {
    if study.search.is_empty() {
        return Ok(Ok(study.clone()));
    }
    let mut problems: Vec<Problem> = study
        .search
        .keys()
        .filter(|label| !study.strategies.iter().any(|strategy| strategy.label() == label.as_str()))
        .map(|label| problem(format!("/search/{}", escaped(label)), "no strategy has this label", None))
        .collect();
    let mut strategies = Vec::new();
    for strategy in &study.strategies {
        let Some(wanted) = study.search.get(strategy.label()) else {
            strategies.push(strategy.clone());
            continue;
        };
        // That there is no such strategy is told with everything else that is wrong with strategies.
        let Ok(resolved) = listing.resolve(&strategy.id) else {
            strategies.push(strategy.clone());
            continue;
        };
        let schema = Schema::new(resolved.strategy.schema.clone())?;
        let place = format!("/search/{}", escaped(strategy.label()));
        let mut search = Search { strategy, schema, place, problems: Vec::new() };
        let tried: Vec<(&String, Vec<Value>)> =
            wanted.iter().map(|(name, tried)| (name, search.values(name, tried))).collect();
        strategies.extend(search.settings(&tried, MOST_STRATEGIES.saturating_sub(strategies.len())));
        problems.extend(search.problems);
    }
    problems.extend(twice(&strategies));
    Ok(match problems.is_empty() {
        true => Ok(StudyConfig { strategies, search: Default::default(), ..study.clone() }),
        false => Err(problems),
    })
}

impl Search<'_> {
    /// The values of a parameter; none where something is wrong with them.
    fn values(&mut self, name: &str, tried: &Tried) -> Vec<Value> {
        let place = format!("{}/{}", self.place, escaped(name));
        let found = match self.strategy.params.contains_key(name) {
            true => Err(("it is given in `params` of the strategy, too".to_owned(), Some("leave one of them out"))),
            false => self.range(name, tried),
        };
        let values = match found {
            Ok(values) => values,
            Err((message, help)) => {
                self.problems.push(problem(place, message, help));
                return Vec::new();
            }
        };
        let wrong = values.iter().flat_map(|value| {
            let found = self.schema.problems(&json!({ name: value }));
            // What another parameter must be is no matter of this one.
            let own = format!("/{}", escaped(name));
            found
                .into_iter()
                .filter(move |problem| problem.pointer == own || problem.pointer.starts_with(&(own.clone() + "/")))
        });
        let wrong: Vec<Problem> = wrong.map(|found| Problem { pointer: place.clone(), ..found }).collect();
        let is_right = wrong.is_empty();
        self.problems.extend(wrong);
        if is_right { values } else { Vec::new() }
    }

    fn range(&self, name: &str, tried: &Tried) -> Result<Vec<Value>, (String, Option<&'static str>)> {
        let own = "write a list of values, { log = [LOW, HIGH], points = N } or { linear = [LOW, HIGH], points = N }";
        let said = self.schema.search(name);
        let whole = self.schema.is_whole(name);
        let between = |range: Value, points: usize| Range::read(&range).map(|range| range.values(points, whole));
        match tried {
            Tried::Values(values) => Ok(values.clone()),
            Tried::Log { log, points } => between(json!({ "log": log }), *points).map_err(|error| (error, None)),
            Tried::Linear { linear, points } => {
                between(json!({ "linear": linear }), *points).map_err(|error| (error, None))
            }
            Tried::All(_) => match said {
                Some(Range::Choices(choices)) => Ok(choices),
                Some(_) => Err(("it is a range, and has no choices".to_owned(), Some("write how many of its values"))),
                None => Err((self.unnamed(name), Some(own))),
            },
            Tried::Points(points) => match said {
                Some(Range::Choices(_)) => Err((
                    "it is chosen of a few, and has no range".to_owned(),
                    Some("write \"all\", or a list of values"),
                )),
                Some(range) => Ok(range.values(*points, whole)),
                None => Err((self.unnamed(name), Some(own))),
            },
        }
    }

    fn unnamed(&self, name: &str) -> String {
        match self.schema.names().any(|known| known == name) {
            true => format!("the author of `{}` names no range for it (`{SEARCH}` of its schema)", self.strategy.id),
            false => {
                let known: Vec<&str> = self.schema.names().collect();
                format!("`{}` has no such parameter; it has {}", self.strategy.id, known.join(", "))
            }
        }
    }

    /// Every combination of values, `most` at most.
    fn settings(&mut self, tried: &[(&String, Vec<Value>)], most: usize) -> Vec<StrategyConfig> {
        let count = tried.iter().map(|(_, values)| values.len()).fold(1usize, usize::saturating_mul);
        if count > most {
            let message = format!("{count} combinations; a study has {MOST_STRATEGIES} strategies at most");
            self.problems.push(problem(&self.place, message, Some("try fewer values, or make several studies of it")));
            return Vec::new();
        }
        let mut combinations = vec![Map::new()];
        for (name, values) in tried {
            let with = |one: &Map<String, Value>, value: &Value| {
                let mut more = one.clone();
                more.insert((*name).clone(), value.clone());
                more
            };
            combinations =
                combinations.iter().flat_map(|one| values.iter().map(move |value| with(one, value))).collect();
        }
        combinations.into_iter().map(|values| self.setting(values)).collect()
    }

    fn setting(&self, values: Map<String, Value>) -> StrategyConfig {
        let mut setting = self.strategy.clone();
        setting.label = Some(label(self.strategy.label(), &values));
        setting.params.extend(values);
        setting
    }
}

/// What a setting is called: its values, as far as a folder can be called so.
fn label(strategy: &str, values: &Map<String, Value>) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let named: String = values.iter().map(|(name, value)| format!("-{name}-{}", text(value))).collect();
    let kept = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    let label: String = format!("{strategy}{named}").chars().map(kept).collect();
    if label.len() <= LABEL_CHARACTERS {
        return label;
    }
    let digest = sha256(Value::Object(values.clone()).to_string().as_bytes());
    format!("{}-{}", &label[..CUT_CHARACTERS], &digest[..8])
}

/// Settings that would be called as another strategy is.
fn twice(strategies: &[StrategyConfig]) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let again = strategies.iter().map(StrategyConfig::label).filter(|label| !seen.insert(*label));
    let told = |label: &str| format!("two strategies would be called `{}`", Shown::name(label));
    again.map(|label| problem("/search", told(label), Some("give one of them another `label`"))).collect()
}

fn problem(pointer: impl Into<String>, message: impl Into<String>, help: Option<&str>) -> Problem {
    Problem { pointer: pointer.into(), message: message.into(), help: help.map(str::to_owned) }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
