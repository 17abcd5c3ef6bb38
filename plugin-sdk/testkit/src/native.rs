//! A strategy's source built natively, asked through the same kernels as its sandboxed twin.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use querist_core::{
    Answer, Arrays, Failure, Query, QueryError, QueryErrorKind, Question, Seeds, Strategy, StrategyIdentity,
    StrategyKind, Usage, tile_rows,
};
use querist_kernels::{Compute, Control, Limits, Session, Setup, Shared, score_tiles};
use querist_protocol::{Capability, Need, Selection, StrategyDescription, StrategyError, TILE_BYTES};
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
    fn score(&self, query: &Query<'_>, shared: &Arc<Shared>) -> Result<Selection, Failure> {
        let tile = tile_rows(&self.needs, query.arrays, self.tile_bytes);
        let scored = score_tiles(shared, tile, self.threads, |tile| {
            let session = Session::tile(shared.clone(), tile.rows())?;
            let (first, second) = self.tile_scores(session).map_err(failed)?;
            tile.fill(&first, second.as_deref())
        })?;
        Ok(scored.selection)
    }

    fn tile_scores(&self, session: Session) -> Result<(Vec<f64>, Option<Vec<f64>>), StrategyError> {
        let scores = self.package.score(&self.identity.id, &self.params, Host::new(Rc::new(session)))?;
        Ok((scores.primary.to_vec()?, scores.second.map(|second| second.to_vec()).transpose()?))
    }

    fn select(&self, query: &Query<'_>, shared: &Arc<Shared>) -> Result<Selection, Failure> {
        let state = query.state.map(<[u8]>::to_vec);
        let host = Host::new(Rc::new(Session::new(shared.clone())));
        self.package.select(&self.identity.id, &self.params, state, host).map_err(failed)
    }
}

fn failed(error: StrategyError) -> Failure {
    Failure::new(QueryErrorKind::Failed, error.to_string())
}

/// The parameters of a strategy as the host settles them.
///
/// # Panics
/// If the package has no such strategy, or its schema refuses them.
pub fn settled(package: &Package, id: &str, params: &Value) -> Value {
    let description = describe(package, id).expect("the package has the strategy");
    querist_core::schema::settled(&description, params).expect("parameters that the schema takes")
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
        let answer = Shared::new(setup, control.clone()).map_err(Failure::from).and_then(|shared| {
            let shared = Arc::new(shared);
            if self.scorer { self.score(query, &shared) } else { self.select(query, &shared) }
        });
        let selection = answer.map_err(|failure| failure.of(&self.identity))?;
        let usage = Usage { seconds: clock.elapsed().as_secs_f64(), fuel: None, peak_memory: control.peak_memory() };
        Ok(Answer { selection, usage, ..Answer::default() })
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
