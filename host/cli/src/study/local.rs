//! Cells as processes on this machine, some at a time.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::doing::{Doing, How, own_cores};
use super::folder::{Planned, StudyFolder};
use super::ledger::State;
use super::outlook::{Forecast, Left};
use crate::stored_run::StoredRun;
use crate::{events, output, progress};

/// How often ends are looked for.
const EVERY: Duration = Duration::from_millis(5);

/// Where runs go.
#[derive(Debug, Clone)]
pub struct Places {
    /// Runs at a time.
    pub jobs: usize,
    /// Devices that they share; the file's where there are none.
    pub devices: Vec<String>,
    /// Whether each keeps to cores of its own.
    pub pin: bool,
}

/// A place for one run at a time.
struct Place {
    device: Option<String>,
    cores: Option<Vec<usize>>,
}

impl Places {
    /// One for each run at a time; cores are shared out where each thread has one.
    fn all(&self, threads: usize) -> Vec<Place> {
        let cores = own_cores();
        let each = cores.len() / self.jobs;
        let is_pinned = self.pin && self.jobs > 1 && each >= threads;
        let place = |at: usize| Place {
            device: (!self.devices.is_empty()).then(|| self.devices[at % self.devices.len()].clone()),
            cores: is_pinned.then(|| cores[at * each..(at + 1) * each].to_vec()),
        };
        (0..self.jobs).map(place).collect()
    }
}

/// Does the cells; returns those that are not done, by name.
pub fn work(
    study: &StudyFolder,
    todo: Vec<&Planned>,
    how: &How,
    places: &Places,
    forecast: &mut Forecast,
) -> Result<Vec<String>> {
    let total = todo.len();
    let mut waiting: VecDeque<&Planned> = todo.into();
    let mut free: Vec<Place> = places.all(how.threads);
    free.reverse();
    let mut running: Vec<(&Planned, Doing, Place)> = Vec::new();
    let mut failed = Vec::new();
    let (mut ended, mut told) = (0, false);
    loop {
        if progress::stopped() && !told {
            told = true;
            running.iter_mut().for_each(|(_, doing, _)| doing.stop());
        }
        while !progress::stopped() && !waiting.is_empty() {
            let Some(place) = free.pop() else { break };
            let Some(cell) = waiting.pop_front() else { break };
            let doing = Doing::start(study, cell, how, place.device.as_deref(), place.cores.as_deref())?;
            running.push((cell, doing, place));
        }
        if running.is_empty() {
            failed.extend(waiting.into_iter().map(Planned::name));
            return Ok(failed);
        }
        std::thread::sleep(EVERY);
        let (mut still, mut over) = (Vec::new(), Vec::new());
        for (cell, mut doing, place) in running {
            match doing.poll()? {
                None => still.push((cell, doing, place)),
                Some(ledger) => {
                    over.push((cell, ledger, doing.seconds()));
                    free.push(place);
                }
            }
        }
        running = still;
        for (cell, ledger, seconds) in over {
            ended += 1;
            match ledger.state() {
                State::Done => forecast.ended(&cell.digest, seconds),
                _ => failed.push(cell.name()),
            }
            let at_work = running.iter().map(|(cell, doing, _)| (cell.digest.as_str(), doing.seconds()));
            let open = at_work.chain(waiting.iter().map(|cell| (cell.digest.as_str(), 0.0)));
            let left = forecast.left(open, places.jobs);
            tell_end(study, cell, (ledger.state(), ledger.reason()), Some(seconds), (ended, total), left);
        }
    }
}

/// Tells of a cell that ended, with how long all will take.
pub fn tell_end(
    study: &StudyFolder,
    cell: &Planned,
    (state, reason): (State, Option<String>),
    seconds: Option<f64>,
    (ended, total): (usize, usize),
    left: Left,
) {
    let accuracy = || Some(StoredRun::read(&study.run(cell)).ok()?.rounds.last()?.record.metrics.accuracy);
    let accuracy = if state == State::Done { accuracy() } else { None };
    let reason = reason.filter(|_| state != State::Done);
    events::tell(
        "cell",
        json!({
            "cell": cell.name(), "folder": cell.folder, "state": state, "reason": reason, "seconds": seconds,
            "accuracy": accuracy, "ended": ended, "of": total, "left_seconds": left.seconds,
            "left_unknown": left.unknown,
        }),
    );
    if events::are_json() {
        return;
    }
    let outcome = match state {
        State::Done => "done".to_owned(),
        State::Failed => "FAILED".to_owned(),
        other => other.name().to_uppercase(),
    };
    let took = seconds.map(|seconds| format!(" in {seconds:.0} s")).unwrap_or_default();
    let accuracy = accuracy.map(|accuracy| format!("  accuracy {:.1} %", accuracy * 100.0)).unwrap_or_default();
    let reason = reason.map(|reason| format!("  {reason}")).unwrap_or_default();
    let left = left.said();
    output::note(&format!("[{ended}/{total}] {:<32} {outcome}{took}{accuracy}{reason}{left}", cell.name()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_go_round_and_cores_are_shared_out() {
        let places = Places { jobs: 3, devices: vec!["cuda:0".to_owned(), "cuda:1".to_owned()], pin: true };
        let devices: Vec<Option<String>> = places.all(1000).into_iter().map(|place| place.device).collect();
        assert_eq!(devices, ["cuda:0", "cuda:1", "cuda:0"].map(|device| Some(device.to_owned())));
        assert!(places.all(1000).iter().all(|place| place.cores.is_none()), "nobody has a thousand cores for each");
        let cores = own_cores();
        if cores.len() >= 2 {
            let pairs = Places { jobs: 2, devices: Vec::new(), pin: true }.all(1);
            let given: Vec<usize> = pairs.iter().flat_map(|place| place.cores.clone().unwrap()).collect();
            assert_eq!(given, cores[..cores.len() / 2 * 2]);
        }
    }
}
