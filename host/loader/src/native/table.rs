//! The host's side of the C tables.

use std::ffi::c_void;

use querist_protocol::abi::{
    self, Bytes, Call, FailKind, HostApi, ImageBatch, Outputs, Status, StreamSpec, Task, Tensor, TorchApi,
};
use querist_protocol::{Fault, FaultCode, HostCalls};

use super::context::{bad, handle, put, put_all, put_measured, serve, slice, text};
use super::dlpack;
use super::generated::CALLS;
use crate::run::answer::MAX_DIAGNOSTICS;

/// Rows of one open stream that a plugin picks at most.
const MAX_STREAM_ROWS: usize = u32::MAX as usize;

/// The table for plugins, with or without services over libtorch.
pub(crate) fn host_api(torch: bool) -> &'static HostApi {
    if torch { &WITH_TORCH } else { &PLAIN }
}

static PLAIN: HostApi = api(std::ptr::null());
static WITH_TORCH: HostApi = api(&raw const TORCH);

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
