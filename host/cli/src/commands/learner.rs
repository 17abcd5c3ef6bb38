//! `querist learner`: trying a learner of the user's own, before a study hangs on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use querist_core::config::{RunConfig, schemas};
use querist_core::{
    Array, Dataset, DatasetOracle, FeatureTask, FitTask, Label, LearnError, Learner, Oracle, Round, SampleId, Split,
};
use querist_external::External;
use querist_protocol::{Need, names};
use serde_json::json;
use tempfile::TempDir;

use crate::config_file::ConfigFile;
use crate::exit::Usage;
use crate::flags;
use crate::own_learner;
use crate::progress::{self, Display};
use crate::{output, plugins};

/// Learners of your own.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  querist learner check run.toml")]
pub enum LearnerCommand {
    /// Ask the learner of a run file for all that it offers, on a few samples, and say what keeps the rules.
    Check(CheckArgs),
}

/// What is checked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist learner check run.toml --set learner.options.epochs=1")]
pub struct CheckArgs {
    /// Run file with a `learner`.
    pub file: PathBuf,
    #[arg(long = "set", value_name = "KEY=VALUE", help = flags::SET)]
    pub set: Vec<String>,
    /// Form of the findings.
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    pub format: FindingsFormat,
}

/// Forms of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FindingsFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Samples that are predicted, and labelled samples of each class, at most.
const PREDICTED: usize = 24;
const LABELLED: usize = 4;
/// Draws and members that are asked for.
const DRAWS: usize = 3;
/// How far rows may be apart that are predicted in another order: libraries sum otherwise then.
const NEAR: f32 = 1e-3;

/// What was found of a rule.
struct Finding {
    rule: &'static str,
    outcome: Outcome,
    says: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Holds,
    Broken,
    Note,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Broken => "BROKEN",
            Self::Note => "note",
        }
    }
}

/// Runs the verb.
pub fn main(command: &LearnerCommand) -> Result<()> {
    let LearnerCommand::Check(args) = command;
    let mut file = ConfigFile::read(&args.file, &[])?;
    file.apply(&args.set)?;
    let mut config = file.check::<RunConfig>(&schemas()["run"])?.resolved();
    if config.experiment.learner.is_none() {
        let message = format!("{} names no `learner`", querist_files::shown(&args.file));
        return Err(Usage(message).into());
    }
    config.experiment.compute.threads.get_or_insert(1);
    own_learner::refuse_misfits(&config, &plugins::PluginArgs::default())?;
    progress::stop_on_interrupt()?;
    let d = &config.experiment.dataset;
    let dataset = querist_data::load(d, &querist_data::Search::from_env())?;
    let split = Split::draw(&dataset, d.validation, d.test, config.seeds.split_stream());
    let split = split.map_err(|error| Usage(error.to_string()))?;
    let findings = check(&config, &dataset, &few(&dataset, &split)?)?;
    tell(&findings, args.format)?;
    let broken = findings.iter().filter(|finding| finding.outcome == Outcome::Broken).count();
    anyhow::ensure!(broken == 0, "the learner breaks {broken} {}", if broken == 1 { "rule" } else { "rules" });
    Ok(())
}

/// A few samples with their labels, and a few to predict.
struct Few {
    labelled: Vec<(SampleId, Label)>,
    predicted: Vec<SampleId>,
}

fn few(dataset: &Dataset, split: &Split) -> Result<Few> {
    let labels = DatasetOracle::new(dataset).reveal(&split.pool)?;
    let mut of_class: BTreeMap<Label, usize> = BTreeMap::new();
    let (mut labelled, mut predicted) = (Vec::new(), Vec::new());
    for (&sample, label) in split.pool.iter().zip(labels) {
        let count = of_class.entry(label).or_default();
        if *count < LABELLED {
            *count += 1;
            labelled.push((sample, label));
        } else if predicted.len() < PREDICTED {
            predicted.push(sample);
        }
    }
    if predicted.is_empty() {
        predicted = labelled.iter().map(|&(sample, _)| sample).take(PREDICTED).collect();
    }
    Ok(Few { labelled, predicted })
}

/// What a learner answered in one process.
struct Answered {
    arrays: BTreeMap<String, Array>,
    /// Logits of the same samples, asked for in reverse and put back.
    reversed: Vec<f32>,
}

fn check(config: &RunConfig, dataset: &Dataset, few: &Few) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let first = match once(config, dataset, few, Some(&mut findings)) {
        Ok(first) => first,
        Err(error) => return broken(findings, "answers", error),
    };
    let classes = dataset.classes();
    let logits = first.arrays.get(names::LOGITS).and_then(Array::as_f32).context("logits were asked for")?;
    let far = logits.iter().zip(&first.reversed).position(|(a, b)| (a - b).abs() > NEAR * a.abs().max(1.0));
    findings.push(match far {
        None => finding("order", Outcome::Holds, "rows are those of the samples, in their order"),
        Some(at) => {
            let (a, b) = (logits[at], first.reversed[at]);
            let says = format!("a logit of sample {} is {a}, and {b} in another order", few.predicted[at / classes]);
            finding("order", Outcome::Broken, &says)
        }
    });
    let again = match once(config, dataset, few, None) {
        Ok(again) => again,
        Err(error) => return broken(findings, "again", error),
    };
    let differs = first.arrays.iter().find(|(name, array)| {
        let bits = |array: &Array| array.as_f32().map(|v| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        again.arrays.get(*name).is_none_or(|other| bits(other) != bits(array))
    });
    findings.push(match differs {
        None => finding("again", Outcome::Holds, "another process gives the same bits: a run that goes on is the same"),
        Some((name, _)) => {
            let says = format!("another process gives another `{name}`: what is resumed is not what was interrupted");
            finding("again", Outcome::Note, &says)
        }
    });
    Ok(findings)
}

fn finding(rule: &'static str, outcome: Outcome, says: &str) -> Finding {
    Finding { rule, outcome, says: says.to_owned() }
}

/// A failure of the learner is a finding; of anything else it is a failure.
fn broken(mut findings: Vec<Finding>, rule: &'static str, error: anyhow::Error) -> Result<Vec<Finding>> {
    match error.downcast_ref::<LearnError>() {
        Some(LearnError::Own(fault)) => {
            findings.push(finding(rule, Outcome::Broken, &fault.message));
            Ok(findings)
        }
        _ => Err(error),
    }
}

/// Starts the learner, trains it, and asks for everything; says how it went where that is wanted.
fn once(config: &RunConfig, dataset: &Dataset, few: &Few, mut findings: Option<&mut Vec<Finding>>) -> Result<Answered> {
    let (display, folder) = (Display::new(false), TempDir::new().context("there is no room for a temporary folder")?);
    let mut say = |rule: &'static str, says: String| {
        if let Some(findings) = &mut findings {
            findings.push(Finding { rule, outcome: Outcome::Holds, says });
        }
    };
    let own = config.experiment.learner.as_ref().context("it was looked for")?;
    let clock = Instant::now();
    let mut learner = own_learner::start(dataset, config, own, folder.path(), &display)?;
    let offer = learner.offer();
    let seconds = clock.elapsed().as_secs_f64();
    say("hello", format!("{} {} offers {} ({seconds:.1} s)", offer.name, offer.version, offer.arrays.join(", ")));
    let needs = needs_of(&learner);
    let clock = Instant::now();
    let task = FitTask { needs: &needs, ..FitTask::plain(Round(0), &few.labelled) };
    learner.fit(task, &display)?;
    say("fit", format!("{} samples in {:.1} s", few.labelled.len(), clock.elapsed().as_secs_f64()));
    let mut arrays = BTreeMap::new();
    for need in &needs {
        let clock = Instant::now();
        let task = FeatureTask { needs: std::slice::from_ref(need), pool: &few.predicted, labelled: &[], target: &[] };
        let given = learner.features(task, &display)?;
        for (name, array) in given {
            let seconds = clock.elapsed().as_secs_f64();
            say("array", format!("`{need}` is f32 {:?}, finite ({seconds:.1} s)", array.shape()));
            arrays.insert(name, array);
        }
    }
    let turned: Vec<SampleId> = few.predicted.iter().rev().copied().collect();
    let rows = learner.logits(&turned, &display)?;
    let reversed = rows.chunks(dataset.classes()).rev().flatten().copied().collect();
    Ok(Answered { arrays, reversed })
}

/// A need for each array that is offered.
fn needs_of(learner: &External<'_>) -> Vec<Need> {
    let offered = learner.offer().arrays.iter().filter_map(|text| text.parse::<Need>().ok());
    let need = |offered: Need| match offered.name() {
        names::MC_LOG_PROBS => offered.with("T", DRAWS),
        names::MEMBER_LOG_PROBS => offered.with("M", DRAWS),
        _ => offered,
    };
    offered.map(need).collect()
}

fn tell(findings: &[Finding], format: FindingsFormat) -> Result<()> {
    if format == FindingsFormat::Json {
        let row = |f: &Finding| json!({ "rule": f.rule, "outcome": f.outcome.name().to_lowercase(), "says": f.says });
        let rows: Vec<_> = findings.iter().map(row).collect();
        return output::line(&serde_json::to_string_pretty(&rows)?);
    }
    let row = |f: &Finding| format!("{:<6}  {:<6}  {}\n", f.outcome.name(), f.rule, output::shown(&f.says));
    output::text(&findings.iter().map(row).collect::<String>())
}
