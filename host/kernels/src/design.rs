//! Greedy experimental design for a linear head: the engine behind Fisher-information strategies.
//!
//! A row stands for the block `X = sqrt(weight) R (x) h`, with a factor R of `[blocks, rank]` and an embedding h of
//! `[width]`; what it tells is `X Xᵀ`. With M the information so far and F that of all rows together, the cost of a set
//! is `tr(M⁻¹ F)`. The engine keeps P = M⁻¹ and Q = P F P, and for each row S = Xᵀ P X and T = Xᵀ Q X, from which the
//! fall of the cost by adding the row is `tr((I + S)⁻¹ T)` and its rise by removing it `tr((I - S)⁻¹ T)`. A change of
//! the set is a change of low rank of all of these (Woodbury).

use std::ops::Range;

use querist_protocol::{DesignOptions, Fault, FaultCode};

use crate::check;
use crate::control::Pacer;
use crate::dense::{
    LANES, PANEL, Part, SIDE, add_products, dot_with, for_each_below, invert, invert_in_blocks, product, side_by_side,
    times, transpose,
};
use crate::memory::Charged;
use crate::workers::Workers;

mod rows;
mod small;

pub(crate) use rows::Blocks;
use rows::Rows;
use small::{AT_ONCE, SmallMatrices, move_squares};

/// Columns of a factor at most: a row's own small matrices are inverted in one go.
const MOST_RANK: usize = 1024;
/// Changes after which everything is computed afresh. P and Q fall fastest at first, and what rounding left of the old
/// values weighs more and more: so soon at first, then every `REFRESH` changes.
const FIRST_REFRESHES: [usize; 2] = [16, 128];
const REFRESH: usize = 1024;
/// A pivot of I - S below this makes a removal inexact: everything is computed afresh first.
const TINY_PIVOT: f64 = 1e-6;

/// The engine.
#[derive(Debug)]
pub(crate) struct Design {
    pool: Rows,
    labelled: Blocks,
    options: DesignOptions,
    /// P and Q, `[blocks * width, blocks * width]`.
    p: Charged<f64>,
    q: Charged<f64>,
    /// S and T of each row, `[rows, rank, rank]`.
    s: Charged<f64>,
    t: Charged<f64>,
    added: Vec<u32>,
    changes: usize,
    /// After a removal only added rows are kept up to date.
    removing: bool,
}

impl Design {
    pub(crate) fn new(
        workers: &Workers,
        data: Blocks,
        labelled: Blocks,
        options: DesignOptions,
    ) -> Result<Self, Fault> {
        let (columns, rank) = (data.factors.columns(), options.rank as usize);
        check::argument(rank > 0 && columns > 0 && columns.is_multiple_of(rank), || {
            format!("factors of {columns} values are no blocks of rank {rank}")
        })?;
        check::argument(data.embeddings.columns() > 0, || "the embeddings have no columns".to_owned())?;
        check::argument(rank <= MOST_RANK, || format!("the rank is {rank}, at most {MOST_RANK} is possible"))?;
        check::argument(options.ridge > 0.0 && options.ridge.is_finite(), || {
            format!("the ridge is {}, it must be finite and above 0", options.ridge)
        })?;
        check::weights(&[options.labelled_weight, options.added_weight])?;
        check::same(data.embeddings.rows(), data.factors.rows(), "rows of the embeddings")?;
        check::same(labelled.embeddings.rows(), labelled.factors.rows(), "labelled rows of the embeddings")?;
        check::same(labelled.factors.columns(), columns, "columns of the labelled factors")?;
        check::same(labelled.embeddings.columns(), data.embeddings.columns(), "columns of the labelled embeddings")?;
        let (blocks, width, rows) = (columns / rank, data.embeddings.columns(), data.factors.rows());
        let order = check::product(blocks, width)?;
        let control = workers.control();
        let square = || Charged::filled(control, check::product(order, order)?, 0.0);
        let small = || Charged::filled(control, check::product(rows, check::product(rank, rank)?)?, 0.0);
        let mut design = Self {
            p: square()?,
            q: square()?,
            s: small()?,
            t: small()?,
            pool: Rows { data, rank, blocks, width, weight: options.added_weight },
            labelled,
            options,
            added: Vec::new(),
            changes: 0,
            removing: false,
        };
        design.rebuild(workers)?;
        Ok(design)
    }

    /// The row that lowers the cost most, with the fall; `None` where all are added or one was removed.
    pub(crate) fn best(&self, workers: &Workers) -> Result<Option<(u32, f64)>, Fault> {
        if self.removing {
            return Err(Fault::new(FaultCode::BadArgument, "rows cannot be added once one was removed"));
        }
        let mut taken = Charged::filled(workers.control(), self.pool.data.factors.rows(), false)?;
        for &row in &self.added {
            taken[row as usize] = true;
        }
        let mut gains = Charged::filled(workers.control(), taken.len(), f64::NEG_INFINITY)?;
        workers.fill(&mut gains, 256, |start, out| {
            let mut pacer = Pacer::new(workers.control());
            let mut small = SmallMatrices::new(self.pool.blocks, self.pool.rank);
            for (i, out) in out.chunks_mut(AT_ONCE).enumerate() {
                pacer.spend(AT_ONCE * self.pool.rank.pow(3))?;
                let first = start + i * AT_ONCE;
                for lane in 0..out.len() {
                    small.load_squares(lane, &self.s[self.span(first + lane)], &self.t[self.span(first + lane)]);
                }
                let gains = small::gains(&mut small, self.pool.rank);
                for (lane, out) in out.iter_mut().enumerate().filter(|(lane, _)| !taken[first + lane]) {
                    *out = gains[lane];
                }
            }
            Ok(())
        })?;
        let mut best: Option<(u32, f64)> = None;
        for (row, &gain) in gains.iter().enumerate().filter(|(row, _)| !taken[*row]) {
            finite(row, gain)?;
            if best.is_none_or(|(_, most)| gain > most) {
                best = Some((row as u32, gain));
            }
        }
        Ok(best)
    }

    /// The added row whose removal raises the cost least, with the rise; the lowest row among equals.
    pub(crate) fn least(&self) -> Result<Option<(u32, f64)>, Fault> {
        let mut least: Option<(u32, f64)> = None;
        for &row in &self.added {
            let loss = self.change(row as usize, -1.0);
            finite(row as usize, loss)?;
            if least.is_none_or(|(lowest, smallest)| loss < smallest || (loss == smallest && row < lowest)) {
                least = Some((row, loss));
            }
        }
        Ok(least)
    }

    pub(crate) fn add(&mut self, workers: &Workers, row: u32) -> Result<(), Fault> {
        check::rows(&[row], self.pool.data.factors.rows())?;
        check::argument(!self.removing && !self.added.contains(&row), || {
            format!("row {row} cannot be added: it was added already, or a row was removed")
        })?;
        self.apply(workers, row as usize, 1.0)?;
        self.added.push(row);
        self.count_change(workers)
    }

    pub(crate) fn remove(&mut self, workers: &Workers, row: u32) -> Result<(), Fault> {
        let place = self.added.iter().position(|&added| added == row);
        let place = place.ok_or_else(|| Fault::new(FaultCode::BadIndex, format!("row {row} was not added")))?;
        if self.inverse(row as usize, -1.0).1 < TINY_PIVOT {
            self.rebuild(workers)?;
        }
        self.removing = true;
        self.apply(workers, row as usize, -1.0)?;
        self.added.remove(place);
        self.count_change(workers)
    }

    fn count_change(&mut self, workers: &Workers) -> Result<(), Fault> {
        self.changes += 1;
        let due = self.changes.is_multiple_of(REFRESH) || FIRST_REFRESHES.contains(&self.changes);
        if due { self.rebuild(workers) } else { Ok(()) }
    }

    /// Where S and T of a row lie.
    fn span(&self, row: usize) -> Range<usize> {
        let sq = self.pool.rank * self.pool.rank;
        row * sq..(row + 1) * sq
    }

    /// (I + sign S)⁻¹ of a row, and its smallest pivot.
    fn inverse(&self, row: usize, sign: f64) -> (Vec<f64>, f64) {
        let mut inner: Vec<f64> = self.s[self.span(row)].iter().map(|s| sign * s).collect();
        let rank = self.pool.rank;
        for i in 0..rank {
            inner[i * rank + i] += 1.0;
        }
        let pivot = invert(&mut inner, rank);
        (inner, pivot)
    }

    /// tr((I + sign S)⁻¹ T) of a row.
    fn change(&self, row: usize, sign: f64) -> f64 {
        let (inverse, _) = self.inverse(row, sign);
        // Both are symmetric.
        inverse.iter().zip(&self.t[self.span(row)]).map(|(a, b)| a * b).sum()
    }

    /// Everything that follows from P and Q when `row` is added (`sign` 1) or removed (-1).
    fn apply(&mut self, workers: &Workers, row: usize, sign: f64) -> Result<(), Fault> {
        let (order, rank) = (self.pool.order(), self.pool.rank);
        let (mut k, _) = self.inverse(row, sign);
        k.iter_mut().for_each(|k| *k *= sign);
        let t = self.t[self.span(row)].to_vec();
        let ktk = product(&product(&k, &t, rank), &k, rank);
        let mut u = Charged::filled(workers.control(), order * rank, 0.0)?;
        let mut w = Charged::filled(workers.control(), order * rank, 0.0)?;
        self.pool.times_block(workers, &self.p, row, &mut u)?;
        self.pool.times_block(workers, &self.q, row, &mut w)?;
        self.move_rows(workers, (&u, &w), &k, &ktk)?;
        self.move_squares(workers, (&u, &w), &k, &ktk)
    }

    /// Moves S and T of all rows, or once rows are removed of the added ones.
    fn move_rows(&mut self, workers: &Workers, (u, w): (&[f64], &[f64]), k: &[f64], ktk: &[f64]) -> Result<(), Fault> {
        let Rows { rank, width, blocks, .. } = self.pool;
        let sq = rank * rank;
        // U and W as `[width, 2 * blocks * rank]`: one product with an embedding gives all that a row needs. Where they
        // are narrow, their columns lie one after the other instead.
        let narrow = 2 * blocks * rank < LANES;
        // What fills the last lanes is never read.
        let across = if narrow { 2 * blocks * rank } else { (2 * blocks * rank).next_multiple_of(LANES) };
        let mut both = Charged::filled(workers.control(), width * across, 0.0)?;
        for (which, side) in [u, w].into_iter().enumerate() {
            for (line, values) in side.chunks_exact(rank).enumerate() {
                let (block, d) = (line / width, line % width);
                for (b, &value) in values.iter().enumerate() {
                    let column = (which * blocks + block) * rank + b;
                    both[if narrow { column * width + d } else { d * across + column }] = value;
                }
            }
        }
        let scale = self.pool.weight.sqrt();
        let (pool, removing) = (&self.pool.data, self.removing);
        let mut moving = Charged::filled(workers.control(), pool.factors.rows(), !removing)?;
        for &row in self.added.iter().filter(|_| removing) {
            moving[row as usize] = true;
        }
        let task = PANEL * sq;
        workers.fill_two((&mut self.s, &mut self.t), task, |start, s, t| {
            let mut pacer = Pacer::new(workers.control());
            let first = start / sq;
            let rows: Vec<usize> = (first..first + s.len() / sq).filter(|&row| moving[row]).collect();
            let mut y = vec![0.0; rows.len() * across];
            pacer.spend(rows.len() * width * across / 4)?;
            if narrow {
                for (&row, y) in rows.iter().zip(y.chunks_exact_mut(across)) {
                    for (y, column) in y.iter_mut().zip(both.chunks_exact(width)) {
                        *y = dot_with(&pool.embeddings.row(row), column);
                    }
                }
            } else {
                let left = side_by_side(rows.iter().map(|&row| pool.embeddings.row(row)), 0..width);
                add_products((&mut y, across, 0, rows.len()), &left, width, (&both, across), across);
            }
            let mut small = SmallMatrices::new(blocks, rank);
            for (rows, y) in rows.chunks(AT_ONCE).zip(y.chunks(AT_ONCE * across)) {
                for (lane, (&row, y)) in rows.iter().zip(y.chunks_exact(across)).enumerate() {
                    let at = (row - first) * sq;
                    small.load(lane, &pool.factors.row(row), y, (&s[at..at + sq], &t[at..at + sq]));
                }
                move_squares(&mut small, rank, scale, k, ktk);
                for (lane, &row) in rows.iter().enumerate() {
                    let at = (row - first) * sq;
                    small.store(lane, &mut s[at..at + sq], &mut t[at..at + sq]);
                }
            }
            Ok(())
        })
    }

    /// P -= U K Uᵀ and Q -= U K Wᵀ + (W K - U K T K) Uᵀ.
    fn move_squares(
        &mut self,
        workers: &Workers,
        (u, w): (&[f64], &[f64]),
        k: &[f64],
        ktk: &[f64],
    ) -> Result<(), Fault> {
        let (order, rank) = (self.pool.order(), self.pool.rank);
        let control = workers.control();
        let mut across = Charged::filled(control, 2 * rank * order, 0.0)?;
        for (which, side) in [u, w].into_iter().enumerate() {
            for (line, side) in side.chunks_exact(rank).enumerate() {
                for (b, &value) in side.iter().enumerate() {
                    across[(which * rank + b) * order + line] = value;
                }
            }
        }
        // Coefficients of Uᵀ and Wᵀ for one line of P and of Q.
        let uk = |line: usize, b: usize| -> f64 { (0..rank).map(|a| u[line * rank + a] * k[a * rank + b]).sum() };
        let of_q = |line: usize, b: usize| -> f64 {
            (0..rank).map(|a| u[line * rank + a] * ktk[a * rank + b] - w[line * rank + a] * k[a * rank + b]).sum()
        };
        workers.fill_two((&mut self.p, &mut self.q), 4 * SIDE * order, |start, p, q| {
            control.check()?;
            let (first, lines) = (start / order, p.len() / order);
            let groups = lines.div_ceil(SIDE);
            let (mut left_p, mut left_q) = (vec![[0.0; SIDE]; groups * rank], vec![[0.0; SIDE]; groups * 2 * rank]);
            for line in 0..lines {
                let (group, side) = (line / SIDE, line % SIDE);
                for b in 0..rank {
                    let along = -uk(first + line, b);
                    left_p[group * rank + b][side] = along;
                    left_q[group * 2 * rank + b][side] = of_q(first + line, b);
                    left_q[group * 2 * rank + rank + b][side] = along;
                }
            }
            add_products((p, order, 0, lines), &left_p, rank, (&across, order), order);
            add_products((q, order, 0, lines), &left_q, 2 * rank, (&across, order), order);
            Ok(())
        })
    }

    /// P, Q, S and T from the data and the rows added so far.
    fn rebuild(&mut self, workers: &Workers) -> Result<(), Fault> {
        let order = self.pool.order();
        let everything = |data: &Blocks| (0..data.factors.rows() as u32).collect::<Vec<_>>();
        let (pool, labelled) = (&self.pool.data, &self.labelled);
        self.p.fill(0.0);
        let weight = self.options.labelled_weight;
        self.pool.add_information(workers, &mut self.p, labelled, &everything(labelled), weight)?;
        self.pool.add_information(workers, &mut self.p, pool, &self.added, self.options.added_weight)?;
        for i in 0..order {
            self.p[i * order + i] += self.options.ridge;
        }
        self.pool.complete(&mut self.p);
        invert_in_blocks(workers, &mut self.p, order)?;
        let share = 1.0 / (pool.factors.rows() + labelled.factors.rows()).max(1) as f64;
        self.q.fill(0.0);
        self.pool.add_information(workers, &mut self.q, pool, &everything(pool), share)?;
        self.pool.add_information(workers, &mut self.q, labelled, &everything(labelled), share)?;
        self.pool.complete(&mut self.q);
        // F P, then its transpose P F, then P F P, which is symmetric again.
        times(workers, &mut self.q, &self.p, order, Part::All)?;
        transpose(&mut self.q, order);
        times(workers, &mut self.q, &self.p, order, Part::Upper)?;
        for_each_below(order, |i, j| self.q[i * order + j] = self.q[j * order + i]);
        if !self.removing {
            self.pool.compress(workers, &self.p, &everything(pool), &mut self.s)?;
            return self.pool.compress(workers, &self.q, &everything(pool), &mut self.t);
        }
        // Only what may still be removed.
        let sq = self.pool.rank * self.pool.rank;
        let mut out = Charged::filled(workers.control(), self.added.len() * sq, 0.0)?;
        for (matrix, target) in [(&self.p, &mut self.s), (&self.q, &mut self.t)] {
            self.pool.compress(workers, matrix, &self.added, &mut out)?;
            for (&row, out) in self.added.iter().zip(out.chunks_exact(sq)) {
                target[row as usize * sq..][..sq].copy_from_slice(out);
            }
        }
        Ok(())
    }
}

fn finite(row: usize, change: f64) -> Result<(), Fault> {
    if change.is_finite() {
        return Ok(());
    }
    let message = format!("the information of row {row} overflows; scale the embeddings down or raise the ridge");
    Err(Fault::new(FaultCode::NonFinite, message))
}
