//! The native part of the Python package `querist`: arrays that are borrowed, strategies, sessions, reports, and the
//! command line. What Python programs see of it is in `querist/*.py`, with types and docstrings.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod arrays;
mod buffer;
mod calls;
mod copy;
mod dlpack;
mod errors;
mod generated;
mod hosted;
mod report;
mod select;
mod session;
mod view;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;
use querist::program;

/// Says how this command line is started again, where its packages lie, and where `querist-train` is.
#[pyfunction]
fn held_by(start: Vec<OsString>, plugins: PathBuf, train: Option<PathBuf>) {
    program::held_by(program::Host { start, plugins, train });
}

/// Runs the command line to its end; gives its exit code.
#[pyfunction]
fn command(py: Python<'_>, args: Vec<OsString>) -> u8 {
    program::called_with(args);
    py.detach(querist::front_code)
}

/// Every strategy, each as JSON.
#[pyfunction]
fn strategies(py: Python<'_>, plugin_dir: Vec<PathBuf>) -> PyResult<Vec<String>> {
    let all = py.detach(|| querist::api::strategies(&plugin_dir));
    let all = all.map_err(|error| errors::of(py, &error))?;
    Ok(all.iter().map(ToString::to_string).collect())
}

/// The name that the host has for the array of an argument; `None` where there is no such array.
#[pyfunction]
fn array_called(argument: &str) -> Option<String> {
    querist::api::given_under(argument)
}

/// Takes what was noted since the last call.
#[pyfunction]
fn take_notes() -> Vec<String> {
    work::take_notes()
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    querist::api::hear_notes(work::note);
    module.add("version", env!("CARGO_PKG_VERSION"))?;
    for function in [
        wrap_pyfunction!(held_by, module)?,
        wrap_pyfunction!(command, module)?,
        wrap_pyfunction!(strategies, module)?,
        wrap_pyfunction!(take_notes, module)?,
        wrap_pyfunction!(array_called, module)?,
        wrap_pyfunction!(select::select, module)?,
        wrap_pyfunction!(hosted::check, module)?,
    ] {
        module.add_function(function)?;
    }
    module.add_class::<report::Report>()?;
    module.add_class::<calls::Calls>()?;
    module.add_class::<hosted::Hosted>()?;
    module.add_class::<session::Session>()
}
