//! `querist select`: a strategy on arrays that the user already has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use querist_core::array::ArrayError;
use querist_core::config::{Bytes, LimitsConfig, StrategyConfig};
use querist_core::{
    Acquisition, Answer, Array, Arrays, Buffer, Granted, LinearHead, Query, Round, SampleId, Seeds, Strategy, Values,
    subset,
};
use querist_data::arrays::{Kind, read_array, write_npy};
use querist_files::shown;
use querist_protocol::{Need, names};
use serde_json::{Map, Value, json};

use crate::exit::Usage;
use crate::output;
use crate::plugins::{self, Means, PluginArgs};
use crate::progress::{self, Display};
use crate::trainer::Trainer;

/// Ask a strategy for rows of your own arrays.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  querist select --strategy badge --budget 100 --seed 1 --input logits=logits.npy \\\n    \
                        --input embeddings=emb.npy --format json"
)]
pub struct SelectArgs {
    /// Id of the strategy, or package/strategy.
    #[arg(long, value_name = "ID")]
    pub strategy: String,
    /// Rows to ask for; several budgets are several independent queries.
    #[arg(long, value_name = "B[,B2,...]", value_delimiter = ',', required = true)]
    pub budget: Vec<usize>,
    /// Root of every random stream.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// An array by name: .npy, .npz (FILE#MEMBER) or .safetensors (FILE#TENSOR).
    #[arg(long = "input", value_name = "NAME=FILE", required = true)]
    pub inputs: Vec<String>,
    /// Parameters as a JSON object.
    #[arg(long, value_name = "JSON")]
    pub params: Option<String>,
    /// One parameter; its value is JSON or plain text.
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub param: Vec<String>,
    /// Global ids of the pool rows [default: 0, 1, 2, ...].
    #[arg(long, value_name = "FILE")]
    pub ids: Option<PathBuf>,
    /// Number of classes [default: as the arrays say].
    #[arg(long, value_name = "C")]
    pub classes: Option<usize>,
    /// Rows to choose from, drawn at random from the pool by seed and round [default: all].
    #[arg(long, value_name = "N")]
    pub subset_size: Option<usize>,
    /// Round that enters the random streams.
    #[arg(long, value_name = "R", default_value_t = 0)]
    pub round: u32,
    /// Threads of the kernels [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Device that finds bounds for the kernels; picks are the same on all.
    #[arg(long, value_name = "cpu|cuda:N", default_value = "cpu")]
    pub device: String,
    /// Memory of the plugin, and again as much for host objects made for it.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub memory: Bytes,
    /// Wall-clock seconds of one query at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600.0)]
    pub seconds: f64,
    #[command(flatten)]
    pub plugins: PluginArgs,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = SelectFormat::Ids)]
    pub format: SelectFormat,
    /// File of the answer [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Forms of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SelectFormat {
    /// One global id a line, in pick order.
    Ids,
    /// budget, rank, row, id, score.
    Csv,
    /// Everything; an object for one budget, a list of objects for several.
    Json,
    /// Global ids as a u64 array.
    Npy,
}

/// Classes at most: a label is one number in a file, and strategies keep something for each class.
const MAX_CLASSES: usize = 1 << 20;

/// Arrays sorted by id, and how to get back to the user's rows.
struct Inputs {
    arrays: Arrays,
    /// The user's row of each pool row.
    user_rows: Vec<u32>,
}

impl SelectArgs {
    /// Whether the verb needs `querist-train`.
    pub fn needs_libtorch(&self) -> bool {
        self.device != "cpu"
    }
}

/// Runs the verb.
pub fn main(args: &SelectArgs, trainer: Option<&dyn Trainer>) -> Result<()> {
    let several = args.budget.len() > 1;
    if several && matches!(args.format, SelectFormat::Ids | SelectFormat::Npy) {
        return Err(Usage("several budgets need `--format csv` or `--format json`".to_owned()).into());
    }
    if !(args.seconds > 0.0 && args.seconds <= 1e7) {
        return Err(Usage("`--seconds` is a number above 0, at most 10000000".to_owned()).into());
    }
    let config = StrategyConfig {
        id: args.strategy.clone(),
        params: params(args)?,
        label: None,
        subset_size: None,
        target: None,
    };
    let limits = LimitsConfig { memory: args.memory, seconds: args.seconds, fuel: None };
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let accelerator = match trainer.filter(|_| args.needs_libtorch()) {
        Some(trainer) => trainer.accelerator(&args.device).map_err(|error| Usage(format!("`--device`: {error}")))?,
        None => None,
    };
    let means = Means { limits: &limits, threads, accelerator: accelerator.as_ref(), torch: None };
    let mut ready = plugins::ready(&config, means, &args.plugins, None)?;
    let inputs = read_inputs(args, &*ready.strategy)?;

    progress::stop_on_interrupt()?;
    let display = Display::new(false);
    let granted = Granted::to(&*ready.strategy, &inputs.arrays)?;
    let mut answers = Vec::new();
    for &budget in &args.budget {
        let query = Query {
            arrays: &granted,
            batch: budget,
            round: Round(args.round),
            seeds: Seeds::new(args.seed),
            state: None,
            services: None,
            progress: &display,
        };
        let answer = ready.strategy.query(&query)?;
        let acquired = Acquisition::check(&answer.selection, inputs.arrays.ids(), budget)
            .with_context(|| format!("{} broke its contract", ready.strategy.identity()))?;
        let ids: Vec<u64> = acquired.ids().iter().map(|id| id.0).collect();
        answers.push((budget, answer, ids));
    }
    display.clear();
    write(args, &*ready.strategy, &inputs, &answers)
}

fn params(args: &SelectArgs) -> Result<Map<String, Value>> {
    let usage = |message: String| anyhow::Error::new(Usage(message));
    let mut params = match &args.params {
        None => Map::new(),
        Some(text) => {
            serde_json::from_str(text).map_err(|error| usage(format!("`--params` is no JSON object: {error}")))?
        }
    };
    for assignment in &args.param {
        let (key, text) =
            assignment.split_once('=').ok_or_else(|| usage(format!("`--param {assignment}`: write key=value")))?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        if params.insert(key.to_owned(), value).is_some() {
            return Err(usage(format!("parameter `{key}` is given twice")));
        }
    }
    Ok(params)
}

fn read_inputs(args: &SelectArgs, strategy: &dyn Strategy) -> Result<Inputs> {
    let mut named = BTreeMap::new();
    let mut files = BTreeMap::new();
    let mut ids = args.ids.as_deref().map(|path| read_ids("--ids", path)).transpose()?;
    let mut labelled_ids = None;
    for input in &args.inputs {
        let (name, file) = input
            .split_once('=')
            .ok_or_else(|| Usage(format!("`--input {input}`: write NAME=FILE, such as logits=logits.npy")))?;
        let path = Path::new(file);
        let name = name.trim();
        files.insert(name.to_owned(), path.to_owned());
        let again = match name {
            "ids" => ids.replace(read_ids(name, path)?).is_some(),
            "labelled.ids" => labelled_ids.replace(read_ids(name, path)?).is_some(),
            _ if !names::is_known(name) => {
                let known = names::ALL.join(", ");
                return Err(Usage(format!(
                    "`--input {name}`: no array has this name; the names are {known}, and `labelled.` before those with \
                     one row a sample"
                ))
                .into());
            }
            _ => {
                let kind = if names::is_labels(name) { Kind::U32 } else { Kind::F32 };
                named.insert(name.to_owned(), read(name, path, kind)?).is_some()
            }
        };
        if again {
            return Err(Usage(format!("`--input {name}` is given twice")).into());
        }
    }
    complete(&mut named, &mut files, strategy.needs())?;
    let rows_of = |labelled: bool| {
        named.iter().find_map(|(name, array)| match name.strip_prefix(names::LABELLED) {
            Some(_) if labelled => Some(array.rows()),
            None if !labelled && names::is_over_pool(name) => Some(array.rows()),
            _ => None,
        })
    };
    let pool = match (&ids, rows_of(false)) {
        (_, Some(rows)) => rows,
        (Some(ids), None) => ids.len(),
        (None, None) => bail!(Usage("no input has one row a pool sample: give one, or `--ids`".to_owned())),
    };
    let labelled = rows_of(true).or(labelled_ids.as_ref().map(Vec::len)).unwrap_or(0);
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
    let mut arrays = Arrays::new(sorted(&ids, &pool_order), sorted(&labelled_ids, &labelled_order), classes, named)
        .map_err(|error| Usage(sources(&in_user_rows(error, &pool_order, &labelled_order), &files)))?;
    if let Some(head) = head {
        arrays = arrays.with_head(Arc::new(head));
    }
    Ok(Inputs { arrays, user_rows: pool_order })
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

fn read(name: &str, path: &Path, kind: Kind) -> Result<Array> {
    let array = read_array(path, Some(name), kind).with_context(|| format!("--input {name}"))?;
    if array.shape().is_empty() {
        bail!(Usage(format!("--input {name}: {} holds a single number; expected an array of rows", shown(path))));
    }
    Ok(array)
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
        (_, shape) => bail!("{name}: {} has shape {shape:?}; ids are a list", shown(path)),
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
const OVER_CLASSES: [&str; 5] =
    [names::LOGITS, "labelled.logits", names::MC_LOG_PROBS, names::MEMBER_LOG_PROBS, names::HEAD_B];

/// Classes as the arrays say: a class dimension, else one more than the largest label.
fn classes_of(named: &BTreeMap<String, Array>) -> usize {
    let last = |name: &str| named.get(name).and_then(|array| array.shape().last().copied());
    let of_dimension = OVER_CLASSES.into_iter().find_map(last).or_else(|| named.get(names::HEAD_W).map(Array::rows));
    let of_labels = || named.get(names::LABELLED_LABELS).and_then(Array::as_u32).and_then(|l| l.iter().max().copied());
    of_dimension.or_else(|| of_labels().map(|max| max as usize + 1)).unwrap_or(1).max(1)
}

/// The files that can say how many classes there are.
fn files_of_classes(files: &BTreeMap<String, PathBuf>) -> String {
    let names = OVER_CLASSES.into_iter().chain([names::HEAD_W, names::LABELLED_LABELS]);
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

type Answered = (usize, Answer, Vec<u64>);

fn write(args: &SelectArgs, strategy: &dyn Strategy, inputs: &Inputs, answers: &[Answered]) -> Result<()> {
    let out = args.out.as_deref();
    let user_row = |row: &u32| inputs.user_rows[*row as usize];
    match args.format {
        SelectFormat::Ids => {
            let lines: String = answers.iter().flat_map(|(_, _, ids)| ids).map(|id| format!("{id}\n")).collect();
            output::bytes(lines.as_bytes(), out)
        }
        SelectFormat::Npy => {
            let ids: Vec<u64> = answers.iter().flat_map(|(_, _, ids)| ids.iter().copied()).collect();
            match out {
                Some(path) => Ok(write_npy(path, &[ids.len()], &ids)?),
                None => Err(Usage("`--format npy` needs `--out FILE`".to_owned()).into()),
            }
        }
        SelectFormat::Csv => {
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.write_record(["budget", "rank", "row", "id", "score"])?;
            for (budget, answer, ids) in answers {
                for (rank, (row, id)) in answer.selection.rows.iter().zip(ids).enumerate() {
                    let score = answer.selection.scores.get(rank).map(ToString::to_string).unwrap_or_default();
                    csv.serialize((budget, rank, user_row(row), id, score))?;
                }
            }
            output::bytes(&csv.into_inner()?, out)
        }
        SelectFormat::Json => {
            let identity = strategy.identity();
            let object = |(budget, answer, ids): &Answered| {
                let selection = &answer.selection;
                let diagnostics: Map<String, Value> =
                    selection.diagnostics.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                json!({
                    "strategy": identity.id,
                    "package": identity.package,
                    "version": identity.version,
                    "digest": identity.digest,
                    "kind": identity.kind,
                    "budget": budget,
                    "seed": args.seed,
                    "subset_size": args.subset_size,
                    "short": *budget >= inputs.user_rows.len(),
                    "rows": selection.rows.iter().map(user_row).collect::<Vec<_>>(),
                    "ids": ids,
                    "scores": if selection.scores.is_empty() { Value::Null } else { json!(selection.scores) },
                    "diagnostics": diagnostics,
                    "seconds": answer.usage.seconds,
                    "fuel": answer.usage.fuel,
                    "peak_memory": answer.usage.peak_memory,
                })
            };
            let value = match answers {
                [one] => object(one),
                several => several.iter().map(object).collect(),
            };
            output::bytes(format!("{}\n", serde_json::to_string_pretty(&value)?).as_bytes(), out)
        }
    }
}
