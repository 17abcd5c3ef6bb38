//! `LABEL_sSEED/records.json`: the curves, scores and label counts of one run.
//!
//! The system evaluates its first validation set after every epoch. Here a model is evaluated once a round, so the two
//! validation lists have one value a round, and validation accuracies are those of the one validation set.

use anyhow::{Result, bail};
use querist_core::config::{Recipe, Task};
use querist_files::shown;
use serde_json::{Map, Value, json};

use super::{File, Trial, groups};

/// One file a run.
pub fn ift780(trials: &[Trial]) -> Result<Vec<File>> {
    let trials = groups(trials).into_values().flatten();
    trials
        .map(|trial| {
            let path = format!("{}_{}_s{}/records.json", trial.dataset, trial.label, trial.seed);
            Ok(File::new(path, serde_json::to_string_pretty(&records(trial)?)? + "\n"))
        })
        .collect()
}

fn records(trial: &Trial) -> Result<Value> {
    let validation: Option<Vec<_>> = trial.rounds.iter().map(|round| round.record.validation.as_ref()).collect();
    let Some(validation) = validation else {
        bail!(
            "{}: a run without a validation set, whose accuracy is what these records show; set \
               `dataset.validation`",
            shown(&trial.folder)
        );
    };
    let epochs = || trial.rounds.iter().flat_map(|round| &round.epochs);
    let first = trial.rounds.first().map_or(0, |round| round.record.labelled);
    let queries: Vec<usize> = trial.rounds.iter().map(|round| round.record.labelled - first).collect();
    let task = Task { pool: trial.pool, classes: trial.classes, listed: Some(trial.initial.len()) };
    let planned = trial.experiment.budget.plan(task)?.rounds() + 1;
    Ok(json!({
        "Initialization": initialization(trial),
        "Loops Progress": {
            "Training Loss": epochs().map(|epoch| epoch.loss).collect::<Vec<_>>(),
            "Validation Loss": validation.iter().map(|metrics| metrics.loss).collect::<Vec<_>>(),
            "Training Accuracy": epochs().map(|epoch| epoch.accuracy).collect::<Vec<_>>(),
            "Validation Accuracy": validation.iter().map(|metrics| metrics.accuracy).collect::<Vec<_>>(),
        },
        "Query Instances": queries,
        "Validation-2 Accuracy": validation.iter().map(|metrics| metrics.accuracy).collect::<Vec<_>>(),
        "Final Test Score": trial.rounds.last().map(|round| round.record.metrics.accuracy),
        "Premature Stop": trial.rounds.len() < planned,
        "Label History": label_history(trial),
    }))
}

fn initialization(trial: &Trial) -> Value {
    let Recipe { lr, weight_decay, epochs, minibatch, augment, .. } = &trial.experiment.recipe;
    let bought = trial.rounds.first().map_or(0, |round| round.bought.len());
    json!({
        "model": trial.model, "dataset": trial.dataset, "n_start": trial.initial.len() / trial.classes,
        "n_new": bought, "epochs": epochs, "lr": lr, "weight_decay": weight_decay, "batch_size": minibatch,
        "query_strategy": trial.label, "data_aug": !augment.is_empty(), "n_rounds": trial.rounds.len() - 1,
    })
}

/// Labelled samples of each class in every round.
fn label_history(trial: &Trial) -> Value {
    let mut histories = vec![Vec::with_capacity(trial.rounds.len()); trial.classes];
    for round in 0..trial.rounds.len() {
        let mut counts = vec![0usize; trial.classes];
        trial.labelled(round).for_each(|(_, label)| counts[label.index()] += 1);
        histories.iter_mut().zip(counts).for_each(|(history, count)| history.push(count));
    }
    let by_class = histories.into_iter().enumerate().map(|(class, history)| (class.to_string(), json!(history)));
    Value::Object(by_class.collect::<Map<_, _>>())
}
