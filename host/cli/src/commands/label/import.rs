//! `querist label import`: answers from a file of another tool.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use querist_files::shown;
use querist_people::Recorded;
use querist_people::formats::{self, Format, How, Plan};
use serde_json::json;

use super::files;
use crate::events::{self, Log};
use crate::exit::{Hinted, Usage};
use crate::output;

/// Problems that are listed at most.
const MOST_LISTED: usize = 50;

/// Take the answers of a file, all of them or none; one that is read twice counts once.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist label import runs/birds batch.csv --format csv")]
pub struct ImportArgs {
    /// Run folder.
    pub run: PathBuf,
    /// What another tool has written, or a folder that `querist label export` wrote.
    #[arg(value_name = "PATH")]
    pub file: PathBuf,
    /// Whose file it is.
    #[arg(long, value_parser = files::format_parser())]
    pub format: Format,
    /// Who gave the answers, where the file does not say [default: the format].
    #[arg(long, value_name = "NAME")]
    pub annotator: Option<String>,
    /// Have answers of the file take the place of those that they contradict.
    #[arg(long)]
    pub replace: bool,
    /// Leave out what cannot be taken, and take the rest.
    #[arg(long)]
    pub skip_wrong: bool,
    /// Form of what is told on standard error.
    #[arg(long, value_enum, default_value_t = Log::Text)]
    pub log: Log,
}

/// Runs the verb.
pub fn main(args: &ImportArgs) -> Result<()> {
    let format = args.format;
    let mut journal = files::open(&args.run)?;
    let found = formats::read(format, &args.file).map_err(files::told)?;
    let how = How { format, annotator: args.annotator.clone(), replace: args.replace };
    let plan = Plan::of(&journal, found, &how).map_err(files::told)?;
    refuse(args, &plan)?;
    let recorded = plan.record(&mut journal)?;
    let new = recorded.iter().filter(|one| matches!(one, Recorded::New(_))).count();
    let known = plan.known + recorded.iter().filter(|one| matches!(one, Recorded::Known(_))).count();
    let late = recorded.len() - new - (known - plan.known);
    let outcomes = journal.outcomes();
    let open = outcomes.iter().filter(|outcome| !outcome.is_final()).count();
    let (replaced, skipped, unanswered) = (plan.replacing, plan.wrong.len(), plan.unanswered);
    output::line(&format!(
        "{new} new ({replaced} in the place of others), {known} known, {late} conflicts, {skipped} left out, \
         {unanswered} without an answer; {open} of {} pictures are open",
        outcomes.len()
    ))?;
    let fields = json!({
        "new": new, "replaced": replaced, "known": known, "conflicts": late, "left_out": skipped,
        "unanswered": unanswered, "open": open,
    });
    events::tell("imported", fields);
    if late > 0 {
        let message = format!("{late} answers were given otherwise while the file was read, and were not taken");
        return Err(Hinted::say(message, "import the file again to see which".to_owned()));
    }
    Ok(())
}

/// Says everything that speaks against a file at once.
fn refuse(args: &ImportArgs, plan: &Plan) -> Result<()> {
    let (wrong, conflicts) = (plan.wrong.len(), plan.conflicts.len());
    if args.skip_wrong && wrong > 0 {
        output::note(&format!("warning: {wrong} left out of {}:\n{}", shown(&args.file), list(&plan.wrong)));
    }
    let mut text = String::new();
    let mut advice = Vec::new();
    if wrong > 0 && !args.skip_wrong {
        text += &format!("\n{wrong} cannot be taken:\n{}", list(&plan.wrong));
        advice.push("`--skip-wrong` takes the rest");
    }
    if conflicts > 0 {
        text += &format!("\n{conflicts} contradict what was recorded:\n{}", list(&plan.conflicts));
        advice.push("`--replace` has the file decide");
    }
    if text.is_empty() {
        return Ok(());
    }
    let (file, advice) = (shown(&args.file), advice.join(", "));
    Err(Usage(format!("nothing of {file} was imported{text}\n{advice}")).into())
}

fn list(problems: &[impl Display]) -> String {
    let mut lines: Vec<String> = problems.iter().take(MOST_LISTED).map(|problem| format!("  {problem}")).collect();
    if problems.len() > MOST_LISTED {
        lines.push(format!("  and {} more", problems.len() - MOST_LISTED));
    }
    lines.join("\n")
}
