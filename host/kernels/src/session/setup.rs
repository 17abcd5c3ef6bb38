//! What all sessions of one query share.

use std::ops::Range;
use std::sync::Arc;

use querist_core::{Array, Failure, Granted, Head, QueryErrorKind, Round, Streams};
use querist_protocol::{Fault, FaultCode, Need, QueryInfo, Shown, names};

use crate::accelerator::Compute;
use crate::control::Control;
use crate::matrix::Matrix;
use crate::workers::Workers;

/// What one query consists of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What the strategy may see.
    pub arrays: Granted,
    /// Samples to ask for.
    pub batch: usize,
    /// Round of the run.
    pub round: Round,
    /// The strategy's random streams.
    pub streams: Streams,
    /// Threads and devices for kernels.
    pub compute: Compute,
}

/// What all sessions of one query share: the arrays, the threads and the control.
#[derive(Debug)]
pub struct Shared {
    pub(super) setup: Setup,
    pub(super) workers: Workers,
    pub(super) rows: u32,
    pub(super) info: QueryInfo,
}

/// A query that no session can serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A number that the boundary writes in 32 bits is larger.
    #[error("{what} is {value}, but a query has room for at most {} of them", u32::MAX)]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: usize,
    },
    /// The threads could not be started.
    #[error("{threads} kernel threads could not be started: {source}")]
    Threads {
        /// How many were wanted.
        threads: usize,
        /// Why not.
        source: rayon::ThreadPoolBuildError,
    },
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::new(QueryErrorKind::Failed, error.to_string())
    }
}

impl Shared {
    /// Prepares a query; starts the threads.
    ///
    /// # Errors
    /// If a number passes 32 bits or the threads do not start.
    pub fn new(setup: Setup, control: Arc<Control>) -> Result<Self, SetupError> {
        let narrow = |what, value: usize| u32::try_from(value).map_err(|_| SetupError::TooLarge { what, value });
        let rows = narrow("pool rows", setup.arrays.ids().len())?;
        let info = QueryInfo {
            rows,
            first_row: 0,
            labelled_rows: narrow("labelled rows", setup.arrays.labelled_ids().len())?,
            classes: narrow("classes", setup.arrays.classes())?,
            batch: narrow("batch", setup.batch)?,
            round: setup.round.0,
        };
        let threads = setup.compute.threads.max(1);
        let workers =
            Workers::new(control, &setup.compute).map_err(|source| SetupError::Threads { threads, source })?;
        Ok(Self { setup, workers, rows, info })
    }

    /// The control of the query.
    pub fn control(&self) -> &Arc<Control> {
        self.workers.control()
    }

    /// Writes down that hidden labels of these rows are known from here on.
    pub(super) fn reveal(&self, rows: Range<usize>, labels: &[u32]) -> Result<(), Fault> {
        let Some(reveals) = self.setup.arrays.reveals() else { return Ok(()) };
        let ids = self.setup.arrays.ids().get(rows).unwrap_or_default();
        let failed = |error| Fault::new(FaultCode::Quota, format!("a label could not be written down: {error}"));
        reveals.revealed(ids, labels).map_err(failed)
    }

    /// Refuses what the strategy did not declare.
    pub(super) fn check_declared(&self, name: &str) -> Result<(), Fault> {
        let declared = self.setup.arrays.declared();
        if declared.iter().flat_map(Need::names).any(|declared| declared == name) {
            return Ok(());
        }
        let declared: Vec<String> = declared.iter().map(Need::to_string).collect();
        let message = format!("`{}` is not among the declared needs ({})", Shown::name(name), declared.join(", "));
        Err(Fault::new(FaultCode::NotDeclared, message))
    }

    /// A declared array of the query.
    pub(super) fn array(&self, name: &str) -> Result<&Array, Fault> {
        self.check_declared(name)?;
        self.setup.arrays.get(name).ok_or_else(|| not_there(name))
    }

    /// The array over the pool that a matrix is all of.
    pub(super) fn name_of(&self, matrix: &Matrix) -> Option<&str> {
        let is_it = |array: &Array| matrix.is_all_of(array.as_f32(), array.as_far());
        let mut over_pool = self.setup.arrays.named().iter().filter(|(name, _)| names::is_over_pool(name));
        over_pool.find(|(_, array)| is_it(array)).map(|(name, _)| name.as_str())
    }

    /// The head, where it was declared.
    pub(super) fn head(&self) -> Result<&dyn Head, Fault> {
        self.check_declared(names::HEAD)?;
        self.setup.arrays.head().ok_or_else(|| not_there(names::HEAD))
    }
}

fn not_there(name: &str) -> Fault {
    Fault::new(FaultCode::NotDeclared, format!("`{name}` was declared, but this query does not have it"))
}
