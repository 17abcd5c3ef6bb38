//! A generator makes images that the task's model is most uncertain of; the samples most like them are selected.
//!
//! With G the generator, p the task model's class probabilities and H their entropy, codes z climb to large
//! `H(p(G(z)))`; the pick for z is `argmin_i |f(x_i) - f(G(z))|` over samples that are free, in features f.
//!
//! In the first round generator and critic are trained on the pool. In each round latent codes are drawn, moved by
//! gradient ascent on the entropy of the task model's prediction of the generated image, and each image, most uncertain
//! first, is matched to the nearest sample of the pool that is still free, in the first principal components of a
//! feature space. The networks, and the pool's features where they do not move, are kept from round to round, so that
//! later rounds do not look at the whole pool.
//!
//! Mayer and Timofte, "Adversarial Sampling for Active Learning", WACV 2020 (arXiv 1808.06671). No code of theirs is
//! followed; sizes and training of the networks are common practice for their kind.

// More than 150 lines: it trains a generative pair of networks of two kinds, and keeps them from round to round.
#![deny(missing_docs)]

mod ascent;
mod frame;
mod gan;
mod matching;
mod network;
mod params;
mod state;

pub use ascent::{Ascent, entropy};
pub use frame::Frame;
pub use gan::{Networks, Training, penalty};
pub use matching::{Pca, nearest_free};
pub use network::{Autoencoder, Critic, Generator};
pub use params::{AsalParams, Gan, MatchFeatures, Sizes};
use querist_sdk_torch::prelude::*;
pub use state::Index;

/// ASAL in one round.
pub struct Asal {
    params: AsalParams,
    networks: Networks,
    index: Option<Index>,
    trained: bool,
}

impl TorchStrategy for Asal {
    type Params = AsalParams;
    const HOOKS: Hooks = Hooks::NONE;

    fn new(params: AsalParams, round: &Round, state: Option<&[u8]>) -> Result<Self> {
        let task = round.task();
        let networks = Networks::new(&params, params.sizes(task.channels), task.device);
        let index = match state {
            Some(bytes) => state::read(bytes, &networks)?,
            None => None,
        };
        Ok(Self { params, networks, index, trained: state.is_some() })
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        let frame = Frame::new(round.task(), self.params.gan_size)?;
        if !self.trained {
            self.train(round, &frame)?;
        }
        let (codes, entropies) = self.uncertain(round, &frame, query.wanted())?;
        let _no_grad = tch::no_grad_guard();
        let images = self.generate(&codes)?;
        let (pool, generated) = self.coordinates(round, query, &frame, &images)?;
        let wanted = u64::from(query.wanted());
        let found = nearest_free(&pool, &generated, &mut |done| round.progress(done, wanted))?;
        Ok(Selection {
            rows: found.iter().map(|&at| at as u32).collect(),
            scores: entropies[..found.len()].to_vec(),
            ..Selection::default()
        })
    }

    fn save_state(&mut self, _: &Round) -> Result<Option<Vec<u8>>> {
        if !self.trained {
            return Ok(None);
        }
        Ok(Some(state::write(&self.networks, self.index.as_ref())?))
    }
}

impl Asal {
    fn train(&mut self, round: &Round, frame: &Frame) -> Result<()> {
        let stream = round.images(Of::Pool).batch(self.params.batch_size).shuffled("gan").infinite().open()?;
        let mut real = || -> Result<Tensor> {
            let batch = stream.next(round)?;
            frame.enter(&batch.ok_or_else(|| Error::failed("an infinite stream of images ended"))?.images)
        };
        gan::train(&self.params, &mut self.networks, round, &mut real)?;
        self.trained = true;
        stream.close(round)
    }

    /// Latent codes `[wanted, latent]` and the entropies of their images, the largest first.
    fn uncertain(&self, round: &Round, frame: &Frame, wanted: u32) -> Result<(Tensor, Vec<f64>)> {
        let many = i64::from(wanted) * i64::from(self.params.samples_per_pick);
        let start = Tensor::f_randn([many, self.networks.generator.latent()], (Kind::Float, round.task().device))?;
        let ascent = Ascent { steps: self.params.z_steps, lr: self.params.z_lr };
        let logits = |codes: &Tensor| {
            let images = frame.leave(&self.networks.generator.forward(codes, false)?)?;
            Ok(round.forward(&images).grad().run()?.logits)
        };
        let batch = i64::from(self.params.batch_size);
        let steps = u64::from(self.params.z_steps);
        let batches = (many + batch - 1) / batch;
        let mut pace = Pace::new("steps of ascent", "a lower `z_steps` or `samples_per_pick`", batches as u64 * steps);
        let (mut codes, mut entropies) = (Vec::new(), Vec::new());
        for at in 0..batches {
            let block = start.f_narrow(0, at * batch, batch.min(many - at * batch))?;
            let done = at as u64 * steps;
            let mut go_on = |step: u32| pace.report(round, done + u64::from(step));
            let (reached, values) = ascent.climb(&block, &logits, &mut go_on)?;
            codes.push(reached);
            entropies.extend(floats(&values)?);
        }
        let mut order: Vec<i64> = (0..many).collect();
        order.sort_by(|&a, &b| entropies[b as usize].total_cmp(&entropies[a as usize]));
        order.truncate(wanted as usize);
        let sorted: Vec<f64> = order.iter().map(|&at| entropies[at as usize]).collect();
        round.log_metric("generated_entropy", sorted.iter().sum::<f64>() / sorted.len().max(1) as f64)?;
        let at = Tensor::f_from_slice(&order)?.f_to_device(start.device())?;
        Ok((Tensor::f_cat(&codes, 0)?.f_index_select(0, &at)?, sorted))
    }

    fn generate(&self, codes: &Tensor) -> Result<Tensor> {
        self.in_blocks(codes, &|codes| self.networks.generator.forward(codes, false))
    }

    /// Coordinates of the pool's rows and of generated images.
    fn coordinates(
        &mut self,
        round: &Round,
        query: &Query,
        frame: &Frame,
        images: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let most = i64::from(self.params.pca_dim);
        let mut go_on = || round.progress(0, 1);
        if self.params.match_features == MatchFeatures::Classifier {
            let embed = |images: &Tensor| Ok(round.forward(images).run()?.embeddings);
            let features = pool_features(round, &embed)?;
            let pca = Pca::fit(&features, most, &mut go_on)?;
            let generated = self.in_blocks(images, &|images| embed(&frame.leave(images)?))?;
            return Ok((pca.project(&features)?, pca.project(&generated)?));
        }
        let index = match self.index.take() {
            Some(index) => index,
            None => {
                let features = pool_features(round, &|images| self.features(&frame.enter(images)?))?;
                let pca = Pca::fit(&features, most, &mut go_on)?;
                Index { coordinates: pca.project(&features)?, ids: query.ids()?, pca }
            }
        };
        let generated = self.in_blocks(images, &|images| self.features(images))?;
        let both = (index.of(&query.ids()?)?, index.pca.project(&generated)?);
        self.index = Some(index);
        Ok(both)
    }

    fn in_blocks(&self, tensor: &Tensor, work: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let blocks = tensor.f_split(i64::from(self.params.batch_size), 0)?;
        Ok(Tensor::f_cat(&blocks.iter().map(work).collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// Features `f32 [n, d]` of images of the generator's kind, which only its own networks decide.
    fn features(&self, images: &Tensor) -> Result<Tensor> {
        match (self.params.match_features, &self.networks.autoencoder) {
            (MatchFeatures::Autoencoder, Some(autoencoder)) => autoencoder.encode(images),
            (MatchFeatures::Discriminator, _) => self.networks.critic.features(images, false),
            (MatchFeatures::Gray, _) => Ok(images.f_mean_dim([1].as_slice(), false, None)?.f_flatten(1, -1)?),
            _ => Ok(images.f_flatten(1, -1)?),
        }
    }
}

/// Features of all rows of the pool, of images of the task.
fn pool_features(round: &Round, features: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let mut parts = Vec::new();
    let mut done = 0;
    let stream = round.images(Of::Pool).batch(256).open()?;
    while let Some(batch) = stream.next(round)? {
        done += batch.rows.numel() as u64;
        parts.push(features(&batch.images)?);
        round.progress(done, u64::from(round.task().pool))?;
    }
    stream.close(round)?;
    Ok(Tensor::f_cat(&parts, 0)?)
}

torch_package!(Asal);
