//! The linear graph of one class.

use std::collections::{BTreeSet, VecDeque};

use querist_sdk::prelude::*;

/// Classes whose orderings are made in one pass over the logits.
const TOGETHER: usize = 64;

/// Samples in the order of one class, with the labelled ones' signs.
pub(crate) struct Graph {
    class: u32,
    /// Place of each sample, pool rows first.
    places: Vec<u32>,
    positive: BTreeSet<u32>,
    negative: BTreeSet<u32>,
}

/// The graphs of all classes, without labels.
pub(crate) fn of_classes(query: &Query, logits: &Matrix) -> Result<Vec<Graph>> {
    let classes = query.classes() as usize;
    let mut ids = query.ids()?;
    ids.extend(query.labelled_ids()?);
    let labelled = query.matrix("labelled.logits")?;
    let mut graphs = Vec::with_capacity(classes);
    for first in (0..classes).step_by(TOGETHER) {
        let part = first..(first + TOGETHER).min(classes);
        let mut scores: Vec<Vec<f64>> = part.clone().map(|_| Vec::with_capacity(ids.len())).collect();
        for logits in [logits, &labelled] {
            logits.for_each_block(|_, block| {
                for row in block.chunks_exact(classes) {
                    let p = probabilities(row);
                    let largest = p.iter().copied().fold(0.0, f64::max);
                    for (scores, &p) in scores.iter_mut().zip(&p[part.clone()]) {
                        scores.push(p - largest + 1e-8 * largest);
                    }
                }
                Ok(())
            })?;
        }
        graphs.extend(part.zip(&scores).map(|(class, scores)| Graph::new(class as u32, scores, &ids)));
        query.progress(graphs.len() as u64, classes as u64)?;
    }
    Ok(graphs)
}

fn probabilities(logits: &[f32]) -> Vec<f64> {
    let largest = f64::from(logits[math::argmax(logits)]);
    let shares: Vec<f64> = logits.iter().map(|&logit| math::exp(f64::from(logit) - largest)).collect();
    let total = shares.iter().fold(0.0, |sum, share| sum + share);
    shares.iter().map(|share| share / total).collect()
}

impl Graph {
    /// Samples by ascending score, then id.
    fn new(class: u32, scores: &[f64], ids: &[u64]) -> Self {
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            scores[a].total_cmp(&scores[b]).then(ids[a].cmp(&ids[b]))
        });
        let mut places = vec![0; order.len()];
        for (place, &sample) in order.iter().enumerate() {
            places[sample as usize] = place as u32;
        }
        Self { class, places, positive: BTreeSet::new(), negative: BTreeSet::new() }
    }

    /// Gives a sample its label.
    pub(crate) fn label(&mut self, sample: u32, label: u32) {
        let place = self.places[sample as usize];
        if label == self.class {
            self.positive.insert(place)
        } else {
            self.negative.insert(place)
        };
    }

    /// Whether any path could exist.
    pub(crate) fn has_both_signs(&self) -> bool {
        !self.positive.is_empty() && !self.negative.is_empty()
    }

    /// The sample in the middle of the shortest path from a positive sample to a negative one, among samples at most
    /// `reach` places apart; counted from the negative end, the later of two in the middle.
    ///
    /// The search spreads from all positive samples at once over unlabelled ones, lower places first: a path through
    /// another labelled sample has a shorter one inside it, and positive and negative ones are never linked.
    pub(crate) fn middle(&self, reach: u32) -> Option<u32> {
        let count = self.places.len() as u32;
        let mut unseen = Unseen::new(count);
        self.positive.iter().chain(&self.negative).for_each(|&place| unseen.remove(place));
        // From where each place was reached; an end of a path is its own.
        let mut from: Vec<u32> = (0..count).collect();
        let mut queue: VecDeque<u32> = self.positive.iter().copied().collect();
        while let Some(place) = queue.pop_front() {
            let (low, high) = (place.saturating_sub(reach), place.saturating_add(reach).min(count - 1));
            if from[place as usize] != place && self.negative.range(low..=high).next().is_some() {
                return self.sample_at(middle_of(place, &from));
            }
            while let Some(next) = unseen.first_from(low).filter(|&next| next <= high) {
                unseen.remove(next);
                from[next as usize] = place;
                queue.push_back(next);
            }
        }
        None
    }

    fn sample_at(&self, place: u32) -> Option<u32> {
        self.places.iter().position(|&other| other == place).map(|sample| sample as u32)
    }
}

/// The middle of the path that ends beside a negative sample at `last` and came `from` place to place.
fn middle_of(last: u32, from: &[u32]) -> u32 {
    // The negative sample comes first.
    let mut path = vec![None, Some(last)];
    let mut at = last;
    while from[at as usize] != at {
        at = from[at as usize];
        path.push(Some(at));
    }
    path[path.len() / 2].unwrap_or(last)
}

/// Places that were not reached yet, by links to the next one.
struct Unseen {
    next: Vec<u32>,
}

impl Unseen {
    fn new(count: u32) -> Self {
        Self { next: (0..=count).collect() }
    }

    fn remove(&mut self, place: u32) {
        self.next[place as usize] = place + 1;
    }

    /// The lowest place from `place` on that is left.
    fn first_from(&mut self, place: u32) -> Option<u32> {
        let mut at = place;
        while self.next[at as usize] != at {
            // Halving the way keeps later searches short.
            let next = self.next[at as usize];
            self.next[at as usize] = self.next[next as usize];
            at = self.next[at as usize];
        }
        Some(at).filter(|&at| (at as usize) < self.next.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nine samples in order, with signs at some places.
    fn graph(signs: &[(u32, bool)]) -> Graph {
        let mut graph = Graph::new(1, &[0.0; 9], &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        signs.iter().for_each(|&(place, is_positive)| graph.label(place, u32::from(is_positive)));
        graph
    }

    #[test]
    fn the_worked_example_is_bisected() {
        assert_eq!(graph(&[(0, false), (8, true)]).middle(1), Some(4));
        assert_eq!(graph(&[(0, false), (8, true), (4, true)]).middle(1), Some(2));
        assert_eq!(graph(&[(0, true), (8, false)]).middle(1), Some(4), "counted from the negative end");
        assert_eq!(
            graph(&[(0, true), (7, false)]).middle(1),
            Some(3),
            "eight samples, the fifth from the negative end"
        );
        assert_eq!(graph(&[(0, false), (7, true)]).middle(1), Some(4));
    }

    #[test]
    fn neighbours_of_opposite_sign_are_not_linked() {
        let cut = graph(&[(3, false), (4, true)]);
        assert_eq!(cut.middle(1), None);
        assert_eq!(cut.middle(2), Some(2), "the lowest place within two of both");
        assert_eq!(graph(&[(3, true)]).middle(8), None, "one sign has no path");
    }

    #[test]
    fn the_shortest_of_several_paths_is_taken() {
        assert_eq!(graph(&[(0, false), (5, true), (8, false)]).middle(1), Some(6), "three steps are less than five");
        assert_eq!(graph(&[(0, false), (4, true), (8, false)]).middle(1), Some(2), "the lower of equals");
    }
}
