//! Greedy experimental design for a linear head: the engine behind Fisher-information strategies.
//!
//! A row stands for the block `X = sqrt(weight) R (x) h`, with a factor R of `[blocks, rank]` and an embedding h of
//! `[width]`; what it tells is `X Xᵀ`. With M the information so far and F that of all rows together, the cost of a set
//! is `tr(M⁻¹ F)`. The engine keeps P = M⁻¹ and Q = P F P, and for each row S = Xᵀ P X and T = Xᵀ Q X, from which the
//! fall of the cost by adding the row is `tr((I + S)⁻¹ T)` and its rise by removing it `tr((I - S)⁻¹ T)`. A change of the
//! set is a change of low rank of all of these (Woodbury).

use std::ops::Range;

use querist_protocol::{DesignOptions, Fault, FaultCode};

use crate::check;
use crate::control::Pacer;
use crate::matrix::Matrix;
use crate::memory::Charged;
use crate::simd::for_each_cpu;
use crate::workers::Workers;

/// Rows of a product that are computed side by side.
const SIDE: usize = 4;
/// Columns of a product that are computed side by side.
const LANES: usize = 16;
/// Rows of the data that are added to a Gram matrix at once, and values of their middle matrices at most.
const CHUNK: usize = 512;
const CHUNK_VALUES: usize = 1 << 20;
/// Rows of a matrix that one task multiplies, and terms that it sums before it turns to the next rows.
const PANEL: usize = 64;
/// Columns of a factor at most: a row's own small matrices are inverted in one go.
const MOST_RANK: usize = 1024;
/// Changes after which everything is computed afresh, so that rounding does not add up.
const REFRESH: usize = 256;
/// A pivot of I - S below this makes a removal inexact: everything is computed afresh first.
const TINY_PIVOT: f64 = 1e-6;

/// What each row is made of.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    /// Factors, `[rows, blocks * rank]`.
    pub factors: Matrix,
    /// Embeddings, `[rows, width]`.
    pub embeddings: Matrix,
}

/// The pool's rows with their sizes.
#[derive(Debug)]
struct Rows {
    data: Blocks,
    rank: usize,
    blocks: usize,
    width: usize,
    /// Weight of a row's information.
    weight: f64,
}

impl Rows {
    /// Side of P.
    fn order(&self) -> usize {
        self.blocks * self.width
    }

    /// `matrix * X` of a pool row, `[order, rank]`.
    fn times_block(&self, workers: &Workers, matrix: &[f64], row: usize, out: &mut [f64]) -> Result<(), Fault> {
        let (order, rank, width) = (self.order(), self.rank, self.width);
        let h: Vec<f64> = self.data.embeddings.row(row).iter().map(|&h| f64::from(h)).collect();
        let r = self.data.factors.row(row);
        let scale = self.weight.sqrt();
        workers.fill(out, 32 * rank, |start, out| {
            let mut pacer = Pacer::new(workers.control());
            for (i, out) in out.chunks_exact_mut(rank).enumerate() {
                pacer.spend(order)?;
                let line = &matrix[(start / rank + i) * order..][..order];
                for (block, line) in line.chunks_exact(width).enumerate() {
                    let along = scale * dot(line, &h);
                    for (out, &r) in out.iter_mut().zip(&r[block * rank..]) {
                        *out += along * f64::from(r);
                    }
                }
            }
            Ok(())
        })
    }

    /// Adds `weight * (R Rᵀ) (x) (h hᵀ)` of the named rows to a square matrix.
    fn add_information(
        &self,
        workers: &Workers,
        target: &mut [f64],
        data: &Blocks,
        rows: &[u32],
        weight: f64,
    ) -> Result<(), Fault> {
        let (order, rank, width, blocks) = (self.order(), self.rank, self.width, self.blocks);
        for rows in rows.chunks((CHUNK_VALUES / (blocks * blocks)).clamp(1, CHUNK)) {
            let mut h = Charged::filled(workers.control(), rows.len() * width, 0.0)?;
            let mut inner = Charged::filled(workers.control(), rows.len() * blocks * blocks, 0.0)?;
            for (i, &row) in rows.iter().enumerate() {
                for (out, &value) in h[i * width..].iter_mut().zip(data.embeddings.row(row as usize)) {
                    *out = f64::from(value);
                }
                let r = data.factors.row(row as usize);
                for (a, b) in (0..blocks).flat_map(|a| (0..blocks).map(move |b| (a, b))) {
                    let products = r[a * rank..][..rank].iter().zip(&r[b * rank..][..rank]);
                    inner[(i * blocks + a) * blocks + b] =
                        weight * products.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
                }
            }
            workers.fill(target, SIDE * order, |start, out| {
                let mut pacer = Pacer::new(workers.control());
                let (first, lines) = (start / order, out.len() / order);
                let mut left = vec![[0.0; SIDE]; rows.len()];
                for block in 0..blocks {
                    pacer.spend(rows.len() * width)?;
                    for (i, left) in left.iter_mut().enumerate() {
                        for (line, left) in left.iter_mut().enumerate().take(lines) {
                            let (a, d) = ((first + line) / width, (first + line) % width);
                            *left = inner[(i * blocks + a) * blocks + block] * h[i * width + d];
                        }
                    }
                    add_products((out, order, block * width, lines), &left, (&h, width), width);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Xᵀ `matrix` X of every pool row.
    fn compress(&self, workers: &Workers, matrix: &[f64], out: &mut [f64]) -> Result<(), Fault> {
        let (order, rank, width, blocks) = (self.order(), self.rank, self.width, self.blocks);
        let sq = rank * rank;
        workers.fill(out, PANEL * sq, |start, out| {
            let mut pacer = Pacer::new(workers.control());
            let (first, count) = (start / sq, out.len() / sq);
            let mut z = Charged::filled(workers.control(), count.next_multiple_of(SIDE) * order, 0.0)?;
            let mut middle = vec![0.0; blocks];
            out.fill(0.0);
            for block in 0..blocks {
                z.fill(0.0);
                let panel = &matrix[block * width * order..][..width * order];
                for from in (0..count).step_by(SIDE) {
                    pacer.spend(width * order)?;
                    let lines = SIDE.min(count - from);
                    let rows = (from..from + lines).map(|i| self.data.embeddings.row(first + i));
                    let left = side_by_side(rows, width);
                    add_products((&mut z[from * order..], order, 0, lines), &left, (panel, order), order);
                }
                for (i, out) in out.chunks_exact_mut(sq).enumerate() {
                    let h = self.data.embeddings.row(first + i);
                    for (middle, z) in middle.iter_mut().zip(z[i * order..].chunks_exact(width)) {
                        *middle = self.weight * dot_with(h, z);
                    }
                    let r = self.data.factors.row(first + i);
                    // The row's line of the middle matrix, times R: then the block's part of the outer sum.
                    let line = weighted_sum(r, &middle, rank);
                    for (out, &r) in out.chunks_exact_mut(rank).zip(&r[block * rank..][..rank]) {
                        out.iter_mut().zip(&line).for_each(|(out, line)| *out += f64::from(r) * line);
                    }
                }
            }
            Ok(())
        })
    }
}

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
            for (i, out) in out.iter_mut().enumerate().filter(|(i, _)| !taken[start + i]) {
                pacer.spend(self.pool.rank.pow(3))?;
                *out = self.change(start + i, 1.0);
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
        if self.changes.is_multiple_of(REFRESH) { self.rebuild(workers) } else { Ok(()) }
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
        let across = 2 * blocks * rank;
        let narrow = across < LANES;
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
            let mut y = vec![0.0; SIDE * across];
            for rows in rows.chunks(SIDE) {
                pacer.spend(SIDE * width * across / 4)?;
                if narrow {
                    for (&row, y) in rows.iter().zip(y.chunks_exact_mut(across)) {
                        for (y, column) in y.iter_mut().zip(both.chunks_exact(width)) {
                            *y = dot_with(pool.embeddings.row(row), column);
                        }
                    }
                } else {
                    let left = side_by_side(rows.iter().map(|&row| pool.embeddings.row(row)), width);
                    y.fill(0.0);
                    add_products((&mut y, across, 0, rows.len()), &left, (&both, across), across);
                }
                for (&row, y) in rows.iter().zip(y.chunks_exact(across)) {
                    let (yu, yw) = y.split_at(blocks * rank);
                    let r = pool.factors.row(row);
                    let (g, v) = (reduced(r, yu, rank, scale), reduced(r, yw, rank, scale));
                    let at = (row - first) * sq;
                    move_small((&mut s[at..at + sq], &mut t[at..at + sq]), (&g, &v), k, ktk, rank);
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
        workers.fill_two((&mut self.p, &mut self.q), SIDE * order, |start, p, q| {
            control.check()?;
            let (first, lines) = (start / order, p.len() / order);
            let (mut left_p, mut left_q) = (vec![[0.0; SIDE]; rank], vec![[0.0; SIDE]; 2 * rank]);
            for line in 0..lines {
                for b in 0..rank {
                    let along = -uk(first + line, b);
                    left_p[b][line] = along;
                    left_q[b][line] = of_q(first + line, b);
                    left_q[rank + b][line] = along;
                }
            }
            add_products((p, order, 0, lines), &left_p, (&across, order), order);
            add_products((q, order, 0, lines), &left_q, (&across, order), order);
            Ok(())
        })
    }

    /// P, Q, S and T from the data and the rows added so far.
    fn rebuild(&mut self, workers: &Workers) -> Result<(), Fault> {
        let order = self.pool.order();
        let (pool, labelled) = (&self.pool.data, &self.labelled);
        let everything = |data: &Blocks| (0..data.factors.rows() as u32).collect::<Vec<_>>();
        let (of_pool, of_labelled) = (everything(pool), everything(labelled));
        let share = 1.0 / (of_pool.len() + of_labelled.len()).max(1) as f64;
        self.q.fill(0.0);
        self.pool.add_information(workers, &mut self.q, pool, &of_pool, share)?;
        self.pool.add_information(workers, &mut self.q, labelled, &of_labelled, share)?;
        self.p.fill(0.0);
        self.pool.add_information(workers, &mut self.p, labelled, &of_labelled, self.options.labelled_weight)?;
        self.pool.add_information(workers, &mut self.p, pool, &self.added, self.options.added_weight)?;
        for i in 0..order {
            self.p[i * order + i] += self.options.ridge;
        }
        invert_in_blocks(workers, &mut self.p, order)?;
        // F P, then its transpose P F, then P F P.
        times(workers, &mut self.q, &self.p, order)?;
        transpose(&mut self.q, order);
        times(workers, &mut self.q, &self.p, order)?;
        self.pool.compress(workers, &self.p, &mut self.s)?;
        self.pool.compress(workers, &self.q, &mut self.t)
    }
}

fn finite(row: usize, change: f64) -> Result<(), Fault> {
    if change.is_finite() {
        return Ok(());
    }
    let message = format!("the information of row {row} overflows; scale the embeddings down or raise the ridge");
    Err(Fault::new(FaultCode::NonFinite, message))
}

/// Some rows as the left side of [`add_products`]: value k of each next to each other.
fn side_by_side<'a>(rows: impl Iterator<Item = &'a [f32]>, width: usize) -> Vec<[f64; SIDE]> {
    let mut left = vec![[0.0; SIDE]; width];
    for (side, row) in rows.enumerate() {
        for (left, &value) in left.iter_mut().zip(row) {
            left[side] = f64::from(value);
        }
    }
    left
}

/// `scale * Rᵀ y`, `[rank, rank]`, for y of `[blocks, rank]`.
fn reduced(r: &[f32], y: &[f64], rank: usize, scale: f64) -> Vec<f64> {
    let mut out = vec![0.0; rank * rank];
    for (r, y) in r.chunks_exact(rank).zip(y.chunks_exact(rank)) {
        for (out, &r) in out.chunks_exact_mut(rank).zip(r) {
            for (out, &y) in out.iter_mut().zip(y) {
                *out += scale * f64::from(r) * y;
            }
        }
    }
    out
}

/// Σ `weights[block]` times the block's line of R, `[rank]`.
fn weighted_sum(r: &[f32], weights: &[f64], rank: usize) -> Vec<f64> {
    let mut sum = vec![0.0; rank];
    for (r, weight) in r.chunks_exact(rank).zip(weights) {
        sum.iter_mut().zip(r).for_each(|(sum, &r)| *sum += weight * f64::from(r));
    }
    sum
}

/// S -= G K Gᵀ and T -= G K Vᵀ + V K Gᵀ - G K T_x K Gᵀ for one row.
fn move_small((s, t): (&mut [f64], &mut [f64]), (g, v): (&[f64], &[f64]), k: &[f64], ktk: &[f64], rank: usize) {
    let gk = product(g, k, rank);
    let gktk = product(g, ktk, rank);
    for a in 0..rank {
        for b in 0..rank {
            let (mut ds, mut dt) = (0.0, 0.0);
            for c in 0..rank {
                let (ga, gb) = (gk[a * rank + c], gk[b * rank + c]);
                ds += ga * g[b * rank + c];
                dt += gktk[a * rank + c] * g[b * rank + c] - ga * v[b * rank + c] - gb * v[a * rank + c];
            }
            s[a * rank + b] -= ds;
            t[a * rank + b] += dt;
        }
    }
}

/// Product of two small square matrices.
fn product(left: &[f64], right: &[f64], side: usize) -> Vec<f64> {
    let mut out = vec![0.0; side * side];
    for (out, left) in out.chunks_exact_mut(side).zip(left.chunks_exact(side)) {
        for (&left, right) in left.iter().zip(right.chunks_exact(side)) {
            for (out, &right) in out.iter_mut().zip(right) {
                *out += left * right;
            }
        }
    }
    out
}

/// Inverts a small positive definite matrix in place (Gauss and Jordan); answers its smallest pivot.
fn invert(matrix: &mut [f64], side: usize) -> f64 {
    let mut smallest = f64::INFINITY;
    for k in 0..side {
        let pivot = matrix[k * side + k];
        smallest = smallest.min(pivot);
        for j in 0..side {
            matrix[k * side + j] /= pivot;
        }
        matrix[k * side + k] = 1.0 / pivot;
        for i in (0..side).filter(|&i| i != k) {
            let factor = matrix[i * side + k];
            for j in (0..side).filter(|&j| j != k) {
                matrix[i * side + j] -= factor * matrix[k * side + j];
            }
            matrix[i * side + k] = -factor / pivot;
        }
    }
    smallest
}

/// Inverts a positive definite matrix in place, [`PANEL`] columns at a time (Gauss and Jordan by blocks).
fn invert_in_blocks(workers: &Workers, matrix: &mut [f64], order: usize) -> Result<(), Fault> {
    for from in (0..order).step_by(PANEL) {
        let side = PANEL.min(order - from);
        let mut pivot = vec![0.0; side * side];
        for (i, pivot) in pivot.chunks_exact_mut(side).enumerate() {
            pivot.copy_from_slice(&matrix[(from + i) * order + from..][..side]);
        }
        if invert(&mut pivot, side) <= 0.0 {
            let message = "the information matrix is singular; raise the ridge";
            return Err(Fault::new(FaultCode::BadArgument, message));
        }
        // The pivot's lines times its inverse, with the inverse itself in the pivot's place.
        let mut lines = Charged::filled(workers.control(), side * order, 0.0)?;
        {
            let pivot_lines = &matrix[from * order..(from + side) * order];
            workers.fill(&mut lines, SIDE * order, |start, out| {
                let (first, count) = (start / order, out.len() / order);
                let mut left = vec![[0.0; SIDE]; side];
                for line in 0..count {
                    for (k, left) in left.iter_mut().enumerate() {
                        left[line] = pivot[(first + line) * side + k];
                    }
                }
                add_products((out, order, 0, count), &left, (pivot_lines, order), order);
                for line in 0..count {
                    out[line * order + from..][..side].copy_from_slice(&pivot[(first + line) * side..][..side]);
                }
                Ok(())
            })?;
        }
        workers.fill(matrix, SIDE * order, |start, out| {
            let (first, count) = (start / order, out.len() / order);
            let mut left = vec![[0.0; SIDE]; side];
            for line in 0..count {
                let here = &mut out[line * order..][..order];
                if (from..from + side).contains(&(first + line)) {
                    here.copy_from_slice(&lines[(first + line - from) * order..][..order]);
                    continue;
                }
                for (k, left) in left.iter_mut().enumerate() {
                    left[line] = -here[from + k];
                }
                here[from..from + side].fill(0.0);
            }
            add_products((out, order, 0, count), &left, (&lines, order), order);
            Ok(())
        })?;
    }
    Ok(())
}

/// `left = left * right`, square matrices.
fn times(workers: &Workers, left: &mut [f64], right: &[f64], order: usize) -> Result<(), Fault> {
    workers.fill(left, PANEL * order, |_, out| {
        let mut pacer = Pacer::new(workers.control());
        let source = Charged::copied(workers.control(), out)?;
        out.fill(0.0);
        let lines = out.len() / order;
        for from in (0..order).step_by(PANEL) {
            let terms = PANEL.min(order - from);
            for first in (0..lines).step_by(SIDE) {
                pacer.spend(terms * order)?;
                let count = SIDE.min(lines - first);
                let mut factors = vec![[0.0; SIDE]; terms];
                for (k, factors) in factors.iter_mut().enumerate() {
                    for (line, factor) in factors.iter_mut().enumerate().take(count) {
                        *factor = source[(first + line) * order + from + k];
                    }
                }
                let out = &mut out[first * order..(first + count) * order];
                add_products((out, order, 0, count), &factors, (&right[from * order..], order), order);
            }
        }
        Ok(())
    })
}

fn transpose(matrix: &mut [f64], order: usize) {
    for i in 0..order {
        for j in 0..i {
            matrix.swap(i * order + j, j * order + i);
        }
    }
}

for_each_cpu! {
    /// Σ x y in sixteen lanes.
    fn dot(x: &[f64], y: &[f64]) -> f64 {
        let mut lanes = [0.0; LANES];
        let (x_blocks, x_rest) = x.as_chunks::<LANES>();
        let (y_blocks, y_rest) = y.as_chunks::<LANES>();
        for (a, b) in x_blocks.iter().zip(y_blocks) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        for (lane, (a, b)) in x_rest.iter().zip(y_rest).enumerate() {
            lanes[lane] += a * b;
        }
        crate::simd::join(lanes)
    }
}

for_each_cpu! {
    /// Σ x y in sixteen lanes, of an embedding and a column.
    fn dot_with(x: &[f32], y: &[f64]) -> f64 {
        let mut lanes = [0.0; LANES];
        let (x_blocks, x_rest) = x.as_chunks::<LANES>();
        let (y_blocks, y_rest) = y.as_chunks::<LANES>();
        for (a, b) in x_blocks.iter().zip(y_blocks) {
            for lane in 0..LANES {
                lanes[lane] += f64::from(a[lane]) * b[lane];
            }
        }
        for (lane, (&a, b)) in x_rest.iter().zip(y_rest).enumerate() {
            lanes[lane] += f64::from(a) * b;
        }
        crate::simd::join(lanes)
    }
}

/// Lines to add to: values, values of a line, first column, number of lines (at most [`SIDE`]).
type Lines<'a> = (&'a mut [f64], usize, usize, usize);

for_each_cpu! {
    /// Adds `sum_k left[k][line] * right[k, column]` to the first `width` columns of some lines; terms in order.
    fn add_products(out: Lines<'_>, left: &[[f64; SIDE]], right: (&[f64], usize), width: usize) {
        let (out, stride, offset, lines) = out;
        let (right, right_stride) = right;
        let whole = width - width % LANES;
        for column in (0..whole).step_by(LANES) {
            let mut sums = [[0.0; LANES]; SIDE];
            for line in 0..lines {
                sums[line].copy_from_slice(&out[line * stride + offset + column..][..LANES]);
            }
            for (k, factors) in left.iter().enumerate() {
                let right = &right[k * right_stride + column..][..LANES];
                for line in 0..SIDE {
                    for lane in 0..LANES {
                        sums[line][lane] += factors[line] * right[lane];
                    }
                }
            }
            for line in 0..lines {
                out[line * stride + offset + column..][..LANES].copy_from_slice(&sums[line]);
            }
        }
        for column in whole..width {
            for line in 0..lines {
                let place = &mut out[line * stride + offset + column];
                for (k, factors) in left.iter().enumerate() {
                    *place += factors[line] * right[k * right_stride + column];
                }
            }
        }
    }
}
