//! Standard normal numbers.

use querist_protocol::math;

use crate::objects::Stream;
use crate::strategy::Result;

/// Uniform numbers that are fetched at once.
const FETCHED: u32 = 8192;

/// Standard normal numbers by Marsaglia's polar method, two from each accepted pair of uniform ones.
pub struct Normals {
    numbers: Stream,
    /// Uniform numbers not yet used, the next one last.
    fetched: Vec<f64>,
    spare: Option<f64>,
}

impl From<Stream> for Normals {
    fn from(numbers: Stream) -> Self {
        Self { numbers, fetched: Vec::new(), spare: None }
    }
}

impl Normals {
    /// The next number.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn draw(&mut self) -> Result<f64> {
        if let Some(spare) = self.spare.take() {
            return Ok(spare);
        }
        loop {
            let (u, v) = (2.0 * self.uniform()? - 1.0, 2.0 * self.uniform()? - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let factor = (-2.0 * math::ln(s) / s).sqrt();
                self.spare = Some(v * factor);
                return Ok(u * factor);
            }
        }
    }

    fn uniform(&mut self) -> Result<f64> {
        loop {
            if let Some(number) = self.fetched.pop() {
                return Ok(number);
            }
            self.fetched = self.numbers.uniforms(FETCHED)?;
            self.fetched.reverse();
        }
    }
}
