//! What a study will cost: what is known before anything runs, and what finished cells tell of the others.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use querist_core::Round;
use querist_core::config::{Cell, EpochSamples, Pass, Plan};

/// What a cell will do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Times that a model is trained.
    pub fits: usize,
    /// Images that pass forward and back in training.
    pub trained: u64,
    /// Labels bought, with those of the initial set.
    pub labels: usize,
}

impl Work {
    /// What a cell will do with its plan, if nothing ends it early.
    pub fn of(cell: &Cell, plan: &Plan) -> Self {
        let recipe = &cell.config.experiment.recipe;
        let batches = (0..plan.rounds()).map(|round| plan.batch(Round(round as u32)).unwrap_or(0));
        let bought = batches.scan(plan.initial(), |labelled, batch| {
            *labelled = if plan.replaces() { batch } else { *labelled + batch };
            Some(*labelled)
        });
        let counts: Vec<usize> = std::iter::once(plan.initial()).chain(bought).collect();
        let most = counts.iter().copied().max().unwrap_or(0);
        let epoch = |labelled: usize| match recipe.epoch_length {
            EpochSamples::Samples(samples) => samples,
            EpochSamples::AtLeast(least) => least.at_least.max(labelled),
            EpochSamples::Pass(Pass::Longest) => most,
            EpochSamples::Pass(_) => labelled,
        };
        // What a learner of the user's own does with its samples is its own.
        let epochs = if cell.config.experiment.learner.is_some() { 1 } else { recipe.epochs as u64 };
        let trained = counts.iter().map(|&labelled| (epoch(labelled) as u64).saturating_mul(epochs));
        Self {
            fits: counts.len(),
            trained: trained.fold(0, u64::saturating_add),
            labels: counts.last().copied().unwrap_or(0),
        }
    }
}

/// Cells, what each will do, and how long those took that are done, in seconds.
pub struct Outlook {
    /// Each cell's name, what makes it cost what it costs, its work, and its seconds where it is done.
    pub cells: Vec<(String, String, Work, Option<f64>)>,
}

impl Outlook {
    /// Seconds that the cells which are not done will take one after the other, where finished ones tell: cells of the
    /// same kind, by images trained.
    pub fn seconds_left(&self) -> Option<f64> {
        let mut rates: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for (_, kind, work, seconds) in &self.cells {
            if let Some(seconds) = seconds {
                let rate = rates.entry(kind).or_default();
                (rate.0, rate.1) = (rate.0 + seconds, rate.1 + work.trained.max(1) as f64);
            }
        }
        let left = self.cells.iter().filter(|(.., seconds)| seconds.is_none());
        left.map(|(_, kind, work, _)| {
            let (seconds, trained) = rates.get(kind.as_str())?;
            Some(seconds / trained * work.trained.max(1) as f64)
        })
        .sum()
    }

    /// The grid, a line for each kind of cell, and what is left to do with so many runs at a time.
    pub fn text(&self, jobs: usize) -> String {
        let mut kinds: BTreeMap<&str, (usize, usize, Work)> = BTreeMap::new();
        for (_, kind, work, seconds) in &self.cells {
            let (count, done, sum) = kinds.entry(kind).or_default();
            (*count, *done) = (*count + 1, *done + usize::from(seconds.is_some()));
            *sum = Work {
                fits: sum.fits + work.fits,
                trained: sum.trained.saturating_add(work.trained),
                labels: sum.labels + work.labels,
            };
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["cells of", "runs", "done", "trainings", "images trained", "labels"]);
        for (kind, (count, done, work)) in &kinds {
            let numbers = [*count as u64, *done as u64, work.fits as u64, work.trained, work.labels as u64];
            table.add_row(std::iter::once((*kind).to_owned()).chain(numbers.map(|number| number.to_string())));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        let left = self.cells.iter().filter(|(.., seconds)| seconds.is_none()).count();
        lines.push(match (left, self.seconds_left()) {
            (0, _) => format!("{} runs, all done", self.cells.len()),
            (left, Some(seconds)) => format!(
                "{} runs, {left} to do: about {} with {jobs} at a time, by those of the same kind that are done",
                self.cells.len(),
                spelled(seconds / jobs as f64)
            ),
            (left, None) => format!(
                "{} runs, {left} to do; how long they take is known once one of each kind is done",
                self.cells.len()
            ),
        });
        lines.push(String::new());
        lines.join("\n")
    }
}

/// How long is left, told anew with each cell that ends.
#[derive(Debug, Default)]
pub struct Forecast {
    /// What makes a cell cost what it costs, and its work, by its digest.
    cells: BTreeMap<String, (String, f64)>,
    /// Seconds and work of those that ended, by kind.
    rates: BTreeMap<String, (f64, f64)>,
}

/// An estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// Seconds for all whose kind is known.
    pub seconds: f64,
    /// Cells of a kind of which none has ended yet, which come on top.
    pub unknown: usize,
}

impl Forecast {
    /// Of cells by their digests, each with its kind and work, and its seconds where it is done.
    pub fn of(cells: impl IntoIterator<Item = (String, String, Work, Option<f64>)>) -> Self {
        let mut all = Self::default();
        for (digest, kind, work, seconds) in cells {
            all.cells.insert(digest.clone(), (kind, work.trained.max(1) as f64));
            if let Some(seconds) = seconds {
                all.ended(&digest, seconds);
            }
        }
        all
    }

    /// Learns from a cell that is done.
    pub fn ended(&mut self, digest: &str, seconds: f64) {
        if let Some((kind, work)) = self.cells.get(digest) {
            let rate = self.rates.entry(kind.clone()).or_default();
            *rate = (rate.0 + seconds, rate.1 + work);
        }
    }

    /// What is left of cells that wait and of cells at work, each for some seconds already, with so many at a time.
    pub fn left<'a>(&self, open: impl IntoIterator<Item = (&'a str, f64)>, jobs: usize) -> Left {
        let (mut sum, mut longest, mut unknown) = (0.0, 0.0f64, 0);
        for (digest, spent) in open {
            let known = self.cells.get(digest).and_then(|(kind, work)| Some((self.rates.get(kind)?, work)));
            match known {
                Some(((seconds, done), work)) => {
                    let rest = (seconds / done * work - spent).max(0.0);
                    (sum, longest) = (sum + rest, longest.max(rest));
                }
                None => unknown += 1,
            }
        }
        Left { seconds: (sum / jobs.max(1) as f64).max(longest), unknown }
    }
}

impl Left {
    /// In words; nothing where nothing is known.
    pub fn said(&self) -> String {
        match self.unknown {
            0 if self.seconds <= 0.0 => String::new(),
            0 => format!("  (about {} left)", spelled(self.seconds)),
            _ if self.seconds <= 0.0 => String::new(),
            unknown => format!("  (at least {} left, and {unknown} of kinds not seen yet)", spelled(self.seconds)),
        }
    }
}

/// Seconds in words.
pub fn spelled(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(kind: &str, trained: u64, seconds: Option<f64>) -> (String, String, Work, Option<f64>) {
        (String::new(), kind.to_owned(), Work { fits: 1, trained, labels: 10 }, seconds)
    }

    #[test]
    fn what_is_left_is_by_kind_and_says_what_it_does_not_know() {
        let of = |digest: &str, kind: &str, trained, seconds| {
            (digest.to_owned(), kind.to_owned(), Work { fits: 1, trained, labels: 10 }, seconds)
        };
        let mut forecast = Forecast::of([
            of("1", "slow", 100, Some(50.0)),
            of("2", "slow", 200, None),
            of("3", "fast", 100, None),
            of("4", "fast", 100, None),
        ]);
        let left = forecast.left([("2", 0.0), ("3", 1.0), ("4", 0.0)], 1);
        assert_eq!(left, Left { seconds: 100.0, unknown: 2 });
        assert!(left.said().contains("at least 2 min left, and 2 of kinds not seen yet"), "{}", left.said());
        forecast.ended("3", 2.0);
        // One that runs for longer than was thought takes no time back.
        assert_eq!(forecast.left([("2", 90.0), ("4", 500.0)], 1), Left { seconds: 10.0, unknown: 0 });
        // Two at a time are no faster than the longest.
        assert_eq!(forecast.left([("2", 0.0), ("4", 0.0)], 2).seconds, 100.0);
        assert_eq!(forecast.left([], 2).said(), "");
    }

    #[test]
    fn finished_cells_tell_of_those_of_their_kind() {
        let outlook = Outlook {
            cells: vec![
                cell("a", 100, Some(10.0)),
                cell("a", 300, Some(30.0)),
                cell("a", 50, None),
                cell("b", 1, Some(1.0)),
            ],
        };
        assert_eq!(outlook.seconds_left(), Some(5.0));
        assert!(outlook.text(2).contains("4 runs, 1 to do: about 2.5 s with 2 at a time"), "{}", outlook.text(2));
        let unknown = Outlook { cells: vec![cell("a", 100, Some(10.0)), cell("b", 1, None)] };
        assert_eq!(unknown.seconds_left(), None);
        assert!(unknown.text(1).contains("known once one of each kind is done"));
        assert!(Outlook { cells: vec![cell("a", 1, Some(1.0))] }.text(1).contains("1 runs, all done"));
    }
}
