//! Strategies whose code lives in the program that holds this host, such as a class in Python.
//!
//! They are for development: nothing cages them, and nobody but that program can make them again. They reach what any
//! strategy reaches, and their answers are looked at as those of any.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use querist_core::{Failure, QueryErrorKind, StrategyKind};
use querist_kernels::{Compute, Session};
use querist_protocol::{Description, Fault, FaultCode, Handle, Selection};
use serde_json::Value;

use crate::package::description::check_description;
use crate::package::discover::{Resolved, Source};
use crate::package::read::CheckedPackage;
use crate::package::refused::{RefusedPackage, refuse};
use crate::run::answer::{check_described, parse_description, parse_needs};
use crate::run::error::LoadError;
use crate::run::limits::{Cost, Limits};
use crate::run::route::{Asked, Route, Routed, Spec};

/// The code of a strategy, in the words of the boundary's interface `strategies`.
pub trait Code: Send + Sync {
    /// What it says of itself, as JSON.
    ///
    /// # Errors
    /// If it gives no answer.
    fn describe(&self) -> Result<String, Failure>;

    /// The arrays that it wants under `params`.
    ///
    /// # Errors
    /// If it gives no answer.
    fn needs(&self, id: &str, params: &str) -> Result<Vec<String>, Failure>;

    /// Scores the visible rows: the vectors of scores and of tie-breakers.
    ///
    /// # Errors
    /// If it gives no answer.
    fn score(&self, id: &str, params: &str, calls: &Arc<Lent>) -> Result<(Handle, Option<Handle>), Failure>;

    /// Selects from the whole pool.
    ///
    /// # Errors
    /// If it gives no answer.
    fn select(&self, id: &str, params: &str, state: Option<&[u8]>, calls: &Arc<Lent>) -> Result<Selection, Failure>;
}

/// The calls of the host, lent to code for the time of one question.
pub struct Lent(Mutex<Option<Session>>);

impl Lent {
    fn new(session: Session) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(session))))
    }

    /// Makes a call.
    ///
    /// # Errors
    /// If the host refuses it, or the question is answered already.
    pub fn serve<T>(&self, call: impl FnOnce(&Session) -> Result<T, Fault>) -> Result<T, Fault> {
        // A panic of a kernel leaves objects as they were; whoever asks next learns that one is at work.
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(session) => call(session),
            None => {
                let message = "the question is answered already: what the host lends lives until then";
                Err(Fault::new(FaultCode::BadHandle, message))
            }
        }
    }

    fn take_back(&self) -> Option<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A strategy of the program that holds this host.
pub struct Hosted {
    package: CheckedPackage,
    code: Arc<dyn Code>,
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("package", &self.package).finish_non_exhaustive()
    }
}

impl Hosted {
    /// A strategy with this code. `source` is where it stands, `digest` which text that is.
    ///
    /// # Errors
    /// If it says of itself what no package may say, or is not exactly one strategy.
    pub fn new(code: Arc<dyn Code>, source: PathBuf, digest: String) -> Result<Self, RefusedPackage> {
        let described = code.describe().map_err(|failure| RefusedPackage::new(&failure.message))?;
        let description: Description = parse_description(&described).map_err(RefusedPackage::new)?;
        check_description(&description)?;
        if description.strategies.len() != 1 {
            let count = description.strategies.len();
            return refuse(format!("it describes {count} strategies; a class that is asked in this process is one"));
        }
        let package = CheckedPackage { description, kind: StrategyKind::Python, artifact: source, digest };
        Ok(Self { package, code })
    }

    /// The strategy, as one that was found.
    pub fn resolved(&self) -> Resolved<'_> {
        let strategy = &self.package.description.strategies[0];
        Resolved { package: &self.package, source: Source::Project, strategy, alias: false, hidden: None }
    }
}

/// A strategy of the program that holds this host, with its parameters.
pub type HostedStrategy = Routed<InProgram>;

/// The route to code of the program itself.
pub struct InProgram(Arc<dyn Code>);

impl Routed<InProgram> {
    /// Asks a strategy for its needs. `params` are checked against the schema and complete.
    ///
    /// # Errors
    /// If it describes itself otherwise than before, or refuses the parameters.
    pub fn load(hosted: &Hosted, params: &Value, limits: Limits, compute: Compute) -> Result<Self, LoadError> {
        let spec = Spec::new(hosted.resolved(), params, limits, compute);
        let identity = spec.identity.clone();
        let made = || {
            check_described(parse_description(&hosted.code.describe()?), &hosted.package.description)?;
            let needs = parse_needs(&hosted.code.needs(&spec.identity.id, &spec.params)?)?;
            Self::new(InProgram(hosted.code.clone()), spec, needs)
        };
        Ok(made().map_err(|failure: Failure| failure.of(&identity))?)
    }
}

impl Route for InProgram {
    fn is_scorer(&self, spec: &Spec) -> bool {
        spec.description.scorer
    }

    fn select(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure> {
        let spec = asked.spec;
        let calls = Lent::new(Session::new(asked.open(spec.compute.clone())?));
        let selection = self.0.select(&spec.identity.id, &spec.params, asked.query.state, &calls);
        calls.take_back();
        Ok((selection?, Cost::default()))
    }

    fn score(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure> {
        let spec = asked.spec;
        let scored = asked.score_tiles(spec.compute.threads, |shared, tile| {
            let calls = Lent::new(Session::tile(shared.clone(), tile.rows())?);
            let answer = self.0.score(&spec.identity.id, &spec.params, &calls);
            let session = calls.take_back().ok_or_else(Failure::of_host)?;
            let (first, tie_breaker) = answer?;
            let primary = session.vector_values(first)?;
            let second = tie_breaker.map(|second| session.vector_values(second)).transpose()?;
            tile.fill(&primary, second.as_deref())
        })?;
        Ok((scored.selection, Cost { memory: scored.memory, ..Cost::default() }))
    }
}

/// What went wrong in code that says so by the boundary's own word for it, such as `failed`; everything else is a
/// panic.
pub fn failure(kind: &str, message: &str) -> Failure {
    let kind = match kind {
        "invalid-params" => QueryErrorKind::InvalidParams,
        "failed" | "unknown" => QueryErrorKind::Failed,
        "contract" => QueryErrorKind::Contract,
        "timeout" => QueryErrorKind::Timeout,
        "memory" => QueryErrorKind::Memory,
        "cancelled" => QueryErrorKind::Cancelled,
        _ => QueryErrorKind::Panic,
    };
    Failure::new(kind, message)
}
