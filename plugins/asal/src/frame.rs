//! Between the images of the task and those of the generator.

use querist_sdk_torch::Task;
use querist_sdk_torch::prelude::*;

/// Scales images of the task, which are normalised, to those of the generator, which are square and lie in [-1, 1], and
/// back.
#[derive(Debug)]
pub struct Frame {
    side: i64,
    height: i64,
    width: i64,
    /// Normalised values of the middle between black and white, and half of their difference, `f32 [1, channels, 1,
    /// 1]`.
    middle: Tensor,
    half: Tensor,
}

impl Frame {
    /// Between the task's images and those of this side.
    ///
    /// # Errors
    /// If the host does not know what black and white are in every channel.
    pub fn new(task: &Task, side: u32) -> Result<Self> {
        let channels = task.channels as usize;
        if task.black.len() < channels || task.white.len() < channels {
            return Err(Error::failed(format!(
                "black and white are known of {} channels, but the images have {channels}",
                task.black.len()
            )));
        }
        let per_channel = |value: &dyn Fn(f32, f32) -> f32| -> Result<Tensor> {
            let values: Vec<f32> = task.black.iter().zip(&task.white).map(|(&b, &w)| value(b, w)).collect();
            Ok(Tensor::f_from_slice(&values)?.f_view([1, -1, 1, 1])?.f_to_device(task.device)?)
        };
        Ok(Self {
            side: i64::from(side),
            height: i64::from(task.height),
            width: i64::from(task.width),
            middle: per_channel(&|black, white| 0.5 * (white + black))?,
            half: per_channel(&|black, white| 0.5 * (white - black))?,
        })
    }

    /// From the task to the generator.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn enter(&self, images: &Tensor) -> Result<Tensor> {
        scale(&images.f_sub(&self.middle)?.f_div(&self.half)?, self.side, self.side)
    }

    /// From the generator to the task; on the graph.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn leave(&self, images: &Tensor) -> Result<Tensor> {
        scale(&images.f_mul(&self.half)?.f_add(&self.middle)?, self.height, self.width)
    }
}

/// Means over pixels where images shrink, and between pixels where they grow.
fn scale(images: &Tensor, height: i64, width: i64) -> Result<Tensor> {
    let (_, _, from_height, from_width) = images.size4()?;
    Ok(if (height, width) == (from_height, from_width) {
        images.shallow_clone()
    } else if height <= from_height && width <= from_width {
        images.f_adaptive_avg_pool2d([height, width])?
    } else {
        images.f_upsample_bilinear2d([height, width], false, None, None)?
    })
}
