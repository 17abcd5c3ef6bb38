//! How calls reach the host in this build.

use querist_protocol::HostCalls;

/// The host's side of the query at hand.
///
/// In a component it is a set of imports and takes no room; in a native build it is whatever implements
/// [`HostCalls`].
#[derive(Clone)]
pub struct Host {
    #[cfg(not(target_family = "wasm"))]
    calls: std::rc::Rc<dyn HostCalls>,
}

impl Host {
    /// A host for a native build.
    #[cfg(not(target_family = "wasm"))]
    pub fn new(calls: std::rc::Rc<dyn HostCalls>) -> Self {
        Self { calls }
    }

    /// The imports of the component.
    #[cfg(target_family = "wasm")]
    #[doc(hidden)]
    pub fn imports() -> Self {
        Self {}
    }

    /// The calls.
    #[doc(hidden)]
    pub fn calls(&self) -> &dyn HostCalls {
        #[cfg(not(target_family = "wasm"))]
        return &*self.calls;
        #[cfg(target_family = "wasm")]
        return &crate::wasm::Imports;
    }
}
