//! Instances of a component, and why a call of one ended.

use std::sync::Arc;
use std::time::Duration;

use querist_core::{Failure, Hint, Limit, QueryErrorKind};
use querist_kernels::Session;
use querist_protocol::{Description, Fault};
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Store, Trap, UpdateDeadline};

use super::generated::bindings::querist::strategy::types;
use super::generated::bindings::{Plugin, PluginPre};
use super::generated::fault_code_from_wit;
use super::memory::{Limiter, Memory};
use super::sandbox::Sandbox;
use super::state::CallState;
use crate::run::answer::parse_description;
use crate::run::clock::{control, under_the_clock};
use crate::run::limits::Limits;
use crate::run::reach;

/// Ticks of fuel that a plugin without a limit gets: more than it can use up.
const UNLIMITED_FUEL: u64 = u64::MAX / 2;
/// Time to describe itself or to say what it needs, which takes no work.
const DESCRIBE_TIME: Duration = Duration::from_secs(5);

/// Asks a component to describe itself.
pub(crate) fn describe(sandbox: &Sandbox, component: &Component, limits: &Limits) -> Result<Description, String> {
    let text = call_once(sandbox, component, limits, |plugin, store| {
        plugin.querist_strategy_strategies().call_describe(store)
    })
    .map_err(|failure| failure.message.into_string())?;
    parse_description(&text)
}

/// Asks a fresh instance something about itself, which takes no work.
pub(super) fn call_once<T: Send>(
    sandbox: &Sandbox,
    component: &Component,
    limits: &Limits,
    call: impl FnOnce(&Plugin, &mut Store<CallState>) -> wasmtime::Result<T> + Send,
) -> Result<T, Failure> {
    let limits = Limits { time: DESCRIBE_TIME.min(limits.time), ..*limits };
    let shared = reach::nothing(control(&limits))?;
    let prepared = prepare(sandbox, component)?;
    under_the_clock(
        shared.control(),
        None,
        || sandbox.engine().increment_epoch(),
        || {
            let room = Room::new(&limits);
            let mut instance = Instance::new(sandbox, &prepared, Session::new(shared.clone()), &room)?;
            instance.run(call)
        },
    )
}

pub(super) fn prepare(sandbox: &Sandbox, component: &Component) -> Result<PluginPre<CallState>, Failure> {
    let wrong = |error: wasmtime::Error| {
        Failure::new(QueryErrorKind::Dishonest, format!("not a strategy of this boundary: {error:#}"))
            .hint("build it with the SDK of this release")
    };
    let pre: InstancePre<CallState> = sandbox.linker().instantiate_pre(component).map_err(wrong)?;
    PluginPre::new(pre).map_err(wrong)
}

/// What the instances of one question may use together.
pub(super) struct Room {
    limits: Limits,
    memory: Arc<Memory>,
}

impl Room {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, memory: Memory::new(limits.memory) }
    }

    /// The most bytes of memory that they held at once.
    pub(super) fn peak(&self) -> u64 {
        self.memory.peak()
    }
}

/// One instance with its store, for one call.
pub(super) struct Instance {
    store: Store<CallState>,
    plugin: Plugin,
    fuel: u64,
}

impl Instance {
    pub(super) fn new(
        sandbox: &Sandbox,
        prepared: &PluginPre<CallState>,
        session: Session,
        Room { limits, memory }: &Room,
    ) -> Result<Self, Failure> {
        let state = CallState::new(session, Limiter::new(memory));
        let mut store = Store::new(sandbox.engine(), state);
        store.limiter(|state| &mut state.limiter);
        let fuel = limits.fuel.unwrap_or(UNLIMITED_FUEL);
        store.set_hostcall_fuel(usize::try_from(limits.memory).unwrap_or(usize::MAX));
        store.set_max_component_handles(limits.handles as usize + 64);
        store.call_hook(|mut context, hook| {
            context.data_mut().cross(hook);
            Ok(())
        });
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| match context.data().session.control().check() {
            Ok(()) => Ok(UpdateDeadline::Continue(1)),
            Err(fault) => Err(wasmtime::Error::msg(fault.message)),
        });
        let instantiated = store.set_fuel(fuel).and_then(|()| prepared.instantiate(&mut store));
        match instantiated {
            Ok(plugin) => Ok(Self { store, plugin, fuel }),
            Err(error) => Err(explain(&store, &error)),
        }
    }

    pub(super) fn run<T>(
        &mut self,
        call: impl FnOnce(&Plugin, &mut Store<CallState>) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        call(&self.plugin, &mut self.store).map_err(|error| explain(&self.store, &error))
    }

    pub(super) fn session(&self) -> &Session {
        &self.store.data().session
    }

    pub(super) fn fuel_used(&self) -> u64 {
        self.fuel - self.store.get_fuel().unwrap_or(self.fuel)
    }
}

/// Finds out why a call trapped.
fn explain(store: &Store<CallState>, error: &wasmtime::Error) -> Failure {
    let state = store.data();
    let control = state.session.control();
    if let Some(panic) = control.panic_text() {
        return Failure::new(QueryErrorKind::Panic, format!("the plugin panicked: {panic}"));
    }
    if let Err(fault) = control.check() {
        return fault.into();
    }
    if state.limiter.refused {
        return Failure::new(QueryErrorKind::Memory, root_cause(error))
            .hint(Hint::raise_or(Limit::Memory, "use kernels of the host instead of arrays of its own"));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Failure::new(QueryErrorKind::Fuel, "the plugin used up its fuel").hint(Limit::Fuel),
        Some(Trap::StackOverflow) => Failure::new(QueryErrorKind::Trap, "the plugin's stack overflowed"),
        Some(Trap::MemoryOutOfBounds) => Failure::new(
            QueryErrorKind::Trap,
            "the plugin read or wrote outside its memory (deep recursion ends this way too)",
        ),
        Some(trap) => Failure::new(QueryErrorKind::Trap, format!("the plugin crashed: {trap}")),
        None => {
            let cause = root_cause(error);
            let too_much = cause.contains("too much data") || cause.contains("handle");
            let kind = if too_much { QueryErrorKind::Output } else { QueryErrorKind::Trap };
            Failure::new(kind, format!("the plugin was stopped: {cause}"))
        }
    }
}

/// The last cause of an error, without the backtrace of nameless frames.
fn root_cause(error: &wasmtime::Error) -> String {
    error.chain().last().map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

pub(super) fn answered_error(error: types::Error) -> Failure {
    match error {
        types::Error::InvalidParams(message) => Failure::new(QueryErrorKind::InvalidParams, message),
        types::Error::Unknown(message) => {
            Failure::new(QueryErrorKind::Dishonest, format!("the package refuses a strategy it lists: {message}"))
        }
        types::Error::Failed(message) => Failure::new(QueryErrorKind::Failed, message),
        types::Error::Fault(fault) => Fault::new(fault_code_from_wit(fault.code), fault.message).into(),
    }
}
