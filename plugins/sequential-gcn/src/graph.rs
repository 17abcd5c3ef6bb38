//! The graph of all samples, which is never built.

use querist_sdk_torch::prelude::*;

/// A node of a smaller degree has no neighbours: what its row of S holds is rounding.
const LEAST_DEGREE: f64 = 1e-6;

/// Nodes with the product of their cosine similarities.
///
/// With F the embeddings of norm 1, one node a row, S the matrix `F F'` with a diagonal of zeros, and D the diagonal
/// matrix of its column sums, the graph's operator is `A = S D^-1 + I`. A itself has n^2 values; its products take n d.
pub struct Graph {
    /// `f32 [n, d]`.
    nodes: Tensor,
    /// Squared norms of the nodes, `f32 [n, 1]`: 1, or 0 for an embedding of zeros.
    squares: Tensor,
    /// `f32 [n, 1]`.
    inverse_degrees: Tensor,
}

impl Graph {
    /// Of embeddings `f32 [n, d]`, of any length.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn new(embeddings: &Tensor) -> Result<Self> {
        let nodes = unit_rows(embeddings)?;
        let squares = nodes.f_square()?.f_sum_dim_intlist(1, true, None)?;
        let sums = nodes.f_sum_dim_intlist(0, false, None)?.f_unsqueeze(1)?;
        let degrees = nodes.f_matmul(&sums)?.f_sub(&squares)?;
        let joined = degrees.f_ge(LEAST_DEGREE)?.f_to_kind(nodes.kind())?;
        let inverse_degrees = degrees.f_clamp_min(LEAST_DEGREE)?.f_reciprocal()?.f_mul(&joined)?;
        Ok(Self { nodes, squares, inverse_degrees })
    }

    /// Embeddings of norm 1, `f32 [n, d]`.
    pub fn nodes(&self) -> &Tensor {
        &self.nodes
    }

    /// `A x` for `x` `f32 [n, k]`: each node's values and the mean of its neighbours' by their similarity.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn spread(&self, x: &Tensor) -> Result<Tensor> {
        let shares = self.inverse_degrees.f_mul(x)?;
        let mixed = self.nodes.f_matmul(&self.nodes.f_tr()?.f_matmul(&shares)?)?;
        Ok(mixed.f_sub(&self.squares.f_mul(&shares)?)?.f_add(x)?)
    }
}

/// Each row over its norm; a row of zeros stays one.
fn unit_rows(rows: &Tensor) -> Result<Tensor> {
    let norms = rows.f_norm_scalaropt_dim(2, [1], true)?.f_clamp_min(1e-12)?;
    Ok(rows.f_div(&norms)?)
}

#[cfg(test)]
mod tests {
    use querist_sdk_torch::floats;

    use super::*;

    fn rectified(n: i64, d: i64) -> Tensor {
        Tensor::randn([n, d], (Kind::Double, Device::Cpu)).relu()
    }

    fn dense(embeddings: &Tensor) -> Tensor {
        let f = unit_rows(embeddings).unwrap();
        let n = f.size()[0];
        let s = f.matmul(&f.tr()) - Tensor::eye(n, (Kind::Double, Device::Cpu));
        &s / s.sum_dim_intlist([0].as_slice(), true, Kind::Double) + Tensor::eye(n, (Kind::Double, Device::Cpu))
    }

    #[test]
    fn products_are_those_of_the_dense_operator() {
        tch::manual_seed(1);
        let embeddings = rectified(50, 7);
        let (graph, a) = (Graph::new(&embeddings).unwrap(), dense(&embeddings));
        let x = Tensor::randn([50, 3], (Kind::Double, Device::Cpu));
        let difference = (graph.spread(&x).unwrap() - a.matmul(&x)).abs().max().double_value(&[]);
        assert!(difference < 1e-12, "{difference}");
        let sums = floats(&a.sum_dim_intlist([0].as_slice(), false, Kind::Double)).unwrap();
        assert!(sums.iter().all(|sum| (sum - 2.0).abs() < 1e-12), "{sums:?}");
    }

    #[test]
    fn permuted_nodes_have_permuted_products() {
        tch::manual_seed(2);
        let (embeddings, x) = (rectified(20, 5), Tensor::randn([20, 2], (Kind::Double, Device::Cpu)));
        let plain = Graph::new(&embeddings).unwrap().spread(&x).unwrap();
        let turned = Graph::new(&embeddings.flip([0])).unwrap().spread(&x.flip([0])).unwrap();
        assert!((plain.flip([0]) - turned).abs().max().double_value(&[]) < 1e-12);
    }

    #[test]
    fn nodes_without_neighbours_keep_their_values() {
        let (zeros, alone) =
            (Tensor::zeros([4, 3], (Kind::Float, Device::Cpu)), Tensor::ones([1, 3], (Kind::Float, Device::Cpu)));
        let orthogonal = Tensor::eye(4, (Kind::Float, Device::Cpu));
        for embeddings in [zeros, alone, orthogonal] {
            let x = Tensor::randn([embeddings.size()[0], 2], (Kind::Float, Device::Cpu));
            assert_eq!(Graph::new(&embeddings).unwrap().spread(&x).unwrap(), x);
        }
    }
}
