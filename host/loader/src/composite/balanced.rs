//! One strategy inside quotas of predicted classes, which fill up what labelled classes lack.
//!
//! With n_c the labels of class c, N_c the rows of the pool that are predicted as c, and t_c the wanted shares, class c
//! lacks `t_c (L + b) - n_c` labels. One unit after the other goes to the class that lacks most, as long as it has
//! rows: that makes `sum_c (n_c + q_c - t_c (L + b))²` as small as any quotas q do.
//!
//! - `greedy`: the member is asked, once a class, for as many of its rows as it has units. They are picked in the order
//!   in which the units were handed out.
//! - `exact`: of all batches the one with the largest `sum_i u_i - lambda sum_c |q_c - max(t_c (L + b) - n_c, 0)|`,
//!   with u the member's scores. Inside a class only its best rows count, and what one more of them adds only falls, so
//!   the batch is the largest of these additions.
//!
//! Bengar, van de Weijer, Fuentes and Raducanu, "Class-Balanced Active Learning for Image Classification", WACV 2022.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use querist_core::{Answer, Failure, Query, QueryError, Usage};
use querist_protocol::Selection;

use super::members::{Members, add};
use super::own::{Own, wrong_params};
use crate::package::combine::{Balanced, Form, Named, Scale, Shares};

/// Deficits that differ by less count as equal: shares are rounded.
const EQUAL: f64 = 1e-9;

/// What is known of the classes.
struct Classes {
    /// The predicted class of each row.
    predicted: Vec<u32>,
    /// Labels of each.
    labelled: Vec<u64>,
    /// Rows predicted as each.
    rows: Vec<u64>,
    /// How many labels of each there should be.
    wanted: Vec<f64>,
    /// Which are served only when nothing else is left.
    ignored: Vec<bool>,
}

/// Asks the member for rows of each class.
pub(super) fn query(balanced: &Balanced, members: &mut Members, query: &Query<'_>) -> Result<Answer, QueryError> {
    let classes = Classes::of(balanced, members, query).map_err(|failure| members.failed(failure))?;
    match balanced.form {
        Form::Greedy => greedy(&classes, members, query),
        Form::Exact => exact(balanced, &classes, members, query),
    }
}

impl Classes {
    fn of(balanced: &Balanced, members: &Members, query: &Query<'_>) -> Result<Self, Failure> {
        let own = Own::open(members, query)?;
        let predicted = own.predicted()?;
        let (labelled, rows) = (own.counted(&own.labels()?), own.counted(&predicted));
        let mut ignored = vec![false; rows.len()];
        for &class in &balanced.ignore {
            let class = ignored.get_mut(class as usize);
            *class.ok_or_else(|| wrong_params(format!("`ignore` names a class above {}", rows.len() as i64 - 1)))? =
                true;
        }
        let total = (labelled.iter().sum::<u64>() as usize + query.wanted()) as f64;
        let shares = balanced.target.of(&rows, &ignored)?;
        let wanted = shares.into_iter().map(|share| share * total).collect();
        Ok(Self { predicted, labelled, rows, wanted, ignored })
    }

    /// The class of each of `count` units, in the order in which they are handed out.
    fn units(&self, count: usize) -> Vec<u32> {
        let mut given = vec![0u64; self.rows.len()];
        let mut units = Vec::with_capacity(count);
        while units.len() < count {
            let Some(class) = self.neediest(&given) else { break };
            given[class] += 1;
            units.push(class as u32);
        }
        units
    }

    /// The class that lacks most, the lowest among equals, of those that have rows left.
    fn neediest(&self, given: &[u64]) -> Option<usize> {
        let lacks = |class: usize| self.wanted[class] - (self.labelled[class] + given[class]) as f64;
        let open = (0..given.len()).filter(|&class| given[class] < self.rows[class]);
        open.reduce(|best, class| {
            let comes_first = match (self.ignored[best], self.ignored[class]) {
                (true, false) => true,
                (false, true) => false,
                _ => lacks(class) > lacks(best) + EQUAL,
            };
            if comes_first { class } else { best }
        })
    }

    /// The rows predicted as a class, ascending.
    fn rows_of(&self, class: u32) -> Vec<u32> {
        (0..self.predicted.len() as u32).filter(|&row| self.predicted[row as usize] == class).collect()
    }
}

impl Shares {
    /// The wanted share of each class, of `rows` rows each; ignored classes have none.
    pub(super) fn of(&self, rows: &[u64], ignored: &[bool]) -> Result<Vec<f64>, Failure> {
        let mut shares: Vec<f64> = match self {
            Self::Named(Named::Uniform) => vec![1.0; rows.len()],
            Self::Named(Named::Pool) => rows.iter().map(|&rows| rows as f64).collect(),
            Self::Given(given) if given.len() == rows.len() => given.clone(),
            Self::Given(given) => {
                let message = format!("`target` has {} shares, but the task has {} classes", given.len(), rows.len());
                return Err(wrong_params(message));
            }
        };
        shares.iter_mut().zip(ignored).filter(|(_, ignored)| **ignored).for_each(|(share, _)| *share = 0.0);
        let sum: f64 = shares.iter().sum();
        if !(sum > 0.0 && sum.is_finite()) || shares.iter().any(|share| *share < 0.0) {
            return Err(wrong_params("`target` wants nothing: its shares must be at least 0, and their sum above 0"));
        }
        shares.iter_mut().for_each(|share| *share /= sum);
        Ok(shares)
    }
}

fn greedy(classes: &Classes, members: &mut Members, query: &Query<'_>) -> Result<Answer, QueryError> {
    let units = classes.units(query.wanted());
    let mut quotas = vec![0usize; classes.rows.len()];
    units.iter().for_each(|&class| quotas[class as usize] += 1);
    let mut usage: Option<Usage> = None;
    let mut queues: Vec<std::vec::IntoIter<(u32, Option<f64>)>> = Vec::with_capacity(quotas.len());
    // Of strategies that score rows one by one, one ranking holds that of every class.
    let ranking = match members.scorers[0] {
        true => {
            let answer = members.picked(0, query, None, classes.predicted.len())?;
            add(&mut usage, answer.usage);
            Some(pairs(&answer.selection))
        }
        false => None,
    };
    for (class, &quota) in quotas.iter().enumerate() {
        let rows = match &ranking {
            _ if quota == 0 => Vec::new(),
            Some(ranking) => {
                let of_class = |(row, _): &&(u32, _)| classes.predicted[*row as usize] == class as u32;
                ranking.iter().filter(of_class).take(quota).copied().collect()
            }
            None => {
                let rows = classes.rows_of(class as u32);
                let answer = members.picked(0, query, Some(&rows), quota)?;
                add(&mut usage, answer.usage);
                pairs(&answer.selection)
            }
        };
        queues.push(rows.into_iter());
    }
    let picked = units.iter().filter_map(|&class| queues[class as usize].next());
    let mut selection = joined(picked);
    classes.describe(&mut selection);
    Ok(Answer { selection, usage: usage.unwrap_or_default(), ..Answer::default() })
}

/// Rows with their scores, if they have some.
fn pairs(selection: &Selection) -> Vec<(u32, Option<f64>)> {
    let score = |at: usize| selection.scores.get(at).copied();
    selection.rows.iter().enumerate().map(|(at, &row)| (row, score(at))).collect()
}

/// Picks in order; with scores if all have some.
fn joined(picked: impl Iterator<Item = (u32, Option<f64>)>) -> Selection {
    let (rows, scores): (Vec<u32>, Vec<Option<f64>>) = picked.unzip();
    let scores = scores.into_iter().collect::<Option<Vec<f64>>>().unwrap_or_default();
    Selection { rows, scores, ..Selection::default() }
}

impl Classes {
    /// Says how far the classes are from what is wanted, with the picks.
    fn describe(&self, selection: &mut Selection) {
        let mut counts: Vec<f64> = self.labelled.iter().map(|&count| count as f64).collect();
        selection.rows.iter().for_each(|&row| counts[self.predicted[row as usize] as usize] += 1.0);
        let apart: f64 = counts.iter().zip(&self.wanted).map(|(count, wanted)| (count - wanted).abs()).sum();
        let classes = selection.rows.iter().map(|&row| self.predicted[row as usize]);
        let classes = classes.collect::<std::collections::BTreeSet<_>>().len();
        selection.diagnostics.push(("balance_gap".to_owned(), apart));
        selection.diagnostics.push(("picked_classes".to_owned(), classes as f64));
    }
}

fn exact(
    balanced: &Balanced,
    classes: &Classes,
    members: &mut Members,
    query: &Query<'_>,
) -> Result<Answer, QueryError> {
    let answer = members.picked(0, query, None, classes.predicted.len())?;
    let order = answer.selection.rows;
    if answer.selection.scores.len() != order.len() {
        let member = &members.strategies[0].identity().id;
        let message = format!("`form = \"exact\"` needs a score of every row, and `{member}` gives none");
        return Err(members.failed(wrong_params(message)));
    }
    let scores = balanced.normalise.of(&answer.selection.scores);
    let (rows, objective) = best(balanced.lambda, classes, &order, &scores, query.wanted());
    let mut value = vec![0.0; order.len()];
    order.iter().zip(&scores).for_each(|(&row, &score)| value[row as usize] = score);
    let mut picked = rows;
    picked.sort_by(|&a, &b| value[b as usize].total_cmp(&value[a as usize]).then(a.cmp(&b)));
    let mut selection = joined(picked.into_iter().map(|row| (row, Some(value[row as usize]))));
    classes.describe(&mut selection);
    selection.diagnostics.push(("objective".to_owned(), objective));
    Ok(Answer { selection, usage: answer.usage, ..Answer::default() })
}

impl Scale {
    /// Scores from the largest to the smallest, scaled.
    fn of(self, scores: &[f64]) -> Vec<f64> {
        let (high, low) = (scores.first().copied().unwrap_or(0.0), scores.last().copied().unwrap_or(0.0));
        match self {
            Self::None => scores.to_vec(),
            Self::Range if high > low => scores.iter().map(|score| (score - low) / (high - low)).collect(),
            Self::Range => vec![0.0; scores.len()],
            Self::Rank => ranks(scores),
        }
    }
}

/// Shares of the other values that are smaller, those that are equal half; of values from the largest to the smallest.
pub(super) fn ranks(descending: &[f64]) -> Vec<f64> {
    let count = descending.len();
    let mut ranks = Vec::with_capacity(count);
    while ranks.len() < count {
        let first = ranks.len();
        let ties = descending[first..].iter().take_while(|&&value| value == descending[first]).count();
        let above = first as f64 + (ties - 1) as f64 / 2.0;
        let rank = if count > 1 { 1.0 - above / (count - 1) as f64 } else { 1.0 };
        ranks.extend(std::iter::repeat_n(rank, ties));
    }
    ranks
}

/// The next row of a class by what it adds.
#[derive(PartialEq)]
struct Addition {
    value: f64,
    class: u32,
    /// How many rows of the class come before.
    before: usize,
}

impl Eq for Addition {}

impl Ord for Addition {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.total_cmp(&other.value).then(other.class.cmp(&self.class)).then(other.before.cmp(&self.before))
    }
}

impl PartialOrd for Addition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The rows of the batch with the largest objective, and that. `order` are rows with falling `scores`.
fn best(lambda: f64, classes: &Classes, order: &[u32], scores: &[f64], count: usize) -> (Vec<u32>, f64) {
    let mut queues = vec![Vec::new(); classes.rows.len()];
    for (&row, &score) in order.iter().zip(scores) {
        queues[classes.predicted[row as usize] as usize].push((row, score));
    }
    // Rows of equal scores by ascending row, whatever the member's second thoughts.
    for queue in &mut queues {
        queue.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    }
    let lack = |class: usize| (classes.wanted[class] - classes.labelled[class] as f64).max(0.0);
    let apart = |class: usize, count: usize| (count as f64 - lack(class)).abs();
    let addition = |class: usize, before: usize| {
        let (_, score) = queues[class].get(before)?;
        let value = score - lambda * (apart(class, before + 1) - apart(class, before));
        Some(Addition { value, class: class as u32, before })
    };
    let mut heap: BinaryHeap<Addition> = (0..queues.len()).filter_map(|class| addition(class, 0)).collect();
    let mut rows = Vec::with_capacity(count);
    let mut objective = -lambda * (0..queues.len()).map(lack).sum::<f64>();
    while rows.len() < count
        && let Some(top) = heap.pop()
    {
        objective += top.value;
        rows.push(queues[top.class as usize][top.before].0);
        heap.extend(addition(top.class as usize, top.before + 1));
    }
    (rows, objective)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(labelled: &[u64], rows: &[u64], wanted: &[f64]) -> Classes {
        let predicted = rows.iter().enumerate().flat_map(|(c, &n)| std::iter::repeat_n(c as u32, n as usize)).collect();
        let ignored = vec![false; rows.len()];
        Classes { predicted, labelled: labelled.to_vec(), rows: rows.to_vec(), wanted: wanted.to_vec(), ignored }
    }

    #[test]
    fn units_go_where_most_is_lacking() {
        let all = classes(&[5, 2, 0], &[10, 10, 2], &[13.0 / 3.0; 3]);
        assert_eq!(all.units(6), [2, 2, 1, 1, 1, 0]);
        assert_eq!(all.units(4), all.units(6)[..4], "a larger batch begins alike");
        let ignoring = Classes { ignored: vec![false, false, true], ..all };
        assert_eq!(ignoring.units(22)[20..], [2, 2], "what is ignored comes last");
    }

    /// All ways to give `count` units to classes with so many rows.
    fn all_quotas(rows: &[u64], count: u64) -> Vec<Vec<u64>> {
        match rows {
            [] => (count == 0).then(Vec::new).into_iter().collect(),
            [first, rest @ ..] => (0..=count.min(*first))
                .flat_map(|own| {
                    let with = move |quotas: Vec<u64>| [vec![own], quotas].concat();
                    all_quotas(rest, count - own).into_iter().map(with)
                })
                .collect(),
        }
    }

    #[test]
    fn no_quotas_come_nearer() {
        let mut numbers = querist_protocol::philox::Stream::new(7, 0);
        for _ in 0..200 {
            let rows: Vec<u64> = (0..4).map(|_| numbers.next_below(6)).collect();
            let labelled: Vec<u64> = (0..4).map(|_| numbers.next_below(9)).collect();
            let count = numbers.next_below(rows.iter().sum::<u64>() + 1);
            let total = (labelled.iter().sum::<u64>() + count) as f64;
            let shares: Vec<f64> = (0..4).map(|_| numbers.next_uniform()).collect();
            let sum: f64 = shares.iter().sum();
            let wanted: Vec<f64> = shares.iter().map(|share| share / sum * total).collect();
            let all = classes(&labelled, &rows, &wanted);
            let apart = |quotas: &[u64]| -> f64 {
                let of = |c: usize| (labelled[c] + quotas[c]) as f64 - wanted[c];
                (0..4).map(|c| of(c) * of(c)).sum()
            };
            let mut quotas = vec![0; 4];
            all.units(count as usize).iter().for_each(|&class| quotas[class as usize] += 1);
            let least = all_quotas(&rows, count).iter().map(|quotas| apart(quotas)).fold(f64::INFINITY, f64::min);
            assert!(apart(&quotas) <= least + 1e-9, "{quotas:?} of {rows:?}, {labelled:?}: {least}");
        }
    }

    #[test]
    fn no_batch_has_a_larger_objective() {
        let mut numbers = querist_protocol::philox::Stream::new(8, 0);
        for _ in 0..60 {
            let rows: Vec<u64> = (0..3).map(|_| numbers.next_below(5)).collect();
            let total: u64 = rows.iter().sum();
            let count = numbers.next_below(total + 1) as usize;
            let labelled: Vec<u64> = (0..3).map(|_| numbers.next_below(5)).collect();
            let wanted: Vec<f64> = (0..3).map(|_| numbers.next_uniform() * 8.0).collect();
            let all = classes(&labelled, &rows, &wanted);
            let lambda = numbers.next_uniform() * 2.0;
            let mut value: Vec<f64> = (0..total).map(|_| numbers.next_below(5) as f64 / 4.0).collect();
            let mut order: Vec<u32> = (0..total as u32).collect();
            order.sort_by(|&a, &b| value[b as usize].total_cmp(&value[a as usize]));
            let scores: Vec<f64> = order.iter().map(|&row| value[row as usize]).collect();
            let objective = |batch: &[u32]| -> f64 {
                let mut counts = [0.0; 3];
                batch.iter().for_each(|&row| counts[all.predicted[row as usize] as usize] += 1.0);
                let lack = |c: usize| (wanted[c] - labelled[c] as f64).max(0.0);
                let apart: f64 = (0..3).map(|c| (counts[c] - lack(c)).abs()).sum();
                batch.iter().map(|&row| value[row as usize]).sum::<f64>() - lambda * apart
            };
            let (found, said) = best(lambda, &all, &order, &scores, count);
            let subsets = (0u32..1 << total).filter(|set| set.count_ones() as usize == count);
            let of = |set: u32| (0..total as u32).filter(|row| set >> row & 1 == 1).collect::<Vec<u32>>();
            let most = subsets.map(|set| objective(&of(set))).fold(f64::NEG_INFINITY, f64::max);
            assert!((objective(&found) - most).abs() < 1e-9 && (said - most).abs() < 1e-9, "{said}, most {most}");
            value.clear();
        }
    }

    #[test]
    fn equal_values_have_equal_ranks() {
        assert_eq!(ranks(&[9.0, 4.0, 4.0, 1.0, 0.0]), [1.0, 0.625, 0.625, 0.25, 0.0]);
        assert_eq!((ranks(&[3.0]), ranks(&[2.0, 2.0])), (vec![1.0], vec![0.5, 0.5]));
    }
}
