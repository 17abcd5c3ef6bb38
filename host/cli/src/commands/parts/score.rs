//! `querist score`: a strategy on some rows of a pool, of which other processes have the rest.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use querist_core::config::StrategyConfig;
use querist_core::{Question, Round, Seeds, Sorted, Strategy, StrategyKind};
use querist_data::arrays::Texts;
use querist_protocol::{Need, Selection, names};

use super::file::{Asked, Part, digest, first_row};
use super::tally::Recorder;
use crate::commands::select::{AskArgs, Inputs, Subset};
use crate::exit::Usage;
use crate::flags;
use crate::plugins::{self, Means};
use crate::progress::{self, Display};

/// Score one part of a pool; `querist merge` picks from all parts what one process would pick from the whole.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist score --strategy power-margin --budget 1000 --shard 3/8 \\\n    \
                        --out part-3.safetensors --input 'logits=pool/logits-*.npy'")]
pub struct ScoreArgs {
    #[arg(long, value_name = "ID", help = flags::STRATEGY)]
    pub strategy: String,
    /// Rows that will be wanted of the whole pool at most.
    #[arg(long, value_name = "B")]
    pub budget: usize,
    /// Which part of the rows, of how many: I from 1 to N.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub shard: ShardOf,
    #[command(flatten)]
    pub ask: AskArgs,
    /// File of the part, a .safetensors.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// One of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardOf {
    number: usize,
    of: usize,
}

impl FromStr for ShardOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("write I/N, such as 3/8: the third of eight parts".to_owned()),
        }
    }
}

/// Runs the verb.
pub fn main(args: &ScoreArgs) -> Result<()> {
    let limits = args.ask.query.limits();
    let listing = plugins::listing(&args.ask.query.plugins.plugin_dir)?;
    let resolved = listing.resolve(&args.strategy)?;
    if matches!(resolved.package.kind, StrategyKind::Composite | StrategyKind::NativeTorch) {
        bail!(together(&args.strategy));
    }
    let mut given = args.ask.params.given(&resolved.strategy.schema)?;
    let mut inputs = Inputs::read(&args.ask, &given)?;
    inputs.settle_draws(&resolved.strategy.schema, &mut given)?;
    let (rows, pool) = (inputs.pool_rows()?, digest(inputs.given())?);
    let ShardOf { number, of } = args.shard;
    if of > rows {
        bail!(Usage(format!("`--shard {number}/{of}`: the pool has {rows} rows, expected at least one a part")));
    }
    let first = first_row(rows, number, of);
    inputs.narrow(first..first_row(rows, number + 1, of))?;
    let config =
        StrategyConfig { id: args.strategy.clone(), params: given, label: None, subset_size: None, target: None };
    let means = Means { limits: &limits, threads: args.ask.query.threads(), accelerator: None, torch: None };
    let scored = resolved.strategy.scorer;
    let mut ready = plugins::ready(&config, means, &args.ask.query.plugins, None)?;
    if !scored && !are_all_over_pool(ready.strategy.needs()) {
        bail!(together(&args.strategy));
    }
    let (sorted, texts) = inputs.complete(args.ask.draw(), &*ready.strategy, Subset::default())?;
    let shape = |name: &String| sorted.arrays.get(name).map(|array| array.shape()[1..].to_vec());
    let over_pool = sorted.arrays.named().keys().filter(|name| names::is_over_pool(name));
    let asked = Asked {
        strategy: ready.strategy.identity().clone(),
        params: ready.params.clone(),
        seed: args.ask.seed,
        round: args.ask.round,
        budget: args.budget,
        classes: sorted.arrays.classes(),
        parts: of,
        rows,
        arrays: over_pool.filter_map(|name| Some((name.clone(), shape(name)?))).collect(),
        pool,
        texts: texts.is_some(),
        scored,
    };
    let part = Asking { asked, number, first, texts }.answered(&mut *ready.strategy, sorted)?;
    part.write(&args.out).with_context(|| format!("cannot write {}", querist_files::shown(&args.out)))
}

/// Whether a strategy needs nothing but rows of the pool, so that parts hold all that it looks at.
fn are_all_over_pool(needs: &[Need]) -> bool {
    needs.iter().flat_map(Need::names).all(names::is_over_pool)
}

/// A strategy of which no parts can be made.
fn together(strategy: &str) -> Usage {
    Usage(format!(
        "strategy `{strategy}` looks at all rows together, so that no part of them can be scored by itself; ask it \
         with `querist select` and the same shards, which it reads in blocks"
    ))
}

/// A part under way.
struct Asking {
    asked: Asked,
    number: usize,
    first: usize,
    texts: Option<Texts>,
}

impl Asking {
    fn answered(self, strategy: &mut dyn Strategy, sorted: Sorted) -> Result<Part> {
        let Self { asked, number, first, texts } = self;
        let recorder = Arc::new(Recorder::default());
        let Sorted { arrays, given_rows } = sorted;
        let arrays = arrays.with_tally(recorder.clone());
        progress::stop_on_interrupt()?;
        let display = Display::new(false);
        let question = Question::new(&arrays, asked.budget)
            .in_round(Round(asked.round))
            .with_seeds(Seeds::new(asked.seed))
            .with_progress(&display);
        let Selection { rows: best, .. } = strategy.answer(&question)?.selection;
        display.clear();
        let id = |row: u32| arrays.ids().get(row as usize).copied().unwrap_or_default();
        let given = |row: u32| first as u64 + u64::from(given_rows[row as usize]);
        // Of what was scored the best are enough, whatever the other parts hold.
        let kept: Vec<u32> = if asked.scored { best } else { (0..given_rows.len() as u32).collect() };
        let (scores, measures) = (recorder.scores(), recorder.measures());
        let scores = match (asked.scored, scores) {
            (true, Some(scores)) => scores,
            (false, _) if !measures.is_empty() => Default::default(),
            // A worker process keeps no tally, either.
            _ => bail!(together(&strategy.identity().id)),
        };
        let texts = texts.map(|texts| {
            let mut kept_texts = Texts::default();
            kept.iter().for_each(|&row| kept_texts.push(texts.get(given(row) as usize).unwrap_or_default()));
            kept_texts
        });
        let rows = kept.iter().map(|&row| given(row)).collect();
        let ids = kept.iter().map(|&row| id(row)).collect();
        let measures = if asked.scored { Default::default() } else { measures };
        Ok(Part { asked, number, rows, ids, texts, scores, measures })
    }
}
