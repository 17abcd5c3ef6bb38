//! Mixtures of two images and of their labels: Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk
//! Minimization", ICLR 2018 (arXiv 1710.09412).

use querist_protocol::philox::Stream;
use tch::{Kind, Reduction, TchError, Tensor};

/// With which images and labels those of a minibatch are mixed: each with the one as far from the other end.
/// Minibatches are in a random order, so that is a random partner.
pub(crate) struct Mixed {
    /// Shares of the images themselves, `f32 [n]`.
    shares: Tensor,
}

impl Mixed {
    pub(super) fn new(shares: Tensor) -> Self {
        Self { shares }
    }

    /// The mixtures of network inputs.
    pub(crate) fn images(&self, images: &Tensor) -> Result<Tensor, TchError> {
        let shares = self.shares.f_view([-1, 1, 1, 1])?;
        let others = images.f_flip([0])?;
        others.f_add(&images.f_sub(&others)?.f_mul(&shares)?)
    }

    /// Mean cross-entropy of both labels, each by its share.
    pub(crate) fn loss(&self, logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor, TchError> {
        let of =
            |labels: &Tensor| logits.f_cross_entropy_loss::<Tensor>(labels, None, Reduction::None, -100, smoothing);
        let (own, other) = (of(labels)?, of(&labels.f_flip([0])?)?);
        other.f_add(&own.f_sub(&other)?.f_mul(&self.shares)?)?.f_mean(Kind::Float)
    }
}

/// A draw of Beta(alpha, alpha): Jöhnk's way, which takes few tries where alpha is small.
pub(super) fn share(stream: &mut Stream, alpha: f64) -> f64 {
    loop {
        let (x, y) = (stream.next_uniform().powf(1.0 / alpha), stream.next_uniform().powf(1.0 / alpha));
        if x + y <= 1.0 && x + y > 0.0 {
            return x / (x + y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_moments_of_their_distribution() {
        for alpha in [0.2, 1.0, 2.0] {
            let mut stream = Stream::new(7, 0);
            let drawn: Vec<f64> = (0..20_000).map(|_| share(&mut stream, alpha)).collect();
            let mean = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01 && (variance - expected).abs() < 0.005, "{alpha}: {mean} {variance}");
        }
    }

    /// Two images of one value each, by hand.
    #[test]
    fn both_labels_count_by_their_shares() {
        querist_torchx::runtime::set_threads(1).unwrap();
        let mixed = Mixed::new(Tensor::from_slice(&[0.75f32, 0.5]));
        let images = Tensor::from_slice(&[1.0f32, 5.0]).view([2, 1, 1, 1]);
        assert_eq!(Vec::<f32>::try_from(mixed.images(&images).unwrap().flatten(0, 3)).unwrap(), [2.0, 3.0]);
        let logits = Tensor::from_slice(&[0.0f32, 3.0f32.ln(), 0.0, 0.0]).view([2, 2]);
        let labels = Tensor::from_slice(&[0i64, 1]);
        // Row 0: 0.75 ln 4 + 0.25 ln(4 / 3); row 1: ln 2 either way.
        let expected = (0.75 * 4f64.ln() + 0.25 * (4.0f64 / 3.0).ln() + 2f64.ln()) / 2.0;
        let found = mixed.loss(&logits, &labels, 0.0).unwrap().double_value(&[]);
        assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
    }
}
