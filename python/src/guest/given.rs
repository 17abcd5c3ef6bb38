//! Arguments of calls as Python gives them, and answers as Python takes them.

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use querist_protocol::Fault;

/// The arguments of a call.
pub struct Given<'a, 'py>(pub &'a Bound<'py, PyTuple>);

impl<'py> Given<'_, 'py> {
    /// Whether there are so many.
    pub fn count(&self, expected: usize) -> PyResult<()> {
        let found = self.0.len();
        if found == expected {
            return Ok(());
        }
        Err(PyTypeError::new_err(format!("{found} arguments, expected {expected}")))
    }

    /// One of them.
    pub fn at<T: for<'a> FromPyObject<'a, 'py, Error = PyErr>>(&self, place: usize) -> PyResult<T> {
        self.0.get_item(place)?.extract()
    }
}

/// What the host refuses, as an exception.
pub fn refused(py: Python<'_>, fault: &Fault) -> PyErr {
    let made = py.import("querist._errors").and_then(|module| {
        let code = serde_json::to_string(&fault.code).unwrap_or_default();
        module.getattr("Fault")?.call1((code.trim_matches('"'), fault.message.clone()))
    });
    made.map_or_else(|error| error, PyErr::from_value)
}

/// There is no such call.
pub fn unknown(_: Python<'_>, name: &str) -> PyErr {
    PyAttributeError::new_err(format!("the host has no call `{name}`"))
}

/// An answer of plain values.
pub fn answered<'py, T: IntoPyObject<'py>>(py: Python<'py>, value: T) -> PyResult<Bound<'py, PyAny>>
where
    T::Error: Into<PyErr>,
{
    value.into_pyobject(py).map(|value| value.into_any().into_bound()).map_err(Into::into)
}

/// Choices and records, which cross as JSON.
pub mod chosen {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;

    /// An argument.
    pub fn taken<T: DeserializeOwned>(given: &Given<'_, '_>, place: usize) -> PyResult<T> {
        let text: String = given.at(place)?;
        serde_json::from_str(&text).map_err(|error| PyTypeError::new_err(format!("argument {place}: {error}")))
    }

    /// An answer.
    pub fn answered<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
        let text = serde_json::to_string(value).unwrap_or_default();
        py.import("json")?.getattr("loads")?.call1((text,))
    }
}
