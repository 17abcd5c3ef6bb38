//! The calls of the host, lent to a class in Python for the time of one question.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use querist::api::hosted::Lent;
use querist_kernels::Session;
use querist_protocol::{Fault, FaultCode, Numbered};

/// The calls that `querist.wit_world` makes; see `generated`.
#[pyclass(frozen, module = "querist._native")]
pub struct Calls(pub Arc<Lent>);

impl Calls {
    /// Makes a call without Python's lock.
    pub fn serve<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Session) -> Result<T, Fault> + Send,
    ) -> PyResult<T> {
        py.detach(|| self.0.serve(call)).map_err(|fault| refused(py, &fault))
    }
}

/// What a refused call raises.
fn refused(py: Python<'_>, fault: &Fault) -> PyErr {
    let made = py
        .import("querist.wit_world._handles")
        .and_then(|module| module.getattr("refusal")?.call1((fault.code.number(), &fault.message)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(_) => PyRuntimeError::new_err(fault.message.clone()),
    }
}

/// An argument without a meaning.
pub fn bad(what: &str) -> Fault {
    Fault::new(FaultCode::BadArgument, format!("`{what}` is none of its cases"))
}

/// The case of this number.
pub fn numbered<T: Numbered>(number: u32) -> Result<T, Fault> {
    T::ALL.get(number as usize).copied().ok_or_else(|| bad(T::NAME))
}
