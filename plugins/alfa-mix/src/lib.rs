//! Samples whose prediction flips when their embedding moves a little towards a labelled one.
//!
//! Each class has an anchor a, the mean embedding of its labelled samples. A sample of embedding z is mixed with it,
//! coordinate by coordinate, to `alpha a + (1 - alpha) z`, and is a candidate if some alpha of at most `alpha_cap` a
//! coordinate changes the class that the model's head predicts. The cap grows in steps until there are more candidates
//! than samples are wanted; these are clustered, and the one nearest to each centre is selected.
//!
//! Under a linear head logits move by its weights times what is mixed in, so nothing is tried that can be solved. Any
//! other head gives its logits, and its gradients, at every mixture.
//!
//! Parvaneh, Abbasnejad, Teney, Haffari, van den Hengel and Shi, "Active Learning by Feature Mixing", CVPR 2022 (arXiv
//! 2203.07034).

// More than 150 lines: a linear head is solved in closed form, and any other is tried through the host.

mod asking;
mod mixing;

use querist_sdk::prelude::*;

use asking::{Block, Cap};
use mixing::{Anchors, Head, Learning, Noise, Sample};

/// How much of an anchor is mixed in, coordinate by coordinate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Along the gradient of the predicted class's loss, solved for the least cap that flips the prediction.
    ClosedForm,
    /// From a random start, a few steps that raise the predicted class's loss.
    Optimised,
    /// At random.
    Random,
}

/// The anchor of a class without labelled samples.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorsMissing {
    /// The mean of all labelled samples.
    #[default]
    GlobalMean,
    /// None.
    Skip,
}

params! {
    /// Parameters of ALFA-Mix.
    #[schemars(extend("examples" = [
        {"n_init": 1},
        {"n_init": 1, "preset": "al-baselines", "max_cap": 0.1, "anchors_missing": "skip"},
        {"n_init": 1, "variant": "optimised", "max_cap": 0.1},
    ]))]
    pub struct AlfaMix {
        /// How much of an anchor is mixed in.
        pub variant: Variant = Variant::ClosedForm,
        /// First cap and step of caps, above 0.
        #[schemars(range(min = 0.0, max = 1.0), extend("x-querist-search" = {"linear": [0.1, 0.5]}))]
        pub alpha_cap: f64 = 0.2,
        /// Caps grow while they are below this.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub max_cap: f64 = 1.0,
        /// The anchor of a class without labelled samples.
        pub anchors_missing: AnchorsMissing = AnchorsMissing::GlobalMean,
        /// Steps of the optimised variant.
        #[schemars(range(min = 1, max = 1000))]
        pub iters: u32 = 5,
        /// Their length, a tenth of it in the last third.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub lr: f64 = 0.1,
        /// Weight of the loss in the optimised variant.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub clf_coef: f64 = 1.0,
        /// Weight of the norm of what is mixed in.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub l2_coef: f64 = 0.01,
        /// Restarts of k-means, of which the best is kept.
        #[schemars(range(min = 1, max = 100))]
        pub n_init: u32 = 10,
        /// Iterations of one restart at most.
        #[schemars(range(min = 1, max = 1000))]
        pub max_iter: u32 = 300,
    }
}

impl Strategy for AlfaMix {
    const ID: &'static str = "alfa-mix";
    const SUMMARY: &'static str = "Diverse samples whose prediction flips when mixed with a labelled one";
    const PAPER: &'static str = "Parvaneh et al., Active Learning by Feature Mixing, CVPR 2022";
    const COST: &'static str = "closed-form: O(N D C) time; random and optimised: O(N D C) a class and step of the \
                                cap; another head than a linear one is asked for N rows a class and step of the cap; \
                                then k-means of the candidates. O(N) memory.";
    const ALIASES: &'static [&'static str] = &["alfamix", "AlphaMixSampling"];

    fn layers() -> Vec<Layer<Self>> {
        let text = "euphoria0-0/Active-Learning-for-Image-Classification: the random variant in steps of 0.03125.";
        let random = |mix: &mut Self| mix.variant = Variant::Random;
        vec![
            Layer::preset("al-baselines", text, random).once_called("preset", "s0"),
            Layer::when("variant", Variant::Random, |mix: &mut Self| mix.alpha_cap = 0.03125),
            Layer::when("variant", Variant::Optimised, |mix: &mut Self| mix.alpha_cap = 0.03125),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        let arrays = [names::LOGITS, names::EMBEDDINGS, "labelled.embeddings", names::LABELLED_LABELS];
        arrays.into_iter().map(Need::new).chain([Need::new(names::HEAD_W).or(names::HEAD)]).collect()
    }

    fn check(&self) -> Result<(), String> {
        let step = self.alpha_cap;
        if step <= 0.0 {
            return Err(format!("alpha_cap is {step}, but it must be above 0"));
        }
        if self.max_cap < step {
            return Err(format!("max_cap is {}, but it must be at least alpha_cap, {step}", self.max_cap));
        }
        if self.lr <= 0.0 {
            return Err(format!("lr is {}, but it must be above 0", self.lr));
        }
        Ok(())
    }
}

impl Selector for AlfaMix {
    fn select(&self, query: &Query) -> Result<Selection> {
        let mut picks = query.picks()?;
        let anchors = Anchors::of(query, self.anchors_missing == AnchorsMissing::Skip)?;
        let (candidates, cap) = if query.has(names::HEAD_W)? {
            let head = Head::new(&query.matrix(names::HEAD_W)?)?;
            match self.variant {
                Variant::ClosedForm => self.by_threshold(query, &head, &anchors)?,
                Variant::Optimised | Variant::Random => self.by_trial(query, &head, &anchors)?,
            }
        } else {
            self.by_asking(query, &anchors)?
        };
        if !candidates.is_empty() {
            let rows = query.matrix(names::EMBEDDINGS)?.gather(&candidates)?.normalise()?;
            let options = KmeansOptions {
                restarts: self.n_init,
                max_iterations: self.max_iter,
                ..KmeansOptions::new(picks.missing().min(candidates.len() as u32))
            };
            let clusters = rows.kmeans(None, options, &query.stream("kmeans", StreamScope::Round)?)?;
            let nearest = clusters.representatives(None)?.into_iter().flatten();
            picks.take_all(nearest.map(|at| candidates[at as usize]))?;
        }
        picks.note("candidates", candidates.len() as f64);
        picks.note("cap", cap);
        picks.fill_at_random()
    }
}

impl AlfaMix {
    /// The caps to try, in order.
    fn caps(&self) -> impl Iterator<Item = f64> {
        let (step, most) = (self.alpha_cap, self.max_cap);
        // The last one is the first that is not below the largest.
        (1u32..).map(move |i| f64::from(i) * step).scan(false, move |is_last, cap| {
            let goes_on = !std::mem::replace(is_last, cap >= most);
            goes_on.then_some(cap)
        })
    }

    /// Rows that flip at some cap up to the first with more than enough of them, and that cap. `try_cap` marks those
    /// that flip at a cap.
    fn grow(&self, query: &Query, mut try_cap: impl FnMut(Cap, &mut [bool]) -> Result<()>) -> Result<(Vec<u32>, f64)> {
        let mut flips = vec![false; query.rows() as usize];
        let mut last = 0.0;
        for (number, size) in (0u32..).zip(self.caps()) {
            last = size;
            try_cap(Cap { number, size }, &mut flips)?;
            if flips.iter().filter(|&&flip| flip).count() > query.wanted() as usize {
                break;
            }
        }
        Ok(((0..query.rows()).filter(|&row| flips[row as usize]).collect(), last))
    }

    /// Under a linear head: rows whose least flipping cap, which is solved for once, is below a cap.
    fn by_threshold(&self, query: &Query, head: &Head, anchors: &Anchors) -> Result<(Vec<u32>, f64)> {
        let mut thresholds = Vec::with_capacity(query.rows() as usize);
        for_each_sample(query, |_, sample| {
            thresholds.push(head.threshold(&sample, anchors));
            Ok(())
        })?;
        self.grow(query, |cap, flips| {
            flips.iter_mut().zip(&thresholds).for_each(|(flip, threshold)| *flip = *threshold < cap.size);
            Ok(())
        })
    }

    /// Under a linear head: rows that flip in a trial with one of the anchors.
    fn by_trial(&self, query: &Query, head: &Head, anchors: &Anchors) -> Result<(Vec<u32>, f64)> {
        let (keys, learning) = (keys(query)?, self.learning());
        self.grow(query, |cap, flips| {
            for_each_sample(query, |row, sample| {
                let flip = &mut flips[row as usize];
                if !*flip {
                    let noise = |anchor| Noise::new(keys[row as usize], anchor as u32, cap.number);
                    *flip = (0..anchors.len())
                        .any(|anchor| head.flips(&sample, anchors.get(anchor), cap.size, noise(anchor), &learning));
                }
                Ok(())
            })
        })
    }

    /// Under any head, which is asked: rows that flip with one of the anchors.
    fn by_asking(&self, query: &Query, anchors: &Anchors) -> Result<(Vec<u32>, f64)> {
        let (keys, learning) = (keys(query)?, self.learning());
        self.grow(query, |cap, flips| {
            for_each_block(query, |start, logits, embeddings| {
                let mut block = Block::new(query, start, (logits, embeddings), flips);
                match self.variant {
                    Variant::ClosedForm => block.along_gradients(anchors, cap),
                    Variant::Optimised | Variant::Random => block.by_shares(anchors, cap, &keys, &learning),
                }
            })
        })
    }

    /// How shares are learnt; not at all but in the optimised variant.
    fn learning(&self) -> Learning {
        match self.variant {
            Variant::Optimised => {
                Learning { steps: self.iters, length: self.lr, loss_weight: self.clf_coef, norm_weight: self.l2_coef }
            }
            Variant::ClosedForm | Variant::Random => Learning::NONE,
        }
    }
}

/// A number for each row, from which its random shares are made.
fn keys(query: &Query) -> Result<Vec<f64>> {
    query.stream("alpha", StreamScope::Round)?.by_row(0)?.to_vec()
}

/// Calls `visit(first_row, logits, embeddings)` for blocks of the pool, in order.
fn for_each_block(query: &Query, mut visit: impl FnMut(u32, &[f32], &[f32]) -> Result<()>) -> Result<()> {
    let (logits, embeddings) = (query.matrix(names::LOGITS)?, query.matrix(names::EMBEDDINGS)?);
    let width = embeddings.shape()?.1.max(1) as usize;
    embeddings.for_each_block(|start, block| {
        let count = (block.len() / width) as u32;
        visit(start, &logits.read(start, count)?, block)?;
        query.progress(u64::from(start + count), u64::from(query.rows()))
    })
}

/// Calls `visit(row, sample)` for each sample of the pool, in order.
fn for_each_sample(query: &Query, mut visit: impl FnMut(u32, Sample<'_>) -> Result<()>) -> Result<()> {
    let classes = query.classes() as usize;
    for_each_block(query, |start, logits, embeddings| {
        let width = (embeddings.len() * classes / logits.len().max(1)).max(1);
        let rows = logits.chunks_exact(classes).zip(embeddings.chunks_exact(width));
        (start..).zip(rows).try_for_each(|(row, (logits, embedding))| visit(row, Sample::new(logits, embedding)))
    })
}

package!(selectors: [AlfaMix]);
