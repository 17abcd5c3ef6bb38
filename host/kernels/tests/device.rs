//! A device changes no bit, however roughly it multiplies within what devices are allowed.

mod common;

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::pairs::same_as_the_cpu;
use common::*;
use querist_kernels::{
    Accelerator, AcceleratorError, Candidate, CentreTerms, Compute, Cover, Resident, RowTerms, Search, Wanted,
};
use querist_protocol::{FaultCode, HostCalls, Metric, Reduction};

/// Multiplies by the book and then errs as far as a device may, up and down by turns.
#[derive(Debug, Default)]
struct Rough {
    calls: Arc<AtomicUsize>,
    fails: bool,
}

#[derive(Debug, Clone)]
struct Copied(Vec<Vec<f32>>);

impl Resident for Copied {}

#[derive(Debug)]
struct Pairs {
    calls: Arc<AtomicUsize>,
    rows: Vec<Copied>,
    centres: Vec<Copied>,
    /// Lower and upper term, and scale.
    terms: Vec<[f64; 3]>,
}

fn copied(all: &[Arc<dyn Resident>]) -> Vec<Copied> {
    let one = |resident: &Arc<dyn Resident>| {
        let resident: &dyn Any = &**resident;
        resident.downcast_ref::<Copied>().unwrap().clone()
    };
    all.iter().map(one).collect()
}

impl Accelerator for Rough {
    fn is_worth(&self, _: u64) -> bool {
        true
    }

    fn upload(&self, values: &[f32], columns: usize) -> Result<Arc<dyn Resident>, AcceleratorError> {
        if self.fails {
            return Err(AcceleratorError("no room for 7 MiB".to_owned()));
        }
        Ok(Arc::new(Copied(values.chunks(columns).map(<[f32]>::to_vec).collect())))
    }

    fn search(
        &self,
        rows: &[Arc<dyn Resident>],
        centres: &[Arc<dyn Resident>],
        terms: CentreTerms<'_>,
    ) -> Result<Box<dyn Search>, AcceleratorError> {
        let all = (0..terms.low.len()).map(|at| [terms.low[at], terms.high[at], terms.scale[at]]);
        let (rows, centres) = (copied(rows), copied(centres));
        Ok(Box::new(Pairs { calls: Arc::clone(&self.calls), rows, centres, terms: all.collect() }))
    }
}

impl Pairs {
    fn product(&self, row: usize, centre: usize) -> f32 {
        let (mut product, mut norms, mut columns) = (1.0, 1.0, 0);
        for (rows, centres) in self.rows.iter().zip(&self.centres) {
            let (x, y) = (&rows.0[row], &centres.0[centre]);
            product *= dot(x, y);
            norms *= (dot(x, x) * dot(y, y)).sqrt();
            columns += x.len();
        }
        // One product of two errs by both, so a little less than the bound of the whole.
        let error = 1.2 * (columns as f64 + 16.0) * 2f64.powi(-24) * norms;
        (if (row + centre).is_multiple_of(2) { product + error } else { product - error }) as f32
    }
}

impl Search for Pairs {
    fn candidates(
        &self,
        rows: Range<usize>,
        terms: &[RowTerms],
        wanted: Wanted<'_>,
    ) -> Result<Vec<Candidate>, AcceleratorError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut found = Vec::new();
        for (row, own) in terms.iter().enumerate() {
            let products: Vec<f32> = (0..self.terms.len()).map(|c| self.product(rows.start + row, c)).collect();
            let reach = |c: usize| own.scale * (self.terms[c][2] * f64::from(products[c]));
            let low = |c: usize| own.low + (self.terms[c][0] - reach(c));
            let limit = |c: usize| match wanted {
                Wanted::UpTo(limit) => limit,
                Wanted::WithinCentres(limits) => limits[c],
                Wanted::Nearest(count) => {
                    let mut highs: Vec<f64> =
                        (0..products.len()).map(|c| own.high + (self.terms[c][1] - reach(c))).collect();
                    highs.sort_by(f64::total_cmp);
                    highs.get(count - 1).copied().unwrap_or(f64::INFINITY)
                }
            };
            let nearest = matches!(wanted, Wanted::Nearest(_)).then(|| limit(0));
            let near = (0..products.len()).filter(|&c| low(c) <= nearest.unwrap_or_else(|| limit(c)));
            found.extend(near.map(|c| Candidate { row: row as u32, centre: c as u32, product: products[c] }));
        }
        Ok(found)
    }

    fn gains(&self, rows: Range<usize>, terms: &[RowTerms], cover: Cover<'_>) -> Result<Vec<f64>, AcceleratorError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let of_row = |(row, own): (usize, &RowTerms)| {
            let of_centre = |c: usize| {
                let product = f64::from(self.product(rows.start + row, c));
                let low = own.low + (self.terms[c][0] - own.scale * (self.terms[c][2] * product));
                let gain = (similarity(cover.similarity, low.max(0.0)) - cover.cover[c]).max(0.0);
                cover.weights.map_or(gain, |weights| weights[c] * gain)
            };
            // Too small, as far as a device may be.
            (0..self.terms.len()).map(of_centre).sum::<f64>() * (1.0 - 1e-9)
        };
        Ok(terms.iter().enumerate().map(of_row).collect())
    }
}

#[test]
fn a_rough_device_gives_the_bits_of_the_cpu() {
    let device = Rough::default();
    let calls = Arc::clone(&device.calls);
    same_as_the_cpu(&Compute { threads: 2, accelerator: Some(Arc::new(device)) }, 150);
    assert!(calls.load(Ordering::Relaxed) > 100, "the device was hardly asked");
}

#[test]
fn a_device_that_fails_ends_the_call_with_its_own_words() {
    let device = Rough { fails: true, ..Rough::default() };
    let session = session_on(Compute { threads: 1, accelerator: Some(Arc::new(device)) });
    let x = data(Kind::Random, 40, 5, 1).handle(&session);
    let fault = session.distance_reduce(x, x, Metric::Euclidean, Reduction::Min).unwrap_err();
    assert_eq!(fault.code, FaultCode::Quota);
    assert_eq!(fault.message, "no room for 7 MiB");
}
