//! What changes in folders while runs go on, and the page that it makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use querist_core::digest::sha256;
use querist_report::{Live, PageOptions, Report, RunState, html, html_without_runs};

use super::load::{Loaded, read_all, summaries};
use super::{MAX_DEPTH, Search};
use crate::study::folder::StudyFolder;
use crate::study::status::Status;

/// Pictures of a page at most that is loaded again and again.
const MOST_PICTURES: usize = 2_000;

/// Some folders that are looked at again and again.
pub struct Watch<'a> {
    folders: &'a [PathBuf],
    curves_by: &'a [String],
    /// Runs that were read, with what they looked like then.
    read: BTreeMap<PathBuf, (Stamp, Arc<Loaded>)>,
    /// What was seen when the page was made.
    seen: String,
    /// What could not be read of it.
    left_out: Vec<String>,
    /// Names the page that was made last.
    digest: String,
}

/// When anything was last committed in a run's folder.
type Stamp = Option<SystemTime>;

/// A page.
pub struct Made {
    /// As HTML.
    pub page: String,
    /// Names it: another one has another name.
    pub digest: String,
}

/// What there is in the folders.
struct Seen {
    digest: String,
    runs: BTreeMap<PathBuf, Stamp>,
    states: Vec<(String, usize)>,
    details: String,
}

impl<'a> Watch<'a> {
    /// Has not looked yet.
    pub fn new(folders: &'a [PathBuf], curves_by: &'a [String]) -> Self {
        let (seen, digest) = (String::new(), String::new());
        Self { folders, curves_by, read: BTreeMap::new(), seen, left_out: Vec::new(), digest }
    }

    /// The page, where it is another one than before. Runs that cannot be read are named on it and left out.
    pub fn page(&mut self) -> Result<Option<Made>> {
        let seen = self.look()?;
        // What could not be read may be whole by now.
        if seen.digest == self.seen && self.left_out.is_empty() {
            return Ok(None);
        }
        self.left_out = self.read(&seen.runs);
        self.seen.clone_from(&seen.digest);
        let digest = sha256(format!("{} {:?}", seen.digest, self.left_out).as_bytes());
        if digest == self.digest {
            return Ok(None);
        }
        let page = self.made(seen, digest.clone())?;
        self.digest.clone_from(&digest);
        Ok(Some(Made { page, digest }))
    }

    /// Looks which runs there are and how far they are, without reading them.
    fn look(&self) -> Result<Seen> {
        let mut search = Search::default();
        for folder in self.folders {
            search.find(folder, MAX_DEPTH)?;
        }
        let runs: BTreeMap<PathBuf, Stamp> = search.found.into_iter().map(|run| (run.clone(), stamp(&run))).collect();
        let (mut states, mut details) = (BTreeMap::new(), String::new());
        for folder in self.folders.iter().filter(|folder| folder.join("plan.json").exists()) {
            let status = Status::of(&StudyFolder::read(folder)?)?;
            for (state, count) in status.counts() {
                *states.entry(state).or_insert(0) += count;
            }
            details += &status.text();
        }
        let states: Vec<(String, usize)> =
            states.into_iter().map(|(state, count)| (state.name().to_owned(), count)).collect();
        let digest = sha256(format!("{runs:?} {states:?} {details}").as_bytes());
        Ok(Seen { digest, runs, states, details })
    }

    fn made(&self, seen: Seen, digest: String) -> Result<String> {
        let runs: Vec<Arc<Loaded>> = self.read.values().map(|(_, run)| Arc::clone(run)).collect();
        let live = Live {
            digest,
            made: httpdate::fmt_http_date(SystemTime::now()),
            states: if seen.states.is_empty() { states_of(&runs) } else { seen.states },
            details: seen.details,
            left_out: self.left_out.clone(),
        };
        let options = PageOptions { live: Some(live), ..PageOptions::default() };
        Ok(match runs.is_empty() {
            true => html_without_runs(&options)?,
            false => html(&Report::new(summaries(&runs, MOST_PICTURES)?.0, self.curves_by)?, &options)?,
        })
    }

    /// Reads what is new; gives what cannot be read.
    fn read(&mut self, runs: &BTreeMap<PathBuf, Stamp>) -> Vec<String> {
        self.read.retain(|run, (stamp, _)| runs.get(run) == Some(stamp));
        let new: Vec<(&PathBuf, &Stamp)> = runs.iter().filter(|(run, _)| !self.read.contains_key(*run)).collect();
        let folders: Vec<&PathBuf> = new.iter().map(|(run, _)| *run).collect();
        let mut left_out = Vec::new();
        for ((run, stamp), loaded) in new.into_iter().zip(read_all(&folders)) {
            match loaded {
                Ok(loaded) => drop(self.read.insert(run.clone(), (*stamp, Arc::new(loaded)))),
                Err(error) => left_out.push(format!("{error:#}")),
            }
        }
        left_out
    }
}

fn stamp(run: &Path) -> Stamp {
    std::fs::metadata(run.join("rounds")).and_then(|facts| facts.modified()).ok()
}

/// How far runs are that belong to no study.
fn states_of(runs: &[Arc<Loaded>]) -> Vec<(String, usize)> {
    let done = runs.iter().filter(|run| run.state() == RunState::Finished).count();
    let states = [("done".to_owned(), done), ("not finished".to_owned(), runs.len() - done)];
    states.into_iter().filter(|(_, count)| *count > 0).collect()
}
