//! Members that are trusted as far as their picks turn out to be of rare classes: Thompson sampling.
//!
//! A label of class c is worth v_c = 1 / max(n_c, 1), with n_c the labels so far, and minus that where c has more than
//! half of all. For each member the classes of its picks are counted, older ones for less. For every place of the batch
//! a distribution over classes is drawn for each member, `Dirichlet(prior + counts)`, and the member of the largest
//! expected worth fills it with its next row.
//!
//! Zhang, Shao, Verma and Nowak, "Algorithm Selection for Deep Active Learning with Imbalanced Datasets", NeurIPS 2023
//! (arXiv 2302.07317). Each member is asked for a whole batch once, and not for one row at a time.

use std::collections::BTreeMap;

use querist_core::{Answer, Failure, Query, QueryError, QueryErrorKind};
use querist_protocol::philox::Stream;
use querist_protocol::{LogLevel, Selection, math, names};

use super::members::Members;
use super::trusting::{Lists, Reader, digests};
use crate::package::combine::{Reward, Tailor};

/// The form of the state.
const VERSION: u32 = 1;
/// Counts of classes at most, all members together.
const MOST_COUNTS: usize = (512 << 10) / 8;

/// What members earned so far.
#[derive(Debug, Clone, PartialEq)]
struct Earned {
    members: Vec<u64>,
    classes: usize,
    /// Counts `[members * classes]`.
    counts: Vec<f64>,
    /// Whose picks have no label yet, by sample.
    pending: BTreeMap<u64, u32>,
}

/// Fills the batch place by place.
pub(super) fn query(tailor: &Tailor, members: &mut Members, query: &Query<'_>) -> Result<Answer, QueryError> {
    let (own, classes) = (digests(members), query.arrays.classes());
    if own.len() * classes > MOST_COUNTS {
        let message = format!(
            "{} members and {classes} classes are {} counts, the limit is {MOST_COUNTS}; name fewer members",
            own.len(),
            own.len() * classes
        );
        return Err(members.failed(Failure::new(QueryErrorKind::Failed, message)));
    }
    let mut earned = match query.state.map(Earned::read) {
        Some(Some(earned)) if earned.members == own && earned.classes == classes => earned,
        None => Earned::none(own, classes),
        Some(_) => {
            query.progress.log(LogLevel::Warning, "what members earned is not kept: members or classes are others now");
            Earned::none(own, classes)
        }
    };
    let labels: &[u32] =
        query.arrays.get(names::LABELLED_LABELS).and_then(|array| array.as_u32()).map_or(&[], |labels| labels);
    let rewards = earned.settle(tailor.decay, query.arrays.labelled_ids(), labels, query.arrays.ids());
    let worth = worth(tailor.reward, labels, classes);
    let mut numbers = query.seeds.strategy(&members.identity.id).stream("slots", query.round);
    let mut lists = Lists::new(query);
    let mut slots = vec![0u32; earned.members.len()];
    let mut rows = Vec::with_capacity(query.wanted());
    while rows.len() < query.wanted() {
        let mut ranked = earned.drawn(tailor.prior, &worth, &mut numbers);
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut filled = None;
        for (member, _) in ranked {
            if let Some(row) = lists.proposal(member, members, query)? {
                filled = Some((member, row));
                break;
            }
        }
        let Some((member, row)) = filled else { break };
        lists.take(row);
        slots[member] += 1;
        earned.pending.insert(query.arrays.ids()[row as usize], member as u32);
        rows.push(row);
    }
    let mut diagnostics = Vec::new();
    for (member, (slots, reward)) in slots.iter().zip(rewards).enumerate() {
        diagnostics.push((format!("share.{member}"), f64::from(*slots) / rows.len().max(1) as f64));
        diagnostics.extend(reward.map(|reward| (format!("rarest.{member}"), reward)));
    }
    diagnostics.truncate(60);
    let selection = Selection { rows, diagnostics, state: Some(earned.write()), ..Selection::default() };
    Ok(Answer { selection, usage: lists.usage.unwrap_or_default(), ..Answer::default() })
}

/// What a label of each class is worth.
fn worth(reward: Reward, labels: &[u32], classes: usize) -> Vec<f64> {
    let mut counts = vec![0.0f64; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1.0);
    let all = labels.len() as f64;
    let of = |count: f64| {
        let value = 1.0 / count.max(1.0);
        if count / all > 0.5 { -value } else { value }
    };
    match reward {
        Reward::Positive => vec![1.0; classes],
        Reward::Diversity if labels.is_empty() => vec![1.0; classes],
        Reward::Diversity => counts.into_iter().map(of).collect(),
    }
}

impl Earned {
    fn none(members: Vec<u64>, classes: usize) -> Self {
        let counts = vec![0.0; members.len() * classes];
        Self { members, classes, counts, pending: BTreeMap::new() }
    }

    /// Counts the labels that arrived. The share of each member's labels of the rarest classes that any had.
    fn settle(&mut self, decay: f64, labelled: &[u64], labels: &[u32], pool: &[u64]) -> Vec<Option<f64>> {
        let mut new = vec![0.0; self.counts.len()];
        let (members, classes) = (self.members.len(), self.classes);
        self.pending.retain(|id, member| match labelled.binary_search(id) {
            Ok(at) => {
                new[*member as usize * classes + labels[at] as usize] += 1.0;
                false
            }
            // What is neither labelled nor in the pool was answered with no class at all.
            Err(_) => pool.binary_search(id).is_ok(),
        });
        for (count, new) in self.counts.iter_mut().zip(&new) {
            *count = decay * *count + new;
        }
        let mut counts = vec![0u64; classes];
        labels.iter().for_each(|&label| counts[label as usize] += 1);
        let rarest = counts.iter().copied().filter(|&count| count > 0).min();
        let of = |member: usize| {
            let own = &new[member * classes..(member + 1) * classes];
            let sum: f64 = own.iter().sum();
            let rare: f64 = own.iter().zip(&counts).filter(|(_, count)| Some(**count) == rarest).map(|(n, _)| n).sum();
            (sum > 0.0).then(|| rare / sum)
        };
        (0..members).map(of).collect()
    }

    /// The expected worth of each member's next pick, under a distribution that is drawn for it.
    fn drawn(&self, prior: f64, worth: &[f64], numbers: &mut Stream) -> Vec<(usize, f64)> {
        let of = |(member, counts): (usize, &[f64])| loop {
            let gammas: Vec<f64> = counts.iter().map(|count| gamma(prior + count, numbers)).collect();
            let sum: f64 = gammas.iter().sum();
            if sum > 0.0 {
                break (member, gammas.iter().zip(worth).map(|(gamma, worth)| gamma / sum * worth).sum());
            }
        };
        self.counts.chunks_exact(self.classes.max(1)).enumerate().map(of).collect()
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.members.len() as u32).to_le_bytes());
        bytes.extend((self.classes as u32).to_le_bytes());
        self.members.iter().for_each(|digest| bytes.extend(digest.to_le_bytes()));
        self.counts.iter().for_each(|count| bytes.extend(count.to_bits().to_le_bytes()));
        for (id, member) in &self.pending {
            bytes.extend(id.to_le_bytes());
            bytes.extend(member.to_le_bytes());
        }
        bytes
    }

    /// `None` of what was never written.
    fn read(state: &[u8]) -> Option<Self> {
        let mut reader = Reader(state);
        let (version, members, classes) = (reader.u32()?, reader.u32()? as usize, reader.u32()? as usize);
        if version != VERSION || members.checked_mul(classes)? > MOST_COUNTS {
            return None;
        }
        let digests = (0..members).map(|_| reader.u64()).collect::<Option<Vec<_>>>()?;
        let counts = (0..members * classes).map(|_| reader.f64().filter(|count| *count >= 0.0));
        let counts = counts.collect::<Option<Vec<_>>>()?;
        let mut pending = BTreeMap::new();
        while !reader.0.is_empty() {
            let (id, member) = (reader.u64()?, reader.u32()?);
            pending.insert(id, Some(member).filter(|&member| (member as usize) < members)?);
        }
        Some(Self { members: digests, classes, counts, pending })
    }
}

/// A gamma number of this shape and scale 1.
///
/// Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", ACM Transactions on Mathematical Software 26
/// (2000).
fn gamma(shape: f64, numbers: &mut Stream) -> f64 {
    if shape < 1.0 {
        let power = math::exp(math::ln(numbers.next_uniform()) / shape);
        return gamma(shape + 1.0, numbers) * power;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(numbers);
        let v = 1.0 + c * x;
        let v = v * v * v;
        if v > 0.0 && math::ln(numbers.next_uniform()) < 0.5 * x * x + d - d * v + d * math::ln(v) {
            return d * v;
        }
    }
}

/// A standard normal number, by Marsaglia's polar method.
fn normal(numbers: &mut Stream) -> f64 {
    loop {
        let (u, v) = (2.0 * numbers.next_uniform() - 1.0, 2.0 * numbers.next_uniform() - 1.0);
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            return u * (-2.0 * math::ln(s) / s).sqrt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of three classes, 60, 30 and 10 of each.
    fn labels() -> Vec<u32> {
        [(0, 60), (1, 30), (2, 10)].iter().flat_map(|&(class, count)| std::iter::repeat_n(class, count)).collect()
    }

    fn earned() -> Earned {
        let counts = vec![8.0, 1.0, 1.0, 1.0, 4.0, 5.0];
        Earned { members: vec![7, 9], classes: 3, counts, pending: BTreeMap::from([(4, 1), (9, 0)]) }
    }

    #[test]
    fn the_worked_example() {
        let worth = worth(Reward::Diversity, &labels(), 3);
        assert_eq!(worth, [-1.0 / 60.0, 1.0 / 30.0, 0.1]);
        let mut numbers = Stream::new(3, 0);
        let slots = 20_000;
        let second = (0..slots).filter(|_| {
            let drawn = earned().drawn(1.0, &worth, &mut numbers);
            drawn[1].1 > drawn[0].1
        });
        // The share is .996: five standard deviations of a binomial number are .0023.
        let share = second.count() as f64 / f64::from(slots);
        assert!((share - 0.996).abs() < 0.0025, "{share}");
        let mut means = [0.0; 2];
        for _ in 0..slots {
            earned().drawn(1.0, &worth, &mut numbers).iter().for_each(|&(member, value)| means[member] += value);
        }
        for (mean, expected) in means.iter().zip([0.008_974_4, 0.056_410_3]) {
            assert!((mean / f64::from(slots) - expected).abs() < 1e-3, "{means:?}");
        }
    }

    #[test]
    fn gamma_numbers_have_their_mean_and_variance() {
        for shape in [0.2, 1.0, 4.5] {
            let mut numbers = Stream::new(5, 0);
            let draws: Vec<f64> = (0..40_000).map(|_| gamma(shape, &mut numbers)).collect();
            let mean = draws.iter().sum::<f64>() / 40_000.0;
            let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 40_000.0;
            assert!((mean / shape - 1.0).abs() < 0.06 && (variance / shape - 1.0).abs() < 0.12, "{shape}: {mean}");
        }
    }

    #[test]
    fn labels_that_arrive_are_counted_once() {
        let mut all = earned();
        all.settle(0.5, &[3, 4], &[0, 2], &[9, 11]);
        assert_eq!(all.counts, [4.0, 0.5, 0.5, 0.5, 2.0, 3.5]);
        assert_eq!(all.pending, BTreeMap::from([(9, 0)]), "what is in the pool may still be labelled");
        all.settle(1.0, &[3, 4], &[0, 2], &[11]);
        assert_eq!((all.counts[5], all.pending.len()), (3.5, 0), "what is nowhere was rejected");
    }

    #[test]
    fn a_state_survives_its_bytes_and_rubbish_is_none() {
        let bytes = earned().write();
        assert_eq!(Earned::read(&bytes), Some(earned()));
        for cut in 0..bytes.len() {
            let read = Earned::read(&bytes[..cut]);
            assert!(read.is_none_or(|read| read.pending.len() < 2), "{cut}");
        }
        let mut other = bytes.clone();
        other[0] = 9;
        assert_eq!(Earned::read(&other), None);
        let mut huge = bytes;
        huge[4..12].fill(0xff);
        assert_eq!(Earned::read(&huge), None);
    }
}
