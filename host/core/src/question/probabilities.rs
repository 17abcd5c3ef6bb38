//! Probabilities in the forms in which users have them, as the arrays of log-probabilities and logits that strategies
//! take.

use std::borrow::Cow;

use querist_protocol::{ARRAYS, ArrayKind, names};

use crate::array::Array;
use crate::far;

/// Probabilities below this count as this when logarithms are taken: the smallest that `f32` holds with all its digits.
const LEAST: f32 = f32::MIN_POSITIVE;
/// What stands for a logarithm of minus infinity: its exponential is 0 as well, and sums of it stay finite.
const LOG_OF_NOTHING: f32 = -1e30;
/// How far the probabilities of a row may be from summing to 1.
const SUM_SLACK: f64 = 1e-3;
/// Distributions that are looked at to tell which dimension holds the classes.
const LOOKED_AT: usize = 64;

/// The array that probabilities under this name become.
pub(super) fn becomes(name: &str) -> Option<String> {
    let (bare, prefix) = match name.strip_prefix(names::LABELLED) {
        Some(bare) => (bare, names::LABELLED),
        None => (name, ""),
    };
    let kind = ARRAYS.iter().find(|kind| kind.probabilities == Some(bare))?;
    let array = format!("{prefix}{}", kind.name);
    ArrayKind::of(&array).map(|_| array)
}

/// Whether an array holds logarithms of probabilities, several distributions a row.
pub(super) fn is_log_probs(name: &str) -> bool {
    ArrayKind::of(name).is_some_and(|(kind, _)| kind.is_of_draws())
}

/// Whether an array has rows of numbers of the classes.
fn is_over_classes(name: &str) -> bool {
    ArrayKind::of(name).is_some_and(|(kind, _)| kind.ends_in_classes() && !kind.dimensions.is_empty())
}

/// Natural logarithms of probabilities. Whether several distributions a row sum to 1 is asked where it is known which
/// dimension holds the classes.
///
/// # Errors
/// A sentence: which value or sum is none of probabilities.
pub(super) fn logarithms(array: &Array) -> Result<Array, String> {
    let values = floats(array)?;
    let (width, row_len) = (last(array), array.row_len().max(1));
    if let Some(at) = values.iter().position(|p| !is_probability(*p)) {
        return Err(format!("{} in row {} is no probability; they are 0 to 1", values[at], at / row_len));
    }
    let distributions = if array.shape().len() == 2 { values } else { &[] };
    for (at, distribution) in distributions.chunks_exact(width).enumerate() {
        let row = at * width / row_len;
        check_sum(distribution).map_err(|sum| format!("probabilities in row {row} sum to {sum:.6}, expected 1"))?;
    }
    let logarithms = values.iter().map(|&p| logarithm(p)).collect::<Vec<_>>();
    Array::f32(array.shape().to_vec(), logarithms).map_err(|error| error.to_string())
}

/// The same log-probabilities, with a finite number for those of probability 0.
pub(super) fn finite(array: Array) -> Array {
    let Some(values) = array.as_f32().filter(|values| values.contains(&f32::NEG_INFINITY)) else { return array };
    let finite: Vec<f32> =
        values.iter().map(|&value| if value == f32::NEG_INFINITY { LOG_OF_NOTHING } else { value }).collect();
    Array::f32(array.shape().to_vec(), finite).unwrap_or(array)
}

/// The same over rows that are read in blocks: each block is looked at, and turned into logarithms, when it is read.
pub(super) fn of_far(name: &str, called: &str, array: &Array) -> Array {
    let step: Option<far::Step> = match called == name {
        false if array.shape().len() == 2 => Some(logarithms_of_block),
        false => Some(logarithms_of_draws),
        true if is_log_probs(name) => Some(finite_block),
        true => None,
    };
    array.with_source(|source| far::seen(source, name, step))
}

fn logarithms_of_block(values: &mut [f32], width: usize) -> Result<(), (usize, String)> {
    check_probabilities(values, width)?;
    for (row, distribution) in values.chunks_exact(width).enumerate() {
        check_sum(distribution).map_err(|sum| (row, format!("probabilities sum to {sum:.6}, expected 1")))?;
    }
    values.iter_mut().for_each(|p| *p = logarithm(*p));
    Ok(())
}

fn logarithms_of_draws(values: &mut [f32], width: usize) -> Result<(), (usize, String)> {
    check_probabilities(values, width)?;
    values.iter_mut().for_each(|p| *p = logarithm(*p));
    Ok(())
}

fn finite_block(values: &mut [f32], _: usize) -> Result<(), (usize, String)> {
    values.iter_mut().filter(|value| **value == f32::NEG_INFINITY).for_each(|value| *value = LOG_OF_NOTHING);
    Ok(())
}

fn check_probabilities(values: &[f32], width: usize) -> Result<(), (usize, String)> {
    match values.iter().position(|p| !is_probability(*p)) {
        None => Ok(()),
        Some(at) => Err((at / width, format!("{} is no probability; they are 0 to 1", values[at]))),
    }
}

fn is_probability(p: f32) -> bool {
    (0.0..=1.0 + SUM_SLACK as f32).contains(&p)
}

fn logarithm(p: f32) -> f32 {
    f64::from(p.max(LEAST)).ln() as f32
}

/// The sum of a distribution, where it is not 1.
fn check_sum(distribution: &[f32]) -> Result<(), f64> {
    let sum: f64 = distribution.iter().map(|&p| f64::from(p)).sum();
    if (sum - 1.0).abs() > SUM_SLACK { Err(sum) } else { Ok(()) }
}

/// Refuses arrays of one class, which hold the score of a sigmoid.
///
/// # Errors
/// A sentence that says how to make two columns of it.
pub(super) fn refuse_one_column(name: &str, array: &Array) -> Result<(), String> {
    if !is_over_classes(name) || array.shape().len() < 2 || array.shape().last() != Some(&1) {
        return Ok(());
    }
    Err(format!(
        "one column, but classes are two or more; a sigmoid's logit z becomes the columns 0 and z, its probability p \
         the columns 1 - p and p (shape {:?})",
        array.shape()
    ))
}

/// Whether logits are probabilities by all that they look like.
pub(super) fn look_like_probabilities(array: &Array) -> bool {
    let (Some(values), width) = (first_values(array), last(array)) else { return false };
    let is_distribution = |row: &[f32]| (row.iter().map(|&p| f64::from(p)).sum::<f64>() - 1.0).abs() < SUM_SLACK;
    !values.is_empty()
        && width > 1
        && values.iter().all(|p| (0.0..=1.0).contains(p))
        && values.chunks_exact(width).all(is_distribution)
}

/// The values; of rows that are read in blocks, those of the first ones.
fn first_values(array: &Array) -> Option<Cow<'_, [f32]>> {
    let Some(source) = array.as_far() else { return array.as_f32().map(|values| Cow::Borrowed(&values[..])) };
    let mut first = vec![0.0; source.rows().min(LOOKED_AT) * source.width()];
    source.read(0, &mut first).ok().map(|()| Cow::Owned(first))
}

/// What is known of the dimensions of an array of draws, beside the array itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Rows.
    pub rows: Option<usize>,
    /// Draws of a row.
    pub draws: Option<usize>,
    /// Classes.
    pub classes: Option<usize>,
}

/// Where rows, draws and classes are in an array of three dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// As strategies take it: rows, draws, classes.
    RowsFirst,
    /// Draws, rows, classes.
    DrawsFirst,
    /// Rows, classes, draws.
    DrawsLast,
}

impl Layout {
    const ALL: [Self; 3] = [Self::RowsFirst, Self::DrawsFirst, Self::DrawsLast];

    /// Rows, draws and classes of a shape.
    fn read(self, shape: [usize; 3]) -> [usize; 3] {
        let [a, b, c] = shape;
        match self {
            Self::RowsFirst => [a, b, c],
            Self::DrawsFirst => [b, a, c],
            Self::DrawsLast => [a, c, b],
        }
    }

    fn fits(self, shape: [usize; 3], known: Known) -> bool {
        let [rows, draws, classes] = self.read(shape);
        let is = |known: Option<usize>, found: usize| known.is_none_or(|known| known == found);
        is(known.rows, rows) && is(known.draws, draws) && is(known.classes, classes)
    }
}

/// Log-probabilities as `[rows, draws, classes]`, wherever the draws are in `array`.
///
/// The dimension of the classes is the one along which probabilities sum to 1; rows are told from draws by what is
/// known.
///
/// # Errors
/// A sentence, if rows and draws cannot be told apart.
pub(super) fn draws_in_the_middle(array: Array, known: Known) -> Result<Array, String> {
    let &[a, b, c] = array.shape() else { return Ok(array) };
    // Shards are of rows, which therefore come first.
    if array.as_far().is_some() {
        return Ok(array);
    }
    let (shape, values) = ([a, b, c], floats(&array)?);
    let sums = |layout: &Layout| match layout {
        Layout::DrawsLast => sums_to_one(values, shape, true),
        _ => sums_to_one(values, shape, false),
    };
    let possible: Vec<Layout> =
        Layout::ALL.into_iter().filter(|layout| layout.fits(shape, known) && sums(layout)).collect();
    match possible.as_slice() {
        // What is wrong with it is told where arrays are checked against each other.
        [] => Ok(array),
        [Layout::RowsFirst, Layout::DrawsFirst, ..] if a < b => Err(format!(
            "{shape:?} may be {a} rows of {b} draws, or {b} rows of {a} draws: say which by the number of draws \
             (`--param`), by `--ids`, or by another array with one row a sample"
        )),
        [Layout::RowsFirst, ..] => Ok(array),
        [Layout::DrawsFirst, ..] => arranged(values, [b, a, c], |[row, draw, class]| (draw * b + row) * c + class),
        [Layout::DrawsLast, ..] => arranged(values, [a, c, b], |[row, draw, class]| (row * b + class) * c + draw),
    }
}

/// Whether probabilities sum to 1 along the last dimension, or along the one in the middle.
fn sums_to_one(log_probs: &[f32], [a, b, c]: [usize; 3], in_the_middle: bool) -> bool {
    let (size, apart, count) = if in_the_middle { (b, c, a * c) } else { (c, 1, a * b) };
    let first = |at: usize| if in_the_middle { at / c * b * c + at % c } else { at * c };
    let sum = |at: usize| (0..size).map(|i| f64::from(log_probs[first(at) + i * apart]).exp()).sum::<f64>();
    count > 0 && (0..count).step_by(count.div_ceil(LOOKED_AT)).all(|at| (sum(at) - 1.0).abs() < SUM_SLACK)
}

/// An array of `[rows, draws, classes]`, each value from where `from` says.
fn arranged(values: &[f32], shape: [usize; 3], from: impl Fn([usize; 3]) -> usize) -> Result<Array, String> {
    let [rows, draws, classes] = shape;
    let mut arranged = Vec::with_capacity(values.len());
    for row in 0..rows {
        for draw in 0..draws {
            arranged.extend((0..classes).map(|class| values[from([row, draw, class])]));
        }
    }
    Array::f32(shape.to_vec(), arranged).map_err(|error| error.to_string())
}

fn floats(array: &Array) -> Result<&[f32], String> {
    match array.as_f32() {
        Some(values) => Ok(values),
        None => Err(format!("values of type {}, expected f32", array.values().type_name())),
    }
}

fn last(array: &Array) -> usize {
    array.shape().last().copied().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [6, 4, 3];

    /// Probabilities of 6 rows, 4 draws and 3 classes.
    fn probability([row, draw, class]: [usize; 3]) -> f32 {
        let weights = [1 + row, 2 + draw, 3 + row * draw];
        weights[class] as f32 / weights.iter().sum::<usize>() as f32
    }

    /// The same in another order of dimensions: `order[i]` is the dimension of `SHAPE` that comes i-th.
    fn in_order(order: [usize; 3]) -> Array {
        let shape = order.map(|dimension| SHAPE[dimension]);
        let mut values = Vec::new();
        for i in 0..shape[0] {
            for j in 0..shape[1] {
                for k in 0..shape[2] {
                    let mut at = [0; 3];
                    for (dimension, index) in order.into_iter().zip([i, j, k]) {
                        at[dimension] = index;
                    }
                    values.push(probability(at).ln());
                }
            }
        }
        Array::f32(shape.to_vec(), values).unwrap()
    }

    fn read(order: [usize; 3], known: Known) -> Result<(Vec<usize>, Vec<f32>), String> {
        let array = draws_in_the_middle(in_order(order), known)?;
        Ok((array.shape().to_vec(), array.as_f32().unwrap().to_vec()))
    }

    #[test]
    fn draws_are_found_wherever_they_are() {
        let rows = Known { rows: Some(6), ..Known::default() };
        let expected = read([0, 1, 2], Known::default()).unwrap();
        assert_eq!(expected.0, SHAPE);
        for known in [rows, Known { draws: Some(4), ..Known::default() }] {
            for order in [[0, 1, 2], [1, 0, 2], [0, 2, 1]] {
                assert_eq!(read(order, known).unwrap(), expected, "{order:?} {known:?}");
            }
        }
        // Classes are found by their sums alone; four rows of six draws are as likely as six of four.
        assert_eq!(read([0, 2, 1], Known::default()).unwrap(), expected);
        let error = read([1, 0, 2], Known::default()).unwrap_err();
        assert!(error.contains("4 rows of 6 draws, or 6 rows of 4 draws"), "{error}");
    }

    #[test]
    fn probabilities_become_finite_logarithms() {
        let of = |values: [f32; 4]| logarithms(&Array::f32(vec![2, 2], values.to_vec()).unwrap());
        let found = of([1.0, 0.0, 0.25, 0.75]).unwrap();
        assert_eq!(found.as_f32().unwrap()[..], [0.0, f32::MIN_POSITIVE.ln(), 0.25f32.ln(), 0.75f32.ln()]);
        assert!(of([1.0, 0.0, 0.5, 0.4]).unwrap_err().contains("row 1 sum to 0.9"));
        assert!(of([1.0, 0.0, -0.5, 1.5]).unwrap_err().contains("-0.5 in row 1 is no probability"));
        assert!(of([1.0, 0.0, f32::NAN, 0.5]).unwrap_err().contains("NaN in row 1"));
        let nothing = finite(Array::f32(vec![1, 2], vec![f32::NEG_INFINITY, 0.0]).unwrap());
        assert_eq!(nothing.as_f32().unwrap()[..], [LOG_OF_NOTHING, 0.0]);
        assert_eq!(LOG_OF_NOTHING.exp(), 0.0);
    }

    #[test]
    fn spellings_lead_to_arrays() {
        for (spelling, array) in [
            ("probs", "logits"),
            ("labelled.probs", "labelled.logits"),
            ("labelled.member_probs", "labelled.member_log_probs"),
            ("target.mc_probs", "target.mc_log_probs"),
        ] {
            assert_eq!(becomes(spelling).as_deref(), Some(array));
        }
        for name in ["logits", "labelled.target.mc_probs", "labelled.logits", ""] {
            assert_eq!(becomes(name), None, "{name}");
        }
    }

    #[test]
    fn logits_are_told_from_probabilities() {
        let looks = |values: [f32; 4]| look_like_probabilities(&Array::f32(vec![2, 2], values.to_vec()).unwrap());
        assert!(looks([0.5, 0.5, 1.0, 0.0]) && !looks([0.5, 0.6, 1.0, 0.0]) && !looks([2.0, -1.0, 0.5, 0.5]));
    }
}
