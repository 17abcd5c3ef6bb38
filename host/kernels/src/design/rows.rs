//! The rows that a design chooses from, and products of their blocks with whole matrices.

use std::ops::Range;

use querist_protocol::Fault;

use crate::control::Pacer;
use crate::dense::{MULTIPLIED, PANEL, SIDE, add_products, dot, dot_with, for_each_below, side_by_side};
use crate::matrix::Matrix;
use crate::memory::Charged;
use crate::workers::Workers;

/// Rows of the data that are added to a Gram matrix at once, and values of their middle matrices at most.
const CHUNK: usize = 512;
const CHUNK_VALUES: usize = 1 << 20;

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
pub(super) struct Rows {
    pub(super) data: Blocks,
    pub(super) rank: usize,
    pub(super) blocks: usize,
    pub(super) width: usize,
    /// Weight of a row's information.
    pub(super) weight: f64,
}

impl Rows {
    /// Side of P.
    pub(super) fn order(&self) -> usize {
        self.blocks * self.width
    }

    /// `matrix * X` of a pool row, `[order, rank]`.
    pub(super) fn times_block(
        &self,
        workers: &Workers,
        matrix: &[f64],
        row: usize,
        out: &mut [f64],
    ) -> Result<(), Fault> {
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
    pub(super) fn add_information(
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
    pub(super) fn complete(&self, matrix: &mut [f64]) {
        let (order, width) = (self.order(), self.width);
        for (a, b) in self.pairs() {
            for_each_below(width, |i, j| {
                matrix[(a * width + i) * order + b * width + j] = matrix[(a * width + j) * order + b * width + i];
            });
        }
        for_each_below(order, |i, j| matrix[i * order + j] = matrix[j * order + i]);
    }

    /// Xᵀ `matrix` X of some pool rows, for a symmetric matrix.
    pub(super) fn compress(
        &self,
        workers: &Workers,
        matrix: &[f64],
        rows: &[u32],
        out: &mut [f64],
    ) -> Result<(), Fault> {
        let (rank, width, blocks) = (self.rank, self.width, self.blocks);
        let sq = rank * rank;
        workers.fill(out, MULTIPLIED * sq, |start, out| {
            let mut pacer = Pacer::new(workers.control());
            let rows = &rows[start / sq..][..out.len() / sq];
            let embedding = |i: usize| self.data.embeddings.row(rows[i] as usize);
            let parts: Vec<_> = (0..width)
                .step_by(PANEL)
                .map(|from| from..width.min(from + PANEL))
                .map(|part| (part.clone(), side_by_side((0..rows.len()).map(embedding), part)))
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
                    let value = self.weight * dot_with(&embedding(i), &z[i * width..][..width]);
                    middle[block * blocks + other] = value;
                    middle[other * blocks + block] = value;
                }
            }
            for ((i, out), middle) in out.chunks_exact_mut(sq).enumerate().zip(middles.chunks_exact(blocks * blocks)) {
                out.fill(0.0);
                let r = self.data.factors.row(rows[i] as usize);
                for (block, middle) in middle.chunks_exact(blocks).enumerate() {
                    // The row's line of the middle matrix, times R: then the block's part of the outer sum.
                    let line = weighted_sum(&r, middle, rank);
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
/// Σ `weights[block]` times the block's line of R, `[rank]`.
fn weighted_sum(r: &[f32], weights: &[f64], rank: usize) -> Vec<f64> {
    let mut sum = vec![0.0; rank];
    for (r, weight) in r.chunks_exact(rank).zip(weights) {
        sum.iter_mut().zip(r).for_each(|(sum, &r)| *sum += weight * f64::from(r));
    }
    sum
}
