//! Label Studio: tasks with predictions, a labelling interface, and exports as JSON and JSON-MIN.
//!
//! Its sampling by predictions orders tasks by score, the lowest first, and shows none that has no prediction. So every
//! task has one, whose score grows with the rank, and whose result is empty unless the model's guess is asked for.

use std::fs;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use querist_protocol::Shown;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cvat::escaped;
use super::names::Places;
use super::plan::key;
use super::{Export, Format, FormatError, Found, Line, Row, Which, Words, from_json, out, to_json};
use crate::{Batch, Journal, NewAnswer, Picture};

/// The file of tasks, beside that of the labelling interface.
pub(super) const TASKS: &str = "tasks.json";
const INTERFACE: &str = "interface.xml";

/// What stands before a picture's name where Label Studio serves files of its own machine.
pub const LOCAL_FILES: &str = "/data/local-files/?d=";

/// Names in the labelling interface.
const CONTROL: &str = "label";
const IMAGE: &str = "image";
/// Field of a task's data with the sample's number.
const ID: &str = "querist_id";
const NAME: &str = "querist_name";
/// Marks the results that an export of ours brought along, which are no new opinion.
const OURS: &str = "querist-known";

/// What stays as it is in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) fn write(export: &Export<'_>, words: &Words<'_>, out: &Path) -> Result<(), FormatError> {
    out::make_folder(out)?;
    let tasks: Vec<Value> = export.rows.iter().map(|row| task(export, words, row)).collect();
    to_json(&out.join(TASKS), &tasks.into())?;
    let path = out.join(INTERFACE);
    fs::write(&path, interface(words)).map_err(|error| FormatError::write(&path, error))
}

/// The labelling interface of a project.
fn interface(words: &Words<'_>) -> String {
    let mut xml = format!("<View>\n  <Image name=\"{IMAGE}\" value=\"${IMAGE}\" zoom=\"true\" zoomControl=\"true\" ");
    xml += "brightnessControl=\"true\" contrastControl=\"true\"/>\n";
    xml += &format!("  <Choices name=\"{CONTROL}\" toName=\"{IMAGE}\" choice=\"single\" showInline=\"true\">\n");
    for word in words.all() {
        // What is shown may differ from what is exported.
        let shown = match word {
            super::NONE => "None of these",
            super::UNSURE => "Unsure",
            class => class,
        };
        let alias = if shown == word { String::new() } else { format!(" alias=\"{word}\"") };
        xml += &format!("    <Choice value=\"{}\"{alias}/>\n", escaped(shown));
    }
    xml += "  </Choices>\n</View>\n";
    xml
}

fn task(export: &Export<'_>, words: &Words<'_>, row: &Row<'_>) -> Value {
    let picture = row.picture;
    let image = format!("{}{}", export.address, utf8_percent_encode(&picture.name, PLAIN));
    let data = json!({ IMAGE: image, ID: picture.id, NAME: picture.name, "querist_rank": row.rank });
    let batch = export.batch;
    let meta = json!({ "stage": batch.stage, "strategy": batch.strategy, "score": picture.score });
    let prediction = prediction(batch, Some((row.rank, picture)), export.guesses);
    let mut task = json!({ "data": data, "meta": meta, "predictions": [prediction] });
    if let Some(word) = words.spell_outcome(row.outcome) {
        task["annotations"] = json!([{ "result": [choice(OURS, word)] }]);
    }
    task
}

fn choice(id: &str, word: &str) -> Value {
    json!({ "id": id, "from_name": CONTROL, "to_name": IMAGE, "type": "choices", "value": { "choices": [word] } })
}

/// The name under which predictions for a batch go.
pub fn model_version(batch: &Batch) -> String {
    format!("querist-{}", batch.stage)
}

/// What Label Studio is told of a picture, by its rank: the first is shown first. What is not asked for comes last.
fn prediction(batch: &Batch, asked: Option<(usize, &Picture)>, with_guess: bool) -> Value {
    let score = asked.map_or(1.0, |(rank, _)| (rank - 1) as f64 / batch.pictures.len() as f64);
    let guess = asked.and_then(|(_, picture)| picture.guess).filter(|_| with_guess);
    let result: Vec<Value> =
        guess.iter().map(|guess| choice("querist-guess", &batch.classes[guess.class as usize])).collect();
    json!({ "model_version": model_version(batch), "score": score, "result": result })
}

/// A task, as it is exported whole, as JSON-MIN exports an annotation of it, or as it is sent.
#[derive(Debug, Deserialize)]
pub struct Task {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    data: Option<Map<String, Value>>,
    #[serde(default)]
    annotations: Option<Vec<Annotation>>,
    #[serde(default)]
    predictions: Value,
    #[serde(default)]
    querist_id: Value,
    #[serde(default)]
    querist_name: Value,
    #[serde(default)]
    label: Option<Value>,
    #[serde(default)]
    annotator: Value,
    #[serde(default)]
    lead_time: Option<f64>,
}

/// What one person said of a task.
#[derive(Debug, Deserialize)]
pub struct Annotation {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    completed_by: Value,
    #[serde(default)]
    result: Option<Vec<Region>>,
    #[serde(default)]
    was_cancelled: Option<bool>,
    #[serde(default)]
    lead_time: Option<f64>,
    #[serde(default)]
    updated_at: Value,
    /// What was shown of a model when it was made.
    #[serde(default)]
    prediction: Value,
    /// Number of the task, where annotations of several are sent at once.
    #[serde(default)]
    task: Value,
}

#[derive(Debug, Deserialize)]
struct Region {
    #[serde(default)]
    id: Value,
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    value: Value,
}

pub(super) fn read(path: &Path) -> Result<Found, FormatError> {
    let tasks: Vec<Task> = from_json(path, "a list of tasks, as Label Studio exports them as JSON or JSON-MIN")?;
    let mut found = Found::default();
    for (number, task) in tasks.iter().enumerate() {
        let place = match &task.id {
            Value::Number(id) => format!("task {id}"),
            _ => format!("tasks[{number}]"),
        };
        match &task.annotations {
            Some(annotations) => read_whole(task, annotations, &place, &mut found),
            None if task.data.is_some() => found.unanswered += 1,
            None => read_min(task, place, &mut found),
        }
    }
    Ok(found)
}

fn read_whole(task: &Task, annotations: &[Annotation], place: &str, found: &mut Found) {
    let counting: Vec<&Annotation> = annotations.iter().filter(|one| one.was_cancelled != Some(true)).collect();
    if counting.is_empty() {
        found.unanswered += 1;
    }
    for annotation in counting {
        let place = match &annotation.id {
            Value::Number(id) => format!("{place}, annotation {id}"),
            _ => place.to_owned(),
        };
        match line(task, annotation, place.clone()) {
            Ok(line) => found.line(line),
            Err(message) => found.wrong(place, message),
        }
    }
}

fn read_min(task: &Task, place: String, found: &mut Found) {
    let annotator = match &task.annotator {
        Value::Null => Ok(None),
        annotator => name_of(annotator).map(Some),
    };
    let label = match &task.label {
        Some(Value::String(label)) => Ok(label.clone()),
        Some(other) => chosen(other),
        None => Err(EMPTY.to_owned()),
    };
    let line = || {
        let (which, label, annotator) = (which(&task.querist_id, &task.querist_name)?, label?, annotator?);
        let (seconds, guess_shown) = (task.lead_time, false);
        Ok::<_, String>(Line { place: place.clone(), which, label, annotator, seconds, guess_shown })
    };
    match line() {
        Ok(line) => found.line(line),
        Err(message) => found.wrong(place, message),
    }
}

const EMPTY: &str = "an empty answer, expected one choice";

/// The answer of an annotation.
///
/// # Errors
/// If it chooses nothing or several things, or does not say of which sample.
fn line(task: &Task, annotation: &Annotation, place: String) -> Result<Line, String> {
    let none = Map::new();
    let data = task.data.as_ref().unwrap_or(&none);
    let which = which(data.get(ID).unwrap_or(&Value::Null), data.get(NAME).unwrap_or(&Value::Null))?;
    let regions = annotation.result.as_deref().unwrap_or_default();
    let choices: Vec<&Region> = regions.iter().filter(|region| region.kind == "choices").collect();
    let label = match choices[..] {
        [] => Err(EMPTY.to_owned()),
        [one] => chosen(&one.value),
        _ => Err(format!("{} answers, expected one", choices.len())),
    }?;
    let is_ours = choices[0].id == OURS;
    let annotator = match &annotation.completed_by {
        Value::Null => None,
        _ if is_ours => None,
        by => Some(name_of(by)?),
    };
    // An export has numbers where the predictions were, and with the annotation the one that was shown.
    let has_guess = |one: &Value| one["result"].as_array().is_some_and(|result| !result.is_empty());
    let of_task = task.predictions.as_array().is_some_and(|all| all.iter().any(has_guess));
    let guess_shown = of_task || has_guess(&annotation.prediction);
    Ok(Line { place, which, label, annotator, seconds: annotation.lead_time, guess_shown })
}

impl Task {
    /// Whether an annotation is one of it.
    pub fn is_of(&self, annotation: &Annotation) -> bool {
        annotation.task.is_number() && self.id == annotation.task
    }
}

/// What Label Studio is told of each task, in their order.
pub fn predictions(batch: Option<&Batch>, tasks: &[Task], with_guess: bool) -> Vec<Value> {
    let Some(batch) = batch else {
        return tasks.iter().map(|_| json!({ "score": 1.0, "result": [] })).collect();
    };
    let places = Places::of(batch);
    let asked = |task: &Task| {
        let none = Map::new();
        let data = task.data.as_ref().unwrap_or(&none);
        let which = which(data.get(ID).unwrap_or(&Value::Null), data.get(NAME).unwrap_or(&Value::Null)).ok()?;
        let place = places.find(&which).ok()?;
        Some((place + 1, &batch.pictures[place]))
    };
    tasks.iter().map(|task| prediction(batch, asked(task), with_guess)).collect()
}

/// An annotation that Label Studio tells of, as an answer to be recorded; nothing where it says nothing new: it was
/// skipped, or the same person said the same before.
///
/// Whoever changes an annotation changes their own answer; what others said stays.
///
/// # Errors
/// If it is no answer to what is asked.
pub fn answer(journal: &Journal, task: &Task, annotation: &Annotation) -> Result<Option<NewAnswer>, String> {
    if annotation.was_cancelled == Some(true) {
        return Ok(None);
    }
    let batch = journal.batch();
    let words = Words::of(&batch.classes).map_err(|error| error.to_string())?;
    let line = line(task, annotation, String::new())?;
    let picture = &batch.pictures[Places::of(batch).find(&line.which)?];
    let answer = words.read(&line.label)?;
    let annotator = line.annotator.unwrap_or_else(|| Format::LabelStudio.name().to_owned());
    let own = journal.effective(picture.id).iter().find(|other| other.annotator == annotator);
    if own.is_some_and(|own| own.answer == answer) {
        return Ok(None);
    }
    let seen = own.map(|own| own.number);
    // The same state of an annotation counts once, however often it is told.
    let parts = json!([batch.stage, picture.id, annotator, line.label, annotation.id, annotation.updated_at]);
    let new = NewAnswer {
        key: key(&parts),
        id: picture.id,
        annotator,
        answer,
        seconds: line.seconds,
        guess_shown: line.guess_shown,
        third_look: false,
        source: Format::LabelStudio.name().to_owned(),
        seen,
    };
    new.check().map_err(|error| error.to_string())?;
    Ok(Some(new))
}

fn which(id: &Value, name: &Value) -> Result<Which, String> {
    let name = name.as_str().map(str::to_owned);
    match id {
        Value::Null => name.map(Which::Name).ok_or_else(|| format!("a task without `{ID}` in its data")),
        // What came through a table is text.
        Value::String(id) => {
            let wrong = |_| format!("`{ID}` is `{}`, expected the number of a sample", Shown::name(id));
            id.trim().parse().map(|id| Which::Id(id, name)).map_err(wrong)
        }
        id => {
            let number = id.as_u64().ok_or_else(|| format!("`{ID}` is no number of a sample"))?;
            Ok(Which::Id(number, name))
        }
    }
}

/// The one choice of `{"choices": [...]}`.
fn chosen(value: &Value) -> Result<String, String> {
    match value["choices"].as_array().map(Vec::as_slice) {
        Some([Value::String(choice)]) => Ok(choice.clone()),
        Some([_, _, ..]) => Err("several choices, expected one".to_owned()),
        _ => Err(EMPTY.to_owned()),
    }
}

/// Who did something: the address of a person, or the number of one.
fn name_of(person: &Value) -> Result<String, String> {
    let email = person["email"].as_str().filter(|email| !email.is_empty());
    match (email, person, &person["id"]) {
        (Some(email), ..) => Ok(email.to_owned()),
        (None, Value::Number(id), _) | (None, _, Value::Number(id)) => Ok(format!("label-studio {id}")),
        (None, Value::String(name), _) => Ok(name.clone()),
        _ => Err("an annotation by nobody, expected the number or address of a person".to_owned()),
    }
}
