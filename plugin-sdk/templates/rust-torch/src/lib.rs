//! Samples that look unlike the labelled ones.
//!
//! A linear classifier on the task model's embeddings learns to tell labelled from unlabelled samples; those that it
//! takes for unlabelled most surely are picked.
//!
//! Replace this text with your formula and your citation.

use querist_sdk_torch::prelude::*;

params! {
    /// Parameters. Every field has a doc comment, a range and a default: the host's checks and messages come from them.
    pub struct UnlikeLabelledParams {
        /// Steps of gradient descent over the whole set.
        #[schemars(range(min = 1, max = 100_000))]
        pub steps: u32 = 200,
        /// Learning rate.
        #[schemars(range(min = 0.0))]
        pub lr: f64 = 0.5,
    }
}

impl Strategy for UnlikeLabelledParams {
    const ID: &'static str = "unlike-labelled";
    const SUMMARY: &'static str = "Samples that a classifier tells from the labelled ones most surely";
    const PAPER: &'static str = "Example of the plugin kit; no paper";

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::IMAGES)]
    }
}

/// The strategy in one round: nothing lives but its parameters.
pub struct UnlikeLabelled(UnlikeLabelledParams);

/// Embeddings of every image of a stream, one a row, each of norm 1.
fn embed(round: &Round, of: Of<'_>) -> Result<Tensor> {
    let (stream, mut parts) = (round.images(of).batch(512).open()?, Vec::new());
    while let Some(batch) = stream.next(round)? {
        parts.push(round.forward(&batch.images).run()?.embeddings);
    }
    let all = Tensor::f_cat(&parts, 0)?;
    Ok(all.f_div(&all.f_norm_scalaropt_dim(2, [1], true)?.f_clamp_min(1e-12)?)?)
}

impl TorchStrategy for UnlikeLabelled {
    type Params = UnlikeLabelledParams;
    const HOOKS: Hooks = Hooks::NONE;

    fn new(params: UnlikeLabelledParams, _: &Round, _: Option<&[u8]>) -> Result<Self> {
        Ok(Self(params))
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        let (labelled, pool) = (embed(round, Of::Labelled)?, embed(round, Of::Pool)?);
        let mut weight =
            Tensor::f_zeros([labelled.size()[1]], (Kind::Float, labelled.device()))?.set_requires_grad(true);
        for step in 0..self.0.steps {
            // Logistic loss, each side counting a half.
            let surely =
                |side: &Tensor, sign: f64| side.f_mv(&weight)?.f_mul_scalar(sign)?.f_softplus()?.f_mean(Kind::Float);
            let loss = surely(&labelled, 1.0)?.f_add(&surely(&pool, -1.0)?)?;
            let slope = grad(&loss, std::slice::from_ref(&weight), false)?;
            let _no_grad = tch::no_grad_guard();
            let _ = weight.f_sub_(&slope[0].f_mul_scalar(self.0.lr)?)?;
            round.progress(u64::from(step) + 1, u64::from(self.0.steps))?;
        }
        let rows: Vec<u32> = (0..query.rows()).collect();
        largest(&rows, &floats(&pool.f_mv(&weight)?)?, query.wanted())
    }
}

torch_package!(UnlikeLabelled);
