//! `querist select`: a strategy on arrays that the user already has.

mod inputs;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use querist_core::config::{Bytes, LimitsConfig, StrategyConfig, cores};
use querist_core::schema::Schema;
use querist_core::{
    Answer, Arrays, HostServices, Label, Question, Round, SampleId, Seeds, ServiceScope, Sorted, Strategy,
    StrategyIdentity, StrategyKind,
};
use querist_data::arrays::write_npy;
use querist_protocol::names;
use serde_json::{Map, Value, json};

use self::inputs::Inputs;
use crate::exit::Usage;
use crate::output;
use crate::plugins::{self, Means, PluginArgs};
use crate::progress::{self, Display};
use crate::trainer::{EmbeddedTask, Trainer, become_trainer};

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
    ///
    /// `probs`, `mc_probs` and `member_probs` are probabilities in place of `logits`, `mc_log_probs` and
    /// `member_log_probs`; `extra.NAME` is whatever you have of each sample, `query.NAME` rows that you point at, where
    /// a strategy needs them.
    #[arg(long = "input", value_name = "NAME=FILE", required_unless_present = "ids")]
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
    let listing = plugins::listing(&args.plugins.plugin_dir)?;
    let resolved = listing.resolve(&args.strategy).map_err(|error| Usage(error.to_string()))?;
    if resolved.package.kind == StrategyKind::NativeTorch && trainer.is_none() {
        // Its own networks need libtorch.
        return become_trainer();
    }
    let mut params = params(args, &resolved.strategy.schema)?;
    let limits = LimitsConfig { memory: args.memory, seconds: args.seconds, fuel: None };
    let threads = args.threads.unwrap_or_else(cores);
    let accelerator = match trainer.filter(|_| args.needs_libtorch()) {
        Some(trainer) => trainer.accelerator(&args.device).map_err(|error| Usage(format!("`--device`: {error}")))?,
        None => None,
    };
    let inputs = Inputs::read(args, &params)?;
    inputs.settle_draws(&resolved.strategy.schema, &mut params)?;
    let config = StrategyConfig { id: args.strategy.clone(), params, label: None, subset_size: None, target: None };
    let torch = trainer.map(Trainer::torch);
    let means = Means { limits: &limits, threads, accelerator: accelerator.as_ref(), torch: torch.as_ref() };
    let mut ready = plugins::ready(&config, means, &args.plugins, None)?;
    let asked = inputs.complete(args, &*ready.strategy)?;

    progress::stop_on_interrupt()?;
    let display = Display::new(false);
    let mut answers = Vec::new();
    let embedded = Embedded::of(&*ready.strategy, &asked);
    for &budget in &args.budget {
        let services = match (&embedded, trainer) {
            (Some(embedded), Some(trainer)) => Some(embedded.services(args, budget, trainer, threads)?),
            _ => None,
        };
        let question = Question::new(&asked.arrays, budget)
            .in_round(Round(args.round))
            .with_seeds(Seeds::new(args.seed))
            .with_services(services.as_deref())
            .with_progress(&display);
        let mut answer = ready.strategy.answer(&question)?;
        answer.selection.diagnostics.extend(services.as_ref().map(|services| services.metrics()).unwrap_or_default());
        let acquired = question
            .check(&answer.selection)
            .with_context(|| format!("{} broke its contract", ready.strategy.identity()))?;
        let ids: Vec<u64> = acquired.ids().iter().map(|id| id.0).collect();
        answers.push((budget, answer, ids));
    }
    display.clear();
    write(args, &*ready.strategy, &asked, &answers)
}

/// The samples of a question to a strategy that would see images of them, of which it looks at embeddings alone.
struct Embedded<'a> {
    arrays: &'a Arrays,
    strategy: StrategyIdentity,
    pool: Vec<SampleId>,
    labelled: Vec<(SampleId, Label)>,
}

impl<'a> Embedded<'a> {
    /// `None` where the strategy works on arrays.
    fn of(strategy: &dyn Strategy, asked: &'a Sorted) -> Option<Self> {
        strategy.needs().iter().find(|need| !need.as_arrays().is_empty())?;
        let arrays = &asked.arrays;
        // Labels reach no strategy by this way.
        let labelled = arrays.labelled_ids().iter().map(|&id| (SampleId(id), Label(0))).collect();
        let pool = arrays.ids().iter().copied().map(SampleId).collect();
        Some(Self { arrays, strategy: strategy.identity().clone(), pool, labelled })
    }

    fn services(
        &self,
        args: &SelectArgs,
        batch: usize,
        trainer: &dyn Trainer,
        threads: usize,
    ) -> Result<Box<dyn HostServices + '_>> {
        let streams = Seeds::new(args.seed).strategy(&self.strategy.id);
        let (pool, labelled) = (self.pool.as_slice(), self.labelled.as_slice());
        let scope = ServiceScope { round: Round(args.round), pool, labelled, initial: labelled.len(), batch, streams };
        let array = |name: &str| self.arrays.get(name).with_context(|| format!("`{name}` is missing"));
        let (pool, labelled) = (array(names::EMBEDDINGS)?, array("labelled.embeddings")?);
        let task = EmbeddedTask { scope, classes: self.arrays.classes(), pool, labelled };
        trainer.embedded(task, &args.device, threads).map_err(|error| Usage(error.to_string()).into())
    }
}

fn params(args: &SelectArgs, schema: &Value) -> Result<Map<String, Value>> {
    let usage = |message: String| anyhow::Error::new(Usage(message));
    let mut params = match &args.params {
        None => Map::new(),
        Some(text) => {
            serde_json::from_str(text).map_err(|error| usage(format!("`--params` is no JSON object: {error}")))?
        }
    };
    let schema = Schema::new(schema.clone())?;
    for assignment in &args.param {
        let (key, text) =
            assignment.split_once('=').ok_or_else(|| usage(format!("`--param {assignment}`: write key=value")))?;
        let value = value_of(key, text, &schema);
        if params.insert(key.to_owned(), value).is_some() {
            return Err(usage(format!("parameter `{key}` is given twice")));
        }
    }
    Ok(params)
}

/// The value of one parameter: JSON, or the text itself, also where what looks like a number is wanted as text.
fn value_of(key: &str, text: &str, schema: &Schema) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::String(text)) => Value::String(text),
        Ok(value) if !schema.wants_text(&format!("/{key}")) => value,
        _ => Value::String(text.to_owned()),
    }
}

type Answered = (usize, Answer, Vec<u64>);

fn write(args: &SelectArgs, strategy: &dyn Strategy, asked: &Sorted, answers: &[Answered]) -> Result<()> {
    let out = args.out.as_deref();
    let user_row = |row: &u32| asked.given_rows[*row as usize];
    match args.format {
        SelectFormat::Ids => {
            let lines: String = answers.iter().flat_map(|(_, _, ids)| ids).map(|id| format!("{id}\n")).collect();
            output::bytes(lines.as_bytes(), out)
        }
        SelectFormat::Npy => {
            let ids: Vec<u64> = answers.iter().flat_map(|(_, _, ids)| ids.iter().copied()).collect();
            match out {
                // A link stays one, and leads to the new file.
                Some(path) if path.is_symlink() => Ok(write_npy(&path.canonicalize()?, &[ids.len()], &ids)?),
                Some(path) => Ok(write_npy(path, &[ids.len()], &ids)?),
                None => Err(Usage("`--format npy` needs `--out FILE`".to_owned()).into()),
            }
        }
        SelectFormat::Csv => {
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.write_record(["budget", "rank", "row", "id", "score"])?;
            for (budget, answer, ids) in answers {
                for (rank, (row, id)) in answer.selection.rows.iter().zip(ids).enumerate() {
                    let score =
                        answer.selection.scores.get(rank).map(|score| output::shortest(*score)).unwrap_or_default();
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
                    "short": *budget >= asked.given_rows.len(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_as_text_stays_text() {
        let properties = json!({
            "folder": {"type": "string"},
            "maybe": {"type": ["string", "null"]},
            "count": {"type": "integer"},
            "any": {},
        });
        let schema = Schema::new(json!({"type": "object", "properties": properties})).unwrap();
        let of = |key: &str, text: &str| value_of(key, text, &schema);
        assert_eq!((of("folder", "2024"), of("maybe", "true")), (json!("2024"), json!("true")));
        assert_eq!((of("count", "2024"), of("any", "[1]"), of("other", "1")), (json!(2024), json!([1]), json!(1)));
        assert_eq!((of("folder", "\"quoted\""), of("count", "few")), (json!("quoted"), json!("few")));
    }
}
