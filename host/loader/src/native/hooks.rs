//! A native strategy's part in training.

use querist_core::progress::Progress;
use querist_core::{Failure, HooksPresent, HostServices, QueryError, QueryErrorKind, TrainingHooks};
use querist_kernels::Session;
use querist_protocol::TrainOverrides;
use querist_protocol::abi::{self, Call, EpochFigures, Loss, Minibatch, Status};

use super::plugin::{call, missing};
use super::strategy::{Native, Round};
use crate::run::clock::{control_without_deadline, pass_log_on};
use crate::run::reach;
use crate::run::route::Routed;

impl Routed<Native> {
    /// Calls a hook of the strategy that lives in this round.
    fn hook<F>(
        &self,
        services: &dyn HostServices,
        function: Option<F>,
        body: impl FnOnce(F, *mut Call, *mut abi::Strategy) -> Status,
    ) -> Result<(), QueryError> {
        let (Some(function), Some(round)) = (function, &self.route.round) else {
            return Err(self.error(missing("of a hook that it announced")));
        };
        let called = call(&round.session, Some(services), 0, |c| body(function, c, round.strategy.strategy));
        called.map(|_| ()).map_err(|failure| self.error(failure))
    }
}

impl TrainingHooks for Routed<Native> {
    fn present(&self) -> HooksPresent {
        self.route.hooks.unwrap_or_default()
    }

    fn plan_round(
        &mut self,
        services: &dyn HostServices,
        state: Option<&[u8]>,
        progress: &dyn Progress,
    ) -> Result<TrainOverrides, QueryError> {
        // The strategy of the round before ends here at the latest: what it keeps it says by its state.
        self.route.round = None;
        let begin = || {
            // Training may take longer than a query may, and the learner itself stops it when the user wants that.
            let session =
                Session::new(reach::in_training(services.scope(), control_without_deadline(&self.spec.limits))?);
            let strategy = self.route.create(&self.spec, &session, Some(services), state)?;
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
        pass_log_on(round.session.control(), progress);
        self.route.round = Some(round);
        Ok(overrides)
    }

    fn train_begin(&mut self, services: &dyn HostServices) -> Result<(), QueryError> {
        // SAFETY: the strategy lives, and so does the call; likewise below.
        self.hook(services, self.route.plugin.api.train_begin, |f, c, s| unsafe { f(c, s) })
    }

    fn epoch_begin(&mut self, services: &dyn HostServices, epoch: u32) -> Result<(), QueryError> {
        // SAFETY: as above.
        self.hook(services, self.route.plugin.api.epoch_begin, |f, c, s| unsafe { f(c, s, epoch) })
    }

    fn batch_loss(&mut self, services: &dyn HostServices, minibatch: &Minibatch) -> Result<Loss, QueryError> {
        let mut loss = Loss { extra: std::ptr::null_mut(), task_scale: 1.0 };
        // SAFETY: as above; the minibatch and the variable live through the call.
        let called = self
            .hook(services, self.route.plugin.api.batch_loss, |f, c, s| unsafe { f(c, s, minibatch, &raw mut loss) });
        if called.is_err() && !loss.extra.is_null() {
            // SAFETY: given away by the plugin, and nobody else has seen it.
            unsafe { services.release(loss.extra) };
        }
        called.map(|()| loss)
    }

    fn batch_step(&mut self, services: &dyn HostServices, epoch: u32, step: u32) -> Result<(), QueryError> {
        // SAFETY: as above.
        self.hook(services, self.route.plugin.api.batch_step, |f, c, s| unsafe { f(c, s, epoch, step) })
    }

    fn epoch_end(&mut self, services: &dyn HostServices, epoch: u32, figures: &EpochFigures) -> Result<(), QueryError> {
        // SAFETY: as above.
        self.hook(services, self.route.plugin.api.epoch_end, |f, c, s| unsafe { f(c, s, epoch, figures) })
    }

    fn train_end(&mut self, services: &dyn HostServices) -> Result<(), QueryError> {
        // SAFETY: as above.
        self.hook(services, self.route.plugin.api.train_end, |f, c, s| unsafe { f(c, s) })
    }

    fn broke_rule(&self, message: String) -> QueryError {
        self.error(Failure::new(QueryErrorKind::Contract, message))
    }
}
