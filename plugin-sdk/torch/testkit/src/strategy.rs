//! A strategy of a package, called as the host calls it but without the C tables between.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use querist_core::progress::{Phase, Progress};
use querist_core::{
    Answer, Arrays, Granted, HooksPresent, HostServices, Query, ServiceError, Strategy, StrategyIdentity, StrategyKind,
    TrainingHooks,
};
use querist_core::{QueryError, QueryErrorKind};
use querist_kernels::{Compute, Control, Limits, Session, Setup, Shared};
use querist_protocol::{Capability, Fault, FaultCode, Need, Selection, StrategyError, TrainOverrides, abi};
use querist_sdk::Host;
use querist_sdk_torch::{Calls, Entry, Living, Package, Result, Round, table};
use serde_json::Value;
use tch::Tensor;

/// A strategy of a package linked into this program.
pub struct InProcess {
    entry: &'static Entry,
    identity: StrategyIdentity,
    params: String,
    needs: Vec<Need>,
    living: Option<Box<dyn Living>>,
}

impl InProcess {
    /// A strategy with its parameters.
    ///
    /// # Errors
    /// If the package has no such strategy, or its schema or it itself refuses the parameters.
    pub fn new(package: &'static Package, id: &str, params: &Value) -> Result<Self, StrategyError> {
        let entry = package.entry(id)?;
        let params = querist_core::schema::settled(&entry.description(), params)?.to_string();
        let identity = StrategyIdentity {
            id: id.to_owned(),
            package: package.name.to_owned(),
            version: package.version.to_owned(),
            kind: StrategyKind::NativeTorch,
            digest: String::new(),
        };
        Ok(Self { needs: entry.needs(&params)?, entry, identity, params, living: None })
    }

    fn error(&self, error: &StrategyError) -> QueryError {
        let kind = match error {
            StrategyError::Fault(Fault { code: FaultCode::Cancelled, .. }) => QueryErrorKind::Cancelled,
            StrategyError::InvalidParams(_) => QueryErrorKind::InvalidParams,
            _ => QueryErrorKind::Failed,
        };
        self.fail(kind, error.to_string())
    }

    fn fail(&self, kind: QueryErrorKind, message: String) -> QueryError {
        QueryError::new(&self.identity, kind, message)
    }

    /// Calls the strategy with the round at hand, guarded as the host guards it.
    fn call<T>(
        &mut self,
        services: &dyn HostServices,
        session: &Rc<Session>,
        body: impl FnOnce(&Entry, &str, &Round, &mut Option<Box<dyn Living>>) -> Result<T>,
    ) -> Result<T, QueryError> {
        let (mut answer, mut body) = (None, Some(body));
        let (entry, params, living) = (self.entry, self.params.as_str(), &mut self.living);
        let guarded = services.guarded(&mut || {
            let host = Host::new(session.clone());
            let over = Over(services);
            answer =
                body.take().map(|body| Round::new(&over, host).and_then(|round| body(entry, params, &round, living)));
        });
        let answer = answer.expect("the learner calls what it guards");
        let answer = answer.map_err(|error| self.error(&error.into_strategy()))?;
        guarded.map_err(|error| self.fail(QueryErrorKind::Contract, error.0))?;
        Ok(answer)
    }

    fn hook<T>(
        &mut self,
        services: &dyn HostServices,
        body: impl FnOnce(&mut dyn Living, &Round) -> Result<T>,
    ) -> Result<T, QueryError> {
        let session = outside_queries(services);
        self.call(services, &session, |_, _, round, living| {
            body(&mut **living.as_mut().expect("`plan_round` comes first"), round)
        })
    }
}

fn session(setup: Setup, control: Arc<Control>) -> Rc<Session> {
    Rc::new(Session::new(Arc::new(Shared::new(setup, control).expect("a small query"))))
}

/// What a strategy reaches outside queries: random numbers, progress and log.
fn outside_queries(services: &dyn HostServices) -> Rc<Session> {
    let scope = services.scope();
    let none = Arrays::new(Vec::new(), Vec::new(), 1, BTreeMap::new()).expect("no rows fit");
    let setup = Setup {
        arrays: Granted::new(&none, &[], &[]).expect("nothing is secret"),
        batch: 0,
        round: scope.round,
        streams: scope.streams,
        compute: Compute::threads(1),
    };
    session(setup, Arc::new(Control::new(Limits::default(), None)))
}

impl Strategy for InProcess {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &[]
    }

    fn hooks(&mut self) -> Option<&mut dyn TrainingHooks> {
        if self.entry.hooks().any() { Some(self) } else { None }
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        let services = query.services.expect("a learner with services");
        let control = Arc::new(Control::new(Limits::default(), None));
        // The user is asked once, before the strategy begins.
        if query.progress.report(Phase::Query, 0, 1).is_err() {
            control.cancel();
        }
        let setup = Setup {
            arrays: query.arrays.clone(),
            batch: query.batch,
            round: query.round,
            streams: query.seeds.strategy(&self.identity.id),
            compute: Compute::threads(1),
        };
        let session = session(setup, control);
        let state = query.state;
        let selection = self.call(services, &session, |entry, params, round, living| {
            let mut strategy = match living.take() {
                Some(strategy) => strategy,
                None => entry.create(params, round, state)?,
            };
            let selection = strategy.query(round, &querist_sdk::Query::new(Host::new(session.clone()), None))?;
            Ok(Selection { state: strategy.save_state(round)?, ..selection })
        })?;
        Ok(Answer { selection, ..Answer::default() })
    }
}

impl TrainingHooks for InProcess {
    fn present(&self) -> HooksPresent {
        let hooks = self.entry.hooks();
        HooksPresent {
            train_begin: hooks.train_begin,
            epoch_begin: hooks.epoch_begin,
            batch_loss: hooks.batch_loss,
            batch_step: hooks.batch_step,
            epoch_end: hooks.epoch_end,
            train_end: hooks.train_end,
        }
    }

    fn plan_round(
        &mut self,
        services: &dyn HostServices,
        state: Option<&[u8]>,
        _: &dyn Progress,
    ) -> Result<TrainOverrides, QueryError> {
        self.living = None;
        let session = outside_queries(services);
        self.call(services, &session, |entry, params, round, living| {
            living.insert(entry.create(params, round, state)?).plan_round(round)
        })
    }

    fn train_begin(&mut self, services: &dyn HostServices) -> Result<(), QueryError> {
        self.hook(services, |living, round| living.train_begin(round))
    }

    fn epoch_begin(&mut self, services: &dyn HostServices, epoch: u32) -> Result<(), QueryError> {
        self.hook(services, |living, round| living.epoch_begin(round, epoch))
    }

    fn batch_loss(&mut self, services: &dyn HostServices, batch: &abi::Minibatch) -> Result<abi::Loss, QueryError> {
        self.hook(services, |living, round| {
            // SAFETY: the learner lends live tensors.
            let minibatch = unsafe { table::minibatch(batch) }?;
            Ok(table::loss(living.batch_loss(round, &minibatch)?))
        })
    }

    fn batch_step(&mut self, services: &dyn HostServices, epoch: u32, step: u32) -> Result<(), QueryError> {
        self.hook(services, |living, round| living.batch_step(round, epoch, step))
    }

    fn epoch_end(
        &mut self,
        services: &dyn HostServices,
        epoch: u32,
        figures: &abi::EpochFigures,
    ) -> Result<(), QueryError> {
        self.hook(services, |living, round| living.epoch_end(round, epoch, figures))
    }

    fn train_end(&mut self, services: &dyn HostServices) -> Result<(), QueryError> {
        self.hook(services, |living, round| living.train_end(round))
    }

    fn broke_rule(&self, message: String) -> QueryError {
        self.fail(QueryErrorKind::Contract, message)
    }
}

/// The learner's services as the SDK calls them.
struct Over<'a>(&'a dyn HostServices);

fn served<T>(result: Result<T, ServiceError>) -> Result<T, Fault> {
    result.map_err(|error| Fault::new(FaultCode::BadArgument, error.0))
}

fn lend(tensor: &Tensor) -> abi::Tensor {
    tensor.as_ptr().cast_mut().cast()
}

impl Calls for Over<'_> {
    fn task(&self) -> Result<abi::Task, Fault> {
        Ok(self.0.task())
    }

    fn open_stream(&self, spec: &abi::StreamSpec, tag: &str, rows: &[u32]) -> Result<u32, Fault> {
        served(self.0.open_stream(spec, tag, rows))
    }

    fn next_batch(&self, stream: u32) -> Result<abi::ImageBatch, Fault> {
        served(self.0.next_batch(stream))
    }

    fn close_stream(&self, stream: u32) -> Result<(), Fault> {
        self.0.close_stream(stream);
        Ok(())
    }

    fn forward(&self, images: &Tensor, flags: u32) -> Result<abi::Outputs, Fault> {
        // SAFETY: the tensor is borrowed, so it lives.
        served(unsafe { self.0.forward(lend(images), flags) })
    }

    fn head_forward(&self, embeddings: &Tensor, flags: u32) -> Result<abi::Tensor, Fault> {
        // SAFETY: as above.
        served(unsafe { self.0.head_forward(lend(embeddings), flags) })
    }

    fn parameters(&self) -> Result<Vec<abi::Tensor>, Fault> {
        served(self.0.parameters())
    }

    fn gradient_norms(&self, images: &Tensor, targets: &Tensor) -> Result<abi::Tensor, Fault> {
        // SAFETY: as above.
        served(unsafe { self.0.gradient_norms(lend(images), lend(targets)) })
    }

    fn log_metric(&self, name: &str, value: f64) -> Result<(), Fault> {
        served(self.0.log_metric(name, value))
    }

    fn add_synthetic(&self, rows: &[u32], images: &Tensor) -> Result<(), Fault> {
        // SAFETY: as above.
        served(unsafe { self.0.add_synthetic(rows, lend(images)) })
    }
}
