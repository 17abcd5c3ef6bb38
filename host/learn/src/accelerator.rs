//! Bounds for kernels from libtorch, which may use a GPU.

use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use querist_core::LearnError;
use querist_kernels::{
    Accelerator, AcceleratorError, Candidate, CentreTerms, Cover, Resident, RowTerms, Search, Wanted,
};
use querist_protocol::{Similarity, SimilarityKind};
use querist_torchx::runtime;
use tch::{Device, Kind, TchError, Tensor};

use crate::device;
use crate::fault::Doing;

/// Multiplications that cost more than the way to the device and back.
const WORTH: u64 = 1 << 24;

/// A device of libtorch that finds pairs of rows for kernels.
#[derive(Debug)]
pub struct TorchAccelerator {
    device: Device,
    name: String,
}

impl TorchAccelerator {
    /// The device of this name: `cpu`, `cuda` or `cuda:N`.
    ///
    /// # Errors
    /// [`LearnError::Config`] if there is no such device, or if it multiplies in less than single precision, which
    /// would make its bounds wrong.
    pub fn new(name: &str) -> Result<Self, LearnError> {
        let device = device::parse(name, &runtime::describe().cuda)?;
        let this = Self { device, name: name.to_owned() };
        if this.rounds_factors().doing("trying the device")? {
            let message = format!(
                "device `{name}` multiplies matrices in less than single precision; TF32 must be off (unset \
                 NVIDIA_TF32_OVERRIDE), or use `cpu`"
            );
            return Err(LearnError::Config(message));
        }
        Ok(this)
    }

    /// Whether a product of matrices loses the last bits of its factors.
    fn rounds_factors(&self) -> Result<bool, TchError> {
        const SIDE: usize = 512;
        // One value a row that needs all bits, so that no sum can hide what rounding took.
        let value = 1.0 + f32::EPSILON;
        let diagonal: Vec<f32> = (0..SIDE * SIDE).map(|at| if at % (SIDE + 1) == 0 { value } else { 0.0 }).collect();
        let tensor = self.tensor(&diagonal, SIDE)?;
        let product = tensor.f_matmul(&Tensor::f_ones_like(&tensor)?)?.f_to_device(Device::Cpu)?;
        let found = Vec::<f32>::try_from(product.f_view([-1])?)?;
        Ok(found.iter().any(|&found| found != value))
    }

    fn tensor(&self, values: &[f32], columns: usize) -> Result<Tensor, TchError> {
        let shape = [(values.len() / columns) as i64, columns as i64];
        Tensor::f_from_data_size(bytemuck::cast_slice(values), &shape, Kind::Float)?.f_to_device(self.device)
    }

    fn terms(&self, values: &[f64], shape: [i64; 2]) -> Result<Tensor, TchError> {
        Tensor::f_from_data_size(bytemuck::cast_slice(values), &shape, Kind::Double)?.f_to_device(self.device)
    }

    /// One value a row, as a column.
    fn column(&self, terms: &[RowTerms], of: fn(&RowTerms) -> f64) -> Result<Tensor, TchError> {
        let values: Vec<f64> = terms.iter().map(of).collect();
        self.terms(&values, [values.len() as i64, 1])
    }

    fn failed(&self, doing: &str, bytes: usize, error: &TchError) -> AcceleratorError {
        // libtorch's reports end in a trace of its own.
        let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
        AcceleratorError(format!(
            "device `{}` failed while {doing} ({} MiB asked for): {reason}; free memory on it, or start anew with \
             `--device cpu`",
            self.name,
            bytes.div_ceil(1 << 20),
        ))
    }
}

impl Accelerator for TorchAccelerator {
    fn is_worth(&self, multiplications: u64) -> bool {
        multiplications >= WORTH
    }

    fn upload(&self, values: &[f32], columns: usize) -> Result<Arc<dyn Resident>, AcceleratorError> {
        let tensor = tch::no_grad(|| self.tensor(values, columns));
        let tensor = tensor.map_err(|error| self.failed("copying rows to it", size_of_val(values), &error))?;
        Ok(Arc::new(OnDevice(Mutex::new(tensor))))
    }

    fn search(
        &self,
        rows: &[Arc<dyn Resident>],
        centres: &[Arc<dyn Resident>],
        terms: CentreTerms<'_>,
    ) -> Result<Box<dyn Search>, AcceleratorError> {
        let count = terms.low.len();
        let prepare = || {
            let shape = [1, count as i64];
            let transposed = |centres: &Arc<dyn Resident>| tensor_of(centres)?.f_transpose(0, 1);
            Ok(Prepared {
                rows: rows.iter().map(tensor_of).collect::<Result<_, _>>()?,
                centres: centres.iter().map(transposed).collect::<Result<_, _>>()?,
                low: self.terms(terms.low, shape)?,
                high: self.terms(terms.high, shape)?,
                scale: self.terms(terms.scale, shape)?,
            })
        };
        let prepared = tch::no_grad(prepare);
        let prepared = prepared.map_err(|error| self.failed("preparing a search", 24 * count, &error))?;
        let accelerator = Self { device: self.device, name: self.name.clone() };
        Ok(Box::new(TorchSearch { accelerator, prepared: Mutex::new(prepared) }))
    }
}

/// A matrix on the device. Tensors may wander between threads, but are not shared by them.
#[derive(Debug)]
struct OnDevice(Mutex<Tensor>);

impl Resident for OnDevice {}

/// The tensor of a matrix that this module uploaded.
fn tensor_of(resident: &Arc<dyn Resident>) -> Result<Tensor, TchError> {
    let resident: &dyn Any = &**resident;
    match resident.downcast_ref::<OnDevice>() {
        Some(OnDevice(tensor)) => Ok(lock(tensor).shallow_clone()),
        None => Err(TchError::Torch("a matrix of another device".to_owned())),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both sides of a search, with the terms of the centres as rows of `f64`.
#[derive(Debug)]
struct Prepared {
    rows: Vec<Tensor>,
    centres: Vec<Tensor>,
    low: Tensor,
    high: Tensor,
    scale: Tensor,
}

/// One call at a time, so that threads share the memory of a call.
#[derive(Debug)]
struct TorchSearch {
    accelerator: TorchAccelerator,
    prepared: Mutex<Prepared>,
}

impl Search for TorchSearch {
    fn candidates(
        &self,
        rows: Range<usize>,
        terms: &[RowTerms],
        wanted: Wanted<'_>,
    ) -> Result<Vec<Candidate>, AcceleratorError> {
        let prepared = lock(&self.prepared);
        let pairs = terms.len() * prepared.low.size()[1] as usize;
        let found = tch::no_grad(|| prepared.find(&self.accelerator, rows, terms, wanted));
        found.map_err(|error| self.accelerator.failed("looking for near rows", 30 * pairs, &error))
    }

    fn gains(&self, rows: Range<usize>, terms: &[RowTerms], cover: Cover<'_>) -> Result<Vec<f64>, AcceleratorError> {
        let prepared = lock(&self.prepared);
        let pairs = terms.len() * prepared.low.size()[1] as usize;
        let found = tch::no_grad(|| prepared.gains(&self.accelerator, &rows, terms, cover));
        found.map_err(|error| self.accelerator.failed("bounding gains", 30 * pairs, &error))
    }
}

impl Prepared {
    fn find(
        &self,
        accelerator: &TorchAccelerator,
        rows: Range<usize>,
        terms: &[RowTerms],
        wanted: Wanted<'_>,
    ) -> Result<Vec<Candidate>, TchError> {
        let column = |of| accelerator.column(terms, of);
        let products = self.products(&rows)?;
        let reach = self.reach(&products, &column(|terms| terms.scale)?)?;
        let row_low = column(|terms| terms.low)?;
        // Each comparison allows for the roundings of its own sums: the caller looks at the pairs again.
        let hair = 1e-12;
        let limits = match wanted {
            Wanted::Nearest(count) => {
                let high = self.high.f_sub(&reach)?;
                let count = (count as i64).min(high.size()[1]);
                let (nearest, _) = high.f_topk(count, 1, false, false)?;
                let high = nearest.f_amax([1].as_slice(), true)?;
                let row_high = column(|terms| terms.high)?;
                let size = row_high.f_abs()?.f_add(&high.f_abs()?)?;
                row_high.f_add(&high)?.f_add(&size.f_mul_scalar(hair)?)?.f_sub(&row_low)?
            }
            Wanted::UpTo(limit) => {
                let limits = row_low.f_neg()?.f_add_scalar(limit)?;
                let size = row_low.f_abs()?.f_add_scalar(limit.abs())?;
                limits.f_add(&size.f_mul_scalar(hair)?)?
            }
            Wanted::WithinCentres(limits) => {
                let limits = accelerator.terms(limits, [1, limits.len() as i64])?;
                let size = row_low.f_abs()?.f_add(&limits.f_abs()?)?;
                limits.f_sub(&row_low)?.f_add(&size.f_mul_scalar(hair)?)?
            }
        };
        // Not `low <= limits`: infinite limits may have become NaN, and leave everything open.
        let is_far = self.low.f_sub(&reach)?.f_gt_tensor(&limits)?;
        let places = is_far.f_logical_not()?.f_view([-1])?.f_nonzero()?.f_view([-1])?;
        let products = products.f_view([-1])?.f_index_select(0, &places)?;
        let places = Vec::<i64>::try_from(places.f_to_device(Device::Cpu)?)?;
        let products = Vec::<f32>::try_from(products.f_to_device(Device::Cpu)?)?;
        let centres = self.low.size()[1];
        let candidate = |(place, product): (i64, f32)| Candidate {
            row: (place / centres) as u32,
            centre: (place % centres) as u32,
            product,
        };
        Ok(places.into_iter().zip(products).map(candidate).collect())
    }

    fn gains(
        &self,
        accelerator: &TorchAccelerator,
        rows: &Range<usize>,
        terms: &[RowTerms],
        cover: Cover<'_>,
    ) -> Result<Vec<f64>, TchError> {
        let column = |of| accelerator.column(terms, of);
        let row = |values: &[f64]| accelerator.terms(values, [1, values.len() as i64]);
        let mut lows = self.reach(&self.products(rows)?, &column(|terms| terms.scale)?)?;
        let mut lows = lows.f_neg_()?.f_add_(&self.low)?.f_add_(&column(|terms| terms.low)?)?;
        let mut similar = similarity(cover.similarity, &lows.f_clamp_min_(0.0)?)?;
        let mut gains = similar.f_sub_(&row(cover.cover)?)?.f_clamp_min_(0.0)?;
        if let Some(weights) = cover.weights {
            gains = gains.f_mul_(&row(weights)?)?;
        }
        Vec::try_from(gains.f_sum_dim_intlist(1, false, None)?.f_to_device(Device::Cpu)?)
    }

    /// What products take from the terms of their rows and centres.
    fn reach(&self, products: &Tensor, row_scales: &Tensor) -> Result<Tensor, TchError> {
        products.f_to_kind(Kind::Double)?.f_mul_(&self.scale)?.f_mul_(row_scales)
    }

    /// Products of some rows with all centres.
    fn products(&self, rows: &Range<usize>) -> Result<Tensor, TchError> {
        let mut product: Option<Tensor> = None;
        for (own, centres) in self.rows.iter().zip(&self.centres) {
            let own = own.f_narrow(0, rows.start as i64, rows.len() as i64)?.f_matmul(centres)?;
            product = Some(match product {
                None => own,
                Some(product) => product.f_mul(&own)?,
            });
        }
        product.ok_or_else(|| TchError::Torch("a search without rows".to_owned()))
    }
}

/// At least the similarity of rows at these squared distances, and hardly more.
fn similarity(Similarity { kind, width }: Similarity, squares: &Tensor) -> Result<Tensor, TchError> {
    // More than rounding takes.
    const HAIR: f64 = 1.0 + 1e-12;
    // A device may take exponentials below the normal numbers for 0, and hosts do not.
    const SMALLEST: f64 = 1e-300;
    let exp = |power: Tensor| power.f_exp()?.f_mul_scalar_(HAIR)?.f_clamp_min_(SMALLEST);
    let scaled = |by: f64| squares.f_div_scalar(width * width)?.f_mul_scalar_(by);
    match kind {
        SimilarityKind::Rbf => exp(scaled(-1.0)?),
        SimilarityKind::Laplace => exp(squares.f_sqrt()?.f_div_scalar_(width)?.f_neg_()?),
        SimilarityKind::Student => exp(scaled(2.0)?.f_log1p_()?.f_mul_scalar_(-0.75)?),
        SimilarityKind::Cauchy => squares.f_add_scalar(1.0)?.f_reciprocal_()?.f_mul_scalar_(HAIR),
        SimilarityKind::TopHat => squares.f_sqrt()?.f_lt(width)?.f_to_kind(Kind::Double),
    }
}
