//! Batches of images, in an order and with augmentations from named random numbers.

use querist_core::config::Recipe;
use querist_core::{LearnError, SampleId};
use querist_protocol::Transform;
use querist_protocol::philox::Stream;
use tch::{TchError, Tensor};

use crate::augment::Augmenter;
use crate::fault::Doing;
use crate::images::ImageStore;

/// How positions of a list follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Whether each pass has a new random order.
    pub(crate) shuffle: bool,
    /// Whether a new pass starts where one ends.
    pub(crate) infinite: bool,
    /// Whether the short rest of a pass is left out.
    pub(crate) drop_last: bool,
}

/// Positions of a list, batch by batch.
pub(crate) struct Order {
    turns: Turns,
    positions: Vec<u32>,
    at: usize,
    numbers: Stream,
}

impl Order {
    pub(crate) fn new(positions: Vec<u32>, turns: Turns, numbers: Stream) -> Self {
        let mut order = Self { turns, positions, at: 0, numbers };
        order.begin_pass();
        order
    }

    fn begin_pass(&mut self) {
        self.at = 0;
        if self.turns.shuffle {
            self.numbers.shuffle(&mut self.positions);
        }
    }

    /// The next `size` positions of one pass, fewer at its end, none at the end of all.
    pub(crate) fn next(&mut self, size: usize) -> &[u32] {
        let Turns { infinite, drop_last, .. } = self.turns;
        let left = |order: &Self| order.positions.len() - order.at;
        // A list that is shorter than a batch would otherwise give an endless stream of nothing.
        let usable =
            |order: &Self| left(order) >= size || (left(order) > 0 && (!drop_last || (infinite && order.at == 0)));
        if !usable(self) {
            if infinite {
                self.begin_pass();
            } else {
                self.at = self.positions.len();
            }
        }
        let start = self.at;
        self.at += size.min(left(self));
        &self.positions[start..self.at]
    }
}

/// Makes network inputs of samples.
pub(crate) struct Loader {
    /// What the training transform does beyond normalising, with its random numbers.
    augment: Option<(Augmenter, Stream)>,
}

impl Loader {
    /// A loader with the recipe's augmentations, or without any. Images are never mixed.
    pub(crate) fn new(
        transform: Transform,
        recipe: &Recipe,
        images: &ImageStore,
        numbers: Stream,
    ) -> Result<Self, TchError> {
        let augmenter = match transform {
            Transform::Eval => None,
            Transform::Train => Augmenter::new(&recipe.augment, images.shape(), images.device())?,
        };
        Ok(Self { augment: augmenter.map(|augmenter| (augmenter, numbers)) })
    }

    /// Inputs of these samples, `f32 [n, channels, height, width]` on the device.
    pub(crate) fn load(
        &mut self,
        images: &ImageStore,
        samples: impl Iterator<Item = SampleId>,
    ) -> Result<Tensor, LearnError> {
        let ids = images.index(samples)?;
        self.inputs(images, &ids).doing("loading images")
    }

    fn inputs(&mut self, images: &ImageStore, ids: &Tensor) -> Result<Tensor, TchError> {
        let mut bytes = images.gather(ids)?;
        if let Some((augmenter, numbers)) = &mut self.augment {
            let draws = augmenter.draw(numbers, ids.numel())?;
            bytes = augmenter.apply(&bytes, &draws, 0..ids.numel())?;
        }
        images.normalise(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(n: u32, shuffle: bool, infinite: bool, drop_last: bool) -> Order {
        Order::new((0..n).collect(), Turns { shuffle, infinite, drop_last }, Stream::new(5, 0))
    }

    #[test]
    fn a_finite_order_ends() {
        let mut plain = order(5, false, false, false);
        assert_eq!([plain.next(2).to_vec(), plain.next(2).to_vec()], [[0, 1], [2, 3]]);
        assert_eq!(plain.next(2), [4]);
        assert_eq!([plain.next(2).len(), plain.next(2).len()], [0, 0]);
        let mut dropping = order(5, false, false, true);
        assert_eq!([dropping.next(2).len(), dropping.next(2).len(), dropping.next(2).len()], [2, 2, 0]);
        assert_eq!(order(1, false, false, true).next(2), [0u32; 0]);
    }

    #[test]
    fn an_infinite_order_gives_each_once_a_pass() {
        let mut cycle = order(5, true, true, false);
        let passes: Vec<Vec<u32>> = (0..3).map(|_| (0..3).flat_map(|_| cycle.next(2).to_vec()).collect()).collect();
        for pass in &passes {
            let mut sorted = pass.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert_ne!(passes[0], passes[1], "each pass has an order of its own");
        let mut whole = order(3, true, true, true);
        assert_eq!([whole.next(8).len(), whole.next(8).len(), whole.next(2).len(), whole.next(2).len()], [3, 3, 2, 2]);
        assert!(order(0, true, true, true).next(8).is_empty());
    }
}
