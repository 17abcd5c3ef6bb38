//! Generator and critic in training against each other.

use std::cell::RefCell;

use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, OptimizerConfig};

use crate::network::{Autoencoder, Critic, Generator};
use crate::params::{AsalParams, Gan, MatchFeatures, Sizes};

/// Asked between passes whether to go on.
pub type GoOn<'a> = &'a dyn Fn() -> Result<()>;

/// All networks of the strategy, with fresh weights or those of a round before.
pub struct Networks {
    /// Makes images.
    pub generator: Generator,
    /// Judges them.
    pub critic: Critic,
    /// Where images are compared by its codes.
    pub autoencoder: Option<Autoencoder>,
    /// Their tensors, in this order; the last one is empty without an autoencoder.
    pub stores: [nn::VarStore; 3],
}

impl Networks {
    /// With fresh weights.
    pub fn new(params: &AsalParams, sizes: Sizes, device: Device) -> Self {
        let stores = [0; 3].map(|_| nn::VarStore::new(device));
        let autoencoder =
            (params.match_features == MatchFeatures::Autoencoder).then(|| Autoencoder::new(&stores[2].root(), sizes));
        Self {
            generator: Generator::new(&stores[0].root(), sizes),
            critic: Critic::new(&stores[1].root(), sizes),
            autoencoder,
            stores,
        }
    }

    /// Numbers that training changes, of generator, critic and autoencoder.
    pub fn parameters(&self) -> [usize; 3] {
        self.stores.each_ref().map(|store| store.trainable_variables().iter().map(Tensor::numel).sum())
    }
}

/// The training of generator and critic.
pub struct Training<'a> {
    params: &'a AsalParams,
    networks: &'a mut Networks,
    generator_steps: nn::Optimizer,
    critic_steps: nn::Optimizer,
}

impl<'a> Training<'a> {
    /// Of these networks.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn new(params: &'a AsalParams, networks: &'a mut Networks) -> Result<Self> {
        let [beta1, beta2] = match params.gan {
            Gan::WganGp => [0.0, 0.9],
            Gan::Dcgan => [0.5, 0.999],
        };
        let adam = nn::Adam { beta1, beta2, ..nn::Adam::default() };
        let [generator_steps, critic_steps] = [0, 1].map(|part| adam.build(&networks.stores[part], params.lr_gan));
        Ok(Self { generator_steps: generator_steps?, critic_steps: critic_steps?, params, networks })
    }

    /// One step of the generator, after as many of the critic as belong to it, each on images of its own that `real`
    /// gives, `[n, channels, side, side]` in [-1, 1]. Returns the losses of critic and generator, without reading them.
    ///
    /// # Errors
    /// If libtorch fails, or `real` or `go_on` do.
    pub fn step(&mut self, real: &mut dyn FnMut() -> Result<Tensor>, go_on: GoOn<'_>) -> Result<[Tensor; 2]> {
        let steps = if self.params.gan == Gan::WganGp { self.params.critic_steps } else { 1 };
        let mut critic_loss = self.critic_step(&real()?, go_on)?;
        for _ in 1..steps {
            critic_loss = self.critic_step(&real()?, go_on)?;
        }
        go_on()?;
        self.generator_steps.zero_grad();
        // Gradients of the critic's weights would be computed for nothing.
        self.networks.stores[1].freeze();
        let judged = self.networks.critic.judge(&self.fake(i64::from(self.params.batch_size), true)?, true)?;
        let loss = match self.params.gan {
            Gan::WganGp => judged.f_neg()?.f_mean(None)?,
            Gan::Dcgan => judged.f_neg()?.f_softplus()?.f_mean(None)?,
        };
        loss.f_backward()?;
        self.networks.stores[1].unfreeze();
        self.generator_steps.step();
        Ok([critic_loss, loss.f_detach()?])
    }

    fn fake(&self, images: i64, grad: bool) -> Result<Tensor> {
        let device = self.networks.stores[0].device();
        let codes = Tensor::f_randn([images, self.networks.generator.latent()], (Kind::Float, device))?;
        let images = self.networks.generator.forward(&codes, true)?;
        Ok(if grad { images } else { images.f_detach()? })
    }

    fn critic_step(&mut self, real: &Tensor, go_on: GoOn<'_>) -> Result<Tensor> {
        self.critic_steps.zero_grad();
        let fake = self.fake(real.size()[0], false)?;
        go_on()?;
        let critic = &self.networks.critic;
        let judge = |images: &Tensor| critic.judge(images, true);
        let loss = match self.params.gan {
            Gan::WganGp => {
                let apart = judge(&fake)?.f_mean(None)?.f_sub(&judge(real)?.f_mean(None)?)?;
                go_on()?;
                apart.f_add(&penalty(&judge, real, &fake)?.f_mul_scalar(self.params.gp_weight)?)?
            }
            Gan::Dcgan => {
                let real = judge(real)?.f_neg()?.f_softplus()?.f_mean(None)?;
                real.f_add(&judge(&fake)?.f_softplus()?.f_mean(None)?)?
            }
        };
        go_on()?;
        loss.f_backward()?;
        self.critic_steps.step();
        Ok(loss.f_detach()?)
    }
}

/// Mean squared difference from 1 of the norm of the critic's gradient, at images between real and generated ones.
///
/// # Errors
/// If libtorch fails.
pub fn penalty(judge: &dyn Fn(&Tensor) -> Result<Tensor>, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
    let share = Tensor::f_rand([real.size()[0], 1, 1, 1], (real.kind(), real.device()))?;
    let between = fake.f_sub(real)?.f_mul(&share)?.f_add(real)?.f_detach()?.set_requires_grad(true);
    let slope = grad(&judge(&between)?.f_sum(None)?, std::slice::from_ref(&between), true)?.remove(0);
    // The root of 0 has no slope.
    let norm = slope.f_flatten(1, -1)?.f_square()?.f_sum_dim_intlist(1, false, None)?.f_add_scalar(1e-12)?.f_sqrt()?;
    Ok(norm.f_sub_scalar(1.0)?.f_square()?.f_mean(None)?)
}

/// Trains all networks of the first round on images that `real` gives.
///
/// # Errors
/// If libtorch fails, `real` does, or a loss is not finite at the end.
pub fn train(
    params: &AsalParams,
    networks: &mut Networks,
    round: &Round,
    real: &mut dyn FnMut() -> Result<Tensor>,
) -> Result<()> {
    let total = u64::from(params.gan_iterations);
    let pace = RefCell::new(Pace::new("iterations of the GAN", "a lower `gan_iterations`", total));
    let mut training = Training::new(params, networks)?;
    let mut losses = None;
    for iteration in 0..total {
        let go_on = || pace.borrow_mut().report(round, iteration);
        go_on()?;
        losses = Some(training.step(real, &go_on)?);
    }
    pace.borrow_mut().report(round, total)?;
    // Networks that diverged end here: a figure must be finite.
    for (loss, name) in losses.iter().flatten().zip(["critic_loss", "generator_loss"]) {
        round.log_metric(name, loss.f_double_value(&[])?)?;
    }
    match &networks.autoencoder {
        Some(autoencoder) => train_autoencoder(params, networks, autoencoder, round, real),
        None => Ok(()),
    }
}

fn train_autoencoder(
    params: &AsalParams,
    networks: &Networks,
    autoencoder: &Autoencoder,
    round: &Round,
    real: &mut dyn FnMut() -> Result<Tensor>,
) -> Result<()> {
    let mut adam = nn::Adam::default().build(&networks.stores[2], 1e-3)?;
    let total = u64::from(params.autoencoder_iterations);
    let mut pace = Pace::new("iterations of the autoencoder", "a lower `autoencoder_iterations`", total);
    let mut last = None;
    for iteration in 0..total {
        pace.report(round, iteration)?;
        let images = real()?;
        adam.zero_grad();
        let loss = autoencoder.decode(&autoencoder.encode(&images)?)?.f_sub(&images)?.f_square()?.f_mean(None)?;
        loss.f_backward()?;
        adam.step();
        last = Some(loss.f_detach()?);
    }
    pace.report(round, total)?;
    match last {
        Some(loss) => round.log_metric("autoencoder_loss", loss.f_double_value(&[])?),
        None => Ok(()),
    }
}
