//! Who gets which picture, and what was answered.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use querist_people::{Batch, Journal, NewAnswer, Outcome, PeopleError, Recorded, Stamp};
use serde_json::{Value, json};

use super::examples::Examples;
use super::said::{self, LEASE, Queue, Who};

/// Example pictures of a class at most.
pub(super) const MOST_EXAMPLES: usize = 12;

/// The batch that waits, its answers, and who looks at what.
pub(super) struct Desk {
    run: PathBuf,
    journal: Journal,
    /// Tells the file of the batch from every other one.
    stamp: Option<Stamp>,
    /// Goes up with every other batch.
    pub generation: u64,
    outcomes: Vec<Outcome>,
    /// How many answers `outcomes` knows.
    known: u64,
    /// Who has a picture before them, by its place.
    leases: HashMap<usize, Vec<Lease>>,
    /// Of each person how many pictures are answered and left, with the number of answers that this was counted after.
    shares: HashMap<String, (u64, [usize; 2])>,
    agreement: (u64, Value),
    /// Pictures of earlier batches, and their files.
    earlier: Examples,
    trouble: Option<String>,
}

struct Lease {
    annotator: String,
    seat: String,
    since: Instant,
}

impl Desk {
    pub fn open(run: &Path, batch: Batch) -> Result<Self, PeopleError> {
        let (run, stamp) = (run.to_owned(), Batch::stamp(run));
        let journal = Journal::open(&run, batch)?;
        let (outcomes, known) = (journal.outcomes(), journal.count());
        let (leases, shares, agreement) = (HashMap::new(), HashMap::new(), (u64::MAX, Value::Null));
        let (generation, earlier, trouble) = (0, Examples::new(), None);
        Ok(Self { run, journal, stamp, generation, outcomes, known, leases, shares, agreement, earlier, trouble })
    }

    /// The same with examples from rounds before.
    #[must_use]
    pub fn with_examples(mut self, earlier: Examples) -> Self {
        self.earlier = earlier;
        self
    }

    pub fn batch(&self) -> &Batch {
        self.journal.batch()
    }

    /// Whether somebody still waits for answers to the batch.
    pub fn waits(&self) -> bool {
        self.stamp.is_some()
    }

    /// Looks at what others wrote: answers, and another batch in the place of this one.
    pub fn refresh(&mut self) -> Result<(), PeopleError> {
        let stamp = Batch::stamp(&self.run);
        if stamp.is_some() && stamp != self.stamp {
            // Between the two looks it may have gone again.
            if let Some(batch) = Batch::read(&self.run)? {
                let generation = self.generation + 1;
                let next = Self::open(&self.run, batch)?;
                self.keep_examples();
                let earlier = std::mem::take(&mut self.earlier);
                *self = Self { generation, earlier, ..next };
            }
        }
        self.stamp = stamp;
        self.journal.refresh()?;
        self.see(&[]);
        Ok(())
    }

    /// Brings outcomes up to date; `touched` has the pictures of all answers that came since, if these are known.
    fn see(&mut self, touched: &[u64]) {
        let new = self.journal.count() - self.known;
        if new == touched.len() as u64 {
            for &id in touched {
                if let Some(place) = self.journal.place(id) {
                    self.outcomes[place] = self.journal.outcome(id);
                }
            }
        } else {
            self.outcomes = self.journal.outcomes();
        }
        self.known = self.journal.count();
    }

    /// Records answers of one person; they are on the disk once this returns.
    pub fn record(&mut self, answers: Vec<NewAnswer>, who: &Who) -> Result<Vec<Recorded>, PeopleError> {
        let ids: Vec<u64> = answers.iter().map(|answer| answer.id).collect();
        let recorded = self.journal.record(answers)?;
        let both = ids.iter().zip(&recorded);
        let touched: Vec<u64> =
            both.filter(|(_, recorded)| matches!(recorded, Recorded::New(_))).map(|(&id, _)| id).collect();
        self.see(&touched);
        for id in ids {
            if let Some(leases) = self.journal.place(id).and_then(|place| self.leases.get_mut(&place)) {
                leases.retain(|lease| lease.seat != who.seat);
            }
        }
        Ok(recorded)
    }

    /// Gives out pictures that nobody else has before them; those that were passed by come once nothing else is left.
    pub fn deal(&mut self, who: &Who, queue: Queue, want: usize, held: &[u64]) -> Vec<usize> {
        let now = Instant::now();
        let held: Vec<usize> = held.iter().filter_map(|&id| self.journal.place(id)).collect();
        self.leases.retain(|_, leases| {
            leases.retain(|lease| now.duration_since(lease.since) < LEASE);
            !leases.is_empty()
        });
        let mut dealt = Vec::new();
        let mut passed = Vec::new();
        for place in 0..self.outcomes.len() {
            if dealt.len() == want {
                break;
            }
            if held.contains(&place) || !self.may_have(who, queue, place) {
                continue;
            }
            let id = self.batch().pictures[place].id;
            if self.journal.skipped(id, &who.annotator) {
                passed.push(place);
            } else {
                dealt.push(place);
            }
        }
        // Whoever has a picture left is not shown again what they did not want to see.
        if dealt.is_empty() && held.is_empty() {
            dealt.extend(passed.into_iter().take(want));
        }
        // What the tab has answered meanwhile it has no more.
        let kept: Vec<usize> = held.into_iter().filter(|&place| self.may_have(who, queue, place)).collect();
        for &place in kept.iter().chain(&dealt) {
            let leases = self.leases.entry(place).or_default();
            leases.retain(|lease| lease.seat != who.seat);
            leases.push(Lease { annotator: who.annotator.clone(), seat: who.seat.clone(), since: now });
        }
        dealt
    }

    /// A tab was closed: what it had is for others.
    pub fn leave(&mut self, who: &Who) {
        self.leases.retain(|_, leases| {
            leases.retain(|lease| lease.seat != who.seat);
            !leases.is_empty()
        });
    }

    /// Whether a person can be shown a picture: answers are missing that nobody else is about to give.
    fn may_have(&self, who: &Who, queue: Queue, place: usize) -> bool {
        let id = self.batch().pictures[place].id;
        let missing = match (queue, self.outcomes[place]) {
            (Queue::Disputed, Outcome::Disputed) => 1,
            (Queue::Open, Outcome::Open) if self.journal.of_person(id, &who.annotator).is_none() => {
                self.batch().looks.count() - self.journal.effective(id).len()
            }
            _ => return false,
        };
        let others = self.leases.get(&place).map_or(&[][..], Vec::as_slice);
        let others: Vec<&Lease> = others.iter().filter(|lease| lease.seat != who.seat).collect();
        // The same person in another tab is no second person.
        others.len() < missing && others.iter().all(|lease| lease.annotator != who.annotator)
    }

    /// A picture as a tab has it that is to answer it.
    pub fn shown(&self, who: &Who, place: usize) -> Value {
        let (batch, picture) = (self.batch(), &self.batch().pictures[place]);
        let mine = self.journal.of_person(picture.id, &who.annotator);
        // Which two answers there are may be seen, and not whose they are.
        let disputed = (self.outcomes[place] == Outcome::Disputed).then(|| {
            let mut answers: Vec<Value> =
                self.journal.effective(picture.id).iter().map(|one| said::answer(one.answer, batch)).collect();
            answers.sort_by_key(Value::to_string);
            answers.dedup();
            answers
        });
        let guess = picture
            .guess
            .map(|guess| json!({ "class": batch.classes[guess.class as usize], "probability": guess.probability }));
        json!({
            "id": picture.id, "place": place, "name": picture.name, "score": picture.score, "guess": guess,
            "skipped": self.journal.skipped(picture.id, &who.annotator), "disputed": disputed,
            "outcome": said::outcome(self.outcomes[place]),
            "mine": mine.map(|mine| json!({ "number": mine.number, "answer": said::answer(mine.answer, batch) })),
        })
    }

    /// Everybody's answers to a picture: for whoever has answered it.
    pub fn answers(&self, id: u64) -> Value {
        let effective = self.journal.effective(id).iter();
        let said = effective.map(|one| {
            let answer = said::answer(one.answer, self.batch());
            json!({ "annotator": one.annotator, "answer": answer, "third_look": one.third_look })
        });
        said.collect()
    }

    /// Keeps some pictures of each class of a batch that is done.
    fn keep_examples(&mut self) {
        let mut kept: HashMap<u32, Vec<(u64, PathBuf)>> = HashMap::new();
        for (picture, outcome) in self.batch().pictures.iter().zip(&self.outcomes) {
            let Outcome::Label(class) = *outcome else { continue };
            let files = kept.entry(class).or_default();
            if files.len() < MOST_EXAMPLES {
                files.push((picture.id, self.batch().path(picture)));
            }
        }
        let classes = self.batch().classes.clone();
        let named = kept.into_iter().filter_map(|(class, files)| Some((classes.get(class as usize)?.clone(), files)));
        self.earlier.extend(named);
    }

    /// Pictures that people gave this class, the last first, and after them those of earlier batches.
    pub fn examples(&self, class: u32) -> Vec<u64> {
        let mut found: Vec<(u64, u64)> = Vec::new();
        for (picture, outcome) in self.batch().pictures.iter().zip(&self.outcomes) {
            if *outcome == Outcome::Label(class) {
                let last = self.journal.effective(picture.id).iter().map(|one| one.number).max();
                found.push((last.unwrap_or(0), picture.id));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        let earlier = self.batch().classes.get(class as usize).and_then(|name| self.earlier.get(name));
        let earlier = earlier.into_iter().flatten().map(|(id, _)| *id);
        found.into_iter().map(|(_, id)| id).chain(earlier).take(MOST_EXAMPLES).collect()
    }

    /// Where the file of a picture lies.
    pub fn path(&self, id: u64) -> Option<PathBuf> {
        match self.journal.place(id) {
            Some(place) => Some(self.batch().path(&self.batch().pictures[place])),
            None => self.earlier.values().flatten().find(|(known, _)| *known == id).map(|(_, path)| path.clone()),
        }
    }

    /// How far everybody is.
    pub fn state(&mut self, who: &Who) -> Value {
        if let Err(error) = self.refresh() {
            self.trouble = Some(error.to_string());
        } else {
            self.trouble = None;
        }
        let mut outcomes = json!({ "open": 0, "disputed": 0, "label": 0, "rejected": 0, "unsure": 0 });
        let mut counts = HashMap::new();
        for &outcome in &self.outcomes {
            *counts.entry(said::outcome(outcome)).or_insert(0_usize) += 1;
        }
        for (outcome, count) in counts {
            outcomes[outcome] = json!(count);
        }
        let [answered, left] = self.share(&who.annotator);
        let pace = said::pace(self.journal.seconds());
        json!({
            "generation": self.generation, "waits": self.waits(), "answers": self.known, "outcomes": outcomes,
            "mine": { "answered": answered, "left": left }, "seconds": pace,
            "agreement": self.agreement(), "trouble": self.trouble,
        })
    }

    /// How many pictures a person answered, and how many they can answer still.
    fn share(&mut self, annotator: &str) -> [usize; 2] {
        // More names than people: somebody asks for the sake of it.
        if self.shares.len() > 1000 {
            self.shares.clear();
        }
        if let Some(&(known, share)) = self.shares.get(annotator).filter(|(known, _)| *known == self.known) {
            debug_assert_eq!(known, self.known);
            return share;
        }
        let mut share = [0; 2];
        for (picture, outcome) in self.batch().pictures.iter().zip(&self.outcomes) {
            if self.journal.of_person(picture.id, annotator).is_some() {
                share[0] += 1;
            } else if *outcome == Outcome::Open {
                share[1] += 1;
            }
        }
        self.shares.insert(annotator.to_owned(), (self.known, share));
        share
    }

    fn agreement(&mut self) -> Value {
        if self.agreement.0 != self.known {
            let classes = &self.journal.batch().classes;
            let pairs = self.journal.agreement().into_iter().map(|pair| {
                let class = |(class, kappa): (&u32, &Option<f64>)| {
                    json!({ "class": classes.get(*class as usize), "kappa": kappa })
                };
                let by_class: Vec<Value> = pair.classes.iter().map(class).collect();
                json!({
                    "annotators": pair.annotators, "pictures": pair.pictures, "agreed": pair.agreed,
                    "kappa": pair.kappa, "classes": by_class,
                })
            });
            self.agreement = (self.known, pairs.collect());
        }
        self.agreement.1.clone()
    }
}
