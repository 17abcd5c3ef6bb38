//! A package as the C table of a plugin, and the host's C table as [`Calls`].

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use querist_protocol::abi::{self, Bytes, Call, EpochFigures, PluginApi, Status, TorchApi};
use querist_protocol::{Fault, FaultCode, StrategyError};
use querist_sdk::Query;
use querist_sdk::native::{Table, guarded, text};
use tch::Tensor;

use crate::calls::Calls;
use crate::error::{Error, Result};
use crate::package::{Living, Package};
use crate::round::Round;
use crate::strategy::Minibatch;

/// Version of libtorch whose headers this was built with.
pub const LIBTORCH: &str = env!("QUERIST_LIBTORCH");
/// Whether libtorch's C++ strings are those of C++11.
pub const CXX11: u8 = match env!("QUERIST_LIBTORCH_CXX11").as_bytes() {
    b"0" => 0,
    _ => 1,
};

/// Names the package that a library exports.
pub trait Exports {
    /// The package.
    const PACKAGE: Package;
}

/// The table of a package.
pub const fn table<P: Exports>() -> PluginApi {
    let hooks = P::PACKAGE.hooks();
    PluginApi {
        size: size_of::<PluginApi>() as u32,
        minor: abi::ABI_MINOR as u32,
        describe: Some(describe::<P>),
        needs: Some(needs::<P>),
        score: None,
        select: None,
        create: Some(create::<P>),
        destroy: Some(destroy),
        has_hooks: Some(has_hooks::<P>),
        plan_round: if hooks.plan_round { Some(plan_round) } else { None },
        train_begin: if hooks.train_begin { Some(train_begin) } else { None },
        epoch_begin: if hooks.epoch_begin { Some(epoch_begin) } else { None },
        batch_loss: if hooks.batch_loss { Some(batch_loss) } else { None },
        batch_step: if hooks.batch_step { Some(batch_step) } else { None },
        epoch_end: if hooks.epoch_end { Some(epoch_end) } else { None },
        train_end: if hooks.train_end { Some(train_end) } else { None },
        query: Some(query),
        save_state: Some(save_state),
    }
}

/// The host's table over libtorch, in one call.
struct Torch {
    table: Table,
    api: &'static TorchApi,
}

impl Torch {
    fn of(table: Table) -> Result<Self> {
        // SAFETY: the host's tables live as long as the process.
        let Some(api) = (unsafe { table.api().torch.as_ref() }) else {
            return Err(Error::failed("this host shares no libtorch with its plugins"));
        };
        if (api.size as usize) < size_of::<TorchApi>() {
            return Err(Error::failed("the host is older than the SDK that this plugin was built with"));
        }
        Ok(Self { table, api })
    }
}

macro_rules! fetch {
    // A call that writes its one result to a variable.
    ($self:ident.$name:ident($($arg:expr),*) -> $start:expr) => {{
        let mut out = $start;
        // SAFETY: arguments live through the call, and `out` has room for the result.
        $self.table.check(unsafe { ($self.api.$name)($self.table.call(), $($arg,)* &raw mut out) })?;
        out
    }};
}

const NONE: abi::Tensor = std::ptr::null_mut();

impl Calls for Torch {
    fn task(&self) -> Result<abi::Task, Fault> {
        Ok(fetch!(self.task() -> abi::Task::default()))
    }

    fn open_stream(&self, spec: &abi::StreamSpec, tag: &str, rows: &[u32]) -> Result<u32, Fault> {
        let tag = Bytes::of(tag.as_bytes());
        let spec = abi::StreamSpec { tag, rows: rows.as_ptr(), row_count: rows.len(), ..*spec };
        Ok(fetch!(self.open_stream(&raw const spec) -> 0))
    }

    fn next_batch(&self, stream: u32) -> Result<abi::ImageBatch, Fault> {
        Ok(fetch!(self.next_batch(stream) -> abi::ImageBatch { images: NONE, labels: NONE, rows: NONE }))
    }

    fn close_stream(&self, stream: u32) -> Result<(), Fault> {
        // SAFETY: a number only.
        self.table.check(unsafe { (self.api.close_stream)(self.table.call(), stream) })
    }

    fn forward(&self, images: &Tensor, flags: u32) -> Result<abi::Outputs, Fault> {
        let start = abi::Outputs { logits: NONE, embeddings: NONE, stages: [NONE; abi::MAX_STAGES], stage_count: 0 };
        Ok(fetch!(self.forward(lend(images), flags) -> start))
    }

    fn head_forward(&self, embeddings: &Tensor, flags: u32) -> Result<abi::Tensor, Fault> {
        Ok(fetch!(self.head_forward(lend(embeddings), flags) -> NONE))
    }

    fn parameters(&self) -> Result<Vec<abi::Tensor>, Fault> {
        let count = fetch!(self.parameters(std::ptr::null_mut(), 0) -> 0u32);
        let mut tensors = vec![NONE; count as usize];
        let written = fetch!(self.parameters(tensors.as_mut_ptr(), count) -> 0u32);
        match written == count {
            true => Ok(tensors),
            false => Err(Fault::new(FaultCode::BadShape, "the model's parameters changed their number")),
        }
    }

    fn gradient_norms(&self, images: &Tensor, targets: &Tensor) -> Result<abi::Tensor, Fault> {
        Ok(fetch!(self.gradient_norms(lend(images), lend(targets)) -> NONE))
    }

    fn log_metric(&self, name: &str, value: f64) -> Result<(), Fault> {
        // SAFETY: the name outlives the call.
        self.table.check(unsafe { (self.api.log_metric)(self.table.call(), Bytes::of(name.as_bytes()), value) })
    }

    fn add_synthetic(&self, rows: &[u32], images: &Tensor) -> Result<(), Fault> {
        // SAFETY: rows and images outlive the call.
        self.table
            .check(unsafe { (self.api.add_synthetic)(self.table.call(), rows.as_ptr(), rows.len(), lend(images)) })
    }
}

fn lend(tensor: &Tensor) -> abi::Tensor {
    tensor.as_ptr().cast_mut().cast()
}

/// Another name for a tensor that was lent.
///
/// # Safety
/// `tensor` is null or the address of a live tensor.
unsafe fn lent(tensor: abi::Tensor) -> Option<Tensor> {
    // SAFETY: promised by the caller.
    (!tensor.is_null()).then(|| unsafe { Tensor::clone_from_ptr(tensor.cast()) })
}

/// A minibatch as the host lends it, under names of its own.
///
/// # Errors
/// If a tensor that every minibatch has is missing.
///
/// # Safety
/// Its tensors are null or live.
pub unsafe fn minibatch(of: &abi::Minibatch) -> Result<Minibatch> {
    let missing = || Error::failed("the host lent a minibatch without its tensors");
    let count = (of.stage_count as usize).min(abi::MAX_STAGES);
    // SAFETY: promised by the caller.
    unsafe {
        Ok(Minibatch {
            epoch: of.epoch,
            step: of.step,
            images: lent(of.images).ok_or_else(missing)?,
            labels: lent(of.labels).ok_or_else(missing)?,
            logits: lent(of.logits).ok_or_else(missing)?,
            embeddings: lent(of.embeddings).ok_or_else(missing)?,
            losses: lent(of.losses),
            unlabelled: lent(of.unlabelled),
            stages: of.stages[..count].iter().filter_map(|&map| lent(map)).collect(),
        })
    }
}

/// A loss as it is given to the host.
pub fn loss(loss: crate::Loss) -> abi::Loss {
    let extra = loss.extra.map_or(NONE, |extra| ManuallyDrop::new(extra).as_mut_ptr().cast());
    abi::Loss { extra, task_scale: loss.task_scale }
}

/// Runs the body of an exported function with the round at hand.
fn serve(call: *mut Call, body: impl FnOnce(Table, &Round) -> Result<()>) -> Status {
    guarded(call, |table| {
        let run = || {
            let torch = Torch::of(table)?;
            body(table, &Round::new(&torch, table.host())?)
        };
        run().map_err(Error::into_strategy)
    })
}

/// A strategy behind the pointer that the host holds.
struct Held(Box<dyn Living>);

/// Runs a hook of a strategy.
///
/// # Safety
/// `strategy` was made by [`create`] and is not in use.
unsafe fn hook(
    call: *mut Call,
    strategy: *mut abi::Strategy,
    body: impl FnOnce(Table, &Round, &mut dyn Living) -> Result<()>,
) -> Status {
    serve(call, |table, round| {
        // SAFETY: promised by the caller.
        match unsafe { strategy.cast::<Held>().as_mut() } {
            Some(held) => body(table, round, &mut *held.0),
            None => Err(Error::failed("the host calls a strategy that is null")),
        }
    })
}

fn json(value: &impl serde::Serialize) -> querist_sdk::Result<String> {
    serde_json::to_string(value).map_err(|error| StrategyError::Failed(error.to_string()))
}

unsafe extern "C" fn describe<P: Exports>(call: *mut Call) -> Status {
    guarded(call, |table| table.answer_text(&json(&P::PACKAGE.describe())?))
}

unsafe extern "C" fn needs<P: Exports>(call: *mut Call, id: Bytes, params: Bytes) -> Status {
    guarded(call, |table| {
        // SAFETY: the host's texts live through the call.
        let (id, params) = unsafe { (text(id)?, text(params)?) };
        let needs: Vec<String> = P::PACKAGE.entry(id)?.needs(params)?.iter().map(ToString::to_string).collect();
        table.answer_text(&json(&needs)?)
    })
}

unsafe extern "C" fn has_hooks<P: Exports>(call: *mut Call, id: Bytes, live: *mut bool) -> Status {
    guarded(call, |_| {
        // SAFETY: the host's text and variable live through the call.
        unsafe { *live = P::PACKAGE.entry(text(id)?)?.hooks().any() };
        Ok(())
    })
}

unsafe extern "C" fn create<P: Exports>(
    call: *mut Call,
    id: Bytes,
    params: Bytes,
    state: Bytes,
    strategy: *mut *mut abi::Strategy,
) -> Status {
    serve(call, |_, round| {
        // SAFETY: the host's texts and bytes live through the call.
        let (id, params, state) = unsafe { (text(id)?, text(params)?, state.get()) };
        let state = (!state.is_empty()).then_some(state);
        let held = Held(P::PACKAGE.entry(id)?.create(params, round, state)?);
        // SAFETY: the host's variable lives through the call.
        unsafe { *strategy = Box::into_raw(Box::new(held)).cast() };
        Ok(())
    })
}

unsafe extern "C" fn destroy(strategy: *mut abi::Strategy) {
    if strategy.is_null() {
        return;
    }
    // A panic must not unwind into the host; there is nobody to tell.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: made by `create`, and destroyed once.
        drop(unsafe { Box::from_raw(strategy.cast::<Held>()) });
    }));
}

unsafe extern "C" fn plan_round(call: *mut Call, strategy: *mut abi::Strategy) -> Status {
    // SAFETY: the host hands back what `create` gave; likewise below.
    unsafe { hook(call, strategy, |table, round, living| Ok(table.answer_text(&json(&living.plan_round(round)?)?)?)) }
}

unsafe extern "C" fn train_begin(call: *mut Call, strategy: *mut abi::Strategy) -> Status {
    // SAFETY: as above.
    unsafe { hook(call, strategy, |_, round, living| living.train_begin(round)) }
}

unsafe extern "C" fn epoch_begin(call: *mut Call, strategy: *mut abi::Strategy, epoch: u32) -> Status {
    // SAFETY: as above.
    unsafe { hook(call, strategy, |_, round, living| living.epoch_begin(round, epoch)) }
}

unsafe extern "C" fn batch_loss(
    call: *mut Call,
    strategy: *mut abi::Strategy,
    batch: *const abi::Minibatch,
    out: *mut abi::Loss,
) -> Status {
    // SAFETY: as above; minibatch and variable live through the call.
    unsafe {
        hook(call, strategy, |_, round, living| {
            *out = loss(living.batch_loss(round, &minibatch(&*batch)?)?);
            Ok(())
        })
    }
}

unsafe extern "C" fn batch_step(call: *mut Call, strategy: *mut abi::Strategy, epoch: u32, step: u32) -> Status {
    // SAFETY: as above.
    unsafe { hook(call, strategy, |_, round, living| living.batch_step(round, epoch, step)) }
}

unsafe extern "C" fn epoch_end(
    call: *mut Call,
    strategy: *mut abi::Strategy,
    epoch: u32,
    figures: *const EpochFigures,
) -> Status {
    // SAFETY: as above; the figures live through the call.
    unsafe { hook(call, strategy, |_, round, living| living.epoch_end(round, epoch, &*figures)) }
}

unsafe extern "C" fn train_end(call: *mut Call, strategy: *mut abi::Strategy) -> Status {
    // SAFETY: as above.
    unsafe { hook(call, strategy, |_, round, living| living.train_end(round)) }
}

unsafe extern "C" fn query(call: *mut Call, strategy: *mut abi::Strategy) -> Status {
    // SAFETY: as above.
    unsafe {
        hook(call, strategy, |table, round, living| {
            let query = Query::new(round.host().clone(), None);
            Ok(table.answer_selection(&living.query(round, &query)?)?)
        })
    }
}

unsafe extern "C" fn save_state(call: *mut Call, strategy: *mut abi::Strategy) -> Status {
    // SAFETY: as above.
    unsafe {
        hook(call, strategy, |table, round, living| {
            let Some(state) = living.save_state(round)? else { return Ok(()) };
            // SAFETY: the state outlives the call.
            let status = (table.api().answer_state)(call, Bytes::of(&state));
            Ok(table.check(status)?)
        })
    }
}
