//! Pickles of arrays and plain containers.
//!
//! A pickle is a program for a small machine with a stack, and Python's own reader runs whatever function it names.
//! This one knows numbers, texts, bytes, lists, tuples, dicts and the few names with which numpy writes its arrays.
//! Anything else is refused by its name; nothing in a file is ever run.

mod arrays;
mod machine;

use std::borrow::Cow;

use crate::error::DataError;

pub(crate) use arrays::{Array, ElementType};

/// Number of a value.
pub(crate) type Id = usize;

/// A value; containers hold numbers of others.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name of numpy's or Python's own that is known.
    Name(Known),
    ElementType(ElementType),
    /// An array; nothing until its state is read.
    Array(Option<Array>),
}

/// Names with a meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Reconstruct,
    FromBuffer,
    Scalar,
    NdArray,
    DType,
    Encode,
    OrderedDict,
    Bytes,
    ByteArray,
}

impl Known {
    /// What a name of a module means.
    fn of(module: &str, name: &str) -> Option<Self> {
        let module = module.replace("numpy._core", "numpy.core");
        Some(match (module.as_str(), name) {
            ("numpy.core.multiarray", "_reconstruct") => Self::Reconstruct,
            ("numpy.core.multiarray", "scalar") => Self::Scalar,
            ("numpy.core.numeric", "_frombuffer") => Self::FromBuffer,
            ("numpy", "ndarray") => Self::NdArray,
            ("numpy", "dtype") => Self::DType,
            ("_codecs", "encode") => Self::Encode,
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("__builtin__" | "builtins", "bytes") => Self::Bytes,
            ("__builtin__" | "builtins", "bytearray") => Self::ByteArray,
            _ => return None,
        })
    }
}

/// What a pickle holds.
pub(crate) struct Pickle<'a> {
    /// Its file, for messages.
    name: &'a str,
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle of any protocol.
    pub fn read(name: &'a str, bytes: &'a [u8]) -> Result<Self, DataError> {
        let (values, root) = machine::Machine::new(name, bytes).run()?;
        Ok(Self { name, values, root })
    }

    /// The value under `key` of the dict that is the whole pickle, or under the first of several keys.
    pub fn entry(&self, keys: &[&str]) -> Result<Id, DataError> {
        let Value::Dict(entries) = &self.values[self.root] else {
            return Err(self.error(format!("{}, not a dict", self.kind(self.root)), "a dict"));
        };
        let under = |key: &str| entries.iter().rev().find(|(at, _)| self.text(*at).is_some_and(|text| text == key));
        keys.iter().find_map(|key| under(key)).map(|&(_, value)| value).ok_or_else(|| {
            let has: Vec<Cow<'_, str>> = entries.iter().take(8).filter_map(|(key, _)| self.text(*key)).collect();
            self.error(format!("no entry `{}`, only `{}`", keys.join("` or `"), has.join("`, `")), "it")
        })
    }

    /// The numbers of a list, a tuple or an array.
    pub fn integers(&self, id: Id, what: &str) -> Result<Vec<i64>, DataError> {
        let number = |(at, id): (usize, &Id)| match self.values[*id] {
            Value::Int(number) => Ok(number),
            _ => Err(self.error(format!("{} at {at} of `{what}`", self.kind(*id)), "numbers")),
        };
        match &self.values[id] {
            Value::List(items) | Value::Tuple(items) => items.iter().enumerate().map(number).collect(),
            Value::Array(Some(array)) => array
                .integers(self.data(array, what)?)
                .ok_or_else(|| self.error(format!("`{what}` of {array}"), "integers")),
            _ => Err(self.error(format!("`{what}` is {}", self.kind(id)), "a list or an array of numbers")),
        }
    }

    /// The entries of a dict with texts for keys.
    pub fn dict(&self, id: Id, what: &str) -> Result<Vec<(String, Id)>, DataError> {
        let Value::Dict(entries) = &self.values[id] else {
            return Err(self.error(format!("`{what}` is {}", self.kind(id)), "a dict"));
        };
        let entry = |&(key, value): &(Id, Id)| match self.text(key) {
            Some(text) => Ok((text.into_owned(), value)),
            None => Err(self.error(format!("{} as a key of `{what}`", self.kind(key)), "texts")),
        };
        entries.iter().map(entry).collect()
    }

    /// The shape and the bytes of an array of bytes, rows first.
    pub fn bytes(&self, id: Id, what: &str) -> Result<(Vec<u64>, &[u8]), DataError> {
        let Value::Array(Some(array)) = &self.values[id] else {
            return Err(self.error(format!("`{what}` is {}", self.kind(id)), "an array of bytes (uint8)"));
        };
        if !array.is_bytes_by_row() {
            return Err(self.error(format!("`{what}` is {array}"), "an array of bytes (uint8), rows first"));
        }
        Ok((array.shape.clone(), self.data(array, what)?))
    }

    fn data(&self, array: &Array, what: &str) -> Result<&[u8], DataError> {
        let Value::Bytes(bytes) = &self.values[array.data] else {
            return Err(self.error(format!("`{what}` without data"), "a whole array"));
        };
        match array.len_bytes() {
            Some(expected) if expected == bytes.len() as u64 => Ok(bytes),
            _ => {
                Err(self.error(format!("`{what}` is {array} with {} bytes", bytes.len()), "as many as its shape says"))
            }
        }
    }

    /// A text, which Python 2 wrote as bytes.
    fn text(&self, id: Id) -> Option<Cow<'_, str>> {
        match &self.values[id] {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            _ => None,
        }
    }

    fn kind(&self, id: Id) -> &'static str {
        kind(&self.values[id])
    }

    /// An error about what it holds.
    pub fn error(&self, found: impl Into<String>, expected: impl Into<String>) -> DataError {
        DataError::malformed(self.name, "", found, expected)
    }
}

/// What a value is, in words.
fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "a truth value",
        Value::Int(_) => "a number",
        Value::Float => "a fraction",
        Value::Bytes(_) => "bytes",
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        Value::Tuple(_) => "a tuple",
        Value::Dict(_) => "a dict",
        Value::Name(_) => "a name",
        Value::ElementType(_) => "a type of numbers",
        Value::Array(_) => "an array",
    }
}
