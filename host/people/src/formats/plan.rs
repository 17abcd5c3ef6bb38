//! What the answers of a file mean for a run.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Write as _};

use querist_protocol::Shown;
use sha2::{Digest, Sha256};

use super::names::Places;
use super::words::answer_of;
use super::{Format, FormatError, Found, Line, Words, Wrong};
use crate::batch::Looks;
use crate::{Answer, Effective, Journal, NewAnswer, Outcome, PeopleError, Recorded};

/// How a file is taken.
#[derive(Debug, Clone)]
pub struct How {
    /// Its format.
    pub format: Format,
    /// Who gave the answers where the file does not say.
    pub annotator: Option<String>,
    /// Whether answers of the file take the place of those that they contradict.
    pub replace: bool,
}

/// An answer that contradicts what was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Where the answer stands.
    pub place: String,
    /// The picture.
    pub name: String,
    /// What the file says, and who said it.
    pub said: (String, String),
    /// What was recorded: answers, with who gave them and under which number.
    pub recorded: Vec<(String, String, u64)>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [place, name, said, by] =
            [&self.place, &self.name, &self.said.0, &self.said.1].map(|text| Shown::name(text));
        write!(f, "{place}: {by} says `{said}` of `{name}`, where ")?;
        for (number, (said, by, line)) in self.recorded.iter().enumerate() {
            let (said, by) = (Shown::name(said), Shown::name(by));
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{by} says `{said}` (answer {line})")?;
        }
        Ok(())
    }
}

/// What is to be recorded of a file, and what speaks against it.
#[derive(Debug, Default)]
pub struct Plan {
    /// Answers that are not known yet.
    pub new: Vec<NewAnswer>,
    /// How many of them take the place of others.
    pub replacing: usize,
    /// Answers that were recorded already.
    pub known: usize,
    /// Pictures of the file without an answer.
    pub unanswered: usize,
    /// Answers that contradict what was recorded, unless they replace it.
    pub conflicts: Vec<Conflict>,
    /// What cannot be taken.
    pub wrong: Vec<Wrong>,
}

impl Plan {
    /// Compares a file with what was recorded.
    ///
    /// # Errors
    /// If a class of the run has a name that means something else in files.
    pub fn of(journal: &Journal, found: Found, how: &How) -> Result<Self, FormatError> {
        let batch = journal.batch();
        let words = Words::of(&batch.classes)?;
        let outcomes = journal.outcomes();
        let mut planner = Planner { journal, how, words, outcomes, places: Places::of(batch), seen: HashMap::new() };
        let mut plan = Self { unanswered: found.unanswered, ..Self::default() };
        for line in found.lines {
            let taken = line.and_then(|line| {
                let place = line.place.clone();
                planner.take(line, &mut plan).map_err(|message| Wrong { place, message })
            });
            plan.wrong.extend(taken.err());
        }
        plan.withdraw_doubtful(&planner);
        // What takes the place of its giver's own answer has seen it; what others said it overrules.
        plan.replacing = plan.new.iter().filter(|new| new.seen.is_some() || new.third_look).count();
        Ok(plan)
    }

    /// Where a file has two answers of one person for one picture, neither counts.
    fn withdraw_doubtful(&mut self, planner: &Planner<'_>) {
        let is_doubtful = |id: u64, annotator: &str| {
            let seen = planner.seen.get(&(id, annotator.to_owned()));
            seen.is_some_and(|seen| seen.is_doubtful)
        };
        self.new.retain(|answer| !is_doubtful(answer.id, &answer.annotator));
    }

    /// Records what is new.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn record(&self, journal: &mut Journal) -> Result<Vec<Recorded>, PeopleError> {
        journal.record(self.new.clone())
    }
}

/// What a file said before of one picture by one person.
struct Seen {
    place: String,
    answer: Answer,
    is_doubtful: bool,
}

struct Planner<'a> {
    journal: &'a Journal,
    how: &'a How,
    words: Words<'a>,
    outcomes: Vec<Outcome>,
    places: Places<'a>,
    seen: HashMap<(u64, String), Seen>,
}

impl Planner<'_> {
    /// Puts a line where it belongs, or says what is wrong with it.
    fn take(&mut self, line: Line, plan: &mut Plan) -> Result<(), String> {
        let at = self.places.find(&line.which)?;
        if line.label.trim().is_empty() {
            return Err(format!("an empty answer, expected a class, `{}` or `{}`", super::NONE, super::UNSURE));
        }
        let answer = self.words.read(&line.label)?;
        let picture = &self.journal.batch().pictures[at];
        let annotator = line.annotator.clone().or_else(|| self.how.annotator.clone());
        let annotator = annotator.unwrap_or_else(|| self.how.format.name().to_owned());
        match self.seen.entry((picture.id, annotator.clone())) {
            Entry::Occupied(before) if before.get().answer == answer => return Ok(()),
            Entry::Occupied(mut before) => {
                let Seen { place, answer, is_doubtful } = before.get_mut();
                *is_doubtful = true;
                let (before, name) = (self.words.spell(*answer).unwrap_or_default(), Shown::name(&picture.name));
                let [said, before] = [line.label.trim(), before].map(Shown::name);
                let place = Shown::name(place);
                return Err(format!("`{said}` for `{name}`, which {place} says is `{before}`: one of both"));
            }
            Entry::Vacant(first) => {
                first.insert(Seen { place: line.place.clone(), answer, is_doubtful: false });
            }
        }
        let effective = self.journal.effective(picture.id);
        let own = effective.iter().find(|other| other.annotator == annotator);
        let says_who = line.annotator.is_some() || self.how.annotator.is_some();
        if own.is_some_and(|own| own.answer == answer) || (!says_who && answer_of(self.outcomes[at]) == Some(answer)) {
            plan.known += 1;
            return Ok(());
        }
        let mut new = NewAnswer {
            key: String::new(),
            id: picture.id,
            annotator,
            answer,
            seconds: line.seconds,
            guess_shown: line.guess_shown,
            third_look: false,
            source: self.how.format.name().to_owned(),
            seen: own.map(|own| own.number),
        };
        let contradicted = self.contradicted(&new, own, effective, self.outcomes[at], says_who);
        let is_conflict = !contradicted.is_empty();
        // It decides against what others said, too.
        new.third_look = is_conflict && contradicted.iter().any(|other| other.annotator != new.annotator);
        new.key = self.key(&new);
        new.check().map_err(|error| error.to_string())?;
        if is_conflict && !self.how.replace {
            plan.conflicts.push(self.conflict(line.place, &picture.name, &new, &contradicted));
            return Ok(());
        }
        plan.new.push(new);
        Ok(())
    }

    /// The recorded answers that a new one speaks against: its giver's own and, where one look was enough or the file
    /// does not say who looked, those that decided.
    fn contradicted<'e>(
        &self,
        new: &NewAnswer,
        own: Option<&'e Effective>,
        effective: &'e [Effective],
        outcome: Outcome,
        says_who: bool,
    ) -> Vec<&'e Effective> {
        let is_decided = answer_of(outcome).is_some_and(|decided| decided != new.answer);
        if is_decided && (!says_who || self.journal.batch().looks == Looks::One) {
            return effective.iter().filter(|other| other.answer != new.answer).collect();
        }
        own.into_iter().collect()
    }

    fn conflict(&self, place: String, name: &str, new: &NewAnswer, contradicted: &[&Effective]) -> Conflict {
        let spell = |answer| self.words.spell(answer).unwrap_or_default().to_owned();
        let recorded = |other: &&Effective| (spell(other.answer), other.annotator.clone(), other.number);
        Conflict {
            place,
            name: name.to_owned(),
            said: (spell(new.answer), new.annotator.clone()),
            recorded: contradicted.iter().map(recorded).collect(),
        }
    }

    /// The same for the same answer to the same state of things, so that a file that is read twice counts once.
    fn key(&self, new: &NewAnswer) -> String {
        let stage = self.journal.batch().stage;
        let said = self.words.spell(new.answer).unwrap_or_default();
        let NewAnswer { id, annotator, source, seen, third_look, .. } = new;
        let parts = serde_json::json!([stage, id, annotator, said, source, seen, third_look]);
        key(&parts)
    }
}

/// A key of an answer, made of what tells it from others.
pub(super) fn key(parts: &serde_json::Value) -> String {
    let digest = Sha256::digest(parts.to_string());
    digest.iter().fold("file-".to_owned(), |mut key, byte| {
        // Strings take everything.
        let _ = write!(key, "{byte:02x}");
        key
    })
}
