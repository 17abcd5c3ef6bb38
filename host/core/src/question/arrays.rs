//! The arrays of one question, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use querist_protocol::names;

use crate::array::{Array, ArrayError, Buffer, Values, first_non_finite, gather};
use crate::head::Head;

/// Told of each hidden label that a strategy asks for inside its batch, before the strategy learns it.
pub trait Reveals: fmt::Debug + Send + Sync {
    /// Makes durable that these samples' labels are known from here on: ids and labels.
    ///
    /// # Errors
    /// A sentence, if that cannot be done; the strategy then does not get the labels.
    fn revealed(&self, ids: &[u64], labels: &[u32]) -> Result<(), String>;
}

/// The arrays of one query, checked to fit each other and to be finite.
#[derive(Debug, Clone)]
pub struct Arrays {
    ids: Buffer<u64>,
    labelled_ids: Buffer<u64>,
    classes: usize,
    named: BTreeMap<String, Array>,
    reveals: Option<Arc<dyn Reveals>>,
    head: Option<Arc<dyn Head>>,
}

impl Arrays {
    /// Checks and joins the arrays of a query.
    ///
    /// `ids` and `labelled_ids` are ascending. Arrays over samples have one row an id; arrays that share a dimension
    /// (classes, embedding width) agree on it; floats are finite; labels are below `classes`.
    ///
    /// # Errors
    /// The first disagreement, named by array, row and value.
    pub fn new(
        ids: impl Into<Buffer<u64>>,
        labelled_ids: impl Into<Buffer<u64>>,
        classes: usize,
        named: BTreeMap<String, Array>,
    ) -> Result<Self, ArrayError> {
        let arrays =
            Self { ids: ids.into(), labelled_ids: labelled_ids.into(), classes, named, reveals: None, head: None };
        arrays.check_ids()?;
        for (name, array) in &arrays.named {
            arrays.check_shape(name, array)?;
            arrays.check_values(name, array)?;
        }
        arrays.check_widths()?;
        Ok(arrays)
    }

    /// The same arrays, of which hidden labels are handed out only after `reveals` was told.
    #[must_use]
    pub fn with_reveals(mut self, reveals: Arc<dyn Reveals>) -> Self {
        self.reveals = Some(reveals);
        self
    }

    /// Who is told before hidden labels are handed out.
    pub fn reveals(&self) -> Option<&dyn Reveals> {
        self.reveals.as_deref()
    }

    /// The same arrays, and a head that may be asked.
    #[must_use]
    pub fn with_head(mut self, head: Arc<dyn Head>) -> Self {
        self.head = Some(head);
        self
    }

    /// The model's head, where the strategy asked for it.
    pub fn head(&self) -> Option<&dyn Head> {
        self.head.as_deref()
    }

    /// Whether there is something of this name: an array, or the head.
    pub fn has(&self, name: &str) -> bool {
        if name == names::HEAD { self.head.is_some() } else { self.named.contains_key(name) }
    }

    /// What is called `names`, for some rows of the pool, which are ascending, or for all; nothing else stays. Whoever is
    /// told of revealed labels stays told.
    #[must_use]
    pub fn part<'a>(&self, names: impl IntoIterator<Item = &'a str>, rows: Option<&[u32]>) -> Self {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let some = |name: &str, array: &Array| match rows {
            Some(rows) if names::is_over_pool(name) => array.gather(rows),
            _ => array.clone(),
        };
        let head = self.head.clone().filter(|_| names.contains(names::HEAD));
        let reveals = self.reveals.clone().filter(|_| names.contains(names::ORACLE_LABELS));
        let named = names.into_iter().filter_map(|name| Some((name.to_owned(), some(name, self.named.get(name)?))));
        let ids = match rows {
            Some(rows) => gather(&self.ids, 1, rows).into(),
            None => self.ids.clone(),
        };
        let (labelled_ids, named) = (self.labelled_ids.clone(), named.collect());
        Self { ids, labelled_ids, classes: self.classes, named, reveals, head }
    }

    /// Global ids of the pool rows, ascending, `[N]`.
    pub fn ids(&self) -> &Buffer<u64> {
        &self.ids
    }

    /// Global ids of the labelled rows, ascending, `[L]`.
    pub fn labelled_ids(&self) -> &Buffer<u64> {
        &self.labelled_ids
    }

    /// Classes of the task.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// An array by name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.named.get(name)
    }

    /// All arrays by name.
    pub fn named(&self) -> &BTreeMap<String, Array> {
        &self.named
    }

    /// Names of the arrays that are there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    fn check_ids(&self) -> Result<(), ArrayError> {
        for (name, ids) in [("ids", &self.ids), ("labelled.ids", &self.labelled_ids)] {
            if let Some(row) = ids.windows(2).position(|pair| pair[0] >= pair[1]) {
                return Err(ArrayError::IdOrder { name, row: row + 1, id: ids[row + 1], before: ids[row] });
            }
        }
        let mut labelled = self.labelled_ids.iter().peekable();
        for &id in self.ids.iter() {
            while labelled.next_if(|&&l| l < id).is_some() {}
            if labelled.peek() == Some(&&id) {
                return Err(ArrayError::Overlap { id });
            }
        }
        Ok(())
    }

    fn check_shape(&self, name: &str, array: &Array) -> Result<(), ArrayError> {
        let shape_error = |expected: String| ArrayError::Shape {
            name: name.to_owned(),
            found: format!("{} {:?}", array.values().type_name(), array.shape()),
            expected,
        };
        let (bare, rows, letter) = match name.strip_prefix(names::LABELLED) {
            Some(bare) => (bare, self.labelled_ids.len(), "labelled"),
            None => (name, self.ids.len(), "pool"),
        };
        let classes = self.classes;
        let last_is_classes = |shape: &[usize]| shape.last() == Some(&classes);
        let is_f32 = array.as_f32().is_some();
        let (fits, expected) = match (name, bare) {
            (names::LABELLED_LABELS, _) => (
                array.as_u32().is_some() && array.shape() == [rows],
                format!("u32 [{rows}], one label a labelled sample"),
            ),
            (names::ORACLE_LABELS, _) => (
                array.as_u32().is_some() && array.shape() == [rows],
                format!("u32 [{rows}], one hidden label a pool sample"),
            ),
            (names::CALIBRATION_LABELS, _) => (
                array.as_u32().is_some() && array.shape().len() == 1,
                "u32 [calibration], one label a calibration sample".to_owned(),
            ),
            (names::CALIBRATION_LOGITS, _) => (
                is_f32 && array.shape().len() == 2 && last_is_classes(array.shape()),
                format!("f32 [calibration, {classes} classes]"),
            ),
            (names::TARGET_MC_LOG_PROBS, _) => (
                is_f32 && array.shape().len() == 3 && last_is_classes(array.shape()),
                format!("f32 [targets, draws, {classes} classes]"),
            ),
            (names::HEAD_W, _) => (
                is_f32 && array.shape().len() == 2 && array.shape()[0] == classes,
                format!("f32 [{classes} classes, width]"),
            ),
            (names::HEAD_B, _) => (is_f32 && array.shape() == [classes], format!("f32 [{classes} classes]")),
            (_, bare) => match names::per_sample(bare) {
                None => return Err(ArrayError::UnknownName { name: name.to_owned() }),
                Some(dimensions) => {
                    let of_classes = matches!(bare, names::LOGITS | names::MC_LOG_PROBS | names::MEMBER_LOG_PROBS);
                    let fits = is_f32
                        && array.shape().len() == dimensions
                        && array.shape()[0] == rows
                        && (!of_classes || last_is_classes(array.shape()));
                    let rest = match (dimensions, of_classes) {
                        (1, _) => String::new(),
                        (2, false) => ", width".to_owned(),
                        (2, true) => format!(", {classes} classes"),
                        _ => format!(", draws, {classes} classes"),
                    };
                    let form = match dimensions {
                        1 => "a list",
                        2 => "a matrix",
                        _ => "a block of three dimensions",
                    };
                    let form = if array.shape().len() == dimensions { String::new() } else { format!("{form}, ") };
                    (fits, format!("{form}f32 [{rows} {letter} rows{rest}]"))
                }
            },
        };
        if fits { Ok(()) } else { Err(shape_error(expected)) }
    }

    fn check_values(&self, name: &str, array: &Array) -> Result<(), ArrayError> {
        let row_of = |position: usize| position / array.row_len().max(1);
        match array.values() {
            Values::F32(values) => match first_non_finite(values) {
                Some(at) => Err(ArrayError::NotFinite { name: name.to_owned(), row: row_of(at), value: values[at] }),
                None => Ok(()),
            },
            Values::U32(labels) => match labels.iter().position(|&label| label as usize >= self.classes) {
                Some(row) => {
                    Err(ArrayError::Label { name: name.to_owned(), row, label: labels[row], classes: self.classes })
                }
                None => Ok(()),
            },
            Values::U64(_) => Ok(()),
        }
    }

    fn check_widths(&self) -> Result<(), ArrayError> {
        let mut widths: BTreeMap<(&str, &str), (&str, usize)> = BTreeMap::new();
        for (name, array) in &self.named {
            let bare = name.strip_prefix(names::LABELLED).unwrap_or(name);
            let mut shared = match bare {
                names::EMBEDDINGS | names::GRAD_EMBEDDINGS | names::HEAD_W => vec![("width", array.row_len())],
                names::PENULTIMATE => vec![("width of the last layer", array.row_len())],
                names::FIXED_EMBEDDINGS => vec![("fixed width", array.row_len())],
                _ => vec![],
            };
            if matches!(bare, names::MC_LOG_PROBS | names::TARGET_MC_LOG_PROBS) {
                shared.push(("number of draws", array.shape()[1]));
            }
            if matches!(bare, names::CALIBRATION_LABELS | names::CALIBRATION_LOGITS) {
                shared.push(("calibration size", array.rows()));
            }
            for (what, size) in shared {
                let (first, expected) = *widths.entry((what, "")).or_insert((name, size));
                if size != expected {
                    return Err(ArrayError::Disagree {
                        what,
                        first: first.to_owned(),
                        expected,
                        second: name.clone(),
                        found: size,
                    });
                }
            }
        }
        Ok(())
    }
}
