//! The host's side of the C tables.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use querist_core::HostServices;
use querist_kernels::{Control, Session};
use querist_protocol::abi::{
    self, Bytes, Call, FailKind, HostApi, ImageBatch, List, NO_HANDLE, NO_ROW, Outputs, Status, StreamSpec, Task,
    Tensor, TorchApi,
};
use querist_protocol::{Fault, FaultCode, Handle, HostCalls};

use super::dlpack;
use super::generated::CALLS;
use crate::asking::MAX_DIAGNOSTICS;

/// Bytes of a text that a plugin hands in at most, where no other limit holds.
const MAX_TEXT: usize = 16 << 20;
/// Rows of one open stream that a plugin picks at most.
const MAX_STREAM_ROWS: usize = u32::MAX as usize;

/// What one call into a plugin can reach, and what the plugin answered.
pub(crate) struct Context<'a> {
    pub(super) session: &'a Session,
    services: Option<&'a dyn HostServices>,
    /// Bytes of state that are taken.
    state_limit: usize,
    fault: RefCell<String>,
    reply: RefCell<Reply>,
    /// The list that the plugin may look at until its next call that gives one.
    lent: RefCell<Box<dyn Any>>,
}

/// What a plugin answered.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) text: Option<String>,
    /// Handles of scores and tie-breakers.
    pub(crate) scores: Option<(Handle, Option<Handle>)>,
    /// Rows, and a score for each or none.
    pub(crate) rows: Option<(Vec<u32>, Vec<f64>)>,
    pub(crate) diagnostics: Vec<(String, f64)>,
    pub(crate) state: Option<Vec<u8>>,
    /// Why there is no answer.
    pub(crate) failure: Option<(FailKind, Status, String)>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(session: &'a Session, services: Option<&'a dyn HostServices>, state_limit: usize) -> Self {
        Self {
            session,
            services,
            state_limit,
            fault: RefCell::default(),
            reply: RefCell::default(),
            lent: RefCell::new(Box::new(())),
        }
    }

    /// The pointer that a plugin is handed; good for as long as the context is not moved.
    pub(crate) fn call(&self) -> *mut Call {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    pub(crate) fn into_reply(self) -> Reply {
        self.reply.into_inner()
    }

    fn control(&self) -> &Control {
        self.session.control()
    }

    fn services(&self) -> Result<&'a dyn HostServices, Fault> {
        self.services.ok_or_else(|| {
            Fault::new(FaultCode::NotDeclared, "images and model are not within reach of this call of the plugin")
        })
    }
}

/// The table for plugins, with or without services over libtorch.
pub(crate) fn host_api(torch: bool) -> &'static HostApi {
    if torch { &WITH_TORCH } else { &PLAIN }
}

static PLAIN: HostApi = api(std::ptr::null());
static WITH_TORCH: HostApi = api(&raw const TORCH);

pub(super) fn bad(message: impl Into<String>) -> Fault {
    Fault::new(FaultCode::BadArgument, message)
}

/// Runs a host function: a fault becomes its number, and its sentence is kept for `fault_text`.
pub(super) fn serve(call: *mut Call, body: impl FnOnce(&Context<'_>) -> Result<(), Fault>) -> Status {
    if call.is_null() {
        return FaultCode::BadHandle.status();
    }
    // SAFETY: a plugin hands back the pointer that it got for this call; the table's documentation says so.
    let context = unsafe { &*call.cast::<Context<'_>>() };
    // A panic must not unwind through the plugin.
    let result = catch_unwind(AssertUnwindSafe(|| body(context)))
        .unwrap_or_else(|_| Err(bad("the host failed in this call; please report this")));
    match result {
        Ok(()) => abi::OK,
        Err(fault) => {
            *context.fault.borrow_mut() = fault.message;
            fault.code.status()
        }
    }
}

/// Writes a result to the plugin's variable.
pub(super) fn put<T>(out: *mut T, value: T) -> Result<(), Fault> {
    if out.is_null() {
        return Err(bad("the place for the result is null"));
    }
    // SAFETY: the plugin provides room for one value; the table's documentation says so.
    unsafe { out.write(value) };
    Ok(())
}

/// Writes a list whose length the plugin asked for.
fn put_all<T: Copy>(out: *mut T, values: &[T]) -> Result<(), Fault> {
    if values.is_empty() {
        return Ok(());
    }
    if out.is_null() {
        return Err(bad("the place for the list is null"));
    }
    // SAFETY: the plugin provides room for as many values as it asked for.
    unsafe { out.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    Ok(())
}

/// Writes a list if there is room, and its length in any case.
fn put_measured<T: Copy>(out: *mut T, capacity: u32, count: *mut u32, values: &[T]) -> Result<(), Fault> {
    let len = u32::try_from(values.len()).map_err(|_| bad("a list of more than 32 bits"))?;
    put(count, len)?;
    if len <= capacity { put_all(out, values) } else { Ok(()) }
}

/// Lends a list to the plugin until its next call that gives one.
pub(super) fn lend<T: 'static>(context: &Context<'_>, out: *mut List<T>, values: Vec<T>) -> Result<(), Fault> {
    let values = Box::new(values);
    put(out, List { data: values.as_ptr(), count: values.len() })?;
    *context.lent.borrow_mut() = values;
    Ok(())
}

/// A structure that the plugin hands in.
pub(super) fn record<C: Copy, T: TryFrom<C, Error = Fault>>(record: *const C) -> Result<T, Fault> {
    match slice(record, 1)? {
        &[record] => record.try_into(),
        _ => Err(bad("no structure")),
    }
}

pub(super) fn slice<'a, T>(data: *const T, count: usize) -> Result<&'a [T], Fault> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() || !data.is_aligned() || count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(bad(format!("a list of {count} values that is null, not aligned or too long")));
    }
    // SAFETY: the plugin says that so many values lie there.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

pub(super) fn text<'a>(bytes: Bytes) -> Result<&'a str, Fault> {
    if bytes.len > MAX_TEXT {
        return Err(Fault::new(FaultCode::Quota, format!("a text of {} bytes, the limit is {MAX_TEXT}", bytes.len)));
    }
    std::str::from_utf8(slice(bytes.data, bytes.len)?).map_err(|_| bad("a text that is not UTF-8"))
}

pub(super) fn handle(handle: u32) -> Option<Handle> {
    (handle != NO_HANDLE).then_some(handle)
}

pub(super) fn row(row: Option<u32>) -> u32 {
    row.unwrap_or(NO_ROW)
}

macro_rules! functions {
    // Functions whose body gives one value for the last argument.
    ($(fn $name:ident($c:ident $(, $arg:ident: $kind:ty)*) -> $out:ty $body:block)*) => {
        $(unsafe extern "C" fn $name(call: *mut Call $(, $arg: $kind)*, out: *mut $out) -> Status {
            serve(call, |$c| put(out, $body))
        })*
    };
}

macro_rules! actions {
    // Functions without a result of that kind.
    ($(fn $name:ident($c:ident $(, $arg:ident: $kind:ty)* $(,)?) $body:block)*) => {
        $(unsafe extern "C" fn $name(call: *mut Call $(, $arg: $kind)*) -> Status {
            serve(call, |$c| $body)
        })*
    };
}

unsafe extern "C" fn fail(call: *mut Call, kind: FailKind, fault: Status, message: Bytes) {
    serve(call, |c| {
        let message = text(message).map_or_else(|_| "a message that is no text".to_owned(), str::to_owned);
        // The first reason counts; what follows is its consequence.
        c.reply.borrow_mut().failure.get_or_insert((kind, fault, message));
        Ok(())
    });
}

unsafe extern "C" fn fault_text(call: *mut Call, out: *mut u8, capacity: usize) -> usize {
    let mut len = 0;
    serve(call, |c| {
        let fault = c.fault.borrow();
        len = fault.len();
        put_all(out, &fault.as_bytes()[..len.min(capacity)])
    });
    len
}

actions! {
    fn answer_text(c, json: Bytes) {
        let json = text(json)?.to_owned();
        c.reply.borrow_mut().text = Some(json);
        Ok(())
    }
    fn answer_scores(c, primary: u32, second: u32) {
        c.reply.borrow_mut().scores = Some((primary, handle(second)));
        Ok(())
    }
    fn answer_rows(c, rows: *const u32, scores: *const f64, count: usize) {
        let visible = c.session.info().rows as usize;
        if count > visible {
            return Err(Fault::new(FaultCode::Quota, format!("{count} rows of a pool of {visible}")));
        }
        let scores = if scores.is_null() { &[] } else { slice(scores, count)? };
        c.reply.borrow_mut().rows = Some((slice(rows, count)?.to_vec(), scores.to_vec()));
        Ok(())
    }
    fn answer_diagnostic(c, name: Bytes, value: f64) {
        let (name, mut reply) = (text(name)?, c.reply.borrow_mut());
        if reply.diagnostics.len() >= MAX_DIAGNOSTICS {
            return Err(Fault::new(FaultCode::Quota, format!("more than {MAX_DIAGNOSTICS} diagnostics")));
        }
        reply.diagnostics.push((name.to_owned(), value));
        Ok(())
    }
    fn answer_state(c, state: Bytes) {
        if state.len > c.state_limit {
            let message = format!("a state of {} bytes, the limit is {}", state.len, c.state_limit);
            return Err(Fault::new(FaultCode::Quota, message));
        }
        c.reply.borrow_mut().state = Some(slice(state.data, state.len)?.to_vec());
        Ok(())
    }
}

functions! {
    fn array_dlpack(c, name: Bytes) -> *mut c_void { dlpack::lend(c.session.declared_array(text(name)?)?)? }
}

const fn api(torch: *const TorchApi) -> HostApi {
    HostApi {
        size: size_of::<HostApi>() as u32,
        minor: abi::ABI_MINOR as u32,
        torch,
        fail,
        fault_text,
        answer_text,
        answer_scores,
        answer_rows,
        answer_diagnostic,
        answer_state,
        array_dlpack,
        calls: &raw const CALLS,
    }
}

fn service<T>(result: Result<T, querist_core::ServiceError>) -> Result<T, Fault> {
    result.map_err(|error| bad(error.0))
}

fn tensor(tensor: Tensor) -> Result<Tensor, Fault> {
    if tensor.is_null() { Err(bad("a tensor that is null")) } else { Ok(tensor) }
}

static TORCH: TorchApi = TorchApi {
    size: size_of::<TorchApi>() as u32,
    minor: abi::ABI_MINOR as u32,
    task,
    open_stream,
    next_batch,
    close_stream,
    forward,
    head_forward,
    parameters,
    gradient_norms,
    log_metric,
    add_synthetic,
};

functions! {
    fn task(c) -> Task { c.services()?.task() }
    fn open_stream(c, spec: *const StreamSpec) -> u32 {
        let [spec] = slice(spec, 1)? else { return Err(bad("no settings of the stream")) };
        if spec.row_count > MAX_STREAM_ROWS {
            return Err(Fault::new(FaultCode::Quota, format!("a stream of {} rows", spec.row_count)));
        }
        let rows = if spec.of == 2 { slice(spec.rows, spec.row_count)? } else { &[] };
        service(c.services()?.open_stream(spec, text(spec.tag)?, rows))?
    }
    fn next_batch(c, stream: u32) -> ImageBatch {
        c.control().check()?;
        service(c.services()?.next_batch(stream))?
    }
    fn forward(c, images: Tensor, flags: u32) -> Outputs {
        c.control().check()?;
        // SAFETY: the plugin hands in a live tensor; the table's documentation says so.
        service(unsafe { c.services()?.forward(tensor(images)?, flags) })?
    }
    fn head_forward(c, embeddings: Tensor, flags: u32) -> Tensor {
        // SAFETY: as above.
        service(unsafe { c.services()?.head_forward(tensor(embeddings)?, flags) })?
    }
    fn gradient_norms(c, images: Tensor, targets: Tensor) -> Tensor {
        c.control().check()?;
        // SAFETY: as above.
        service(unsafe { c.services()?.gradient_norms(tensor(images)?, tensor(targets)?) })?
    }
}

actions! {
    fn close_stream(c, stream: u32) {
        c.services()?.close_stream(stream);
        Ok(())
    }
    fn parameters(c, out: *mut Tensor, capacity: u32, count: *mut u32) {
        let services = c.services()?;
        let tensors = service(services.parameters())?;
        if tensors.len() > capacity as usize {
            for &tensor in &tensors {
                // SAFETY: nobody else has seen it.
                unsafe { services.release(tensor) };
            }
            return put(count, tensors.len() as u32);
        }
        put_measured(out, capacity, count, &tensors)
    }
    fn log_metric(c, name: Bytes, value: f64) {
        service(c.services()?.log_metric(text(name)?, value))
    }
    fn add_synthetic(c, rows: *const u32, row_count: usize, images: Tensor) {
        if row_count > MAX_STREAM_ROWS {
            return Err(Fault::new(FaultCode::Quota, format!("{row_count} images to train on")));
        }
        // SAFETY: as above.
        service(unsafe { c.services()?.add_synthetic(slice(rows, row_count)?, tensor(images)?) })
    }
}
