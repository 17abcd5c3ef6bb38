//! The boundary of a component: what its imports are made of, and exports from a [`Package`].

use std::mem::ManuallyDrop;
use std::sync::Once;

use querist_protocol::{Fault, Handle, Kind, PLACE_BITS, StrategyError};

use crate::generated::wasm::{convert_fault_code, fault_code_to_wit};
use crate::host::Host;
use crate::package::Package;

/// What `wit-bindgen` makes of `wit/strategy.wit`.
#[expect(missing_docs, reason = "generated")]
#[expect(clippy::all, clippy::undocumented_unsafe_blocks, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_package",
    });
}

pub use bindings::export_package as export;

use bindings::exports::querist::strategy::strategies as exported;
use bindings::querist::strategy::{query, types};

/// Names the package that a component exports.
pub trait Exports {
    /// The package.
    fn package() -> &'static Package;
}

impl<T: Exports> exported::Guest for T {
    fn describe() -> String {
        report_panics();
        serde_json::to_string(&T::package().describe()).unwrap_or_else(|error| error.to_string())
    }

    fn needs(id: String, params: String) -> Result<Vec<String>, types::Error> {
        report_panics();
        let needs = T::package().needs(&id, &params).map_err(error_to_wit)?;
        Ok(needs.iter().map(ToString::to_string).collect())
    }

    fn score(id: String, params: String) -> Result<exported::Scores, types::Error> {
        report_panics();
        let scores = T::package().score(&id, &params, Host::imports()).map_err(error_to_wit)?;
        Ok(exported::Scores {
            primary: take(scores.primary.into_handle()),
            second: scores.second.map(|second| take(second.into_handle())),
        })
    }

    fn select(id: String, params: String, state: Option<Vec<u8>>) -> Result<exported::Selection, types::Error> {
        report_panics();
        let selection = T::package().select(&id, &params, state, Host::imports()).map_err(error_to_wit)?;
        Ok(exported::Selection {
            rows: selection.rows,
            scores: selection.scores,
            diagnostics: selection.diagnostics,
            state: selection.state,
        })
    }
}

/// A panic is a bare trap in WebAssembly, so its message goes to the host first.
fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|panic| query::panicked(&panic.to_string()))));
}

fn error_to_wit(error: StrategyError) -> types::Error {
    match error {
        StrategyError::InvalidParams(message) => types::Error::InvalidParams(message),
        StrategyError::Unknown(message) => types::Error::Unknown(message),
        StrategyError::Fault(fault) => {
            types::Error::Fault(types::Fault { code: fault_code_to_wit(fault.code), message: fault.message })
        }
        other => types::Error::Failed(other.to_string()),
    }
}

/// The host's calls as imports of the component.
///
/// A handle carries the kind of its object, because releasing an object needs to know its kind; the component model
/// leaves the bits free that it lies in.
pub struct Imports;

pub(crate) trait Object: Sized {
    const KIND: Kind;
    fn into_raw(self) -> u32;
    /// # Safety
    /// `raw` is a live handle of this kind, and whoever calls owns it or forgets the result.
    unsafe fn of_raw(raw: u32) -> Self;
}

pub(crate) fn give<T: Object>(object: T) -> Handle {
    T::KIND.handle(object.into_raw())
}

/// Takes an object back from its handle.
pub(crate) fn take<T: Object>(handle: Handle) -> T {
    assert_eq!(Kind::of(handle), Some(T::KIND), "a handle of another kind");
    // SAFETY: the kind was checked, and the SDK's objects give each handle away once.
    unsafe { T::of_raw(handle & ((1 << PLACE_BITS) - 1)) }
}

/// Borrows an object for a call.
pub(crate) fn lend<T: Object>(handle: Handle) -> ManuallyDrop<T> {
    ManuallyDrop::new(take(handle))
}

pub(crate) fn lend_if<T: Object>(handle: Option<Handle>) -> Option<ManuallyDrop<T>> {
    handle.map(lend)
}

pub(crate) fn plain<T>(result: Result<T, types::Fault>) -> Result<T, Fault> {
    result.map_err(|fault| Fault::new(convert_fault_code(fault.code), fault.message))
}

pub(crate) fn object<T: Object>(result: Result<T, types::Fault>) -> Result<Handle, Fault> {
    plain(result).map(give)
}
