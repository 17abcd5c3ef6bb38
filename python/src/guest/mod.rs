//! Strategies that are classes of Python, in the user's own process: the rules and the kernels of packages, for
//! development.

mod generated;
mod given;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use querist::api::{self, Guest, GuestMaker};
use querist_kernels::Session;
use querist_protocol::{Selection, StrategyDescription};

use crate::{errors, work};

/// The calls of one query, for as long as it lasts.
#[pyclass(unsendable, module = "querist._native")]
pub struct Host {
    session: Option<Session>,
}

#[pymethods]
impl Host {
    /// Does the call of this name.
    #[pyo3(signature = (name, *given))]
    fn call<'py>(&self, py: Python<'py>, name: &str, given: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        match &self.session {
            Some(session) => generated::call(session, name, given),
            None => Err(errors::usage(py, format!("`{name}`: the query is over, and so are its objects"))),
        }
    }
}

/// A strategy of Python's.
pub struct Python_ {
    object: Py<PyAny>,
}

impl Python_ {
    /// Calls a method with the host of a query, which ends with the call.
    fn with_host<T>(
        &self,
        session: Session,
        work: impl FnOnce(Python<'_>, &Bound<'_, PyAny>, &Bound<'_, Host>) -> PyResult<T>,
    ) -> Result<T, String> {
        Python::attach(|py| {
            let host = Bound::new(py, Host { session: Some(session) }).map_err(|error| error.to_string())?;
            let answer = work(py, self.object.bind(py), &host);
            host.borrow_mut().session = None;
            answer.map_err(|error| in_words(py, &error))
        })
    }
}

/// What a strategy raised, with where it did.
fn in_words(py: Python<'_>, error: &PyErr) -> String {
    let place = error.traceback(py).and_then(|trace| trace.format().ok()).unwrap_or_default();
    let last = place.lines().rev().find(|line| line.trim_start().starts_with("File ")).unwrap_or_default();
    format!("{error} ({})", last.trim())
}

/// Scores of a tile, and tie-breakers.
type Scores = (Vec<f64>, Option<Vec<f64>>);

impl Guest for Python_ {
    fn needs(&self, params: &str) -> Result<Vec<String>, String> {
        Python::attach(|py| {
            let needs = self.object.bind(py).call_method1("_needs", (params,));
            needs.and_then(|needs| needs.extract()).map_err(|error| in_words(py, &error))
        })
    }

    fn score(&self, params: &str, session: Session) -> Result<Scores, String> {
        self.with_host(session, |_, object, host| object.call_method1("_score", (params, host))?.extract())
    }

    fn select(&self, params: &str, session: Session, state: Option<&[u8]>) -> Result<Selection, String> {
        self.with_host(session, |py, object, host| {
            let state = state.map(|state| PyBytes::new(py, state));
            let answer = object.call_method1("_select", (params, host, state))?;
            let (rows, scores, diagnostics, state): (Vec<u32>, Vec<f64>, Vec<(String, f64)>, Option<Vec<u8>>) =
                answer.extract()?;
            Ok(Selection { rows, scores, diagnostics, state })
        })
    }
}

/// The strategy of an object of `querist.Strategy`, with what it says of itself.
pub fn maker(py: Python<'_>, object: &Bound<'_, PyAny>) -> PyResult<GuestMaker> {
    let (description, digest): (String, String) = object.call_method0("_described")?.extract()?;
    let wrong = |error: serde_json::Error| errors::usage(py, format!("the strategy: {error}"));
    let description: StrategyDescription = serde_json::from_str(&description).map_err(wrong)?;
    let guest = std::sync::Arc::new(Python_ { object: object.clone().unbind() });
    api::GuestMaker::new(guest, description, digest).map_err(|error| errors::of(py, &error))
}

/// Checks the rules of strategies; a rule, what it says, how it came out, and what was found, each.
#[pyfunction]
pub fn check<'py>(
    py: Python<'py>,
    strategy: &Bound<'py, PyAny>,
    params: Option<&str>,
) -> PyResult<Vec<(String, String, String, String)>> {
    let maker = maker(py, strategy)?;
    let params = params.map(serde_json::from_str).transpose();
    let params = params.map_err(|error| errors::usage(py, format!("`params`: {error}")))?;
    work::supervised(py, None, move |watch| api::check(&maker, params, watch))
}
