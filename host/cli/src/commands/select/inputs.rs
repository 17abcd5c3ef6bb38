//! The user's arrays: files and flags on the way in, and on the way out into errors.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use querist_core::{Given, GivenError, Sorted, Strategy, Values, candidates};
use querist_data::arrays::{Ids, Kind, Texts, far_array, is_several, read_array, read_ids, shard_files};
use querist_files::shown;
use querist_protocol::{ArrayKind, Need, Shown, names};
use serde_json::{Map, Value};

use super::words::{self, Words};
use super::{AskArgs, Draw};
use crate::exit::Usage;
use crate::output;

/// The arrays as they were given, and the files that they come from.
pub struct Inputs {
    given: Given,
    /// Ids that are texts; the rows' numbers take their place where there are some.
    texts: Option<Texts>,
    files: BTreeMap<String, PathBuf>,
    words: Words,
}

/// The rows of the pool that may be picked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subset<'a> {
    /// How many, drawn at random; all where it is `None`.
    pub size: Option<usize>,
    /// How many of them are wanted.
    pub budgets: &'a [usize],
}

impl Inputs {
    /// Reads every file of a call; `params` may say how many draws arrays hold.
    pub fn read(args: &AskArgs, params: &Map<String, Value>) -> Result<Self> {
        let mut inputs = Self { given: Given::default(), texts: None, files: BTreeMap::new(), words: Words::Flags };
        if let Some(file) = &args.ids {
            inputs.add_ids("--ids", file)?;
        }
        for input in &args.inputs {
            let (name, file) = input
                .split_once('=')
                .ok_or_else(|| Usage(format!("`--input {input}`: write NAME=FILE, such as logits=logits.npy")))?;
            inputs.add(name.trim(), file)?;
        }
        inputs.arrange(args.classes, params)?;
        inputs.check_texts()?;
        Ok(inputs)
    }

    /// Arrays that are in memory already, of which errors are told in these words.
    pub fn of(given: Given, words: Words, classes: Option<usize>, params: &Map<String, Value>) -> Result<Self> {
        let mut inputs = Self { given, texts: None, files: BTreeMap::new(), words };
        inputs.arrange(classes, params)?;
        Ok(inputs)
    }

    fn arrange(&mut self, classes: Option<usize>, params: &Map<String, Value>) -> Result<()> {
        self.given.arrange(classes, |name| said_draws(params, name)).map_err(|error| self.usage(&error))
    }

    /// Takes the ids of the pool; `true` if there were some already.
    fn add_ids(&mut self, name: &str, file: &str) -> Result<bool> {
        let before = self.given.ids.is_some() || self.texts.is_some();
        let path = Path::new(file);
        let is_text = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("txt"));
        if !is_text && !is_several(file) {
            self.given.ids = Some(read_numbers(name, path)?);
            return Ok(before);
        }
        let files = shard_files(file, name)?;
        match read_ids(&files, "ids")? {
            Ids::Numbers(ids) => self.given.ids = Some(ids),
            Ids::Texts(texts) => self.texts = Some(texts),
        }
        Ok(before)
    }

    /// Ids that are texts are as many as the rows, and distinct.
    fn check_texts(&self) -> Result<()> {
        let Some(texts) = &self.texts else { return Ok(()) };
        if let Some((first, second)) = texts.twice() {
            let id = Shown::name(texts.get(first).unwrap_or_default());
            bail!(Usage(format!("`ids` holds `{id}` in rows {first} and {second}; ids are distinct")));
        }
        let rows = self.given.pool_rows().map_err(|error| self.usage(&error))?;
        if texts.len() != rows {
            bail!(Usage(format!("`ids` has {} ids for {rows} rows", texts.len())));
        }
        Ok(())
    }

    fn add(&mut self, name: &str, file: &str) -> Result<()> {
        let path = Path::new(file);
        let array = Given::array_called(name);
        let again = match name {
            "ids" => self.add_ids(name, file)?,
            "labelled.ids" => self.given.labelled_ids.replace(read_numbers(name, path)?).is_some(),
            _ => {
                let Some(array) = &array else { return Err(unknown(name)) };
                let kind = if names::is_labels(array) { Kind::U32 } else { Kind::F32 };
                let read = match is_several(file) {
                    true if kind == Kind::F32 => shard_files(file, name).and_then(|files| far_array(&files, name)),
                    true => bail!(Usage(format!("`--input {name}`: labels stand in one file, not in shards"))),
                    false => read_array(path, Some(name), kind),
                };
                let read = read.with_context(|| format!("--input {name}"))?;
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

    /// Rows of the pool.
    pub fn pool_rows(&self) -> Result<usize> {
        self.given.pool_rows().map_err(|error| self.usage(&error))
    }

    /// The arrays as they were given.
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// Keeps some rows of the pool, of which all else stays as it is.
    pub fn narrow(&mut self, rows: Range<usize>) -> Result<()> {
        let narrowed = self.given.narrow(rows);
        narrowed.map_err(|error| self.usage(&error))
    }

    /// What the strategy is asked about, and the ids of the rows as they were given where these are texts.
    pub fn complete(
        mut self,
        draw: Draw,
        strategy: &dyn Strategy,
        subset: Subset<'_>,
    ) -> Result<(Sorted, Option<Texts>)> {
        let has_labelled = self.given.has_labelled();
        for (name, other) in self.given.complete(strategy.needs()).map_err(|error| self.usage(&error))? {
            if let Some(file) = self.files.get(&other).cloned() {
                self.files.insert(name, file);
            }
        }
        if !has_labelled {
            note_empty_labelled(strategy.needs());
        }
        if self.given.logits_look_like_probabilities() {
            let probs = self.words.as_another("probs");
            output::note(&format!("warning: `logits` look like probabilities; if they are, {probs}"));
        }
        if let Some(size) = subset.size
            && let Some(budget) = subset.budgets.iter().find(|&&budget| budget > size)
        {
            let subset = self.words.option_at("subset-size", size);
            bail!(Usage(format!("{subset} holds fewer rows than the budget of {budget}")));
        }
        let (seeds, id, round) = (draw.seeds(), &strategy.identity().id, draw.in_round());
        let given = std::mem::take(&mut self.given);
        let sorted = given.sorted(draw.classes, |pool| candidates(pool, subset.size, seeds, id, round));
        let sorted = sorted.map_err(|error| self.usage(&error))?;
        Ok((sorted, self.texts))
    }

    /// An error in the words of the command line, with the files that it is about.
    fn usage(&self, error: &GivenError) -> anyhow::Error {
        let message = match error {
            GivenError::Array { name, message } => {
                let array = Given::array_called(name);
                let file = array.and_then(|array| self.files.get(&array)).map(|path| format!(" ({})", shown(path)));
                format!("{}{}: {message}", self.words.array(name), file.unwrap_or_default())
            }
            GivenError::Missing(needs) => format!("{error}: {}", words::how_to_give(self.words, &needs[0])),
            GivenError::NoPool => {
                format!("no input has one row a pool sample: give one, or {}", self.words.option("ids"))
            }
            GivenError::Classes { classes, names } => format!(
                "{classes} classes, as the class dimension, the largest label or {} says; expected at most {}{}",
                self.words.option("classes"),
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

/// Says what is made of a labelled set that the strategy would look at and nobody gave.
fn note_empty_labelled(needs: &[Need]) {
    let names: Vec<String> =
        needs.iter().filter(|need| need.split_labelled().1).map(|need| format!("`{}`", need.name())).collect();
    if !names.is_empty() {
        output::note(&format!("note: {} taken as those of an empty labelled set: none are given", names.join(", ")));
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

/// The parameter of a strategy that says how many draws an array holds.
fn parameter_of(name: &str) -> Option<&'static str> {
    ArrayKind::of(name).and_then(|(kind, _)| kind.draws_parameter())
}

/// The number of draws that the user says.
fn said_draws(params: &Map<String, Value>, name: &str) -> Option<usize> {
    params.get(parameter_of(name)?)?.as_u64().and_then(|draws| usize::try_from(draws).ok())
}

fn read_numbers(name: &str, path: &Path) -> Result<Vec<u64>> {
    let array = read_array(path, Some(name), Kind::U64).with_context(|| name.to_owned())?;
    match (array.values(), array.shape()) {
        (Values::U64(ids), [_]) => Ok(ids.to_vec()),
        (_, shape) => bail!(Usage(format!("{name}: {} has shape {shape:?}; ids are a list", shown(path)))),
    }
}
