//! Every answer that was ever given, one a line.
//!
//! Several programs may write at the same time: each takes the file's lock, reads what others wrote, appends its lines in
//! one piece, and returns only when they are on the disk. A line that was cut off by the death of its writer was never
//! reported, and is removed by the next one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use querist_files::{length_of, open_or_create, shown, sync_folder};
use querist_protocol::Shown;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Looks, Stage};
use crate::{Agreement, Answer, NewAnswer, Outcome, PeopleError, Recorded};

/// File of a run folder with all answers.
pub const ANSWERS: &str = "answers.jsonl";

/// Bytes of a line at most; the longest name of a class fits.
const MOST_LINE: usize = 16 << 10;
/// Bytes of the file at most: millions of answers.
const MOST_BYTES: u64 = 4 << 30;

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    stage: Stage,
    id: u64,
    annotator: String,
    answer: Said,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    guess_shown: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    third_look: bool,
    source: String,
    /// Milliseconds since 1970.
    at: u64,
}

/// An answer as it is written: classes by their names, which say something without the batch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Class(String),
    NoneOfThese,
    Unsure,
    Skip,
    Undo,
}

/// The answer of one person that counts for a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// Its number: that of its line, from 0.
    pub number: u64,
    /// Who said it.
    pub annotator: String,
    /// What was said.
    pub answer: Answer,
    /// Seconds that it took, where they are known.
    pub seconds: Option<f64>,
    /// Whether the model's guess was seen.
    pub guess_shown: bool,
    /// Whether others had disagreed before.
    pub third_look: bool,
}

/// The answers of a run, and the batch that more are wanted for.
pub struct Journal {
    path: PathBuf,
    file: File,
    batch: Batch,
    /// Places of the batch's pictures.
    places: HashMap<u64, usize>,
    /// Bytes and lines that were read.
    read: u64,
    lines: u64,
    keys: HashMap<String, u64>,
    /// Of every stage and picture the answers that count.
    effective: HashMap<(Stage, u64), Vec<Effective>>,
    /// Who passed a picture by, and has not answered it since.
    skipped: HashMap<(Stage, u64), Vec<String>>,
    seconds: Vec<f64>,
}

impl Journal {
    /// Opens the answers of a run for a batch that waits; the file is made where there is none.
    ///
    /// # Errors
    /// If the file cannot be read, or holds what no journal of this run holds.
    pub fn open(run: &Path, batch: Batch) -> Result<Self, PeopleError> {
        let path = run.join(ANSWERS);
        let is_new = !path.exists();
        let file = open_or_create(&path)?;
        if is_new {
            sync_folder(run)?;
        }
        let places = batch.pictures.iter().enumerate().map(|(place, picture)| (picture.id, place)).collect();
        let mut journal = Self {
            path,
            file,
            batch,
            places,
            read: 0,
            lines: 0,
            keys: HashMap::new(),
            effective: HashMap::new(),
            skipped: HashMap::new(),
            seconds: Vec::new(),
        };
        journal.refresh()?;
        Ok(journal)
    }

    /// The answers of a run for which nothing waits; none can be recorded.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn history(run: &Path, classes: &[String]) -> Result<Self, PeopleError> {
        let (stage, strategy, folder) = (Stage::Initial, String::new(), PathBuf::new());
        let (classes, looks) = (classes.to_vec(), Looks::One);
        Self::open(run, Batch { version: 1, stage, strategy, classes, folder, looks, pictures: Vec::new() })
    }

    /// The batch.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Reads what was written since the last look.
    ///
    /// # Errors
    /// If that is no journal of this run.
    pub fn refresh(&mut self) -> Result<(), PeopleError> {
        let length = length_of(&self.file, &self.path)?;
        if length > MOST_BYTES {
            return Err(PeopleError::batch(&self.path, format!("{length} bytes, expected at most {MOST_BYTES}")));
        }
        if length < self.read {
            let (path, read) = (&self.path, self.read);
            let message = format!("{length} bytes, though {read} were there before: nobody but Querist may change it");
            return Err(PeopleError::batch(path, message));
        }
        let mut new = Vec::with_capacity((length - self.read) as usize);
        let mut read = || {
            self.file.seek(SeekFrom::Start(self.read))?;
            (&self.file).take(length - self.read).read_to_end(&mut new)
        };
        read().map_err(|error| PeopleError::write(&self.path, error))?;
        let whole = new.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for text in new[..whole].split_inclusive(|&byte| byte == b'\n') {
            self.take(&text[..text.len() - 1])?;
            self.read += text.len() as u64;
            self.lines += 1;
        }
        Ok(())
    }

    /// Records answers: they are on the disk once this returns. Each gets an answer of its own; one that was refused
    /// keeps none of the others from being recorded.
    ///
    /// # Errors
    /// If a text of one is out of bounds, for which nothing is recorded, or the disk refuses.
    pub fn record(&mut self, answers: Vec<NewAnswer>) -> Result<Vec<Recorded>, PeopleError> {
        answers.iter().try_for_each(NewAnswer::check)?;
        self.file.lock().map_err(|error| PeopleError::write(&self.path, error))?;
        let recorded = self.record_locked(answers);
        let unlocked = self.file.unlock().map_err(|error| PeopleError::write(&self.path, error));
        let recorded = recorded?;
        unlocked?;
        Ok(recorded)
    }

    fn record_locked(&mut self, answers: Vec<NewAnswer>) -> Result<Vec<Recorded>, PeopleError> {
        self.refresh()?;
        let failed = |error| PeopleError::write(&self.path, error);
        // What stands behind the last whole line was cut off, and nobody was told that it is there.
        self.file.set_len(self.read).map_err(failed)?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut text = Vec::new();
        let mut recorded = Vec::with_capacity(answers.len());
        let mut number = self.lines;
        // What counts of a person for a picture after the answers before it, which are not on the disk yet.
        let mut pending: HashMap<(u64, String), Option<Effective>> = HashMap::new();
        let mut keys: HashMap<String, u64> = HashMap::new();
        for answer in answers {
            let known = self.keys.get(&answer.key).or_else(|| keys.get(&answer.key));
            if let Some(&number) = known {
                recorded.push(Recorded::Known(number));
                continue;
            }
            let place = (answer.id, answer.annotator.clone());
            let counts = match pending.get(&place) {
                Some(counts) => counts.clone(),
                None => self.of_person(answer.id, &answer.annotator).cloned(),
            };
            if let Some(refused) = self.refused(&answer, counts.as_ref()) {
                recorded.push(refused);
                continue;
            }
            keys.insert(answer.key.clone(), number);
            pending.insert(place, after(counts, &answer, number));
            let line = self.line(answer, at);
            serde_json::to_writer(&mut text, &line)
                .map_err(|error| PeopleError::batch(&self.path, error.to_string()))?;
            text.push(b'\n');
            recorded.push(Recorded::New(number));
            number += 1;
        }
        let mut write = || {
            self.file.seek(SeekFrom::Start(self.read))?;
            self.file.write_all(&text)?;
            self.file.sync_data()
        };
        if !text.is_empty() {
            write().map_err(|error| PeopleError::write(&self.path, error))?;
            self.refresh()?;
        }
        Ok(recorded)
    }

    /// Why an answer cannot be recorded.
    fn refused(&self, answer: &NewAnswer, counts: Option<&Effective>) -> Option<Recorded> {
        if !self.places.contains_key(&answer.id) {
            return Some(Recorded::Foreign);
        }
        if matches!(answer.answer, Answer::Class(class) if class as usize >= self.batch.classes.len()) {
            return Some(Recorded::UnknownClass);
        }
        let number = counts.map(|counts| counts.number);
        (answer.seen != number).then(|| Recorded::Conflict { number, answer: counts.map(|counts| counts.answer) })
    }

    fn line(&self, answer: NewAnswer, at: u64) -> Line {
        let said = match answer.answer {
            Answer::Class(class) => Said::Class(self.batch.classes[class as usize].clone()),
            Answer::NoneOfThese => Said::NoneOfThese,
            Answer::Unsure => Said::Unsure,
            Answer::Skip => Said::Skip,
            Answer::Undo => Said::Undo,
        };
        let NewAnswer { key, id, annotator, seconds, guess_shown, third_look, source, .. } = answer;
        let stage = self.batch.stage;
        Line { key, stage, id, annotator, answer: said, seconds, guess_shown, third_look, source, at }
    }

    /// Takes a whole line.
    fn take(&mut self, text: &[u8]) -> Result<(), PeopleError> {
        let (path, line) = (shown(&self.path), self.lines + 1);
        let wrong = |message: String| PeopleError::Line { path: path.clone(), line, message };
        if text.len() > MOST_LINE {
            return Err(wrong(format!("{} bytes, expected at most {MOST_LINE}", text.len())));
        }
        let said: Line = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        let answer = match &said.answer {
            Said::Class(name) => match self.batch.class(name) {
                Some(class) => Answer::Class(class),
                None => {
                    let name = Shown::name(name);
                    return Err(wrong(format!("class `{name}` is none of the run's: its list of classes was changed")));
                }
            },
            Said::NoneOfThese => Answer::NoneOfThese,
            Said::Unsure => Answer::Unsure,
            Said::Skip => Answer::Skip,
            Said::Undo => Answer::Undo,
        };
        let place = (said.stage, said.id);
        let passed = self.skipped.entry(place).or_default();
        passed.retain(|annotator| *annotator != said.annotator);
        if answer == Answer::Skip {
            passed.push(said.annotator.clone());
        }
        if answer.counts() {
            self.seconds.extend(said.seconds);
        }
        let counts = self.effective.entry(place).or_default();
        if answer != Answer::Skip {
            counts.retain(|other| other.annotator != said.annotator);
        }
        if answer.counts() {
            counts.push(Effective {
                number: self.lines,
                annotator: said.annotator,
                answer,
                seconds: said.seconds,
                guess_shown: said.guess_shown,
                third_look: said.third_look,
            });
        }
        self.keys.insert(said.key, self.lines);
        Ok(())
    }

    /// The answers to a picture of the batch that count: of each person the last that was not taken back, in the order
    /// in which they were given.
    pub fn effective(&self, id: u64) -> &[Effective] {
        self.effective.get(&(self.batch.stage, id)).map_or(&[], Vec::as_slice)
    }

    /// What the answers to one picture of the batch come to.
    pub fn outcome(&self, id: u64) -> Outcome {
        Outcome::of(self.effective(id), self.batch.looks)
    }

    /// Place of a picture in the batch.
    pub fn place(&self, id: u64) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// How many answers were ever given, those that do not count any more among them.
    pub fn count(&self) -> u64 {
        self.lines
    }

    /// The answer of one person to a picture of the batch that counts.
    pub fn of_person(&self, id: u64, annotator: &str) -> Option<&Effective> {
        self.effective(id).iter().find(|answer| answer.annotator == annotator)
    }

    /// What the answers come to, for each picture of the batch in its order.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.batch.pictures.iter().map(|picture| self.outcome(picture.id)).collect()
    }

    /// Whether a person passed a picture of the batch by, and has not answered it since.
    pub fn skipped(&self, id: u64, annotator: &str) -> bool {
        let passed = self.skipped.get(&(self.batch.stage, id));
        passed.is_some_and(|passed| passed.iter().any(|other| other == annotator))
    }

    /// Seconds that answers of the whole run took, where they are known, in their order.
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// How well every two people agree on the pictures of the whole run that both answered.
    pub fn agreement(&self) -> Vec<Agreement> {
        Agreement::of(self.effective.values().map(Vec::as_slice))
    }
}

/// What counts of a person for a picture after one more answer.
fn after(counts: Option<Effective>, answer: &NewAnswer, number: u64) -> Option<Effective> {
    match answer.answer {
        Answer::Skip => counts,
        Answer::Undo => None,
        said => Some(Effective {
            number,
            annotator: answer.annotator.clone(),
            answer: said,
            seconds: answer.seconds,
            guess_shown: answer.guess_shown,
            third_look: answer.third_look,
        }),
    }
}
