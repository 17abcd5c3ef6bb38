//! The samples of the pool that are most like generated images.

use querist_sdk_torch::prelude::*;

/// Generated images that are compared at once.
const BLOCK: i64 = 256;

/// Rows of features that are worked on at once.
const ROWS: i64 = 4096;
/// Passes over the features in search of their components.
const PASSES: u32 = 10;
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
    /// Of features `f32 [n, d]`, keeping about the first `most` components, or all. `go_on` is asked between blocks.
    ///
    /// Found by orthogonal iteration from a random start on the features themselves: their covariance would take n d^2
    /// operations, this takes n d k a pass. Halko, Martinsson and Tropp, "Finding Structure with Randomness", 2011.
    ///
    /// # Errors
    /// If libtorch fails or `go_on` says so.
    pub fn fit(features: &Tensor, most: i64, go_on: &mut dyn FnMut() -> Result<()>) -> Result<Self> {
        let width = features.size2()?.1;
        let mean = features.f_mean_dim([0].as_slice(), false, None)?;
        let of = (Kind::Float, features.device());
        if width <= most {
            return Ok(Self { mean, components: Tensor::f_eye(width, of)? });
        }
        let orthonormal = |columns: &Tensor| Ok::<_, Error>(Tensor::f_linalg_qr(columns, "reduced")?.0);
        let mut components = orthonormal(&Tensor::f_randn([width, most], of)?)?;
        for _ in 0..PASSES {
            let mut turned = Tensor::f_zeros([width, most], of)?;
            for block in features.f_split(ROWS, 0)? {
                go_on()?;
                let centred = block.f_sub(&mean)?;
                turned = turned.f_add(&centred.f_tr()?.f_matmul(&centred.f_matmul(&components)?)?)?;
            }
            components = orthonormal(&turned)?;
        }
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

/// For each generated image, `f32 [m, k]`, in this order, the position of the nearest of the pool, `f32 [n, k]`, that
/// no image before it took. Among equals the lower position. Ends when the pool is used up.
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
