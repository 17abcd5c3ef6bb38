//! The norm of the gradient that a sample would give without its label.
//!
//! With p the class probabilities, H their entropy and h the input of the last layer, the gradient of the entropy at
//! the logits is `d = -p (ln p + H)` and at the last layer's weights and biases `d (x) h` and `d`. The expected
//! gradient length takes `p - e_c`, the gradient of the cross-entropy of class c, in its place, and averages its norm
//! over p.
//!
//! Note that `d` is 0 for the uniform distribution, the most uncertain of all: `gradnorm-entropy` is largest at a
//! largest probability of about 0.82 with two classes, 0.67 with ten, 0.60 with a hundred (the others equal).
//!
//! The expected loss `sum_c p_c CE(x, c)` of the paper is the entropy itself where p is not held constant, as in the
//! authors' code; were it held constant, its gradient at the logits would be 0. So `gradnorm-expected` scores as
//! `gradnorm-entropy` does, and says so in the log.
//!
//! Wang, Li, Yang and Yu, "Boosting Active Learning via Improving Test Performance", AAAI 2022 (arXiv 2112.05683);
//! expected gradient length: Settles, Craven and Ray, "Multiple-Instance Active Learning", NIPS 2007.

// More than 150 lines: it holds three strategies, whose gradients at the last layer stand here in closed form.

use querist_sdk::Softmax;
use querist_sdk::prelude::*;

const WANG: &str = "Wang et al., Boosting Active Learning via Improving Test Performance, AAAI 2022";
const SETTLES: &str = "Settles, Craven and Ray, Multiple-Instance Active Learning, NIPS 2007";

/// Parameters that the gradient is taken at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Those of the last layer, in closed form.
    #[default]
    LastLayer,
    /// All of the network's, by one backward pass a sample, which the host does.
    Full,
}

/// How the norms of several parameter tensors are joined.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// The sum of the Euclidean norms of the tensors, as the authors' code has it.
    #[default]
    TensorSum,
    /// The Euclidean norm of all of them as one vector.
    Global,
}

/// What is differentiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Entropy,
    Egl,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    scheme: Scheme,
    scope: Scope,
    norm: Norm,
}

impl Settings {
    fn needs(self) -> Vec<Need> {
        let scheme = if self.scheme == Scheme::Entropy { "entropy" } else { "egl" };
        let norm = if self.norm == Norm::TensorSum { "tensor-sum" } else { "global" };
        match self.scope {
            Scope::LastLayer => Need::all([names::LOGITS, names::PENULTIMATE]),
            Scope::Full => vec![Need::new(names::GRAD_NORM).with("scheme", scheme).with("norm", norm)],
        }
    }

    fn score(self, tile: &Query) -> Result<Scores> {
        match self.scope {
            Scope::LastLayer => Ok(tile.vector(&self.last_layer(tile)?)?.into()),
            Scope::Full => {
                let norms = tile.matrix(names::GRAD_NORM)?.read(0, tile.rows())?;
                Ok(tile.vector(&norms.into_iter().map(f64::from).collect::<Vec<_>>())?.into())
            }
        }
    }

    fn last_layer(self, tile: &Query) -> Result<Vec<f64>> {
        let mut scores = Vec::with_capacity(tile.rows() as usize);
        tile.matrix(names::LOGITS)?.for_each_row(|_, row| {
            let softmax = Softmax::of(row);
            scores.push(match self.scheme {
                Scheme::Entropy => entropy_gradient(&softmax),
                Scheme::Egl => expected_gradient(&softmax),
            });
            Ok(())
        })?;
        // A rank-one matrix has the product of its factors' norms as its norm; the bias adds the left factor's.
        let sq_norms = tile.matrix(names::PENULTIMATE)?.sq_norms()?.to_vec()?;
        for (score, sq_norm) in scores.iter_mut().zip(sq_norms) {
            *score *= match self.norm {
                Norm::TensorSum => sq_norm.sqrt() + 1.0,
                Norm::Global => (sq_norm + 1.0).sqrt(),
            };
        }
        Ok(scores)
    }
}

/// Norm of the entropy's gradient at the logits.
fn entropy_gradient(softmax: &Softmax) -> f64 {
    let terms = || softmax.probs.iter().zip(&softmax.gaps);
    // ln p + H is the mean gap minus the class's own: the logarithm of the sum cancels.
    let mean_gap: f64 = terms().map(|(p, gap)| p * gap).sum();
    let part = |(p, gap): (&f64, &f64)| p * (mean_gap - gap);
    terms().map(part).map(|part| part * part).sum::<f64>().sqrt()
}

/// Mean norm of the cross-entropy's gradient at the logits, over classes drawn from the distribution itsoftmax.
fn expected_gradient(softmax: &Softmax) -> f64 {
    let squares: f64 = softmax.probs.iter().map(|p| p * p).sum();
    let others: f64 = squares - softmax.probs[softmax.top] * softmax.probs[softmax.top];
    let length = |(c, p): (usize, &f64)| {
        // |p - e_c|² = |p|² - 2 p_c + 1, without cancellation for the class that has almost everything.
        let sq = if c == softmax.top { others.max(0.0) + softmax.rest * softmax.rest } else { squares - 2.0 * p + 1.0 };
        p * sq.sqrt()
    };
    softmax.probs.iter().enumerate().map(length).sum()
}

macro_rules! strategy {
    ($name:ident, $id:literal, $scheme:ident, $summary:literal, $paper:expr, $aliases:expr, $before:expr) => {
        #[doc = concat!("Parameters of `", $id, "`.")]
        #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        #[schemars(extend("examples" = [{}, {"norm": "global"}, {"preset": "al-baselines"}]))]
        pub struct $name {
            /// Parameters that the gradient is taken at.
            pub scope: Scope,
            /// How the norms of several parameter tensors are joined.
            pub norm: Norm,
        }

        impl $name {
            fn settings(&self) -> Settings {
                Settings { scheme: Scheme::$scheme, scope: self.scope, norm: self.norm }
            }
        }

        impl Strategy for $name {
            const ID: &'static str = $id;
            const SUMMARY: &'static str = $summary;
            const PAPER: &'static str = $paper;
            const COST: &'static str =
                "last-layer: O(N (C + D)) time; full: the host's per-sample gradients; O(N) memory.";
            const ALIASES: &'static [&'static str] = $aliases;

            fn layers() -> Vec<Layer<Self>> {
                let of_all = |gradnorm: &mut Self| gradnorm.scope = Scope::Full;
                let al_baselines =
                    "euphoria0-0/Active-Learning-for-Image-Classification: the gradient at all parameters.";
                let authors = "The authors' code: the gradient at all parameters.";
                vec![
                    Layer::preset("al-baselines", al_baselines, of_all).once_called("preset", "s0"),
                    Layer::preset("authors-code", authors, of_all).once_called("preset", "authors"),
                ]
            }

            fn needs(&self) -> Vec<Need> {
                self.settings().needs()
            }

            fn may_need() -> Vec<Need> {
                vec![Need::new(names::GRAD_NORM)]
            }
        }

        impl Scorer for $name {
            fn score(&self, tile: &Query) -> Result<Scores> {
                $before(tile)?;
                self.settings().score(tile)
            }
        }
    };
}

strategy!(
    GradnormEntropy,
    "gradnorm-entropy",
    Entropy,
    "Samples whose predictive entropy has the largest gradient",
    WANG,
    &["gradnorm"],
    say_nothing
);
strategy!(
    GradnormExpected,
    "gradnorm-expected",
    Entropy,
    "Samples whose expected loss has the largest gradient; the same score as gradnorm-entropy",
    WANG,
    &[],
    say_that_it_is_the_entropy
);
strategy!(
    GradnormEgl,
    "gradnorm-egl",
    Egl,
    "Samples with the largest expected gradient length",
    SETTLES,
    &["egl"],
    say_nothing
);

#[expect(clippy::unnecessary_wraps, reason = "stands in for a function that can fail")]
fn say_nothing(_: &Query) -> Result<()> {
    Ok(())
}

fn say_that_it_is_the_entropy(tile: &Query) -> Result<()> {
    // Once a query, not once a tile.
    if tile.first_row() > 0 {
        return Ok(());
    }
    let message = "`gradnorm-expected` is `gradnorm-entropy`: the expected loss under the model's own distribution is \
                   its entropy. `gradnorm-egl` is the expected gradient length.";
    tile.log(LogLevel::Warning, message)
}

package!(scorers: [GradnormEntropy, GradnormExpected, GradnormEgl]);
