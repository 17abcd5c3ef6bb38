//! Strategies of native packages in this process.

use querist_core::{Arrays, Failure, HooksPresent, HostServices, QueryErrorKind, TrainingHooks};
use querist_kernels::{Compute, Session};
use querist_protocol::abi::Bytes;
use querist_protocol::{Need, Selection};
use serde_json::Value;

use super::context::Reply;
use super::library::{self, Loaded};
use super::plugin::{Live, ask, call, describe, missing};
use super::torch::TorchBuild;
use crate::package::discover::Resolved;
use crate::run::answer::{check_described, parse_needs, state_limit};
use crate::run::clock::pass_log_on;
use crate::run::error::LoadError;
use crate::run::limits::{Cost, Limits};
use crate::run::route::{Asked, Route, Routed, Spec};

/// Bytes of state that a strategy with networks of its own may keep.
const NETWORK_STATE_BYTES: usize = 1 << 30;

/// A strategy of a native package with its parameters.
pub type NativeStrategy = Routed<Native>;

/// The route through the C tables, in this process.
pub struct Native {
    pub(super) plugin: Loaded,
    pub(super) hooks: Option<HooksPresent>,
    pub(super) round: Option<Round>,
}

/// A strategy that lives through one round.
pub(super) struct Round {
    pub(super) session: Session,
    pub(super) strategy: Live,
}

impl Routed<Native> {
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
        let plugin = library::load(&package.artifact, &package.digest, torch)
            .map_err(|source| LoadError::artifact(&package.description.package, source))?;
        let spec = Spec::new(resolved, params, limits, compute);
        let identity = spec.identity.clone();
        let made = || {
            check_described(describe(plugin), &package.description)?;
            Self::from_plugin(plugin, spec)
        };
        Ok(made().map_err(|failure| failure.of(&identity))?)
    }

    /// A strategy of a loaded plugin whose description was looked at.
    pub(crate) fn from_plugin(plugin: Loaded, spec: Spec) -> Result<Self, Failure> {
        let route = Native { plugin, hooks: None, round: None };
        let needs = route.needs(&spec)?;
        let mut strategy = Self::new(route, spec, needs)?;
        strategy.route.hooks = present(plugin, &strategy.spec)?;
        Ok(strategy)
    }
}

/// Which hooks a strategy of a plugin has.
fn present(plugin: Loaded, spec: &Spec) -> Result<Option<HooksPresent>, Failure> {
    let api = plugin.api;
    let Some(has_hooks) = api.has_hooks else { return Ok(None) };
    let mut live = false;
    // SAFETY: the text, the variable and the call live through the call.
    ask(&spec.limits, |c| unsafe { has_hooks(c, spec.id(), &raw mut live) })?;
    Ok(live.then_some(HooksPresent {
        train_begin: api.train_begin.is_some(),
        epoch_begin: api.epoch_begin.is_some(),
        batch_loss: api.batch_loss.is_some(),
        batch_step: api.batch_step.is_some(),
        epoch_end: api.epoch_end.is_some(),
        train_end: api.train_end.is_some(),
    }))
}

impl Spec {
    pub(super) fn id(&self) -> Bytes {
        Bytes::of(self.identity.id.as_bytes())
    }

    pub(super) fn params(&self) -> Bytes {
        Bytes::of(self.params.as_bytes())
    }
}

impl Native {
    fn needs(&self, spec: &Spec) -> Result<Vec<Need>, Failure> {
        let needs = self.plugin.api.needs.ok_or_else(|| missing("needs"))?;
        // SAFETY: texts and call live through the call.
        let reply = ask(&spec.limits, |c| unsafe { needs(c, spec.id(), spec.params()) })?;
        let text = reply.text.unwrap_or_default();
        let texts: Vec<String> = serde_json::from_str(&text).map_err(|error| {
            Failure::new(QueryErrorKind::Dishonest, format!("`needs` gave no list of texts: {error}"))
        })?;
        parse_needs(&texts)
    }

    /// Whether the strategy is an object that lives through a round.
    fn is_live(&self) -> bool {
        self.plugin.api.create.is_some()
    }

    /// Begins a strategy that lives through one round.
    pub(super) fn create(
        &self,
        spec: &Spec,
        session: &Session,
        services: Option<&dyn HostServices>,
        state: Option<&[u8]>,
    ) -> Result<Live, Failure> {
        let api = self.plugin.api;
        let create = api.create.ok_or_else(|| missing("create"))?;
        let mut live = Live { strategy: std::ptr::null_mut(), api };
        let state = Bytes::of(state.unwrap_or_default());
        // SAFETY: texts, state, variable and call live through the call.
        call(session, services, 0, |c| unsafe { create(c, spec.id(), spec.params(), state, &raw mut live.strategy) })?;
        if live.strategy.is_null() {
            return Err(Failure::new(QueryErrorKind::Dishonest, "`create` made nothing"));
        }
        Ok(live)
    }

    fn select_live(&mut self, asked: &Asked<'_, '_>) -> Result<Selection, Failure> {
        let query = asked.query;
        let session = Session::new(asked.open(asked.spec.compute.clone())?);
        let round = self.round.take();
        if let Some(round) = &round {
            pass_log_on(round.session.control(), query.progress);
        }
        let strategy = match round {
            Some(round) => round.strategy,
            None => self.create(asked.spec, &session, query.services, query.state)?,
        };
        let pick = strategy.api.query.ok_or_else(|| missing("query"))?;
        // SAFETY: the strategy lives, and so does the call.
        let reply = call(&session, query.services, 0, |c| unsafe { pick(c, strategy.strategy) })?;
        let mut selection = selection(reply)?;
        if let Some(save) = strategy.api.save_state {
            // SAFETY: as above.
            let reply = call(&session, query.services, NETWORK_STATE_BYTES, |c| unsafe { save(c, strategy.strategy) })?;
            selection.state = reply.state;
        }
        Ok(selection)
    }

    fn select_once(&self, asked: &Asked<'_, '_>) -> Result<Selection, Failure> {
        let select = self.plugin.api.select.ok_or_else(|| missing("select"))?;
        let (spec, query) = (asked.spec, asked.query);
        let state = Bytes::of(query.state.unwrap_or_default());
        let session = Session::new(asked.open(spec.compute.clone())?);
        let limit = state_limit(query.arrays);
        // SAFETY: texts, state and call live through the call.
        let reply = call(&session, None, limit, |c| unsafe { select(c, spec.id(), spec.params(), state) })?;
        selection(reply)
    }
}

impl Route for Native {
    fn is_scorer(&self, spec: &Spec) -> bool {
        spec.description.scorer && !self.is_live()
    }

    fn select(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure> {
        let selection = if self.is_live() { self.select_live(asked) } else { self.select_once(asked) };
        Ok((selection?, Cost::default()))
    }

    fn score(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure> {
        let score = self.plugin.api.score.ok_or_else(|| missing("score"))?;
        let spec = asked.spec;
        let scored = asked.score_tiles(spec.compute.threads, |shared, tile| {
            let session = Session::tile(shared.clone(), tile.rows())?;
            // SAFETY: texts and call live through the call.
            let reply = call(&session, None, 0, |c| unsafe { score(c, spec.id(), spec.params()) })?;
            let Some((first, tie_breaker)) = reply.scores else {
                return Err(Failure::new(QueryErrorKind::Contract, "`score` answered no scores"));
            };
            let primary = session.vector_values(first)?;
            let second = tie_breaker.map(|second| session.vector_values(second)).transpose()?;
            tile.fill(&primary, second.as_deref())
        })?;
        Ok((scored.selection, Cost { memory: scored.memory, ..Cost::default() }))
    }

    fn state_limit(&self, arrays: &Arrays) -> usize {
        if self.is_live() { NETWORK_STATE_BYTES } else { state_limit(arrays) }
    }

    fn hooks(strategy: &mut Routed<Self>) -> Option<&mut dyn TrainingHooks> {
        if strategy.route.hooks.is_some() { Some(strategy) } else { None }
    }
}

fn selection(reply: Reply) -> Result<Selection, Failure> {
    let Some((rows, scores)) = reply.rows else {
        return Err(Failure::new(QueryErrorKind::Contract, "it answered no rows"));
    };
    Ok(Selection { rows, scores, diagnostics: reply.diagnostics, state: reply.state })
}
