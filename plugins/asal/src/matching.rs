//! The samples of the pool that are most like generated images.

use querist_sdk_torch::prelude::*;

/// Generated images that are compared at once.
const BLOCK: i64 = 256;

/// How libtorch computes distances: by differences, so that equal points are at distance 0.
const EXACTLY: i64 = 2;

/// The first principal components of features.
#[derive(Debug)]
pub struct Pca {
    /// `f32 [d]`.
    pub mean: Tensor,
    /// `f32 [d, k]`, orthonormal columns.
    pub components: Tensor,
}

impl Pca {
    /// Of features `f32 [n, d]`, keeping `most` components or all.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn fit(features: &Tensor, most: i64) -> Result<Self> {
        let (n, width) = features.size2()?;
        let mean = features.f_mean_dim([0].as_slice(), false, None)?;
        if width <= most {
            let all = Tensor::f_eye(width, (Kind::Float, features.device()))?;
            return Ok(Self { mean, components: all });
        }
        let centred = features.f_sub(&mean)?.f_to_kind(Kind::Double)?;
        let covariance = centred.f_tr()?.f_matmul(&centred)?.f_div_scalar(n.max(1) as f64)?;
        // Eigenvalues rise.
        let (_, vectors) = covariance.f_linalg_eigh("L")?;
        let components = vectors.f_narrow(1, width - most, most)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        Ok(Self { mean, components })
    }

    /// Coordinates `f32 [n, k]` of features `f32 [n, d]`.
    ///
    /// # Errors
    /// If the features are of another width.
    pub fn project(&self, features: &Tensor) -> Result<Tensor> {
        Ok(features.f_sub(&self.mean)?.f_matmul(&self.components)?)
    }
}

/// For each generated image, `f32 [m, k]`, in this order, the position of the nearest of the pool, `f32 [n, k]`, that no
/// image before it took. Among equals the lower position. Ends when the pool is used up.
///
/// # Errors
/// If libtorch fails or `go_on` says so.
pub fn nearest_free(pool: &Tensor, generated: &Tensor, go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<Vec<usize>> {
    let (n, m) = (pool.size()[0], generated.size()[0].min(pool.size()[0]));
    let (mut taken, mut found) = (vec![false; n as usize], Vec::with_capacity(m as usize));
    for start in (0..m).step_by(BLOCK as usize) {
        let block = generated.f_narrow(0, start, BLOCK.min(m - start))?;
        let distances = floats(&Tensor::f_cdist(&block, pool, 2.0, EXACTLY)?)?;
        for row in distances.chunks_exact(n as usize) {
            go_on(found.len() as u64)?;
            let free = row.iter().enumerate().filter(|(at, _)| !taken[*at]);
            let nearest = free.min_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at);
            let Some(at) = nearest else { return Ok(found) };
            taken[at] = true;
            found.push(at);
        }
    }
    Ok(found)
}
