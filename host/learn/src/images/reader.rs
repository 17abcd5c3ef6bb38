//! Images in a mapped file, read ahead of the model by threads of their own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::thread::{self, JoinHandle};

use querist_core::{Images, SampleId};

/// Blocks that are read ahead at most; each takes the memory of its images.
const MOST_AHEAD: usize = 8;

/// Reads blocks of images: those that were announced are there already, or soon.
pub(super) struct Reader {
    images: Images,
    ahead: RefCell<VecDeque<Ahead>>,
}

/// A block that is being read.
struct Ahead {
    rows: Vec<i64>,
    bytes: JoinHandle<Vec<u8>>,
}

impl Reader {
    pub(super) fn new(images: Images) -> Self {
        Self { images, ahead: RefCell::default() }
    }

    pub(super) fn images(&self) -> &Images {
        &self.images
    }

    /// Begins to read a block that will be asked for after those that were announced before.
    pub(super) fn announce(&self, rows: &[i64]) {
        if rows.is_empty() {
            return;
        }
        let mut ahead = self.ahead.borrow_mut();
        if ahead.len() >= MOST_AHEAD {
            // Nobody came for it.
            ahead.pop_front();
        }
        let (images, wanted) = (self.images.clone(), rows.to_vec());
        let reading = thread::Builder::new().name("read images".to_owned()).spawn(move || read(&images, &wanted));
        // Without a thread the block is read when it is asked for.
        if let Ok(bytes) = reading {
            ahead.push_back(Ahead { rows: rows.to_vec(), bytes });
        }
    }

    /// The bytes of some images, one after the other, whether they were announced or not.
    pub(super) fn read(&self, rows: &[i64]) -> Vec<u8> {
        let mut ahead = self.ahead.borrow_mut();
        let Some(at) = ahead.iter().position(|block| block.rows == rows) else { return read(&self.images, rows) };
        // Those announced before it were passed over.
        let block = ahead.drain(..=at).next_back();
        block.and_then(|block| block.bytes.join().ok()).unwrap_or_else(|| read(&self.images, rows))
    }
}

fn read(images: &Images, rows: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * images.image_len());
    for &row in rows {
        // Rows come from `ImageStore::index`, which checks them.
        bytes.extend_from_slice(images.image(SampleId(row as u64)));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_comes_whatever_was_announced() {
        let bytes: Vec<u8> = (0..40).collect();
        let images = Images { bytes: bytes.into(), count: 20, height: 1, width: 2, channels: 1 };
        let reader = Reader::new(images);
        let expected =
            |rows: &[i64]| rows.iter().flat_map(|&row| [2 * row as u8, 2 * row as u8 + 1]).collect::<Vec<_>>();
        let blocks: Vec<Vec<i64>> = (0..5).map(|at| vec![at, 19 - at, at]).collect();
        blocks.iter().for_each(|rows| reader.announce(rows));
        for rows in &blocks {
            assert_eq!(reader.read(rows), expected(rows));
        }
        assert!(reader.ahead.borrow().is_empty());
        // A block that nobody announced leaves the others where they are; one that is passed over goes.
        blocks.iter().for_each(|rows| reader.announce(rows));
        assert_eq!(reader.read(&[7]), expected(&[7]));
        assert_eq!(reader.ahead.borrow().len(), 5);
        assert_eq!(reader.read(&blocks[1]), expected(&blocks[1]));
        assert_eq!(reader.ahead.borrow().len(), 3);
        // However much is announced, no more is held.
        (0..50).for_each(|at| reader.announce(&[at % 20, 2]));
        assert_eq!(reader.ahead.borrow().len(), MOST_AHEAD);
    }
}
