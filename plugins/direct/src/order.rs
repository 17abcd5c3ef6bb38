//! Samples in the order of a class.

use std::cmp::Ordering;

use querist_sdk::Softmax;
use querist_sdk::prelude::*;

/// Classes whose orders are made in one pass over the logits.
const TOGETHER: usize = 32;

/// The orders of some classes, a few at a time.
pub(crate) struct Orders<'a> {
    query: &'a Query,
    classes: &'a [u32],
    ids: Vec<u64>,
}

impl<'a> Orders<'a> {
    pub(crate) fn of(query: &'a Query, classes: &'a [u32]) -> Result<Self> {
        let mut ids = query.ids()?;
        ids.extend(query.labelled_ids()?);
        Ok(Self { query, classes, ids })
    }

    /// Calls `visit` with each class and its order.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u32, Order) -> Result<()>) -> Result<()> {
        for classes in self.classes.chunks(TOGETHER) {
            let mut keys: Vec<Vec<Key>> = classes.iter().map(|_| Vec::with_capacity(self.ids.len())).collect();
            for name in [names::LOGITS, "labelled.logits"] {
                self.query.matrix(name)?.for_each_row(|_, logits| {
                    let softmax = Softmax::of(logits);
                    keys.iter_mut()
                        .zip(classes)
                        .for_each(|(keys, &class)| keys.push(Key::of(&softmax, class as usize)));
                    Ok(())
                })?;
            }
            for (&class, keys) in classes.iter().zip(&keys) {
                visit(class, Order::new(keys, &self.ids))?;
            }
        }
        Ok(())
    }
}

/// What a sample is ordered by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Key {
    /// Rises with `p_c - max p`.
    likely: f64,
    /// 1 - max p.
    rest: f64,
}

impl Key {
    fn of(softmax: &Softmax, class: usize) -> Self {
        let below = (1.0 - softmax.rest) * math::expm1(-softmax.gaps[class]);
        // Near -1 it is 1 more that tells samples apart.
        let likely = if below > -0.5 {
            below
        } else {
            let more = softmax.rest + softmax.probs[class];
            if more > 0.0 { math::ln(more) - 10.0 } else { f64::MIN }
        };
        Self { likely, rest: softmax.rest }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        other.likely.total_cmp(&self.likely).then(self.rest.total_cmp(&other.rest))
    }
}

/// Samples from the surest of a class on.
pub(crate) struct Order {
    samples: Vec<u32>,
    places: Vec<u32>,
}

impl Order {
    fn new(keys: &[Key], ids: &[u64]) -> Self {
        let mut samples: Vec<u32> = (0..keys.len() as u32).collect();
        samples.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            keys[a].cmp(&keys[b]).then(ids[a].cmp(&ids[b]))
        });
        let mut places = vec![0; samples.len()];
        for (place, &sample) in samples.iter().enumerate() {
            places[sample as usize] = place as u32;
        }
        Self { samples, places }
    }

    pub(crate) fn place(&self, sample: u32) -> u32 {
        self.places[sample as usize]
    }

    /// The samples of a stretch, its ends included.
    pub(crate) fn between(&self, first: usize, last: usize) -> &[u32] {
        self.samples.get(first..=last).unwrap_or_default()
    }

    /// 1 for a label of the class, -1 for another one, 0 for none; by place.
    fn signs<'a>(&'a self, class: u32, labels: &'a [Option<u32>]) -> impl DoubleEndedIterator<Item = i64> + use<'a> {
        self.samples.iter().map(move |&sample| match labels[sample as usize] {
            None => 0,
            Some(label) if label == class => 1,
            Some(_) => -1,
        })
    }

    /// Where the threshold may lie: from the last label of the class before all others to the first of the others after
    /// all of the class.
    pub(crate) fn stretch(&self, class: u32, labels: &[Option<u32>]) -> (usize, usize) {
        let (mut first, mut last) = (0, self.samples.len().saturating_sub(1));
        let signs: Vec<i64> = self.signs(class, labels).collect();
        for (place, sign) in signs.iter().enumerate() {
            match sign {
                1 => first = place,
                -1 => break,
                _ => {}
            }
        }
        for (place, sign) in signs.iter().enumerate().rev() {
            match sign {
                -1 => last = place,
                1 => break,
                _ => {}
            }
        }
        (first, last)
    }

    /// The place that agrees best with the labels, the lowest among equals.
    pub(crate) fn threshold(&self, class: u32, labels: &[Option<u32>]) -> usize {
        let (mut sum, mut best) = (0, (0, 0));
        for (place, sign) in self.signs(class, labels).enumerate() {
            sum += sign;
            if sum > best.0 {
                best = (sum, place + 1);
            }
        }
        best.1
    }

    /// Samples to the left and right of a place in turn.
    pub(crate) fn around(&self, place: usize) -> impl Iterator<Item = u32> {
        let (left, right) = self.samples.split_at(place);
        (0..left.len().max(right.len())).flat_map(move |step| {
            let on_the_left = left.len().checked_sub(step + 1).and_then(|at| left.get(at));
            [on_the_left, right.get(step)].into_iter().flatten().copied()
        })
    }

    /// The ends of a stretch, which may be moved.
    pub(crate) fn ends(&self, class: u32, labels: &[Option<u32>], first: usize, last: usize) -> Ends<'_> {
        let signs: Vec<i64> = self.signs(class, labels).collect();
        let before = |place: usize| signs[..place].iter().sum();
        Ends { order: self, first, last, at_first: before(first), at_last: before(last), signs }
    }
}

/// A stretch, and how well its ends agree with the labels.
pub(crate) struct Ends<'a> {
    order: &'a Order,
    pub(crate) first: usize,
    pub(crate) last: usize,
    /// Signs before each end, summed up: half of what tells agreements apart.
    at_first: i64,
    at_last: i64,
    signs: Vec<i64>,
}

impl Ends<'_> {
    /// How the agreement at the first end compares with that at the last.
    pub(crate) fn agreement(&self) -> Ordering {
        self.at_first.cmp(&self.at_last)
    }

    /// Shortens the stretch; the sample that leaves it.
    pub(crate) fn move_first(&mut self) -> u32 {
        let passed = self.order.samples[self.first];
        self.at_first += self.signs[self.first];
        self.first += 1;
        passed
    }

    /// The same at the other end.
    pub(crate) fn move_last(&mut self) -> u32 {
        let passed = self.order.samples[self.last];
        self.last -= 1;
        self.at_last -= self.signs[self.last];
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten samples in order, with labels of class 1 (or of 0) at some places.
    fn order(labels: &[(usize, u32)]) -> (Order, Vec<Option<u32>>) {
        let keys: Vec<Key> = (0..10).map(|place| Key { likely: -f64::from(place), rest: 0.0 }).collect();
        let mut all = vec![None; 10];
        labels.iter().for_each(|&(place, label)| all[place] = Some(label));
        (Order::new(&keys, &[0; 10]), all)
    }

    #[test]
    fn the_threshold_may_lie_between_the_signs_that_are_certain() {
        for (labels, expected) in [
            (vec![], (0, 9)),
            (vec![(2, 1), (7, 0)], (2, 7)),
            (vec![(2, 1), (4, 0), (5, 1), (7, 0), (9, 0)], (2, 7)),
            (vec![(3, 0)], (0, 3)),
            (vec![(3, 1)], (3, 9)),
            (vec![(1, 0), (8, 1)], (0, 9)),
        ] {
            let (order, all) = order(&labels);
            assert_eq!(order.stretch(1, &all), expected, "{labels:?}");
        }
    }

    #[test]
    fn the_threshold_agrees_best() {
        let (ten, all) = order(&[(1, 1), (5, 1), (8, 0), (9, 0)]);
        assert_eq!(ten.threshold(1, &all), 6);
        assert_eq!(ten.around(6).collect::<Vec<_>>(), [5, 6, 4, 7, 3, 8, 2, 9, 1, 0]);
        let (ten, all) = order(&[(4, 0)]);
        assert_eq!((ten.threshold(1, &all), ten.around(0).next()), (0, Some(0)));
    }

    #[test]
    fn ends_keep_their_agreement() {
        let (ten, all) = order(&[(1, 1), (2, 0), (3, 1), (6, 0), (7, 1), (8, 0)]);
        let mut ends = ten.ends(1, &all, 0, 9);
        let acc = |place: usize| -> i64 {
            let sign = |at: usize| all[at].map_or(0, |label| if label == 1 { 1 } else { -1 });
            (0..10).map(|at| if at < place { sign(at) } else { -sign(at) }).sum()
        };
        while ends.first < ends.last {
            assert_eq!(ends.agreement(), acc(ends.first).cmp(&acc(ends.last)), "{} {}", ends.first, ends.last);
            if (ends.first + ends.last) % 3 == 0 {
                ends.move_first()
            } else {
                ends.move_last()
            };
        }
    }

    #[test]
    fn sure_samples_are_told_apart() {
        let key = |logits: &[f32], class| Key::of(&Softmax::of(logits), class);
        // p_0 - max p is -1 in doubles for both.
        let (near, far) = (key(&[0.0, 60.0, 10.0], 0), key(&[0.0, 90.0, 10.0], 0));
        assert_eq!(near.cmp(&far), Ordering::Less);
        let (sure, surer) = (key(&[60.0, 0.0, 0.0], 0), key(&[90.0, 0.0, 0.0], 0));
        assert_eq!((sure.likely, surer.cmp(&sure)), (0.0, Ordering::Less));
        assert_eq!(key(&[1.0, 2.0, 0.0], 0).cmp(&key(&[1.0, 3.0, 0.0], 0)), Ordering::Less);
    }
}
