//! A strategy's source built natively, asked through the same kernels as its sandboxed twin.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use querist_core::strategy::{QueryError, QueryErrorKind};
use querist_core::{
    Answer, Arrays, Query, Question, Seeds, Strategy, StrategyIdentity, StrategyKind, Usage, tile_rows,
};
use querist_kernels::{Compute, Control, Limits, Session, Setup, Shared};
use querist_protocol::{Capability, HostCalls, Need, Selection, StrategyDescription, StrategyError, TILE_BYTES};
use querist_sdk::{Host, Package};
use serde_json::Value;

use querist_conformance::Make;

/// The native twin of a sandboxed strategy.
pub struct Native {
    package: &'static Package,
    identity: StrategyIdentity,
    scorer: bool,
    params: String,
    needs: Vec<Need>,
    capabilities: Vec<Capability>,
    threads: usize,
    tile_bytes: usize,
}

impl Native {
    /// A strategy of a package linked into this program.
    ///
    /// # Errors
    /// If it has no such strategy, or its schema or it itself refuses the parameters.
    pub fn new(package: &'static Package, id: &str, params: &Value, threads: usize) -> Result<Self, StrategyError> {
        let description = describe(package, id)?;
        let params = querist_core::schema::settled(&description, params)?;
        Self::with_settled(package, &description, &params, threads)
    }

    /// The same with parameters as they are, even if the schema refuses them.
    fn with_settled(
        package: &'static Package,
        description: &StrategyDescription,
        params: &Value,
        threads: usize,
    ) -> Result<Self, StrategyError> {
        let (id, params) = (description.id.as_str(), params.to_string());
        Ok(Self {
            needs: package.needs(id, &params)?,
            capabilities: description.capabilities.clone(),
            identity: StrategyIdentity {
                id: id.to_owned(),
                package: package.name.to_owned(),
                version: package.version.to_owned(),
                kind: StrategyKind::Native,
                digest: String::new(),
            },
            package,
            scorer: description.scorer,
            params,
            threads,
            tile_bytes: TILE_BYTES,
        })
    }

    /// Asks in round 0.
    ///
    /// # Errors
    /// What the strategy says where it gives no answer.
    pub fn ask(&mut self, arrays: &Arrays, batch: usize, seed: u64) -> Result<Selection, String> {
        let question = Question::new(arrays, batch).with_seeds(Seeds::new(seed));
        self.answer(&question).map(|answer| answer.selection).map_err(|error| error.message.into_string())
    }

    /// Scores tile by tile on as many threads as asked for, as the sandbox does, then ranks.
    fn score(&self, query: &Query<'_>, shared: &Arc<Shared>) -> Result<Selection, StrategyError> {
        let rows = query.arrays.ids().len();
        let tile = tile_rows(&self.needs, query.arrays, self.tile_bytes);
        let tiles = rows.div_ceil(tile);
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<Tile>, StrategyError> {
            let mut mine = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= tiles {
                    return Ok(mine);
                }
                mine.push(self.score_tile(shared, number, number * tile..((number + 1) * tile).min(rows))?);
            }
        };
        let mut scored = std::thread::scope(|scope| {
            let spawned: Vec<_> = (1..self.threads.min(tiles)).map(|_| scope.spawn(work)).collect();
            let mut scored = work()?;
            for worker in spawned {
                scored.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok::<_, StrategyError>(scored)
        })?;
        scored.sort_unstable_by_key(|tile| tile.number);
        let primary: Vec<f64> = scored.iter().flat_map(|tile| tile.primary.iter().copied()).collect();
        let second: Vec<f64> = scored.iter().flat_map(|tile| tile.second.iter().copied()).collect();
        let session = Session::new(shared.clone());
        let vector = session.vector(&primary)?;
        let second = if second.is_empty() { None } else { Some(session.vector(&second)?) };
        let picked = session.vector_top(vector, second, query.batch.min(rows) as u32, None)?;
        let scores = picked.iter().map(|&row| primary[row as usize]).collect();
        Ok(Selection { rows: picked, scores, ..Selection::default() })
    }

    fn score_tile(&self, shared: &Arc<Shared>, number: usize, rows: Range<usize>) -> Result<Tile, StrategyError> {
        let session = Session::tile(shared.clone(), rows)?;
        let scores = self.package.score(&self.identity.id, &self.params, Host::new(Rc::new(session)))?;
        let second = scores.second.map(|second| second.to_vec()).transpose()?.unwrap_or_default();
        Ok(Tile { number, primary: scores.primary.to_vec()?, second })
    }
}

/// Asks the native build of a strategy once, in round 0 and on one thread.
///
/// # Errors
/// What the strategy says where it refuses the parameters or gives no answer.
pub fn ask(
    package: &'static Package,
    id: &str,
    params: &Value,
    (arrays, batch, seed): (&Arrays, usize, u64),
) -> Result<Selection, String> {
    Native::new(package, id, params, 1).map_err(|error| error.to_string())?.ask(arrays, batch, seed)
}

/// Scores of one tile.
struct Tile {
    number: usize,
    primary: Vec<f64>,
    second: Vec<f64>,
}

fn describe(package: &Package, id: &str) -> Result<StrategyDescription, StrategyError> {
    let found = package.describe().strategies.into_iter().find(|strategy| strategy.id == id);
    found.ok_or_else(|| StrategyError::Unknown(id.to_owned()))
}

impl Strategy for Native {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &self.capabilities
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        let clock = Instant::now();
        let control = Arc::new(Control::new(Limits::default(), None));
        let setup = Setup {
            arrays: query.arrays.clone(),
            batch: query.batch,
            round: query.round,
            streams: query.seeds.strategy(&self.identity.id),
            // Tiles of a scorer run in parallel already.
            compute: Compute::threads(if self.scorer { 1 } else { self.threads }),
        };
        let failed = |message: String| QueryError::new(&self.identity, QueryErrorKind::Failed, message);
        let shared = Arc::new(Shared::new(setup, control.clone()).map_err(|error| failed(error.to_string()))?);
        let selection = if self.scorer {
            self.score(query, &shared)
        } else {
            let state = query.state.map(<[u8]>::to_vec);
            let host = Host::new(Rc::new(Session::new(shared)));
            self.package.select(&self.identity.id, &self.params, state, host)
        };
        let selection = selection.map_err(|error| failed(error.to_string()))?;
        let usage = Usage { seconds: clock.elapsed().as_secs_f64(), fuel: None, peak_memory: control.peak_memory() };
        Ok(Answer { selection, usage })
    }
}

/// Makes native twins for the conformance tests.
pub struct NativeMaker {
    package: &'static Package,
    id: String,
}

impl NativeMaker {
    /// A maker of one strategy of a package.
    pub fn new(package: &'static Package, id: &str) -> Self {
        Self { package, id: id.to_owned() }
    }
}

impl Make for NativeMaker {
    fn description(&self) -> StrategyDescription {
        describe(self.package, &self.id).expect("the package has the strategy")
    }

    fn make(&self, params: &Value, threads: usize, tile_bytes: usize) -> Result<Box<dyn Strategy>, String> {
        let description = self.description();
        // The strategy's own refusal counts as well as that of its schema.
        let params = querist_core::schema::settled(&description, params).unwrap_or_else(|_| params.clone());
        let native = Native::with_settled(self.package, &description, &params, threads);
        let native = native.map_err(|error| error.to_string())?;
        Ok(Box::new(Native { tile_bytes, ..native }))
    }
}
