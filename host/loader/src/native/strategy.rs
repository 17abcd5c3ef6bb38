//! Strategies of native packages in this process.

use std::sync::Arc;
use std::time::Instant;

use querist_core::observer::Progress;
use querist_core::strategy::{QueryError, QueryErrorKind};
use querist_core::{
    Answer, HooksPresent, HostServices, Query, Strategy, StrategyIdentity, Streams, TrainingHooks, Usage,
};
use querist_kernels::{Compute, Control, Session, Shared};
use querist_protocol::abi::{self, Bytes, Call, EpochFigures, Loss, Minibatch, PluginApi, Status};
use querist_protocol::{
    Capability, Description, Fault, FaultCode, Need, Selection, StrategyDescription, TILE_BYTES, TrainOverrides,
};
use serde_json::Value;

use super::library::{self, Loaded, NativeError, TorchBuild};
use super::table::{Context, Reply};
use crate::asking::{
    Asked, Cost, Failure, check_rights, check_selection, control, fault_failure, in_training, no_query, open,
    parse_needs, read_scores, score_tiles, state_limit, tile_of, under_the_clock, unhurried,
};
use crate::discover::Resolved;
use crate::sandbox::Limits;
use crate::wasm::LoadError;

/// Bytes of state that a strategy with networks of its own may keep.
const NETWORK_STATE_BYTES: usize = 1 << 30;

/// A strategy of a native package with its parameters.
pub struct NativeStrategy {
    plugin: Loaded,
    identity: StrategyIdentity,
    description: StrategyDescription,
    params: String,
    needs: Vec<Need>,
    limits: Limits,
    compute: Compute,
    tile_bytes: usize,
    /// Its random streams, where this process knows no seeds.
    streams: Option<Streams>,
    hooks: Option<HooksPresent>,
    round: Option<Round>,
}

/// A strategy that lives through one round.
struct Round {
    session: Session,
    strategy: Live,
}

/// The plugin's object; ends with this one.
struct Live {
    strategy: *mut abi::Strategy,
    api: &'static PluginApi,
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(destroy) = self.api.destroy
            && !self.strategy.is_null()
        {
            // SAFETY: made by `create` of the same plugin, and not destroyed before.
            unsafe { destroy(self.strategy) };
        }
    }
}

/// Calls into a plugin and collects its answer.
fn call(
    session: &Session,
    services: Option<&dyn HostServices>,
    state_limit: usize,
    body: impl FnOnce(*mut Call) -> Status,
) -> Result<Reply, Failure> {
    let context = Context::new(session, services, state_limit);
    let mut status = abi::FAILED;
    let mut body = Some(body);
    let mut run = || {
        if let Some(body) = body.take() {
            status = body(context.call());
        }
    };
    let kept_rules = match services {
        Some(services) => services.guarded(&mut run),
        None => {
            run();
            Ok(())
        }
    };
    let reply = context.into_reply();
    if status != abi::OK || reply.failure.is_some() {
        return Err(explain(status, reply.failure));
    }
    kept_rules.map_err(|broken| Failure::new(QueryErrorKind::Contract, broken.0))?;
    Ok(reply)
}

/// Why a plugin gave no answer.
fn explain(status: Status, failure: Option<(abi::FailKind, Status, String)>) -> Failure {
    let Some((kind, fault, message)) = failure else {
        return Failure::new(QueryErrorKind::Failed, format!("it ended with status {status} and said nothing"));
    };
    let message: String = message.chars().take(8000).collect();
    match kind {
        abi::FAIL_INVALID_PARAMS => Failure::new(QueryErrorKind::InvalidParams, message),
        abi::FAIL_UNKNOWN => {
            let message = format!("the package refuses a strategy it lists: {message}");
            Failure::new(QueryErrorKind::Dishonest, message)
        }
        abi::FAIL_PANIC => Failure::new(QueryErrorKind::Panic, format!("the plugin panicked: {message}")),
        abi::FAIL_FAULT => match FaultCode::of_status(fault) {
            Some(code) => fault_failure(&Fault::new(code, message)),
            None => Failure::new(QueryErrorKind::Failed, message),
        },
        _ => Failure::new(QueryErrorKind::Failed, message),
    }
}

fn missing(function: &str) -> Failure {
    Failure::new(QueryErrorKind::Dishonest, format!("its table has no function `{function}`"))
}

/// Asks a loaded plugin to describe itself.
pub(crate) fn describe(plugin: Loaded) -> Result<Description, String> {
    let asked = || {
        let shared = no_query(control(&Limits::default()))?;
        let describe = plugin.api.describe.ok_or_else(|| missing("describe"))?;
        // SAFETY: the call is valid until it returns.
        call(&Session::new(shared), None, 0, |c| unsafe { describe(c) })
    };
    let reply = asked().map_err(|failure| failure.message.into_string())?;
    let text = reply.text.ok_or("`describe` answered nothing")?;
    serde_json::from_str(&text).map_err(|error| format!("`describe` gave no description: {error}"))
}

impl NativeStrategy {
    /// Loads a strategy into this process, compares what it says of itself with its manifest and asks for its needs.
    ///
    /// `params` are checked against the schema and complete. Whoever calls has made sure that the user trusts this very
    /// artifact.
    ///
    /// # Errors
    /// If the package cannot be loaded, says something else than its manifest, or refuses the parameters.
    pub fn load(
        resolved: Resolved<'_>,
        params: &Value,
        limits: Limits,
        compute: Compute,
        torch: Option<&TorchBuild>,
    ) -> Result<Self, LoadError> {
        let package = resolved.package;
        let name = &package.description.package;
        let native = |source: NativeError| LoadError::Native { package: name.clone(), source };
        let plugin = library::load(&package.artifact, &package.digest, torch).map_err(native)?;
        let described = describe(plugin);
        let id = &resolved.strategy.id;
        let identity = package.identity(id);
        let dishonest = |message: String| Failure::new(QueryErrorKind::Dishonest, message).of(&identity);
        if described.map_err(dishonest)? != package.description {
            return Err(dishonest("it describes itself otherwise than its manifest does".to_owned()).into());
        }
        let made =
            Self::from_plugin(plugin, identity.clone(), resolved.strategy.clone(), params.to_string(), limits, compute);
        Ok(made.map_err(|failure| failure.of(&identity))?)
    }

    /// A strategy of a loaded plugin whose description was looked at.
    pub(crate) fn from_plugin(
        plugin: Loaded,
        identity: StrategyIdentity,
        description: StrategyDescription,
        params: String,
        limits: Limits,
        compute: Compute,
    ) -> Result<Self, Failure> {
        let mut strategy = Self {
            plugin,
            identity,
            description,
            params,
            needs: Vec::new(),
            limits,
            compute,
            tile_bytes: TILE_BYTES,
            streams: None,
            hooks: None,
            round: None,
        };
        strategy.needs = strategy.ask_needs()?;
        check_rights(&strategy.needs, &strategy.description.capabilities)?;
        strategy.hooks = strategy.ask_hooks()?;
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

    /// The same strategy with these random streams, whatever a query says.
    #[must_use]
    pub(crate) fn with_streams(mut self, streams: Streams) -> Self {
        self.streams = Some(streams);
        self
    }

    fn error(&self, failure: Failure) -> QueryError {
        failure.of(&self.identity)
    }

    fn id(&self) -> Bytes {
        Bytes::of(self.identity.id.as_bytes())
    }

    fn params(&self) -> Bytes {
        Bytes::of(self.params.as_bytes())
    }

    fn ask_needs(&self) -> Result<Vec<Need>, Failure> {
        let needs = self.plugin.api.needs.ok_or_else(|| missing("needs"))?;
        let session = Session::new(no_query(control(&self.limits))?);
        // SAFETY: texts and call live through the call.
        let reply = call(&session, None, 0, |c| unsafe { needs(c, self.id(), self.params()) })?;
        let text = reply.text.unwrap_or_default();
        let texts: Vec<String> = serde_json::from_str(&text).map_err(|error| {
            Failure::new(QueryErrorKind::Dishonest, format!("`needs` gave no list of texts: {error}"))
        })?;
        parse_needs(&texts)
    }

    fn ask_hooks(&self) -> Result<Option<HooksPresent>, Failure> {
        let api = self.plugin.api;
        let Some(has_hooks) = api.has_hooks else { return Ok(None) };
        let session = Session::new(no_query(control(&self.limits))?);
        let mut live = false;
        // SAFETY: the text, the variable and the call live through the call.
        call(&session, None, 0, |c| unsafe { has_hooks(c, self.id(), &raw mut live) })?;
        Ok(live.then_some(HooksPresent {
            train_begin: api.train_begin.is_some(),
            epoch_begin: api.epoch_begin.is_some(),
            batch_loss: api.batch_loss.is_some(),
            batch_step: api.batch_step.is_some(),
            epoch_end: api.epoch_end.is_some(),
            train_end: api.train_end.is_some(),
        }))
    }

    /// Begins a strategy that lives through one round.
    fn create(
        &self,
        session: &Session,
        services: Option<&dyn HostServices>,
        state: Option<&[u8]>,
    ) -> Result<Live, Failure> {
        let api = self.plugin.api;
        let create = api.create.ok_or_else(|| missing("create"))?;
        let mut live = Live { strategy: std::ptr::null_mut(), api };
        let state = Bytes::of(state.unwrap_or_default());
        // SAFETY: texts, state, variable and call live through the call.
        call(session, services, 0, |c| unsafe { create(c, self.id(), self.params(), state, &raw mut live.strategy) })?;
        if live.strategy.is_null() {
            return Err(Failure::new(QueryErrorKind::Dishonest, "`create` made nothing"));
        }
        Ok(live)
    }

    fn answer(&mut self, query: &Query<'_>, control: &Arc<Control>) -> Result<(Selection, Cost), Failure> {
        let live = self.plugin.api.create.is_some();
        // Tiles of a scorer run in parallel already.
        let compute = if self.description.scorer { Compute::threads(1) } else { self.compute.clone() };
        let streams = self.streams.unwrap_or_else(|| query.seeds.strategy(&self.identity.id));
        let shared = open(query, streams, compute, control.clone())?;
        let round = self.round.take();
        for line in round.iter().flat_map(|round| round.session.control().take_log()) {
            query.progress.log(line.level, &line.message);
        }
        under_the_clock(
            control,
            Some(query.progress),
            || (),
            || {
                if live {
                    self.live_query(query, &shared, round)
                } else if self.description.scorer {
                    self.score(&Asked::of(query), &shared)
                } else {
                    self.select(&Asked::of(query), &shared)
                }
            },
        )
    }

    fn live_query(
        &self,
        query: &Query<'_>,
        shared: &Arc<Shared>,
        round: Option<Round>,
    ) -> Result<(Selection, Cost), Failure> {
        let session = Session::new(shared.clone());
        let strategy = match round {
            Some(round) => round.strategy,
            None => self.create(&session, query.services, query.state)?,
        };
        let ask = strategy.api.query.ok_or_else(|| missing("query"))?;
        // SAFETY: the strategy lives, and so does the call.
        let reply = call(&session, query.services, 0, |c| unsafe { ask(c, strategy.strategy) })?;
        let mut selection = selection(reply)?;
        if let Some(save) = strategy.api.save_state {
            // SAFETY: as above.
            let reply = call(&session, query.services, NETWORK_STATE_BYTES, |c| unsafe { save(c, strategy.strategy) })?;
            selection.state = reply.state;
        }
        check_selection(&selection, NETWORK_STATE_BYTES)?;
        Ok((selection, Cost::default()))
    }

    fn select(&self, query: &Asked<'_>, shared: &Arc<Shared>) -> Result<(Selection, Cost), Failure> {
        let select = self.plugin.api.select.ok_or_else(|| missing("select"))?;
        let limit = state_limit(query.arrays);
        let state = Bytes::of(query.state.unwrap_or_default());
        let session = Session::new(shared.clone());
        // SAFETY: texts, state and call live through the call.
        let reply = call(&session, None, limit, |c| unsafe { select(c, self.id(), self.params(), state) })?;
        let selection = selection(reply)?;
        check_selection(&selection, limit)?;
        Ok((selection, Cost::default()))
    }

    fn score(&self, query: &Asked<'_>, shared: &Arc<Shared>) -> Result<(Selection, Cost), Failure> {
        let score = self.plugin.api.score.ok_or_else(|| missing("score"))?;
        let tile = tile_of(query, &self.needs, self.tile_bytes);
        let (id, params) = (self.identity.id.as_str(), self.params.as_str());
        score_tiles(shared, query, tile, self.compute.threads, |window, primary, second| {
            let session = Session::tile(shared.clone(), window).map_err(|fault| fault_failure(&fault))?;
            let (id, params) = (Bytes::of(id.as_bytes()), Bytes::of(params.as_bytes()));
            // SAFETY: texts and call live through the call.
            let reply = call(&session, None, 0, |c| unsafe { score(c, id, params) })?;
            let Some((first, tie_breaker)) = reply.scores else {
                return Err(Failure::new(QueryErrorKind::Contract, "`score` answered no scores"));
            };
            read_scores(&session, first, primary)?;
            if let Some(handle) = tie_breaker {
                read_scores(&session, handle, second)?;
            }
            Ok((tie_breaker.is_some(), Cost::default()))
        })
    }

    /// Calls a hook of the strategy that lives in this round.
    fn hook<F>(
        &self,
        services: &dyn HostServices,
        function: Option<F>,
        body: impl FnOnce(F, *mut Call, *mut abi::Strategy) -> Status,
    ) -> Result<(), QueryError> {
        let (Some(function), Some(round)) = (function, &self.round) else {
            return Err(self.error(missing("of a hook that it announced")));
        };
        let called = call(&round.session, Some(services), 0, |c| body(function, c, round.strategy.strategy));
        called.map(|_| ()).map_err(|failure| self.error(failure))
    }
}

fn selection(reply: Reply) -> Result<Selection, Failure> {
    let Some((rows, scores)) = reply.rows else {
        return Err(Failure::new(QueryErrorKind::Contract, "it answered no rows"));
    };
    Ok(Selection { rows, scores, diagnostics: reply.diagnostics, state: reply.state })
}

impl Strategy for NativeStrategy {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &self.description.capabilities
    }

    fn hooks(&mut self) -> Option<&mut dyn TrainingHooks> {
        if self.hooks.is_some() { Some(self) } else { None }
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        let clock = Instant::now();
        let control = control(&self.limits);
        let answer = self.answer(query, &control);
        for line in control.take_log() {
            query.progress.log(line.level, &line.message);
        }
        let (selection, cost) = answer.map_err(|failure| self.error(failure))?;
        let usage = Usage {
            seconds: clock.elapsed().as_secs_f64(),
            fuel: None,
            peak_memory: cost.memory + control.peak_memory(),
        };
        Ok(Answer { selection, usage })
    }
}

impl TrainingHooks for NativeStrategy {
    fn present(&self) -> HooksPresent {
        self.hooks.unwrap_or_default()
    }

    fn plan_round(
        &mut self,
        services: &dyn HostServices,
        state: Option<&[u8]>,
        progress: &dyn Progress,
    ) -> Result<TrainOverrides, QueryError> {
        // The strategy of the round before ends here at the latest: what it keeps it says by its state.
        self.round = None;
        let begin = || {
            // Training may take longer than a query may, and the learner itself stops it when the user wants that.
            let session = Session::new(in_training(services.scope(), unhurried(&self.limits))?);
            let strategy = self.create(&session, Some(services), state)?;
            let Some(plan) = strategy.api.plan_round else {
                return Ok((Round { session, strategy }, TrainOverrides::default()));
            };
            // SAFETY: the strategy lives, and so does the call.
            let reply = call(&session, Some(services), 0, |c| unsafe { plan(c, strategy.strategy) })?;
            let overrides = match reply.text {
                None => TrainOverrides::default(),
                Some(text) => serde_json::from_str(&text).map_err(|error| {
                    Failure::new(QueryErrorKind::Contract, format!("its plan of the round is none: {error}"))
                })?,
            };
            Ok((Round { session, strategy }, overrides))
        };
        let (round, overrides) = begin().map_err(|failure: Failure| self.error(failure))?;
        for line in round.session.control().take_log() {
            progress.log(line.level, &line.message);
        }
        self.round = Some(round);
        Ok(overrides)
    }

    fn train_begin(&mut self, services: &dyn HostServices) -> Result<(), QueryError> {
        // SAFETY: the strategy lives, and so does the call; likewise below.
        self.hook(services, self.plugin.api.train_begin, |f, c, s| unsafe { f(c, s) })
    }

    fn epoch_begin(&mut self, services: &dyn HostServices, epoch: u32) -> Result<(), QueryError> {
        // SAFETY: as above.
        self.hook(services, self.plugin.api.epoch_begin, |f, c, s| unsafe { f(c, s, epoch) })
    }

    fn batch_loss(&mut self, services: &dyn HostServices, minibatch: &Minibatch) -> Result<Loss, QueryError> {
        let mut loss = Loss { extra: std::ptr::null_mut(), task_scale: 1.0 };
        // SAFETY: as above; the minibatch and the variable live through the call.
        let called =
            self.hook(services, self.plugin.api.batch_loss, |f, c, s| unsafe { f(c, s, minibatch, &raw mut loss) });
        if called.is_err() && !loss.extra.is_null() {
            // SAFETY: given away by the plugin, and nobody else has seen it.
            unsafe { services.release(loss.extra) };
        }
        called.map(|()| loss)
    }

    fn batch_step(&mut self, services: &dyn HostServices, epoch: u32, step: u32) -> Result<(), QueryError> {
        // SAFETY: as above.
        self.hook(services, self.plugin.api.batch_step, |f, c, s| unsafe { f(c, s, epoch, step) })
    }

    fn epoch_end(&mut self, services: &dyn HostServices, epoch: u32, figures: &EpochFigures) -> Result<(), QueryError> {
        // SAFETY: as above.
        self.hook(services, self.plugin.api.epoch_end, |f, c, s| unsafe { f(c, s, epoch, figures) })
    }

    fn train_end(&mut self, services: &dyn HostServices) -> Result<(), QueryError> {
        // SAFETY: as above.
        self.hook(services, self.plugin.api.train_end, |f, c, s| unsafe { f(c, s) })
    }

    fn broke_rule(&self, message: String) -> QueryError {
        self.error(Failure::new(QueryErrorKind::Contract, message))
    }
}
