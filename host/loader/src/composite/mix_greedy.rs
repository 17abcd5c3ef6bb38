//! The picks, by sums that only fall.

use std::collections::{BTreeMap, BinaryHeap};

use querist_core::{Failure, Query};
use querist_protocol::names;

use super::mix_apart::{Apart, Place};
use super::mix_terms::{Ready, Terms, looks_at_labelled};
use super::own::{Own, wrong_params};
use crate::package::combine::{AtMost, Kind, Mix, Shares};

/// What was picked.
pub(super) struct Picked {
    pub(super) rows: Vec<u32>,
    pub(super) scores: Vec<f64>,
    /// What each term added to each pick.
    pub(super) parts: Vec<Vec<f64>>,
    pub(super) is_short: bool,
    /// Rows that were not picked because of a constraint.
    pub(super) blocked_by_distance: u32,
    pub(super) blocked_by_group: u32,
}

/// A query under way.
pub(super) struct Greedy<'a> {
    own: &'a Own,
    terms: Terms,
    apart: Option<Apart>,
    classes: Option<Classes>,
    groups: Option<Groups>,
    picks: Vec<u32>,
}

impl<'a> Greedy<'a> {
    pub(super) fn new(mix: &Mix, own: &'a Own, query: &Query<'_>, terms: Terms) -> Result<Self, Failure> {
        let apart = looks_at_labelled(mix).then(|| Apart::of(mix, own, query)).transpose()?;
        let target = mix.terms.iter().find(|term| term.kind == Kind::Classes && term.weight > 0.0);
        let classes =
            target.map(|term| Classes::of(own, term.target.clone().unwrap_or_default(), query)).transpose()?;
        let groups = mix.at_most.as_ref().map(|at_most| Groups::of(own, at_most)).transpose()?;
        Ok(Self { own, terms, apart, classes, groups, picks: Vec::new() })
    }

    pub(super) fn pick(mut self, query: &Query<'_>) -> Result<Picked, Failure> {
        let rows = query.arrays.ids().len() as u32;
        let mut picked = Picked {
            rows: Vec::new(),
            scores: Vec::new(),
            parts: vec![Vec::new(); self.terms.ready.len()],
            is_short: false,
            blocked_by_distance: 0,
            blocked_by_group: 0,
        };
        let mut queue = self.queue(rows);
        while picked.rows.len() < query.wanted() {
            let Some(top) = self.best(&mut queue, &mut picked)? else { break };
            for (parts, part) in picked.parts.iter_mut().zip(self.parts(top.row)) {
                parts.push(part);
            }
            picked.rows.push(top.row);
            picked.scores.push(top.sum);
            if self.take(top.row)? {
                // The first pick of all: distances to it take the place of those to the mean.
                queue = self.queue(rows);
            }
            self.own.calls().progress(picked.rows.len() as u64, query.wanted() as u64)?;
        }
        picked.is_short = picked.rows.len() < query.wanted();
        Ok(picked)
    }

    /// All rows that are not picked, by their sums.
    fn queue(&self, rows: u32) -> BinaryHeap<Place> {
        let open = (0..rows).filter(|row| !self.picks.contains(row));
        open.map(|row| Place { sum: self.sum(row), row }).collect()
    }

    /// The row of the largest sum that the constraints allow, the lowest among equals, which leaves the queue.
    fn best(&mut self, queue: &mut BinaryHeap<Place>, picked: &mut Picked) -> Result<Option<Place>, Failure> {
        while let Some(top) = queue.pop() {
            if self.groups.as_ref().is_some_and(|groups| groups.is_full(top.row)) {
                picked.blocked_by_group += 1;
                continue;
            }
            if let Some(apart) = self.apart.as_mut().filter(|apart| apart.waits(top.row)) {
                queue.push(top);
                let looked = apart.look_from_the_top(self.own, queue)?;
                queue.extend(looked.into_iter().map(|row| Place { sum: self.sum(row), row }));
                continue;
            }
            let is_settled = self.apart.as_mut().is_none_or(|apart| apart.advance(top.row, &self.picks));
            if self.apart.as_ref().is_some_and(|apart| apart.is_near(top.row)) {
                picked.blocked_by_distance += 1;
                continue;
            }
            let place = Place { sum: self.sum(top.row), ..top };
            if is_settled && place.sum == top.sum {
                return Ok(Some(place));
            }
            queue.push(place);
        }
        Ok(None)
    }

    /// What each term makes of a row, as far as it knows the picks.
    fn parts(&self, row: u32) -> impl Iterator<Item = f64> {
        self.terms.ready.iter().map(move |term| match term {
            Ready::Fixed(values) => values[row as usize],
            Ready::Diversity(weight) => weight * self.apart.as_ref().map_or(0.0, |apart| apart.value(row)),
            Ready::Classes(weight) => weight * self.classes.as_ref().map_or(0.0, |classes| classes.value(row)),
            Ready::Nothing => 0.0,
        })
    }

    fn sum(&self, row: u32) -> f64 {
        self.parts(row).fold(0.0, |sum, part| sum + part)
    }

    /// Takes a row; whether distances to it take the place of others.
    fn take(&mut self, row: u32) -> Result<bool, Failure> {
        self.picks.push(row);
        if let Some(classes) = &mut self.classes {
            classes.take(row);
        }
        if let Some(groups) = &mut self.groups {
            groups.take(row);
        }
        match &mut self.apart {
            Some(apart) if apart.is_at_the_mean() => {
                apart.begin(row);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// How far the predicted classes are from their shares.
struct Classes {
    predicted: Vec<u32>,
    /// What each lacks, in labels and picks.
    lack: Vec<f64>,
    scale: f64,
}

impl Classes {
    fn of(own: &Own, target: Shares, query: &Query<'_>) -> Result<Self, Failure> {
        let predicted = own.predicted()?;
        let (labelled, rows) = (own.counted(&own.labels()?), own.counted(&predicted));
        let shares = target.of(&rows, &vec![false; rows.len()])?;
        let total = (labelled.iter().sum::<u64>() as usize + query.wanted()) as f64;
        let lack: Vec<f64> =
            shares.iter().zip(&labelled).map(|(share, &labelled)| share * total - labelled as f64).collect();
        // Above 0: what they lack sums up to the batch.
        let scale = lack.iter().map(|lack| lack.abs()).fold(0.0, f64::max);
        Ok(Self { predicted, lack, scale })
    }

    fn value(&self, row: u32) -> f64 {
        self.lack[self.predicted[row as usize] as usize] / self.scale
    }

    fn take(&mut self, row: u32) {
        self.lack[self.predicted[row as usize] as usize] -= 1.0;
    }
}

/// Picks of each value of a column.
struct Groups {
    of_row: Vec<i64>,
    taken: BTreeMap<i64, u32>,
    most: u32,
}

impl Groups {
    fn of(own: &Own, at_most: &AtMost) -> Result<Self, Failure> {
        let of_row = whole_numbers(own, &at_most.group)?;
        let mut taken = BTreeMap::new();
        for group in whole_numbers(own, &format!("{}{}", names::LABELLED, at_most.group))? {
            *taken.entry(group).or_insert(0) += 1;
        }
        Ok(Self { of_row, taken, most: at_most.count })
    }

    fn is_full(&self, row: u32) -> bool {
        self.taken.get(&self.of_row[row as usize]).is_some_and(|&taken| taken >= self.most)
    }

    fn take(&mut self, row: u32) {
        *self.taken.entry(self.of_row[row as usize]).or_insert(0) += 1;
    }
}

/// A column of whole numbers.
fn whole_numbers(own: &Own, name: &str) -> Result<Vec<i64>, Failure> {
    let column = own.calls().input(name)?;
    let (rows, columns) = own.calls().matrix_shape(column)?;
    if rows > 0 && columns != 1 {
        return Err(wrong_params(format!("`{name}` has {columns} columns; a group is one whole number a row")));
    }
    let mut numbers = Vec::with_capacity(rows as usize);
    let mut wrong = None;
    own.for_each_row(column, |row, values| {
        let value = values[0];
        // Larger ones are no longer told apart.
        if value.fract() != 0.0 || value.abs() > 16_777_216.0 {
            wrong.get_or_insert((row, value));
        }
        numbers.push(value as i64);
    })?;
    own.calls().release(column);
    match wrong {
        Some((row, value)) => {
            let expected = "expected whole numbers up to 16777216 as groups";
            Err(wrong_params(format!("`{name}` holds {value} in row {row}; {expected}")))
        }
        None => Ok(numbers),
    }
}
