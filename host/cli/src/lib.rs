//! The command line of Querist.
//!
//! Two executables share it. `querist` is what users call; it never loads libtorch, whose static initialisers alone
//! take longer than most verbs. `querist-train` lies beside it and does the verbs that train; `querist` turns into it
//! when it is asked for one of those.
#![deny(missing_docs)]
// These end the process where nobody listens any more.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod again;
pub mod api;
mod body;
mod codes;
mod commands;
mod config_file;
mod confusion_file;
mod epoch_file;
mod events;
mod exit;
mod export;
mod fixed;
mod flags;
mod grid;
mod index_file;
mod kept;
mod kept_listing;
mod lists;
mod loopback;
mod outcome_file;
mod output;
mod own_learner;
mod people;
mod plugins;
pub mod program;
mod progress;
mod reveal_log;
mod round_files;
mod rules;
mod run_folder;
mod stored_run;
mod study;
mod thumbnails;
mod track;
mod trainer;
mod trial;
mod upper;
mod watched_file;
mod whole_folder;
mod without_torch;

/// What fuzzers call; nothing for users.
#[doc(hidden)]
pub mod fuzzing {
    use std::path::Path;

    use crate::commands::report;
    use crate::stored_run::StoredRun;

    /// Replays a run folder as `--resume` does, and reports it in every form: page, table, CSV and JSON.
    ///
    /// # Errors
    /// What the program would say.
    pub fn read_run(folder: &Path) -> Result<Vec<String>, String> {
        let replayed = StoredRun::read(folder).and_then(|run| {
            run.model_to_go_on_with()?;
            run.position()
        });
        let forms = report::every_form(folder);
        forms.and_then(|forms| replayed.map(|_| forms)).map_err(|error| format!("{error:#}"))
    }
}

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use body::Body;
use commands::{
    completions, data, doctor, embed, evaluate, explain, export as export_verb, label, learner, parts, plugin, probe,
    replay, report, run, schema, select, status, study as study_verb,
};
use exit::LimitNames;
pub use kept::KeptEmbeddings;
use querist_loader::Step;
pub use trainer::{EmbeddedTask, Trainer};
use without_torch::WithoutTorch;

/// Active learning with plugin strategies.
#[derive(Debug, Parser)]
#[command(name = "querist", version, about, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  it failed at work: a plugin, a training, a disk; `plugin check`: a rule is broken
  2  it cannot work as it was called: an argument, a file, an array or a setting is wrong
  128 + N  ended by signal N, such as 130 for a second Ctrl-C

A message that ends in a code is explained by `querist explain CODE`.

Example:
  querist select --strategy margin --budget 3 --input logits=logits.npy";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::RunArgs),
    #[command(subcommand)]
    Study(study_verb::StudyCommand),
    Status(status::StatusArgs),
    Label(label::LabelArgs),
    Report(report::ReportArgs),
    Evaluate(evaluate::EvaluateArgs),
    Replay(replay::ReplayArgs),
    Export(export_verb::ExportArgs),
    Embed(embed::EmbedArgs),
    #[command(subcommand)]
    Learner(learner::LearnerCommand),
    #[command(subcommand)]
    Probe(probe::ProbeCommand),
    Select(select::SelectArgs),
    Score(parts::score::ScoreArgs),
    Merge(parts::merge::MergeArgs),
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    Schema(schema::SchemaArgs),
    #[command(subcommand)]
    Data(data::DataCommand),
    Doctor(doctor::DoctorArgs),
    Explain(explain::ExplainArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
    /// Compile one component, or wrap a core module; the sandbox calls this in a process of its own.
    #[command(hide = true, name = plugins::COMPILE_VERB)]
    Compile {
        #[arg(long)]
        wrap: bool,
        source: PathBuf,
        target: PathBuf,
    },
    /// Run a native plugin in this process of its own; `--isolate` starts it.
    #[command(hide = true, name = plugins::WORKER_VERB)]
    Worker,
    /// Start a learner of the user's own that ends when the process PARENT does, which calls this.
    #[command(hide = true, name = own_learner::START_VERB)]
    StartLearner {
        parent: i32,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Say which libtorch is used; `doctor` asks this of `querist-train`.
    #[command(hide = true, name = trainer::DESCRIBE_VERB)]
    DescribeLibtorch,
}

impl Verb {
    fn limit_names(&self) -> LimitNames {
        match self {
            Self::Select(_) | Self::Score(_) | Self::Merge(_) | Self::Plugin(_) => LimitNames::Flags,
            _ => LimitNames::Keys,
        }
    }
}

/// The executable `querist`.
pub fn front() -> ExitCode {
    ExitCode::from(front_code())
}

/// The same for a program that holds this command line; gives the exit code.
pub fn front_code() -> u8 {
    output::is_command();
    with_verb(|verb| match verb {
        Verb::Run(args) if run::suffices_without_torch(args) => run::main(args, &WithoutTorch),
        Verb::Run(_) | Verb::Embed(_) | Verb::Probe(_) | Verb::DescribeLibtorch => trainer::become_trainer(),
        Verb::Plugin(command) if command.needs_libtorch() => trainer::become_trainer(),
        Verb::Select(args) if args.needs_libtorch() => trainer::become_trainer(),
        other => without_training(other, None),
    })
}

/// The executable `querist-train`.
pub fn train(trainer: &dyn Trainer) -> ExitCode {
    let code = with_verb(|verb| match verb {
        Verb::Run(args) => run::main(args, trainer),
        Verb::Embed(args) => embed::main(args, trainer),
        Verb::Probe(command) => probe::main(command, trainer),
        Verb::DescribeLibtorch => output::text(&trainer.describe()),
        other => without_training(other, Some(trainer)),
    });
    ExitCode::from(code)
}

fn without_training(verb: &Verb, trainer: Option<&dyn Trainer>) -> Result<()> {
    match verb {
        Verb::Study(command) => study_verb::main(command),
        Verb::Status(args) => status::main(args),
        Verb::Label(args) => label::main(args),
        Verb::Report(args) => report::main(args),
        Verb::Evaluate(args) => evaluate::main(args),
        Verb::Replay(args) => replay::main(args),
        Verb::Export(args) => export_verb::main(args),
        Verb::Select(args) => select::main(args, trainer),
        Verb::Score(args) => parts::score::main(args),
        Verb::Merge(args) => parts::merge::main(args),
        Verb::Plugin(command) => plugin::main(command, trainer),
        Verb::Schema(args) => schema::main(args),
        Verb::Data(command) => data::main(command),
        Verb::Doctor(args) => doctor::main(args),
        Verb::Learner(command) => learner::main(command),
        Verb::Explain(args) => explain::main(args),
        Verb::Completions(args) => completions::completions(args, command_line()),
        Verb::Man(args) => completions::man(args, command_line()),
        Verb::Compile { wrap, source, target } => {
            let step = if *wrap { Step::Wrap } else { Step::Compile };
            // Whoever started this process shows the message, and has a code of its own for it.
            querist_loader::compile_file(step, source, target).map_err(|error| anyhow::anyhow!("{error}"))
        }
        Verb::StartLearner { parent, command } => own_learner::become_learner(*parent, command),
        Verb::Worker => {
            querist_loader::isolate::worker_main();
            Ok(())
        }
        Verb::Run(_) | Verb::Embed(_) | Verb::Probe(_) | Verb::DescribeLibtorch => {
            anyhow::bail!("this verb trains; `querist-train` does it")
        }
    }
}

fn with_verb(work: impl FnOnce(&Verb) -> Result<()>) -> u8 {
    events::choose(program::args());
    let parsed =
        command_line().try_get_matches_from(program::args()).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: they go to standard output with code 0.
            if events::are_json() && error.use_stderr() {
                exit::tell(&error.to_string(), Vec::new(), Vec::new(), None, 2);
            } else {
                let _ = error.print();
            }
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    match work(&cli.verb) {
        Ok(()) => 0,
        Err(error) => exit::report(&error, cli.verb.limit_names()),
    }
}

/// Every verb and flag.
fn command_line() -> Command {
    one_help(Cli::command())
}

/// Gives every verb one form of help instead of two: the short one, which fits a screen.
fn one_help(command: Command) -> Command {
    let help = Arg::new("help").short('h').long("help").help("Print help").action(ArgAction::HelpShort);
    command.disable_help_flag(true).arg(help).mut_subcommands(one_help)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Lines of a help text at most.
    const SCREEN: usize = 42;

    /// Verbs that do something, each with the words that call it.
    fn verbs(command: &Command, called: &str, found: &mut Vec<(String, Command)>) {
        let inner: Vec<&Command> = command.get_subcommands().filter(|verb| !verb.is_hide_set()).collect();
        if inner.is_empty() {
            found.push((called.to_owned(), command.clone()));
        }
        for verb in inner {
            verbs(verb, &format!("{called} {}", verb.get_name()), found);
        }
    }

    fn all() -> Vec<(String, Command)> {
        let mut found = Vec::new();
        verbs(&command_line(), "querist", &mut found);
        assert!(found.len() > 30, "{} verbs", found.len());
        found
    }

    #[test]
    fn every_verb_is_told_on_one_screen_with_an_example() {
        for (called, verb) in all() {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.contains('\n') && about.len() <= 160, "{called}: `{about}`");
            let help = verb.clone().term_width(100).render_help().to_string();
            assert!(help.lines().count() <= SCREEN, "{called} has {} lines of help:\n{help}", help.lines().count());
            let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = after.split_once("Example").map(|(_, rest)| rest.contains(&format!("  {called}")));
            assert_eq!(example, Some(true), "{called} has no example of itself:\n{after}");
        }
    }

    #[test]
    fn flags_of_several_verbs_have_one_wording() {
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (_, verb) in all() {
            for flag in verb.get_arguments().filter(|flag| !flag.is_hide_set()) {
                if let (Some(name), Some(help)) = (flag.get_long(), flag.get_help()) {
                    told.entry(name.to_owned()).or_default().insert(help.to_string());
                }
            }
        }
        let one = ["device", "param", "params", "set", "seed", "plugin-dir", "isolate", "locked", "memory", "seconds"];
        for name in one {
            assert_eq!(told[name].len(), 1, "--{name}: {:#?}", told[name]);
        }
    }

    #[test]
    fn the_command_line_is_sound_and_says_how_it_ends() {
        command_line().debug_assert();
        let help = command_line().term_width(100).render_help().to_string();
        for part in ["Exit codes:", "querist explain CODE", "Example:\n  querist select"] {
            assert!(help.contains(part), "`{part}` is missing in:\n{help}");
        }
    }
}
