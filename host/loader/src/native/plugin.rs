//! Calling into a loaded plugin.

use querist_core::{Failure, HostServices, QueryErrorKind};
use querist_kernels::Session;
use querist_protocol::abi::{self, Call, PluginApi, Status};
use querist_protocol::{Description, Fault, FaultCode};

use super::context::{Context, Reply};
use super::library::Loaded;
use crate::run::answer::parse_description;
use crate::run::clock::control;
use crate::run::limits::Limits;
use crate::run::reach;

/// The plugin's object; ends with this one.
pub(super) struct Live {
    pub(super) strategy: *mut abi::Strategy,
    pub(super) api: &'static PluginApi,
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
pub(super) fn call(
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
            Some(code) => Fault::new(code, message).into(),
            None => Failure::new(QueryErrorKind::Failed, message),
        },
        _ => Failure::new(QueryErrorKind::Failed, message),
    }
}

pub(super) fn missing(function: &str) -> Failure {
    Failure::new(QueryErrorKind::Dishonest, format!("its table has no function `{function}`"))
}

/// Asks a plugin something about itself.
pub(super) fn ask(limits: &Limits, body: impl FnOnce(*mut Call) -> Status) -> Result<Reply, Failure> {
    call(&Session::new(reach::nothing(control(limits))?), None, 0, body)
}

/// Asks a loaded plugin to describe itself.
pub(crate) fn describe(plugin: Loaded) -> Result<Description, String> {
    let asked = || {
        let describe = plugin.api.describe.ok_or_else(|| missing("describe"))?;
        // SAFETY: the call is valid until it returns.
        ask(&Limits::default(), |c| unsafe { describe(c) })
    };
    let reply = asked().map_err(|failure| failure.message.into_string())?;
    let text = reply.text.ok_or("`describe` answered nothing")?;
    parse_description(&text)
}
