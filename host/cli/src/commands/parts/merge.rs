//! `querist merge`: from all parts of a pool what one process would have picked from the whole.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use querist_core::config::StrategyConfig;
use querist_core::{Array, Arrays, Beside, Question, Round, Seeds};
use querist_data::arrays::shard_files;
use serde_json::Value;

use super::file::{Asked, Part, read_all};
use super::tally::{Elsewhere, Known};
use crate::commands::select::{Form, Picked, SelectFormat, write};
use crate::exit::Usage;
use crate::plugins::{self, Means, QueryArgs};
use crate::progress::{self, Display};

/// Pick from the parts that `querist score` wrote.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist merge part-*.safetensors --format csv")]
pub struct MergeArgs {
    /// Files of all parts, or patterns with `*` for them.
    #[arg(value_name = "PART", required = true)]
    pub parts: Vec<String>,
    /// Rows to pick [default: as the parts were asked for].
    #[arg(long, value_name = "B")]
    pub budget: Option<usize>,
    #[command(flatten)]
    pub query: QueryArgs,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = SelectFormat::Ids)]
    pub format: SelectFormat,
    /// File of the answer [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Runs the verb.
pub fn main(args: &MergeArgs) -> Result<()> {
    let files: Vec<PathBuf> = shard_files(&args.parts.join(","), "parts")?;
    let parts = read_all(&files)?;
    let Some(asked) = parts.first().map(|part| part.asked.clone()) else { return Ok(()) };
    let budget = args.budget.unwrap_or(asked.budget);
    if asked.scored && budget > asked.budget {
        bail!(Usage(format!(
            "`--budget {budget}`: the parts hold the best {} rows each; score them again with a larger budget",
            asked.budget
        )));
    }
    let picked = if asked.scored { best(&parts, budget)? } else { pick(args, &asked, &parts, budget)? };
    let texts = texts_of(&parts, &picked);
    let name = |row: u64| texts.get(&row).cloned().unwrap_or_default();
    let form = Form {
        format: args.format,
        out: args.out.as_deref(),
        identity: &asked.strategy,
        seed: asked.seed,
        subset_size: None,
        pool: asked.rows,
        names: asked.texts.then_some(&name),
    };
    write(&form, &[picked])
}

/// The ids of picked rows that are texts.
fn texts_of(parts: &[Part], picked: &Picked) -> HashMap<u64, String> {
    let wanted: std::collections::HashSet<u64> = picked.rows.iter().copied().collect();
    let of = |part: &Part| {
        let texts = part.texts.clone().unwrap_or_default();
        let rows: Vec<(usize, u64)> = part.rows.iter().copied().enumerate().collect();
        let wanted = rows.into_iter().filter(|(_, row)| wanted.contains(row)).collect::<Vec<_>>();
        wanted.into_iter().filter_map(move |(at, row)| Some((row, texts.get(at)?.to_owned()))).collect::<Vec<_>>()
    };
    parts.iter().flat_map(of).collect()
}

/// The rows of largest score; of equal ones those of the larger second number, then of the lower id.
fn best(parts: &[Part], budget: usize) -> Result<Picked> {
    let with_second = parts.iter().filter(|part| part.scores.1.is_some()).count();
    if with_second != 0 && with_second != parts.len() {
        bail!(Usage("some parts break ties and some do not; score them with one program".to_owned()));
    }
    let row = |part: &Part, at: usize| {
        let second = part.scores.1.as_ref().map_or(0.0, |second| second[at]);
        (part.scores.0[at], second, part.ids[at], part.rows[at])
    };
    let mut all: Vec<(f64, f64, u64, u64)> =
        parts.iter().flat_map(|part| (0..part.rows.len()).map(move |at| row(part, at))).collect();
    let larger = |a: f64, b: f64| b.partial_cmp(&a).unwrap_or(Ordering::Equal);
    all.sort_unstable_by(|a, b| larger(a.0, b.0).then_with(|| larger(a.1, b.1)).then(a.2.cmp(&b.2)));
    all.truncate(budget);
    Ok(Picked {
        budget,
        rows: all.iter().map(|row| row.3).collect(),
        ids: all.iter().map(|row| row.2).collect(),
        scores: all.iter().map(|row| row.0).collect(),
        diagnostics: Vec::new(),
        used: None,
        beside: Beside::default(),
    })
}

/// Asks the strategy, which is told what the parts found of each row.
fn pick(args: &MergeArgs, asked: &Asked, parts: &[Part], budget: usize) -> Result<Picked> {
    let Value::Object(params) = asked.params.clone() else { bail!(Usage("parameters that are no object".to_owned())) };
    let id = format!("{}/{}", asked.strategy.package, asked.strategy.id);
    let config = StrategyConfig { id, params, label: None, subset_size: None, target: None };
    let (limits, threads) = (args.query.limits(), args.query.threads());
    let means = Means { limits: &limits, threads, accelerator: None, torch: None };
    let mut ready = plugins::ready(&config, means, &args.query.plugins, None)?;
    let here = ready.strategy.identity();
    if *here != asked.strategy {
        bail!(Usage(format!(
            "the parts were made with {} of digest {}, here it is {} of digest {}; use one of both for all",
            asked.strategy, asked.strategy.digest, here, here.digest
        )));
    }
    let (arrays, given) = joined(asked, parts)?;
    progress::stop_on_interrupt()?;
    let display = Display::new(false);
    let question = Question::new(&arrays, budget)
        .in_round(Round(asked.round))
        .with_seeds(Seeds::new(asked.seed))
        .with_progress(&display);
    let answer = ready.strategy.answer(&question)?;
    display.clear();
    let acquired = question
        .check(&answer.selection)
        .with_context(|| format!("{} broke its contract", ready.strategy.identity()))?;
    let ids = acquired.ids().iter().map(|id| id.0).collect();
    Ok(Picked::new(budget, answer, ids, |row| given[row as usize]))
}

/// The whole pool by ascending ids, of whose arrays only what the parts found is known; and the rows as they were
/// given.
fn joined(asked: &Asked, parts: &[Part]) -> Result<(Arrays, Vec<u64>)> {
    let mut order: Vec<(u64, usize, usize)> = Vec::with_capacity(asked.rows);
    for (number, part) in parts.iter().enumerate() {
        order.extend(part.ids.iter().enumerate().map(|(at, &id)| (id, number, at)));
    }
    order.sort_unstable();
    if order.len() != asked.rows {
        bail!(Usage(format!("the parts hold {} rows, expected {}", order.len(), asked.rows)));
    }
    let mut known = BTreeMap::new();
    for measure in parts.iter().flat_map(|part| part.measures.keys()) {
        if known.contains_key(measure) {
            continue;
        }
        let all: Option<Vec<_>> = parts.iter().map(|part| part.measures.get(measure)).collect();
        let Some(all) = all else { continue };
        let first = order.iter().map(|&(_, part, at)| all[part].0[at]).collect();
        let second = order.iter().map(|&(_, part, at)| all[part].1[at]).collect();
        known.insert(measure.clone(), (first, second));
    }
    let mut named = BTreeMap::new();
    for (name, row_shape) in &asked.arrays {
        let shape: Vec<usize> = std::iter::once(asked.rows).chain(row_shape.iter().copied()).collect();
        let width = row_shape.iter().product();
        let source = Elsewhere { name: name.clone(), rows: asked.rows, width };
        named.insert(name.clone(), Array::far(shape, Arc::new(source))?);
    }
    let ids: Vec<u64> = order.iter().map(|&(id, ..)| id).collect();
    let given = order.iter().map(|&(_, part, at)| parts[part].rows[at]).collect();
    let arrays = Arrays::new(ids, Vec::new(), asked.classes, named)?.with_tally(Arc::new(Known(known)));
    Ok((arrays, given))
}
