//! `querist plugin bench`: how long a strategy takes on made-up pools, where its time goes, and how it grows.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use querist_conformance::cases::{Pool, Shape};
use querist_core::config::LimitsConfig;
use querist_core::{Arrays, Question, Schema, Seeds, Strategy, StrategyKind};
use querist_kernels::{Compute, Times};
use querist_loader::package::trust::Mode;
use querist_loader::{Limits, Listing, NativeStrategy, Resolved, WasmStrategy};
use serde_json::{Value, json};

use crate::commands::candidate::{listing, packed, wanted};
use crate::commands::plugin::ListFormat;
use crate::exit::Usage;
use crate::flags::ParamArgs;
use crate::plugins::{self, Means, PluginArgs};
use crate::{output, progress};

/// What every strategy is measured against: it does no work but to draw.
const BASELINE: &str = "random";
/// Built-in strategies of the same needs at most, where none are named.
const MOST_OTHERS: usize = 3;
/// Seconds of a query beyond which no larger pool is tried.
const PATIENCE: f64 = 5.0;
/// Questions of one size, of which the fastest counts.
const REPEATS: usize = 3;
/// The smallest pool.
const LEAST_ROWS: usize = 500;

/// The largest pool that can be asked for.
const MOST_ROWS: usize = 1_000_000;

/// Flags of `querist plugin bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// A package's folder, what a compiler made, or the id of a strategy that is installed.
    #[arg(value_name = "PLUGIN")]
    plugin: String,
    /// Strategies to measure beside it [default: random, and three built-in ones of the same needs].
    #[arg(long, value_name = "ID,..", value_delimiter = ',')]
    against: Option<Vec<String>>,
    /// Rows of the largest pool; the others are halves of it.
    #[arg(long, value_name = "N", default_value_t = 16_000, value_parser = rows)]
    rows: u32,
    /// Rows that are asked for.
    #[arg(long, value_name = "B", default_value_t = 100)]
    budget: usize,
    /// Columns of embeddings.
    #[arg(long, value_name = "D", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    width: u32,
    /// Threads of the kernels; the times of several add up.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    #[command(flatten)]
    params: ParamArgs,
    #[command(flatten)]
    plugins: PluginArgs,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

fn rows(text: &str) -> Result<u32, String> {
    let expected = || format!("expected {LEAST_ROWS} to {MOST_ROWS} rows");
    text.parse().ok().filter(|rows| (LEAST_ROWS..=MOST_ROWS).contains(&(*rows as usize))).ok_or_else(expected)
}

/// What one strategy took for one pool.
#[derive(Debug, Clone, Copy)]
struct Measured {
    rows: usize,
    seconds: f64,
    /// Where the time went; nothing is known of workers and of strategies made of others.
    times: Option<Times>,
    peak_memory: u64,
}

/// What one strategy took.
struct Figures {
    id: String,
    package: String,
    sizes: Vec<Measured>,
    /// Why there is no figure for a larger pool.
    ended: Option<String>,
}

/// A strategy whose times can be asked for.
enum Timed {
    Wasm(Box<WasmStrategy>),
    Native(Box<NativeStrategy>),
    Other(Box<dyn Strategy>),
}

impl Timed {
    fn load(resolved: Resolved<'_>, params: &Value, args: &BenchArgs) -> Result<Self> {
        let limits = LimitsConfig::default();
        let mode = args.plugins.policy()?.mode(&resolved)?;
        let (of, compute) = (Limits::from(&limits), Compute::threads(args.threads.into()));
        Ok(match mode {
            Mode::Sandboxed => {
                Self::Wasm(Box::new(WasmStrategy::load(plugins::sandbox()?, resolved, params, of, compute)?))
            }
            Mode::InProcess => Self::Native(Box::new(NativeStrategy::load(resolved, params, of, compute, None)?)),
            Mode::Isolated | Mode::Composed => {
                let means = Means { limits: &limits, threads: args.threads.into(), accelerator: None, torch: None };
                Self::Other(plugins::load(resolved, params, means, &args.plugins)?)
            }
        })
    }

    fn strategy(&mut self) -> &mut dyn Strategy {
        match self {
            Self::Wasm(strategy) => &mut **strategy,
            Self::Native(strategy) => &mut **strategy,
            Self::Other(strategy) => &mut **strategy,
        }
    }

    fn times(&self) -> Option<Times> {
        match self {
            Self::Wasm(strategy) => Some(strategy.times()),
            Self::Native(strategy) => Some(strategy.times()),
            Self::Other(_) => None,
        }
    }
}

/// Runs the verb.
pub fn main(args: &BenchArgs) -> Result<()> {
    progress::stop_on_interrupt()?;
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let installed = plugins::listing(&args.plugins.plugin_dir)?;
    let own = own(args, folder.path())?;
    let benched = match &own {
        Some((listing, path)) => wanted(listing, None, path)?,
        None => vec![plugins::resolve(&installed, &args.plugin)?],
    };
    let mut figures = Vec::new();
    let mut beside: Vec<String> = Vec::new();
    for resolved in benched {
        let schema = &resolved.strategy.schema;
        let given = match args.params.is_empty() {
            true => schema.pointer("/examples/0").cloned().unwrap_or_else(|| json!({})),
            false => Value::Object(args.params.given(schema)?),
        };
        figures.push(measure(resolved, &given, args)?);
        let others = match &args.against {
            Some(named) => named.clone(),
            None => alike(&installed, resolved),
        };
        beside.extend(others.into_iter().filter(|id| *id != resolved.strategy.id));
    }
    beside.dedup();
    for id in &beside {
        let resolved = plugins::resolve(&installed, id)?;
        let example = resolved.strategy.schema.pointer("/examples/0").cloned().unwrap_or_else(|| json!({}));
        figures.push(measure(resolved, &example, args)?);
    }
    match args.format {
        ListFormat::Table => output::text(&table(args, &figures)),
        ListFormat::Json => output::line(&serde_json::to_string_pretty(&value(args, &figures))?),
    }
}

/// What the path holds, where the argument is one.
fn own(args: &BenchArgs, folder: &std::path::Path) -> Result<Option<(Listing, PathBuf)>> {
    let named = PathBuf::from(&args.plugin);
    if !named.exists() {
        return Ok(None);
    }
    let path = packed(&named, args.plugins.allow_native, folder, None)?;
    Ok(Some((listing(&path)?, path)))
}

/// The baseline, and built-in strategies that need the same arrays: those that ask for the same work of the host.
fn alike(installed: &Listing, resolved: Resolved<'_>) -> Vec<String> {
    let same = |strategy: &querist_protocol::StrategyDescription| {
        let is_other = strategy.id != resolved.strategy.id && strategy.id != BASELINE;
        is_other && strategy.needs == resolved.strategy.needs && !resolved.strategy.needs.is_empty()
    };
    let built_in = installed.usable().filter(|(found, package)| {
        found.source == querist_loader::Source::BuiltIn && package.kind == StrategyKind::Wasm
    });
    // One of a package: its others are mostly variants.
    let others =
        built_in.filter_map(|(_, package)| package.description.strategies.iter().find(|strategy| same(strategy)));
    let others = others.take(MOST_OTHERS).map(|strategy| strategy.id.clone());
    std::iter::once(BASELINE.to_owned()).chain(others).collect()
}

fn measure(resolved: Resolved<'_>, given: &Value, args: &BenchArgs) -> Result<Figures> {
    let id = resolved.strategy.id.clone();
    if resolved.package.kind == StrategyKind::NativeTorch {
        let message = format!("`{id}` trains networks, so its time hangs on the training: look at it in a run");
        return Err(Usage(message).into());
    }
    output::note(&format!("measuring {id}"));
    let params = plugins::params(&resolved, given, None)?;
    Schema::new(resolved.strategy.schema.clone())?;
    let mut strategy = Timed::load(resolved, &params, args)?;
    let package = &resolved.package.description;
    let package = format!("{} {}", package.package, package.version);
    let mut figures = Figures { id, package, sizes: Vec::new(), ended: None };
    for rows in sizes(args.rows as usize) {
        if progress::stopped() {
            figures.ended = Some("stopped".to_owned());
            break;
        }
        match of_size(&mut strategy, rows, args) {
            Ok(measured) => figures.sizes.push(measured),
            Err(error) => {
                figures.ended = Some(format!("{rows} rows: {error:#}"));
                break;
            }
        }
        if figures.sizes.last().is_some_and(|last| last.seconds > PATIENCE) {
            figures.ended = Some(format!("a query of {rows} rows takes longer than {PATIENCE} s"));
            break;
        }
    }
    Ok(figures)
}

/// Rows of the pools, each twice the one before, up to the largest.
fn sizes(largest: usize) -> Vec<usize> {
    let halves = std::iter::successors(Some(largest), |rows| Some(rows / 2));
    let mut sizes: Vec<usize> = halves.take_while(|&rows| rows >= LEAST_ROWS).take(6).collect();
    sizes.reverse();
    sizes
}

fn of_size(strategy: &mut Timed, rows: usize, args: &BenchArgs) -> Result<Measured> {
    let needs = strategy.strategy().needs().to_vec();
    let pool = Pool {
        rows,
        labelled: 200,
        classes: 10,
        seen: 10,
        width: args.width as usize,
        values: Shape::Clustered,
        ..Pool::default()
    };
    let arrays: Arrays = pool.try_arrays(&needs).map_err(|error| anyhow::anyhow!(error))?;
    let question = Question::new(&arrays, args.budget).with_seeds(Seeds::new(1));
    let mut best: Option<Measured> = None;
    for _ in 0..REPEATS {
        let answer = strategy.strategy().answer(&question)?;
        answer.check(&question)?;
        let (seconds, peak_memory) = (answer.usage.seconds, answer.usage.peak_memory);
        let measured = Measured { rows, seconds, times: strategy.times(), peak_memory };
        if best.is_none_or(|best| seconds < best.seconds) {
            best = Some(measured);
        }
        if seconds > PATIENCE / 2.0 {
            break;
        }
    }
    best.context("no question was asked")
}

/// How seconds grow with rows: the slope of the least-squares line through the logarithms of the larger half of the
/// sizes, 1 for linear and 2 for quadratic growth. Small pools measure what a query costs whatever it asks.
fn exponent(sizes: &[Measured]) -> Option<f64> {
    let larger = &sizes[(sizes.len() / 2).min(sizes.len().checked_sub(2)?)..];
    let points: Vec<(f64, f64)> =
        larger.iter().map(|one| ((one.rows as f64).ln(), one.seconds.max(1e-9).ln())).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let over: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let under: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (under > 0.0).then(|| over / under)
}

fn table(args: &BenchArgs, figures: &[Figures]) -> String {
    let threads = if args.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", args.threads) };
    let mut text = format!(
        "{} of N rows, 200 labelled, 10 classes, {} columns, {threads}; the fastest of {REPEATS}\n\n",
        args.budget, args.width
    );
    text += &format!("{:<22} {:>8} {:>10} {:>9} {:>9} ", "STRATEGY", "N", "SECONDS", "OWN CODE", "KERNELS");
    text += &format!("{:>9} {:>8} {:>9}  GROWTH\n", "COPIES", "CALLS", "MIB");
    for one in figures {
        for (at, measured) in one.sizes.iter().enumerate() {
            let times = measured.times.map_or_else(
                || format!("{:>9} {:>9} {:>9} {:>8}", "-", "-", "-", "-"),
                |t| format!("{:>9.4} {:>9.4} {:>9.4} {:>8}", t.guest, t.kernels, t.copies, t.calls),
            );
            let is_last = at + 1 == one.sizes.len();
            let growth = exponent(&one.sizes).filter(|_| is_last).map(|power| format!("  N^{power:.1}"));
            let name = if at == 0 { output::shown(&one.id).into_string() } else { String::new() };
            text += &format!(
                "{name:<22} {:>8} {:>10.4} {times} {:>9.1}{}\n",
                measured.rows,
                measured.seconds,
                measured.peak_memory as f64 / f64::from(1 << 20),
                growth.unwrap_or_default()
            );
        }
        if let Some(ended) = &one.ended {
            text += &format!("{:<22} {}\n", if one.sizes.is_empty() { &one.id } else { "" }, output::shown(ended));
        }
    }
    text
}

fn value(args: &BenchArgs, figures: &[Figures]) -> Value {
    let measured = |one: &Measured| {
        let times =
            one.times.map(|t| json!({ "own": t.guest, "kernels": t.kernels, "copies": t.copies, "calls": t.calls }));
        json!({ "rows": one.rows, "seconds": one.seconds, "times": times, "peak_memory": one.peak_memory })
    };
    let strategies: Vec<Value> = figures
        .iter()
        .map(|one| {
            json!({
                "id": one.id, "package": one.package, "growth": exponent(&one.sizes), "ended": one.ended,
                "sizes": one.sizes.iter().map(measured).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "budget": args.budget, "width": args.width, "threads": args.threads, "strategies": strategies })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_is_that_of_the_larger_pools() {
        let of = |rows: usize, seconds: f64| Measured { rows, seconds, times: None, peak_memory: 0 };
        // A fixed cost hides what grows in the small ones.
        let quadratic: Vec<Measured> =
            sizes(16_000).into_iter().map(|n| of(n, 1e-3 + 1e-6 * (n as f64).powi(2))).collect();
        assert_eq!(sizes(16_000), [500, 1000, 2000, 4000, 8000, 16_000]);
        assert!((exponent(&quadratic).unwrap() - 2.0).abs() < 0.01);
        assert_eq!(exponent(&quadratic[..1]), None);
    }
}
