//! Sandboxed strategies: the host's side of `plugin-sdk/wit`.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use querist_core::strategy::{Hint, Limit, QueryError, QueryErrorKind};
use querist_core::{Answer, Query, Strategy, StrategyIdentity, Usage};
use querist_kernels::{Compute, Session, Shared};
use querist_protocol::{Capability, Fault, Need, Selection, StrategyDescription, TILE_BYTES};
use serde_json::Value;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::asking::{
    Asked, Cost, Failure, Place, check_rights, check_selection, control, fault_failure, no_query, open, parse_needs,
    read_scores, score_tiles, state_limit, tile_of, under_the_clock,
};
use crate::discover::Resolved;
use crate::native::NativeError;
use crate::sandbox::{Limiter, Limits, MAX_INSTANCES, Memory, Sandbox, SandboxError};

mod generated;

use generated::bindings::querist::strategy::types;
use generated::bindings::{Plugin, PluginPre};
use generated::fault_code_from_wit;

/// Ticks of fuel that a plugin without a limit gets: more than it can use up.
const UNLIMITED_FUEL: u64 = u64::MAX / 2;
/// Time to describe itself or to say what it needs, which takes no work.
const DESCRIBE_TIME: Duration = Duration::from_secs(5);

/// What a running instance reaches.
pub struct CallState {
    session: Session,
    limiter: Limiter,
}

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    Plugin::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// Asks a component to describe itself.
pub(crate) fn describe(
    sandbox: &Sandbox,
    component: &Component,
    limits: &Limits,
) -> Result<querist_protocol::Description, String> {
    let limits = Limits { time: DESCRIBE_TIME.min(limits.time), ..*limits };
    let shared = no_query(control(&limits)).map_err(|failure| failure.message.into_string())?;
    let text = call_once(sandbox, component, &shared, &limits, |plugin, store| {
        plugin.querist_strategy_strategies().call_describe(store)
    })
    .map_err(|failure| failure.message.into_string())?;
    serde_json::from_str(&text).map_err(|error| format!("`describe` gave no description: {error}"))
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
    under_the_clock(
        shared.control(),
        None,
        || sandbox.engine().increment_epoch(),
        || {
            let room = Room { limits: *limits, memory: Memory::new(limits.memory) };
            let mut instance = Instance::new(sandbox, &prepared, Session::new(shared.clone()), &room)?;
            instance.run(call)
        },
    )
}

fn prepare(sandbox: &Sandbox, component: &Component) -> Result<PluginPre<CallState>, Failure> {
    let wrong = |error: wasmtime::Error| {
        Failure::new(QueryErrorKind::Dishonest, format!("not a strategy of this boundary: {error:#}"))
            .hint("build it with the SDK of this release")
    };
    let pre: InstancePre<CallState> = sandbox.linker().instantiate_pre(component).map_err(wrong)?;
    PluginPre::new(pre).map_err(wrong)
}

/// What the instances of one question may use together.
struct Room {
    limits: Limits,
    memory: Arc<Memory>,
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
        session: Session,
        Room { limits, memory }: &Room,
    ) -> Result<Self, Failure> {
        let state = CallState { session, limiter: Limiter::new(memory) };
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
    if state.limiter.refused {
        return Failure::new(QueryErrorKind::Memory, root_cause(error))
            .hint(Hint::raise_or(Limit::Memory, "use kernels of the host instead of arrays of its own"));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Failure::new(QueryErrorKind::Fuel, "the plugin used up its fuel").hint(Limit::Fuel),
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

fn answered_error(error: types::Error) -> Failure {
    match error {
        types::Error::InvalidParams(message) => Failure::new(QueryErrorKind::InvalidParams, message),
        types::Error::Unknown(message) => {
            Failure::new(QueryErrorKind::Dishonest, format!("the package refuses a strategy it lists: {message}"))
        }
        types::Error::Failed(message) => Failure::new(QueryErrorKind::Failed, message),
        types::Error::Fault(fault) => fault_failure(&Fault::new(fault_code_from_wit(fault.code), fault.message)),
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
    compute: Compute,
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
        compute: Compute,
    ) -> Result<Self, LoadError> {
        let package = resolved.package;
        let identity = package.identity(&resolved.strategy.id);
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
            compute,
            tile_bytes: TILE_BYTES,
        };
        let described = describe(&strategy.sandbox, &strategy.component, &limits)
            .map_err(|message| strategy.error(Failure::new(QueryErrorKind::Dishonest, message)))?;
        if described != package.description {
            let message = "it describes itself otherwise than its manifest does";
            return Err(strategy.error(Failure::new(QueryErrorKind::Dishonest, message)).into());
        }
        strategy.needs = strategy.ask_needs().map_err(|failure| strategy.error(failure))?;
        check_rights(&strategy.needs, &strategy.description.capabilities).map_err(|failure| strategy.error(failure))?;
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
        failure.of(&self.identity)
    }

    fn ask_needs(&self) -> Result<Vec<Need>, Failure> {
        let limits = Limits { time: DESCRIBE_TIME.min(self.limits.time), ..self.limits };
        let shared = no_query(control(&limits))?;
        let (id, params) = (&self.identity.id, &self.params);
        let answer = call_once(&self.sandbox, &self.component, &shared, &limits, |plugin, store| {
            plugin.querist_strategy_strategies().call_needs(store, id, params)
        })?;
        parse_needs(&answer.map_err(answered_error)?)
    }

    fn answer(&self, query: &Query<'_>, shared: &Arc<Shared>) -> Result<(Selection, Cost), Failure> {
        let prepared = prepare(&self.sandbox, &self.component)?;
        let asked = Asked::of(query);
        let tick = || self.sandbox.engine().increment_epoch();
        under_the_clock(shared.control(), Some(query.progress), tick, || {
            if self.description.scorer {
                self.score(&asked, shared, &prepared)
            } else {
                self.select(&asked, shared, &prepared)
            }
        })
    }

    fn select(
        &self,
        query: &Asked<'_>,
        shared: &Arc<Shared>,
        prepared: &PluginPre<CallState>,
    ) -> Result<(Selection, Cost), Failure> {
        let session = Session::new(shared.clone());
        let room = self.room();
        let mut instance = Instance::new(&self.sandbox, prepared, session, &room)?;
        let answer = instance.run(|plugin, store| {
            plugin.querist_strategy_strategies().call_select(store, &self.identity.id, &self.params, query.state)
        })?;
        let selection = answer.map_err(answered_error)?;
        let cost = Cost { fuel: instance.fuel_used(), memory: room.memory.peak() };
        let selection = Selection {
            rows: selection.rows,
            scores: selection.scores,
            diagnostics: selection.diagnostics,
            state: selection.state,
        };
        check_selection(&selection, state_limit(query.arrays))?;
        Ok((selection, cost))
    }

    fn score(
        &self,
        query: &Asked<'_>,
        shared: &Arc<Shared>,
        prepared: &PluginPre<CallState>,
    ) -> Result<(Selection, Cost), Failure> {
        let tile = tile_of(query, &self.needs, self.tile_bytes);
        let workers = self.compute.threads.min(MAX_INSTANCES / 2);
        let (room, turns) = (self.room(), Turns::default());
        let (selection, cost) = score_tiles(shared, query, tile, workers, |window, primary, second| {
            turns.take(shared, || {
                self.score_tile(shared, prepared, &room, (window.clone(), &mut *primary, &mut *second))
            })
        })?;
        Ok((selection, Cost { memory: cost.memory + room.memory.peak(), ..cost }))
    }

    fn score_tile(
        &self,
        shared: &Arc<Shared>,
        prepared: &PluginPre<CallState>,
        room: &Room,
        (window, primary, second): (Range<usize>, Place<'_>, Place<'_>),
    ) -> Result<(bool, Cost), Failure> {
        let session = Session::tile(shared.clone(), window).map_err(|fault| fault_failure(&fault))?;
        let mut instance = Instance::new(&self.sandbox, prepared, session, room)?;
        let answer = instance.run(|plugin, store| {
            plugin.querist_strategy_strategies().call_score(store, &self.identity.id, &self.params)
        })?;
        let scores = answer.map_err(answered_error)?;
        let session = &instance.store.data().session;
        read_scores(session, scores.primary.rep(), primary)?;
        if let Some(scores) = &scores.second {
            read_scores(session, scores.rep(), second)?;
        }
        Ok((scores.second.is_some(), Cost { fuel: instance.fuel_used(), memory: 0 }))
    }

    fn room(&self) -> Room {
        Room { limits: self.limits, memory: Memory::new(self.limits.memory) }
    }
}

/// Tiles beside each other share the memory of the query. One that fails there is scored again with nothing beside it, so
/// that the answer does not depend on how many threads there are.
#[derive(Default)]
struct Turns(RwLock<()>);

impl Turns {
    fn take<T>(&self, shared: &Shared, mut score: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let beside = {
            let _others = self.0.read().unwrap_or_else(PoisonError::into_inner);
            score()
        };
        match beside {
            Err(failure) if !matches!(failure.kind, QueryErrorKind::Timeout | QueryErrorKind::Cancelled) => {
                let _alone = self.0.write().unwrap_or_else(PoisonError::into_inner);
                shared.control().forget_panic();
                score()
            }
            done => done,
        }
    }
}

impl Strategy for WasmStrategy {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &self.description.capabilities
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        let clock = Instant::now();
        let control = control(&self.limits);
        // Tiles of a scorer run in parallel already.
        let compute = if self.description.scorer { Compute::threads(1) } else { self.compute.clone() };
        let answer = open(query, query.seeds.strategy(&self.identity.id), compute, control.clone())
            .and_then(|shared| Self::answer(self, query, &shared));
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
    /// The native package cannot be loaded.
    #[error("package `{package}`: {source}")]
    Native {
        /// Which package.
        package: String,
        /// Why.
        source: NativeError,
    },
    /// It does not answer as it should.
    #[error(transparent)]
    Query(#[from] QueryError),
}
