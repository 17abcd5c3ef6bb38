//! Cells as processes on this machine, some at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::doing::{Doing, How, own_cores};
use super::folder::{Planned, StudyFolder};
use super::ledger::{Ledger, State};
use crate::stored_run::StoredRun;
use crate::{output, progress};

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
pub fn work(study: &StudyFolder, todo: Vec<&Planned>, how: &How, places: &Places) -> Result<Vec<String>> {
    let total = todo.len();
    let mut waiting: VecDeque<&Planned> = todo.into();
    let mut free: Vec<Place> = places.all(how.threads);
    free.reverse();
    let mut running: Vec<(&Planned, Doing, Place)> = Vec::new();
    let mut failed = Vec::new();
    let (since, mut ended, mut told) = (Instant::now(), 0, false);
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
        let mut still = Vec::new();
        for (cell, mut doing, place) in running {
            let Some(ledger) = doing.poll()? else {
                still.push((cell, doing, place));
                continue;
            };
            ended += 1;
            tell(study, cell, &ledger, doing.seconds(), (ended, total), left(since, ended, total));
            if ledger.state() != State::Done {
                failed.push(cell.name());
            }
            free.push(place);
        }
        running = still;
    }
}

/// One line for a cell that ended.
fn tell(
    study: &StudyFolder,
    cell: &Planned,
    ledger: &Ledger,
    seconds: f64,
    (ended, total): (usize, usize),
    left: String,
) {
    let outcome = match ledger.state() {
        State::Done => "done".to_owned(),
        State::Failed => "FAILED".to_owned(),
        other => other.name().to_uppercase(),
    };
    let accuracy = || {
        let run = StoredRun::read(&study.run(cell)).ok()?;
        Some(format!("  accuracy {:.1} %", run.rounds.last()?.record.metrics.accuracy * 100.0))
    };
    let more = match ledger.state() {
        State::Done => accuracy().unwrap_or_default(),
        _ => ledger.reason().map(|reason| format!("  {reason}")).unwrap_or_default(),
    };
    output::note(&format!("[{ended}/{total}] {:<32} {outcome} in {seconds:.0} s{more}{left}", cell.name()));
}

/// What is left, by what was done: all ends so far took this long, and the rest will take as long each.
fn left(since: Instant, ended: usize, total: usize) -> String {
    let seconds = since.elapsed().as_secs_f64() / ended as f64 * (total - ended) as f64;
    match seconds {
        _ if ended == total => String::new(),
        s if s < 90.0 => format!("  (about {s:.0} s left)"),
        s if s < 5400.0 => format!("  (about {:.0} min left)", s / 60.0),
        s => format!("  (about {:.1} h left)", s / 3600.0),
    }
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
