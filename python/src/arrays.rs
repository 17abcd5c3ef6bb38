//! Arrays of the user's, whatever library they are of: borrowed where they are what the host reads, copied where not.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use querist_core::{Array, Buffer, Values};
use querist_protocol::names;

use crate::view::{Element, View};
use crate::{buffer, copy, dlpack, errors, work};

/// Dimensions of an array that strategies have, at most.
const MOST_DIMENSIONS: usize = 4;

/// The values of a view, as long as somebody reads them.
struct Borrowed(View);

impl AsRef<[f32]> for Borrowed {
    fn as_ref(&self) -> &[f32] {
        // SAFETY: nothing else becomes one of these, see `floats`.
        unsafe { self.0.as_slice() }.unwrap_or_default()
    }
}

/// Where an array is wrong, as an exception in its name.
struct Named<'a, 'py> {
    py: Python<'py>,
    name: &'a str,
}

impl Named<'_, '_> {
    fn wrong(&self, message: impl std::fmt::Display) -> PyErr {
        errors::usage(self.py, format!("`{}` {message}", self.name))
    }

    /// Says once a call that an array is copied, and why.
    fn copied(&self, why: impl std::fmt::Display) {
        work::note(&format!("copy: `{}` is copied: {why}", self.name));
    }
}

/// The array of this name: labels where it is one of those, floats otherwise.
pub fn array(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Array> {
    let named = Named { py: object.py(), name };
    if names::is_labels(name) {
        return Ok(Array::labels(labels(&named, object)?));
    }
    if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        return Err(named.wrong("is a list; expected an array: `numpy.asarray(..., dtype=\"float32\")` makes one"));
    }
    let view = view(&named, object)?;
    let element = view.element();
    if !element.is_float() {
        let found = element.name();
        return Err(named.wrong(format!("holds {found}; expected floats: float32, float16, bfloat16 or float64")));
    }
    let shape = checked_shape(&named, &view)?;
    let is_ready = element == Element::F32;
    // SAFETY: the values are 32-bit floats where they are looked at.
    if is_ready && unsafe { view.as_slice::<f32>() }.is_some() {
        let values = Values::F32(Buffer::new(Borrowed(view)));
        return Array::new(shape, values).map_err(|error| named.wrong(error));
    }
    match is_ready {
        true => named.copied("its rows do not stand one behind the other"),
        false => named.copied(format!("it holds {}, and float32 is read", element.name())),
    }
    let values = named.py.detach(|| copy::floats(&view));
    let values = values.map_err(|value| named.wrong(format!("holds {value:e}, which is beyond float32")))?;
    Array::f32(shape, values).map_err(|error| named.wrong(error))
}

/// Whole numbers from 0 on, such as ids.
pub fn numbers(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
    let named = Named { py: object.py(), name };
    let all = integers(&named, object)?;
    let number = |(row, value): (usize, i128)| {
        u64::try_from(value).map_err(|_| named.wrong(format!("holds {value} in row {row}; expected 0 or more")))
    };
    all.into_iter().enumerate().map(number).collect()
}

/// Labels of this name, from 0 on.
pub fn labels_of(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    labels(&Named { py: object.py(), name }, object)
}

/// Labels from 0 on.
fn labels(named: &Named<'_, '_>, object: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    let label = |(row, value): (usize, i128)| {
        let wrong = || format!("holds {value} in row {row}; expected labels from 0 to {}", u32::MAX);
        u32::try_from(value).map_err(|_| named.wrong(wrong()))
    };
    integers(named, object)?.into_iter().enumerate().map(label).collect()
}

/// A list of whole numbers: an array of one dimension, or a list of Python's.
fn integers(named: &Named<'_, '_>, object: &Bound<'_, PyAny>) -> PyResult<Vec<i128>> {
    if object.is_instance_of::<PyString>() {
        return Err(named.wrong("is a text; expected whole numbers"));
    }
    if !buffer::has_one(object) && dlpack::is_on_cpu(object).is_none() {
        let list: PyResult<Vec<i128>> = object.try_iter()?.map(|item| item?.extract::<i128>()).collect();
        return list.map_err(|error| named.wrong(format!("holds something that is no whole number: {error}")));
    }
    let view = view(named, object)?;
    let &[_] = view.shape() else {
        return Err(named.wrong(format!("has the shape {:?}; expected one dimension", view.shape())));
    };
    let found = view.element().name();
    named
        .py
        .detach(|| copy::integers(&view))
        .ok_or_else(|| named.wrong(format!("holds {found}; expected whole numbers, such as int64")))
}

/// The shape of an array of floats that can be one of a pool or a labelled set.
fn checked_shape(named: &Named<'_, '_>, view: &View) -> PyResult<Vec<usize>> {
    let shape = view.shape();
    if shape.is_empty() || shape.len() > MOST_DIMENSIONS {
        let found = shape.len();
        return Err(named.wrong(format!("has {found} dimensions; expected rows, and at most {MOST_DIMENSIONS}")));
    }
    // Nothing may be labelled yet.
    if shape[0] == 0 && !names::is_over_labelled(named.name) {
        return Err(named.wrong(format!("has no rows: its shape is {shape:?}")));
    }
    Ok(shape.to_vec())
}

/// The values of an object, on the CPU.
fn view(named: &Named<'_, '_>, object: &Bound<'_, PyAny>) -> PyResult<View> {
    if object.getattr("requires_grad").and_then(|grad| grad.is_truthy()).unwrap_or(false) {
        return Err(named.wrong("requires grad: pass it as `.detach()`"));
    }
    let by_buffer = buffer::has_one(object).then(|| buffer::view(object));
    if let Some(Ok(view)) = by_buffer {
        return Ok(view);
    }
    match dlpack::is_on_cpu(object) {
        Some(Ok(true)) => {}
        Some(Ok(false)) => {
            let copy = to_host(named, object)?;
            return view(named, &copy);
        }
        Some(Err(error)) => {
            let device = object.getattr("device").map(|device| device.to_string()).unwrap_or_default();
            return Err(named.wrong(format!("is on the device `{device}`, from which nothing is read: {error}")));
        }
        None => {
            let kind = object.get_type().name()?;
            let why = by_buffer.and_then(Result::err).map(|why| format!(": {why}")).unwrap_or_default();
            let expected = "an array with DLPack or the buffer protocol, such as one of numpy, torch, jax or cupy";
            return Err(named.wrong(format!("is a `{kind}`; expected {expected}{why}")));
        }
    }
    match dlpack::view(object) {
        Ok(view) => Ok(view),
        // NumPy hands out neither by which it holds 16-bit floats of other packages.
        Err(_) if is_numpy_bf16(object) => {
            named.copied("it holds bfloat16, and float32 is read");
            view(named, &object.call_method1("astype", ("float32",))?)
        }
        Err(why) => Err(named.wrong(format!("cannot be read: {why}"))),
    }
}

fn is_numpy_bf16(object: &Bound<'_, PyAny>) -> bool {
    let name = object.getattr("dtype").and_then(|dtype| dtype.getattr("name"));
    name.and_then(|name| name.extract::<String>()).is_ok_and(|name| name == "bfloat16")
}

/// A copy of an array on a device, in the memory of the CPU, made by its own library.
fn to_host<'py>(named: &Named<'_, 'py>, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let device = object.getattr("device").map(|device| device.to_string()).unwrap_or_else(|_| "a device".to_owned());
    named.copied(format!("it is on {device}"));
    // `cpu` is PyTorch's word, `get` CuPy's; of JAX NumPy makes a copy.
    for method in ["cpu", "get"] {
        if object.hasattr(method)? {
            return object.call_method0(method);
        }
    }
    match object.py().import("numpy").and_then(|numpy| numpy.getattr("asarray")?.call1((object,))) {
        Ok(copy) => Ok(copy),
        Err(error) => Err(named.wrong(format!("is on {device}, and cannot be copied from there: {error}"))),
    }
}
