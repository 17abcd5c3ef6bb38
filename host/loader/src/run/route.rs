//! One strategy of a package, by whatever route its code is run.

use std::sync::Arc;
use std::time::Instant;

use querist_core::{
    Answer, Arrays, Failure, Query, QueryError, QueryErrorKind, Strategy, StrategyIdentity, Streams, TrainingHooks,
    Usage, tile_rows,
};
use querist_kernels::{Compute, Control, Shared, Tile, Tiled, Times, score_tiles};
use querist_protocol::{Capability, Need, Selection, StrategyDescription, TILE_BYTES};
use serde_json::Value;

use super::answer::{check_rights, check_selection, state_limit};
use super::clock::{control, pass_log_on, under_the_clock};
use super::limits::{Cost, Limits};
use super::reach;
use crate::package::discover::Resolved;

/// A strategy of a package, its parameters, and what it may use.
pub struct Spec {
    /// Which strategy it is.
    pub(crate) identity: StrategyIdentity,
    /// What its package says of it.
    pub(crate) description: StrategyDescription,
    /// Its parameters as JSON, checked against the schema and complete.
    pub(crate) params: String,
    pub(crate) limits: Limits,
    pub(crate) compute: Compute,
}

impl Spec {
    /// A strategy that was found, with these parameters.
    pub(crate) fn new(resolved: Resolved<'_>, params: &Value, limits: Limits, compute: Compute) -> Self {
        let identity = resolved.package.identity(&resolved.strategy.id);
        Self { identity, description: resolved.strategy.clone(), params: params.to_string(), limits, compute }
    }
}

/// A question under way.
pub struct Asked<'a, 'q> {
    pub(crate) spec: &'a Spec,
    pub(crate) query: &'a Query<'q>,
    pub(crate) control: &'a Arc<Control>,
    needs: &'a [Need],
    tile_bytes: usize,
    streams: Streams,
}

impl Asked<'_, '_> {
    /// What the strategy's code reaches in this process.
    pub(crate) fn open(&self, compute: Compute) -> Result<Arc<Shared>, Failure> {
        reach::in_query(self.query, self.streams, compute, self.control.clone())
    }

    /// Scores tile by tile, `workers` of them at once. Their kernels have one thread each.
    pub(crate) fn score_tiles(
        &self,
        workers: usize,
        score: impl Fn(&Arc<Shared>, &mut Tile<'_>) -> Result<(), Failure> + Sync,
    ) -> Result<Tiled, Failure> {
        let shared = self.open(Compute::threads(1))?;
        let rows = tile_rows(self.needs, self.query.arrays, self.tile_bytes);
        score_tiles(&shared, rows, workers, |tile| score(&shared, tile))
    }
}

/// Who looks after a strategy's code while it runs.
pub enum Watch {
    /// The clock of this process, which does this, too, whenever it ticks.
    Clock(Box<dyn Fn() + Send>),
    /// The route itself: the code runs elsewhere.
    Route,
}

/// A way to run a strategy's code.
pub trait Route: Sized {
    /// Whether rows are scored one by one, rather than picked by [`Route::select`].
    fn is_scorer(&self, spec: &Spec) -> bool;

    /// Scores the pool tile by tile, and ranks.
    ///
    /// # Errors
    /// If the code gives no answer.
    fn score(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure>;

    /// Has the code pick rows.
    ///
    /// # Errors
    /// If the code gives no answer.
    fn select(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure>;

    /// Who looks after the code.
    fn watch(&self) -> Watch {
        Watch::Clock(Box::new(|| ()))
    }

    /// Bytes of state that a strategy over these arrays may keep.
    fn state_limit(&self, arrays: &Arrays) -> usize {
        state_limit(arrays)
    }

    /// The strategy's part in training.
    fn hooks(_strategy: &mut Routed<Self>) -> Option<&mut dyn TrainingHooks> {
        None
    }
}

/// A strategy of a package with its parameters, run by one route.
pub struct Routed<R> {
    pub(crate) spec: Spec,
    pub(crate) route: R,
    needs: Vec<Need>,
    tile_bytes: usize,
    /// Its random streams, where this process knows no seeds.
    streams: Option<Streams>,
    /// Where the time of the last query went.
    times: Times,
}

impl<R: Route> Routed<R> {
    /// A strategy that needs these arrays.
    pub(crate) fn new(route: R, spec: Spec, needs: Vec<Need>) -> Result<Self, Failure> {
        check_rights(&needs, &spec.description.capabilities)?;
        Ok(Self { spec, route, needs, tile_bytes: TILE_BYTES, streams: None, times: Times::default() })
    }

    /// What the package says of this strategy.
    pub fn description(&self) -> &StrategyDescription {
        &self.spec.description
    }

    /// The same strategy with tiles of another size, which must not change any answer.
    #[must_use]
    pub fn with_tile_bytes(self, tile_bytes: usize) -> Self {
        Self { tile_bytes, ..self }
    }

    /// The same strategy with these random streams, whatever a query says.
    #[must_use]
    pub(crate) fn with_streams(self, streams: Streams) -> Self {
        Self { streams: Some(streams), ..self }
    }

    /// Where the time of the last query went; what a worker does is not seen.
    pub fn times(&self) -> Times {
        self.times
    }

    /// A failure of this strategy.
    pub(crate) fn error(&self, failure: Failure) -> QueryError {
        failure.of(&self.spec.identity)
    }

    fn run(&mut self, query: &Query<'_>, control: &Arc<Control>) -> Result<(Selection, Cost), Failure> {
        let Self { spec, route, needs, tile_bytes, streams, .. } = self;
        let streams = streams.unwrap_or_else(|| query.seeds.strategy(&spec.identity.id));
        let asked = Asked { spec, query, control, needs, tile_bytes: *tile_bytes, streams };
        let (watch, state_limit) = (route.watch(), route.state_limit(query.arrays));
        let mut work = || if route.is_scorer(spec) { route.score(&asked) } else { route.select(&asked) };
        let answer = match watch {
            Watch::Clock(tick) => under_the_clock(control, Some(query.progress), tick, work),
            Watch::Route => work(),
        };
        // What the strategy made of it, or says of it, comes second.
        if let Some(fault) = control.failure() {
            return Err(Failure::new(QueryErrorKind::Failed, fault.message.clone()));
        }
        let (selection, cost) = answer?;
        check_selection(&selection, state_limit)?;
        Ok((selection, cost))
    }
}

impl<R: Route> Strategy for Routed<R> {
    fn identity(&self) -> &StrategyIdentity {
        &self.spec.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &self.spec.description.capabilities
    }

    fn hooks(&mut self) -> Option<&mut dyn TrainingHooks> {
        R::hooks(self)
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        let clock = Instant::now();
        let control = control(&self.spec.limits);
        let answer = self.run(query, &control);
        self.times = control.meter().times(clock.elapsed());
        pass_log_on(&control, query.progress);
        let (selection, cost) = answer.map_err(|failure| self.error(failure))?;
        let usage = Usage {
            seconds: clock.elapsed().as_secs_f64(),
            fuel: cost.fuel,
            peak_memory: cost.memory + control.peak_memory(),
        };
        Ok(Answer { selection, usage, ..Answer::default() })
    }
}
