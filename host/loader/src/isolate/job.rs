//! What goes to a worker, and what comes back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use memmap2::Mmap;
use querist_core::strategy::QueryErrorKind;
use querist_core::{Array, Arrays, Buffer, Query, Streams, Values};
use querist_protocol::{Description, Selection};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde::{Deserialize, Serialize};

/// Where blocks start: a multiple of this, so that values of every type are aligned.
const ALIGNMENT: usize = 64;

/// The question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Describe yourself, and say your needs under the parameters.
    #[default]
    Describe,
    /// Answer the query.
    Query,
}

/// The first block of a job's memory file: everything but the arrays' values.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) ask: Ask,
    pub(super) strategy: String,
    pub(super) params: String,
    pub(super) needs: Vec<String>,
    pub(super) threads: usize,
    pub(super) memory: u64,
    pub(super) seconds: f64,
    pub(super) handles: u32,
    pub(super) log: usize,
    pub(super) batch: usize,
    pub(super) round: u32,
    pub(super) streams: Option<Streams>,
    pub(super) classes: usize,
    artifact: Place,
    state: Option<Place>,
    ids: Place,
    labelled_ids: Place,
    arrays: BTreeMap<String, ArrayPlace>,
}

/// Bytes of the file.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Place {
    offset: usize,
    len: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct ArrayPlace {
    labels: bool,
    shape: Vec<usize>,
    place: Place,
}

/// Collects blocks and their places.
#[derive(Default)]
struct Blocks<'a> {
    blocks: Vec<(usize, &'a [u8])>,
    end: usize,
}

impl<'a> Blocks<'a> {
    fn put(&mut self, bytes: &'a [u8]) -> Place {
        let offset = self.end.next_multiple_of(ALIGNMENT);
        self.blocks.push((offset, bytes));
        self.end = offset + bytes.len();
        Place { offset, len: bytes.len() }
    }
}

impl Job {
    /// Writes the job to a sealed memory file. Only declared arrays go in: the worker must not see more.
    pub(super) fn write(mut self, artifact: &[u8], query: Option<&Query<'_>>) -> io::Result<File> {
        let mut blocks = Blocks::default();
        self.artifact = blocks.put(artifact);
        if let Some(query) = query {
            (self.batch, self.round) = (query.batch, query.round.0);
            // Its own streams and no seed, from which it could foresee what it must not know.
            self.streams = Some(query.seeds.strategy(&self.strategy));
            self.classes = query.arrays.classes();
            self.state = query.state.map(|state| blocks.put(state));
            self.ids = blocks.put(bytemuck::cast_slice(query.arrays.ids()));
            self.labelled_ids = blocks.put(bytemuck::cast_slice(query.arrays.labelled_ids()));
            for (name, array) in query.arrays.named() {
                let (bytes, labels): (&[u8], bool) = match array.values() {
                    Values::F32(values) => (bytemuck::cast_slice(values), false),
                    Values::U32(values) => (bytemuck::cast_slice(values), true),
                    Values::U64(_) => continue,
                };
                let place = blocks.put(bytes);
                self.arrays.insert(name.clone(), ArrayPlace { labels, shape: array.shape().to_vec(), place });
            }
        }
        let header = serde_json::to_vec(&self).map_err(io::Error::other)?;
        let file = memfd_create("querist-job", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(file);
        let start = (8 + header.len()).next_multiple_of(ALIGNMENT);
        let mut at = 8 + header.len();
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (offset, bytes) in blocks.blocks {
            file.write_all(&vec![0; start + offset - at])?;
            file.write_all(bytes)?;
            at = start + offset + bytes.len();
        }
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(file)
    }
}

/// A job as the worker has it.
pub(super) struct Received {
    pub(super) job: Job,
    map: Arc<Mmap>,
    start: usize,
}

/// A part of the mapped job, as values.
struct Part<T> {
    map: Arc<Mmap>,
    offset: usize,
    len: usize,
    values: std::marker::PhantomData<fn() -> T>,
}

impl<T: bytemuck::Pod> AsRef<[T]> for Part<T> {
    fn as_ref(&self) -> &[T] {
        bytemuck::cast_slice(&self.map[self.offset..self.offset + self.len])
    }
}

impl Received {
    /// Maps a job.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        // SAFETY: the file is sealed against every change.
        let map = unsafe { Mmap::map(file) }?;
        let broken = || io::Error::other("not a job");
        let len = map.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes).ok_or_else(broken)?;
        let header = map.get(8..8 + len as usize).ok_or_else(broken)?;
        let job: Job = serde_json::from_slice(header).map_err(io::Error::other)?;
        let start = (8 + len as usize).next_multiple_of(ALIGNMENT);
        Ok(Self { job, map: Arc::new(map), start })
    }

    pub(super) fn artifact(&self) -> &[u8] {
        self.bytes(self.job.artifact)
    }

    pub(super) fn state(&self) -> Option<&[u8]> {
        self.job.state.map(|place| self.bytes(place))
    }

    /// Bytes of the mapping, which stay where they are.
    pub(super) fn mapped_len(&self) -> usize {
        self.map.len()
    }

    fn bytes(&self, place: Place) -> &[u8] {
        &self.map[self.start + place.offset..self.start + place.offset + place.len]
    }

    fn buffer<T: bytemuck::Pod + Send + Sync>(&self, place: Place) -> Buffer<T> {
        let offset = self.start + place.offset;
        Buffer::new(Part { map: Arc::clone(&self.map), offset, len: place.len, values: std::marker::PhantomData })
    }

    pub(super) fn arrays(&self) -> Result<Arrays, String> {
        let mut named = BTreeMap::new();
        for (name, ArrayPlace { labels, shape, place }) in &self.job.arrays {
            let array = if *labels {
                Array::labels(self.buffer::<u32>(*place))
            } else {
                Array::f32(shape.clone(), self.buffer::<f32>(*place)).map_err(|error| error.to_string())?
            };
            named.insert(name.clone(), array);
        }
        let (ids, labelled) = (self.buffer::<u64>(self.job.ids), self.buffer::<u64>(self.job.labelled_ids));
        Arrays::new(ids, labelled, self.job.classes, named).map_err(|error| error.to_string())
    }
}

/// One line from a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    Progress {
        done: u64,
        total: u64,
    },
    Log {
        level: u8,
        message: String,
    },
    Description {
        description: Box<Description>,
        needs: Vec<String>,
    },
    Answer {
        selection: Picks,
        peak_memory: u64,
    },
    Failed {
        kind: QueryErrorKind,
        message: String,
        hint: Option<String>,
    },
    /// A system call that is not allowed, by number.
    Forbidden {
        call: i64,
    },
}

/// A selection whose numbers cross as bits, so that none is rounded.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Picks {
    rows: Vec<u32>,
    scores: Vec<u64>,
    diagnostics: Vec<(String, u64)>,
    state: Option<Vec<u8>>,
}

impl Picks {
    pub(super) fn of(selection: &Selection) -> Self {
        Self {
            rows: selection.rows.clone(),
            scores: selection.scores.iter().map(|score| score.to_bits()).collect(),
            diagnostics: selection.diagnostics.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect(),
            state: selection.state.clone(),
        }
    }

    pub(super) fn selection(self) -> Selection {
        Selection {
            rows: self.rows,
            scores: self.scores.into_iter().map(f64::from_bits).collect(),
            diagnostics: self.diagnostics.into_iter().map(|(name, bits)| (name, f64::from_bits(bits))).collect(),
            state: self.state,
        }
    }
}
