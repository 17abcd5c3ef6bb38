//! `querist select` as a function.

use std::sync::Arc;

use anyhow::Result;
use querist_core::config::{LimitsConfig, StrategyConfig, cores};
use querist_core::progress::Progress;
use querist_core::{Given, StrategyIdentity, StrategyKind};
use querist_loader::Hosted;
use serde_json::{Map, Value};

use crate::commands::select::{Asking, Draw, Inputs, Subset, Words};
use crate::exit::Usage;
use crate::plugins::{self, Means, PluginArgs};

/// A question about arrays, but for the arrays.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Strategy as users name it.
    pub strategy: String,
    /// Its parameters, as they were given.
    pub params: Map<String, Value>,
    /// Rows that are wanted.
    pub budget: usize,
    /// Root of the random streams.
    pub seed: u64,
    /// Round that enters the random streams.
    pub round: u32,
    /// Number of classes; as the arrays say where it is left out.
    pub classes: Option<usize>,
    /// Rows to choose from, drawn at random from the pool; all where it is left out.
    pub subset_size: Option<usize>,
    /// Threads of kernels; all cores where it is left out.
    pub threads: Option<usize>,
    /// What the query may use.
    pub limits: LimitsConfig,
    /// Which packages may answer.
    pub plugins: PluginArgs,
    /// The strategy itself, where it is one of the program that calls; `strategy` is its id then.
    pub hosted: Option<Arc<Hosted>>,
}

/// What was picked, and by whom.
#[derive(Debug, Clone)]
pub struct Selected {
    /// Rows as they were given, in the order of picks.
    pub rows: Vec<u64>,
    /// Ids of these rows.
    pub ids: Vec<u64>,
    /// Their scores, or nothing.
    pub scores: Vec<f64>,
    /// What the strategy notes.
    pub diagnostics: Vec<(String, f64)>,
    /// Wall-clock seconds of the query.
    pub seconds: f64,
    /// WebAssembly fuel, where it was counted.
    pub fuel: Option<u64>,
    /// Bytes of the plugin and of what the host made for it, at most.
    pub peak_memory: u64,
    /// Who picked.
    pub identity: StrategyIdentity,
    /// Its parameters with every default.
    pub params: Value,
}

/// The array that an argument gives, and how the host calls it: `labelled_embeddings` is `labelled.embeddings`. `None`
/// where there is none of this name.
pub fn given_under(argument: &str) -> Option<String> {
    let known = |name: &str| Given::array_called(name).is_some() || ["ids", "labelled.ids"].contains(&name);
    let dotted = argument.replacen('_', ".", 1);
    [argument.to_owned(), dotted].into_iter().find(|name| known(name))
}

/// Asks a strategy for rows of these arrays.
///
/// # Errors
/// If the arrays make no question, or the strategy gives no answer.
pub fn select(ask: &Ask, given: Given, progress: &dyn Progress) -> Result<Selected> {
    if ask.threads == Some(0) {
        return Err(Usage("`threads` is 0; expected 1 or more".to_owned()).into());
    }
    let listing = plugins::listing(&ask.plugins.plugin_dir)?;
    let resolved = match &ask.hosted {
        Some(hosted) => hosted.resolved(),
        None => listing.resolve(&ask.strategy)?,
    };
    if resolved.package.kind == StrategyKind::NativeTorch {
        let message = format!(
            "`{}` trains networks of its own with libtorch, which this process has not: ask it with `querist select`",
            resolved.strategy.id
        );
        return Err(Usage(message).into());
    }
    let mut params = ask.params.clone();
    let inputs = Inputs::of(given, Words::Keywords, ask.classes, &params)?;
    inputs.settle_draws(&resolved.strategy.schema, &mut params)?;
    let config = StrategyConfig { id: ask.strategy.clone(), params, label: None, subset_size: None, target: None };
    let threads = ask.threads.unwrap_or_else(cores);
    let means = Means { limits: &ask.limits, threads, accelerator: None, torch: None };
    let mut ready = plugins::ready_or_hosted(ask.hosted.as_deref(), &config, means, &ask.plugins)?;
    let draw = Draw { seed: ask.seed, round: ask.round, classes: ask.classes };
    let subset = Subset { size: ask.subset_size, budgets: &[ask.budget] };
    let (asked, _) = inputs.complete(draw, &*ready.strategy, subset)?;
    let asking = Asking { asked: &asked, draw, services: None, progress };
    let picked = asking.answer(&mut *ready.strategy, ask.budget)?;
    let used = picked.used.unwrap_or_default();
    Ok(Selected {
        rows: picked.rows,
        ids: picked.ids,
        scores: picked.scores,
        diagnostics: picked.diagnostics,
        seconds: used.seconds,
        fuel: used.fuel,
        peak_memory: used.peak_memory,
        identity: ready.strategy.identity().clone(),
        params: ready.params,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_arrays() {
        let of = |argument: &str| given_under(argument);
        for (argument, name) in [
            ("logits", "logits"),
            ("probs", "probs"),
            ("fixed_embeddings", "fixed_embeddings"),
            ("labelled_embeddings", "labelled.embeddings"),
            ("labelled_fixed_embeddings", "labelled.fixed_embeddings"),
            ("labelled_ids", "labelled.ids"),
            ("head_w", "head.w"),
            ("extra_blur", "extra.blur"),
            ("query.like", "query.like"),
            ("oracle_labels", "oracle.labels"),
        ] {
            assert_eq!(of(argument).as_deref(), Some(name), "{argument}");
        }
        assert_eq!(of("logit"), None);
        assert_eq!(of("labelled"), None);
    }
}
