//! `querist explain`: what a code means that messages end with, and what to do.

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::codes::{Code, Entry, Group};
use crate::exit::Usage;
use crate::{output, rules};

/// Explain the code of an error, or a rule of `plugin check`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist explain package-imports")]
pub struct ExplainArgs {
    /// The code that a message ends with, or a rule's name [default: all of them].
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = ExplainFormat::Text)]
    format: ExplainFormat,
}

/// Forms of explanations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For pages.
    Markdown,
}

/// Runs the verb.
pub fn main(args: &ExplainArgs) -> Result<()> {
    let groups = groups();
    let Some(code) = &args.code else { return all(&groups, args.format) };
    let mut entries = groups.iter().flat_map(|group| &group.entries);
    let Some(entry) = entries.find(|entry| entry.code == code) else {
        let codes: Vec<String> = groups.iter().flat_map(|group| &group.entries).map(|e| e.code.to_owned()).collect();
        let near = querist_core::schema::suggest(code, &codes);
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message = format!("no code is called `{}`{near} `querist explain` lists all", output::shown(code));
        return Err(Usage(message).into());
    };
    match args.format {
        ExplainFormat::Text => output::text(&text(entry)),
        ExplainFormat::Json => output::line(&serde_json::to_string_pretty(&value(entry))?),
        ExplainFormat::Markdown => output::text(&markdown(entry)),
    }
}

/// Every code that the program can print.
fn groups() -> Vec<Group> {
    vec![
        Group { title: "Failures", entries: Code::ALL.iter().map(|code| code.entry()).collect() },
        Group { title: "Rules of `querist plugin check`", entries: rules::entries() },
    ]
}

fn all(groups: &[Group], format: ExplainFormat) -> Result<()> {
    match format {
        ExplainFormat::Text => {
            let width = groups.iter().flat_map(|group| &group.entries).map(|e| e.code.len()).max().unwrap_or(0);
            let line = |entry: &Entry| format!("  {:<width$}  {}\n", entry.code, entry.means);
            let group =
                |group: &Group| format!("{}\n{}", group.title, group.entries.iter().map(line).collect::<String>());
            output::text(&groups.iter().map(group).collect::<Vec<_>>().join("\n"))
        }
        ExplainFormat::Json => {
            let all: Vec<Value> = groups.iter().flat_map(|group| &group.entries).map(value).collect();
            output::line(&serde_json::to_string_pretty(&all)?)
        }
        ExplainFormat::Markdown => {
            let group = |group: &Group| {
                let entries: Vec<String> = group.entries.iter().map(markdown).collect();
                format!("## {}\n\n{}", group.title, entries.join("\n"))
            };
            output::text(&groups.iter().map(group).collect::<Vec<_>>().join("\n"))
        }
    }
}

fn text(entry: &Entry) -> String {
    let Entry { code, means, cause, advice } = entry;
    format!("{code}\n\n{means}\n\nUsual cause: {cause}\nWhat to do: {advice}\n")
}

fn value(entry: &Entry) -> Value {
    json!({ "code": entry.code, "means": entry.means, "cause": entry.cause, "advice": entry.advice })
}

fn markdown(entry: &Entry) -> String {
    let Entry { code, means, cause, advice } = entry;
    format!("### `{code}`\n\n{means}\n\n- Usual cause: {cause}\n- What to do: {advice}\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_told_once_and_whole() {
        let groups = groups();
        let mut seen = BTreeSet::new();
        for entry in groups.iter().flat_map(|group| &group.entries) {
            let is_code = entry.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            assert!(is_code && seen.insert(entry.code), "{}", entry.code);
            for text in [entry.means, entry.cause, entry.advice] {
                assert!(text.len() > 15, "`{}` is not explained: `{text}`", entry.code);
            }
        }
        assert!(seen.len() > 50);
    }
}
