//! Strategies of sandboxed packages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use querist_core::{Failure, QueryErrorKind};
use querist_kernels::{Compute, Session, Shared, Tile};
use querist_protocol::{Need, Selection};
use serde_json::Value;
use wasmtime::component::Component;

use super::engine::MAX_INSTANCES;
use super::generated::bindings::PluginPre;
use super::instance::{Instance, Room, answered_error, call_once, describe, prepare};
use super::sandbox::Sandbox;
use super::state::CallState;
use crate::package::discover::Resolved;
use crate::run::answer::{check_described, parse_needs};
use crate::run::error::LoadError;
use crate::run::limits::{Cost, Limits};
use crate::run::route::{Asked, Route, Routed, Spec, Watch};

/// A strategy of a sandboxed package with its parameters.
pub type WasmStrategy = Routed<Wasm>;

/// The route through the sandbox: a fresh instance for every call.
pub struct Wasm {
    sandbox: Arc<Sandbox>,
    component: Component,
}

impl Routed<Wasm> {
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
        let component = sandbox
            .load(&package.artifact, &package.digest)
            .map_err(|source| LoadError::artifact(&package.description.package, source))?;
        let spec = Spec::new(resolved, params, limits, compute);
        let identity = spec.identity.clone();
        let route = Wasm { sandbox, component };
        let made = || {
            check_described(describe(&route.sandbox, &route.component, &limits), &package.description)?;
            let needs = route.needs(&spec)?;
            Self::new(route, spec, needs)
        };
        Ok(made().map_err(|failure| failure.of(&identity))?)
    }
}

impl Wasm {
    fn needs(&self, spec: &Spec) -> Result<Vec<Need>, Failure> {
        let answer = call_once(&self.sandbox, &self.component, &spec.limits, |plugin, store| {
            plugin.querist_strategy_strategies().call_needs(store, &spec.identity.id, &spec.params)
        })?;
        parse_needs(&answer.map_err(answered_error)?)
    }

    /// Scores a tile; the fuel that it took.
    fn score_tile(
        &self,
        spec: &Spec,
        (prepared, room): (&PluginPre<CallState>, &Room),
        shared: &Arc<Shared>,
        tile: &mut Tile<'_>,
    ) -> Result<u64, Failure> {
        let session = Session::tile(shared.clone(), tile.rows())?;
        let mut instance = Instance::new(&self.sandbox, prepared, session, room)?;
        let answer = instance.run(|plugin, store| {
            plugin.querist_strategy_strategies().call_score(store, &spec.identity.id, &spec.params)
        })?;
        let scores = answer.map_err(answered_error)?;
        let session = instance.session();
        let primary = session.vector_values(scores.primary.rep())?;
        let second = scores.second.map(|second| session.vector_values(second.rep())).transpose()?;
        tile.fill(&primary, second.as_deref())?;
        Ok(instance.fuel_used())
    }
}

impl Route for Wasm {
    fn is_scorer(&self, spec: &Spec) -> bool {
        spec.description.scorer
    }

    fn watch(&self) -> Watch {
        let engine = self.sandbox.engine().clone();
        Watch::Clock(Box::new(move || engine.increment_epoch()))
    }

    fn select(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure> {
        let (spec, room) = (asked.spec, Room::new(&asked.spec.limits));
        let session = Session::new(asked.open(spec.compute.clone())?);
        let prepared = prepare(&self.sandbox, &self.component)?;
        let mut instance = Instance::new(&self.sandbox, &prepared, session, &room)?;
        let answer = instance.run(|plugin, store| {
            let strategies = plugin.querist_strategy_strategies();
            strategies.call_select(store, &spec.identity.id, &spec.params, asked.query.state)
        })?;
        let selection = answer.map_err(answered_error)?;
        let cost = Cost { fuel: Some(instance.fuel_used()), memory: room.peak() };
        let selection = Selection {
            rows: selection.rows,
            scores: selection.scores,
            diagnostics: selection.diagnostics,
            state: selection.state,
        };
        Ok((selection, cost))
    }

    fn score(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure> {
        let (spec, room, turns) = (asked.spec, Room::new(&asked.spec.limits), Turns::default());
        let prepared = prepare(&self.sandbox, &self.component)?;
        let fuel = AtomicU64::new(0);
        let workers = spec.compute.threads.min(MAX_INSTANCES / 2);
        let scored = asked.score_tiles(workers, |shared, tile| {
            let used = turns.take(shared, || self.score_tile(spec, (&prepared, &room), shared, tile))?;
            fuel.fetch_add(used, Ordering::Relaxed);
            Ok(())
        })?;
        let cost = Cost { fuel: Some(fuel.into_inner()), memory: scored.memory + room.peak() };
        Ok((scored.selection, cost))
    }
}

/// Tiles beside each other share the memory of the query. One that fails there is scored again with nothing beside it,
/// so that the answer does not depend on how many threads there are.
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
