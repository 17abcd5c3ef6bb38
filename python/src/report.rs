//! `querist.report`.

use std::path::PathBuf;

use pyo3::prelude::*;
use querist::api::{self, Reported};

use crate::errors;

/// What is reported of some runs; `querist.Report` is made of it.
#[pyclass(frozen, module = "querist._native")]
pub struct Report(Reported);

#[pymethods]
impl Report {
    #[new]
    fn new(py: Python<'_>, folders: Vec<PathBuf>, curves_by: Vec<String>) -> PyResult<Self> {
        let report = py.detach(|| api::report(&folders, &curves_by));
        report.map(Self).map_err(|error| errors::of(py, &error))
    }

    fn text(&self) -> String {
        self.0.text()
    }

    fn markdown(&self) -> String {
        self.0.markdown()
    }

    fn latex(&self) -> String {
        self.0.latex()
    }

    fn csv(&self, py: Python<'_>) -> PyResult<String> {
        self.0.csv().map_err(|error| errors::of(py, &error))
    }

    fn json(&self, py: Python<'_>) -> PyResult<String> {
        self.0.json().map_err(|error| errors::of(py, &error))
    }

    fn html(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.0.html()).map_err(|error| errors::of(py, &error))
    }
}
