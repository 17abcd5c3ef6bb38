//! `results/DATASET/METHOD/`: accuracies of each cycle, queries, and initial indices; mean and deviation over seeds.
//!
//! Figures that are not recorded (losses on the pool, accuracy on the queried samples, predictions) are left empty.
//! The system's initial indices have no seed in their name, so runs of two seeds share a file; ours have one.

use anyhow::Result;
use querist_core::config::{Batch, Named};

use super::{File, Trial, cells, csv_text, groups, mean_and_std};

/// Files of every run, and one summary a dataset and method.
pub fn uwe(trials: &[Trial]) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for ((dataset, method), trials) in groups(trials) {
        let folder = format!("results/{dataset}/{method}");
        for trial in &trials {
            let (model, seed, epochs) = (&trial.model, trial.seed, trial.experiment.recipe.epochs);
            let budget = budget(&trial.experiment.budget.batch);
            let id = format!("{dataset}_al_mod{model}_s{seed}_ne{epochs}_bid{budget}_m{method}");
            files.push(File::new(format!("{folder}/al_cycle_result/{id}_al_cycle_result.csv"), cycles(trial)?));
            for (cycle, round) in (1..).zip(&trial.rounds).filter(|(_, round)| !round.bought.is_empty()) {
                let header = cells([&"rank", &"idx", &"label", &"pred"]);
                let rows =
                    round.bought.iter().enumerate().map(|(rank, (sample, label))| {
                        cells([&rank as &dyn std::fmt::Display, &sample.0, &label.0, &""])
                    });
                let text = csv_text(std::iter::once(header).chain(rows))?;
                files.push(File::new(format!("{folder}/query/{id}_cycle{cycle}_query.csv"), text));
            }
            let initial = trial.initial.iter().map(|(sample, _)| cells([&sample.0]));
            let text = csv_text(std::iter::once(cells([&"lb_idxs"])).chain(initial))?;
            let initialize = format!("results/{dataset}/initialize/{method}");
            files.push(File::new(format!("{initialize}/{dataset}_bid{budget}_s{seed}_init_lb.csv"), text));
        }
        files.push(File::new(format!("{folder}/{dataset}_{method}_mean_std.csv"), summary(&trials)?));
    }
    Ok(files)
}

/// The name of the budget, as the system has one for each; of others that they are of this program.
fn budget(batch: &Batch) -> String {
    let Batch::Named(Named { named }) = batch else { return "querist".to_owned() };
    let name = serde_json::to_value(named).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or("querist").to_owned()
}

fn cycles(trial: &Trial) -> Result<Vec<u8>> {
    let names = ["n_labeled", "te_accuracy", "q_accuracy", "query_time", "tr_loss", "lb_loss", "unlb_loss", "q_loss"];
    let mut before = 0.0;
    let rows = trial.rounds.iter().map(|round| {
        let record = &round.record;
        let query = std::mem::replace(&mut before, record.seconds.features + record.seconds.query);
        let known = cells([&record.labelled, &record.metrics.accuracy, &"", &query]);
        [known, vec![String::new(); 4]].concat()
    });
    let rows: Vec<_> = std::iter::once(names.map(str::to_owned).to_vec()).chain(rows).collect();
    csv_text(rows)
}

/// Accuracy in percent over seeds, for the rounds that all of them have; the deviation divides by the number of seeds.
fn summary(trials: &[&Trial]) -> Result<Vec<u8>> {
    let rounds = trials.iter().map(|trial| trial.rounds.len()).min().unwrap_or(0);
    let rows = (0..rounds).map(|round| {
        let found: Vec<f64> = trials.iter().map(|trial| trial.rounds[round].record.metrics.accuracy * 100.0).collect();
        let (mean, std) = mean_and_std(&found);
        cells([&trials[0].rounds[round].record.labelled, &found.len(), &mean, &std])
    });
    csv_text(std::iter::once(cells([&"n_labeled", &"seeds", &"mean", &"std"])).chain(rows))
}

#[cfg(test)]
mod tests {
    use querist_core::config::NamedBudget;

    use super::*;

    #[test]
    fn budgets_that_the_system_knows_keep_their_names() {
        let of = |named| budget(&Batch::Named(Named { named }));
        assert_eq!((of(NamedBudget::Exp05k), of(NamedBudget::Exp1k)), ("exp05k".to_owned(), "exp1k".to_owned()));
        assert_eq!(budget(&Batch::Samples(10)), "querist");
    }
}
