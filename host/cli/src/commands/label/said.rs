//! What the page sends, and what it is told, as JSON.

use std::time::Duration;

use querist_people::{Answer, Batch, MOST_ANNOTATOR, NewAnswer, Outcome, Recorded};
use serde::Deserialize;
use serde_json::{Value, json};

/// Answers that are sent at once at most.
pub(super) const MOST_ANSWERS: usize = 500;
/// Pictures that are dealt or listed at once at most.
pub(super) const MOST_PICTURES: usize = 500;

/// Who asks, in which tab of which browser.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    pub annotator: String,
    /// Made by the tab.
    pub seat: String,
}

impl Who {
    pub fn check(&self) -> Result<(), String> {
        check_annotator(&self.annotator)?;
        if self.seat.is_empty() || self.seat.len() > 64 {
            return Err("`seat` has 1 to 64 bytes".to_owned());
        }
        Ok(())
    }
}

/// Which pictures are dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Queue {
    /// Those that answers are missing for.
    Open,
    /// Those that people disagree about.
    Disputed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deal {
    pub who: Who,
    pub queue: Queue,
    /// How many pictures more.
    pub want: usize,
    /// Those that the tab has.
    pub held: Vec<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    pub who: Who,
    pub from: usize,
    pub count: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub who: Who,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Examples {
    pub class: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answers {
    pub who: Who,
    pub answers: Vec<Sent>,
}

/// An answer. Classes come by their names: numbers would mean others where a list was changed meanwhile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    pub key: String,
    pub id: u64,
    pub answer: Says,
    pub seconds: Option<f64>,
    pub guess_shown: bool,
    pub third_look: bool,
    pub seen: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Says {
    Class(String),
    NoneOfThese,
    Unsure,
    Skip,
    Undo,
}

impl Sent {
    /// The same for the journal; a class that is none of the batch's becomes a number that none of them has.
    pub fn for_journal(self, annotator: &str, batch: &Batch) -> NewAnswer {
        let answer = match self.answer {
            Says::Class(name) => Answer::Class(batch.class(&name).unwrap_or(u32::MAX)),
            Says::NoneOfThese => Answer::NoneOfThese,
            Says::Unsure => Answer::Unsure,
            Says::Skip => Answer::Skip,
            Says::Undo => Answer::Undo,
        };
        let Self { key, id, seconds, guess_shown, third_look, seen, .. } = self;
        let (annotator, source) = (annotator.to_owned(), "page".to_owned());
        NewAnswer { key, id, annotator, answer, seconds, guess_shown, third_look, source, seen }
    }
}

/// Checks a name before it is used anywhere.
pub(super) fn check_annotator(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if length == 0 || length > MOST_ANNOTATOR || name.trim() != name || name.chars().any(char::is_control) {
        return Err(format!(
            "the name of whoever answers has 1 to {MOST_ANNOTATOR} characters, no blank at either end"
        ));
    }
    Ok(())
}

/// An answer as the page has it.
pub(super) fn answer(answer: Answer, batch: &Batch) -> Value {
    match answer {
        Answer::Class(class) => json!({ "class": batch.classes.get(class as usize) }),
        Answer::NoneOfThese => json!("none-of-these"),
        Answer::Unsure => json!("unsure"),
        Answer::Skip => json!("skip"),
        Answer::Undo => json!("undo"),
    }
}

pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Open => "open",
        Outcome::Disputed => "disputed",
        Outcome::Label(_) => "label",
        Outcome::Rejected => "rejected",
        Outcome::Unsure => "unsure",
    }
}

/// What became of an answer, as the page is told.
pub(super) fn recorded(recorded: &Recorded, batch: &Batch) -> Value {
    match recorded {
        Recorded::New(number) => json!({ "said": "new", "number": number }),
        Recorded::Known(number) => json!({ "said": "known", "number": number }),
        Recorded::Conflict { number, answer: before } => {
            let before = before.map(|before| answer(before, batch));
            json!({ "said": "conflict", "number": number, "answer": before })
        }
        Recorded::Foreign => json!({ "said": "foreign" }),
        Recorded::UnknownClass => json!({ "said": "unknown-class" }),
    }
}

/// The middle of the last times, in seconds: what an answer takes now, whatever the first ones took.
pub(super) fn pace(seconds: &[f64]) -> Option<f64> {
    const LAST: usize = 101;
    let mut last = seconds[seconds.len().saturating_sub(LAST)..].to_vec();
    last.sort_by(f64::total_cmp);
    last.get(last.len() / 2).copied()
}

/// How long a picture that one tab has is kept from others.
pub(super) const LEASE: Duration = Duration::from_secs(300);
