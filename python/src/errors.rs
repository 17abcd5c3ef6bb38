//! Errors as Python raises them.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use querist::api::said;

/// The exception for an error: its class says whose fault it is, its attributes what to do.
pub fn of(py: Python<'_>, error: &anyhow::Error) -> PyErr {
    let said = said(error);
    let made = py.import("querist._errors").and_then(|module| {
        let arguments = (said.message, said.causes, said.hints, said.kind, said.usage);
        module.getattr("made")?.call1(arguments)
    });
    match made {
        Ok(exception) => PyErr::from_value(exception),
        // Without the package around it there is no class of its own.
        Err(_) => PyRuntimeError::new_err(format!("{error:#}")),
    }
}

/// An argument that is not what it should be.
pub fn usage(py: Python<'_>, message: String) -> PyErr {
    let made = py.import("querist._errors").and_then(|module| {
        let nothing: Vec<String> = Vec::new();
        module.getattr("made")?.call1((message.clone(), nothing.clone(), nothing, None::<String>, true))
    });
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(_) => PyRuntimeError::new_err(message),
    }
}
