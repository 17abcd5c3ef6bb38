//! Uncertainty of the mean of several predictions, and disagreement between them.
//!
//! The predictions are draws of one network with dropout on (`mc-*`, `bald`), or the members of an ensemble
//! (`ensemble-*`). With p_t the distribution of draw t and p their mean:
//!
//! | score | definition | ties go to the larger |
//! | --- | --- | --- |
//! | least confidence | `1 - max_c p_c` | `-ln max_c p_c` |
//! | margin | `-(p_1 - p_2)`, the two largest | `1 - (p_1 - p_2)` in its exact form |
//! | entropy | `H(p)` | `1 - max_c p_c` |
//! | variation ratio | share of draws that do not predict the most predicted class | `H(p)` |
//! | mean std | mean over classes of the standard deviation over draws | |
//! | bald | `H(p) - mean_t H(p_t)`, computed as a sum of terms that are never negative | `H(p)` |
//!
//! Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML 2017 (arXiv 1703.02910); Houlsby,
//! Huszár, Ghahramani and Lengyel, "Bayesian Active Learning for Classification and Preference Learning", 2011 (arXiv
//! 1112.5745); Beluch, Genewein, Nürnberger and Köhler, "The Power of Ensembles for Active Learning in Image
//! Classification", CVPR 2018, on Lakshminarayanan, Pritzel and Blundell, NIPS 2017 (arXiv 1612.01474).

// More than 150 lines: fourteen strategies.

mod committee;

use querist_sdk::draws::{Draws, RowDraws};
use querist_sdk::prelude::*;

pub use committee::{Direction, KlConsensus, Vote, VoteEntropy};

const GAL: &str = "Gal, Islam and Ghahramani, Deep Bayesian Active Learning with Image Data, ICML 2017";
const HOULSBY: &str =
    "Houlsby et al., Bayesian Active Learning for Classification and Preference Learning, 2011 (arXiv 1112.5745)";
const BELUCH: &str = "Beluch et al., The Power of Ensembles for Active Learning in Image Classification, CVPR 2018";

/// Scores every visible row of the array `name` by `measure`.
fn score(tile: &Query, name: &str, draws: u32, measure: impl Fn(&RowDraws) -> (f64, f64)) -> Result<Scores> {
    let (mut primary, mut second) = (Vec::new(), Vec::new());
    Draws::of(tile, name, draws)?.for_each(|_, row| {
        let (score, tie_breaker) = measure(row);
        primary.push(score);
        second.push(tie_breaker);
        Ok(())
    })?;
    Ok((tile.vector(&primary)?, tile.vector(&second)?).into())
}

macro_rules! strategy {
    (
        $name:ident, $id:literal, $measure:expr, $summary:literal, $paper:expr, $aliases:expr,
        $array:expr, $count:ident, $key:literal, $layers:expr
    ) => {
        impl Strategy for $name {
            const ID: &'static str = $id;
            const SUMMARY: &'static str = $summary;
            const PAPER: &'static str = $paper;
            const COST: &'static str = "O(N T C) time; O(N) memory.";
            const ALIASES: &'static [&'static str] = $aliases;

            fn layers() -> Vec<Layer<Self>> {
                $layers
            }

            fn needs(&self) -> Vec<Need> {
                vec![Need::new($array).with($key, self.$count)]
            }
        }

        impl Scorer for $name {
            fn score(&self, tile: &Query) -> Result<Scores> {
                score(tile, $array, self.$count, $measure)
            }
        }
    };
}

macro_rules! of_draws {
    ($($name:ident, $id:literal, $measure:expr, $summary:literal, $paper:expr, $aliases:expr;)*) => { $(
        params! {
            #[doc = concat!("Parameters of `", $id, "`.")]
            pub struct $name {
                /// Passes with dropout on.
                #[serde(rename = "T")]
                #[schemars(range(min = 2, max = 1000))]
                pub draws: u32 = 10,
            }
        }

        strategy!($name, $id, $measure, $summary, $paper, $aliases, names::MC_LOG_PROBS, draws, "T", vec![
            Layer::preset("cure-lab", "cure-lab/deep-active-learning: 10 draws.", |s: &mut Self| s.draws = 10)
                .once_called("preset", "s1"),
            Layer::preset("uwe", "He-Yinan/UWE: 5 draws.", |s: &mut Self| s.draws = 5).once_called("preset", "s4"),
        ]);
    )* };
}

of_draws! {
    McLeastConfidence, "mc-least-confidence", RowDraws::least_confidence,
        "Samples whose most probable class, averaged over dropout draws, is least probable",
        GAL, &["LeastConfidenceDropout"];
    McMargin, "mc-margin", RowDraws::margin,
        "Samples with the smallest difference between the two most probable classes, averaged over dropout draws",
        GAL, &["MarginSamplingDropout"];
    McEntropy, "mc-entropy", RowDraws::entropy,
        "Samples whose class distribution, averaged over dropout draws, has the largest entropy",
        GAL, &["EntropySamplingDropout", "dbal"];
    McVariationRatio, "mc-variation-ratio", RowDraws::variation_ratio,
        "Samples whose predicted class changes most often between dropout draws",
        GAL, &["VarR"];
    McMeanStd, "mc-mean-std", |row: &RowDraws| (row.mean_std(), 0.0),
        "Samples whose class probabilities vary most between dropout draws",
        GAL, &["MeanSTD"];
    Bald, "bald", RowDraws::mutual_information,
        "Samples whose label would tell most about the model: dropout draws are sure, but disagree",
        HOULSBY, &["BALDDropout"];
}

macro_rules! of_members {
    ($($name:ident, $id:literal, $measure:expr, $summary:literal, $aliases:expr;)*) => { $(
        params! {
            #[doc = concat!("Parameters of `", $id, "`.")]
            pub struct $name {
                /// Networks in the ensemble, each trained apart.
                #[schemars(range(min = 2, max = 100))]
                pub members: u32 = 5,
            }
        }

        strategy!(
            $name, $id, $measure, $summary, BELUCH, $aliases, names::MEMBER_LOG_PROBS, members, "M", Vec::new()
        );
    )* };
}

of_members! {
    EnsembleLeastConfidence, "ensemble-least-confidence", RowDraws::least_confidence,
        "Samples whose most probable class, averaged over an ensemble, is least probable", &[];
    EnsembleMargin, "ensemble-margin", RowDraws::margin,
        "Samples with the smallest difference between the two most probable classes, averaged over an ensemble", &[];
    EnsembleEntropy, "ensemble-entropy", RowDraws::entropy,
        "Samples whose class distribution, averaged over an ensemble, has the largest entropy",
        &["ensemble", "Uncertainty Ensembles"];
    EnsembleVariationRatio, "ensemble-variation-ratio", RowDraws::variation_ratio,
        "Samples on whose class the members of an ensemble disagree most often", &["ensemble_var_R"];
    EnsembleBald, "ensemble-bald", RowDraws::mutual_information,
        "Samples whose label would tell most about which member of an ensemble is right", &["consensus-kl"];
    EnsembleMeanStd, "ensemble-mean-std", |row: &RowDraws| (row.mean_std(), 0.0),
        "Samples whose class probabilities vary most between the members of an ensemble", &[];
}

package!(
    scorers: [
        McLeastConfidence, McMargin, McEntropy, McVariationRatio, McMeanStd, Bald,
        EnsembleLeastConfidence, EnsembleMargin, EnsembleEntropy, EnsembleVariationRatio, EnsembleBald, EnsembleMeanStd,
        VoteEntropy, KlConsensus,
    ]
);
