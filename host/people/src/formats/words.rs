//! How answers are spelt in files.

use std::collections::HashMap;

use querist_protocol::Shown;

use super::FormatError;
use crate::{Answer, Outcome};

/// How "none of my classes" is spelt in every format.
pub const NONE: &str = "__none__";
/// How "unsure" is spelt in every format.
pub const UNSURE: &str = "__unsure__";

/// Classes that a message lists at most.
const MOST_LISTED: usize = 12;

/// The spellings of a run's answers.
#[derive(Debug)]
pub struct Words<'a> {
    classes: &'a [String],
    numbers: HashMap<&'a str, u32>,
}

impl<'a> Words<'a> {
    /// The spellings for these classes.
    ///
    /// # Errors
    /// If a class has a name that means something else in files.
    pub fn of(classes: &'a [String]) -> Result<Self, FormatError> {
        if let Some(taken) = classes.iter().find(|class| [NONE, UNSURE].contains(&class.trim())) {
            let message = format!("`{taken}` is a class of this run and stands for no class in files: give it another");
            return Err(FormatError::Unfit(format!("{message} name")));
        }
        let numbers = classes.iter().enumerate().map(|(number, class)| (class.as_str(), number as u32)).collect();
        Ok(Self { classes, numbers })
    }

    /// All of them, the classes first.
    pub fn all(&self) -> impl Iterator<Item = &'a str> {
        self.classes.iter().map(String::as_str).chain([NONE, UNSURE])
    }

    /// How an answer is spelt; nothing where it is none that counts.
    pub fn spell(&self, answer: Answer) -> Option<&'a str> {
        match answer {
            Answer::Class(class) => self.classes.get(class as usize).map(String::as_str),
            Answer::NoneOfThese => Some(NONE),
            Answer::Unsure => Some(UNSURE),
            Answer::Skip | Answer::Undo => None,
        }
    }

    /// How an outcome is spelt; nothing where there is none yet.
    pub fn spell_outcome(&self, outcome: Outcome) -> Option<&'a str> {
        answer_of(outcome).and_then(|answer| self.spell(answer))
    }

    /// The answer that is spelt like this, with or without blanks around it.
    ///
    /// # Errors
    /// If there is none, with what there is.
    pub fn read(&self, text: &str) -> Result<Answer, String> {
        let bare = text.trim();
        if let Some(&class) = self.numbers.get(text).or_else(|| self.numbers.get(bare)) {
            return Ok(Answer::Class(class));
        }
        match bare {
            NONE => Ok(Answer::NoneOfThese),
            UNSURE => Ok(Answer::Unsure),
            _ => Err(format!("class `{}`, expected {}", Shown::name(text), self.list())),
        }
    }

    fn list(&self) -> String {
        let shown: Vec<String> =
            self.classes.iter().take(MOST_LISTED).map(|class| format!("`{}`", Shown::name(class))).collect();
        let more = self.classes.len().saturating_sub(MOST_LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("a class of the run ({}{more}), `{NONE}` or `{UNSURE}`", shown.join(", "))
    }
}

/// The answer that an outcome amounts to; nothing where there is no outcome yet.
pub(super) fn answer_of(outcome: Outcome) -> Option<Answer> {
    match outcome {
        Outcome::Label(class) => Some(Answer::Class(class)),
        Outcome::Rejected => Some(Answer::NoneOfThese),
        Outcome::Unsure => Some(Answer::Unsure),
        Outcome::Open | Outcome::Disputed => None,
    }
}
