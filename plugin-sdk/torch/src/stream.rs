//! Streams of images.

use querist_protocol::abi;
use tch::Tensor;

use crate::error::Result;
use crate::round::{Round, given, maybe_given};

/// Which images a stream gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of<'a> {
    /// The labelled set, with labels.
    Labelled,
    /// The pool.
    Pool,
    /// These rows of the pool, in this order.
    Rows(&'a [u32]),
}

/// A stream to be opened: eval transform, in order, once, in batches of 128, unless asked otherwise.
#[must_use = "it is opened by `open`"]
pub struct Images<'a> {
    round: &'a Round<'a>,
    of: Of<'a>,
    tag: &'a str,
    spec: abi::StreamSpec,
}

impl<'a> Images<'a> {
    pub(crate) fn new(round: &'a Round<'a>, of: Of<'a>) -> Self {
        let spec = abi::StreamSpec {
            of: match of {
                Of::Labelled => 0,
                Of::Pool => 1,
                Of::Rows(_) => 2,
            },
            transform: 1,
            batch: 128,
            shuffle: false,
            infinite: false,
            drop_last: false,
            tag: abi::Bytes { data: std::ptr::null(), len: 0 },
            rows: std::ptr::null(),
            row_count: 0,
        };
        Self { round, of, tag: "", spec }
    }

    /// With the recipe's random crops and flips.
    pub fn augmented(mut self) -> Self {
        self.spec.transform = 0;
        self
    }

    /// In batches of `images`, 1 or more.
    pub fn batch(mut self, images: u32) -> Self {
        self.spec.batch = images;
        self
    }

    /// Each pass in a new random order. Two streams of one `tag` go alike.
    pub fn shuffled(mut self, tag: &'a str) -> Self {
        (self.spec.shuffle, self.tag) = (true, tag);
        self
    }

    /// Pass after pass, without end.
    pub fn infinite(mut self) -> Self {
        self.spec.infinite = true;
        self
    }

    /// Without a last batch that is short.
    pub fn drop_last(mut self) -> Self {
        self.spec.drop_last = true;
        self
    }

    /// Opens the stream.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn open(self) -> Result<ImageStream> {
        let rows = match self.of {
            Of::Rows(rows) => rows,
            Of::Labelled | Of::Pool => &[],
        };
        Ok(ImageStream { number: self.round.calls().open_stream(&self.spec, self.tag, rows)? })
    }
}

/// An open stream. It may be kept from hook to hook of one training, or within one query.
#[derive(Debug)]
pub struct ImageStream {
    number: u32,
}

impl ImageStream {
    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// If the device fails, or training or query to which the stream belonged are over.
    pub fn next(&self, round: &Round) -> Result<Option<ImageBatch>> {
        let batch = round.calls().next_batch(self.number)?;
        // SAFETY: tensors of a result are given.
        unsafe {
            let Some(images) = maybe_given(batch.images) else { return Ok(None) };
            Ok(Some(ImageBatch { images, labels: maybe_given(batch.labels), rows: given(batch.rows)? }))
        }
    }

    /// The remaining batches.
    pub fn batches<'a>(&'a self, round: &'a Round) -> impl Iterator<Item = Result<ImageBatch>> + 'a {
        std::iter::from_fn(move || self.next(round).transpose())
    }

    /// Closes the stream, which makes room for others. Every stream closes with its training or query.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn close(self, round: &Round) -> Result<()> {
        Ok(round.calls().close_stream(self.number)?)
    }
}

/// Some images.
#[derive(Debug)]
pub struct ImageBatch {
    /// `f32 [n, channels, height, width]`, normalised, on the device.
    pub images: Tensor,
    /// `i64 [n]` on the device; for the labelled set alone.
    pub labels: Option<Tensor>,
    /// `i64 [n]` on the CPU: rows of the pool, or positions in the labelled set.
    pub rows: Tensor,
}
