//! The verdict for a terminal.

use super::words::{Mark, contrast};
use super::{Judged, Verdict};

/// Columns of a line.
const WIDTH: usize = 100;
/// Columns before an answer.
const INDENT: usize = 4;

/// The verdict in a few lines a plugin.
pub fn verdict_text(verdict: &Verdict) -> String {
    let mut text = String::new();
    for judged in &verdict.plugins {
        plugin(judged, &mut text);
    }
    for pair in &verdict.between {
        text += &format!("`{}` beside `{}`\n", pair.label, pair.against);
        wrap(&contrast(pair, verdict.suite.worth), INDENT, &mut text);
        text.push('\n');
    }
    text
}

fn plugin(judged: &Judged, text: &mut String) {
    let facts = &judged.facts;
    let digest: String = facts.digest.chars().take(12).collect();
    *text += &format!("`{}` ({} {}, {digest})\n", facts.label, facts.package, facts.version);
    wrap(&judged.headline, 0, text);
    text.push('\n');
    for said in &judged.says {
        let mark = match said.mark {
            Mark::Good => "+",
            Mark::Bad => "!",
            Mark::Open => "?",
            Mark::Plain => "-",
        };
        *text += &format!("  {mark} {}\n", said.question);
        wrap(&said.answer, INDENT, text);
    }
    text.push('\n');
}

/// Words of a sentence in lines, each set in.
fn wrap(sentence: &str, indent: usize, text: &mut String) {
    let mut column = 0;
    for word in sentence.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            text.push('\n');
            column = 0;
        }
        match column {
            0 => *text += &" ".repeat(indent),
            _ => text.push(' '),
        }
        column += if column == 0 { indent + width } else { 1 + width };
        *text += word;
    }
    text.push('\n');
}
