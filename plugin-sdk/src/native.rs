//! The boundary of a native plugin: the host's C tables, and a [`Package`] as the plugin's table.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Once, OnceLock};

pub(crate) use querist_protocol::abi::List;
use querist_protocol::abi::{self, Bytes, Call, CallTable, HostApi, NO_HANDLE, NO_ROW, PluginApi, Status};
use querist_protocol::{Fault, FaultCode, Handle, Selection, StrategyError};

use crate::host::Host;
use crate::package::Package;
use crate::strategy::Result;

/// The host's table, once this library was entered.
static HOST: OnceLock<&'static HostApi> = OnceLock::new();

/// Takes the host's table at the entry; `None` if the host is too old for this plugin.
///
/// # Safety
/// `host` is null or points to a table that lives as long as the process.
pub unsafe fn enter(host: *const HostApi) -> Option<()> {
    // SAFETY: the caller's promise.
    let host = unsafe { host.as_ref() }?;
    // Every function of this version is used, so a shorter table is of an older host.
    if (host.size as usize) < size_of::<HostApi>() {
        return None;
    }
    // SAFETY: the host's tables live as long as the process.
    let calls = unsafe { host.calls.as_ref() }?;
    if (calls.size as usize) < size_of::<CallTable>() {
        return None;
    }
    report_panics();
    HOST.get_or_init(|| host);
    Some(())
}

/// What plugins do on loading that bring nothing with them.
#[doc(hidden)]
pub fn nothing() {}

/// The host's side of one call into this plugin.
#[derive(Clone, Copy)]
pub struct Table {
    api: &'static HostApi,
    call: *mut Call,
}

impl Table {
    /// The host's side of `call`.
    ///
    /// # Panics
    /// If the library was not entered, which no host can cause by its table.
    pub fn of(call: *mut Call) -> Self {
        Self { api: HOST.get().expect("the host enters a plugin before it calls it"), call }
    }

    /// The host's functions.
    pub fn api(&self) -> &'static HostApi {
        self.api
    }

    /// What a query may ask of the host.
    pub fn calls(&self) -> &'static CallTable {
        // SAFETY: looked at when the library was entered.
        unsafe { &*self.api.calls }
    }

    /// The call, for functions of [`Table::api`] and [`Table::calls`].
    pub fn call(&self) -> *mut Call {
        self.call
    }

    /// The host as strategies use it.
    pub fn host(self) -> Host {
        Host::new(Rc::new(self))
    }

    /// Turns a status of the host into a result.
    ///
    /// # Errors
    /// The fault, if the call was refused.
    pub fn check(&self, status: Status) -> Result<(), Fault> {
        match status {
            abi::OK => Ok(()),
            refused => Err(self.fault(refused)),
        }
    }

    fn fault(&self, status: Status) -> Fault {
        let mut text = vec![0u8; 512];
        // SAFETY: the host writes up to the length it is given.
        let len = unsafe { (self.api.fault_text)(self.call, text.as_mut_ptr(), text.len()) };
        if len > text.len() {
            text.resize(len, 0);
            // SAFETY: as above.
            unsafe { (self.api.fault_text)(self.call, text.as_mut_ptr(), text.len()) };
        }
        text.truncate(len);
        Fault::new(FaultCode::of_status(status).unwrap_or(FaultCode::BadArgument), String::from_utf8_lossy(&text))
    }

    /// Tells the host why there is no answer.
    pub fn fail(&self, error: &StrategyError) {
        let (kind, fault) = match error {
            StrategyError::InvalidParams(_) => (abi::FAIL_INVALID_PARAMS, abi::OK),
            StrategyError::Unknown(_) => (abi::FAIL_UNKNOWN, abi::OK),
            StrategyError::Fault(fault) => (abi::FAIL_FAULT, fault.code.status()),
            _ => (abi::FAIL_FAILED, abi::OK),
        };
        let message = match error {
            StrategyError::InvalidParams(message) | StrategyError::Unknown(message) => message.clone(),
            other => other.to_string(),
        };
        // SAFETY: the message outlives the call.
        unsafe { (self.api.fail)(self.call, kind, fault, Bytes::of(message.as_bytes())) };
    }

    /// Answers with a text.
    ///
    /// # Errors
    /// If the host refuses it.
    pub fn answer_text(&self, text: &str) -> Result<()> {
        // SAFETY: the text outlives the call.
        Ok(self.check(unsafe { (self.api.answer_text)(self.call, Bytes::of(text.as_bytes())) })?)
    }

    /// Answers with rows, figures and state.
    ///
    /// # Errors
    /// If the host refuses them.
    pub fn answer_selection(&self, selection: &Selection) -> Result<()> {
        let Selection { rows, scores, diagnostics, state } = selection;
        if !scores.is_empty() && scores.len() != rows.len() {
            let message = format!("{} scores for {} rows", scores.len(), rows.len());
            return Err(StrategyError::Failed(message));
        }
        let values = if scores.is_empty() { std::ptr::null() } else { scores.as_ptr() };
        // SAFETY: as many values as rows, or null.
        self.check(unsafe { (self.api.answer_rows)(self.call, rows.as_ptr(), values, rows.len()) })?;
        for (name, value) in diagnostics {
            // SAFETY: the name outlives the call.
            self.check(unsafe { (self.api.answer_diagnostic)(self.call, Bytes::of(name.as_bytes()), *value) })?;
        }
        if let Some(state) = state {
            // SAFETY: the state outlives the call.
            self.check(unsafe { (self.api.answer_state)(self.call, Bytes::of(state)) })?;
        }
        Ok(())
    }
}

thread_local! {
    /// Text of the last panic on this thread.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps message and place of a panic for the host, instead of printing them.
fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let text = panic.to_string();
            PANIC.with_borrow_mut(|kept| *kept = Some(text));
        }));
    });
}

/// Runs the body of an exported function: errors and panics become a status, and the host is told.
#[expect(clippy::not_unsafe_ptr_arg_deref, reason = "the pointer goes back to the host; nothing here looks behind it")]
pub fn guarded(call: *mut Call, body: impl FnOnce(Table) -> Result<()>) -> Status {
    // What a caught panic may leave half done belongs to the strategy, which the host then no longer calls.
    match catch_unwind(AssertUnwindSafe(|| {
        let table = Table::of(call);
        body(table).inspect_err(|error| table.fail(error))
    })) {
        Ok(Ok(())) => abi::OK,
        Ok(Err(_)) => abi::FAILED,
        Err(payload) => {
            let text = PANIC.with_borrow_mut(Option::take).unwrap_or_else(|| payload_text(&*payload));
            if let Some(api) = HOST.get() {
                // SAFETY: the text outlives the call.
                unsafe { (api.fail)(call, abi::FAIL_PANIC, abi::OK, Bytes::of(text.as_bytes())) };
            }
            abi::PANICKED
        }
    }
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

/// A text that the host handed in.
///
/// # Errors
/// If it is not UTF-8.
///
/// # Safety
/// As for [`Bytes::get`].
pub unsafe fn text<'a>(bytes: Bytes) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    std::str::from_utf8(unsafe { bytes.get() }).map_err(|_| StrategyError::Failed("a text is not UTF-8".to_owned()))
}

/// Names the package that a library exports.
pub trait Exports {
    /// The package.
    const PACKAGE: &'static Package;
}

/// The table of a package whose strategies answer from arrays.
pub const fn table<P: Exports>() -> PluginApi {
    PluginApi {
        size: size_of::<PluginApi>() as u32,
        minor: abi::ABI_MINOR as u32,
        describe: Some(describe::<P>),
        needs: Some(needs::<P>),
        score: Some(score::<P>),
        select: Some(select::<P>),
        create: None,
        destroy: None,
        has_hooks: None,
        plan_round: None,
        train_begin: None,
        epoch_begin: None,
        batch_loss: None,
        batch_step: None,
        epoch_end: None,
        train_end: None,
        query: None,
        save_state: None,
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StrategyError::Failed(error.to_string()))
}

unsafe extern "C" fn describe<P: Exports>(call: *mut Call) -> Status {
    guarded(call, |table| table.answer_text(&json(&P::PACKAGE.describe())?))
}

unsafe extern "C" fn needs<P: Exports>(call: *mut Call, id: Bytes, params: Bytes) -> Status {
    guarded(call, |table| {
        // SAFETY: the host's texts live through the call.
        let (id, params) = unsafe { (text(id)?, text(params)?) };
        let needs: Vec<String> = P::PACKAGE.needs(id, params)?.iter().map(ToString::to_string).collect();
        table.answer_text(&json(&needs)?)
    })
}

unsafe extern "C" fn score<P: Exports>(call: *mut Call, id: Bytes, params: Bytes) -> Status {
    guarded(call, |table| {
        // SAFETY: the host's texts live through the call.
        let (id, params) = unsafe { (text(id)?, text(params)?) };
        let scores = P::PACKAGE.score(id, params, table.host())?;
        let second = scores.second.map_or(NO_HANDLE, |second| second.into_handle());
        // SAFETY: handles of this call.
        Ok(table.check(unsafe { (table.api.answer_scores)(call, scores.primary.into_handle(), second) })?)
    })
}

unsafe extern "C" fn select<P: Exports>(call: *mut Call, id: Bytes, params: Bytes, state: Bytes) -> Status {
    guarded(call, |table| {
        // SAFETY: the host's texts and bytes live through the call.
        let (id, params, state) = unsafe { (text(id)?, text(params)?, state.get()) };
        let state = (!state.is_empty()).then(|| state.to_vec());
        table.answer_selection(&P::PACKAGE.select(id, params, state, table.host())?)
    })
}

/// Exports a package as a native plugin: the entry function and the identity section. Once in a library of crate type
/// `cdylib`.
///
/// ```ignore
/// export_native!(strategy_badge::PACKAGE);
/// ```
///
/// `on_load = FUNCTION` names a `fn()` that is called once, when the plugin is loaded: for a library that it brings
/// with it in a memory file. A plugin in a worker process can have one such file, and can open nothing else.
#[macro_export]
macro_rules! export_native {
    ($package:path) => {
        $crate::export_native!($package, on_load = $crate::native::nothing);
    };
    ($package:path, on_load = $load:path) => {
        const _: () = {
            struct Library;
            impl $crate::native::Exports for Library {
                const PACKAGE: &'static $crate::Package = &$package;
            }
            static TABLE: $crate::protocol::abi::PluginApi = $crate::native::table::<Library>();

            $crate::native_entry!(TABLE, $load);
            $crate::native_identity!($package.name, $package.version, $crate::protocol::abi::TIER_PLAIN, 0, "");
        };
    };
}

/// The entry function of a native plugin with this table.
#[doc(hidden)]
#[macro_export]
macro_rules! native_entry {
    ($table:ident) => {
        $crate::native_entry!($table, $crate::native::nothing);
    };
    ($table:ident, $load:path) => {
        /// # Safety
        /// `host` is the host's table.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn querist_plugin_v2(
            host: *const $crate::protocol::abi::HostApi,
        ) -> *const $crate::protocol::abi::PluginApi {
            // SAFETY: the host's promise.
            match unsafe { $crate::native::enter(host) } {
                Some(()) => {
                    $load();
                    &raw const $table
                }
                None => std::ptr::null(),
            }
        }
    };
}

/// The identity section of a native plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! native_identity {
    ($name:expr, $version:expr, $tier:expr, $cxx11:expr, $libtorch:expr) => {
        #[used]
        #[unsafe(link_section = ".querist")]
        static IDENTITY: $crate::protocol::abi::Identity = $crate::protocol::abi::Identity {
            magic: $crate::protocol::abi::IDENTITY_MAGIC,
            size: size_of::<$crate::protocol::abi::Identity>() as u32,
            abi_major: $crate::protocol::abi::ABI_MAJOR,
            abi_minor: $crate::protocol::abi::ABI_MINOR,
            panic: if cfg!(panic = "abort") {
                $crate::protocol::abi::PANIC_ABORT
            } else {
                $crate::protocol::abi::PANIC_UNWIND
            },
            tier: $tier,
            cxx11: $cxx11,
            reserved: 0,
            package: $crate::protocol::abi::padded($name),
            version: $crate::protocol::abi::padded($version),
            compiler: $crate::protocol::abi::padded($crate::native::COMPILER),
            target: $crate::protocol::abi::padded($crate::native::TARGET),
            libtorch: $crate::protocol::abi::padded($libtorch),
            description: [0; 32],
        };
    };
}

/// The compiler of this SDK, and so of the plugin.
#[doc(hidden)]
pub const COMPILER: &str = env!("QUERIST_COMPILER");
/// The target triple.
#[doc(hidden)]
pub const TARGET: &str = env!("QUERIST_TARGET");

/// A handle that may be left out, as tables have it.
pub(crate) fn no_handle(handle: Option<Handle>) -> u32 {
    handle.unwrap_or(NO_HANDLE)
}

/// A row that there may not be, as tables have it.
pub(crate) fn row_or_none(row: u32) -> Option<u32> {
    (row != NO_ROW).then_some(row)
}
