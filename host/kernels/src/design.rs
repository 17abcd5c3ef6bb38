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
const SIDE: usize = 8;
/// Rows whose small matrices are handled side by side.
const EIGHT: usize = 8;
/// Columns of a product that are computed side by side.
const LANES: usize = 16;
/// Rows of the data that are added to a Gram matrix at once, and values of their middle matrices at most.
const CHUNK: usize = 512;
const CHUNK_VALUES: usize = 1 << 20;
/// Terms of a product that are summed before the next ones are turned to, and lines of a target that one task fills.
const PANEL: usize = 64;
/// Lines that one task multiplies with a whole matrix, and rows that it multiplies with its blocks: the more they are, the
/// fewer times these are read.
const MULTIPLIED: usize = 128;
/// Side of a tile of a matrix that is copied or transposed.
const TILE: usize = 16;
/// Columns of a factor at most: a row's own small matrices are inverted in one go.
const MOST_RANK: usize = 1024;
/// Changes after which everything is computed afresh. P and Q fall fastest at first, and what rounding left of the old
/// values weighs more and more: so soon at first, then every `REFRESH` changes.
const FIRST_REFRESHES: [usize; 2] = [16, 128];
const REFRESH: usize = 1024;
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

    /// Adds `weight * (R Rᵀ) (x) (h hᵀ)` of the named rows to a square matrix: in its blocks on and above the diagonal,
    /// what lies on and above their own diagonals at least. [`Rows::complete`] copies that to the rest.
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
            // Embeddings row by row and column by column, and R Rᵀ of all rows entry by entry.
            let mut h = Charged::filled(workers.control(), rows.len() * width, 0.0)?;
            let mut columns = Charged::filled(workers.control(), rows.len() * width, 0.0)?;
            let mut inner = Charged::filled(workers.control(), rows.len() * blocks * blocks, 0.0)?;
            for (i, &row) in rows.iter().enumerate() {
                for (d, &value) in data.embeddings.row(row as usize).iter().enumerate() {
                    h[i * width + d] = f64::from(value);
                    columns[d * rows.len() + i] = f64::from(value);
                }
                let r = data.factors.row(row as usize);
                for (a, b) in (0..blocks).flat_map(|a| (0..blocks).map(move |b| (a, b))) {
                    let products = r[a * rank..][..rank].iter().zip(&r[b * rank..][..rank]);
                    inner[(a * blocks + b) * rows.len() + i] =
                        weight * products.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
                }
            }
            workers.fill(target, PANEL * order, |start, out| {
                let mut pacer = Pacer::new(workers.control());
                let (first, lines) = (start / order, out.len() / order);
                // Lines of one block alone start at their first one's place in it: the rest is below the diagonal.
                let from = if first % width + lines <= width { first % width } else { 0 };
                let mut left = vec![[0.0; SIDE]; lines.div_ceil(SIDE) * rows.len()];
                for block in first / width..blocks {
                    pacer.spend(rows.len() * width * lines)?;
                    for line in 0..lines {
                        let (a, d) = ((first + line) / width, (first + line) % width);
                        let inner = &inner[(a * blocks + block) * rows.len()..][..rows.len()];
                        let products = inner.iter().zip(&columns[d * rows.len()..][..rows.len()]).map(|(r, h)| r * h);
                        for (left, product) in left[line / SIDE * rows.len()..].iter_mut().zip(products) {
                            left[line % SIDE] = product;
                        }
                    }
                    let place = (&mut *out, order, block * width + from, lines);
                    add_products(place, &left, rows.len(), (&h[from..], width), width - from);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Pairs of blocks on and above the diagonal.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let blocks = self.blocks;
        (0..blocks).flat_map(move |a| (a..blocks).map(move |b| (a, b)))
    }

    /// Copies what [`Rows::add_information`] computes to the rest of the matrix, which is symmetric block by block.
    fn complete(&self, matrix: &mut [f64]) {
        let (order, width) = (self.order(), self.width);
        for (a, b) in self.pairs() {
            for_each_below(width, |i, j| {
                matrix[(a * width + i) * order + b * width + j] = matrix[(a * width + j) * order + b * width + i];
            });
        }
        for_each_below(order, |i, j| matrix[i * order + j] = matrix[j * order + i]);
    }

    /// Xᵀ `matrix` X of some pool rows, for a symmetric matrix.
    fn compress(&self, workers: &Workers, matrix: &[f64], rows: &[u32], out: &mut [f64]) -> Result<(), Fault> {
        let (rank, width, blocks) = (self.rank, self.width, self.blocks);
        let sq = rank * rank;
        workers.fill(out, MULTIPLIED * sq, |start, out| {
            let mut pacer = Pacer::new(workers.control());
            let rows = &rows[start / sq..][..out.len() / sq];
            let embedding = |i: usize| self.data.embeddings.row(rows[i] as usize);
            let parts: Vec<_> = (0..width)
                .step_by(PANEL)
                .map(|from| from..width.min(from + PANEL))
                .map(|part| {
                    (part.clone(), side_by_side((0..rows.len()).map(|i| &embedding(i)[part.clone()]), part.len()))
                })
                .collect();
            let mut z = Charged::filled(workers.control(), rows.len() * width, 0.0)?;
            let mut folded = Charged::filled(workers.control(), PANEL.min(width) * width, 0.0)?;
            // h (matrix block) h of each pair of blocks of each row.
            let mut middles = vec![0.0; rows.len() * blocks * blocks];
            for (block, other) in self.pairs() {
                z.fill(0.0);
                for (part, left) in &parts {
                    let across = width - part.start;
                    pacer.spend(part.len() * across * rows.len() / SIDE)?;
                    self.fold(matrix, (block, other), part.clone(), &mut folded);
                    let place = (&mut *z, width, part.start, rows.len());
                    add_products(place, left, part.len(), (&folded, across), across);
                }
                for (i, middle) in middles.chunks_exact_mut(blocks * blocks).enumerate() {
                    let value = self.weight * dot_with(embedding(i), &z[i * width..][..width]);
                    middle[block * blocks + other] = value;
                    middle[other * blocks + block] = value;
                }
            }
            for ((i, out), middle) in out.chunks_exact_mut(sq).enumerate().zip(middles.chunks_exact(blocks * blocks)) {
                out.fill(0.0);
                let r = self.data.factors.row(rows[i] as usize);
                for (block, middle) in middle.chunks_exact(blocks).enumerate() {
                    // The row's line of the middle matrix, times R: then the block's part of the outer sum.
                    let line = weighted_sum(r, middle, rank);
                    for (out, &r) in out.chunks_exact_mut(rank).zip(&r[block * rank..][..rank]) {
                        out.iter_mut().zip(&line).for_each(|(out, line)| *out += f64::from(r) * line);
                    }
                }
            }
            Ok(())
        })
    }

    /// Some lines of a block B from the first one's diagonal on, with what lies below B's diagonal added to its mirror
    /// image: h B h needs half the products so.
    fn fold(&self, matrix: &[f64], (block, other): (usize, usize), lines: Range<usize>, out: &mut [f64]) {
        let (order, width, from) = (self.order(), self.width, lines.start);
        for (d, out) in lines.zip(out.chunks_exact_mut(width - from)) {
            let line = &matrix[(block * width + d) * order + other * width..][..width];
            // The matrix is symmetric, so that a column of B is a line of the block on the other side.
            let column = &matrix[(other * width + d) * order + block * width..][..width];
            out[..d - from].fill(0.0);
            out[d - from] = line[d];
            for (out, (a, b)) in out[d - from + 1..].iter_mut().zip(line[d + 1..].iter().zip(&column[d + 1..])) {
                *out = a + b;
            }
        }
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
            let mut eight = Eight::new(self.pool.blocks, self.pool.rank);
            for (i, out) in out.chunks_mut(EIGHT).enumerate() {
                pacer.spend(EIGHT * self.pool.rank.pow(3))?;
                let first = start + i * EIGHT;
                for lane in 0..out.len() {
                    eight.load_squares(lane, &self.s[self.span(first + lane)], &self.t[self.span(first + lane)]);
                }
                let gains = gains_of_eight(&mut eight, self.pool.rank);
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
                        *y = dot_with(pool.embeddings.row(row), column);
                    }
                }
            } else {
                let left = side_by_side(rows.iter().map(|&row| pool.embeddings.row(row)), width);
                add_products((&mut y, across, 0, rows.len()), &left, width, (&both, across), across);
            }
            let mut eight = Eight::new(blocks, rank);
            for (rows, y) in rows.chunks(EIGHT).zip(y.chunks(EIGHT * across)) {
                for (lane, (&row, y)) in rows.iter().zip(y.chunks_exact(across)).enumerate() {
                    let at = (row - first) * sq;
                    eight.load(lane, pool.factors.row(row), y, (&s[at..at + sq], &t[at..at + sq]));
                }
                move_eight(&mut eight, rank, scale, k, ktk);
                for (lane, &row) in rows.iter().enumerate() {
                    let at = (row - first) * sq;
                    eight.store(lane, &mut s[at..at + sq], &mut t[at..at + sq]);
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

/// Some rows as the left side of [`add_products`]: value k of each [`SIDE`] of them next to each other.
fn side_by_side<'a>(rows: impl ExactSizeIterator<Item = &'a [f32]>, width: usize) -> Vec<[f64; SIDE]> {
    let mut left = vec![[0.0; SIDE]; rows.len().div_ceil(SIDE) * width];
    for (at, row) in rows.enumerate() {
        for (left, &value) in left[at / SIDE * width..].iter_mut().zip(row) {
            left[at % SIDE] = f64::from(value);
        }
    }
    left
}

/// Σ `weights[block]` times the block's line of R, `[rank]`.
fn weighted_sum(r: &[f32], weights: &[f64], rank: usize) -> Vec<f64> {
    let mut sum = vec![0.0; rank];
    for (r, weight) in r.chunks_exact(rank).zip(weights) {
        sum.iter_mut().zip(r).for_each(|(sum, &r)| *sum += weight * f64::from(r));
    }
    sum
}

/// Factors `of(line, k)` as the left side of [`add_products`].
fn beside(lines: usize, terms: usize, of: impl Fn(usize, usize) -> f64) -> Vec<[f64; SIDE]> {
    let mut left = vec![[0.0; SIDE]; lines.div_ceil(SIDE) * terms];
    for line in 0..lines {
        for (k, left) in left[line / SIDE * terms..].iter_mut().enumerate().take(terms) {
            left[line % SIDE] = of(line, k);
        }
    }
    left
}

/// The small matrices of eight rows, entry by entry: one lane a row.
struct Eight {
    /// Factors, `[blocks, rank]`.
    r: Vec<[f64; EIGHT]>,
    /// h times U and h times W, `[2, blocks, rank]`.
    y: Vec<[f64; EIGHT]>,
    /// G = Xᵀ U, V = Xᵀ W, G K and G K T_x K, then S and T, all `[rank, rank]`.
    g: Vec<[f64; EIGHT]>,
    v: Vec<[f64; EIGHT]>,
    gk: Vec<[f64; EIGHT]>,
    gktk: Vec<[f64; EIGHT]>,
    s: Vec<[f64; EIGHT]>,
    t: Vec<[f64; EIGHT]>,
}

impl Eight {
    fn new(blocks: usize, rank: usize) -> Self {
        let of = |size: usize| vec![[0.0; EIGHT]; size];
        let (long, sq) = (blocks * rank, rank * rank);
        Self { r: of(long), y: of(2 * long), g: of(sq), v: of(sq), gk: of(sq), gktk: of(sq), s: of(sq), t: of(sq) }
    }

    fn load(&mut self, lane: usize, r: &[f32], y: &[f64], (s, t): (&[f64], &[f64])) {
        self.r.iter_mut().zip(r).for_each(|(lanes, &r)| lanes[lane] = f64::from(r));
        self.y.iter_mut().zip(y).for_each(|(lanes, &y)| lanes[lane] = y);
        self.load_squares(lane, s, t);
    }

    fn load_squares(&mut self, lane: usize, s: &[f64], t: &[f64]) {
        self.s.iter_mut().zip(s).for_each(|(lanes, &s)| lanes[lane] = s);
        self.t.iter_mut().zip(t).for_each(|(lanes, &t)| lanes[lane] = t);
    }

    fn store(&self, lane: usize, s: &mut [f64], t: &mut [f64]) {
        s.iter_mut().zip(&self.s).for_each(|(s, lanes)| *s = lanes[lane]);
        t.iter_mut().zip(&self.t).for_each(|(t, lanes)| *t = lanes[lane]);
    }
}

/// `sums += x * y`, lane by lane.
#[inline(always)]
fn add_lanes(sums: &mut [f64; EIGHT], x: &[f64; EIGHT], y: &[f64; EIGHT]) {
    for lane in 0..EIGHT {
        sums[lane] += x[lane] * y[lane];
    }
}

for_each_cpu! {
    /// S -= G K Gᵀ and T -= G K Vᵀ + V K Gᵀ - G K T_x K Gᵀ for eight rows.
    fn move_eight(eight: &mut Eight, rank: usize, scale: f64, k: &[f64], ktk: &[f64]) {
        let Eight { r, y, g, v, gk, gktk, s, t } = eight;
        let (yu, yw) = y.split_at(r.len());
        for (out, y) in [(&mut *g, yu), (&mut *v, yw)] {
            for a in 0..rank {
                for b in 0..rank {
                    let mut sums = [0.0; EIGHT];
                    for (r, y) in r.chunks_exact(rank).zip(y.chunks_exact(rank)) {
                        add_lanes(&mut sums, &r[a], &y[b]);
                    }
                    out[a * rank + b] = sums.map(|sum| scale * sum);
                }
            }
        }
        for (out, k) in [(&mut *gk, k), (&mut *gktk, ktk)] {
            for a in 0..rank {
                for b in 0..rank {
                    let mut sums = [0.0; EIGHT];
                    for c in 0..rank {
                        add_lanes(&mut sums, &g[a * rank + c], &[k[c * rank + b]; EIGHT]);
                    }
                    out[a * rank + b] = sums;
                }
            }
        }
        for a in 0..rank {
            for b in 0..=a {
                let (mut ds, mut up, mut down) = ([0.0; EIGHT], [0.0; EIGHT], [0.0; EIGHT]);
                for c in 0..rank {
                    let (ac, bc) = (a * rank + c, b * rank + c);
                    add_lanes(&mut ds, &gk[ac], &g[bc]);
                    add_lanes(&mut up, &gktk[ac], &g[bc]);
                    add_lanes(&mut down, &gk[ac], &v[bc]);
                    add_lanes(&mut down, &gk[bc], &v[ac]);
                }
                for lane in 0..EIGHT {
                    s[a * rank + b][lane] -= ds[lane];
                    t[a * rank + b][lane] += up[lane] - down[lane];
                }
                // Both stay symmetric.
                s[b * rank + a] = s[a * rank + b];
                t[b * rank + a] = t[a * rank + b];
            }
        }
    }
}

for_each_cpu! {
    /// tr((I + S)⁻¹ T) of eight rows; S is overwritten by the inverse (Gauss and Jordan).
    fn gains_of_eight(eight: &mut Eight, rank: usize) -> [f64; EIGHT] {
        let Eight { s, t, .. } = eight;
        for i in 0..rank {
            s[i * rank + i] = s[i * rank + i].map(|s| s + 1.0);
        }
        for k in 0..rank {
            let inverse = s[k * rank + k].map(|pivot| 1.0 / pivot);
            for j in (0..rank).filter(|&j| j != k) {
                for lane in 0..EIGHT {
                    s[k * rank + j][lane] *= inverse[lane];
                }
            }
            s[k * rank + k] = inverse;
            for i in (0..rank).filter(|&i| i != k) {
                let factor = s[i * rank + k].map(|s| -s);
                for j in (0..rank).filter(|&j| j != k) {
                    let line = s[k * rank + j];
                    add_lanes(&mut s[i * rank + j], &factor, &line);
                }
                for lane in 0..EIGHT {
                    s[i * rank + k][lane] = factor[lane] * inverse[lane];
                }
            }
        }
        let mut sums = [0.0; EIGHT];
        for (s, t) in s.iter().zip(t.iter()) {
            add_lanes(&mut sums, s, t);
        }
        sums
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
            workers.fill(&mut lines, 4 * SIDE * order, |start, out| {
                let (first, count) = (start / order, out.len() / order);
                let left = beside(count, side, |line, k| pivot[(first + line) * side + k]);
                add_products((out, order, 0, count), &left, side, (pivot_lines, order), order);
                for line in 0..count {
                    out[line * order + from..][..side].copy_from_slice(&pivot[(first + line) * side..][..side]);
                }
                Ok(())
            })?;
        }
        workers.fill(matrix, MULTIPLIED * order, |start, out| {
            let (first, count) = (start / order, out.len() / order);
            let is_pivot = |line: usize| (from..from + side).contains(&(first + line));
            let left = beside(count, side, |line, k| match is_pivot(line) {
                true => 0.0,
                false => -out[line * order + from + k],
            });
            for (line, here) in out.chunks_exact_mut(order).enumerate() {
                if is_pivot(line) {
                    here.copy_from_slice(&lines[(first + line - from) * order..][..order]);
                } else {
                    here[from..from + side].fill(0.0);
                }
            }
            add_products((out, order, 0, count), &left, side, (&lines, order), order);
            Ok(())
        })?;
    }
    Ok(())
}

/// What is wanted of a square matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// What lies on and above the diagonal; the rest is left as anything.
    Upper,
}

/// `left = left * right`, square matrices.
fn times(workers: &Workers, left: &mut [f64], right: &[f64], order: usize, part: Part) -> Result<(), Fault> {
    workers.fill(left, MULTIPLIED * order, |start, out| {
        let mut pacer = Pacer::new(workers.control());
        let source = Charged::copied(workers.control(), out)?;
        out.fill(0.0);
        let lines = out.len() / order;
        let first = if part == Part::Upper { start / order } else { 0 };
        for from in (0..order).step_by(PANEL) {
            let terms = PANEL.min(order - from);
            pacer.spend(terms * (order - first) * lines / SIDE)?;
            let left = beside(lines, terms, |line, k| source[line * order + from + k]);
            let right = (&right[from * order + first..], order);
            add_products((&mut *out, order, first, lines), &left, terms, right, order - first);
        }
        Ok(())
    })
}

/// Calls `f(line, column)` for what is below the diagonal, tile by tile: a walk along columns would miss every cache.
fn for_each_below(order: usize, mut f: impl FnMut(usize, usize)) {
    for (top, left) in (0..order).step_by(TILE).flat_map(|top| (0..=top).step_by(TILE).map(move |left| (top, left))) {
        for i in top..order.min(top + TILE) {
            (left..i.min(left + TILE)).for_each(|j| f(i, j));
        }
    }
}

fn transpose(matrix: &mut [f64], order: usize) {
    for_each_below(order, |i, j| matrix.swap(i * order + j, j * order + i));
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

/// Lines to add to: values, values of a line, first column, number of lines.
type Lines<'a> = (&'a mut [f64], usize, usize, usize);

/// Some columns of a line, placed so that no vector of them lies across two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Columns([f64; LANES]);

/// Adds to some columns of some lines.
type AddTile = fn([&mut [f64; LANES]; SIDE], &[[f64; SIDE]], &[Columns]);

/// Adds `sum_k left[k][line] * right[k, column]` to the first `width` columns of some lines; terms in order, each with
/// one rounding. `left` holds `terms` factors for each [`SIDE`] lines.
fn add_products(
    (out, stride, offset, lines): Lines<'_>,
    left: &[[f64; SIDE]],
    terms: usize,
    (right, right_stride): (&[f64], usize),
    width: usize,
) {
    let add = add_tile();
    // Columns that are used together are copied together first: a step of many powers of two would drive them out of
    // the cache.
    let mut panel = vec![Columns([0.0; LANES]); terms];
    for column in (0..width).step_by(LANES) {
        let count = LANES.min(width - column);
        for (panel, right) in panel.iter_mut().zip(right.chunks(right_stride)) {
            match right[column..].first_chunk() {
                Some(right) => panel.0 = *right,
                None => panel.0[..count].copy_from_slice(&right[column..column + count]),
            }
        }
        for (left, first) in left.chunks_exact(terms).zip((0..lines).step_by(SIDE)) {
            let out = &mut out[first * stride + offset + column..];
            let within = SIDE.min(lines - first);
            if within == SIDE
                && count == LANES
                && let Some(sums) = tile(out, stride)
            {
                add(sums, left, &panel);
                continue;
            }
            let mut sums = [[0.0; LANES]; SIDE];
            for (sums, out) in sums.iter_mut().zip(out.chunks(stride)).take(within) {
                sums[..count].copy_from_slice(&out[..count]);
            }
            add(sums.each_mut(), left, &panel);
            for (sums, out) in sums.iter().zip(out.chunks_mut(stride)).take(within) {
                out[..count].copy_from_slice(&sums[..count]);
            }
        }
    }
}

/// The first columns of the first lines.
fn tile(out: &mut [f64], stride: usize) -> Option<[&mut [f64; LANES]; SIDE]> {
    let mut lines = out.chunks_mut(stride);
    let mut next = || lines.next()?.first_chunk_mut();
    Some([next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?])
}

/// The loop for this CPU.
fn add_tile() -> AddTile {
    #[cfg(target_arch = "x86_64")]
    match crate::simd::level() {
        // SAFETY: `level` saw the features that these functions need on this CPU.
        2 => return |sums, left, right| unsafe { avx512(sums, left, right) },
        1 if std::arch::is_x86_feature_detected!("fma") => {
            // SAFETY: `level` saw AVX2 on this CPU, and the line above FMA.
            return |sums, left, right| unsafe { avx2(sums, left, right) };
        }
        _ => {}
    }
    portable
}

fn portable(sums: [&mut [f64; LANES]; SIDE], left: &[[f64; SIDE]], right: &[Columns]) {
    for (line, sums) in sums.into_iter().enumerate() {
        for (x, y) in left.iter().zip(right) {
            for (sum, y) in sums.iter_mut().zip(y.0) {
                *sum = x[line].mul_add(y, *sum);
            }
        }
    }
}

/// Two vectors of `$lanes` columns of some lines at once, with all sums in registers, part by part of the tile. The sums
/// have names because the compiler would keep so many of an array in memory.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($name:ident, $features:literal, $lanes:literal, $load:ident, $set:ident, $fma:ident, $store:ident,
     $($column:literal: [$($line:literal $low:ident $high:ident),*])*) => {
        #[target_feature(enable = $features)]
        fn $name(sums: [&mut [f64; LANES]; SIDE], left: &[[f64; SIDE]], right: &[Columns]) {
            use std::arch::x86_64::{$fma, $load, $set, $store};
            const { assert!($($column + 2 * $lanes <= LANES)&&*) };
            $(
                // SAFETY: two vectors lie behind this column of a line, as asserted above.
                $(let (mut $low, mut $high) = unsafe {
                    let sums = sums[$line].as_ptr().add($column);
                    ($load(sums), $load(sums.add($lanes)))
                };)*
                for (x, y) in left.iter().zip(right) {
                    // SAFETY: as above.
                    let (low, high) = unsafe {
                        let y = y.0.as_ptr().add($column);
                        ($load(y), $load(y.add($lanes)))
                    };
                    $(
                        let x_line = $set(x[$line]);
                        $low = $fma(x_line, low, $low);
                        $high = $fma(x_line, high, $high);
                    )*
                }
                // SAFETY: as above.
                $(unsafe {
                    let sums = sums[$line].as_mut_ptr().add($column);
                    $store(sums, $low);
                    $store(sums.add($lanes), $high);
                })*
            )*
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel!(avx512, "avx512f", 8, _mm512_loadu_pd, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_storeu_pd,
    0: [0 a b, 1 c d, 2 e f, 3 g h, 4 i j, 5 k l, 6 m n, 7 o p]);
#[cfg(target_arch = "x86_64")]
kernel!(avx2, "avx2,fma", 4, _mm256_loadu_pd, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_storeu_pd,
    0: [0 a b, 1 c d, 2 e f, 3 g h] 0: [4 i j, 5 k l, 6 m n, 7 o p]
    8: [0 a b, 1 c d, 2 e f, 3 g h] 8: [4 i j, 5 k l, 6 m n, 7 o p]);
