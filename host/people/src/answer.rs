//! What one person says of one picture.

use querist_protocol::Shown;

use crate::PeopleError;

/// Characters of an annotator's name at most.
pub const MOST_ANNOTATOR: usize = 64;
/// Characters of a key, and of a source, at most.
const MOST_KEY: usize = 128;
const MOST_SOURCE: usize = 32;
/// Seconds of an answer at most: a week.
const MOST_SECONDS: f64 = 7.0 * 86_400.0;

/// What one person says of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// It shows this class.
    Class(u32),
    /// It shows none of the classes.
    NoneOfThese,
    /// Nobody can tell from the picture.
    Unsure,
    /// Not now: the picture stays open.
    Skip,
    /// What this person said before does not count.
    Undo,
}

impl Answer {
    /// Whether the picture has an answer by it.
    pub fn counts(self) -> bool {
        !matches!(self, Self::Skip | Self::Undo)
    }
}

/// An answer to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAnswer {
    /// Made by whoever sends it, different for every answer; an answer that is sent twice counts once.
    pub key: String,
    /// The sample.
    pub id: u64,
    /// Who says it.
    pub annotator: String,
    /// What is said.
    pub answer: Answer,
    /// Seconds from the picture's being shown to the answer, where they are known.
    pub seconds: Option<f64>,
    /// Whether the model's guess was seen.
    pub guess_shown: bool,
    /// Whether the person looked because others disagreed; such an answer decides.
    pub third_look: bool,
    /// Where it was said: `page`, or the form of a file.
    pub source: String,
    /// Number of the answer by the same person for the same picture that this one takes the place of; `None` where the
    /// sender knew none.
    pub seen: Option<u64>,
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is on the disk, under this number.
    New(u64),
    /// It was there already, under this number.
    Known(u64),
    /// The same person answered otherwise meanwhile; nothing was recorded.
    Conflict {
        /// Number of the answer that counts; `None` where it was taken back.
        number: Option<u64>,
        /// That answer.
        answer: Option<Answer>,
    },
    /// No such sample is asked for; nothing was recorded.
    Foreign,
    /// There is no such class; nothing was recorded.
    UnknownClass,
}

impl NewAnswer {
    pub(crate) fn check(&self) -> Result<(), PeopleError> {
        let text = |part, text: &str, most: usize| {
            let length = text.chars().count();
            if length == 0 || length > most || text.chars().any(char::is_control) || text.trim() != text {
                let expected = format!("1 to {most} characters, no control characters, no blank at either end");
                return Err(PeopleError::Answer { part, found: format!("`{}`", Shown::name(text)), expected });
            }
            Ok(())
        };
        text("key", &self.key, MOST_KEY)?;
        text("annotator", &self.annotator, MOST_ANNOTATOR)?;
        text("source", &self.source, MOST_SOURCE)?;
        match self.seconds {
            Some(seconds) if !(0.0..=MOST_SECONDS).contains(&seconds) => Err(PeopleError::Answer {
                part: "time",
                found: format!("{seconds} s"),
                expected: format!("0 to {MOST_SECONDS} s"),
            }),
            _ => Ok(()),
        }
    }
}
