//! Smallest perturbations that change a prediction, for many images at once.

use querist_sdk_torch::prelude::*;

/// What DeepFool adds to the distance of a boundary, in logits, so that an image right on one leaves it.
const NUDGE: f64 = 1e-6;
/// A difference of gradients shorter than this points nowhere.
const SHORTEST: f64 = 1e-12;

/// A network: images `f32 [n, channels, height, width]` to logits `f32 [n, classes]`, in eval mode; on the graph of its
/// argument where the second one is true. Each image's logits depend on that image alone.
pub type Classify<'a> = &'a dyn Fn(&Tensor, bool) -> Result<Tensor>;

/// Asked between passes whether to go on.
pub type GoOn<'a> = &'a mut dyn FnMut() -> Result<()>;

/// How far an image had to be moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// Length of its perturbation: Euclidean for DeepFool, squared for the iterative attack.
    pub length: f64,
    /// Whether its predicted class changed.
    pub flipped: bool,
}

/// Which boundary DeepFool walks towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Boundary {
    /// That of the nearest class.
    Nearest,
    /// That of the last class, whichever is nearest, as released code has it.
    Last,
}

/// How DeepFool walks.
#[derive(Debug)]
pub struct DeepFool {
    /// Most steps.
    pub max_iter: u32,
    /// By which share the sum of steps overshoots.
    pub overshoot: f64,
    /// Classes that are looked at: those of largest logits.
    pub classes: i64,
    /// Which boundary it walks towards.
    pub boundary: Boundary,
    /// What one unit of distance is, in values of the images, `f32 [1, channels, 1, 1]`.
    pub unit: Tensor,
}

/// Images that are still on their way.
struct Active {
    /// Their positions, `i64 [m]`.
    positions: Tensor,
    images: Tensor,
    /// The predicted class and those that it may change to, `i64 [m, k]`.
    classes: Tensor,
    /// The sum of steps, in units of distance.
    sum: Tensor,
}

impl Active {
    /// Those of a mask `bool [m]`.
    fn keep(&self, mask: &Tensor) -> Result<Self> {
        let at = mask.f_nonzero()?.f_squeeze_dim(1)?;
        let keep = |tensor: &Tensor| tensor.f_index_select(0, &at);
        Ok(Self {
            positions: keep(&self.positions)?,
            images: keep(&self.images)?,
            classes: keep(&self.classes)?,
            sum: keep(&self.sum)?,
        })
    }
}

impl DeepFool {
    /// For each image the length of the perturbation that changes its class.
    ///
    /// A step goes to the nearest boundary of the network's linear form around the image: with `w_k` the difference of
    /// the gradients of logit k and of the predicted one, and `f_k` that of the logits, to the class of least
    /// `|f_k| / ||w_k||`, by `|f_k| / ||w_k||^2 w_k`. The class is tested at the image plus `1 + overshoot` times the
    /// sum of steps, and the length is that of this perturbation.
    ///
    /// # Errors
    /// If the network fails or `go_on` says so.
    pub fn attack(&self, images: &Tensor, classify: Classify<'_>, go_on: GoOn<'_>) -> Result<Vec<Moved>> {
        self.walk(images, classify, go_on, None)
    }

    /// For each image how far it was moved, and the moved image itself.
    ///
    /// # Errors
    /// As for [`DeepFool::attack`].
    pub fn twins(&self, images: &Tensor, classify: Classify<'_>, go_on: GoOn<'_>) -> Result<(Vec<Moved>, Tensor)> {
        // Each image has a place after its first step, so none stays 0.
        let mut twins = images.f_zeros_like()?;
        let moved = self.walk(images, classify, go_on, Some(&mut twins))?;
        Ok((moved, twins))
    }

    fn walk(
        &self,
        images: &Tensor,
        classify: Classify<'_>,
        go_on: GoOn<'_>,
        mut twins: Option<&mut Tensor>,
    ) -> Result<Vec<Moved>> {
        let mut active = self.start(images, classify)?;
        let n = images.size()[0] as usize;
        let mut moved = vec![Moved { length: 0.0, flipped: false }; n];
        for _ in 0..self.max_iter {
            if active.positions.numel() == 0 {
                break;
            }
            let (step, is_way) = self.step(&active, classify, go_on)?;
            active.sum = active.sum.f_add(&step)?;
            let flipped = self.has_flipped(&active, classify)?;
            go_on()?;
            self.note(&active, &flipped, &mut moved)?;
            if let Some(twins) = &mut twins {
                let _ = twins.f_index_copy_(0, &active.positions, &self.place(&active)?)?;
            }
            // An image without a way anywhere stays as it is.
            active = active.keep(&flipped.f_logical_not()?.f_logical_and(&is_way)?)?;
        }
        Ok(moved)
    }

    fn start(&self, images: &Tensor, classify: Classify<'_>) -> Result<Active> {
        let logits = classify(images, false)?;
        let (n, all) = logits.size2()?;
        let predicted = logits.f_argmax(1, true)?;
        let classes = match self.boundary {
            Boundary::Nearest => logits.f_topk(self.classes.min(all), 1, true, true)?.1,
            Boundary::Last => {
                let is_last = predicted.f_eq(all - 1)?.f_to_kind(Kind::Int64)?;
                Tensor::f_cat(&[&predicted, &is_last.f_neg()?.f_add_scalar(all - 1)?], 1)?
            }
        };
        Ok(Active {
            positions: Tensor::f_arange(n, (Kind::Int64, images.device()))?,
            images: images.f_detach()?,
            classes,
            sum: images.f_zeros_like()?,
        })
    }

    fn place(&self, active: &Active) -> Result<Tensor> {
        channels_last(&active.sum.f_mul(&self.unit)?.f_mul_scalar(1.0 + self.overshoot)?.f_add(&active.images)?)
    }

    /// The next step of each image, and for which there is one, `bool [m]`.
    fn step(&self, active: &Active, classify: Classify<'_>, go_on: GoOn<'_>) -> Result<(Tensor, Tensor)> {
        let place = self.place(active)?.f_detach()?.set_requires_grad(true);
        let logits = classify(&place, true)?.f_gather(1, &active.classes, false)?;
        let columns = logits.size()[1];
        let mut gradient = |column: i64| -> Result<Tensor> {
            go_on()?;
            // Images do not meet in the network, so the gradient of a sum is that of each.
            let sum = logits.f_select(1, column)?.f_sum(None)?;
            Ok(grad(&sum, std::slice::from_ref(&place), false)?.remove(0).f_mul(&self.unit)?)
        };
        let own = gradient(0)?;
        let heights = logits.f_detach()?;
        let mut best = Best::none(&own)?;
        for column in 1..columns {
            let way = gradient(column)?.f_sub(&own)?;
            let height = heights.f_select(1, column)?.f_sub(&heights.f_select(1, 0)?)?.f_abs()?;
            best.offer(way, &height)?;
        }
        best.step()
    }

    fn has_flipped(&self, active: &Active, classify: Classify<'_>) -> Result<Tensor> {
        let found = classify(&self.place(active)?, false)?.f_argmax(1, false)?;
        Ok(found.f_ne_tensor(&active.classes.f_select(1, 0)?)?)
    }

    fn note(&self, active: &Active, flipped: &Tensor, moved: &mut [Moved]) -> Result<()> {
        let lengths = floats(&norms(&active.sum)?)?;
        let (positions, flipped) = (floats(&active.positions)?, floats(&flipped.f_to_kind(Kind::Float)?)?);
        for ((position, flipped), length) in positions.into_iter().zip(flipped).zip(lengths) {
            moved[position as usize] = Moved { length: (1.0 + self.overshoot) * length, flipped: flipped > 0.0 };
        }
        Ok(())
    }
}

/// The nearest boundary of each image so far.
struct Best {
    /// Distance `[m]`; infinite where there is none.
    distance: Tensor,
    /// Height over norm squared, `[m]`.
    factor: Tensor,
    way: Tensor,
}

impl Best {
    fn none(like: &Tensor) -> Result<Self> {
        let zeros = Tensor::f_zeros([like.size()[0]], (Kind::Double, like.device()))?;
        Ok(Self { distance: zeros.f_add_scalar(f64::INFINITY)?, factor: zeros, way: like.f_zeros_like()? })
    }

    fn offer(&mut self, way: Tensor, height: &Tensor) -> Result<()> {
        let norm = norms(&way)?;
        let height = height.f_to_kind(Kind::Double)?;
        let distance = height.f_div(&norm)?.f_masked_fill(&norm.f_lt(SHORTEST)?, f64::INFINITY)?;
        let nearer = distance.f_lt_tensor(&self.distance)?;
        let factor = height.f_add_scalar(NUDGE)?.f_div(&norm.f_square()?)?;
        self.factor = factor.f_where_self(&nearer, &self.factor)?;
        self.distance = distance.f_where_self(&nearer, &self.distance)?;
        self.way = way.f_where_self(&per_image(&nearer)?, &self.way)?;
        Ok(())
    }

    fn step(self) -> Result<(Tensor, Tensor)> {
        let factor = per_image(&self.factor)?.f_to_kind(self.way.kind())?;
        Ok((self.way.f_mul(&factor)?, self.distance.f_isfinite()?))
    }
}

/// Euclidean norm of each image, `f64 [m]`.
fn norms(images: &Tensor) -> Result<Tensor> {
    Ok(images.f_flatten(1, -1)?.f_to_kind(Kind::Double)?.f_norm_scalaropt_dim(2, [1], false)?)
}

/// The same images with a pixel's channels side by side where convolutions and pooling are faster so, which is on the
/// CPU.
fn channels_last(images: &Tensor) -> Result<Tensor> {
    if images.device().is_cuda() {
        return Ok(images.shallow_clone());
    }
    let (n, channels, height, width) = images.size4()?;
    let pixels = images.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    // By their strides: of a single channel libtorch takes a permuted view for the common order.
    let strides = [height * width * channels, 1, width * channels, channels];
    Ok(pixels.f_as_strided([n, channels, height, width], strides, None)?)
}

fn per_image(values: &Tensor) -> Result<Tensor> {
    Ok(values.f_view([-1, 1, 1, 1])?)
}

/// How the iterative attack walks.
#[derive(Debug, Clone, PartialEq)]
pub struct Iterative {
    /// Most steps.
    pub max_iter: u32,
    /// Change of each value in a step, in values of the images.
    pub eps: f64,
}

impl Iterative {
    /// For each image the squared length of the perturbation that changes its class.
    ///
    /// A step adds `eps` times the sign of the gradient of the cross-entropy with the class that was first predicted.
    /// Values are counted in whole steps, so that the same perturbation always has the same length.
    ///
    /// # Errors
    /// If the network fails or `go_on` says so.
    pub fn attack(&self, images: &Tensor, classify: Classify<'_>, go_on: GoOn<'_>) -> Result<Vec<Moved>> {
        let n = images.size()[0];
        let mut moved = vec![Moved { length: 0.0, flipped: false }; n as usize];
        let mut active = Active {
            positions: Tensor::f_arange(n, (Kind::Int64, images.device()))?,
            images: images.f_detach()?,
            classes: classify(images, false)?.f_argmax(1, true)?,
            sum: images.f_zeros_like()?,
        };
        for step in 0..=self.max_iter {
            if active.positions.numel() == 0 {
                break;
            }
            let place = active.sum.f_mul_scalar(self.eps)?.f_add(&active.images)?.f_detach()?.set_requires_grad(true);
            let logits = classify(&place, true)?;
            go_on()?;
            let flipped = logits.f_argmax(1, true)?.f_ne_tensor(&active.classes)?.f_squeeze_dim(1)?;
            self.note(&active, &flipped, &mut moved)?;
            if step == self.max_iter {
                break;
            }
            let predicted = active.classes.f_squeeze_dim(1)?;
            let loss = logits.f_cross_entropy_loss::<Tensor>(&predicted, None, tch::Reduction::Sum, -100, 0.0)?;
            let signs = grad(&loss, std::slice::from_ref(&place), false)?.remove(0).f_sign()?;
            go_on()?;
            let is_way = signs.f_flatten(1, -1)?.f_abs()?.f_amax([1], false)?.f_gt(0.0)?;
            active.sum = active.sum.f_add(&signs)?;
            active = active.keep(&flipped.f_logical_not()?.f_logical_and(&is_way)?)?;
        }
        Ok(moved)
    }

    fn note(&self, active: &Active, flipped: &Tensor, moved: &mut [Moved]) -> Result<()> {
        let squares = active.sum.f_flatten(1, -1)?.f_to_kind(Kind::Double)?.f_square()?;
        let counts = floats(&squares.f_sum_dim_intlist(1, false, None)?)?;
        let (positions, flipped) = (floats(&active.positions)?, floats(&flipped.f_to_kind(Kind::Float)?)?);
        for ((position, flipped), count) in positions.into_iter().zip(flipped).zip(counts) {
            moved[position as usize] = Moved { length: self.eps * self.eps * count, flipped: flipped > 0.0 };
        }
        Ok(())
    }
}
