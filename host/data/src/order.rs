//! How samples are numbered, so that a number says nothing of a class.
//!
//! Strategies see rows by ascending number, ties go to the lower row, and a batch may be any run of rows. Were pictures
//! numbered by their paths, class folders would follow one another: whoever takes the last rows would get one class
//! without having seen a label. The built-in digits are published as 0 to 9 again and again, so every tenth row would
//! be one class.
//!
//! So samples are ordered by a hash of their *content*: the encoded file of a picture, else the pixels. A picture keeps
//! its place when it is moved to another class folder, when a class is renamed, and with every `dataset.size` and
//! version of the decoder. Same contents are ordered by a hash of their place (path or published number), which favours
//! no class, either. Training and test parts are ordered each by itself.
//!
//! What is ordered so: folders and archives of pictures (CIFAR's, too), `digits`, and EMNIST, some of whose files are
//! published class by class. MNIST, Fashion-MNIST and CIFAR in their own formats keep their published numbers, by which
//! others know them: these files are published in random order, which a test checks on those that are at hand. A set of
//! one's own in such a format may be sorted: where labels follow one another as they would not by chance, the order is
//! that of the pixels, too.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::error::DataError;
use crate::load::Loaded;
use crate::memory::reserve;

/// Other uses of SHA-256 must not give the same order.
const DOMAIN: &[u8] = b"querist sample order 1\0";

/// Place of a sample in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    content: [u8; 32],
    place: [u8; 32],
}

impl Key {
    /// The key of a sample by its content and, for those with the same content, its place.
    pub fn new(content: &[u8], place: &[u8]) -> Self {
        Self::of(hash(content), place)
    }

    /// The same from the hash of the content.
    pub fn of(content: [u8; 32], place: &[u8]) -> Self {
        Self { content, place: hash(place) }
    }
}

/// Hash of a content.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(DOMAIN).chain_update(bytes).finalize().into()
}

/// Standard deviations from chance from which an order is no chance: once in 500 million sets.
const FAR: f64 = 6.0;

/// Whether the order of the samples tells classes: equal neighbours are more (sorted), or fewer (0 to 9 again and
/// again), than in a random order.
pub(crate) fn tells_classes(loaded: &Loaded) -> bool {
    let (train, test) = loaded.labels.split_at(loaded.labels.len() - loaded.official_test);
    neighbours_tell(train) || neighbours_tell(test)
}

fn neighbours_tell(labels: &[u32]) -> bool {
    let mut counts = BTreeMap::new();
    labels.iter().for_each(|label| *counts.entry(label).or_insert(0.0) += 1.0);
    let (samples, pairs) = (labels.len() as f64, labels.len().saturating_sub(1) as f64);
    // In a random order two neighbours are equal as often as any two samples.
    let chance = counts.values().map(|count| count * (count - 1.0)).sum::<f64>() / (samples * (samples - 1.0)).max(1.0);
    let equal = labels.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64;
    (equal - pairs * chance).abs() > FAR * (pairs * chance * (1.0 - chance)).sqrt().max(1.0)
}

/// Orders samples by their pixels; those without a name get one by the number that they had.
pub(crate) fn by_pixels(loaded: &mut Loaded) -> Result<(), DataError> {
    let [height, width, channels] = loaded.shape;
    let one = height * width * channels;
    let image = |sample: usize| &loaded.bytes[sample * one..(sample + 1) * one];
    let keys: Vec<Key> =
        (0..loaded.labels.len()).map(|sample| Key::new(image(sample), &(sample as u64).to_le_bytes())).collect();
    let mut order: Vec<usize> = (0..keys.len()).collect();
    let (train, test) = order.split_at_mut(keys.len() - loaded.official_test);
    train.sort_unstable_by_key(|&sample| keys[sample]);
    test.sort_unstable_by_key(|&sample| keys[sample]);
    let mut bytes = reserve(loaded.bytes.len() as u64, "the images")?;
    order.iter().for_each(|&sample| bytes.extend_from_slice(image(sample)));
    loaded.bytes = bytes.into();
    loaded.labels = order.iter().map(|&sample| loaded.labels[sample]).collect();
    let trained = order.len() - loaded.official_test;
    let name = |sample: usize| match (loaded.files.get(sample), sample.checked_sub(trained)) {
        (Some(file), _) => file.clone(),
        (None, None) => format!("train#{sample}"),
        (None, Some(sample)) => format!("test#{sample}"),
    };
    loaded.files = order.iter().map(|&sample| name(sample)).collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_chance_are_told_from_others() {
        let sorted: Vec<u32> = (0..100).map(|sample| sample / 10).collect();
        let in_turn: Vec<u32> = (0..1000).map(|sample| sample % 10).collect();
        assert!(neighbours_tell(&sorted) && neighbours_tell(&in_turn));
        let mut stream = querist_protocol::philox::Stream::new(1, 0);
        let mut by_chance = sorted.clone();
        for set in 0..1000 {
            stream.shuffle(&mut by_chance);
            assert!(!neighbours_tell(&by_chance), "set {set}");
        }
        for few in [&[][..], &[1], &[1, 1], &[1; 50], &[0, 1, 0, 1]] {
            assert!(!neighbours_tell(few));
        }
    }
}
