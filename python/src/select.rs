//! `querist.select`.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use querist::api::{self, Ask, PluginArgs};
use querist_core::Given;
use querist_core::config::LimitsConfig;

use crate::{arrays, errors, hosted, work};

/// Asks a strategy for rows of arrays; `options` are those that `querist.select` has.
#[pyfunction]
#[pyo3(signature = (strategy, budget, arrays, ids, labelled_ids, params, options, show))]
#[expect(clippy::too_many_arguments, reason = "the Python function beside it gives them in this order")]
pub fn select<'py>(
    py: Python<'py>,
    strategy: String,
    budget: usize,
    arrays: &Bound<'py, PyDict>,
    ids: Option<Bound<'py, PyAny>>,
    labelled_ids: Option<Bound<'py, PyAny>>,
    params: &str,
    options: &Bound<'py, PyDict>,
    show: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut given = given(py, arrays)?;
    given.ids = ids.map(|ids| arrays::numbers("ids", &ids)).transpose()?;
    given.labelled_ids = labelled_ids.map(|ids| arrays::numbers("labelled_ids", &ids)).transpose()?;
    let params = serde_json::from_str(params).map_err(|error| errors::usage(py, format!("`params`: {error}")))?;
    let ask = Ask { strategy, params, budget, ..asked(py, options)? };
    // Arrays are given back here, by whom they were taken.
    let kept = given.clone();
    let selected = work::supervised(py, show.as_ref(), move |watch| api::select(&ask, given, watch))?;
    drop(kept);
    let answer = PyDict::new(py);
    answer.set_item("rows", selected.rows)?;
    answer.set_item("ids", selected.ids)?;
    answer.set_item("scores", selected.scores)?;
    answer.set_item("diagnostics", selected.diagnostics)?;
    answer.set_item("seconds", selected.seconds)?;
    answer.set_item("fuel", selected.fuel)?;
    answer.set_item("peak_memory", selected.peak_memory)?;
    answer.set_item("params", selected.params.to_string())?;
    let identity = serde_json::to_string(&selected.identity).unwrap_or_default();
    answer.set_item("identity", identity)?;
    Ok(answer)
}

/// Arrays by the names of their arguments.
pub fn given(py: Python<'_>, arrays: &Bound<'_, PyDict>) -> PyResult<Given> {
    let mut given = Given::default();
    for (argument, object) in arrays {
        let argument: String = argument.extract()?;
        let Some(name) = api::given_under(&argument) else {
            let known: Vec<String> = Given::names().map(|name| name.replace('.', "_")).collect();
            let known = known.join(", ");
            let message = format!(
                "no array is called `{argument}`; the names are {known}, and `labelled_` before those \
                                   with one row a sample"
            );
            return Err(errors::usage(py, message));
        };
        let array = arrays::array(&name, &object)?;
        let again = given.add(&name, array).map_err(|error| errors::usage(py, error.to_string()))?;
        if again {
            return Err(errors::usage(py, format!("`{argument}` is given twice, in two forms")));
        }
    }
    Ok(given)
}

/// What an option holds; `None` where it is left out or `None`.
pub fn option<'py, T: for<'a> FromPyObject<'a, 'py, Error = PyErr>>(
    options: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<Option<T>> {
    match options.get_item(name)? {
        Some(value) if !value.is_none() => {
            let wrong = |error: PyErr| errors::usage(options.py(), format!("`{name}`: {error}"));
            value.extract().map(Some).map_err(wrong)
        }
        _ => Ok(None),
    }
}

fn asked(py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<Ask> {
    Ok(Ask {
        seed: option(options, "seed")?.unwrap_or(0),
        round: option(options, "round")?.unwrap_or(0),
        classes: option(options, "classes")?,
        subset_size: option(options, "subset_size")?,
        threads: option(options, "threads")?,
        limits: limits(py, options)?,
        plugins: plugins(options)?,
        hosted: hosted::among(options)?,
        ..Ask::default()
    })
}

/// What a query may use.
pub fn limits(py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<LimitsConfig> {
    let defaults = LimitsConfig::default();
    let memory = match options.get_item("memory")?.filter(|size| !size.is_none()) {
        None => defaults.memory,
        Some(size) => {
            let text = size.str()?.to_string();
            text.parse().map_err(|error| errors::usage(py, format!("`memory`: {error}")))?
        }
    };
    let seconds: f64 = option(options, "seconds")?.unwrap_or(defaults.seconds);
    if !(seconds > 0.0 && seconds <= 1e7) {
        return Err(errors::usage(py, format!("`seconds` is {seconds}; expected a number above 0, at most 10000000")));
    }
    Ok(LimitsConfig { memory, seconds, fuel: defaults.fuel })
}

/// Which packages may answer.
pub fn plugins(options: &Bound<'_, PyDict>) -> PyResult<PluginArgs> {
    Ok(PluginArgs {
        plugin_dir: option::<Vec<PathBuf>>(options, "plugin_dir")?.unwrap_or_default(),
        allow_native: option(options, "allow_native")?.unwrap_or(false),
        isolate: option(options, "isolate")?.unwrap_or(false),
        locked: option(options, "locked")?.unwrap_or(false),
    })
}
