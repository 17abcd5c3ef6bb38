//! What asking a strategy has in common, however its package is run.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use querist_core::observer::{Phase, Progress};
use querist_core::strategy::{Hint, Limit, QueryError, QueryErrorKind};
use querist_core::{Arrays, Granted, Query, Round, ServiceScope, StrategyIdentity, Streams, rights, tile_rows};
use querist_kernels::{Compute, Control, Session, Setup, SetupError, Shared};
use querist_protocol::{Capability, Fault, FaultCode, Handle, HostCalls, Need, Selection, Shown, is_showable, names};

use crate::sandbox::Limits;

/// How often a running plugin is looked after.
const TICK: Duration = Duration::from_millis(10);
/// Needs of a strategy at most: every array, of the pool and of the labelled set.
const MAX_NEEDS: usize = 2 * names::ALL.len();
/// Named figures in an answer at most.
pub(crate) const MAX_DIAGNOSTICS: usize = 64;

/// A call that ended badly, before it is known whose it was.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: QueryErrorKind,
    pub(crate) message: Shown,
    pub(crate) hint: Option<Hint>,
}

impl Failure {
    pub(crate) fn new(kind: QueryErrorKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: QueryError::shown(message.as_ref()), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn of(self, identity: &StrategyIdentity) -> QueryError {
        let Self { kind, message, hint } = self;
        QueryError::new(identity, kind, message.as_str()).with_hint(hint)
    }
}

pub(crate) fn fault_failure(fault: &Fault) -> Failure {
    match fault.code {
        FaultCode::Deadline => Failure::new(QueryErrorKind::Timeout, &fault.message).hint(Limit::Seconds),
        FaultCode::Cancelled => Failure::new(QueryErrorKind::Cancelled, "cancelled"),
        FaultCode::Quota => Failure::new(QueryErrorKind::Memory, &fault.message).hint(Limit::Memory),
        _ => Failure::new(QueryErrorKind::Failed, &fault.message),
    }
}

pub(crate) fn setup_failure(error: &SetupError) -> Failure {
    Failure::new(QueryErrorKind::Failed, error.to_string())
}

fn host_failure() -> Failure {
    Failure::new(QueryErrorKind::Failed, "the host failed while it served the plugin; please report this")
}

/// The parts of a query that its threads look at.
pub(crate) struct Asked<'a> {
    pub(crate) arrays: &'a Granted,
    pub(crate) batch: usize,
    pub(crate) state: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    pub(crate) fn of(query: &Query<'a>) -> Self {
        Self { arrays: query.arrays, batch: query.batch, state: query.state }
    }
}

/// What plugin code used.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) fuel: u64,
    pub(crate) memory: u64,
}

/// The reins of a query under these limits.
pub(crate) fn control(limits: &Limits) -> Arc<Control> {
    Arc::new(Control::new(shares(limits), Some(Instant::now() + limits.time)))
}

/// Reins without a deadline, for what the host itself can stop.
pub(crate) fn unhurried(limits: &Limits) -> Arc<Control> {
    Arc::new(Control::new(shares(limits), None))
}

fn shares(limits: &Limits) -> querist_kernels::Limits {
    querist_kernels::Limits { memory: limits.memory, handles: limits.handles, log_bytes: limits.log as u64 }
}

/// What a plugin reaches while it is asked about itself: nothing.
pub(crate) fn no_query(control: Arc<Control>) -> Result<Arc<Shared>, Failure> {
    without_arrays(0, Round(0), Streams::NONE, control)
}

/// What a plugin reaches while it takes part in training: named random numbers of the round, and no arrays.
pub(crate) fn in_training(scope: ServiceScope<'_>, control: Arc<Control>) -> Result<Arc<Shared>, Failure> {
    without_arrays(scope.batch, scope.round, scope.streams, control)
}

fn without_arrays(batch: usize, round: Round, streams: Streams, control: Arc<Control>) -> Result<Arc<Shared>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(QueryErrorKind::Failed, error.to_string());
    let none = Arrays::new(Vec::new(), Vec::new(), 1, BTreeMap::new()).map_err(|error| failed(&error))?;
    let arrays = Granted::new(&none, &[], &[]).map_err(|error| failed(&error))?;
    let batch = batch.min(u32::MAX as usize);
    let setup = Setup { arrays, batch, round, streams, compute: Compute::threads(1) };
    Shared::new(setup, control).map(Arc::new).map_err(|error| setup_failure(&error))
}

/// What a plugin reaches during `query`.
pub(crate) fn open(
    query: &Query<'_>,
    streams: Streams,
    compute: Compute,
    control: Arc<Control>,
) -> Result<Arc<Shared>, Failure> {
    let setup = Setup {
        arrays: query.arrays.clone(),
        batch: query.batch.min(u32::MAX as usize),
        round: query.round,
        streams,
        compute,
    };
    Shared::new(setup, control).map(Arc::new).map_err(|error| setup_failure(&error))
}

/// Runs `work` while another thread ticks and passes progress on.
pub(crate) fn under_the_clock<T>(
    control: &Control,
    progress: Option<&dyn Progress>,
    tick: impl Fn() + Send,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let (done, finished) = mpsc::channel::<()>();
        scope.spawn(move || {
            while let Err(mpsc::RecvTimeoutError::Timeout) = finished.recv_timeout(TICK) {
                tick();
                pass_on(control, progress);
            }
        });
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(host_failure()));
        drop(done);
        result
    })
}

/// Passes progress on, and a wish to stop back.
fn pass_on(control: &Control, progress: Option<&dyn Progress>) {
    let (steps, total) = control.progress();
    if progress.is_some_and(|progress| progress.report(Phase::Query, steps, total).is_err()) {
        control.cancel();
    }
}

/// Room for the scores of one tile.
pub(crate) type Place<'a> = &'a mut [MaybeUninit<f64>];

/// Scores tile by tile on `workers` threads, then ranks. `score` fills the whole place of a tile, the tie-breakers' too
/// if it says that it has some.
pub(crate) fn score_tiles(
    shared: &Arc<Shared>,
    query: &Asked<'_>,
    tile: usize,
    workers: usize,
    score: impl Fn(Range<usize>, Place<'_>, Place<'_>) -> Result<(bool, Cost), Failure> + Sync,
) -> Result<(Selection, Cost), Failure> {
    let rows = query.arrays.ids().len();
    let tiles = rows.div_ceil(tile);
    // Tiles are handed out with their places in the result, so that a million scores are written once.
    let (mut primary, mut second) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut room = [&mut primary, &mut second].map(|scores: &mut Vec<f64>| scores.spare_capacity_mut());
    let [first_room, second_room] = room.each_mut().map(|room| room[..rows].chunks_mut(tile));
    let places = Mutex::new(first_room.zip(second_room).enumerate());
    let work = || {
        let progress = Session::new(shared.clone());
        let (mut with_second, mut cost) = (0, Cost::default());
        loop {
            let next = places.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, (primary, second))) = next else {
                return Ok((with_second, cost));
            };
            let window = number * tile..number * tile + primary.len();
            let (has_second, tile_cost) = score(window, primary, second)?;
            with_second += usize::from(has_second);
            cost.fuel += tile_cost.fuel;
            progress.progress(number as u64 + 1, tiles as u64).map_err(|fault| fault_failure(&fault))?;
        }
    };
    let parts: Vec<Result<_, Failure>> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (1..workers.clamp(1, tiles.max(1))).map(|_| scope.spawn(work)).collect();
        let own = work();
        spawned.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(host_failure()))).chain([own]).collect()
    });
    let (mut with_second, mut cost) = (0, Cost::default());
    for part in parts {
        let (tiles, tile_cost) = part?;
        with_second += tiles;
        cost.fuel += tile_cost.fuel;
    }
    if with_second != 0 && with_second != tiles {
        return Err(Failure::new(QueryErrorKind::Contract, "some tiles have tie-breakers and some have none"));
    }
    cost.memory += (2 * rows * size_of::<f64>()) as u64;
    // SAFETY: every tile was scored, and so its place filled; the tie-breakers' if every tile has some.
    unsafe {
        primary.set_len(rows);
        second.set_len(if with_second > 0 { rows } else { 0 });
    }
    let second = (with_second > 0).then_some(&second[..]);
    let picked = Session::new(shared.clone())
        .rank(&primary, second, query.batch.min(rows))
        .map_err(|fault| fault_failure(&fault))?;
    let scores = picked.iter().map(|&row| primary[row as usize]).collect();
    Ok((Selection { rows: picked, scores, ..Selection::default() }, cost))
}

/// Rows of a tile of this query.
pub(crate) fn tile_of(query: &Asked<'_>, needs: &[Need], bytes: usize) -> usize {
    tile_rows(needs, query.arrays, bytes)
}

/// Copies the scores of a tile, which a plugin named by their handle, to their place.
pub(crate) fn read_scores(session: &Session, handle: Handle, out: Place<'_>) -> Result<(), Failure> {
    let values = session.vector_values(handle).map_err(|fault| fault_failure(&fault))?;
    if values.len() != out.len() {
        let message = format!("gave {} scores for a tile of {} rows", values.len(), out.len());
        return Err(Failure::new(QueryErrorKind::Contract, message));
    }
    if let Some(row) = values.iter().position(|score| !score.is_finite()) {
        let message = format!("row {row} of a tile scored {}; scores must be finite", values[row]);
        return Err(Failure::new(QueryErrorKind::Contract, message));
    }
    out.write_copy_of_slice(&values);
    Ok(())
}

/// The needs that a plugin gave as texts.
pub(crate) fn parse_needs(texts: &[String]) -> Result<Vec<Need>, Failure> {
    if texts.len() > MAX_NEEDS {
        let message = format!("it has {} needs, the limit is {MAX_NEEDS}", texts.len());
        return Err(Failure::new(QueryErrorKind::Output, message));
    }
    let parse = |text: &String| {
        text.parse().map_err(|error| Failure::new(QueryErrorKind::Dishonest, format!("its needs: {error}")))
    };
    texts.iter().map(parse).collect()
}

/// Hidden labels are for strategies that declare so: reports must be able to say it.
pub(crate) fn check_rights(needs: &[Need], declared: &[Capability]) -> Result<(), Failure> {
    rights::check(needs, declared).map_err(|error| Failure::new(QueryErrorKind::Dishonest, error.to_string()))
}

/// Bytes of state that a strategy over arrays may keep.
pub(crate) fn state_limit(arrays: &Arrays) -> usize {
    (1 << 20) + 16 * (arrays.ids().len() + arrays.labelled_ids().len())
}

/// Checks the parts of an answer that the loop does not look at.
pub(crate) fn check_selection(selection: &Selection, state_limit: usize) -> Result<(), Failure> {
    let output = |message: String| Err(Failure::new(QueryErrorKind::Output, message));
    match &selection.state {
        Some(state) if state.len() > state_limit => {
            return output(format!(
                "its state has {} bytes, the limit is 1 MiB + 16 a sample = {state_limit}",
                state.len()
            ));
        }
        _ => {}
    }
    if selection.diagnostics.len() > MAX_DIAGNOSTICS {
        return output(format!("{} diagnostics, the limit is {MAX_DIAGNOSTICS}", selection.diagnostics.len()));
    }
    let is_odd = |name: &str, value: f64| !(1..=64).contains(&name.len()) || !is_showable(name) || !value.is_finite();
    if let Some((name, value)) = selection.diagnostics.iter().find(|(name, value)| is_odd(name, *value)) {
        return output(format!(
            "diagnostic `{}` is {value}; names have 1 to 64 bytes that can be shown, and values are finite",
            Shown::name(name)
        ));
    }
    let mut names = BTreeSet::new();
    match selection.diagnostics.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => output(format!("diagnostic `{name}` is there twice")),
        None => Ok(()),
    }
}
