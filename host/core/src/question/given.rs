//! Arrays that somebody brings, on their way to a question: completed, brought into order, joined.

use std::collections::BTreeMap;
use std::sync::Arc;

use querist_protocol::{ARRAYS, ArrayKind, Element, Need, Rows, names};

use super::Arrays;
use super::probabilities::{self, Known};
use crate::array::{Array, ArrayError, Buffer, gather};
use crate::head::{Head, LinearHead};
use crate::ids::SampleId;

/// Classes at most: a label is one number in a file, and strategies keep something for each class.
const MAX_CLASSES: usize = 1 << 20;

/// Arrays as somebody has them, by name, with rows in any order.
#[derive(Debug, Clone, Default)]
pub struct Given {
    named: BTreeMap<String, Array>,
    /// Classes as the arrays of the whole pool say, where some of its rows were kept.
    whole_classes: Option<usize>,
    /// Ids of the rows of the pool; 0, 1, 2, ... where they are left out.
    pub ids: Option<Vec<u64>>,
    /// Ids of the labelled rows; the numbers after those of the pool where they are left out.
    pub labelled_ids: Option<Vec<u64>>,
}

/// Arrays by ascending ids, and how to get back to the rows as they were given.
#[derive(Debug)]
pub struct Sorted {
    /// The arrays.
    pub arrays: Arrays,
    /// The row, as it was given, of each pool row.
    pub given_rows: Vec<u32>,
}

impl Given {
    /// The array that is given under this name: the one of the name, or the one that probabilities become.
    pub fn array_called(name: &str) -> Option<String> {
        let of_arrays = || ArrayKind::of(name).map(|_| name.to_owned());
        probabilities::becomes(name).or_else(of_arrays)
    }

    /// Every name under which an array over the pool may be given, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        names::ALL.into_iter().chain(ARRAYS.iter().filter_map(|kind| kind.probabilities))
    }

    /// Takes an array. Probabilities become logarithms; `true` if the array was there already.
    ///
    /// # Errors
    /// If there is no such array, or its values are not what the name says.
    pub fn add(&mut self, name: &str, array: Array) -> Result<bool, GivenError> {
        let called = Self::array_called(name).ok_or_else(|| ArrayError::UnknownName { name: name.to_owned() })?;
        let wrong = |message| GivenError::Array { name: name.to_owned(), message };
        if array.shape().is_empty() {
            return Err(wrong("a single number; expected an array of rows".to_owned()));
        }
        probabilities::refuse_one_column(&called, &array).map_err(wrong)?;
        let array = match called == name {
            _ if array.as_far().is_some() => probabilities::of_far(name, &called, &array),
            false => probabilities::logarithms(&array).map_err(wrong)?,
            true if probabilities::is_log_probs(name) => probabilities::finite(array),
            true => array,
        };
        Ok(self.named.insert(called, array).is_some())
    }

    /// All arrays by name.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.named.iter().map(|(name, array)| (name.as_str(), array))
    }

    /// An array by name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.named.get(name)
    }

    /// The arrays that hold several distributions a row, and how many.
    pub fn draws(&self) -> impl Iterator<Item = (&str, usize)> {
        self.named.iter().filter_map(|(name, array)| match array.shape() {
            &[_, draws, _] if probabilities::is_log_probs(name) => Some((name.as_str(), draws)),
            _ => None,
        })
    }

    /// Whether the logits are probabilities by all that they look like.
    pub fn logits_look_like_probabilities(&self) -> bool {
        self.named.get(names::LOGITS).is_some_and(probabilities::look_like_probabilities)
    }

    /// Brings draws into the middle of their arrays. `draws` says for an array how many there are, where that is known.
    ///
    /// # Errors
    /// If draws cannot be told from rows.
    pub fn arrange(&mut self, classes: Option<usize>, draws: impl Fn(&str) -> Option<usize>) -> Result<(), GivenError> {
        let of_logits = |name: &str| match self.named.get(name)?.shape() {
            &[_, classes] => Some(classes),
            _ => None,
        };
        let classes = classes.or_else(|| of_logits(names::LOGITS).or_else(|| of_logits("labelled.logits")));
        let of_draws: Vec<String> =
            self.named.keys().filter(|name| probabilities::is_log_probs(name)).cloned().collect();
        for name in of_draws {
            let known = Known { rows: self.rows_beside(&name), draws: draws(&name), classes };
            let Some(array) = self.named.remove(&name) else { continue };
            let arranged = probabilities::draws_in_the_middle(array, known)
                .map_err(|message| GivenError::Array { name: name.clone(), message })?;
            self.named.insert(name, arranged);
        }
        Ok(())
    }

    /// Rows of an array as others say, whose first dimension is theirs for certain.
    fn rows_beside(&self, name: &str) -> Option<usize> {
        let side = Side::of(name)?;
        let ids = match side {
            Side::Pool => &self.ids,
            Side::Labelled => &self.labelled_ids,
        };
        let others = self.named.iter().filter(|(name, _)| !probabilities::is_log_probs(name));
        let beside = || others.filter(|(name, _)| Side::of(name) == Some(side)).map(|(_, array)| array.rows()).next();
        ids.as_ref().map(Vec::len).or_else(beside)
    }

    /// Rows of one side, as an array says.
    fn rows_of(&self, side: Side) -> Option<usize> {
        self.named.iter().find(|(name, _)| Side::of(name) == Some(side)).map(|(_, array)| array.rows())
    }

    /// Rows of the pool.
    ///
    /// # Errors
    /// [`GivenError::NoPool`] if nothing says how many there are.
    pub fn pool_rows(&self) -> Result<usize, GivenError> {
        self.rows_of(Side::Pool).or(self.ids.as_ref().map(Vec::len)).ok_or(GivenError::NoPool)
    }

    /// Whether anything over the labelled set is given.
    pub fn has_labelled(&self) -> bool {
        self.labelled_ids.is_some() || self.named.keys().any(|name| Side::of(name) == Some(Side::Labelled))
    }

    /// Ids of labelled rows for which none are given: the numbers after those of the pool.
    fn labelled_after(&self, ids: &[u64]) -> Vec<u64> {
        let labelled = self.rows_of(Side::Labelled).unwrap_or(0) as u64;
        let first_free = ids.iter().max().map_or(0, |max| max.saturating_add(1));
        (first_free..first_free.saturating_add(labelled)).collect()
    }

    /// Keeps some rows of the pool, in the order in which they were given. All else stays as it is for the whole pool:
    /// ids, labelled rows, classes.
    ///
    /// # Errors
    /// If there is no pool, or its arrays or ids do not fit it.
    pub fn narrow(&mut self, rows: std::ops::Range<usize>) -> Result<(), GivenError> {
        let pool = self.pool_rows()?;
        if rows == (0..pool) {
            return Ok(());
        }
        let ids = self.ids.take().unwrap_or_else(|| (0..pool as u64).collect());
        ascending_order("ids", &ids, pool)?;
        if self.labelled_ids.is_none() {
            self.labelled_ids = Some(self.labelled_after(&ids));
        }
        self.whole_classes = Some(self.classes());
        self.ids = Some(ids.get(rows.clone()).unwrap_or_default().to_vec());
        let order: Vec<u32> = rows.map(|row| row as u32).collect();
        for (name, array) in &mut self.named {
            // An array of another length is left for the check to name.
            if Side::of(name) == Some(Side::Pool) && array.rows() == pool && order.len() < pool {
                *array = array.gather(&order);
            }
        }
        Ok(())
    }

    /// Adds what can stand in for missing arrays; says which stood in for which.
    ///
    /// # Errors
    /// [`GivenError::Missing`] with everything for which nothing can.
    pub fn complete(&mut self, needs: &[Need]) -> Result<Vec<(String, String)>, GivenError> {
        let no_labelled = !self.named.keys().any(|name| Side::of(name) == Some(Side::Labelled));
        self.complete_where(needs, no_labelled)
    }

    /// The same where it is known whether something is labelled: an empty set stands for nothing that is there.
    ///
    /// # Errors
    /// As for [`Self::complete`].
    pub fn complete_where(&mut self, needs: &[Need], no_labelled: bool) -> Result<Vec<(String, String)>, GivenError> {
        let has_head = self.linear_head().is_some();
        let (mut stood_in, mut missing) = (Vec::new(), Vec::new());
        let as_arrays = |need: &Need| match need.as_arrays() {
            [] => vec![need.clone()],
            names => names.iter().map(|name| Need::new(*name)).collect(),
        };
        for need in &needs.iter().flat_map(as_arrays).collect::<Vec<_>>() {
            let is_there = |name: &str| if name == names::HEAD { has_head } else { self.named.contains_key(name) };
            if need.names().any(is_there) {
                continue;
            }
            if let Some((other, array)) = self.stand_in(need) {
                self.named.insert(need.name().to_owned(), array);
                stood_in.push((need.name().to_owned(), other));
            } else if let Some(empty) = no_labelled.then(|| self.empty(need)).flatten() {
                self.named.insert(need.name().to_owned(), empty);
            } else {
                missing.push(need.clone());
            }
        }
        if missing.is_empty() { Ok(stood_in) } else { Err(GivenError::Missing(missing)) }
    }

    /// What stands in for a need.
    fn stand_in(&self, need: &Need) -> Option<(String, Array)> {
        let kind = need.array()?;
        let other = need.name().replace(need.split_labelled().0, kind.stand_in?.name);
        Some((other.clone(), self.named.get(&other)?.clone()))
    }

    /// The array over a labelled set in which there is nothing.
    fn empty(&self, need: &Need) -> Option<Array> {
        let (kind, labelled) = ArrayKind::of(need.name())?;
        match kind.element {
            Element::Label if labelled => Some(Array::labels(Vec::new())),
            Element::F32 if labelled => self.named.get(need.split_labelled().0).map(|pool| pool.gather(&[])),
            _ => None,
        }
    }

    /// The head that weights and biases make.
    fn linear_head(&self) -> Option<LinearHead> {
        LinearHead::new(self.named.get(names::HEAD_W)?, self.named.get(names::HEAD_B)?)
    }

    /// The linear head, where its weights and biases are given.
    pub fn head(&self) -> Option<Arc<dyn Head>> {
        self.linear_head().map(|head| Arc::new(head) as Arc<dyn Head>)
    }

    /// Classes as the arrays say: a class dimension, else one more than the largest label.
    fn classes(&self) -> usize {
        let dimension = |(name, kind): (String, &ArrayKind)| {
            let array = self.named.get(&name)?;
            match kind.rows {
                _ if kind.ends_in_classes() => array.shape().last().copied(),
                Rows::Classes => Some(array.rows()),
                _ => None,
            }
        };
        let largest = |(name, _): (String, &ArrayKind)| self.named.get(&name)?.as_u32()?.iter().max().copied();
        let of_labels = || every_array().filter_map(largest).max().map(|max| max as usize + 1);
        every_array().find_map(dimension).or_else(of_labels).unwrap_or(1).max(1)
    }

    /// The arrays by ascending ids, of those samples of the pool that `choose` keeps, ascending. Classes are as the
    /// arrays say where `classes` does not.
    ///
    /// # Errors
    /// If ids or arrays do not fit each other; rows in the error are those that were given.
    pub fn sorted(
        mut self,
        classes: Option<usize>,
        choose: impl FnOnce(&[SampleId]) -> Vec<SampleId>,
    ) -> Result<Sorted, GivenError> {
        let pool = self.pool_rows()?;
        let labelled = self.rows_of(Side::Labelled).or(self.labelled_ids.as_ref().map(Vec::len)).unwrap_or(0);
        let ids = self.ids.take().unwrap_or_else(|| (0..pool as u64).collect());
        let labelled_ids = self.labelled_ids.take().unwrap_or_else(|| self.labelled_after(&ids));
        let classes = classes.or(self.whole_classes).unwrap_or_else(|| self.classes());
        if classes > MAX_CLASSES {
            let can_say = |(name, kind): &(String, &ArrayKind)| says_classes(kind) && self.named.contains_key(name);
            let names = every_array().filter(can_say).map(|(name, _)| name).collect();
            return Err(GivenError::Classes { classes, names });
        }
        let all = ascending_order("ids", &ids, pool)?;
        let samples: Vec<SampleId> = all.iter().map(|&row| SampleId(ids[row as usize])).collect();
        let mut chosen = choose(&samples).into_iter().peekable();
        let is_chosen = |(sample, _): &(&SampleId, &u32)| chosen.next_if_eq(sample).is_some();
        let pool_order: Vec<u32> = samples.iter().zip(&all).filter(is_chosen).map(|(_, &row)| row).collect();
        let labelled_order = ascending_order("labelled.ids", &labelled_ids, labelled)?;
        for (name, array) in &mut self.named {
            let (order, all) = match Side::of(name) {
                Some(Side::Pool) => (&pool_order, pool),
                Some(Side::Labelled) => (&labelled_order, labelled),
                None => continue,
            };
            // An array of another length is left for the check to name.
            if array.rows() == all && !(order.len() == all && order.is_sorted()) {
                *array = array.gather(order);
            }
        }
        let head = self.linear_head();
        let sorted = |ids: Vec<u64>, order: &[u32]| match order.len() == ids.len() && order.is_sorted() {
            true => Buffer::from(ids),
            false => Buffer::from(gather(&ids, 1, order)),
        };
        let arrays = Arrays::new(sorted(ids, &pool_order), sorted(labelled_ids, &labelled_order), classes, self.named);
        let mut arrays = arrays.map_err(|error| in_given_rows(error, &pool_order, &labelled_order))?;
        if let Some(head) = head {
            arrays = arrays.with_head(Arc::new(head));
        }
        Ok(Sorted { arrays, given_rows: pool_order })
    }
}

/// The samples that an array has one row for each of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Pool,
    Labelled,
}

impl Side {
    fn of(name: &str) -> Option<Self> {
        match name {
            _ if names::is_over_labelled(name) => Some(Self::Labelled),
            _ if names::is_over_pool(name) => Some(Self::Pool),
            _ => None,
        }
    }
}

/// Every array with a name of its own, over pool and labelled set, in the order of the table.
fn every_array() -> impl Iterator<Item = (String, &'static ArrayKind)> {
    ARRAYS.iter().flat_map(|kind| {
        let both = [kind.name.to_owned(), format!("{}{}", names::LABELLED, kind.name)];
        both.into_iter().filter(|name| ArrayKind::of(name).is_some()).map(move |name| (name, kind))
    })
}

/// Whether an array says how many classes there are, or at least how many.
fn says_classes(kind: &ArrayKind) -> bool {
    kind.ends_in_classes() || kind.rows == Rows::Classes || kind.element == Element::Label
}

/// Rows in the order of ascending ids.
fn ascending_order(name: &'static str, ids: &[u64], rows: usize) -> Result<Vec<u32>, GivenError> {
    if ids.len() != rows {
        return Err(GivenError::IdCount { name, ids: ids.len(), rows });
    }
    let count = u32::try_from(rows).map_err(|_| GivenError::TooManyRows { rows })?;
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by_key(|&row| ids[row as usize]);
    match order.windows(2).find(|pair| ids[pair[0] as usize] == ids[pair[1] as usize]) {
        None => Ok(order),
        Some(pair) => Err(GivenError::IdTwice { name, id: ids[pair[0] as usize], first: pair[0], second: pair[1] }),
    }
}

/// The same error with the row as it was given.
fn in_given_rows(mut error: ArrayError, pool_order: &[u32], labelled_order: &[u32]) -> ArrayError {
    if let ArrayError::NotFinite { name, row, .. } | ArrayError::Label { name, row, .. } = &mut error {
        let order = match Side::of(name) {
            Some(Side::Pool) => pool_order,
            Some(Side::Labelled) => labelled_order,
            None => &[],
        };
        *row = order.get(*row).map_or(*row, |&given| given as usize);
    }
    error
}

/// Arrays that make no question.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum GivenError {
    #[error("`{name}`: {message}")]
    Array { name: String, message: String },
    #[error("the strategy needs {}", needs_in_words(.0))]
    Missing(Vec<Need>),
    #[error("nothing has one row a pool sample")]
    NoPool,
    #[error("{rows} rows, expected fewer than 2^32")]
    TooManyRows { rows: usize },
    #[error("`{name}` has {ids} ids for {rows} rows")]
    IdCount { name: &'static str, ids: usize, rows: usize },
    #[error("`{name}` holds id {id} in rows {first} and {second}; ids are distinct")]
    IdTwice { name: &'static str, id: u64, first: u32, second: u32 },
    #[error("{classes} classes; expected at most {MAX_CLASSES}")]
    Classes { classes: usize, names: Vec<String> },
    #[error(transparent)]
    Arrays(#[from] ArrayError),
}

impl GivenError {
    /// Classes at most.
    pub const MAX_CLASSES: usize = MAX_CLASSES;
}

fn needs_in_words(needs: &[Need]) -> String {
    needs.iter().map(Need::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[usize], values: &[f32]) -> Array {
        Array::f32(shape.to_vec(), values.to_vec()).unwrap()
    }

    fn given(arrays: &[(&str, Array)]) -> Given {
        let mut given = Given::default();
        for (name, array) in arrays {
            assert!(!given.add(name, array.clone()).unwrap(), "{name} is there once");
        }
        given
    }

    fn needs(texts: &[&str]) -> Vec<Need> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn values(arrays: &Arrays, name: &str) -> Vec<f32> {
        arrays.get(name).unwrap().as_f32().unwrap().to_vec()
    }

    #[test]
    fn rows_go_by_ascending_id_and_those_pointed_at_stay() {
        let mut given = given(&[
            ("embeddings", floats(&[3, 1], &[0.0, 1.0, 2.0])),
            ("extra.blur", floats(&[3, 2], &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5])),
            ("query.like", floats(&[2, 1], &[9.0, 8.0])),
            ("labelled.embeddings", floats(&[2, 1], &[5.0, 4.0])),
        ]);
        given.ids = Some(vec![30, 10, 20]);
        given.labelled_ids = Some(vec![7, 6]);
        let sorted = given.clone().sorted(Some(2), <[SampleId]>::to_vec).unwrap();
        assert_eq!((sorted.given_rows, &sorted.arrays.ids()[..]), (vec![1, 2, 0], &[10, 20, 30][..]));
        assert_eq!(values(&sorted.arrays, "embeddings"), [1.0, 2.0, 0.0]);
        assert_eq!(values(&sorted.arrays, "extra.blur"), [1.0, 1.5, 2.0, 2.5, 0.0, 0.5]);
        assert_eq!(values(&sorted.arrays, "query.like"), [9.0, 8.0]);
        assert_eq!(values(&sorted.arrays, "labelled.embeddings"), [4.0, 5.0]);
        let part = given.sorted(Some(2), |pool| pool[1..].to_vec()).unwrap();
        assert_eq!((part.given_rows, values(&part.arrays, "embeddings")), (vec![2, 0], vec![2.0, 0.0]));
    }

    #[test]
    fn what_can_stand_in_does() {
        let embeddings = floats(&[2, 1], &[3.0, 4.0]);
        let mut all = given(&[("embeddings", embeddings.clone())]);
        let stood_in = all.complete(&needs(&["fixed_embeddings", "labelled.embeddings", "labelled.labels"])).unwrap();
        assert_eq!(stood_in, [("fixed_embeddings".to_owned(), "embeddings".to_owned())]);
        let sorted = all.sorted(None, <[SampleId]>::to_vec).unwrap().arrays;
        assert_eq!(values(&sorted, "fixed_embeddings"), [3.0, 4.0]);
        assert_eq!(sorted.get("labelled.embeddings").unwrap().shape(), [0, 1]);
        assert_eq!(sorted.get("labelled.labels").unwrap().shape(), [0]);

        // A labelled set that is there in part is not filled up with nothing.
        let mut part = given(&[("embeddings", embeddings), ("labelled.labels", Array::labels(vec![0]))]);
        let wanted = ["labelled.embeddings", "embeddings", "head.w(or=head)", "extra.blur", "query.like"];
        let missing = part.complete(&needs(&wanted)).unwrap_err();
        let expected = "the strategy needs labelled.embeddings, head.w(or=head), extra.blur, query.like";
        assert_eq!(missing.to_string(), expected);
    }

    #[test]
    fn classes_are_as_the_arrays_say() {
        let classes = |arrays: &[(&str, Array)]| given(arrays).classes();
        let labels = || Array::labels(vec![0, 4]);
        assert_eq!(classes(&[("labelled.labels", labels())]), 5);
        assert_eq!(classes(&[("labelled.labels", labels()), ("logits", floats(&[1, 7], &[0.0; 7]))]), 7);
        assert_eq!(classes(&[("labelled.labels", labels()), ("head.w", floats(&[6, 1], &[0.0; 6]))]), 6);
        assert_eq!(classes(&[("extra.blur", floats(&[2, 9], &[0.0; 18]))]), 1);
        let many = given(&[("oracle.labels", Array::labels(vec![u32::MAX]))]).sorted(None, <[SampleId]>::to_vec);
        let (classes, names) = (1 << 32, vec!["oracle.labels".to_owned()]);
        assert_eq!(many.unwrap_err(), GivenError::Classes { classes, names });
    }

    #[test]
    fn what_does_not_fit_is_named_as_it_was_given() {
        let mut misfit = given(&[("embeddings", floats(&[3, 1], &[0.0, f32::NAN, 2.0]))]);
        misfit.ids = Some(vec![30, 10, 20]);
        let error = misfit.clone().sorted(None, <[SampleId]>::to_vec).unwrap_err().to_string();
        assert!(error.contains("`embeddings` holds NaN in row 1"), "{error}");
        misfit.ids = Some(vec![5, 6, 5]);
        let error = misfit.clone().sorted(None, <[SampleId]>::to_vec).unwrap_err();
        assert_eq!(error, GivenError::IdTwice { name: "ids", id: 5, first: 0, second: 2 });
        misfit.ids = Some(vec![5]);
        let error = misfit.sorted(None, <[SampleId]>::to_vec).unwrap_err();
        assert_eq!(error, GivenError::IdCount { name: "ids", ids: 1, rows: 3 });
        let pointed = given(&[("query.like", floats(&[1, 1], &[0.0]))]);
        assert_eq!(pointed.sorted(None, <[SampleId]>::to_vec).unwrap_err(), GivenError::NoPool);
        let unknown = Given::default().add("logit", floats(&[1, 1], &[0.0])).unwrap_err();
        assert!(unknown.to_string().contains("no array is called `logit`"), "{unknown}");
    }

    #[test]
    fn probabilities_take_the_place_of_their_logarithms() {
        let mut given = given(&[("probs", floats(&[1, 2], &[0.25, 0.75]))]);
        assert_eq!(given.get("logits").unwrap().as_f32().unwrap()[..], [0.25f32.ln(), 0.75f32.ln()]);
        assert!(given.add("logits", floats(&[1, 2], &[0.0; 2])).unwrap(), "they are the logits");
    }
}
