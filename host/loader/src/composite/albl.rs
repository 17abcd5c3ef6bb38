//! Members that are trusted as far as the model is right on their picks: Exp4.P.
//!
//! With K experts of weights w_k, the members and chance, each place of the batch goes to expert k with probability
//! `p_k = (1 - K p_min) w_k / sum w + p_min`. A row that is picked with probability q counts 1 / q; the reward of a
//! round is the share of the whole dataset that the model is right on, estimated by that from all picks so far. What an
//! expert would have earned raises its weight, the more the less sure that is.
//!
//! Hsu and Lin, "Active Learning by Learning", AAAI 2015. Each member is asked for a whole batch once.

use std::collections::BTreeMap;

use querist_core::{Answer, Query, QueryError};
use querist_protocol::philox::Stream;
use querist_protocol::{LogLevel, Selection, math};

use super::members::Members;
use super::own::Own;
use super::trusting::{Lists, Reader, digests};
use crate::package::combine::Albl;

/// The form of the state.
const VERSION: u32 = 1;
/// The smallest logarithm of a weight beside the largest one.
const LEAST: f64 = -50.0;

/// A pick of the last round.
#[derive(Debug, Clone, PartialEq)]
struct Pick {
    id: u64,
    /// The probability that it was picked with.
    chance: f64,
    /// Which members proposed it, one bit each.
    proposers: u32,
    /// The probability of chance itself to propose it.
    by_chance: f64,
}

/// What experts earned so far.
#[derive(Debug, Clone, PartialEq)]
struct Earned {
    members: Vec<u64>,
    /// Logarithms of the weights; of chance last, where it is an expert.
    weights: Vec<f64>,
    /// With what probabilities the last round picked.
    last: Vec<f64>,
    /// One over its probability of every pick.
    history: BTreeMap<u64, f64>,
    picks: Vec<Pick>,
}

/// Fills the batch place by place.
pub(super) fn query(albl: &Albl, members: &mut Members, query: &Query<'_>) -> Result<Answer, QueryError> {
    let own = digests(members);
    let experts = own.len() + usize::from(albl.uniform);
    let mut earned = match query.state.map(Earned::read) {
        Some(Some(earned)) if earned.members == own && earned.weights.len() == experts => earned,
        None => Earned::none(own, experts),
        Some(_) => {
            query.progress.log(LogLevel::Warning, "what members earned is not kept: they are others now");
            Earned::none(own, experts)
        }
    };
    let reward = earned.settle(albl, &right(members, query)?, query.arrays.ids().len());
    let shares = earned.shares(albl);
    let mut numbers = query.seeds.strategy(&members.identity.id).stream("slots", query.round);
    let mut lists = Lists::new(query);
    earned.picks.clear();
    let mut rows = Vec::with_capacity(query.wanted());
    while rows.len() < query.wanted() {
        let mut proposals = Vec::with_capacity(earned.members.len());
        for member in 0..earned.members.len() {
            proposals.push(lists.proposal(member, members, query)?);
        }
        let open: Vec<u32> = lists.open().collect();
        let row = drawn(&shares, &proposals, &open, &mut numbers);
        let pick = pick(query.arrays.ids()[row as usize], row, &shares, &proposals, open.len(), albl.uniform);
        earned.history.insert(pick.id, 1.0 / pick.chance);
        earned.picks.push(pick);
        lists.take(row);
        rows.push(row);
    }
    earned.last.clone_from(&shares);
    let mut diagnostics: Vec<(String, f64)> =
        shares.iter().enumerate().map(|(expert, share)| (format!("trust.{expert}"), *share)).collect();
    diagnostics.extend(reward.map(|reward| ("reward".to_owned(), reward)));
    let selection = Selection { rows, diagnostics, state: Some(earned.write()), ..Selection::default() };
    Ok(Answer { selection, usage: lists.usage.unwrap_or_default(), ..Answer::default() })
}

/// Whether the model is right on each labelled sample, by id.
fn right(members: &Members, query: &Query<'_>) -> Result<BTreeMap<u64, bool>, QueryError> {
    let own = Own::open(members, query).map_err(|failure| members.failed(failure))?;
    let found = || {
        let (labels, logits) = (own.labels()?, own.calls().input("labelled.logits")?);
        let mut right = BTreeMap::new();
        own.for_each_row(logits, |row, values| {
            let id = query.arrays.labelled_ids()[row as usize];
            right.insert(id, math::argmax(values) as u32 == labels[row as usize]);
        })?;
        Ok(right)
    };
    own.watched(query, found).map_err(|failure| members.failed(failure))
}

/// The row of an expert that is drawn by its share; chance is the one after the members.
fn drawn(shares: &[f64], proposals: &[Option<u32>], open: &[u32], numbers: &mut Stream) -> u32 {
    let total: f64 = shares.iter().sum();
    let mut left = numbers.next_uniform() * total;
    let expert = shares.iter().position(|share| {
        left -= share;
        left < 0.0
    });
    // Rounding may leave none.
    match proposals.get(expert.unwrap_or(shares.len() - 1)) {
        Some(&Some(row)) => row,
        _ => open[numbers.next_below(open.len() as u64) as usize],
    }
}

/// A row with the probability that it was picked with.
fn pick(id: u64, row: u32, shares: &[f64], proposals: &[Option<u32>], open: usize, uniform: bool) -> Pick {
    let by_chance = if uniform { 1.0 / open as f64 } else { 0.0 };
    let proposers = proposals.iter().enumerate().filter(|(_, proposal)| **proposal == Some(row));
    let proposers = proposers.fold(0u32, |set, (member, _)| set | 1 << member);
    let of_members = (0..proposals.len()).filter(|member| proposers >> member & 1 == 1).map(|member| shares[member]);
    let of_chance = if uniform { shares[proposals.len()] * by_chance } else { 0.0 };
    Pick { id, chance: of_members.sum::<f64>() + of_chance, proposers, by_chance }
}

impl Earned {
    fn none(members: Vec<u64>, experts: usize) -> Self {
        let weights = vec![0.0; experts];
        Self { members, last: Vec::new(), weights, history: BTreeMap::new(), picks: Vec::new() }
    }

    /// The least probability of an expert.
    fn least(&self, albl: &Albl) -> f64 {
        let experts = self.weights.len() as f64;
        (math::ln(experts) / (experts * f64::from(albl.horizon))).sqrt().min(1.0 / (2.0 * experts))
    }

    /// The probability of each expert.
    fn shares(&self, albl: &Albl) -> Vec<f64> {
        let least = self.least(albl);
        let weights: Vec<f64> = self.weights.iter().map(|&weight| math::exp(weight)).collect();
        let sum: f64 = weights.iter().sum();
        let rest = 1.0 - weights.len() as f64 * least;
        weights.iter().map(|weight| rest * weight / sum + least).collect()
    }

    /// Rewards the last round by the labels that arrived; `right` says of each labelled sample whether the model is
    /// right on it, and `pool` how many samples are not labelled.
    fn settle(&mut self, albl: &Albl, right: &BTreeMap<u64, bool>, pool: usize) -> Option<f64> {
        if self.picks.is_empty() || self.last.len() != self.weights.len() {
            return None;
        }
        let arrived = self.history.iter().filter_map(|(id, weight)| Some((*right.get(id)?, *weight)));
        let (count, sum) = arrived.fold((0.0, 0.0), |(count, sum), (is_right, weight)| {
            (count + 1.0, if is_right { sum + weight } else { sum })
        });
        let all = (pool + right.len()) as f64;
        let reward = if count > 0.0 { (sum / (all * count)).min(1.0) } else { 0.0 };
        let (least, experts) = (self.least(albl), self.weights.len() as f64);
        let spread = (math::ln(experts / albl.delta) / (experts * f64::from(albl.horizon))).sqrt();
        for expert in 0..self.weights.len() {
            let of = |pick: &Pick| {
                let is_proposed = pick.proposers >> expert & 1 == 1 && expert < self.members.len();
                let proposed =
                    if expert < self.members.len() { f64::from(u8::from(is_proposed)) } else { pick.by_chance };
                reward * proposed / pick.chance
            };
            let earned = self.picks.iter().map(of).sum::<f64>() / self.picks.len() as f64;
            self.weights[expert] += 0.5 * least * (earned + spread / self.last[expert]);
        }
        let largest = self.weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.weights.iter_mut().for_each(|weight| *weight = (*weight - largest).max(LEAST));
        Some(reward)
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let counts = [self.members.len(), self.weights.len(), self.last.len(), self.history.len(), self.picks.len()];
        bytes.extend(VERSION.to_le_bytes());
        counts.iter().for_each(|&count| bytes.extend((count as u32).to_le_bytes()));
        self.members.iter().for_each(|digest| bytes.extend(digest.to_le_bytes()));
        self.weights.iter().chain(&self.last).for_each(|value| bytes.extend(value.to_bits().to_le_bytes()));
        for (id, weight) in &self.history {
            bytes.extend(id.to_le_bytes());
            bytes.extend(weight.to_bits().to_le_bytes());
        }
        for pick in &self.picks {
            bytes.extend(pick.id.to_le_bytes());
            bytes.extend(pick.chance.to_bits().to_le_bytes());
            bytes.extend(pick.by_chance.to_bits().to_le_bytes());
            bytes.extend(pick.proposers.to_le_bytes());
        }
        bytes
    }

    /// `None` of what was never written.
    fn read(state: &[u8]) -> Option<Self> {
        let mut reader = Reader(state);
        if reader.u32()? != VERSION {
            return None;
        }
        let counts = (0..5).map(|_| reader.u32().map(|count| count as usize)).collect::<Option<Vec<_>>>()?;
        if counts.iter().any(|&count| count > state.len()) {
            return None;
        }
        let members = (0..counts[0]).map(|_| reader.u64()).collect::<Option<Vec<_>>>()?;
        let weights = (0..counts[1]).map(|_| reader.f64()).collect::<Option<Vec<_>>>()?;
        let is_share = |share: &f64| *share > 0.0 && *share <= 1.0;
        let last = (0..counts[2]).map(|_| reader.f64().filter(is_share)).collect::<Option<Vec<_>>>()?;
        let mut entry = || Some((reader.u64()?, reader.f64().filter(|weight| *weight > 0.0)?));
        let history = (0..counts[3]).map(|_| entry()).collect::<Option<BTreeMap<_, _>>>()?;
        let mut pick = || {
            let (id, chance) = (reader.u64()?, reader.f64().filter(|chance| *chance > 0.0)?);
            Some(Pick { id, chance, by_chance: reader.f64()?, proposers: reader.u32()? })
        };
        let picks = (0..counts[4]).map(|_| pick()).collect::<Option<Vec<_>>>()?;
        reader.0.is_empty().then_some(Self { members, weights, last, history, picks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn albl() -> Albl {
        Albl { members: Vec::new(), uniform: true, delta: 0.1, horizon: 20 }
    }

    #[test]
    fn the_worked_example() {
        let mut earned = Earned::none(vec![1, 2], 3);
        let shares = earned.shares(&albl());
        assert!((earned.least(&albl()) - 0.135_315_2).abs() < 1e-7);
        // Two picks that a member each proposed, and chance with 1 of 100; the model is right on the first.
        for id in [5, 6] {
            let one = pick(id, 0, &shares, &[Some(0), Some(1)], 100, true);
            assert!((one.chance - 0.336_666_7).abs() < 1e-7 && (1.0 / one.chance - 2.970_297).abs() < 1e-6);
            earned.history.insert(id, 1.0 / one.chance);
        }
        let proposers = [1, 2];
        earned.picks = [5, 6]
            .into_iter()
            .zip(proposers)
            .map(|(id, proposers)| Pick { id, chance: 1.0 / earned.history[&id], proposers, by_chance: 0.01 })
            .collect();
        earned.last.clone_from(&shares);
        let right = BTreeMap::from([(5, true), (6, false)]);
        let reward = earned.settle(&albl(), &right, 100).unwrap();
        assert!((reward - 0.014_560_3).abs() < 1e-7, "{reward}");
        let next = earned.shares(&albl());
        for (share, expected) in next.iter().zip([0.333_427_9, 0.333_427_9, 0.333_144_1]) {
            assert!((share - expected).abs() < 1e-6, "{next:?}");
        }
    }

    #[test]
    fn who_was_seldom_asked_has_the_benefit_of_the_doubt() {
        let mut earned = Earned::none(vec![1, 2], 3);
        earned.last = vec![0.5, 0.25, 0.25];
        earned.history.insert(5, 4.0);
        earned.picks = vec![Pick { id: 5, chance: 0.25, proposers: 1, by_chance: 0.0 }];
        // The model is wrong, so nobody earns anything: what is left is 0.5 p_min sqrt(ln(K / delta) / (K T)) / p.
        assert_eq!(earned.settle(&albl(), &BTreeMap::from([(5, false)]), 9), Some(0.0));
        let apart = earned.weights[1] - earned.weights[0];
        assert!((apart - 0.032_217_2).abs() < 1e-6, "{apart}");
    }

    #[test]
    fn weighted_picks_estimate_the_mean_of_the_pool() {
        // Members that propose rows 0 and 1 for ever, and chance over four rows.
        let shares = [0.5, 0.2, 0.3];
        let (value, open) = ([0.1, 0.9, 0.4, 0.6], [0, 1, 2, 3]);
        let mut numbers = Stream::new(11, 0);
        let draws = 100_000;
        let mut sum = 0.0;
        for _ in 0..draws {
            let row = drawn(&shares, &[Some(0), Some(1)], &open, &mut numbers);
            sum += value[row as usize] / pick(0, row, &shares, &[Some(0), Some(1)], 4, true).chance;
        }
        let mean = sum / (4.0 * f64::from(draws));
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }

    #[test]
    fn a_state_survives_its_bytes_and_rubbish_is_none() {
        let earned = Earned {
            members: vec![3, 8],
            weights: vec![0.0, -1.0, -2.0],
            last: vec![0.5, 0.25, 0.25],
            history: BTreeMap::from([(4, 2.0), (u64::MAX, 9.5)]),
            picks: vec![Pick { id: 4, chance: 0.5, proposers: 3, by_chance: 0.25 }],
        };
        let bytes = earned.write();
        assert_eq!(Earned::read(&bytes), Some(earned));
        for cut in 0..bytes.len() {
            assert_eq!(Earned::read(&bytes[..cut]), None);
        }
        let mut huge = bytes;
        huge[4..24].fill(0xff);
        assert_eq!(Earned::read(&huge), None);
    }
}
