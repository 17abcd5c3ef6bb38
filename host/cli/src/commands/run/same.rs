//! Whether what a run goes on with is what it was started with.

use anyhow::{Result, bail, ensure};
use querist_core::{Dataset, DatasetOracle, Label, Oracle, Outcome, Position, SampleId, Split};
use querist_files::shown;

use crate::own_learner;
use crate::people::HoldOut;
use crate::run_folder::{DatasetFacts, Header};
use crate::stored_run::StoredRun;

const HINT: &str = "hint: it was changed after it was written; start another run";

/// Where a stored run stands. What this program itself would draw and label again must be what the folder says.
pub fn replayed(
    stored: &StoredRun,
    split: &Split,
    initial: &[(SampleId, Outcome)],
    dataset: &Dataset,
) -> Result<Position> {
    let folder = shown(&stored.folder);
    check_split(stored, split)?;
    ensure!(stored.initial()? == initial, "{folder}/initial.csv is not the set that run.toml asks for\n{HINT}");
    let position = stored.position()?;
    let (samples, labels): (Vec<SampleId>, Vec<Label>) = position.partition.labelled().into_iter().unzip();
    let known = DatasetOracle::new(dataset).reveal(&samples)?;
    if let Some(at) = (0..samples.len()).find(|&at| labels[at] != known[at]) {
        let (sample, label, known) = (samples[at], labels[at], known[at]);
        bail!("{folder}: sample {sample} has label {label} in picks.csv and {known} in the dataset\n{HINT}");
    }
    let values = dataset.images().image_len();
    let misfit = position.synthetic.iter().find(|image| image.values.len() != values);
    if let Some(misfit) = misfit {
        let found = misfit.values.len();
        bail!("{folder}: an image made of sample {} has {found} values, the dataset's have {values}", misfit.sample);
    }
    Ok(position)
}

/// The same of a run that people label: nobody knows their labels, but who was asked at the start, and what is held
/// out. `initial` are the samples that were asked for, with their labels where these were known.
pub fn replayed_of_people(
    stored: &StoredRun,
    split: &Split,
    initial: &[(SampleId, Option<Outcome>)],
    hold_out: HoldOut,
) -> Result<Position> {
    let folder = shown(&stored.folder);
    check_split(stored, split)?;
    let found = stored.initial()?;
    let fits = |(found, asked): (&(SampleId, Outcome), &(SampleId, Option<Outcome>))| {
        found.0 == asked.0 && asked.1.is_none_or(|known| known == found.1)
    };
    ensure!(
        found.len() == initial.len() && found.iter().zip(initial).all(fits),
        "{folder}/initial.csv is not the set that run.toml asks for, or other labels are known now\n{HINT}"
    );
    let all = stored.rounds.iter().map(|round| &round.outcomes).chain([&found]);
    for outcomes in all {
        hold_out.check(outcomes).map_err(|error| anyhow::anyhow!("{folder}: {error}\n{HINT}"))?;
    }
    stored.position()
}

fn check_split(stored: &StoredRun, split: &Split) -> Result<()> {
    let folder = shown(&stored.folder);
    ensure!(stored.split()? == *split, "{folder}/split.json is not the split that run.toml asks for\n{HINT}");
    Ok(())
}

fn changed(what: &str, before: &str, now: &str) -> Result<()> {
    ensure!(
        before == now,
        "the {what} is not the one that the run was started with ({before}, now {now})\nhint: bring the old one back, \
         or start another run"
    );
    Ok(())
}

/// Whether it is the dataset that the run was started with.
pub fn check_same_dataset(before: &DatasetFacts, now: &Dataset) -> Result<()> {
    if now.is_unlabelled() {
        ensure!(
            before.classes == now.class_names(),
            "the classes are not those that the run was started with: {} then, {} now\nhint: bring the old list back, \
             or start another run; answers are kept by the names of classes",
            before.classes.len(),
            now.classes()
        );
        let (then, found) = (before.pool + before.test, now.len());
        ensure!(
            then == found,
            "the run was started with {then} pictures, and there are {found} now: some were added or removed\nhint: \
             bring the folder back as it was; people answer *none of the classes* for pictures that do not belong"
        );
    }
    changed("dataset", &before.digest, now.digest())?;
    // The digest covers the names, but the header need not be as it was written.
    ensure!(before.classes == now.class_names(), "the classes in header.json are not those of the dataset");
    Ok(())
}

/// What else must not have changed since the run was started.
pub fn check_same(before: &Header, now: &Header) -> Result<()> {
    changed("strategy's artifact", &before.strategy.digest, &now.strategy.digest)?;
    for name in before.arrays.keys().chain(now.arrays.keys()) {
        let digest = |header: &Header| header.arrays.get(name).cloned().unwrap_or_else(|| "none".to_owned());
        changed(&format!("file of `{name}`"), &digest(before), &digest(now))?;
    }
    let weights = |header: &Header| header.weights.clone().unwrap_or_else(|| "none".to_owned());
    changed("file of `model.weights`", &weights(before), &weights(now))?;
    own_learner::check_same(before.learner.as_ref(), now.learner.as_ref(), &changed)?;
    changed("device", &before.backend, &now.backend)
}
