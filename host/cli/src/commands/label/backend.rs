//! What Label Studio asks of a model behind it, and what it tells of answers: questions in, replies out.
//!
//! `/health`, `/setup` and `/predict` are asked for predictions: the ranks of the batch that waits. `/webhook` hears of
//! every annotation, whose answer is on the disk before the reply. `/train` and the button behind it only ask whether
//! the batch is complete, for labels train and nothing else does.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use querist_people::formats::label_studio::{self, Annotation, Task};
use querist_people::{Batch, Journal, Recorded, Stamp};
use querist_protocol::Shown;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::loopback::{Asked, Method, Reply, Site};
use crate::output;

/// Bytes that may be sent at once: a thousand tasks with long fields.
const MOST_SENT: usize = 32 << 20;

/// The model behind a project of Label Studio: one run.
pub struct Backend {
    run: PathBuf,
    guesses: bool,
    state: Mutex<State>,
}

/// What waits.
struct State {
    journal: Option<Journal>,
    /// What the batch's file looked like when it was read.
    stamp: Option<Stamp>,
    /// Name of the last predictions.
    version: String,
}

impl Backend {
    /// The backend of a run folder, whose batch waits or is yet to come.
    pub fn new(run: &Path, guesses: bool) -> Result<Self> {
        let state = State { journal: None, stamp: None, version: "querist".to_owned() };
        let backend = Self { run: run.to_owned(), guesses, state: Mutex::new(state) };
        drop(backend.now()?);
        Ok(backend)
    }

    /// What waits now, with all answers that others recorded, too.
    fn now(&self) -> Result<MutexGuard<'_, State>> {
        // A poisoned lock only means that another thread panicked; what counts is on the disk.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Batch::stamp(&self.run);
        if stamp != state.stamp || state.journal.is_none() {
            let batch = Batch::read(&self.run)?;
            if let Some(batch) = &batch {
                state.version = label_studio::model_version(batch);
            }
            state.journal = batch.map(|batch| Journal::open(&self.run, batch)).transpose()?;
            state.stamp = stamp;
        }
        if let Some(journal) = &mut state.journal {
            journal.refresh()?;
        }
        Ok(state)
    }

    /// Pictures that still need an answer; nothing where no batch waits.
    pub fn open(&self) -> Result<Option<usize>> {
        let state = self.now()?;
        let open = |journal: &Journal| journal.outcomes().iter().filter(|outcome| !outcome.is_final()).count();
        Ok(state.journal.as_ref().map(open))
    }

    /// The stage that waits.
    pub fn stage(&self) -> Result<Option<String>> {
        Ok(self.now()?.journal.as_ref().map(|journal| journal.batch().stage.to_string()))
    }

    fn setup(&self) -> Result<Reply> {
        Ok(Reply::json(&json!({ "model_version": self.now()?.version })))
    }

    fn versions(&self) -> Result<Reply> {
        Ok(Reply::json(&json!({ "versions": [self.now()?.version] })))
    }

    fn predict(&self, body: &[u8]) -> Result<Reply> {
        #[derive(Deserialize)]
        struct Wanted {
            tasks: Vec<Task>,
        }

        let wanted: Wanted = match parsed(body) {
            Ok(wanted) => wanted,
            Err(refusal) => return Ok(refusal),
        };
        let state = self.now()?;
        let results =
            label_studio::predictions(state.journal.as_ref().map(Journal::batch), &wanted.tasks, self.guesses);
        Ok(Reply::json(&json!({ "results": results, "model_version": state.version })))
    }

    fn heard(&self, body: &[u8]) -> Result<Reply> {
        let event: Event = match parsed(body) {
            Ok(event) => event,
            Err(refusal) => return Ok(refusal),
        };
        match event.action.as_str() {
            "ANNOTATION_CREATED" | "ANNOTATION_UPDATED" | "ANNOTATIONS_CREATED" => self.take(&event),
            "START_TRAINING" => self.train(),
            "ANNOTATIONS_DELETED" => {
                output::note("note: annotations were deleted in Label Studio; what they said stays recorded");
                Ok(Reply::json(&json!({ "recorded": 0 })))
            }
            _ => Ok(Reply::json(&json!({ "recorded": 0 }))),
        }
    }

    /// Records the answers that an event tells of, all that can be; what cannot is refused with its reason.
    fn take(&self, event: &Event) -> Result<Reply> {
        let mut state = self.now()?;
        let Some(journal) = &mut state.journal else {
            return Ok(refused("nothing waits for labels: the next round is on its way"));
        };
        let (mut new, mut wrong) = (Vec::new(), Vec::new());
        for (annotation, task) in event.pairs() {
            match task.ok_or("an annotation without its task".to_owned()) {
                Ok(task) => match label_studio::answer(journal, task, annotation) {
                    Ok(answer) => new.extend(answer),
                    Err(message) => wrong.push(message),
                },
                Err(message) => wrong.push(message),
            }
        }
        let recorded = journal.record(new)?;
        wrong.extend(recorded.iter().filter_map(|one| match one {
            Recorded::New(_) | Recorded::Known(_) => None,
            other => Some(format!("not taken: {other:?}")),
        }));
        let count = recorded.iter().filter(|one| matches!(one, Recorded::New(_))).count();
        match wrong.is_empty() {
            true => Ok(Reply::json(&json!({ "recorded": count }))),
            false => Ok(refused(&wrong.join("; "))),
        }
    }

    /// Training begins by itself once a batch is complete; asked for it before, the answer is what is missing.
    fn train(&self) -> Result<Reply> {
        let open = self.open()?;
        let status = match open {
            None | Some(0) => "training",
            Some(_) => "waiting for labels",
        };
        Ok(Reply::json(&json!({ "status": status, "open": open })))
    }
}

impl Site for Backend {
    fn answer(&self, asked: &Asked<'_>) -> Reply {
        let reply = match (asked.method, asked.path) {
            (Method::Get, "" | "health") => {
                Ok(Reply::json(&json!({ "status": "UP", "model_class": "querist", "v2": false })))
            }
            (Method::Post, "setup") => self.setup(),
            (Method::Get, "versions") => self.versions(),
            (Method::Post, "predict") => self.predict(asked.body),
            (Method::Post, "webhook") => self.heard(asked.body),
            (Method::Post, "train") => self.train(),
            _ => Ok(Reply::nothing()),
        };
        reply.unwrap_or_else(|error| {
            let text = Shown::sentence(&format!("{error:#}")).into_string();
            output::note(&format!("warning: {text}"));
            Reply::refusal("500 Internal Server Error", text)
        })
    }

    fn most_sent(&self) -> Option<usize> {
        Some(MOST_SENT)
    }
}

/// What a webhook tells.
#[derive(Deserialize)]
struct Event {
    action: String,
    #[serde(default)]
    annotation: Several<Annotation>,
    #[serde(default)]
    task: Several<Task>,
}

/// One, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Several<T> {
    Many(Vec<T>),
    One(Box<T>),
    Other(#[expect(dead_code, reason = "what other events have here is nothing to us")] Value),
}

impl<T> Default for Several<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> Several<T> {
    fn all(&self) -> &[T] {
        match self {
            Self::Many(all) => all,
            Self::One(one) => std::slice::from_ref(one),
            Self::Other(_) => &[],
        }
    }
}

impl Event {
    /// Annotations with the tasks that they are of.
    fn pairs(&self) -> impl Iterator<Item = (&Annotation, Option<&Task>)> {
        let tasks = self.task.all();
        self.annotation.all().iter().map(move |annotation| {
            let task = match tasks {
                [one] => Some(one),
                tasks => tasks.iter().find(|task| task.is_of(annotation)),
            };
            (annotation, task)
        })
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|error| {
        let why = Shown::sentence(&format!("this is nothing that Label Studio sends: {error}"));
        Reply::refusal("400 Bad Request", why.into_string())
    })
}

/// An answer that cannot be taken: said to who sent it and, as Label Studio does not show it, here.
fn refused(why: &str) -> Reply {
    let why = Shown::sentence(why).into_string();
    output::note(&format!("warning: an answer was not taken: {why}"));
    Reply::refusal("422 Unprocessable Content", why)
}

#[cfg(test)]
mod tests;
