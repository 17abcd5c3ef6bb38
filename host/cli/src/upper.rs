//! Who chooses in a run: a strategy, or the host's upper baseline with the strategies that propose to it.

use anyhow::{Result, bail};
use querist_core::config::{Experiment, Plan, RunConfig, UpperParams};
use querist_core::digest::sha256;
use querist_core::upper::{Judge, Upper};
use querist_core::{
    Array, Dataset, FixedArray, Learner, QueryOptions, Split, Strategy, StrategyIdentity, StrategyKind, check,
};
use querist_protocol::names;
use serde_json::{Value, json};

use crate::config_file::ConfigFile;
use crate::exit::Usage;
use crate::plugins::{self, Means, PluginArgs, Ready};

/// Strategies that propose where the run file names none; those that the run's arrays suffice for take part.
const MEMBERS: [&str; 10] = [
    "random",
    "margin",
    "badge",
    "bait",
    "typiclust",
    "alfa-mix",
    "drop-query",
    "max-herding",
    "uherding",
    "k-center-greedy",
];

/// Who chooses, before there is a model.
pub enum Chooser {
    /// A strategy.
    Strategy(Ready),
    /// The upper baseline.
    Upper(Members),
}

/// The strategies that propose, and what the run file says of them.
pub struct Members {
    strategies: Vec<Box<dyn Strategy>>,
    params: UpperParams,
    threads: usize,
}

/// What a chooser is made complete with.
pub struct Task<'a> {
    /// Images, or what stands for them, and labels.
    pub dataset: &'a Dataset,
    /// Pool, validation, test and reserve.
    pub split: &'a Split,
    /// What is bought when.
    pub plan: &'a Plan,
    /// What queries see.
    pub options: QueryOptions<'a>,
    /// The task model.
    pub learner: &'a dyn Learner,
}

/// Loads who chooses in a run; problems of a strategy's parameters are shown in `file`.
pub fn chooser(config: &RunConfig, means: Means<'_>, args: &PluginArgs, file: &ConfigFile) -> Result<Chooser> {
    if !config.strategy.is_upper() {
        return Ok(Chooser::Strategy(plugins::ready(&config.strategy, means, args, Some((file, "/strategy/params")))?));
    }
    let params = UpperParams::read(&config.strategy.params);
    let params = params.map_err(|message| Usage(format!("strategy.params: {message}")))?;
    if config.strategy.subset_size.is_some() || config.strategy.target.is_some() {
        let message = "strategy.subset_size and strategy.target are for strategies; the upper baseline draws parts of \
                       the pool itself";
        return Err(Usage(message.to_owned()).into());
    }
    if let Some(problem) = misfit(&config.experiment) {
        return Err(Usage(problem).into());
    }
    let listing = plugins::listing(&args.plugin_dir)?;
    let mut strategies = Vec::new();
    for id in usual_or(&params.members) {
        let resolved = listing.resolve(id).map_err(|error| Usage(format!("strategy.params.members: {error}")))?;
        let allowed = matches!(resolved.package.kind, StrategyKind::Wasm | StrategyKind::Native);
        if !allowed || !resolved.strategy.capabilities.is_empty() {
            let message = format!(
                "strategy.params.members: `{id}` looks at hidden labels or at more than arrays; members propose from \
                 arrays alone"
            );
            return Err(Usage(message).into());
        }
        let defaults = plugins::params(&resolved, &json!({}), None)?;
        strategies.push(plugins::load(resolved, &defaults, means, args)?);
    }
    Ok(Chooser::Upper(Members { strategies, params, threads: means.threads }))
}

/// The members that are named, or the usual ones.
fn usual_or(named: &[String]) -> Vec<&str> {
    if named.is_empty() { MEMBERS.to_vec() } else { named.iter().map(String::as_str).collect() }
}

/// Why a run cannot have an upper baseline, if it cannot.
pub fn misfit(experiment: &Experiment) -> Option<String> {
    let dataset = &experiment.dataset;
    if dataset.name != "embeddings" && experiment.fixed_embeddings.is_none() {
        return Some(
            "the upper baseline tries hundreds of batches on features that no training changes: write them with \
             `querist embed` and name them, as `dataset.name = \"embeddings\"` or in `fixed_embeddings`"
                .to_owned(),
        );
    }
    if dataset.reserve.is_none() {
        return Some("the upper baseline needs a slice to judge batches by: set `dataset.reserve = 0.2`".to_owned());
    }
    let variant = dataset.variant.as_ref()?;
    let key = if variant.repeat.is_some() { "repeat" } else { "foreign" };
    let spoils = variant.repeat.is_some() || variant.foreign.is_some();
    spoils.then(|| {
        format!(
            "dataset.variant.{key} would put copies, or classes of no test sample, into the slice that the upper \
             baseline judges by; leave it out, or the baseline"
        )
    })
}

impl Chooser {
    /// Its parameters, as far as they are settled.
    pub fn params(&self) -> Value {
        match self {
            Self::Strategy(ready) => ready.params.clone(),
            Self::Upper(members) => json!(members.params),
        }
    }

    /// Ready to be asked. What must be known is handed to `say`.
    pub fn settled(self, task: &Task<'_>, say: &dyn Fn(&str)) -> Result<Ready> {
        match self {
            Self::Strategy(ready) => Ok(ready),
            Self::Upper(members) => members.settled(task, say),
        }
    }
}

impl Members {
    fn settled(self, task: &Task<'_>, say: &dyn Fn(&str)) -> Result<Ready> {
        let Self { strategies, params, threads } = self;
        let mut taking = Vec::new();
        for strategy in strategies {
            match check(task.learner, &*strategy, task.split, task.plan, task.options) {
                Ok(_) => taking.push(strategy),
                Err(error) if params.members.is_empty() => {
                    say(&format!("note: `{}` does not propose: {error}", strategy.identity().id));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if taking.is_empty() {
            bail!("no strategy can propose to the upper baseline; name some in `strategy.params.members`");
        }
        let judge = Judge::new(task.dataset, &task.split.reserve, features(task, say)?)?;
        let ids: Vec<String> = taking.iter().map(|member| member.identity().id.clone()).collect();
        let digest = digest(taking.iter().map(|member| member.identity()));
        let settled = json!({ "proposals": params.proposals, "members": ids });
        let upper = Upper::new(taking, params.proposals, threads, judge, digest);
        Ok(Ready { strategy: Box::new(upper), params: settled })
    }
}

/// Features of all samples that no training changes.
fn features(task: &Task<'_>, say: &dyn Fn(&str)) -> Result<FixedArray> {
    if let Some(embeddings) = task.dataset.embeddings() {
        let samples = task.dataset.len();
        let array = Array::f32(vec![samples, embeddings.width], embeddings.values.clone())?;
        return Ok(FixedArray::new(names::FIXED_EMBEDDINGS, &array, None, samples, &[])?);
    }
    let fixed = task.options.fixed.and_then(|fixed| fixed.get(names::FIXED_EMBEDDINGS));
    let Some(fixed) = fixed else { bail!("the upper baseline has no features to judge batches by") };
    say("warning: the upper baseline judges batches by `fixed_embeddings` and a last layer on them, not by the model \
         that the runs train; it is a reference as far as these agree");
    Ok(fixed.clone())
}

/// A digest that changes with every member's artifact.
fn digest<'a>(members: impl Iterator<Item = &'a StrategyIdentity>) -> String {
    let all: Vec<String> = members.map(|member| format!("{} {}", member.id, member.digest)).collect();
    sha256(all.join("\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use querist_core::config::{DatasetConfig, VariantConfig};

    use super::*;

    fn experiment(change: impl Fn(&mut DatasetConfig)) -> Experiment {
        let text = "version = 1\ndataset = { name = \"embeddings\", reserve = 0.2 }\nmodel = { name = \"head\" }\n\
                    budget = { initial = 10, batch = 10, rounds = 1 }\nstrategy = { id = \"querist/upper\" }\n";
        let mut config: RunConfig = toml::from_str(text).unwrap();
        assert!(config.strategy.is_upper());
        change(&mut config.experiment.dataset);
        config.experiment
    }

    #[test]
    fn it_is_refused_where_it_would_mean_nothing() {
        assert_eq!(misfit(&experiment(|_| ())), None);
        let of = |change: &dyn Fn(&mut DatasetConfig)| misfit(&experiment(change)).unwrap();
        assert!(of(&|dataset| dataset.name = "digits".to_owned()).contains("`querist embed`"));
        assert!(of(&|dataset| dataset.reserve = None).contains("set `dataset.reserve = 0.2`"));
        let repeat = |dataset: &mut DatasetConfig| {
            dataset.variant = Some(VariantConfig { repeat: Some(3), ..VariantConfig::default() });
        };
        assert!(of(&repeat).contains("dataset.variant.repeat would put copies"));
    }
}
