//! Sandboxed strategies: the host's side of `plugin-sdk/wit`.

use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use querist_core::observer::Phase;
use querist_core::strategy::{QueryError, QueryErrorKind};
use querist_core::{Answer, Arrays, Query, Round, Seeds, Strategy, StrategyIdentity, StrategyKind, Usage, tile_rows};
use querist_kernels::{Control, Session, Setup, SetupError, Shared};
use querist_protocol::{Fault, FaultCode, HostCalls, Need, Selection, StrategyDescription, TILE_BYTES, names};
use serde_json::Value;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::discover::Resolved;
use crate::sandbox::{Limiter, Limits, MAX_INSTANCES, Sandbox, SandboxError};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../plugin-sdk/wit",
        world: "plugin",
        with: {
            "querist:strategy/host.stream": super::objects::Stream,
            "querist:strategy/host.vector": super::objects::Vector,
            "querist:strategy/host.mask": super::objects::Mask,
            "querist:strategy/host.matrix": super::objects::Matrix,
            "querist:strategy/host.graph": super::objects::Graph,
            "querist:strategy/host.points": super::objects::Points,
            "querist:strategy/host.nearest": super::objects::Nearest,
            "querist:strategy/host.design": super::objects::Design,
            "querist:strategy/host.clustering": super::objects::Clustering,
        },
    });
}

/// Kinds of handles. Their numbers are those of the session's objects.
pub(crate) mod objects {
    pub struct Stream;
    pub struct Vector;
    pub struct Mask;
    pub struct Matrix;
    pub struct Graph;
    pub struct Points;
    pub struct Nearest;
    pub struct Design;
    pub struct Clustering;
}

mod host;

use bindings::exports::querist::strategy::strategies as exported;
use bindings::querist::strategy::types;
use bindings::{Plugin, PluginPre};

/// How often the clock of a running plugin is looked at.
const TICK: Duration = Duration::from_millis(10);
/// Ticks of fuel that a plugin without a limit gets: more than it can use up.
const UNLIMITED_FUEL: u64 = u64::MAX / 2;
/// Needs of a strategy at most: every array, of the pool and of the labelled set.
const MAX_NEEDS: usize = 2 * names::ALL.len();
/// Named figures in an answer at most.
const MAX_DIAGNOSTICS: usize = 64;

/// What a running instance reaches.
pub struct CallState {
    session: Session,
    limiter: Limiter,
}

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    Plugin::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// Asks a component to describe itself.
pub(crate) fn describe(sandbox: &Sandbox, component: &Component) -> Result<querist_protocol::Description, String> {
    let limits = Limits { time: Duration::from_secs(10), ..Limits::default() };
    let shared = no_query(&limits).map_err(|failure| failure.message)?;
    let text = call_once(sandbox, component, &shared, &limits, |plugin, store| {
        plugin.querist_strategy_strategies().call_describe(store)
    })
    .map_err(|failure| failure.message)?;
    serde_json::from_str(&text).map_err(|error| format!("`describe` gave no description: {error}"))
}

fn control(limits: &Limits) -> Arc<Control> {
    let shares =
        querist_kernels::Limits { memory: limits.memory, handles: limits.handles, log_bytes: limits.log as u64 };
    Arc::new(Control::new(shares, Some(Instant::now() + limits.time)))
}

/// What instances reach while they are asked about themselves: nothing.
fn no_query(limits: &Limits) -> Result<Arc<Shared>, Failure> {
    let arrays = Arrays::new(Vec::new(), Vec::new(), 1, std::collections::BTreeMap::new())
        .map_err(|error| Failure::new(QueryErrorKind::Failed, error.to_string()))?;
    let setup = Setup {
        arrays,
        needs: Vec::new(),
        batch: 0,
        round: Round(0),
        seeds: Seeds::default(),
        strategy: String::new(),
        threads: 1,
    };
    Shared::new(setup, control(limits)).map(Arc::new).map_err(|error| setup_failure(&error))
}

fn setup_failure(error: &SetupError) -> Failure {
    Failure::new(QueryErrorKind::Failed, error.to_string())
}

/// Runs one call of a fresh instance under the clock.
fn call_once<T: Send>(
    sandbox: &Sandbox,
    component: &Component,
    shared: &Arc<Shared>,
    limits: &Limits,
    call: impl FnOnce(&Plugin, &mut Store<CallState>) -> wasmtime::Result<T> + Send,
) -> Result<T, Failure> {
    let prepared = prepare(sandbox, component)?;
    under_the_clock(sandbox, shared.control(), None, || {
        let mut instance = Instance::new(sandbox, &prepared, shared, 0..0, limits)?;
        instance.run(call)
    })
}

fn prepare(sandbox: &Sandbox, component: &Component) -> Result<PluginPre<CallState>, Failure> {
    let wrong = |error: wasmtime::Error| Failure {
        kind: QueryErrorKind::Dishonest,
        message: format!("not a strategy of this boundary: {error:#}"),
        hint: Some("build it with the SDK of this release".to_owned()),
    };
    let pre: InstancePre<CallState> = sandbox.linker().instantiate_pre(component).map_err(wrong)?;
    PluginPre::new(pre).map_err(wrong)
}

/// Runs `work` on a thread of its own while this one advances the engine's clock and passes progress on.
fn under_the_clock<T: Send>(
    sandbox: &Sandbox,
    control: &Control,
    progress: Option<&dyn querist_core::observer::Progress>,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let (done, finished) = mpsc::channel();
        let worker = scope.spawn(move || {
            let result = work();
            // Nobody listens any more only if the clock's thread is gone, and then there is nobody to tell.
            let _ = done.send(());
            result
        });
        while let Err(mpsc::RecvTimeoutError::Timeout) = finished.recv_timeout(TICK) {
            sandbox.engine().increment_epoch();
            let (steps, total) = control.progress();
            if progress.is_some_and(|progress| progress.report(Phase::Query, steps, total).is_err()) {
                control.cancel();
            }
        }
        worker.join().unwrap_or_else(|_| {
            Err(Failure {
                kind: QueryErrorKind::Failed,
                message: "the host failed while it served the plugin; please report this".to_owned(),
                hint: None,
            })
        })
    })
}

/// One instance with its store, for one call.
struct Instance {
    store: Store<CallState>,
    plugin: Plugin,
    fuel: u64,
}

impl Instance {
    fn new(
        sandbox: &Sandbox,
        prepared: &PluginPre<CallState>,
        shared: &Arc<Shared>,
        rows: std::ops::Range<usize>,
        limits: &Limits,
    ) -> Result<Self, Failure> {
        let session = Session::tile(shared.clone(), rows).map_err(|fault| fault_failure(&fault))?;
        let state = CallState { session, limiter: Limiter::new(limits.memory) };
        let mut store = Store::new(sandbox.engine(), state);
        store.limiter(|state| &mut state.limiter);
        let fuel = limits.fuel.unwrap_or(UNLIMITED_FUEL);
        store.set_hostcall_fuel(usize::try_from(limits.memory).unwrap_or(usize::MAX));
        store.set_max_component_handles(limits.handles as usize + 64);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| match context.data().session.control().check() {
            Ok(()) => Ok(UpdateDeadline::Continue(1)),
            Err(fault) => Err(wasmtime::Error::msg(fault.message)),
        });
        let instantiated = store.set_fuel(fuel).and_then(|()| prepared.instantiate(&mut store));
        match instantiated {
            Ok(plugin) => Ok(Self { store, plugin, fuel }),
            Err(error) => Err(explain(&store, &error)),
        }
    }

    fn run<T>(
        &mut self,
        call: impl FnOnce(&Plugin, &mut Store<CallState>) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        call(&self.plugin, &mut self.store).map_err(|error| explain(&self.store, &error))
    }

    fn fuel_used(&self) -> u64 {
        self.fuel - self.store.get_fuel().unwrap_or(self.fuel)
    }

    fn memory_peak(&self) -> u64 {
        self.store.data().limiter.peak
    }
}

/// A call that ended badly, before it is known whose it was.
#[derive(Debug)]
struct Failure {
    kind: QueryErrorKind,
    message: String,
    hint: Option<String>,
}

impl Failure {
    fn new(kind: QueryErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}

/// Finds out why a call trapped.
fn explain(store: &Store<CallState>, error: &wasmtime::Error) -> Failure {
    let state = store.data();
    let control = state.session.control();
    if let Some(panic) = control.panic_text() {
        return Failure::new(QueryErrorKind::Panic, format!("the plugin panicked: {panic}"));
    }
    if let Err(fault) = control.check() {
        return fault_failure(&fault);
    }
    if state.limiter.refused.is_some() {
        return Failure::new(QueryErrorKind::Memory, root_cause(error))
            .hint("raise `limits.memory`, or use kernels of the host instead of arrays of its own");
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            Failure::new(QueryErrorKind::Fuel, "the plugin used up its fuel").hint("raise `limits.fuel`")
        }
        Some(Trap::StackOverflow) => Failure::new(QueryErrorKind::Trap, "the plugin's stack overflowed"),
        Some(Trap::MemoryOutOfBounds) => Failure::new(
            QueryErrorKind::Trap,
            "the plugin read or wrote outside its memory (deep recursion ends this way too)",
        ),
        Some(trap) => Failure::new(QueryErrorKind::Trap, format!("the plugin crashed: {trap}")),
        None => {
            let cause = root_cause(error);
            let too_much = cause.contains("too much data") || cause.contains("handle");
            let kind = if too_much { QueryErrorKind::Output } else { QueryErrorKind::Trap };
            Failure::new(kind, format!("the plugin was stopped: {cause}"))
        }
    }
}

/// The last cause of an error, without the backtrace of nameless frames.
fn root_cause(error: &wasmtime::Error) -> String {
    error.chain().last().map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

fn fault_failure(fault: &Fault) -> Failure {
    match fault.code {
        FaultCode::Deadline => Failure::new(QueryErrorKind::Timeout, &*fault.message).hint("raise `limits.seconds`"),
        FaultCode::Cancelled => Failure::new(QueryErrorKind::Cancelled, "cancelled"),
        FaultCode::Quota => Failure::new(QueryErrorKind::Memory, &*fault.message).hint("raise `limits.memory`"),
        _ => Failure::new(QueryErrorKind::Failed, &*fault.message),
    }
}

fn answered_error(error: types::Error) -> Failure {
    match error {
        types::Error::InvalidParams(message) => Failure::new(QueryErrorKind::InvalidParams, message),
        types::Error::Unknown(message) => {
            Failure::new(QueryErrorKind::Dishonest, format!("the package refuses a strategy it lists: {message}"))
        }
        types::Error::Failed(message) => Failure::new(QueryErrorKind::Failed, message),
        types::Error::Fault(fault) => fault_failure(&host::fault_from_wit(fault)),
    }
}

/// A strategy of a sandboxed package with its parameters.
pub struct WasmStrategy {
    sandbox: Arc<Sandbox>,
    component: Component,
    identity: StrategyIdentity,
    description: StrategyDescription,
    params: String,
    needs: Vec<Need>,
    limits: Limits,
    threads: usize,
    tile_bytes: usize,
}

impl WasmStrategy {
    /// Loads a strategy, compares what it says of itself with its manifest and asks for its needs.
    ///
    /// `params` are checked against the schema and complete.
    ///
    /// # Errors
    /// If the package cannot be loaded, says something else than its manifest, or refuses the parameters.
    pub fn load(
        sandbox: Arc<Sandbox>,
        resolved: Resolved<'_>,
        params: &Value,
        limits: Limits,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let package = resolved.package;
        let identity = StrategyIdentity {
            id: resolved.strategy.id.clone(),
            package: package.description.package.clone(),
            version: package.description.version.clone(),
            kind: StrategyKind::Wasm,
            digest: package.digest.clone(),
        };
        let component = sandbox
            .load(&package.artifact, &package.digest)
            .map_err(|source| LoadError::Sandbox { package: package.description.package.clone(), source })?;
        let mut strategy = Self {
            sandbox,
            component,
            identity,
            description: resolved.strategy.clone(),
            params: params.to_string(),
            needs: Vec::new(),
            limits,
            threads,
            tile_bytes: TILE_BYTES,
        };
        let described = describe(&strategy.sandbox, &strategy.component)
            .map_err(|message| strategy.error(Failure::new(QueryErrorKind::Dishonest, message)))?;
        if described != package.description {
            let message = "it describes itself otherwise than its manifest does";
            return Err(strategy.error(Failure::new(QueryErrorKind::Dishonest, message)).into());
        }
        strategy.needs = strategy.ask_needs().map_err(|failure| strategy.error(failure))?;
        Ok(strategy)
    }

    /// What the package says of this strategy.
    pub fn description(&self) -> &StrategyDescription {
        &self.description
    }

    /// The same strategy with tiles of another size, which must not change any answer.
    #[must_use]
    pub fn with_tile_bytes(mut self, bytes: usize) -> Self {
        self.tile_bytes = bytes;
        self
    }

    fn error(&self, failure: Failure) -> QueryError {
        QueryError {
            identity: Box::new(self.identity.clone()),
            kind: failure.kind,
            message: failure.message,
            hint: failure.hint,
        }
    }

    fn ask_needs(&self) -> Result<Vec<Need>, Failure> {
        let limits = Limits { time: Duration::from_secs(10).min(self.limits.time), ..self.limits };
        let shared = no_query(&limits)?;
        let (id, params) = (&self.identity.id, &self.params);
        let answer = call_once(&self.sandbox, &self.component, &shared, &limits, |plugin, store| {
            plugin.querist_strategy_strategies().call_needs(store, id, params)
        })?;
        let texts = answer.map_err(answered_error)?;
        let parse = |text: &String| {
            text.parse().map_err(|error| Failure::new(QueryErrorKind::Dishonest, format!("its needs: {error}")))
        };
        if texts.len() > MAX_NEEDS {
            let message = format!("it has {} needs, the limit is {MAX_NEEDS}", texts.len());
            return Err(Failure::new(QueryErrorKind::Output, message));
        }
        texts.iter().map(parse).collect()
    }

    fn answer(&self, query: &Query<'_>, shared: &Arc<Shared>) -> Result<(Selection, Cost), Failure> {
        let prepared = prepare(&self.sandbox, &self.component)?;
        under_the_clock(&self.sandbox, shared.control(), Some(query.progress), || {
            if self.description.scorer {
                self.score(query, shared, &prepared)
            } else {
                self.select(query, shared, &prepared)
            }
        })
    }

    fn select(
        &self,
        query: &Query<'_>,
        shared: &Arc<Shared>,
        prepared: &PluginPre<CallState>,
    ) -> Result<(Selection, Cost), Failure> {
        let rows = 0..query.arrays.ids().len();
        let mut instance = Instance::new(&self.sandbox, prepared, shared, rows, &self.limits)?;
        let answer = instance.run(|plugin, store| {
            plugin.querist_strategy_strategies().call_select(store, &self.identity.id, &self.params, query.state)
        })?;
        let selection = answer.map_err(answered_error)?;
        let cost = Cost { fuel: instance.fuel_used(), memory: instance.memory_peak() };
        Ok((selection_from_wit(selection, query)?, cost))
    }

    /// Scores tile by tile in parallel instances, then ranks.
    fn score(
        &self,
        query: &Query<'_>,
        shared: &Arc<Shared>,
        prepared: &PluginPre<CallState>,
    ) -> Result<(Selection, Cost), Failure> {
        let rows = query.arrays.ids().len();
        let tile = tile_rows(&self.needs, query.arrays, self.tile_bytes);
        let tiles = rows.div_ceil(tile);
        // Tiles are handed out with their places in the result, so that a million scores are written once.
        let (mut primary, mut second) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut room = [&mut primary, &mut second].map(|scores: &mut Vec<f64>| scores.spare_capacity_mut());
        let [first_room, second_room] = room.each_mut().map(|room| room[..rows].chunks_mut(tile));
        let places = first_room.zip(second_room).enumerate();
        let places = Mutex::new(places);
        let work = || {
            let progress = Session::new(shared.clone());
            let (mut with_second, mut cost) = (0, Cost::default());
            loop {
                let next = places.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((number, (primary, second))) = next else {
                    return Ok((with_second, cost));
                };
                let window = number * tile..number * tile + primary.len();
                let (has_second, tile_cost) = self.score_tile(shared, prepared, window, primary, second)?;
                with_second += usize::from(has_second);
                cost.fuel += tile_cost.fuel;
                cost.memory = cost.memory.max(tile_cost.memory);
                progress.progress(number as u64 + 1, tiles as u64).map_err(|fault| fault_failure(&fault))?;
            }
        };
        let workers = self.threads.min(MAX_INSTANCES / 2).clamp(1, tiles.max(1));
        let parts: Vec<Result<_, Failure>> = std::thread::scope(|scope| {
            let spawned: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
            let own = work();
            spawned
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err(host_failure())))
                .chain([own])
                .collect()
        });
        let (mut with_second, mut cost) = (0, Cost::default());
        for part in parts {
            let (tiles, tile_cost) = part?;
            with_second += tiles;
            cost.fuel += tile_cost.fuel;
            // Workers run at the same time.
            cost.memory += tile_cost.memory;
        }
        if with_second != 0 && with_second != tiles {
            return Err(Failure::new(QueryErrorKind::Contract, "some tiles have tie-breakers and some have none"));
        }
        cost.memory += (2 * rows * size_of::<f64>()) as u64;
        // SAFETY: every tile was scored, and `score_tile` fills a tile's whole place; the tie-breakers' if it says so.
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

    /// Writes the scores of one tile to their places, all of them; tells whether there are tie-breakers.
    fn score_tile(
        &self,
        shared: &Arc<Shared>,
        prepared: &PluginPre<CallState>,
        window: std::ops::Range<usize>,
        primary: &mut [MaybeUninit<f64>],
        second: &mut [MaybeUninit<f64>],
    ) -> Result<(bool, Cost), Failure> {
        let rows = window.len();
        let mut instance = Instance::new(&self.sandbox, prepared, shared, window, &self.limits)?;
        let answer = instance.run(|plugin, store| {
            plugin.querist_strategy_strategies().call_score(store, &self.identity.id, &self.params)
        })?;
        let scores = answer.map_err(answered_error)?;
        let session = &instance.store.data().session;
        let read = |handle: u32, out: &mut [MaybeUninit<f64>]| -> Result<(), Failure> {
            let values = session.vector_values(handle).map_err(|fault| fault_failure(&fault))?;
            if values.len() != rows {
                let message = format!("gave {} scores for a tile of {rows} rows", values.len());
                return Err(Failure::new(QueryErrorKind::Contract, message));
            }
            out.write_copy_of_slice(&values);
            if let Some(row) = values.iter().position(|score| !score.is_finite()) {
                let message = format!("row {row} of a tile scored {}; scores must be finite", values[row]);
                return Err(Failure::new(QueryErrorKind::Contract, message));
            }
            Ok(())
        };
        read(scores.primary.rep(), primary)?;
        let has_second = scores.second.is_some();
        if let Some(scores) = scores.second {
            read(scores.rep(), second)?;
        }
        Ok((has_second, Cost { fuel: instance.fuel_used(), memory: instance.memory_peak() }))
    }
}

#[derive(Default)]
struct Cost {
    fuel: u64,
    memory: u64,
}

fn host_failure() -> Failure {
    Failure::new(QueryErrorKind::Failed, "the host failed while it served the plugin; please report this")
}

fn selection_from_wit(selection: exported::Selection, query: &Query<'_>) -> Result<Selection, Failure> {
    let output = |message: String| Err(Failure::new(QueryErrorKind::Output, message));
    let samples = query.arrays.ids().len() + query.arrays.labelled_ids().len();
    let limit = (1 << 20) + 16 * samples;
    match &selection.state {
        Some(state) if state.len() > limit => {
            return output(format!("its state has {} bytes, the limit is 1 MiB + 16 a sample = {limit}", state.len()));
        }
        _ => {}
    }
    if selection.diagnostics.len() > MAX_DIAGNOSTICS {
        return output(format!("{} diagnostics, the limit is {MAX_DIAGNOSTICS}", selection.diagnostics.len()));
    }
    if let Some((name, value)) = selection.diagnostics.iter().find(|(n, v)| n.len() > 64 || !v.is_finite()) {
        let shown: String = name.chars().take(64).collect();
        return output(format!("diagnostic `{shown}` is {value}; names have up to 64 bytes and values are finite"));
    }
    Ok(Selection {
        rows: selection.rows,
        scores: selection.scores,
        diagnostics: selection.diagnostics,
        state: selection.state,
    })
}

impl Strategy for WasmStrategy {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        let clock = Instant::now();
        let control = control(&self.limits);
        let setup = Setup {
            arrays: query.arrays.clone(),
            needs: self.needs.clone(),
            batch: query.batch.min(u32::MAX as usize),
            round: query.round,
            seeds: query.seeds,
            strategy: self.identity.id.clone(),
            // Tiles of a scorer run in parallel already.
            threads: if self.description.scorer { 1 } else { self.threads },
        };
        let answer = Shared::new(setup, control.clone())
            .map_err(|error| setup_failure(&error))
            .and_then(|shared| self.answer(query, &Arc::new(shared)));
        for line in control.take_log() {
            query.progress.log(line.level, &line.message);
        }
        let (selection, cost) = answer.map_err(|failure| self.error(failure))?;
        let usage = Usage {
            seconds: clock.elapsed().as_secs_f64(),
            fuel: Some(cost.fuel),
            peak_memory: cost.memory + control.peak_memory(),
        };
        Ok(Answer { selection, usage })
    }
}

/// Why a strategy cannot be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The component cannot be loaded.
    #[error("package `{package}`: {source}")]
    Sandbox {
        /// Which package.
        package: String,
        /// Why.
        source: SandboxError,
    },
    /// It does not answer as it should.
    #[error(transparent)]
    Query(#[from] QueryError),
}
