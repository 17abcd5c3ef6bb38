//! Bounds on many distances at once from single-precision matrix products.
//!
//! A product x·y of D columns in `f32`, summed in any order, is wrong by at most D 2⁻²⁴ ‖x‖‖y‖ and a little for
//! underflow; so distances made from it and from exact norms have rigorous bounds. Whatever the bounds leave open is
//! computed by [`Points::raw_distance`], so the product's own rounding never reaches a result.

use std::ops::Range;
use std::sync::Arc;

use querist_protocol::{Fault, Metric};

use crate::accelerator::{AcceleratorError, Candidate, CentreTerms, Cover, RowTerms, Search, Wanted};
use crate::control::Control;
use crate::memory::{Charge, Charged};
use crate::points::Points;
use crate::products::Panels;
use crate::simd::for_each_cpu;
use crate::workers::Workers;

/// Rows of one product.
pub(crate) const TILE_ROWS: usize = 128;
/// Centres of one product at most.
const TILE_CENTRES: usize = 512;
/// Pairs that a device looks at in one call: about a GiB of its memory.
const DEVICE_PAIRS: usize = 1 << 25;
/// The most rows of one such call.
const DEVICE_ROWS: usize = 1024;
/// Below this many centres a product gains nothing.
const FEWEST_CENTRES: usize = 12;

/// Below this squared norm, underflow may matter to an angle.
const SMALLEST_ANGLE: f64 = 1e-30;

/// Raw distances of `rows` to `centres`, bounded: row term + centre term - row scale * centre scale * product.
pub(crate) struct Filter<'a> {
    pub(crate) rows: &'a Points,
    pub(crate) centres: &'a Points,
    pub(crate) metric: Metric,
    low: Charged<f64>,
    high: Charged<f64>,
    scale: Charged<f64>,
    /// Error of a product over the product of norms.
    relative: f64,
    absolute: f64,
    largest: crate::points::Norms,
    tile_centres: usize,
    /// The same on a device, if that is faster.
    device: Option<Box<dyn Search>>,
}

/// Pairs that a device found.
pub(crate) struct Candidates<'a> {
    filter: &'a Filter<'a>,
    found: Vec<Candidate>,
    _room: Charge,
}

impl Candidates<'_> {
    /// Row in the block, centre, and the bounds of their distance.
    pub(crate) fn iter<'a>(&'a self, terms: &'a [RowTerms]) -> impl Iterator<Item = (usize, usize, f64, f64)> + 'a {
        self.found.iter().map(|found| {
            let (row, centre) = (found.row as usize, found.centre as usize);
            let (low, high) = self.filter.bounds(&terms[row], centre, found.product);
            (row, centre, low, high)
        })
    }
}

/// Products of one block of rows with one block of centres. A tile serves the filter that made it only.
pub(crate) struct Tile {
    products: Vec<f32>,
    second: Vec<f32>,
    panels: (Panels, Panels),
    centres: Range<usize>,
}

impl<'a> Filter<'a> {
    /// Bounds between two sets that fit each other, or `None` where single precision cannot give any worth having.
    pub(crate) fn new(
        workers: &Workers,
        rows: &'a Points,
        centres: &'a Points,
        metric: Metric,
    ) -> Result<Option<Self>, Fault> {
        let width = rows.width();
        let (x, y) = (rows.largest_norms(), centres.largest_norms());
        // A product may not overflow, nor may its factors; each is at most the product of norms.
        let safe = |a: f64, b: f64| a.sqrt() * b.sqrt() < 1e37;
        let in_range = safe(x.whole, y.whole) && safe(x.left, y.left) && safe(x.right, y.right);
        let has_columns = match rows.as_factored() {
            Some(factors) => factors.left.columns() > 0 && factors.right.columns() > 0,
            None => width > 0,
        };
        let tiny = |&norm: &f64| norm > 0.0 && norm < SMALLEST_ANGLE;
        let lost = metric == Metric::Cosine && centres.sq_norms().iter().any(tiny);
        if centres.len() < FEWEST_CENTRES || !in_range || !has_columns || lost || width > 1 << 20 {
            return Ok(None);
        }
        let unit = f64::from(f32::EPSILON) / 2.0;
        let relative = 1.25 * (width as f64 + 16.0) * unit;
        // Values and products below the normal numbers may become 0, and a lost product is then multiplied by that of
        // the other factor.
        let underflow = (width as f64 + 16.0) * 2f64.powi(-120);
        let lost = |a: f64, b: f64| underflow * (1.0 + a.sqrt() + b.sqrt());
        let (left, right) = (lost(x.left, y.left), lost(x.right, y.right));
        let absolute = left * (1.0 + safe_product(x.right, y.right)) + right * (1.0 + safe_product(x.left, y.left));
        let control = workers.control();
        let mut filter = Self {
            rows,
            centres,
            metric,
            low: Charged::filled(control, centres.len(), 0.0)?,
            high: Charged::filled(control, centres.len(), 0.0)?,
            scale: Charged::filled(control, centres.len(), 1.0)?,
            relative,
            absolute,
            largest: y,
            device: None,
            tile_centres: ((1 << 26) / (TILE_ROWS * width)).clamp(16, TILE_CENTRES),
        };
        for (centre, &norm) in centres.sq_norms().iter().enumerate() {
            if metric == Metric::Cosine {
                filter.scale[centre] = if norm > 0.0 { 1.0 / norm.sqrt() } else { 0.0 };
            } else {
                filter.low[centre] = norm * (1.0 - relative);
                filter.high[centre] = norm * (1.0 + relative);
            }
        }
        Ok(Some(filter))
    }

    /// What does not depend on the centre.
    pub(crate) fn row_terms(&self, row: usize) -> RowTerms {
        let norm = self.rows.sq_norms()[row];
        let rounding = 2.0 * self.rows.largest_rounding(self.metric, row, &self.largest);
        if self.metric != Metric::Cosine {
            let slack = rounding + self.absolute;
            return RowTerms {
                low: norm * (1.0 - self.relative) - slack,
                high: norm * (1.0 + self.relative) + slack,
                scale: 2.0,
            };
        }
        // A row of norm 0 has no angle, and very small ones lose their products to underflow: leave them all open.
        let open = norm < SMALLEST_ANGLE;
        let slack = if open { 4.0 } else { self.relative + rounding };
        let scale = if open { 0.0 } else { 1.0 / norm.sqrt() };
        RowTerms { low: 1.0 - slack, high: 1.0 + slack, scale }
    }

    /// The same filter, which finds candidates on the query's device if it has one and there is enough to do.
    pub(crate) fn on_device(mut self, workers: &Workers) -> Result<Self, Fault> {
        let (rows, centres, width) = (self.rows.len(), self.centres.len(), self.rows.width());
        if self.rows.are_far() || self.centres.are_far() {
            return Ok(self);
        }
        let Some(accelerator) = workers.device_for(rows, centres, width) else { return Ok(self) };
        let (rows, centres) = (self.rows.residents(accelerator)?, self.centres.residents(accelerator)?);
        let terms = CentreTerms { low: &self.low, high: &self.high, scale: &self.scale };
        self.device = Some(accelerator.search(rows, centres, terms).map_err(AcceleratorError::fault)?);
        Ok(self)
    }

    /// Whether a device finds the candidates.
    pub(crate) fn has_device(&self) -> bool {
        self.device.is_some()
    }

    /// Rows that are looked at together.
    pub(crate) fn block_rows(&self) -> usize {
        match &self.device {
            Some(_) => device_rows(self.centres.len()),
            None => TILE_ROWS,
        }
    }

    /// What the device finds among a block of rows and all centres, in the order of rows, then of centres; `None`
    /// without a device.
    pub(crate) fn candidates(
        &self,
        rows: Range<usize>,
        terms: &[RowTerms],
        wanted: Wanted<'_>,
        control: &Arc<Control>,
    ) -> Result<Option<Candidates<'_>>, Fault> {
        let Some(device) = &self.device else { return Ok(None) };
        control.check()?;
        let found = device.candidates(rows, terms, wanted).map_err(AcceleratorError::fault)?;
        let room = Charge::of::<Candidate>(control, found.len())?;
        Ok(Some(Candidates { filter: self, found, _room: room }))
    }

    /// What the rows could add to the cover at most, by the device; `None` without one.
    pub(crate) fn gains(
        &self,
        terms: &[RowTerms],
        cover: Cover<'_>,
        control: &Arc<Control>,
    ) -> Result<Option<Vec<f64>>, Fault> {
        let Some(device) = &self.device else { return Ok(None) };
        control.check()?;
        device.gains(0..terms.len(), terms, cover).map(Some).map_err(AcceleratorError::fault)
    }

    /// Blocks of centres that cover them all.
    pub(crate) fn centre_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (count, step) = (self.centres.len(), self.tile_centres);
        (0..count).step_by(step).map(move |start| start..(start + step).min(count))
    }

    /// Room for the products of one block of rows.
    pub(crate) fn tile(&self) -> Tile {
        let size = TILE_ROWS * self.tile_centres;
        let second = if self.rows.as_factored().is_some() { vec![0.0; size] } else { Vec::new() };
        Tile { products: vec![0.0; size], second, panels: Default::default(), centres: 0..0 }
    }

    /// Products of `rows` (at most [`TILE_ROWS`]) with `centres`.
    pub(crate) fn multiply(
        &self,
        tile: &mut Tile,
        rows: Range<usize>,
        centres: Range<usize>,
        control: &Control,
    ) -> Result<(), Fault> {
        control.check()?;
        tile.centres = centres.clone();
        match (self.rows.as_factored(), self.centres.as_factored()) {
            (Some(x), Some(y)) => {
                let (left, right) = &mut tile.panels;
                left.multiply(&mut tile.products, (&x.left, rows.clone()), (&y.left, centres.clone()));
                right.multiply(&mut tile.second, (&x.right, rows), (&y.right, centres));
                for (product, &second) in tile.products.iter_mut().zip(&tile.second) {
                    *product *= second;
                }
            }
            _ => {
                if let (Some(x), Some(y)) = (self.rows.as_plain(), self.centres.as_plain()) {
                    tile.panels.0.multiply(&mut tile.products, (x, rows), (y, centres));
                }
            }
        }
        Ok(())
    }

    /// The smallest upper bound of a row of the tile, without the row's own term.
    pub(crate) fn smallest_high(&self, tile: &Tile, row_in_tile: usize, terms: &RowTerms) -> f64 {
        let (products, centres) = (self.products(tile, row_in_tile), tile.centres.clone());
        smallest(products, &self.high[centres.clone()], &self.scale[centres], terms.scale)
    }

    /// Calls `found(centre, lower bound, upper bound)` for each centre whose lower bound is at most `threshold`.
    pub(crate) fn each_low_up_to(
        &self,
        tile: &Tile,
        row_in_tile: usize,
        terms: &RowTerms,
        threshold: f64,
        mut found: impl FnMut(usize, f64, f64) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let products = self.products(tile, row_in_tile);
        let first = tile.centres.start;
        let limit = threshold - terms.low;
        for (block, products) in products.chunks(BLOCK).enumerate() {
            let start = first + block * BLOCK;
            let centres = start..start + products.len();
            if !any_up_to(products, &self.low[centres.clone()], &self.scale[centres.clone()], terms.scale, limit) {
                continue;
            }
            for (&product, centre) in products.iter().zip(centres) {
                let (low, high) = self.bounds(terms, centre, product);
                if low <= threshold {
                    found(centre, low, high)?;
                }
            }
        }
        Ok(())
    }

    /// Lower bounds of a row of the tile, one for each centre of it.
    pub(crate) fn lows(&self, tile: &Tile, row_in_tile: usize, terms: &RowTerms, out: &mut [f64]) {
        let (products, centres) = (self.products(tile, row_in_tile), tile.centres.clone());
        write_lows(out, products, &self.low[centres.clone()], &self.scale[centres], terms.low, terms.scale);
    }

    #[inline]
    fn bounds(&self, terms: &RowTerms, centre: usize, product: f32) -> (f64, f64) {
        let reach = terms.scale * (self.scale[centre] * f64::from(product));
        (terms.low + (self.low[centre] - reach), terms.high + (self.high[centre] - reach))
    }

    fn products<'t>(&self, tile: &'t Tile, row_in_tile: usize) -> &'t [f32] {
        &tile.products[row_in_tile * tile.centres.len()..][..tile.centres.len()]
    }
}

/// Rows that a device looks at in one call, with so many centres.
pub(crate) fn device_rows(centres: usize) -> usize {
    (DEVICE_PAIRS / centres).clamp(TILE_ROWS, DEVICE_ROWS)
}

fn safe_product(x: f64, y: f64) -> f64 {
    x.sqrt() * y.sqrt()
}

/// Values that are tested at once.
const BLOCK: usize = 64;

for_each_cpu! {
    fn smallest(products: &[f32], high: &[f64], scale: &[f64], row_scale: f64) -> f64 {
        const LANES: usize = 16;
        let mut lanes = [f64::INFINITY; LANES];
        let (blocks, rest) = products.as_chunks::<LANES>();
        let (highs, high_rest) = high.as_chunks::<LANES>();
        let (scales, scale_rest) = scale.as_chunks::<LANES>();
        for ((p, h), s) in blocks.iter().zip(highs).zip(scales) {
            for lane in 0..LANES {
                let value = h[lane] - row_scale * (s[lane] * f64::from(p[lane]));
                lanes[lane] = if value < lanes[lane] { value } else { lanes[lane] };
            }
        }
        let mut best = lanes.into_iter().fold(f64::INFINITY, f64::min);
        for ((&p, &h), &s) in rest.iter().zip(high_rest).zip(scale_rest) {
            best = best.min(h - row_scale * (s * f64::from(p)));
        }
        best
    }
}

for_each_cpu! {
    fn write_lows(out: &mut [f64], products: &[f32], low: &[f64], scale: &[f64], row_low: f64, row_scale: f64) {
        for (((out, &p), &l), &s) in out.iter_mut().zip(products).zip(low).zip(scale) {
            *out = row_low + (l - row_scale * (s * f64::from(p)));
        }
    }
}

for_each_cpu! {
    fn any_up_to(products: &[f32], low: &[f64], scale: &[f64], row_scale: f64, limit: f64) -> bool {
        let mut any = false;
        // A hair more than the limit, because the caller adds in another order.
        let limit = limit + limit.abs() * 1e-12;
        for ((&p, &l), &s) in products.iter().zip(low).zip(scale) {
            any |= l - row_scale * (s * f64::from(p)) <= limit;
        }
        any
    }
}
