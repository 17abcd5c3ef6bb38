//! Rows in eight bits a value, whose products are whole numbers that one instruction multiplies by the dozen.
//!
//! A row x is about m + s a, with m a centre that all rows share, a whole numbers from -127 to 127, and s a scale of
//! its own; e = ‖x - m - s a‖ is measured. Between two rows of codes the distance is known exactly, because products of
//! codes are, and that of the rows themselves is off by at most the sum of their errors.

use std::ops::Range;

use querist_protocol::Fault;

use crate::matrix::{Matrix, rows_per_task};
use crate::memory::Charged;
#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::simd::for_each_cpu;
use crate::workers::Workers;

/// Rows that are multiplied side by side.
const SIDE: usize = 8;
/// Codes of a row that are multiplied at once.
const FOUR: usize = 4;
/// Others of a panel.
const LANES: usize = 32;
/// Others of a tile: a multiple of those of a panel.
pub(crate) const TILE_OTHERS: usize = 512;
/// Others of a tile that are tested at once, one bit each.
const BLOCK: usize = 64;
/// The most columns whose products of codes surely fit 32 bits.
const MOST_COLUMNS: usize = 1 << 15;

/// Four codes of each row of a panel.
type Column = [[u8; FOUR]; LANES];

/// Codes of others, which many blocks of rows are multiplied with.
pub(crate) struct Codes {
    centre: Vec<f64>,
    /// Panel by panel; codes with 128 added.
    panels: Charged<Column>,
    rows: Charged<Coded>,
    /// Squared norms and scales of all rows in single precision.
    rough: (Charged<f32>, Charged<f32>),
    /// The largest squared norm.
    largest: f64,
    /// The largest error of each tile.
    pub(crate) errors: Vec<f64>,
    /// Columns of a panel.
    fours: usize,
}

/// What is known of the codes of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coded {
    pub(crate) scale: f64,
    /// Squared norm of the codes times their scale.
    pub(crate) sq_norm: f64,
    /// Distance of the row from them.
    pub(crate) error: f64,
}

/// Codes of a block of rows.
#[derive(Default)]
pub(crate) struct Block {
    codes: Vec<[i8; FOUR]>,
    /// Sums of the codes of each row.
    sums: Vec<i32>,
    pub(crate) rows: Vec<Coded>,
}

impl Codes {
    /// Whether this CPU multiplies codes much faster than `f32`, and products of so many columns fit.
    pub(crate) fn are_fast(columns: usize) -> bool {
        #[cfg(target_arch = "x86_64")]
        let has_instruction = simd::level() == simd::Level::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni");
        #[cfg(not(target_arch = "x86_64"))]
        let has_instruction = false;
        has_instruction && columns <= MOST_COLUMNS
    }

    /// The codes of a matrix that has rows and columns, around the mean of its rows.
    pub(crate) fn new(workers: &Workers, matrix: &Matrix) -> Result<Self, Fault> {
        let (count, columns, control) = (matrix.rows(), matrix.columns(), workers.control());
        let centre = matrix.mean(workers)?;
        let fours = columns.div_ceil(FOUR);
        let panels = crate::check::product(count.div_ceil(LANES), fours)?;
        let mut panels = Charged::filled(control, panels, [[128; FOUR]; LANES])?;
        let mut rough = (Charged::filled(control, count, 0.0f32)?, Charged::filled(control, count, 0.0f32)?);
        let mut rows = Charged::filled(control, count, Coded { scale: 0.0, sq_norm: 0.0, error: 0.0 })?;
        let mut by_panel: Vec<_> = panels.chunks_mut(fours).zip(rows.chunks_mut(LANES)).collect();
        workers.fill(&mut by_panel, rows_per_task(columns).div_ceil(LANES), |start, part| {
            let mut codes = vec![[0; FOUR]; fours];
            for (at, (panel, coded)) in part.iter_mut().enumerate() {
                for (lane, coded) in coded.iter_mut().enumerate() {
                    let row = matrix.row((start + at) * LANES + lane);
                    *coded = encode(&row, &centre, codes.as_flattened_mut());
                    for (column, four) in panel.iter_mut().zip(&codes) {
                        column[lane] = four.map(|code| code.cast_unsigned() ^ 128);
                    }
                }
            }
            Ok(())
        })?;
        drop(by_panel);
        for (row, coded) in rows.iter().enumerate() {
            (rough.0[row], rough.1[row]) = (coded.sq_norm as f32, coded.scale as f32);
        }
        let most = |rows: &[Coded], of: fn(&Coded) -> f64| rows.iter().map(of).fold(0.0, f64::max);
        let errors = rows.chunks(TILE_OTHERS).map(|tile| most(tile, |row| row.error)).collect();
        let largest = most(&rows, |row| row.sq_norm);
        Ok(Self { centre, panels, rows, rough, largest, errors, fours })
    }

    /// Codes of some rows, around the same centre.
    pub(crate) fn encode(&self, matrix: &Matrix, rows: Range<usize>, block: &mut Block) {
        block.codes.clear();
        block.codes.resize(rows.len().next_multiple_of(SIDE) * self.fours, [0; FOUR]);
        block.rows.clear();
        block.sums.clear();
        block.sums.resize(block.codes.len() / self.fours, 0);
        let coded = block.codes.chunks_mut(self.fours).zip(&mut block.sums);
        for ((codes, sum), row) in coded.zip(rows) {
            block.rows.push(encode(&matrix.row(row), &self.centre, codes.as_flattened_mut()));
            *sum = codes.as_flattened().iter().map(|&code| i32::from(code)).sum();
        }
    }

    /// `out[i, j] = a_i · b_j` for the rows of a block and the others of a tile; what is above 2^24 is rounded.
    pub(crate) fn multiply(&self, block: &Block, tile: Range<usize>, out: &mut [f32]) {
        let (fours, width) = (self.fours, tile.len());
        let mut products = [[0.0; LANES]; SIDE];
        let panels = self.panels[tile.start / LANES * fours..].chunks_exact(fours);
        for (panel, first) in panels.zip((0..width).step_by(LANES)) {
            let count = LANES.min(width - first);
            for (at, codes) in block.codes.chunks_exact(SIDE * fours).enumerate() {
                multiply(codes, panel, &block.sums[at * SIDE..], &mut products);
                let lines = out[at * SIDE * width..].chunks_mut(width).take(block.rows.len() - at * SIDE);
                for (line, products) in lines.zip(&products) {
                    line[first..first + count].copy_from_slice(&products[..count]);
                }
            }
        }
    }

    /// How far squared distances by codes may be off, for a row and any other: products may have been rounded.
    pub(crate) fn rounding(&self, row: &Coded) -> f64 {
        f64::from(f32::EPSILON) * (row.sq_norm + self.largest)
    }

    /// Calls `found(other, squared distance by codes)` for each other of a tile up to a limit, given the products of a
    /// row with all of them; the answer is the limit from there on, which never rises.
    pub(crate) fn each_up_to(
        &self,
        (row, products): (&Coded, &[f32]),
        tile: Range<usize>,
        mut limit: f64,
        mut found: impl FnMut(usize, f64) -> Result<f64, Fault>,
    ) -> Result<(), Fault> {
        let (norms, scales) = (&self.rough.0[tile.clone()], &self.rough.1[tile.clone()]);
        // All that single precision may do to them, and what may become 0 in it.
        let hair = 8.0 * self.rounding(row) + 1e-30;
        let blocks = products.chunks(BLOCK).zip(norms.chunks(BLOCK)).zip(scales.chunks(BLOCK));
        for (block, ((products, norms), scales)) in blocks.enumerate() {
            let rough_limit = (limit - row.sq_norm + hair) as f32;
            let mut left = which_up_to(products, norms, scales, 2.0 * row.scale as f32, rough_limit);
            while left != 0 {
                let at = left.trailing_zeros() as usize;
                left &= left - 1;
                let number = tile.start + block * BLOCK + at;
                let other = &self.rows[number];
                let raw = row.sq_norm + (other.sq_norm - 2.0 * row.scale * (other.scale * f64::from(products[at])));
                if raw <= limit {
                    limit = found(number, raw)?;
                }
            }
        }
        Ok(())
    }
}

for_each_cpu! {
    /// A bit for each product of a block for which `norm - row_scale * scale * product` is at most the limit.
    fn which_up_to(products: &[f32], norms: &[f32], scales: &[f32], row_scale: f32, limit: f32) -> u64 {
        let mut flags = [0u8; BLOCK];
        for (((flag, p), norm), scale) in flags.iter_mut().zip(products).zip(norms).zip(scales) {
            *flag = u8::from(norm - row_scale * scale * p <= limit);
        }
        flags.as_chunks::<8>().0.iter().enumerate().fold(0, |bits, (at, &eight)| {
            // The factor brings the lowest bit of each byte into the highest byte, side by side.
            let packed = u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits | packed << (8 * at)
        })
    }
}

for_each_cpu! {
    /// Fills in the codes of a row; the error is measured, so no rounding on the way here matters.
    fn encode(row: &[f32], centre: &[f64], codes: &mut [i8]) -> Coded {
        let mut largest = 0.0f64;
        for (&value, centre) in row.iter().zip(centre) {
            largest = largest.max((f64::from(value) - centre).abs());
        }
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let (mut left_out, mut squares) = (0.0, 0i64);
        for ((&value, centre), code) in row.iter().zip(centre).zip(codes) {
            let value = f64::from(value) - centre;
            *code = (value * inverse).round_ties_even() as i8;
            let rest = value - scale * f64::from(*code);
            left_out += rest * rest;
            squares += i64::from(*code) * i64::from(*code);
        }
        Coded { scale, sq_norm: scale * scale * squares as f64, error: left_out.sqrt() * (1.0 + 1e-9) }
    }
}

/// Products of the codes of [`SIDE`] rows, whose sums are given, with those of a panel.
fn multiply(codes: &[[i8; FOUR]], panel: &[Column], row_sums: &[i32], out: &mut [[f32; LANES]; SIDE]) {
    #[cfg(target_arch = "x86_64")]
    if Codes::are_fast(0) {
        // SAFETY: `are_fast` saw the features that this function needs on this CPU.
        return unsafe { vnni(codes, panel, row_sums, out) };
    }
    for ((row, row_sum), out) in codes.chunks_exact(panel.len()).zip(row_sums).zip(out) {
        // The others have 128 added.
        let mut sums = [-128 * row_sum; LANES];
        for (codes, column) in row.iter().zip(panel) {
            for (sum, others) in sums.iter_mut().zip(column) {
                *sum += codes.iter().zip(others).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum::<i32>();
            }
        }
        *out = sums.map(|sum| sum as f32);
    }
}

/// Two vectors of others at a time, with all sums in registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn vnni(codes: &[[i8; FOUR]], panel: &[Column], row_sums: &[i32], out: &mut [[f32; LANES]; SIDE]) {
    use std::arch::x86_64::{
        _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_storeu_ps,
    };
    let length = panel.len();
    assert!(codes.len() >= SIDE * length && row_sums.len() >= SIDE);
    let mut sums = [[_mm512_set1_epi32(0); 2]; SIDE];
    for (sums, row_sum) in sums.iter_mut().zip(row_sums) {
        // The others have 128 added.
        *sums = [_mm512_set1_epi32(-128 * row_sum); 2];
    }
    for (k, column) in panel.iter().enumerate() {
        // SAFETY: each half of a column is as long as a vector.
        let others = unsafe {
            [_mm512_loadu_si512(column.as_ptr().cast()), _mm512_loadu_si512(column[LANES / 2..].as_ptr().cast())]
        };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `codes` has so many, as asserted above, and four of them are as long as an `i32`.
            let four = unsafe { codes.as_ptr().add(row * length + k).cast::<i32>().read_unaligned() };
            let four = _mm512_set1_epi32(four);
            *sums = [_mm512_dpbusd_epi32(sums[0], others[0], four), _mm512_dpbusd_epi32(sums[1], others[1], four)];
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        // SAFETY: each half of `out` holds a vector.
        unsafe {
            _mm512_storeu_ps(out.as_mut_ptr(), _mm512_cvtepi32_ps(sums[0]));
            _mm512_storeu_ps(out[LANES / 2..].as_mut_ptr(), _mm512_cvtepi32_ps(sums[1]));
        }
    }
}
