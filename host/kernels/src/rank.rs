//! The largest values, and rows drawn by weight.

use std::cmp::Ordering;

use querist_protocol::{Fault, FaultCode};

use crate::memory::Charge;
use crate::workers::Workers;

/// Rows that are kept while the first are looked for, at least.
const LEAST_ROOM: usize = 1 << 12;

/// Rows whose weights are summed together.
pub(crate) const SUM_BLOCK: usize = 1024;

/// Rows of the `count` largest values, largest first; then the larger `second`, then the lower row.
pub(crate) fn top(
    workers: &Workers,
    values: &[f64],
    second: Option<&[f64]>,
    count: usize,
    excluded: Option<&[bool]>,
) -> Result<Vec<u32>, Fault> {
    workers.control().check()?;
    let room = count.saturating_mul(2).max(LEAST_ROOM).min(values.len());
    let _room = Charge::of::<u32>(workers.control(), room)?;
    let larger =
        |values: &[f64], a: u32, b: u32| values[b as usize].partial_cmp(&values[a as usize]).unwrap_or(Ordering::Equal);
    let order = |a: &u32, b: &u32| {
        let tie_broken = || second.map_or(Ordering::Equal, |second| larger(second, *a, *b));
        larger(values, *a, *b).then_with(tie_broken).then(a.cmp(b))
    };
    // Of all rows so far the first `count` and at most as many again are kept, so that memory is that of the answer.
    let mut best: Vec<u32> = Vec::with_capacity(room);
    let mut last = None;
    for row in 0..values.len() as u32 {
        let is_behind = last.is_some_and(|last| order(&row, &last).is_gt());
        if is_behind || excluded.is_some_and(|excluded| excluded[row as usize]) {
            continue;
        }
        if best.len() == room {
            last = keep_first(&mut best, count, order);
        }
        best.push(row);
    }
    keep_first(&mut best, count, order);
    best.sort_unstable_by(order);
    Ok(best)
}

/// Leaves the first `count` rows of those of an order, in any order; which of them is the last.
fn keep_first(rows: &mut Vec<u32>, count: usize, order: impl Fn(&u32, &u32) -> Ordering) -> Option<u32> {
    if count < rows.len() && count > 0 {
        rows.select_nth_unstable_by(count - 1, &order);
    }
    rows.truncate(count);
    rows.get(count.checked_sub(1)?).copied()
}

/// The row that the uniform number `u` draws by weight; `None` where every weight is 0.
pub(crate) fn draw(weights: &[f64], excluded: Option<&[bool]>, u: f64) -> Result<Option<u32>, Fault> {
    let weight = |row: usize| if excluded.is_some_and(|excluded| excluded[row]) { 0.0 } else { weights[row] };
    let blocks = weights.len().div_ceil(SUM_BLOCK);
    let sums: Vec<f64> = (0..blocks).map(|block| block_sum(block, weights.len(), weight)).collect();
    draw_from(&sums, weights.len(), weight, u)
}

/// Rows of a block.
pub(crate) fn rows_of(block: usize, rows: usize) -> std::ops::Range<usize> {
    block * SUM_BLOCK..((block + 1) * SUM_BLOCK).min(rows)
}

/// Sum of the weights of one block, in row order.
pub(crate) fn block_sum(block: usize, rows: usize, weight: impl Fn(usize) -> f64) -> f64 {
    rows_of(block, rows).fold(0.0, |sum, row| sum + weight(row))
}

/// [`draw`] from known sums of blocks.
///
/// The cumulative sum of a row is the sum of the blocks before its own, in order, plus the sum inside its block up to
/// it.
pub(crate) fn draw_from(
    sums: &[f64],
    rows: usize,
    weight: impl Fn(usize) -> f64,
    u: f64,
) -> Result<Option<u32>, Fault> {
    let total = sums.iter().fold(0.0, |total, sum| total + sum);
    if !total.is_finite() {
        return Err(Fault::new(FaultCode::NonFinite, format!("the sum of the weights is {total}")));
    }
    if total <= 0.0 {
        return Ok(None);
    }
    let target = u * total;
    let mut before = 0.0;
    for (block, sum) in sums.iter().enumerate() {
        if before + sum > target {
            let mut inside = 0.0;
            for row in rows_of(block, rows) {
                inside += weight(row);
                if before + inside > target {
                    return Ok(Some(row as u32));
                }
            }
        }
        before += sum;
    }
    // Rounding ran over the end.
    Ok((0..rows).rev().find(|&row| weight(row) > 0.0).map(|row| row as u32))
}
