//! How samples are numbered, so that a number says nothing of a class.
//!
//! Strategies see rows by ascending number, ties go to the lower row, and a batch may be any run of rows. Were pictures
//! numbered by their paths, class folders would follow one another: whoever takes the last rows would get one class
//! without having seen a label. The built-in digits are published as 0 to 9 again and again, so every tenth row would be
//! one class.
//!
//! So samples are ordered by a hash of their *content*: the encoded file of a picture, else the pixels. A picture keeps
//! its place when it is moved to another class folder, when a class is renamed, and with every `dataset.size` and
//! version of the decoder. Same contents are ordered by a hash of their place (path or published number), which favours
//! no class, either. Training and test parts are ordered each by itself.
//!
//! What is ordered so: folders and archives of pictures (CIFAR's, too), `digits`, and EMNIST, some of whose files are
//! published class by class. MNIST, Fashion-MNIST and CIFAR in their own formats keep their published numbers, by which
//! others know them: these files are published in random order, which a test checks on those that are at hand.

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

/// Orders the samples of published files by their pixels.
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
    loaded.bytes = bytes;
    loaded.labels = order.iter().map(|&sample| loaded.labels[sample]).collect();
    if !loaded.files.is_empty() {
        loaded.files = order.iter().map(|&sample| std::mem::take(&mut loaded.files[sample])).collect();
    }
    Ok(())
}
