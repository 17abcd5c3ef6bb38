//! Streams of images.

use std::collections::BTreeMap;

use querist_core::{SampleId, ServiceError};
use querist_protocol::{Transform, abi};
use tch::Tensor;

use super::tensor::{given, none};
use super::{Services, number, refuse};
use crate::plan::LARGEST_MINIBATCH;
use crate::stream::{Loader, Order, Turns};

/// Streams that may be open at once.
const MOST_STREAMS: usize = 64;

/// The streams that are open.
pub(super) struct Streams {
    open: BTreeMap<u32, ImageStream>,
    next: u32,
}

impl Streams {
    /// None, with numbers from `next` on.
    pub(super) fn from(next: u32) -> Self {
        Self { open: BTreeMap::new(), next }
    }

    pub(super) fn close(&mut self, stream: u32) {
        self.open.remove(&stream);
    }
}

/// Which set a stream goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Labelled,
    Pool,
}

struct ImageStream {
    of: Of,
    batch: usize,
    order: Order,
    loader: Loader,
}

impl Services<'_> {
    pub(super) fn open_images(&self, spec: &abi::StreamSpec, tag: &str, rows: &[u32]) -> Result<u32, ServiceError> {
        let stream = self.stream_of(spec, tag, rows)?;
        let mut streams = self.streams.borrow_mut();
        if streams.open.len() == MOST_STREAMS {
            return refuse(format!("{MOST_STREAMS} streams are open already; close some"));
        }
        let handle = streams.next;
        let Some(next) = handle.checked_add(1) else { return refuse("too many streams were opened") };
        streams.next = next;
        streams.open.insert(handle, stream);
        Ok(handle)
    }

    pub(super) fn next_images(&self, stream: u32) -> Result<abi::ImageBatch, ServiceError> {
        match self.streams.borrow_mut().open.get_mut(&stream) {
            Some(stream) => self.batch(stream),
            None => refuse(format!("no stream has the number {stream}")),
        }
    }

    fn set(&self, of: Of) -> usize {
        match of {
            Of::Labelled => self.base.scope.labelled.len(),
            Of::Pool => self.base.scope.pool.len(),
        }
    }

    fn sample(&self, of: Of, position: u32) -> SampleId {
        match of {
            Of::Labelled => self.base.scope.labelled[position as usize].0,
            Of::Pool => self.base.scope.pool[position as usize],
        }
    }

    fn stream_of(&self, spec: &abi::StreamSpec, tag: &str, rows: &[u32]) -> Result<ImageStream, ServiceError> {
        let (of, positions) = match spec.of {
            0 => (Of::Labelled, count_up(self.set(Of::Labelled))),
            1 => (Of::Pool, count_up(self.set(Of::Pool))),
            2 => (Of::Pool, rows.to_vec()),
            other => return refuse(format!("a stream of kind {other} has no meaning, expected 0, 1 or 2")),
        };
        let set = self.set(of);
        if let Some(row) = positions.iter().find(|&&row| row as usize >= set) {
            return refuse(format!("a stream asks for row {row} of a pool of {set}"));
        }
        let transform = match spec.transform {
            0 => Transform::Train,
            1 => Transform::Eval,
            other => return refuse(format!("a stream's transform {other} has no meaning, expected 0 or 1")),
        };
        let batch = spec.batch as usize;
        if !(1..=LARGEST_MINIBATCH).contains(&batch) {
            return refuse(format!("a stream's batch is {batch}, expected 1 to {LARGEST_MINIBATCH}"));
        }
        if spec.infinite && positions.is_empty() {
            return refuse("an infinite stream of no images never gives one: ask for a finite one");
        }
        let turns = Turns { shuffle: spec.shuffle, infinite: spec.infinite, drop_last: spec.drop_last };
        let order = Order::new(positions, turns, self.numbers("order", tag));
        let augment = self.numbers("augment", tag);
        let loader = Loader::new(transform, self.base.recipe, self.base.images, augment).or_else(refuse)?;
        Ok(ImageStream { of, batch, order, loader })
    }

    fn batch(&self, stream: &mut ImageStream) -> Result<abi::ImageBatch, ServiceError> {
        let ImageStream { of, batch, order, loader } = stream;
        let positions = order.next(*batch);
        if positions.is_empty() {
            return Ok(abi::ImageBatch { images: none(), labels: none(), rows: none() });
        }
        let images = loader
            .load(self.base.images, positions.iter().map(|&position| self.sample(*of, position)))
            .or_else(refuse)?;
        let whole = |values: Vec<i64>| Tensor::f_from_slice(&values).or_else(refuse);
        let labels = match of {
            Of::Pool => None,
            Of::Labelled => {
                let of_position = |&position: &u32| i64::from(self.base.scope.labelled[position as usize].1.0);
                let labels = whole(positions.iter().map(of_position).collect())?;
                Some(labels.f_to_device(self.device()).or_else(refuse)?)
            }
        };
        let rows = whole(positions.iter().map(|&position| i64::from(position)).collect())?;
        Ok(abi::ImageBatch { images: given(images), labels: labels.map_or(none(), given), rows: given(rows) })
    }
}

fn count_up(n: usize) -> Vec<u32> {
    (0..number(n)).collect()
}
