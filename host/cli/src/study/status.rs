//! What `querist study status` shows.

use std::collections::BTreeMap;

use anyhow::Result;
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::folder::{Planned, StudyFolder};
use super::ledger::{Attempt, Ledger, State};
use super::outlook::spelled;
use super::slurm::{Queue, job_of};

/// Cells that are named of each state that is not well, at most; `--format json` has all.
const NAMED: usize = 10;

/// Every cell of a study with its state.
pub struct Status {
    cells: Vec<(Planned, State, Ledger)>,
}

impl Status {
    /// Looks at the ledgers, and at the queue where cells were handed to one.
    pub fn of(study: &StudyFolder) -> Result<Self> {
        let mut cells = Vec::with_capacity(study.cells.len());
        for cell in &study.cells {
            let (state, ledger) = study.state(cell)?;
            cells.push((cell.clone(), state, ledger));
        }
        let in_queue =
            |(_, state, ledger): &(Planned, State, Ledger)| *state != State::Done && job_of(ledger).is_some();
        if cells.iter().any(in_queue) {
            let queue = Queue::of(cells.iter().map(|(.., ledger)| ledger))?;
            cells.iter_mut().for_each(|(_, state, ledger)| *state = queue.seen(*state, ledger));
        }
        Ok(Self { cells })
    }

    /// Whether nothing waits or runs any more.
    pub fn is_over(&self) -> bool {
        !self.cells.iter().any(|(_, state, _)| matches!(state, State::Queued | State::Running))
    }

    /// How many cells are in each state.
    pub fn counts(&self) -> BTreeMap<State, usize> {
        let mut counts = BTreeMap::new();
        self.cells.iter().for_each(|(_, state, _)| *counts.entry(*state).or_default() += 1);
        counts
    }

    /// For people: how many cells are in each state, by strategy, and why what is not well is not.
    pub fn text(&self) -> String {
        let counts = self.counts();
        let states: Vec<State> = State::ALL.into_iter().filter(|state| counts.contains_key(state)).collect();
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["strategy".to_owned()].into_iter().chain(states.iter().map(|state| state.name().to_owned())));
        let mut labels: BTreeMap<&str, BTreeMap<State, usize>> = BTreeMap::new();
        for (cell, state, _) in &self.cells {
            *labels.entry(&cell.label).or_default().entry(*state).or_default() += 1;
        }
        let row = |name: &str, counts: &BTreeMap<State, usize>| {
            let numbers = states.iter().map(|state| counts.get(state).copied().unwrap_or(0).to_string());
            std::iter::once(name.to_owned()).chain(numbers).collect::<Vec<_>>()
        };
        for (label, counts) in &labels {
            table.add_row(row(label, counts));
        }
        if labels.len() > 1 {
            table.add_row(row("all", &counts));
        }
        let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        for state in [State::Running, State::Failed, State::OutOfMemory, State::OverTime, State::Stopped] {
            lines.extend(self.named(state));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    fn named(&self, wanted: State) -> Vec<String> {
        let found: Vec<&(Planned, State, Ledger)> =
            self.cells.iter().filter(|(_, state, _)| *state == wanted).collect();
        let line = |(cell, state, ledger): &&(Planned, State, Ledger)| {
            let attempt = ledger.attempts.last();
            let silence = attempt.and_then(Attempt::silence).map(|seconds| spelled(seconds as f64));
            let more = match (state, attempt) {
                (State::Running, Some(attempt)) => {
                    let silence = silence.map(|silence| format!(", no sign of life for {silence}")).unwrap_or_default();
                    format!(" on {}, process {}{silence}", attempt.host, attempt.pid)
                }
                (State::Stopped, Some(attempt)) if silence.is_some() => {
                    let silence = silence.unwrap_or_default();
                    format!(": no sign of life from {} for {silence}; the next start takes it again", attempt.host)
                }
                _ => ledger.reason().map(|reason| format!(": {reason}")).unwrap_or_default(),
            };
            format!("{}: {}{more}", state.name(), cell.name())
        };
        let mut lines: Vec<String> = found.iter().take(NAMED).map(line).collect();
        if found.len() > NAMED {
            lines.push(format!("{}: {} more", wanted.name(), found.len() - NAMED));
        }
        lines
    }

    /// Everything, as JSON.
    pub fn json(&self) -> Value {
        let cell = |(cell, state, ledger): &(Planned, State, Ledger)| {
            json!({
                "folder": cell.folder, "digest": cell.digest, "strategy": cell.label, "seed": cell.seed,
                "axes": cell.point, "state": state, "reason": ledger.reason(), "attempts": ledger.attempts,
                "silent_seconds": ledger.attempts.last().and_then(Attempt::silence),
            })
        };
        json!({ "version": 1, "counts": self.counts(), "cells": self.cells.iter().map(cell).collect::<Vec<_>>() })
    }
}
