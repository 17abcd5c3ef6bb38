//! Run folders to what a report is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use querist_core::Outcome;
use querist_core::digest::sha256;
use querist_core::fitted::EpochRecord;
use querist_core::metric::Confusion;
use querist_files::{Links, shown};
use querist_protocol::Shown;
use querist_report::{PICTURES_PER_ROUND, Picture, RunState, RunSummary, Thumbnail};
use rayon::prelude::*;

use super::MAX_DEPTH;
use crate::round_files::PICTURES;
use crate::stored_run::{StoredRound, StoredRun};
use crate::study::folder::StudyFolder;
use crate::{confusion_file, epoch_file, output, thumbnails};

/// Bytes of `initial.csv` at most.
const MOST_LINES: u64 = 256 << 20;
/// Pictures in a page at most: with more of them nobody looks at any, and no browser shows the page.
pub const MOST_PICTURES: usize = 10_000;

/// A run, read once.
pub struct Loaded {
    run: StoredRun,
    /// SHA-256 of the initial labelled set, in hex.
    start: String,
    /// Training curve of the last round; empty where it was not kept.
    epochs: Vec<EpochRecord>,
    confusion: Option<Confusion>,
    /// What it has of each axis of its study.
    point: BTreeMap<String, String>,
}

impl Loaded {
    /// Reads a run folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let run = StoredRun::read(folder)?;
        let initial = match run.awaits_initial {
            true => Vec::new(),
            false => querist_files::read(&folder.join("initial.csv"), Links::Refuse, MOST_LINES)?,
        };
        let last = run.rounds.last().filter(|_| run.is_finished());
        let epochs = last.map(epoch_file::read).transpose()?.unwrap_or_default();
        let confusion = last.map(|last| confusion_file::read(last, &run.header)).transpose()?.flatten();
        Ok(Self { start: sha256(&initial), epochs, confusion, run, point: BTreeMap::new() })
    }

    /// How far it is.
    pub fn state(&self) -> RunState {
        match self.run.is_finished() {
            true => RunState::Finished,
            false => RunState::Incomplete { done: self.run.rounds.len(), planned: self.run.planned() },
        }
    }

    fn summary(&self, thumbnails: Vec<Vec<Thumbnail>>) -> Result<RunSummary> {
        let Self { run, start, epochs, confusion, point } = self;
        let config = serde_json::to_value(&run.config)?;
        let model = config.pointer("/model/name").and_then(|name| name.as_str()).unwrap_or_default();
        let dataset = &run.header.dataset;
        Ok(RunSummary {
            label: Shown::name(run.config.strategy.label()),
            strategy: run.header.strategy.clone(),
            layout: run.header.layout,
            seed: run.config.seeds.root,
            dataset: Shown::name(&dataset.name),
            dataset_digest: Shown::name(&dataset.digest),
            classes: dataset.classes.iter().map(|name| Shown::name(name)).collect(),
            model: Shown::name(model),
            start: Shown::name(start),
            epochs: epochs.clone(),
            confusion: confusion.clone(),
            point: point.clone(),
            thumbnails,
            rounds: run.rounds.iter().map(|round| round.record.clone()).collect(),
            state: self.state(),
            config,
        })
    }
}

/// Reads run folders, as many at a time as there are cores; in the order of the folders.
pub fn read_all<F: AsRef<Path> + Sync>(folders: &[F]) -> Vec<Result<Loaded>> {
    let points = points(folders);
    let read = |folder: &F| {
        let point = points.get(folder.as_ref()).cloned().unwrap_or_default();
        Ok(Loaded { point, ..Loaded::read(folder.as_ref())? })
    };
    folders.par_iter().map(read).collect()
}

/// What runs have of the axes of their studies, by run folder. A plan that cannot be read is said, and names nothing.
fn points<F: AsRef<Path>>(runs: &[F]) -> BTreeMap<PathBuf, BTreeMap<String, String>> {
    let above = |run: &F| run.as_ref().ancestors().skip(1).take(MAX_DEPTH).map(Path::to_owned).collect::<Vec<_>>();
    let folders: BTreeSet<PathBuf> = runs.iter().flat_map(above).collect();
    let mut points = BTreeMap::new();
    for folder in folders.iter().filter(|folder| folder.join("plan.json").exists()) {
        match StudyFolder::read(folder) {
            Ok(study) => points.extend(study.cells.iter().map(|cell| (study.run(cell), cell.point.clone()))),
            Err(error) => output::note(&format!("warning: {error:#}; settings are called by keys, not by axes")),
        }
    }
    points
}

/// What a report says of runs, and how many rounds have pictures that are not shown, of at most `pictures` pictures.
pub fn summaries<L: AsRef<Loaded> + Sync>(runs: &[L], pictures: usize) -> Result<(Vec<RunSummary>, usize)> {
    let pictures_of_run = |run: &L| {
        let run = &run.as_ref().run;
        (run.config.seeds.root, run.rounds.iter().map(pictures_of).collect())
    };
    let (shown, left_out) = chosen(&runs.iter().map(pictures_of_run).collect::<Vec<_>>(), pictures);
    let summary = |(at, run): (usize, &L)| {
        let run = run.as_ref();
        let of_round = |(round, stored): (usize, &StoredRound)| match shown.contains(&(at, round)) {
            true => thumbnails(stored, &run.run.header.dataset.classes),
            false => Ok(Vec::new()),
        };
        let thumbnails = match shown.range((at, 0)..(at + 1, 0)).next() {
            Some(_) => run.run.rounds.iter().enumerate().map(of_round).collect::<Result<_>>()?,
            None => Vec::new(),
        };
        run.summary(thumbnails)
    };
    let summaries: Vec<Result<RunSummary>> = runs.par_iter().enumerate().map(summary).collect();
    Ok((summaries.into_iter().collect::<Result<_>>()?, left_out))
}

impl AsRef<Self> for Loaded {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The rounds whose pictures are shown, by places of run and round, and how many others have some.
///
/// Given are the seed of each run and the pictures of its rounds. Whole seeds come one after the other, so that what
/// stands side by side is there for every strategy.
fn chosen(runs: &[(u64, Vec<usize>)], most: usize) -> (BTreeSet<(usize, usize)>, usize) {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by_key(|&at| runs[at].0);
    let of_run = |at: usize| runs[at].1.iter().enumerate().map(move |(round, pictures)| (at, round, *pictures));
    let rounds = order.into_iter().flat_map(of_run);
    let (mut shown, mut count, mut left_out) = (BTreeSet::new(), 0, 0);
    for (at, round, pictures) in rounds.filter(|(.., pictures)| *pictures > 0) {
        // After the first that has no room none is shown: of what is left nothing would be whole.
        if left_out == 0 && count + pictures <= most {
            count += pictures;
            shown.insert((at, round));
        } else {
            left_out += 1;
        }
    }
    (shown, left_out)
}

/// Pictures of a round that a page shows.
fn pictures_of(round: &StoredRound) -> usize {
    if round.files.names(PICTURES) { round.outcomes.len().min(PICTURES_PER_ROUND) } else { 0 }
}

/// The queried pictures that the round kept, those that a page shows.
fn thumbnails(round: &StoredRound, classes: &[String]) -> Result<Vec<Thumbnail>> {
    let path = round.files.folder().join(PICTURES);
    let png = round.files.bytes(PICTURES)?.unwrap_or_default();
    let count = round.outcomes.len().min(thumbnails::MAX_PICTURES);
    let tiles = thumbnails::tiles(&png, count).with_context(|| shown(&path).into_string())?;
    let picture = |(rank, (tile, (_, outcome))): (usize, (thumbnails::Tile, &(_, Outcome)))| {
        let thumbnails::Tile { height, width, channels, pixels } = tile;
        let class = match outcome.class() {
            Some(label) => classes.get(label.index()).context("a label has no class")?,
            None => outcome.name(),
        };
        let class = Shown::name(class);
        Ok(Thumbnail { rank, class, picture: Picture::Raw { height, width, channels, pixels } })
    };
    tiles.into_iter().zip(&round.outcomes).take(PICTURES_PER_ROUND).enumerate().map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_shown_seed_by_seed_as_far_as_there_is_room() {
        let runs = [(1, vec![10, 10]), (0, vec![10, 0, 10]), (1, vec![10, 4]), (0, vec![10])];
        let (shown, left_out) = chosen(&runs, 1000);
        assert_eq!((shown.len(), left_out), (7, 0));
        // Seed 0 of both, then what fits of seed 1; the small round at the end would fit, but stand alone.
        let (shown, left_out) = chosen(&runs, 45);
        assert_eq!(shown.into_iter().collect::<Vec<_>>(), [(0, 0), (1, 0), (1, 2), (3, 0)]);
        assert_eq!(left_out, 3);
        assert_eq!(chosen(&runs, 0), (BTreeSet::new(), 7));
    }
}
