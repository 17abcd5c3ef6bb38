//! The user's arrays: files and flags on the way in, and on the way out into errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use querist_core::{Given, GivenError, Round, Seeds, Sorted, Strategy, Values, candidates};
use querist_data::arrays::{Kind, read_array};
use querist_files::shown;
use querist_protocol::{ArrayKind, Need, names};
use serde_json::{Map, Value};

use super::SelectArgs;
use crate::exit::Usage;
use crate::output;

/// The arrays as they were given, and the files that they come from.
pub struct Inputs {
    given: Given,
    files: BTreeMap<String, PathBuf>,
}

impl Inputs {
    /// Reads every file of a call; `params` may say how many draws arrays hold.
    pub fn read(args: &SelectArgs, params: &Map<String, Value>) -> Result<Self> {
        let mut inputs = Self { given: Given::default(), files: BTreeMap::new() };
        inputs.given.ids = args.ids.as_deref().map(|path| read_ids("--ids", path)).transpose()?;
        for input in &args.inputs {
            let (name, file) = input
                .split_once('=')
                .ok_or_else(|| Usage(format!("`--input {input}`: write NAME=FILE, such as logits=logits.npy")))?;
            inputs.add(name.trim(), Path::new(file))?;
        }
        let arranged = inputs.given.arrange(args.classes, |name| said_draws(params, name));
        arranged.map_err(|error| inputs.usage(&error))?;
        Ok(inputs)
    }

    fn add(&mut self, name: &str, path: &Path) -> Result<()> {
        let array = Given::array_called(name);
        let again = match name {
            "ids" => self.given.ids.replace(read_ids(name, path)?).is_some(),
            "labelled.ids" => self.given.labelled_ids.replace(read_ids(name, path)?).is_some(),
            _ => {
                let Some(array) = &array else { return Err(unknown(name)) };
                let kind = if names::is_labels(array) { Kind::U32 } else { Kind::F32 };
                let read = read_array(path, Some(name), kind).with_context(|| format!("--input {name}"))?;
                self.files.insert(array.clone(), path.to_owned());
                self.given.add(name, read).map_err(|error| self.usage(&error))?
            }
        };
        match array.filter(|array| array != name) {
            Some(array) if again => {
                Err(Usage(format!("`--input {name}` is `{array}` in another form, which is given, too")).into())
            }
            None if again => Err(Usage(format!("`--input {name}` is given twice")).into()),
            _ => Ok(()),
        }
    }

    /// Takes the number of draws that the arrays hold as the strategy's parameter where the user says none.
    ///
    /// # Errors
    /// If the user says another number.
    pub fn settle_draws(&self, schema: &Value, params: &mut Map<String, Value>) -> Result<()> {
        for (name, found) in self.given.draws() {
            let Some(parameter) = parameter_of(name) else { continue };
            // Another strategy may mean something else by the name.
            let kind = schema.pointer(&format!("/properties/{parameter}/type"));
            let is_number = |kind: &Value| kind == "integer";
            if !kind.is_some_and(|kind| is_number(kind) || kind.as_array().is_some_and(|all| all.iter().any(is_number)))
            {
                continue;
            }
            match said_draws(params, name) {
                Some(said) if said != found => {
                    let message = format!("{found} draws a row, but `{parameter}` is {said}");
                    return Err(self.usage(&GivenError::Array { name: name.to_owned(), message }));
                }
                Some(_) => {}
                // What is no number is left for the schema to refuse.
                None => drop(params.entry(parameter).or_insert_with(|| found.into())),
            }
        }
        Ok(())
    }

    /// What the strategy is asked about.
    pub fn complete(mut self, args: &SelectArgs, strategy: &dyn Strategy) -> Result<Sorted> {
        for (name, other) in self.given.complete(strategy.needs()).map_err(|error| self.usage(&error))? {
            if let Some(file) = self.files.get(&other).cloned() {
                self.files.insert(name, file);
            }
        }
        if self.given.logits_look_like_probabilities() {
            output::note("warning: `logits` look like probabilities; if they are, give them as `--input probs=FILE`");
        }
        if let Some(size) = args.subset_size
            && let Some(budget) = args.budget.iter().find(|&&budget| budget > size)
        {
            bail!(Usage(format!("`--subset-size {size}` holds fewer rows than the budget of {budget}")));
        }
        let (seeds, id, round) = (Seeds::new(args.seed), &strategy.identity().id, Round(args.round));
        let given = std::mem::take(&mut self.given);
        let sorted = given.sorted(args.classes, |pool| candidates(pool, args.subset_size, seeds, id, round));
        sorted.map_err(|error| self.usage(&error))
    }

    /// An error in the words of the command line, with the files that it is about.
    fn usage(&self, error: &GivenError) -> anyhow::Error {
        let message = match error {
            GivenError::Array { name, message } => {
                let array = Given::array_called(name);
                let file = array.and_then(|array| self.files.get(&array)).map(|path| format!(" ({})", shown(path)));
                format!("--input {name}{}: {message}", file.unwrap_or_default())
            }
            GivenError::Missing(needs) => format!("{error}: {}", how_to_give(&needs[0])),
            GivenError::NoPool => "no input has one row a pool sample: give one, or `--ids`".to_owned(),
            GivenError::Classes { classes, names } => format!(
                "{classes} classes, as the class dimension, the largest label or `--classes` says; expected at most \
                 {}{}",
                GivenError::MAX_CLASSES,
                self.files_of(names.iter())
            ),
            _ => {
                let text = error.to_string();
                let named = self.files.keys().filter(|name| text.contains(&format!("`{name}`")));
                format!("{text}{}", self.files_of(named))
            }
        };
        Usage(message).into()
    }

    fn files_of<'a>(&self, names: impl Iterator<Item = &'a String>) -> String {
        let files: Vec<String> =
            names.filter_map(|name| Some(format!("`{name}` is {}", shown(self.files.get(name)?)))).collect();
        if files.is_empty() { String::new() } else { format!(" ({})", files.join(", ")) }
    }
}

fn unknown(name: &str) -> anyhow::Error {
    let known: Vec<&str> = Given::names().collect();
    let message = format!(
        "`--input {name}`: no array has this name; the names are {}, and `labelled.` before those with one row a \
         sample",
        known.join(", ")
    );
    Usage(message).into()
}

/// How a user can give what is missing.
fn how_to_give(need: &Need) -> String {
    let name = need.name();
    if names::is_condition(name) {
        return "it works with pictures or with the model itself, and `select` has arrays alone: ask it in a run \
                (`querist run`)"
            .to_owned();
    }
    if name == names::HEAD {
        return "give a linear one with `--input head.w=FILE` and `--input head.b=FILE`".to_owned();
    }
    let give = format!("give it with `--input {name}=FILE`");
    match ArrayKind::of(name).and_then(|(kind, _)| kind.stand_in).filter(|other| !other.when.is_empty()) {
        None => give,
        Some(other) => {
            let name = name.replace(need.split_labelled().0, other.name);
            format!("{give}, or `--input {name}=FILE` {}", other.when)
        }
    }
}

/// The parameter of a strategy that says how many draws an array holds.
fn parameter_of(name: &str) -> Option<&'static str> {
    ArrayKind::of(name).and_then(|(kind, _)| kind.draws_parameter())
}

/// The number of draws that the user says.
fn said_draws(params: &Map<String, Value>, name: &str) -> Option<usize> {
    params.get(parameter_of(name)?)?.as_u64().and_then(|draws| usize::try_from(draws).ok())
}

fn read_ids(name: &str, path: &Path) -> Result<Vec<u64>> {
    let array = read_array(path, Some(name), Kind::U64).with_context(|| name.to_owned())?;
    match (array.values(), array.shape()) {
        (Values::U64(ids), [_]) => Ok(ids.to_vec()),
        (_, shape) => bail!(Usage(format!("{name}: {} has shape {shape:?}; ids are a list", shown(path)))),
    }
}
