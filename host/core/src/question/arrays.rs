//! The arrays of one question, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use querist_protocol::{ArrayKind, Dimension, Element, Rows, names};

use super::tally::Tally;
use crate::array::{Array, ArrayError, Buffer, Values, gather};
use crate::far::first_non_finite;
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
    tally: Option<Arc<dyn Tally>>,
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
        let (ids, labelled_ids) = (ids.into(), labelled_ids.into());
        let arrays = Self { ids, labelled_ids, classes, named, reveals: None, head: None, tally: None };
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

    /// The same arrays, of whose rows a tally is kept.
    #[must_use]
    pub fn with_tally(mut self, tally: Arc<dyn Tally>) -> Self {
        self.tally = Some(tally);
        self
    }

    /// Who is told of single rows of all of these.
    pub fn tally(&self) -> Option<&dyn Tally> {
        self.tally.as_deref()
    }

    /// Whether there is something of this name: an array, or the head.
    pub fn has(&self, name: &str) -> bool {
        if name == names::HEAD { self.head.is_some() } else { self.named.contains_key(name) }
    }

    /// What is called `names`, for some rows of the pool, which are ascending, or for all; nothing else stays. Whoever
    /// is told of revealed labels stays told, and whoever keeps a tally of all rows. Labelled rows of none of the
    /// classes stay only where `labelled.rejected` is among the names.
    #[must_use]
    pub fn part<'a>(&self, names: impl IntoIterator<Item = &'a str>, rows: Option<&[u32]>) -> Self {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let rejected = if names.contains(names::LABELLED_REJECTED) { &[] } else { self.rejected() };
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
        let tally = self.tally.clone().filter(|_| rows.is_none());
        Self { ids, labelled_ids, classes: self.classes, named, reveals, head, tally }.without_rejected(rejected)
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
        let Some((kind, labelled)) = ArrayKind::of(name) else {
            return Err(ArrayError::UnknownName { name: name.to_owned() });
        };
        let (rows, said) = match (kind.rows, labelled) {
            (Rows::Samples | Rows::Labelled, true) => {
                (Some(self.labelled_ids.len()), format!("{} labelled rows", self.labelled_ids.len()))
            }
            (Rows::Samples | Rows::Pool | Rows::Labelled, _) => {
                (Some(self.ids.len()), format!("{} pool rows", self.ids.len()))
            }
            (Rows::Classes, _) => (Some(self.classes), format!("{} classes", self.classes)),
            (Rows::Targets, _) => (None, "targets".to_owned()),
            (Rows::Calibration, _) => (None, "calibration".to_owned()),
            (Rows::Pointed, _) => (None, "rows".to_owned()),
        };
        let (shape, dimensions) = (array.shape(), kind.dimensions);
        let is_of_type = match kind.element {
            Element::F32 => array.is_floats(),
            Element::Label => array.as_u32().is_some(),
        };
        let is_class = |(found, dimension): (&usize, &Dimension)| match dimension {
            Dimension::Classes => *found == self.classes,
            _ => true,
        };
        let has_form = shape.len() == 1 + dimensions.len();
        let fits = is_of_type
            && has_form
            && rows.is_none_or(|rows| shape[0] == rows)
            && shape[1..].iter().zip(dimensions).all(is_class);
        if fits {
            return Ok(());
        }
        let form = match dimensions.len() {
            _ if has_form => "",
            0 => "a list, ",
            1 => "a matrix, ",
            _ => "a block of three dimensions, ",
        };
        let said_of = |dimension: &Dimension| match dimension {
            Dimension::Classes => format!(", {} classes", self.classes),
            Dimension::Draws => ", draws".to_owned(),
            Dimension::Members => ", members".to_owned(),
            Dimension::Width(_) | Dimension::Columns => ", width".to_owned(),
        };
        let rest: String = dimensions.iter().map(said_of).collect();
        let each = if kind.element == Element::Label { ", one label each" } else { "" };
        Err(ArrayError::Shape {
            name: name.to_owned(),
            found: format!("{} {shape:?}", array.values().type_name()),
            expected: format!("{form}{} [{said}{rest}]{each}", kind.element.type_name()),
        })
    }

    fn check_values(&self, name: &str, array: &Array) -> Result<(), ArrayError> {
        let row_of = |position: usize| position / array.row_len().max(1);
        match array.values() {
            Values::F32(values) => match first_non_finite(values) {
                Some(at) => Err(ArrayError::NotFinite { name: name.to_owned(), row: row_of(at), value: values[at] }),
                None => Ok(()),
            },
            Values::U32(labels) => match (0..labels.len()).find(|&row| !self.is_label(name, row, labels[row])) {
                Some(row) => {
                    Err(ArrayError::Label { name: name.to_owned(), row, label: labels[row], classes: self.classes })
                }
                None => Ok(()),
            },
            // Whoever reads far rows looks at every value then.
            Values::U64(_) | Values::Far(_) => Ok(()),
        }
    }

    /// Whether a label can stand in a row of an array: one of a class, or for rejected rows the number of classes.
    fn is_label(&self, name: &str, row: usize, label: u32) -> bool {
        let is_rejected = || name == names::LABELLED_LABELS && self.rejected().get(row).is_some_and(|&row| row > 0);
        (label as usize) < self.classes || (label as usize == self.classes && is_rejected())
    }

    /// Which labelled rows are of none of the classes; empty where nobody said.
    fn rejected(&self) -> &[u32] {
        match self.named.get(names::LABELLED_REJECTED).map(Array::values) {
            Some(Values::U32(rejected)) => rejected,
            _ => &[],
        }
    }

    /// The same without labelled rows that are of none of the classes, for whoever does not ask which these are.
    fn without_rejected(mut self, rejected: &[u32]) -> Self {
        let kept: Vec<u32> = (0..).zip(rejected).filter(|(_, rejected)| **rejected == 0).map(|(row, _)| row).collect();
        if kept.len() == rejected.len() {
            return self;
        }
        self.labelled_ids = gather(&self.labelled_ids, 1, &kept).into();
        for (name, array) in &mut self.named {
            if ArrayKind::of(name).is_some_and(|(kind, labelled)| labelled || kind.rows == Rows::Labelled) {
                *array = array.gather(&kept);
            }
        }
        self
    }

    fn check_widths(&self) -> Result<(), ArrayError> {
        let mut sizes: BTreeMap<(&str, &str), (&str, usize)> = BTreeMap::new();
        for (name, array) in &self.named {
            let Some((kind, _)) = ArrayKind::of(name) else { continue };
            let bare = name.strip_prefix(names::LABELLED).unwrap_or(name);
            let of_rows = (kind.rows == Rows::Calibration).then_some((("calibration size", ""), array.rows()));
            let shared = kind.dimensions.iter().zip(&array.shape()[1..]).filter_map(|(dimension, &size)| {
                let of = match dimension {
                    Dimension::Draws => ("number of draws", ""),
                    Dimension::Width(width) => (*width, ""),
                    Dimension::Columns => ("width", bare),
                    Dimension::Classes | Dimension::Members => return None,
                };
                Some((of, size))
            });
            for (of, size) in shared.chain(of_rows) {
                let (first, expected) = *sizes.entry(of).or_insert((name, size));
                if size != expected {
                    let (first, second) = (first.to_owned(), name.clone());
                    return Err(ArrayError::Disagree { what: of.0, first, expected, second, found: size });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[usize]) -> Array {
        Array::f32(shape.to_vec(), vec![0.5; shape.iter().product()]).unwrap()
    }

    /// Three rows in the pool, two labelled, four classes.
    fn joined(named: &[(&str, Array)]) -> Result<Arrays, String> {
        let named = named.iter().map(|(name, array)| ((*name).to_owned(), array.clone())).collect();
        Arrays::new(vec![1, 2, 3], vec![4, 5], 4, named).map_err(|error| error.to_string())
    }

    #[test]
    fn rejected_rows_are_seen_by_those_who_ask_which_they_are() {
        let labels = ("labelled.labels", Array::labels(vec![4, 1]));
        let rejected = |rows: [u32; 2]| ("labelled.rejected", Array::labels(rows.to_vec()));
        let error = joined(std::slice::from_ref(&labels)).unwrap_err();
        assert!(error.contains("label 4 in row 0, but there are 4 classes"), "{error}");
        assert!(joined(&[labels.clone(), rejected([0, 1])]).is_err(), "another row is rejected");
        let embeddings = ("labelled.embeddings", Array::f32(vec![2, 1], vec![7.0, 8.0]).unwrap());
        let all = joined(&[labels, rejected([1, 0]), embeddings, ("embeddings", floats(&[3, 1]))]).unwrap();
        let asking = all.part(["labelled.labels", "labelled.rejected"], None);
        assert_eq!(
            (asking.labelled_ids()[..].to_vec(), asking.get("labelled.labels").unwrap().rows()),
            (vec![4, 5], 2)
        );
        let others = all.part(["labelled.labels", "labelled.embeddings", "embeddings"], None);
        assert_eq!(others.labelled_ids()[..], [5]);
        let rows = |name| others.get(name).unwrap().rows();
        assert_eq!((rows("labelled.labels"), rows("labelled.embeddings"), rows("embeddings")), (1, 1, 3));
        assert!(matches!(others.get("labelled.labels").unwrap().values(), Values::U32(labels) if labels[..] == [1]));
    }

    #[test]
    fn shapes_are_those_of_the_table() {
        let fitting: [(&str, &[usize]); 12] = [
            ("logits", &[3, 4]),
            ("labelled.logits", &[2, 4]),
            ("embeddings", &[3, 9]),
            ("labelled.fixed_embeddings", &[2, 9]),
            ("mc_log_probs", &[3, 7, 4]),
            ("target.mc_log_probs", &[11, 7, 4]),
            ("grad_norm", &[3]),
            ("head.w", &[4, 9]),
            ("head.b", &[4]),
            ("calibration.logits", &[6, 4]),
            ("extra.blur", &[3, 1]),
            ("query.cats", &[8, 2]),
        ];
        for (name, shape) in fitting {
            joined(&[(name, floats(shape))]).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let misfits: [(&str, Array, &str); 8] = [
            ("logits", floats(&[3, 5]), "is f32 [3, 5], expected f32 [3 pool rows, 4 classes]"),
            ("labelled.logits", floats(&[3, 4]), "expected f32 [2 labelled rows, 4 classes]"),
            ("embeddings", floats(&[3]), "expected a matrix, f32 [3 pool rows, width]"),
            ("member_log_probs", floats(&[3, 4]), "a block of three dimensions, f32 [3 pool rows, members, 4 classes]"),
            ("oracle.labels", Array::labels(vec![0; 2]), "is u32 [2], expected u32 [3 pool rows], one label each"),
            ("labelled.labels", floats(&[2]), "is f32 [2], expected u32 [2 labelled rows], one label each"),
            ("extra.blur", floats(&[3]), "expected a matrix, f32 [3 pool rows, width]"),
            ("query.cats", Array::labels(vec![0; 2]), "expected a matrix, f32 [rows, width]"),
        ];
        for (name, array, expected) in misfits {
            let error = joined(&[(name, array)]).unwrap_err();
            assert!(error.contains(expected), "{name}: {error}");
        }
        assert!(joined(&[("extra", floats(&[3, 1]))]).unwrap_err().contains("no array is called `extra`"));
    }

    #[test]
    fn shared_dimensions_agree() {
        let apart = |a: (&str, &[usize]), b: (&str, &[usize])| {
            joined(&[(a.0, floats(a.1)), (b.0, floats(b.1))]).err().unwrap_or_default()
        };
        let width = apart(("embeddings", &[3, 9]), ("head.w", &[4, 8]));
        assert_eq!(width, "`head.w` and `embeddings` disagree on the width: 8 and 9");
        let draws = apart(("mc_log_probs", &[3, 7, 4]), ("target.mc_log_probs", &[5, 6, 4]));
        assert!(draws.contains("disagree on the number of draws: 6 and 7"), "{draws}");
        let extra = apart(("extra.blur", &[3, 1]), ("labelled.extra.blur", &[2, 2]));
        assert!(extra.contains("disagree on the width: 2 and 1"), "{extra}");
        for (a, b) in [
            (("embeddings", &[3, 9][..]), ("fixed_embeddings", &[3, 8][..])),
            (("extra.blur", &[3, 1]), ("extra.sharpness", &[3, 2])),
            (("embeddings", &[3, 9]), ("query.cats", &[5, 2])),
        ] {
            assert_eq!(apart(a, b), "");
        }
    }
}
