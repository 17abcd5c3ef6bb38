//! One call into a plugin: what the plugin can reach meanwhile, what it answered, and how values cross.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use querist_core::HostServices;
use querist_kernels::{Control, Session, Span};
use querist_protocol::abi::{self, Bytes, Call, FailKind, List, NO_HANDLE, NO_ROW, Status};
use querist_protocol::{Fault, FaultCode, Handle};

/// Bytes of a text that a plugin hands in at most, where no other limit holds.
const MAX_TEXT: usize = 16 << 20;
/// What one call into a plugin can reach, and what the plugin answered.
pub(super) struct Context<'a> {
    pub(super) session: &'a Session,
    services: Option<&'a dyn HostServices>,
    /// Bytes of state that are taken.
    pub(super) state_limit: usize,
    pub(super) fault: RefCell<String>,
    pub(super) reply: RefCell<Reply>,
    /// The list that the plugin may look at until its next call that gives one.
    lent: RefCell<Box<dyn Any>>,
}

/// What a plugin answered.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) text: Option<String>,
    /// Handles of scores and tie-breakers.
    pub(super) scores: Option<(Handle, Option<Handle>)>,
    /// Rows, and a score for each or none.
    pub(super) rows: Option<(Vec<u32>, Vec<f64>)>,
    pub(super) diagnostics: Vec<(String, f64)>,
    pub(super) state: Option<Vec<u8>>,
    /// Why there is no answer.
    pub(super) failure: Option<(FailKind, Status, String)>,
}

impl<'a> Context<'a> {
    pub(super) fn new(session: &'a Session, services: Option<&'a dyn HostServices>, state_limit: usize) -> Self {
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
    pub(super) fn call(&self) -> *mut Call {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    pub(super) fn into_reply(self) -> Reply {
        self.reply.into_inner()
    }

    pub(super) fn control(&self) -> &Control {
        self.session.control()
    }

    pub(super) fn services(&self) -> Result<&'a dyn HostServices, Fault> {
        self.services.ok_or_else(|| {
            Fault::new(FaultCode::NotDeclared, "images and model are not within reach of this call of the plugin")
        })
    }
}

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
    let _timed = context.control().meter().time(Span::Call);
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
pub(super) fn put_all<T: Copy>(out: *mut T, values: &[T]) -> Result<(), Fault> {
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
pub(super) fn put_measured<T: Copy>(out: *mut T, capacity: u32, count: *mut u32, values: &[T]) -> Result<(), Fault> {
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
