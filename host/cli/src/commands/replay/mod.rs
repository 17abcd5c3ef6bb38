//! `querist replay`: whether the selections of a run come out the same when they are made again.

pub mod features;
mod picked;
mod scratch;

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use querist_core::StrategyKind;
use querist_core::config::StrategyConfig;
use querist_files::shown;
use querist_loader::BY_DIGEST;
use serde_json::json;

use self::picked::{Picked, difference};
use crate::commands::plugin::ListFormat;
use crate::plugins::PluginArgs;
use crate::stored_run::StoredRun;
use crate::{output, own_learner};

/// Make the selections of a run again, and say where they differ first.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  querist replay runs/badge\n  querist replay runs/badge --from features --plugin-dir \
                  their-plugins\n\nThe exit code is 1 where a selection differs."
)]
pub struct ReplayArgs {
    /// Folder of a run.
    #[arg(value_name = "RUN")]
    pub folder: PathBuf,
    /// What the strategy is asked about again.
    #[arg(long, value_enum, default_value_t = Basis::Auto)]
    pub from: Basis,
    /// Keep what is trained again in this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Start the program that the run names as its learner, where everything is trained again.
    #[arg(long)]
    pub start_learner: bool,
    #[command(flatten)]
    pub plugins: PluginArgs,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// What a strategy is asked about again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Basis {
    /// The arrays of every round where the run kept them, else everything is trained again.
    Auto,
    /// The arrays that the run kept (`keep.features = "all"`): seconds, and on any machine.
    Features,
    /// The dataset: every model is trained again, which is the same on the same machine with as many threads.
    Scratch,
}

impl Basis {
    fn name(self) -> &'static str {
        match self {
            Self::Features => "features",
            Self::Auto | Self::Scratch => "scratch",
        }
    }
}

/// Runs the verb.
pub fn main(args: &ReplayArgs) -> Result<()> {
    let stored = StoredRun::read(&args.folder)?;
    let recorded = picked::of_run(&stored)?;
    ensure!(!recorded.is_empty(), "{} has no selection yet: nothing can be made again", shown(&args.folder));
    let from = source(&stored, args)?;
    let replayed = match from {
        Basis::Features => features::replay(&stored, &args.plugins)?,
        Basis::Auto | Basis::Scratch => scratch::replay(&stored, args)?,
    };
    let found = difference(&recorded, &replayed);
    match args.format {
        ListFormat::Table => output::text(&table(&recorded, &replayed))?,
        ListFormat::Json => {
            let row = |(at, one): (usize, &Picked)| {
                let again = replayed.get(at).map(Picked::digest);
                let is_same = again.as_ref() == Some(&one.digest());
                json!({ "round": one.round, "picks": one.ids.len(), "recorded": one.digest(), "replayed": again,
                        "same": is_same })
            };
            let rounds: Vec<_> = recorded.iter().enumerate().map(row).collect();
            let all = json!({
                "version": 1, "run": shown(&args.folder).as_str(), "from": from.name(), "same": found.is_none(),
                "difference": found, "rounds": rounds,
            });
            output::line(&serde_json::to_string_pretty(&all)?)?;
        }
    }
    let (count, name) = (recorded.len(), from.name());
    match found {
        None => {
            output::note(&format!("all {count} selections are the same, from {name}"));
            Ok(())
        }
        Some(difference) => bail!("{} is not what its replay from {name} gives: {difference}", shown(&args.folder)),
    }
}

/// What can be asked again.
fn source(stored: &StoredRun, args: &ReplayArgs) -> Result<Basis> {
    if stored.header.strategy.kind == StrategyKind::Python {
        let message = format!(
            "{}: its strategy is a Python class that ran in the process of its author, which this program cannot ask \
             again; `querist.pack` makes a package of one",
            shown(&args.folder)
        );
        return Err(crate::exit::Usage(message).into());
    }
    let lacks = features::lacks(stored);
    match (args.from, lacks) {
        (Basis::Scratch, _) | (Basis::Auto, Some(_)) if stored.config.oracle.people().is_some() => {
            let folder = shown(&args.folder);
            let message = format!(
                "{folder}: people labelled it, and would be asked again from scratch; `--from features` asks the \
                 strategy alone, where the run kept them (`keep.features = \"all\"`)"
            );
            Err(crate::exit::Usage(message).into())
        }
        (Basis::Scratch, _) | (Basis::Auto, Some(_)) => {
            own_learner::allow(stored, args.start_learner)?;
            Ok(Basis::Scratch)
        }
        (Basis::Auto | Basis::Features, None) => Ok(Basis::Features),
        (Basis::Features, Some(why)) => {
            let message = format!("{} cannot be replayed from features: {why}", shown(&args.folder));
            Err(crate::exit::Usage(message).into())
        }
    }
}

/// The strategy of a run: the very artifact that chose, or none.
fn strategy(stored: &StoredRun) -> StrategyConfig {
    let (identity, config) = (&stored.header.strategy, &stored.config.strategy);
    // The host's own baseline is in no package.
    if identity.is_upper() {
        return config.clone();
    }
    let id = format!("{}/{}{BY_DIGEST}{}", identity.package, identity.id, identity.digest);
    StrategyConfig { id, ..config.clone() }
}

fn table(recorded: &[Picked], replayed: &[Picked]) -> String {
    let mut text = format!("{:>5}  {:>6}  {:<16}  REPLAY\n", "ROUND", "PICKS", "DIGEST");
    for (at, one) in recorded.iter().enumerate() {
        let word = match replayed.get(at) {
            Some(again) if again.digest() == one.digest() => "same",
            Some(_) => "DIFFERS",
            None => "not reached",
        };
        text += &format!("{:>5}  {:>6}  {:<16}  {word}\n", one.round, one.ids.len(), &one.digest()[..16]);
    }
    text
}
