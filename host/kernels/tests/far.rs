//! Rows that are read in blocks give the bits that rows in memory give, and what cannot be read ends the query.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use querist_core::{Array, Arrays, Granted, Round, RowSource, Seeds};
use querist_kernels::{Compute, Control, Limits, Session, Setup, Shared};
use querist_protocol::philox::Stream;
use querist_protocol::{
    FaultCode, Handle, HostCalls, Init, KmeansOptions, Metric, Reduction, Similarity, SimilarityKind, StreamScope,
    Uncertainty,
};

const ROWS: usize = 2600;
/// So wide that means are taken of several blocks.
const WIDTH: usize = 500;
const CLASSES: usize = 7;

/// Rows in memory that are read like those in files.
#[derive(Debug)]
struct Slow {
    values: Vec<f32>,
    width: usize,
    /// The most values that were read at once.
    longest: AtomicUsize,
    /// Rows from here on cannot be read.
    end: usize,
}

impl RowSource for Slow {
    fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), String> {
        self.longest.fetch_max(out.len(), Ordering::Relaxed);
        if first + out.len() / self.width > self.end {
            return Err(format!("the disk ends before row {}", self.end));
        }
        out.copy_from_slice(&self.values[first * self.width..][..out.len()]);
        Ok(())
    }

    fn place(&self, row: usize) -> String {
        format!("row {row}")
    }
}

struct Pool {
    session: Session,
    control: Arc<Control>,
    sources: Vec<Arc<Slow>>,
}

fn uniform(count: usize, key: u64) -> Vec<f32> {
    let stream = Stream::new(key, 0);
    (0..count as u64).map(|item| stream.item_uniform(item, 0) as f32 * 4.0 - 2.0).collect()
}

/// A session over the same rows, in memory or far away. Some rows are equal.
fn pool(far: bool, threads: usize, end: usize, memory: u64) -> Pool {
    let mut sources = Vec::new();
    let mut array = |width: usize, key: u64| {
        let mut values = uniform(ROWS * width, key);
        let (head, tail) = values.split_at_mut(ROWS / 2 * width);
        tail[..20 * width].copy_from_slice(&head[..20 * width]);
        if !far {
            return Array::f32(vec![ROWS, width], values).unwrap();
        }
        let source = Arc::new(Slow { values, width, longest: AtomicUsize::new(0), end });
        sources.push(source.clone());
        Array::far(vec![ROWS, width], source).unwrap()
    };
    let named = BTreeMap::from([("embeddings".to_owned(), array(WIDTH, 1)), ("logits".to_owned(), array(CLASSES, 2))]);
    let arrays = Arrays::new((0..ROWS as u64).collect::<Vec<_>>(), Vec::new(), CLASSES, named).unwrap();
    let needs = ["embeddings", "logits"].map(|name| name.parse().unwrap());
    let control = Arc::new(Control::new(Limits { memory, ..Limits::default() }, None));
    let setup = Setup {
        arrays: Granted::new(&arrays, &needs, &[]).unwrap(),
        batch: 5,
        round: Round(2),
        streams: Seeds::new(7).strategy("test"),
        compute: Compute::threads(threads),
    };
    let session = Session::new(Arc::new(Shared::new(setup, control.clone()).unwrap()));
    Pool { session, control, sources }
}

fn bits(session: &Session, vector: Handle) -> Vec<u64> {
    let count = session.vector_len(vector).unwrap();
    session.vector_read(vector, 0, count).unwrap().iter().map(|value| value.to_bits()).collect()
}

fn floats(values: &[f32]) -> Vec<u64> {
    values.iter().map(|value| u64::from(value.to_bits())).collect()
}

/// Everything that strategies which read in blocks ask for, as bits.
fn everything(session: &Session) -> Vec<(&'static str, Vec<u64>)> {
    let mut found = Vec::new();
    let all = session.input("embeddings").unwrap();
    let logits = session.input("logits").unwrap();
    found.push(("norms", bits(session, session.matrix_sq_norms(all).unwrap())));
    found.push(("mean", session.matrix_mean(all).unwrap().iter().map(|value| value.to_bits()).collect()));
    for measure in [Uncertainty::Entropy, Uncertainty::Margin, Uncertainty::LeastConfidence] {
        let (first, second) = session.uncertainty(logits, measure).unwrap();
        found.push(("uncertainty", [bits(session, first), bits(session, second)].concat()));
    }
    found.push(("read", floats(&session.matrix_read(all, 1000, 700).unwrap())));
    let few = session.matrix_gather(all, &[2599, 0, 1, 2, 1300, 1300]).unwrap();
    found.push(("gather", floats(&session.matrix_read(few, 0, 6).unwrap())));
    for (metric, reduction) in [
        (Metric::Euclidean, Reduction::Min),
        (Metric::Cosine, Reduction::Argmin),
        (Metric::SqEuclidean, Reduction::Sum),
        (Metric::Euclidean, Reduction::CountWithin(12.0)),
    ] {
        found.push(("reduce", bits(session, session.distance_reduce(all, few, metric, reduction).unwrap())));
    }
    let product = session.matrix_product(all, few, true).unwrap();
    found.push(("product", floats(&session.matrix_read(product, 0, ROWS as u32).unwrap())));
    let stack = session.matrix_stack(all, few).unwrap();
    let normal = session.matrix_normalise(stack).unwrap();
    found.push(("normalised", floats(&session.matrix_read(normal, 2000, 606).unwrap())));
    let stream = session.stream("numbers", StreamScope::Round).unwrap();
    for (rows, init) in [(all, Init::KmeansPlusPlus), (normal, Init::RandomPoints)] {
        let options = KmeansOptions { clusters: 30, restarts: 2, max_iterations: 4, tolerance: 0.0, init };
        let clustering = session.kmeans(rows, None, options, stream).unwrap();
        let clusters = session.clustering_read(clustering, 0, session.matrix_shape(rows).unwrap().0).unwrap();
        found.push(("clusters", clusters.iter().map(|&cluster| u64::from(cluster)).collect()));
        let centres = session.clustering_centres(clustering).unwrap();
        found.push(("centres", floats(&session.matrix_read(centres, 0, 30).unwrap())));
        found.push(("inertia", vec![session.clustering_inertia(clustering).unwrap().to_bits()]));
    }
    found.push(("covers", covers(session, all, few, &[Metric::Euclidean, Metric::Cosine])));
    let gradients = session.outer_products(session.residual(logits).unwrap(), all).unwrap();
    let nearest = session.nearest(gradients, Metric::SqEuclidean).unwrap();
    let mut drawn = vec![3];
    for _ in 0..25 {
        session.nearest_add(nearest, &[*drawn.last().unwrap()]).unwrap();
        drawn.extend(session.nearest_draw(nearest, stream, None).unwrap());
    }
    found.push(("draws", drawn.into_iter().map(u64::from).collect()));
    let similarity = Similarity { kind: SimilarityKind::Rbf, width: 10.0 };
    let facility = session.facility(all, few, None, similarity).unwrap();
    found.push((
        "facility",
        session.facility_best(facility, None).unwrap().map(|(row, gain)| vec![u64::from(row), gain.to_bits()]).unwrap(),
    ));
    found
}

/// Farthest rows, with few centres of others and with many.
fn covers(session: &Session, all: Handle, few: Handle, metrics: &[Metric]) -> Vec<u64> {
    let many = session.matrix_gather(all, &(0..1300).collect::<Vec<_>>()).unwrap();
    let mut found = Vec::new();
    for (&metric, others) in metrics.iter().flat_map(|metric| [(metric, few), (metric, many)]) {
        let nearest = session.nearest(session.points(all).unwrap(), metric).unwrap();
        session.nearest_add_points(nearest, session.points(others).unwrap()).unwrap();
        for _ in 0..30 {
            let (row, distance) = session.nearest_farthest(nearest, None).unwrap().unwrap();
            found.extend([u64::from(row), distance.to_bits()]);
            session.nearest_add(nearest, &[row]).unwrap();
        }
        found.extend(bits(session, session.nearest_values(nearest).unwrap()));
    }
    found
}

#[test]
fn far_rows_have_the_bits_of_near_ones() {
    let near = everything(&pool(false, 2, ROWS, 1 << 30).session);
    for threads in [1, 3] {
        let far = pool(true, threads, ROWS, 1 << 30);
        for ((what, near), (_, far)) in near.iter().zip(everything(&far.session)) {
            assert!(*near == far, "{what} differ with {threads} threads");
        }
        let embeddings = &far.sources[0];
        let longest = embeddings.longest.load(Ordering::Relaxed);
        assert!(longest < embeddings.values.len() / 2, "{longest} values were read at once");
    }
}

#[test]
fn kernels_that_need_all_rows_get_them_where_there_is_room() {
    let all = |pool: &Pool| {
        let rows = pool.session.input("embeddings").unwrap();
        pool.session.neighbour_distance(rows, 3, Metric::Euclidean).map(|vector| bits(&pool.session, vector))
    };
    let near = all(&pool(false, 2, ROWS, 1 << 30)).unwrap();
    assert_eq!(all(&pool(true, 2, ROWS, 1 << 30)).unwrap(), near);
    let fault = all(&pool(true, 2, ROWS, 1 << 20)).unwrap_err();
    assert_eq!(fault.code, FaultCode::Quota);
    assert!(fault.message.contains("2600 x 500 values of the shards in memory"), "{}", fault.message);
    assert!(fault.message.contains("docs/large-pools.md"), "{}", fault.message);
}

#[test]
fn what_cannot_be_read_ends_the_query() {
    let pool = pool(true, 2, 2000, 1 << 30);
    let all = pool.session.input("embeddings").unwrap();
    assert!(pool.session.matrix_read(all, 0, 2000).is_ok() && pool.control.failure().is_none());
    let _ = pool.session.matrix_sq_norms(all);
    let failure = pool.control.failure().expect("it was seen");
    assert!(failure.message.contains("the disk ends before row 2000"), "{}", failure.message);
    assert_eq!(pool.session.progress(1, 2).unwrap_err().message, failure.message);
}
