//! The user's arrays: read, brought into the form that strategies take, and sorted by id.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use querist_core::array::ArrayError;
use querist_core::{Array, Arrays, Buffer, LinearHead, Round, SampleId, Seeds, Strategy, Values, subset};
use querist_data::arrays::{Kind, read_array};
use querist_files::shown;
use querist_protocol::{Need, names};
use serde_json::{Map, Value};

use super::SelectArgs;
use super::probabilities::{self, Known};
use crate::exit::Usage;
use crate::output;

/// Classes at most: a label is one number in a file, and strategies keep something for each class.
const MAX_CLASSES: usize = 1 << 20;

/// Arrays sorted by id, and how to get back to the user's rows.
pub struct Inputs {
    /// The arrays.
    pub arrays: Arrays,
    /// The user's row of each pool row.
    pub user_rows: Vec<u32>,
}

/// The arrays as they were given, by name.
pub struct Given {
    named: BTreeMap<String, Array>,
    files: BTreeMap<String, PathBuf>,
    ids: Option<Vec<u64>>,
    labelled_ids: Option<Vec<u64>>,
}

impl Given {
    /// Reads every file of a call. Probabilities become logarithms, draws come into the middle; `params` may say how many
    /// draws there are.
    pub fn read(args: &SelectArgs, params: &Map<String, Value>) -> Result<Self> {
        let ids = args.ids.as_deref().map(|path| read_ids("--ids", path)).transpose()?;
        let mut given = Self { named: BTreeMap::new(), files: BTreeMap::new(), ids, labelled_ids: None };
        for input in &args.inputs {
            let (name, file) = input
                .split_once('=')
                .ok_or_else(|| Usage(format!("`--input {input}`: write NAME=FILE, such as logits=logits.npy")))?;
            given.add(name.trim(), Path::new(file))?;
        }
        given.arrange(args, params)?;
        Ok(given)
    }

    fn add(&mut self, name: &str, path: &Path) -> Result<()> {
        let array = probabilities::becomes(name).unwrap_or(name);
        let again = match name {
            "ids" => self.ids.replace(read_ids(name, path)?).is_some(),
            "labelled.ids" => self.labelled_ids.replace(read_ids(name, path)?).is_some(),
            _ if !names::is_known(array) => {
                let known: Vec<&str> = names::ALL.into_iter().chain(probabilities::spellings()).collect();
                return Err(Usage(format!(
                    "`--input {name}`: no array has this name; the names are {}, and `labelled.` before those with one \
                     row a sample",
                    known.join(", ")
                ))
                .into());
            }
            _ => self.named.insert(array.to_owned(), read(name, path)?).is_some(),
        };
        self.files.insert(array.to_owned(), path.to_owned());
        match again {
            true if array != name => {
                Err(Usage(format!("`--input {name}` is `{array}` in another form, which is given, too")).into())
            }
            true => Err(Usage(format!("`--input {name}` is given twice")).into()),
            false => Ok(()),
        }
    }

    /// Brings draws into the middle of their arrays.
    fn arrange(&mut self, args: &SelectArgs, params: &Map<String, Value>) -> Result<()> {
        let classes = args.classes.or_else(|| {
            let logits = self.named.get(names::LOGITS).or_else(|| self.named.get("labelled.logits"))?;
            logits.shape().last().copied().filter(|_| logits.shape().len() == 2)
        });
        let of_draws: Vec<String> =
            self.named.keys().filter(|name| probabilities::is_log_probs(name)).cloned().collect();
        for name in of_draws {
            let (rows, draws) = (self.rows_beside(&name), said_draws(params, &name)?);
            let Some(array) = self.named.remove(&name) else { continue };
            let known = Known { rows, draws, classes };
            let arranged =
                probabilities::draws_in_the_middle(array, known).map_err(|message| self.wrong(&name, message))?;
            self.named.insert(name, arranged);
        }
        Ok(())
    }

    /// Rows of an array as others say, whose first dimension is theirs for certain.
    fn rows_beside(&self, name: &str) -> Option<usize> {
        let labelled = name.starts_with(names::LABELLED);
        let ids = if labelled { &self.labelled_ids } else { &self.ids };
        if !(labelled || names::is_over_pool(name)) {
            return None;
        }
        ids.as_ref().map(Vec::len).or_else(|| {
            let others = self.named.iter().filter(|(name, _)| !probabilities::is_log_probs(name));
            let alike = |name: &str| match name.strip_prefix(names::LABELLED) {
                Some(_) => labelled,
                None => !labelled && names::is_over_pool(name),
            };
            others.filter(|(name, _)| alike(name)).map(|(_, array)| array.rows()).next()
        })
    }

    /// Takes the number of draws that the arrays hold as the strategy's parameter where the user says none.
    ///
    /// # Errors
    /// If the user says another number.
    pub fn settle_draws(&self, schema: &Value, params: &mut Map<String, Value>) -> Result<()> {
        for (name, array) in self.named.iter().filter(|(name, _)| probabilities::is_log_probs(name)) {
            let parameter = parameter_of(name);
            let (Some(&found), true) = (array.shape().get(1), array.shape().len() == 3) else { continue };
            if schema.pointer(&format!("/properties/{parameter}")).is_none() {
                continue;
            }
            match said_draws(params, name)? {
                Some(said) if said != found => {
                    return Err(self.wrong(name, format!("{found} draws a row, but `{parameter}` is {said}")));
                }
                _ => drop(params.insert(parameter.to_owned(), found.into())),
            }
        }
        Ok(())
    }

    fn wrong(&self, name: &str, message: impl std::fmt::Display) -> anyhow::Error {
        let file = self.files.get(name).map(|path| format!(" ({})", shown(path))).unwrap_or_default();
        Usage(format!("--input {name}{file}: {message}")).into()
    }

    /// What the strategy is asked about.
    pub fn complete(mut self, args: &SelectArgs, strategy: &dyn Strategy) -> Result<Inputs> {
        complete(&mut self.named, &mut self.files, strategy.needs())?;
        if let Some(logits) = self.named.get(names::LOGITS)
            && probabilities::look_like_probabilities(logits)
        {
            output::note("warning: `logits` look like probabilities; if they are, give them as `--input probs=FILE`");
        }
        self.sorted(args, strategy)
    }

    /// Rows of the pool or of the labelled set, as an array says.
    fn rows_of(&self, labelled: bool) -> Option<usize> {
        self.named.iter().find_map(|(name, array)| match name.strip_prefix(names::LABELLED) {
            Some(_) if labelled => Some(array.rows()),
            None if !labelled && names::is_over_pool(name) => Some(array.rows()),
            _ => None,
        })
    }

    fn sorted(self, args: &SelectArgs, strategy: &dyn Strategy) -> Result<Inputs> {
        let pool = match (&self.ids, self.rows_of(false)) {
            (_, Some(rows)) => rows,
            (Some(ids), None) => ids.len(),
            (None, None) => bail!(Usage("no input has one row a pool sample: give one, or `--ids`".to_owned())),
        };
        let labelled = self.rows_of(true).or(self.labelled_ids.as_ref().map(Vec::len)).unwrap_or(0);
        let Self { mut named, files, ids, labelled_ids } = self;
        let ids = ids.unwrap_or_else(|| (0..pool as u64).collect());
        let first_free = ids.iter().max().map_or(0, |max| max.saturating_add(1));
        let labelled_ids =
            labelled_ids.unwrap_or_else(|| (first_free..first_free.saturating_add(labelled as u64)).collect());
        let classes = args.classes.unwrap_or_else(|| classes_of(&named));
        if classes > MAX_CLASSES {
            let message = format!("{classes} classes, as the class dimension, the largest label or `--classes` says");
            bail!(Usage(format!("{message}; expected at most {MAX_CLASSES}{}", files_of_classes(&files))));
        }

        let mut pool_order = ascending_order("ids", &ids, pool)?;
        if let Some(size) = args.subset_size {
            pool_order = subset_of(args, strategy, &ids, &pool_order, size)?;
        }
        let labelled_order = ascending_order("labelled.ids", &labelled_ids, labelled)?;
        for (name, array) in &mut named {
            let order = match name.strip_prefix(names::LABELLED) {
                Some(_) => &labelled_order,
                None if names::is_over_pool(name) => &pool_order,
                None => continue,
            };
            // An array of another length is left for the check to name.
            let all = if name.starts_with(names::LABELLED) { labelled } else { pool };
            if array.rows() == all && !(order.len() == all && order.is_sorted()) {
                *array = permuted(array, order)?;
            }
        }
        let sorted =
            |ids: &[u64], order: &[u32]| Buffer::from(order.iter().map(|&row| ids[row as usize]).collect::<Vec<_>>());
        let head = linear_head(&named);
        let arrays = Arrays::new(sorted(&ids, &pool_order), sorted(&labelled_ids, &labelled_order), classes, named);
        let mut arrays =
            arrays.map_err(|error| Usage(sources(&in_user_rows(error, &pool_order, &labelled_order), &files)))?;
        if let Some(head) = head {
            arrays = arrays.with_head(Arc::new(head));
        }
        Ok(Inputs { arrays, user_rows: pool_order })
    }
}

/// The parameter of a strategy that says how many draws an array holds.
fn parameter_of(name: &str) -> &'static str {
    match name.strip_prefix(names::LABELLED).unwrap_or(name) {
        names::MEMBER_LOG_PROBS => "members",
        _ => "T",
    }
}

/// The number of draws that the user says.
fn said_draws(params: &Map<String, Value>, name: &str) -> Result<Option<usize>> {
    let parameter = parameter_of(name);
    let Some(value) = params.get(parameter) else { return Ok(None) };
    match value.as_u64().and_then(|draws| usize::try_from(draws).ok()) {
        Some(draws) => Ok(Some(draws)),
        None => Err(Usage(format!("parameter `{parameter}` is {value}, expected a number of draws")).into()),
    }
}

fn read(name: &str, path: &Path) -> Result<Array> {
    let as_array = probabilities::becomes(name).unwrap_or(name);
    let kind = if names::is_labels(as_array) { Kind::U32 } else { Kind::F32 };
    let array = read_array(path, Some(name), kind).with_context(|| format!("--input {name}"))?;
    let wrong = |message: String| Usage(format!("--input {name} ({}): {message}", shown(path)));
    if array.shape().is_empty() {
        bail!(wrong("a single number; expected an array of rows".to_owned()));
    }
    probabilities::refuse_one_column(as_array, &array).map_err(wrong)?;
    if as_array != name {
        return Ok(probabilities::logarithms(&array).map_err(wrong)?);
    }
    Ok(if probabilities::is_log_probs(name) { probabilities::finite(array) } else { array })
}

/// The rows of a subset of the pool, in the order of ascending ids.
fn subset_of(args: &SelectArgs, strategy: &dyn Strategy, ids: &[u64], order: &[u32], size: usize) -> Result<Vec<u32>> {
    if let Some(budget) = args.budget.iter().find(|&&budget| budget > size) {
        let message = format!("`--subset-size {size}` holds fewer rows than the budget of {budget}");
        return Err(Usage(message).into());
    }
    let samples: Vec<SampleId> = order.iter().map(|&row| SampleId(ids[row as usize])).collect();
    let stream = Seeds::new(args.seed).query_stream(&strategy.identity().id, "subset", Round(args.round));
    let drawn = subset(&samples, size, stream);
    // Both ascend.
    let mut drawn = drawn.into_iter().peekable();
    let is_drawn = |&(sample, _): &(&SampleId, &u32)| drawn.next_if_eq(sample).is_some();
    Ok(samples.iter().zip(order).filter(is_drawn).map(|(_, &row)| row).collect())
}

/// The row that an error names, as the user's file counts it.
fn in_user_rows(mut error: ArrayError, pool_order: &[u32], labelled_order: &[u32]) -> ArrayError {
    if let ArrayError::NotFinite { name, row, .. } | ArrayError::Label { name, row, .. } = &mut error {
        let order = if name.starts_with(names::LABELLED) { labelled_order } else { pool_order };
        if name.starts_with(names::LABELLED) || names::is_over_pool(name) {
            *row = order.get(*row).map_or(*row, |&user_row| user_row as usize);
        }
    }
    error
}

/// The files of the arrays that an error names.
fn sources(error: &ArrayError, files: &BTreeMap<String, PathBuf>) -> String {
    let text = error.to_string();
    let named = files.iter().filter(|(name, _)| text.contains(&format!("`{name}`")));
    let named: Vec<String> = named.map(|(name, path)| format!("`{name}` is {}", shown(path))).collect();
    if named.is_empty() { text } else { format!("{text} ({})", named.join(", ")) }
}

fn read_ids(name: &str, path: &Path) -> Result<Vec<u64>> {
    let array = read_array(path, Some(name), Kind::U64).with_context(|| name.to_owned())?;
    match (array.values(), array.shape()) {
        (Values::U64(ids), [_]) => Ok(ids.to_vec()),
        (_, shape) => bail!(Usage(format!("{name}: {} has shape {shape:?}; ids are a list", shown(path)))),
    }
}

/// The head that weights and biases make.
fn linear_head(named: &BTreeMap<String, Array>) -> Option<LinearHead> {
    LinearHead::new(named.get(names::HEAD_W)?, named.get(names::HEAD_B)?)
}

/// Adds what can stand for a missing array, and refuses the rest.
fn complete(named: &mut BTreeMap<String, Array>, files: &mut BTreeMap<String, PathBuf>, needs: &[Need]) -> Result<()> {
    let no_labelled = !named.keys().any(|name| name.starts_with(names::LABELLED));
    let mut missing: Vec<Need> = Vec::new();
    let has_head = linear_head(named).is_some();
    let is_there = |named: &BTreeMap<String, Array>, name: &str| match name {
        names::HEAD => has_head,
        name => named.contains_key(name),
    };
    for need in needs {
        let (bare, labelled) = need.split_labelled();
        if need.names().any(|name| is_there(named, name)) {
            continue;
        }
        // Fixed embeddings are the model's where nobody says otherwise, and a linear head has no other layer.
        let may_stand_in = matches!(bare, names::FIXED_EMBEDDINGS | names::PENULTIMATE);
        let stand_in = need.name().replace(bare, names::EMBEDDINGS);
        if let Some(array) = named.get(&stand_in).filter(|_| may_stand_in).cloned() {
            named.insert(need.name().to_owned(), array);
            if let Some(file) = files.get(&stand_in).cloned() {
                files.insert(need.name().to_owned(), file);
            }
        } else if labelled && no_labelled {
            let empty = match named.get(bare) {
                _ if need.name() == names::LABELLED_LABELS => Array::labels(Vec::new()),
                Some(pool) => {
                    let mut shape = pool.shape().to_vec();
                    shape[0] = 0;
                    Array::f32(shape, Vec::new())?
                }
                None => {
                    missing.push(need.clone());
                    continue;
                }
            };
            named.insert(need.name().to_owned(), empty);
        } else {
            missing.push(need.clone());
        }
    }
    let Some(first) = missing.first() else { return Ok(()) };
    let all: Vec<String> = missing.iter().map(Need::to_string).collect();
    let how = match first.name() {
        names::HEAD => "give a linear one with `--input head.w=FILE` and `--input head.b=FILE`".to_owned(),
        name if first.split_labelled().0 == names::PENULTIMATE => {
            let embeddings = name.replace(names::PENULTIMATE, names::EMBEDDINGS);
            format!("give it with `--input {name}=FILE`, or `--input {embeddings}=FILE` where the head is linear")
        }
        name => format!("give it with `--input {name}=FILE`"),
    };
    Err(Usage(format!("the strategy needs {}: {how}", all.join(", "))).into())
}

/// Arrays whose last dimension is the classes.
const OVER_CLASSES: [&str; 9] = [
    names::LOGITS,
    "labelled.logits",
    names::MC_LOG_PROBS,
    "labelled.mc_log_probs",
    names::MEMBER_LOG_PROBS,
    "labelled.member_log_probs",
    names::TARGET_MC_LOG_PROBS,
    names::CALIBRATION_LOGITS,
    names::HEAD_B,
];
/// Arrays of labels, of which the largest says how many classes there are at least.
const OF_LABELS: [&str; 3] = [names::LABELLED_LABELS, names::ORACLE_LABELS, names::CALIBRATION_LABELS];

/// Classes as the arrays say: a class dimension, else one more than the largest label.
fn classes_of(named: &BTreeMap<String, Array>) -> usize {
    let last = |name: &str| named.get(name).and_then(|array| array.shape().last().copied());
    let of_dimension = OVER_CLASSES.into_iter().find_map(last).or_else(|| named.get(names::HEAD_W).map(Array::rows));
    let largest = |name: &str| named.get(name).and_then(Array::as_u32).and_then(|l| l.iter().max().copied());
    let of_labels = || OF_LABELS.into_iter().filter_map(largest).max();
    of_dimension.or_else(|| of_labels().map(|max| max as usize + 1)).unwrap_or(1).max(1)
}

/// The files that can say how many classes there are.
fn files_of_classes(files: &BTreeMap<String, PathBuf>) -> String {
    let names = OVER_CLASSES.into_iter().chain([names::HEAD_W]).chain(OF_LABELS);
    let given = names.filter_map(|name| Some(format!("`{name}` is {}", shown(files.get(name)?))));
    let given: Vec<String> = given.collect();
    if given.is_empty() { String::new() } else { format!(" ({})", given.join(", ")) }
}

/// Rows in the order of ascending ids.
fn ascending_order(name: &str, ids: &[u64], rows: usize) -> Result<Vec<u32>> {
    if ids.len() != rows {
        return Err(Usage(format!("`{name}` has {} ids for {rows} rows", ids.len())).into());
    }
    let mut order: Vec<u32> = (0..u32::try_from(rows).context("more than 2^32 rows")?).collect();
    order.sort_by_key(|&row| ids[row as usize]);
    match order.windows(2).find(|pair| ids[pair[0] as usize] == ids[pair[1] as usize]) {
        None => Ok(order),
        Some(pair) => {
            let id = ids[pair[0] as usize];
            Err(Usage(format!("`{name}` holds id {id} in rows {} and {}; ids are distinct", pair[0], pair[1])).into())
        }
    }
}

/// The rows of `array` that `order` names, in its order.
fn permuted(array: &Array, order: &[u32]) -> Result<Array> {
    fn gather<T: Copy>(values: &[T], order: &[u32], width: usize) -> Vec<T> {
        order.iter().flat_map(|&row| &values[row as usize * width..(row as usize + 1) * width]).copied().collect()
    }
    let width = array.row_len();
    let values = match array.values() {
        Values::F32(values) => Values::F32(gather(values, order, width).into()),
        Values::U32(values) => Values::U32(gather(values, order, width).into()),
        Values::U64(values) => Values::U64(gather(values, order, width).into()),
    };
    let mut shape = array.shape().to_vec();
    shape[0] = order.len();
    Ok(Array::new(shape, values)?)
}
