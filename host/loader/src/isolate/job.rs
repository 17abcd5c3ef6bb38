//! What goes to a worker.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use memmap2::Mmap;
use querist_core::{Array, Arrays, Buffer, Query, Streams, Values};
use querist_protocol::{Need, StrategyDescription};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde::{Deserialize, Serialize};

/// Where blocks start: a multiple of this, so that values of every type are aligned.
const ALIGNMENT: usize = 64;

/// The question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Say your needs under the parameters.
    #[default]
    Needs,
    /// Answer the query.
    Query,
}

/// The first block of a job's memory file: everything but the arrays' values.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) ask: Ask,
    pub(super) package: String,
    pub(super) version: String,
    /// What the package says of the strategy, which its code is not asked again.
    pub(super) strategy: Option<StrategyDescription>,
    pub(super) params: String,
    pub(super) needs: Vec<String>,
    pub(super) threads: usize,
    pub(super) memory: u64,
    pub(super) seconds: f64,
    pub(super) handles: u32,
    pub(super) log: usize,
    pub(super) batch: usize,
    pub(super) round: u32,
    /// The strategy's own streams and no seed, from which it could foresee what it must not know.
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
    /// Writes the job to a sealed memory file. Only arrays that `needs` settle on go in: the worker must not see more,
    /// whatever the query has.
    pub(super) fn write(mut self, artifact: &[u8], needs: &[Need], query: Option<&Query<'_>>) -> io::Result<File> {
        let mut blocks = Blocks::default();
        self.artifact = blocks.put(artifact);
        if let Some(query) = query {
            (self.batch, self.round) = (query.batch, query.round.0);
            self.streams = self.strategy.as_ref().map(|strategy| query.seeds.strategy(&strategy.id));
            self.classes = query.arrays.classes();
            self.state = query.state.map(|state| blocks.put(state));
            self.ids = blocks.put(bytemuck::cast_slice(query.arrays.ids()));
            self.labelled_ids = blocks.put(bytemuck::cast_slice(query.arrays.labelled_ids()));
            for (name, array) in settled(needs, query.arrays) {
                let (bytes, labels): (&[u8], bool) = match array.values() {
                    Values::F32(values) => (bytemuck::cast_slice(values), false),
                    Values::U32(values) => (bytemuck::cast_slice(values), true),
                    Values::U64(_) => continue,
                    Values::Far(_) => {
                        let message = format!("`{name}` is read from shards, which do not reach a worker process");
                        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
                    }
                };
                let place = blocks.put(bytes);
                self.arrays.insert(name.to_owned(), ArrayPlace { labels, shape: array.shape().to_vec(), place });
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

/// The arrays that meet the needs, each once: the first choice where there is one, else the second.
fn settled<'a>(needs: &'a [Need], arrays: &'a Arrays) -> BTreeMap<&'a str, &'a Array> {
    let of = |need: &'a Need| need.names().find_map(|name| Some((name, arrays.get(name)?)));
    needs.iter().filter_map(of).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_needs_settle_on_crosses() {
        let floats = |columns: usize| Array::f32(vec![2, columns], vec![0.5; 2 * columns]).unwrap();
        let named = [("logits", floats(3)), ("embeddings", floats(4)), ("penultimate", floats(4))];
        let oracle = ("oracle.labels", Array::labels(vec![0, 1]));
        let named = named.into_iter().chain([oracle]).map(|(name, array)| (name.to_owned(), array)).collect();
        let arrays = Arrays::new(vec![1, 2], Vec::new(), 3, named).unwrap();
        let crosses = |needs: &[&str]| -> Vec<String> {
            let needs: Vec<Need> = needs.iter().map(|need| need.parse().unwrap()).collect();
            settled(&needs, &arrays).into_keys().map(str::to_owned).collect()
        };
        assert_eq!(crosses(&[]), Vec::<String>::new());
        assert_eq!(crosses(&["logits"]), ["logits"]);
        assert_eq!(crosses(&["embeddings(or=oracle.labels)"]), ["embeddings"]);
        assert_eq!(crosses(&["mc_log_probs(T=1, or=embeddings)", "embeddings", "head"]), ["embeddings"]);
    }

    #[test]
    fn a_job_holds_streams_and_no_seed() {
        use querist_core::progress::Silent;
        use querist_core::{Granted, Round, Seeds};
        const ROOT: u64 = 0x5eed_0fa1_1541_1175;
        let none = Arrays::new(vec![1, 2], Vec::new(), 2, BTreeMap::new()).unwrap();
        let arrays = Granted::new(&none, &[], &[]).unwrap();
        let seeds = Seeds { root: ROOT, split: Some(ROOT + 1), initial: Some(ROOT + 2), model: Some(ROOT + 3) };
        let (round, progress) = (Round(3), &Silent);
        let query = Query { arrays: &arrays, batch: 1, round, seeds, state: None, services: None, progress };
        let strategy = StrategyDescription {
            id: "drawing".to_owned(),
            summary: String::new(),
            paper: String::new(),
            cost: String::new(),
            scorer: false,
            aliases: Vec::new(),
            needs: Vec::new(),
            may_need: Vec::new(),
            capabilities: Vec::new(),
            schema: serde_json::Value::Null,
        };
        let job = Job { strategy: Some(strategy), ..Job::default() };
        let received = Received::read(&job.write(b"artifact", &[], Some(&query)).unwrap()).unwrap();
        let header = String::from_utf8_lossy(&received.map).into_owned();
        for seed in ROOT..ROOT + 4 {
            assert!(!received.map.windows(8).any(|bytes| bytes == seed.to_le_bytes()), "a seed as bytes");
            assert!(!header.contains(&seed.to_string()) && !header.contains(&format!("{seed:x}")), "a seed as text");
        }
        // What the worker draws is what the strategy would draw here.
        let streams = received.job.streams.unwrap();
        assert_eq!(streams, seeds.strategy("drawing"));
        assert_ne!(streams.stream("split", Round(0)), seeds.split_stream());
    }
}
