//! `querist status`: where a run stands that people label.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use querist_protocol::Shown;
use querist_report::stopping::{Advice, Share};

use crate::output;
use crate::people::standing::{Answered, Point, Standing, standing};

/// Say where a run stands that people label: what is missing, the curve so far, and whether to go on.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist status runs/birds-badge-s0")]
pub struct StatusArgs {
    /// Folder of the run.
    pub run: PathBuf,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    pub format: StatusFormat,
}

/// Forms of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Runs the verb.
pub fn main(args: &StatusArgs) -> Result<()> {
    let found = standing(&args.run)?;
    match args.format {
        StatusFormat::Json => output::line(&serde_json::to_string_pretty(&found)?),
        StatusFormat::Table => output::text(&table(&found)),
    }
}

fn table(found: &Standing) -> String {
    let mut text = format!("{}, {}\n", Shown::name(&found.strategy), found.stage);
    if let Some(waiting) = &found.waiting {
        text += &batch(waiting);
    }
    if let Some(seconds) = found.seconds_an_answer {
        let _ = writeln!(text, "{seconds:.1} s an answer (median)");
    }
    if let Some(next) = &found.next_batch {
        let minutes = next.minutes.map(|minutes| format!(", about {minutes:.0} min")).unwrap_or_default();
        let which = if found.waiting.is_some() { "this batch" } else { "the next batch" };
        let _ = writeln!(text, "{which}: {} pictures, {} answers{minutes}", next.pictures, next.answers);
    }
    if !found.curve.is_empty() {
        text += &curve(&found.curve);
    }
    for told in &found.advice {
        let advice = match told.advice {
            Advice::Stop => "stopping is reasonable",
            Advice::GoOn => "go on",
            Advice::TooEarly => "too early to tell",
        };
        let _ = writeln!(text, "{}: {advice} ({})", told.rule, told.why);
    }
    text
}

fn batch(waiting: &Answered) -> String {
    let Answered { pictures, answered, labelled, rejected, unsure, open, disputed, annotators } = waiting;
    let mut text = format!(
        "{answered} of {pictures} pictures answered: {labelled} labels, {rejected} of none of the classes, {unsure} \
         unsure; {open} open, {disputed} disputed\n"
    );
    for (annotator, answers) in annotators {
        let _ = writeln!(text, "  {}: {answers} answers", Shown::name(annotator));
    }
    text
}

fn curve(points: &[Point]) -> String {
    let mut text = format!(
        "{:>5}  {:>8}  {:>6}  {:>6}  {:>10}  {:>15}  {:>8}  {:>6}\n",
        "ROUND", "LABELLED", "BOUGHT", "TESTED", "ACCURACY %", "95 % INTERVAL", "REJECTED", "UNSURE"
    );
    for point in points {
        let (accuracy, interval) = match point.accuracy {
            None => ("-".to_owned(), "-".to_owned()),
            Some(Share { value, low, high }) => {
                (format!("{:.2}", value * 100.0), format!("{:.2} to {:.2}", low * 100.0, high * 100.0))
            }
        };
        let Point { round, labelled, bought, tested, rejected, unsure, .. } = point;
        let _ = writeln!(
            text,
            "{round:>5}  {labelled:>8}  {bought:>6}  {tested:>6}  {accuracy:>10}  {interval:>15}  {rejected:>8}  \
             {unsure:>6}"
        );
    }
    text
}
