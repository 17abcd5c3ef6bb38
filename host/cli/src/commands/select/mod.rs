//! `querist select`: a strategy on arrays that the user already has.

mod ask;
mod inputs;
mod mix;
mod picked;
mod words;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use querist_core::config::StrategyConfig;
use querist_core::progress::Progress;
use querist_core::{
    Arrays, HostServices, Label, Question, SampleId, ServiceScope, Sorted, Strategy, StrategyIdentity, StrategyKind,
};
use querist_protocol::names;

pub use self::ask::{AskArgs, Draw};
pub use self::inputs::{Inputs, Subset};
pub use self::picked::{Form, Picked, write};
pub use self::words::{Words, how_to_give};
use crate::exit::Usage;
use crate::flags;
use crate::plugins::{self, Means};
use crate::progress::{self, Display};
use crate::trainer::{EmbeddedTask, Trainer, become_trainer};

/// Ask a strategy for rows of your own arrays.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  querist select --strategy badge --budget 100 --seed 1 --input logits=logits.npy \\\n    \
                        --input embeddings=emb.npy --format json"
)]
pub struct SelectArgs {
    #[arg(long, value_name = "ID", help = flags::STRATEGY, required_unless_present = "mix")]
    pub strategy: Option<String>,
    /// Several wishes in one query, in short: `margin + 0.5 diversity + toward(rare.npy) min_distance 0.1`.
    ///
    /// A wish is a weight (1 where there is none) and a strategy whose score counts, or `diversity`, `typical(K)`,
    /// `classes(uniform|pool|SHARES)`, `toward(FILE)` or `away(FILE)`. Constraints come last: `min_distance R`,
    /// `at_most M per extra.NAME`. It stands for parameters of the strategy `mix`.
    #[arg(long, value_name = "WISHES", conflicts_with_all = ["strategy", "params"])]
    pub mix: Option<String>,
    /// Rows to ask for; several budgets are several independent queries.
    #[arg(long, value_name = "B[,B2,...]", value_delimiter = ',', required = true)]
    pub budget: Vec<usize>,
    #[command(flatten)]
    pub ask: AskArgs,
    /// Rows to choose from, drawn at random from the pool by seed and round [default: all].
    #[arg(long, value_name = "N")]
    pub subset_size: Option<usize>,
    #[arg(long, value_name = "cpu|cuda:N", default_value = "cpu", hide_default_value = true, help = flags::DEVICE)]
    pub device: String,
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
    let limits = args.ask.query.limits();
    let listing = plugins::listing(&args.ask.query.plugins.plugin_dir)?;
    let mix = args.mix.as_deref().map(mix::read).transpose().map_err(|error| Usage(format!("`--mix`: {error}")))?;
    let id = args.strategy.as_deref().unwrap_or(mix::ID);
    let resolved = listing.resolve(id)?;
    if resolved.package.kind == StrategyKind::NativeTorch && trainer.is_none() {
        // Its own networks need libtorch.
        return become_trainer();
    }
    let mut ask = args.ask.clone();
    let mut given = ask.params.given(&resolved.strategy.schema)?;
    for (key, value) in mix.iter().flat_map(|mix| &mix.params) {
        if given.insert(key.clone(), value.clone()).is_some() {
            return Err(Usage(format!("parameter `{key}` is given twice: by `--param` and by `--mix`")).into());
        }
    }
    ask.inputs.extend(mix.into_iter().flat_map(|mix| mix.inputs));
    let threads = args.ask.query.threads();
    let accelerator = match trainer.filter(|_| args.needs_libtorch()) {
        Some(trainer) => trainer.accelerator(&args.device).map_err(|error| Usage(format!("`--device`: {error}")))?,
        None => None,
    };
    let inputs = Inputs::read(&ask, &given)?;
    inputs.settle_draws(&resolved.strategy.schema, &mut given)?;
    let config = StrategyConfig { id: id.to_owned(), params: given, label: None, subset_size: None, target: None };
    let torch = trainer.and_then(Trainer::torch);
    let means = Means { limits: &limits, threads, accelerator: accelerator.as_ref(), torch: torch.as_ref() };
    let mut ready = plugins::ready(&config, means, &args.ask.query.plugins, None)?;
    let subset = Subset { size: args.subset_size, budgets: &args.budget };
    let (asked, texts) = inputs.complete(args.ask.draw(), &*ready.strategy, subset)?;

    progress::stop_on_interrupt()?;
    let display = Display::new(false);
    let mut answers = Vec::new();
    let embedded = Embedded::of(&*ready.strategy, &asked);
    for &budget in &args.budget {
        let services = match (&embedded, trainer) {
            (Some(embedded), Some(trainer)) => Some(embedded.services(args, budget, trainer, threads)?),
            _ => None,
        };
        let asking = Asking { asked: &asked, draw: args.ask.draw(), services: services.as_deref(), progress: &display };
        answers.push(asking.answer(&mut *ready.strategy, budget)?);
    }
    display.clear();
    let identity = ready.strategy.identity();
    let (seed, subset_size, pool) = (args.ask.seed, args.subset_size, asked.given_rows.len());
    let names = texts.as_ref().map(|texts| move |row: u64| texts.get(row as usize).unwrap_or_default().to_owned());
    let names = names.as_ref().map(|names| names as &dyn Fn(u64) -> String);
    write(&Form { format: args.format, out: args.out.as_deref(), identity, seed, subset_size, pool, names }, &answers)
}

/// A question about arrays of a user's, but for who is asked and for how many rows.
pub struct Asking<'a> {
    /// The arrays.
    pub asked: &'a Sorted,
    /// Where random numbers come from.
    pub draw: Draw,
    /// What may be asked about images and model.
    pub services: Option<&'a dyn HostServices>,
    /// Who is told of progress.
    pub progress: &'a dyn Progress,
}

impl Asking<'_> {
    /// Asks a strategy for so many rows, and checks its answer.
    pub fn answer(&self, strategy: &mut dyn Strategy, budget: usize) -> Result<Picked> {
        let question = Question::new(&self.asked.arrays, budget)
            .in_round(self.draw.in_round())
            .with_seeds(self.draw.seeds())
            .with_services(self.services)
            .with_progress(self.progress);
        let mut answer = strategy.answer(&question)?;
        answer.selection.diagnostics.extend(self.services.map(HostServices::metrics).unwrap_or_default());
        let acquired =
            answer.check(&question).with_context(|| format!("{} broke its contract", strategy.identity()))?;
        let ids: Vec<u64> = acquired.ids().iter().map(|id| id.0).collect();
        Ok(Picked::new(budget, answer, ids, |row| u64::from(self.asked.given_rows[row as usize])))
    }
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
        let draw = args.ask.draw();
        let streams = draw.seeds().strategy(&self.strategy.id);
        let (pool, labelled) = (self.pool.as_slice(), self.labelled.as_slice());
        let scope = ServiceScope { round: draw.in_round(), pool, labelled, initial: labelled.len(), batch, streams };
        let array = |name: &str| self.arrays.get(name).with_context(|| format!("`{name}` is missing"));
        let (pool, labelled) = (array(names::EMBEDDINGS)?, array("labelled.embeddings")?);
        let task = EmbeddedTask { scope, classes: self.arrays.classes(), pool, labelled };
        trainer.embedded(task, &args.device, threads).map_err(|error| Usage(error.to_string()).into())
    }
}
