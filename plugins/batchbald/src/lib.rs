//! Batches whose labels together would tell most about the model.
//!
//! Greedily, each pick has the largest `I(labels of the picks and its own; draw)`: near copies of a pick add nothing.
//! Draws must be coherent: draw t is the same network for every sample. In the form used here the gain of a sample is
//!
//! `sum_m share_m H(sum_t w_mt p_t) - mean_t H(p_t)`,
//!
//! where m runs over labels of the picks so far and w_m weighs the draws by how likely they make those labels. While
//! all of them fit into `num_samples` they are enumerated; afterwards `num_samples` of them are followed as particles,
//! each drawn from one draw of the model, as many from each. Particles are followed from the first pick on, so all
//! candidates of all steps share their noise.
//!
//! Published code estimates the joint entropy itself, from configurations drawn afresh at every step
//! (`estimator = "joint"`). For one set of configurations both forms differ by a constant of the step, so they rank
//! samples alike; the conditional form has the smaller variance as an estimate of the information.
//!
//! A gain is at most that of an earlier step (always where labels are enumerated, nearly so with particles), so with
//! `lazy` only samples whose last known gain is large enough are looked at again.
//!
//! The information of a batch is at most ln T: with 10 draws it is spent after a few picks. Once no gain reaches 1e-6
//! the rest is filled by mutual information (BALD), and `saturated_at` says how many picks came before. Batches of more
//! than 20 are better drawn by `power-bald`.
//!
//! Kirsch, van Amersfoort and Gal, "BatchBALD: Efficient and Diverse Batch Acquisition for Deep Bayesian Active
//! Learning", NeurIPS 2019 (arXiv 1906.08158).

// More than 150 lines: labels are enumerated while they are few and followed as particles afterwards.

mod labels;

use querist_sdk::LazyGreedy;
use querist_sdk::draws::Draws;
use querist_sdk::prelude::*;

use labels::Labels;

/// A gain below this is noise.
const SATURATED: f64 = 1e-6;
/// Weights that the particles may hold, so that they fit a plugin's memory: 2^24 are 128 MiB.
const MOST_WEIGHTS: u64 = 1 << 24;
/// Stale gains that are renewed at once.
const RENEWED: usize = 64;
/// Rows that are gathered at once.
const MOST_AT_ONCE: usize = 1024;

/// How the information of a batch is estimated where labels are too many to enumerate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// By gains given the labels so far; particles are kept from pick to pick.
    #[default]
    Conditional,
    /// By the joint entropy of all labels, drawn afresh for every pick, as in published code. Scores are then the
    /// information of the batch up to and with each pick.
    Joint,
}

params! {
    /// Parameters of BatchBALD.
    #[schemars(extend("examples" = [{"num_samples": 200}, {"estimator": "joint", "lazy": false, "num_samples": 50}]))]
    pub struct BatchBald {
        /// Passes with dropout on.
        #[serde(rename = "T")]
        #[schemars(range(min = 2, max = 1000))]
        pub draws: u32 = 10,
        /// Configurations of labels that are followed, at least `T`.
        #[schemars(range(min = 2, max = 1_000_000))]
        pub num_samples: u32 = 10_000,
        /// How the information is estimated where labels are too many to enumerate.
        pub estimator: Estimator = Estimator::Conditional,
        /// Whether only samples with a large enough gain at an earlier pick are looked at again.
        pub lazy: bool = true,
    }
}

impl Strategy for BatchBald {
    const ID: &'static str = "batchbald";
    const SUMMARY: &'static str = "Batches whose labels together would tell most about the model";
    const PAPER: &'static str =
        "Kirsch, van Amersfoort and Gal, BatchBALD: Efficient and Diverse Batch Acquisition, NeurIPS 2019";
    const COST: &'static str =
        "O(b N M T C) time at most, with M = num_samples; bounds let most rows be passed over; O(N + M T) memory.";
    const ALIASES: &'static [&'static str] = &["BatchBALD"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::MC_LOG_PROBS).with("T", self.draws).with_flag("coherent")]
    }

    fn check(&self) -> Result<(), String> {
        let (draws, samples) = (self.draws, self.num_samples);
        if samples < draws {
            return Err(format!("`num_samples` is {samples}, but must be at least `T`, which is {draws}"));
        }
        if u64::from(samples) * u64::from(draws) > MOST_WEIGHTS {
            return Err(format!(
                "`num_samples` times `T` is {samples} x {draws}, but at most {MOST_WEIGHTS} weights fit; lower \
                 one of them"
            ));
        }
        Ok(())
    }
}

impl Selector for BatchBald {
    fn select(&self, query: &Query) -> Result<Selection> {
        let draws = Draws::of(query, names::MC_LOG_PROBS, self.draws)?;
        let mut pool = Candidates::new(&draws)?;
        let ids = query.ids()?;
        let mut labels = Labels::new(&draws, self.num_samples as usize, self.estimator);
        let mut picks = query.picks()?;
        let mut saturated = false;
        // Where all are wanted, there is nothing to weigh against each other.
        while picks.missing() > 0 && query.wanted() < query.rows() {
            let (row, gain) = pool.best(query, &labels, self.lazy)?;
            if gain < SATURATED {
                saturated = true;
                break;
            }
            picks.take(row, labels.score(gain))?;
            if picks.missing() > 0 {
                labels.add(query, ids[row as usize], draws.probs(row)?, gain, pool.mean_entropies[row as usize])?;
            }
        }
        picks.note("gains_computed", pool.computed as f64);
        if saturated {
            picks.note("saturated_at", picks.len());
        }
        pool.fill(query, picks)
    }
}

/// The samples of the pool with what is known of their gains.
struct Candidates<'a> {
    draws: &'a Draws,
    /// Mutual information with the draw, and its tie-breaker.
    bald: Vec<f64>,
    second: Vec<f64>,
    mean_entropies: Vec<f64>,
    /// The gains: the first is the mutual information of one sample, and no later one is larger.
    known: LazyGreedy,
    /// Gains computed after the first step.
    computed: u64,
}

impl<'a> Candidates<'a> {
    fn new(draws: &'a Draws) -> Result<Self> {
        let (mut bald, mut second, mut mean_entropies) = (Vec::new(), Vec::new(), Vec::new());
        draws.for_each(|_, row| {
            let (score, tie_breaker) = row.mutual_information();
            bald.push(score);
            second.push(tie_breaker);
            mean_entropies.push(row.mean_entropy());
            Ok(())
        })?;
        Ok(Self { draws, known: LazyGreedy::new(bald.iter().copied()), bald, second, mean_entropies, computed: 0 })
    }

    /// The sample that gains most with its gain, the lowest row among equals. There is one that is not taken.
    fn best(&mut self, query: &Query, labels: &Labels, lazy: bool) -> Result<(u32, f64)> {
        let Self { draws, mean_entropies, known, computed, .. } = self;
        let mut mixtures = None;
        let best = known.best(if lazy { RENEWED } else { usize::MAX }, |stale| {
            let (weights, shares) = match &mixtures {
                Some(mixtures) => mixtures,
                None => mixtures.insert(labels.mixtures(query)?),
            };
            let mut gains = Vec::with_capacity(stale.len());
            for rows in stale.chunks(MOST_AT_ONCE) {
                let entropies = draws.log_probs().gather(rows)?.mixture_entropy(weights, shares)?.to_vec()?;
                let gain = |(&row, entropy): (&u32, f64)| (entropy - mean_entropies[row as usize]).max(0.0);
                gains.extend(rows.iter().zip(entropies).map(gain));
            }
            *computed += gains.len() as u64;
            Ok(gains)
        })?;
        best.ok_or_else(|| StrategyError::Failed("no sample is left to pick from".to_owned()))
    }

    /// The picks, filled by mutual information; those scores are 0, since nothing is gained.
    fn fill(&self, query: &Query, mut picks: Picks) -> Result<Selection> {
        let (bald, second) = (query.vector(&self.bald)?, query.vector(&self.second)?);
        if query.wanted() == query.rows() {
            // Nothing was weighed, so nothing is missing.
            picks.take_all(bald.top(Some(&second), query.wanted(), None)?)?;
        }
        let mut selection = picks.fill_by(&bald, Some(&second))?;
        selection.scores.resize(selection.rows.len(), 0.0);
        Ok(selection)
    }
}

package!(selectors: [BatchBald]);
