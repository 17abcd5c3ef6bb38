//! The threads of one query. Work is cut into fixed blocks, so their number never shows in a result.

use std::sync::Arc;

use querist_protocol::Fault;
use rayon::prelude::*;

use crate::accelerator::{Accelerator, Compute};
use crate::control::Control;

/// Threads and the control of a query.
#[derive(Debug)]
pub(crate) struct Workers {
    control: Arc<Control>,
    pool: Option<rayon::ThreadPool>,
    accelerator: Option<Arc<dyn Accelerator>>,
}

impl Workers {
    /// One thread means the caller's own.
    pub(crate) fn new(control: Arc<Control>, compute: &Compute) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = compute.threads.max(1);
        let named = |index| format!("querist-kernel-{index}");
        let build = || rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(named).build();
        let pool = if threads > 1 { Some(build()?) } else { None };
        Ok(Self { control, pool, accelerator: compute.accelerator.clone() })
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The device beside the CPU, if it is faster with products of so many rows and centres.
    pub(crate) fn device_for(&self, rows: usize, centres: usize, width: usize) -> Option<&dyn Accelerator> {
        let multiplications = (rows as u64).saturating_mul(centres as u64).saturating_mul(width as u64);
        self.accelerator.as_deref().filter(|device| device.is_worth(multiplications))
    }

    /// Calls `f(first position, block)` on each block of `out`.
    pub(crate) fn fill<T: Send>(
        &self,
        out: &mut [T],
        block: usize,
        f: impl Fn(usize, &mut [T]) -> Result<(), Fault> + Sync,
    ) -> Result<(), Fault> {
        let one = |(index, part): (usize, &mut [T])| {
            self.control.check()?;
            f(index * block, part)
        };
        match &self.pool {
            Some(pool) => pool.install(|| out.par_chunks_mut(block).enumerate().try_for_each(one)),
            None => out.chunks_mut(block).enumerate().try_for_each(one),
        }
    }

    /// Calls `f(first position, block of a, block of b)` on the blocks of two lists of equal length.
    pub(crate) fn fill_two<A: Send, B: Send>(
        &self,
        (a, b): (&mut [A], &mut [B]),
        block: usize,
        f: impl Fn(usize, &mut [A], &mut [B]) -> Result<(), Fault> + Sync,
    ) -> Result<(), Fault> {
        let one = |(index, (a, b)): (usize, (&mut [A], &mut [B]))| {
            self.control.check()?;
            f(index * block, a, b)
        };
        match &self.pool {
            Some(pool) => {
                pool.install(|| a.par_chunks_mut(block).zip(b.par_chunks_mut(block)).enumerate().try_for_each(one))
            }
            None => a.chunks_mut(block).zip(b.chunks_mut(block)).enumerate().try_for_each(one),
        }
    }

    /// The results of `f(0)` to `f(count - 1)`, in order.
    pub(crate) fn map<R: Send>(
        &self,
        count: usize,
        f: impl Fn(usize) -> Result<R, Fault> + Sync,
    ) -> Result<Vec<R>, Fault> {
        let one = |index: usize| {
            self.control.check()?;
            f(index)
        };
        match &self.pool {
            Some(pool) => pool.install(|| (0..count).into_par_iter().map(one).collect()),
            None => (0..count).map(one).collect(),
        }
    }
}
