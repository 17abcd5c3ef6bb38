//! Disagreement of a committee: votes, and divergence from the consensus.
//!
//! With p_m the class distribution of member m and p their mean, the consensus:
//!
//! | score | definition | ties go to the larger |
//! | --- | --- | --- |
//! | vote entropy | `-sum_c v_c ln v_c`, v_c the share of members that predict class c | `H(p)` |
//! | to the consensus | `mean_m KL(p_m \|\| p)`, which is `ensemble-bald` | `H(p)` |
//! | from the consensus | `mean_m KL(p \|\| p_m)` | `H(p)` |
//!
//! Dagan and Engelson, "Committee-Based Sampling for Training Probabilistic Classifiers", ICML 1995, on Seung, Opper
//! and Sompolinsky, "Query by Committee", COLT 1992; McCallum and Nigam, "Employing EM and Pool-Based Active Learning
//! for Text Classification", ICML 1998.

use querist_sdk::draws::{Draws, RowDraws, entropy};
use querist_sdk::prelude::*;

/// The least logarithm of a probability; smaller ones count as this one.
const LEAST_LOG: f64 = -745.0;

/// How members vote.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Vote {
    /// Each for the class that it predicts.
    #[default]
    Hard,
    /// Each for all classes, by their probabilities; this is `ensemble-entropy`.
    Soft,
}

/// Which way divergences are measured.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From each member to the consensus; this is `ensemble-bald`.
    #[default]
    ToConsensus,
    /// From the consensus to each member, which finds single members that rule out what the others expect.
    FromConsensus,
}

params! {
    /// Parameters of `vote-entropy`.
    #[schemars(extend("examples" = [{}, {"vote": "soft"}]))]
    pub struct VoteEntropy {
        /// How members vote.
        pub vote: Vote = Vote::Hard,
        /// Networks in the committee, each trained apart.
        #[schemars(range(min = 2, max = 100))]
        pub members: u32 = 5,
    }
}

params! {
    /// Parameters of `kl-consensus`.
    #[schemars(extend("examples" = [{}, {"direction": "from-consensus"}]))]
    pub struct KlConsensus {
        /// Which way divergences are measured.
        pub direction: Direction = Direction::ToConsensus,
        /// Networks in the committee, each trained apart.
        #[schemars(range(min = 2, max = 100))]
        pub members: u32 = 5,
    }
}

impl Strategy for VoteEntropy {
    const ID: &'static str = "vote-entropy";
    const SUMMARY: &'static str = "Samples whose class the members of a committee vote on with the largest entropy";
    const PAPER: &'static str =
        "Dagan and Engelson, Committee-Based Sampling for Training Probabilistic Classifiers, ICML 1995";
    const COST: &'static str = "O(N M C) time; O(N) memory.";
    const ALIASES: &'static [&'static str] = &["qbc-vote-entropy"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::MEMBER_LOG_PROBS).with("M", self.members)]
    }
}

impl Scorer for VoteEntropy {
    fn score(&self, tile: &Query) -> Result<Scores> {
        let measure = match self.vote {
            Vote::Hard => hard_votes,
            Vote::Soft => RowDraws::entropy,
        };
        crate::score(tile, names::MEMBER_LOG_PROBS, self.members, measure)
    }
}

/// Entropy of the shares of votes, and that of the consensus.
fn hard_votes(row: &RowDraws) -> (f64, f64) {
    let classes = row.mean.len();
    let mut votes = vec![0u32; classes];
    let mut members = 0u32;
    for member in row.probs.chunks_exact(classes) {
        votes[math::argmax(member)] += 1;
        members += 1;
    }
    // Equal counts of other classes have to give equal bits, or the tie-breaker would never be asked.
    votes.sort_unstable_by(|a, b| b.cmp(a));
    let shares = votes.iter().take_while(|&&votes| votes > 0).map(|&votes| f64::from(votes) / f64::from(members));
    (shares.fold(0.0, |sum, share| sum - share * math::ln(share)), entropy(&row.mean))
}

impl Strategy for KlConsensus {
    const ID: &'static str = "kl-consensus";
    const SUMMARY: &'static str = "Samples whose class distributions differ most between a committee and its mean";
    const PAPER: &'static str =
        "McCallum and Nigam, Employing EM and Pool-Based Active Learning for Text Classification, ICML 1998";
    const COST: &'static str = "O(N M C) time; O(N) memory.";
    const ALIASES: &'static [&'static str] = &["average-kl-divergence"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::MEMBER_LOG_PROBS).with("M", self.members)]
    }
}

impl Scorer for KlConsensus {
    fn score(&self, tile: &Query) -> Result<Scores> {
        if self.direction == Direction::ToConsensus {
            return crate::score(tile, names::MEMBER_LOG_PROBS, self.members, RowDraws::mutual_information);
        }
        let draws = Draws::of(tile, names::MEMBER_LOG_PROBS, self.members)?;
        let (mut primary, mut second) = (Vec::new(), Vec::new());
        draws.for_each(|at, row| {
            primary.push(from_consensus(row, &draws.log_probs().read(at, 1)?));
            second.push(entropy(&row.mean));
            Ok(())
        })?;
        Ok((tile.vector(&primary)?, tile.vector(&second)?).into())
    }
}

/// Mean divergence of the members, whose logarithms are `logs`, from the consensus.
fn from_consensus(row: &RowDraws, logs: &[f32]) -> f64 {
    let classes = row.mean.len();
    let logs_of_mean: Vec<f64> = row.mean.iter().map(|&mean| math::ln(mean).max(LEAST_LOG)).collect();
    let (mut sum, mut members) = (0.0, 0.0);
    for (member, logs) in row.probs.chunks_exact(classes).zip(logs.chunks_exact(classes)) {
        members += 1.0;
        let off: f64 = logs.iter().map(|&log| math::exp(f64::from(log))).sum();
        for (((&p, &log), &mean), &log_mean) in member.iter().zip(logs).zip(&row.mean).zip(&logs_of_mean) {
            let log = (f64::from(log) - math::ln(off)).max(LEAST_LOG);
            sum += (mean * (log_mean - log) - mean + p).max(0.0);
        }
    }
    sum / members
}
