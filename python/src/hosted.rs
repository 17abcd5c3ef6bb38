//! A strategy that is a class in Python, as the host asks it.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use querist::api::hosted::{self, Code, Lent};
use querist_core::Failure;
use querist_protocol::{Handle, Selection};

use crate::calls::Calls;
use crate::select::limits;
use crate::{errors, work};

/// A strategy of this process; `querist._own` makes it.
#[pyclass(frozen, module = "querist._native")]
pub struct Hosted(pub Arc<hosted::Hosted>);

#[pymethods]
impl Hosted {
    #[new]
    fn new(py: Python<'_>, code: Py<PyAny>, source: PathBuf, digest: String) -> PyResult<Self> {
        let made = hosted::Hosted::new(Arc::new(Class(code)), source, digest);
        let made = made.map_err(|refused| errors::usage(py, refused.to_string()))?;
        Ok(Self(Arc::new(made)))
    }

    /// Its id.
    fn id(&self) -> String {
        self.0.resolved().strategy.id.clone()
    }

    /// Its package's name.
    fn package(&self) -> String {
        self.0.resolved().package.description.package.clone()
    }
}

/// The strategy among the options of a call, where it is one of this process.
pub fn among(options: &Bound<'_, PyDict>) -> PyResult<Option<Arc<hosted::Hosted>>> {
    match options.get_item("hosted")?.filter(|value| !value.is_none()) {
        Some(value) => Ok(Some(value.cast::<Hosted>()?.get().0.clone())),
        None => Ok(None),
    }
}

/// Checks the rules; each with its sentence, outcome and message.
#[pyfunction]
pub fn check(
    py: Python<'_>,
    hosted: &Hosted,
    params: Option<&str>,
    options: &Bound<'_, PyDict>,
    show: Option<Bound<'_, PyAny>>,
) -> PyResult<Vec<(&'static str, &'static str, &'static str, String)>> {
    let wrong = |error: serde_json::Error| errors::usage(py, format!("`params`: {error}"));
    let params = params.map(serde_json::from_str).transpose().map_err(wrong)?;
    let (hosted, limits) = (hosted.0.clone(), limits(py, options)?);
    let work = move |watch: &work::Watch| querist::api::check(&hosted, params, &limits, watch);
    let findings = work::supervised(py, show.as_ref(), work)?;
    Ok(findings.into_iter().map(|one| (one.rule, one.says, one.outcome, one.message)).collect())
}

/// The object with the methods `describe`, `needs`, `score` and `select` of `querist._own.Own`. Each gives a pair: what
/// went wrong, by kind and message, or the answer.
struct Class(Py<PyAny>);

impl Class {
    fn ask<T>(
        &self,
        method: &str,
        arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>>,
        answer: impl for<'py> FnOnce(Bound<'py, PyAny>) -> PyResult<T>,
    ) -> Result<T, Failure> {
        Python::attach(|py| {
            let asked = || -> PyResult<Result<T, (String, String)>> {
                let said = self.0.bind(py).call_method1(method, arguments(py)?)?;
                let (wrong, given): (Option<(String, String)>, Bound<'_, PyAny>) = said.extract()?;
                match wrong {
                    Some(wrong) => Ok(Err(wrong)),
                    None => answer(given).map(Ok),
                }
            };
            match asked() {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err((kind, message))) => Err(hosted::failure(&kind, &message)),
                Err(error) => Err(hosted::failure("contract", &format!("`{method}` answered something else: {error}"))),
            }
        })
    }
}

impl Code for Class {
    fn describe(&self) -> Result<String, Failure> {
        self.ask("describe", |py| Ok(PyTuple::empty(py)), |answer| answer.extract())
    }

    fn needs(&self, id: &str, params: &str) -> Result<Vec<String>, Failure> {
        self.ask("needs", |py| (id, params).into_pyobject(py), |answer| answer.extract())
    }

    fn score(&self, id: &str, params: &str, calls: &Arc<Lent>) -> Result<(Handle, Option<Handle>), Failure> {
        let calls = calls.clone();
        self.ask("score", |py| (Calls(calls), id, params).into_pyobject(py), |answer| answer.extract())
    }

    fn select(&self, id: &str, params: &str, state: Option<&[u8]>, calls: &Arc<Lent>) -> Result<Selection, Failure> {
        let calls = calls.clone();
        self.ask(
            "select",
            |py| (Calls(calls), id, params, state.map(|state| PyBytes::new(py, state))).into_pyobject(py),
            |answer| {
                let (rows, scores, diagnostics, state) = answer.extract()?;
                Ok(Selection { rows, scores, diagnostics, state })
            },
        )
    }
}
