//! `querist.Session`: the run of a loop in Python.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use querist::api::session::{Batch, Figures, Next, Session as Inner, Setup, Wanted};
use querist_core::{Array, Given, Label, SampleId};
use querist_protocol::names;

use crate::select::{limits, option, plugins};
use crate::{arrays, errors, hosted, work};

/// A run of the user's own loop; `querist.Session` is made of it.
#[pyclass(frozen, module = "querist._native")]
pub struct Session {
    inner: Arc<Mutex<Option<Inner>>>,
}

#[pymethods]
impl Session {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "the Python class beside it gives them in this order")]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        names: Vec<String>,
        named: bool,
        strategy: String,
        params: &str,
        budget: Vec<usize>,
        initial: Vec<(u64, u32)>,
        test_labels: Option<Bound<'_, PyAny>>,
        options: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let params = serde_json::from_str(params).map_err(|error| errors::usage(py, format!("`params`: {error}")))?;
        let tests = test_labels.map(|labels| arrays::labels_of("test_labels", &labels)).transpose()?;
        let setup = Setup {
            folder,
            names,
            named,
            class_names: option(options, "classes")?,
            initial: initial.into_iter().map(|(row, label)| (SampleId(row), Label(label))).collect(),
            test_labels: tests.unwrap_or_default(),
            strategy,
            params,
            budget,
            seed: option(options, "seed")?.unwrap_or(0),
            subset_size: option(options, "subset_size")?,
            threads: option(options, "threads")?,
            limits: limits(py, options)?,
            keep_features: option(options, "keep_features")?.unwrap_or(false),
            plugins: plugins(options)?,
            hosted: hosted::among(options)?,
        };
        let inner = work::supervised(py, None, move |_| Inner::open(setup))?;
        Ok(Self { inner: Arc::new(Mutex::new(Some(inner))) })
    }

    /// What comes next: `("tell", batch)`, `("ask", wanted)`, `("finish", None)` or `("nothing", None)`.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<(&'static str, Option<Bound<'py, PyAny>>)> {
        let inner = self.inner.clone();
        let next = work::supervised(py, None, move |_| with(&inner, |session| session.next()))?;
        Ok(match next {
            Next::Tell(batch) => ("tell", Some(batch_of(py, batch)?)),
            Next::Ask(wanted) => ("ask", Some(wanted_of(py, wanted)?)),
            Next::Finish => ("finish", None),
            Next::Nothing => ("nothing", None),
        })
    }

    /// Asks the strategy; `arrays` are by the names of the host, and of whole, unlabelled or chosen rows.
    fn ask<'py>(
        &self,
        py: Python<'py>,
        arrays: &Bound<'py, PyDict>,
        wanted: &Bound<'py, PyDict>,
        show: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let rows = Rows::of(wanted)?;
        let mut given = Given::default();
        for (name, object) in arrays {
            let name: String = name.extract()?;
            let array = rows.of_array(py, &name, arrays::array(&name, &object)?)?;
            given.add(&name, array).map_err(|error| errors::usage(py, error.to_string()))?;
        }
        let (inner, kept) = (self.inner.clone(), given.clone());
        let batch =
            work::supervised(py, show.as_ref(), move |watch| with(&inner, |session| session.ask(given, watch)))?;
        drop(kept);
        batch_of(py, batch)
    }

    /// Says what the model of this round came to.
    fn evaluate(
        &self,
        py: Python<'_>,
        accuracy: Option<f64>,
        test_logits: Option<Bound<'_, PyAny>>,
        fit_seconds: Option<f64>,
    ) -> PyResult<()> {
        let figures = figures(accuracy, test_logits, fit_seconds)?;
        let inner = self.inner.clone();
        work::supervised(py, None, move |_| with(&inner, |session| session.evaluate(&figures)))
    }

    /// Tells labels, by rows.
    fn tell(
        &self,
        py: Python<'_>,
        labels: Vec<(u64, u32)>,
        accuracy: Option<f64>,
        test_logits: Option<Bound<'_, PyAny>>,
        fit_seconds: Option<f64>,
    ) -> PyResult<()> {
        let figures = figures(accuracy, test_logits, fit_seconds)?;
        let inner = self.inner.clone();
        work::supervised(py, None, move |watch| with(&inner, |session| session.tell(&labels, &figures, watch)))
    }

    /// Commits the last round.
    fn finish(
        &self,
        py: Python<'_>,
        accuracy: Option<f64>,
        test_logits: Option<Bound<'_, PyAny>>,
        fit_seconds: Option<f64>,
    ) -> PyResult<()> {
        let figures = figures(accuracy, test_logits, fit_seconds)?;
        let inner = self.inner.clone();
        work::supervised(py, None, move |watch| with(&inner, |session| session.finish(&figures, watch)))
    }

    /// Lets go of the folder.
    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(lock(&self.inner).take()));
    }

    /// Round, rounds, whether it is finished, labelled rows with labels, and unlabelled rows.
    #[expect(clippy::type_complexity, reason = "Python takes it apart at once")]
    fn state(&self, py: Python<'_>) -> PyResult<(u32, usize, bool, Vec<(u64, u32)>, Vec<u64>)> {
        let state = |session: &mut Inner| {
            let (round, rounds) = (session.round(), session.rounds());
            Ok((round, rounds, session.is_finished(), session.labelled(), session.unlabelled()))
        };
        with(&self.inner, state).map_err(|error| errors::of(py, &error))
    }
}

/// What a model came to.
fn figures(
    accuracy: Option<f64>,
    test_logits: Option<Bound<'_, PyAny>>,
    fit_seconds: Option<f64>,
) -> PyResult<Figures> {
    let test_logits = test_logits.map(|logits| matrix("test_logits", &logits)).transpose()?;
    Ok(Figures { accuracy, test_logits, fit_seconds })
}

fn lock(inner: &Mutex<Option<Inner>>) -> MutexGuard<'_, Option<Inner>> {
    // What is on the disk counts, and a session that failed is opened again.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with<T>(inner: &Mutex<Option<Inner>>, work: impl FnOnce(&mut Inner) -> anyhow::Result<T>) -> anyhow::Result<T> {
    match lock(inner).as_mut() {
        Some(session) => work(session),
        None => anyhow::bail!("this session is closed: open another one with the same folder"),
    }
}

fn batch_of(py: Python<'_>, batch: Batch) -> PyResult<Bound<'_, PyAny>> {
    let dict = PyDict::new(py);
    dict.set_item("round", batch.round)?;
    dict.set_item("rows", batch.rows)?;
    dict.set_item("scores", batch.scores)?;
    dict.set_item("diagnostics", batch.diagnostics)?;
    Ok(dict.into_any())
}

fn wanted_of(py: Python<'_>, wanted: Wanted) -> PyResult<Bound<'_, PyAny>> {
    let dict = PyDict::new(py);
    dict.set_item("useful", PyList::new(py, wanted.useful)?)?;
    dict.set_item("candidates", wanted.candidates)?;
    dict.set_item("pool", wanted.pool)?;
    dict.set_item("labelled", wanted.labelled)?;
    dict.set_item("samples", wanted.samples)?;
    Ok(dict.into_any())
}

/// Floats `[rows, columns]`, copied.
fn matrix(name: &str, object: &Bound<'_, PyAny>) -> PyResult<(Vec<f32>, usize)> {
    let array = arrays::array(name, object)?;
    let wrong = |message: String| errors::usage(object.py(), format!("`{name}` {message}"));
    let &[_, columns] = array.shape() else {
        return Err(wrong(format!("has the shape {:?}; expected [test, classes]", array.shape())));
    };
    let values = array.as_f32().map(|values| values.to_vec()).unwrap_or_default();
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok((values, columns)),
        Some(at) => {
            let (row, value) = (at / columns.max(1), values[at]);
            Err(wrong(format!("holds {value} in row {row}; every value must be finite")))
        }
    }
}

/// The rows that arrays of a session may have.
struct Rows {
    candidates: Vec<u64>,
    pool: Vec<u64>,
    labelled: Vec<u64>,
    samples: usize,
}

impl Rows {
    fn of(wanted: &Bound<'_, PyDict>) -> PyResult<Self> {
        let rows = |name: &str| option(wanted, name).map(Option::unwrap_or_default);
        let samples = option(wanted, "samples")?.unwrap_or(0);
        Ok(Self { candidates: rows("candidates")?, pool: rows("pool")?, labelled: rows("labelled")?, samples })
    }

    /// Of an array the rows that are asked about; arrays that are over no samples stay as they are.
    fn of_array(&self, py: Python<'_>, name: &str, array: Array) -> PyResult<Array> {
        let found = array.rows();
        let gather = |rows: &[u64]| array.gather(&rows.iter().map(|&row| row as u32).collect::<Vec<_>>());
        let called = Given::array_called(name).unwrap_or_else(|| name.to_owned());
        if names::is_over_labelled(&called) {
            return match found {
                _ if found == self.labelled.len() => Ok(array),
                _ if found == self.samples => Ok(gather(&self.labelled)),
                _ => Err(self.wrong(py, name, found, &[self.labelled.len(), self.samples])),
            };
        }
        if !names::is_over_pool(&called) {
            return Ok(array);
        }
        match found {
            _ if found == self.candidates.len() => Ok(array),
            _ if found == self.samples => Ok(gather(&self.candidates)),
            _ if found == self.pool.len() => {
                let place = |row: &u64| self.pool.binary_search(row).unwrap_or(0) as u64;
                Ok(gather(&self.candidates.iter().map(place).collect::<Vec<_>>()))
            }
            _ => Err(self.wrong(py, name, found, &[self.candidates.len(), self.pool.len(), self.samples])),
        }
    }

    fn wrong(&self, py: Python<'_>, name: &str, found: usize, expected: &[usize]) -> PyErr {
        let mut expected = expected.to_vec();
        expected.dedup();
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        let name = name.replace('.', "_");
        errors::usage(
            py,
            format!(
                "`{name}` has {found} rows; expected {} (the rows that are asked about, or all)",
                expected.join(" or ")
            ),
        )
    }
}
