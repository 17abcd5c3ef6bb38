//! Kernels with libtorch's products give the bits of the kernels alone.

#[path = "../../kernels/tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use querist_kernels::{Accelerator, AcceleratorError, CentreTerms, Compute, Resident, Search};
use querist_learn::TorchAccelerator;

/// Uses libtorch for the smallest tasks too.
#[derive(Debug)]
struct Always(TorchAccelerator);

impl Accelerator for Always {
    fn is_worth(&self, _: u64) -> bool {
        true
    }

    fn upload(&self, values: &[f32], columns: usize) -> Result<Arc<dyn Resident>, AcceleratorError> {
        self.0.upload(values, columns)
    }

    fn search(
        &self,
        rows: &[Arc<dyn Resident>],
        centres: &[Arc<dyn Resident>],
        terms: CentreTerms<'_>,
    ) -> Result<Box<dyn Search>, AcceleratorError> {
        self.0.search(rows, centres, terms)
    }
}

#[test]
fn libtorch_on_the_cpu_gives_the_bits_of_the_kernels() {
    let device = Always(TorchAccelerator::new("cpu").unwrap());
    common::pairs::same_as_the_cpu(&Compute { threads: 2, accelerator: Some(Arc::new(device)) }, 1300);
}

#[test]
fn a_gpu_gives_the_bits_of_the_kernels() {
    if !tch::Cuda::is_available() {
        eprintln!("skipped: no GPU");
        return;
    }
    let device = Always(TorchAccelerator::new("cuda:0").unwrap());
    common::pairs::same_as_the_cpu(&Compute { threads: 2, accelerator: Some(Arc::new(device)) }, 1300);
}
