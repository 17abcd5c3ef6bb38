//! Calls that no honest strategy makes, and the limits they run into.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use querist_core::{Array, Arrays, Granted, Head, LinearHead, Round, Seeds, ServiceError};
use querist_kernels::{Compute, Control, Limits, Session, Setup, Shared};
use querist_protocol::{
    DesignOptions, FaultCode, HostCalls, Init, KmeansOptions, LogLevel, Metric, Need, Reduction, Similarity,
    SimilarityKind, StreamScope, Uncertainty,
};

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, querist_protocol::Fault>, code: FaultCode) {
    match result {
        Ok(value) => panic!("answered {value:?}"),
        Err(fault) => assert_eq!(fault.code, code, "{fault}"),
    }
}

const OPTIONS: KmeansOptions =
    KmeansOptions { clusters: 2, restarts: 1, max_iterations: 5, tolerance: 0.0, init: Init::KmeansPlusPlus };

const SIMILARITY: Similarity = Similarity { kind: SimilarityKind::Rbf, width: 1.0 };

/// Every call that takes a handle, with the same handle everywhere.
fn call_all(s: &Session, h: u32) -> Vec<FaultCode> {
    let mut codes = Vec::new();
    let mut note = |result: Result<(), querist_protocol::Fault>| codes.extend(result.err().map(|fault| fault.code));
    note(s.stream_uniforms(h, 3).map(drop));
    note(s.stream_by_row(h, 0).map(drop));
    note(s.vector_len(h).map(drop));
    note(s.vector_read(h, 0, 1).map(drop));
    note(s.vector_top(h, Some(h), 1, Some(h)).map(drop));
    note(s.vector_draw(h, h, Some(h)).map(drop));
    note(s.mask_exclude(h, &[0]));
    note(s.mask_count(h).map(drop));
    note(s.matrix_shape(h).map(drop));
    note(s.matrix_read(h, 0, 1).map(drop));
    note(s.matrix_gather(h, &[0]).map(drop));
    note(s.matrix_normalise(h).map(drop));
    note(s.matrix_sq_norms(h).map(drop));
    note(s.matrix_mean(h).map(drop));
    note(s.matrix_product(h, h, true).map(drop));
    note(s.softmax(h).map(drop));
    note(s.residual(h).map(drop));
    note(s.uncertainty(h, Uncertainty::Margin).map(drop));
    note(s.distance_reduce(h, h, Metric::Euclidean, Reduction::Min).map(drop));
    note(s.neighbour_distance(h, 1, Metric::Euclidean).map(drop));
    note(s.neighbours_within(h, 1.0, Metric::Euclidean).map(drop));
    note(s.graph_degrees(h).map(drop));
    note(s.graph_neighbours(h, 0).map(drop));
    note(s.mixture_entropy(h, h, h).map(drop));
    let options = DesignOptions { rank: 1, ridge: 1.0, labelled_weight: 1.0, added_weight: 1.0 };
    note(s.design(h, h, h, h, options).map(drop));
    note(s.design_best(h).map(drop));
    note(s.design_least(h).map(drop));
    note(s.design_add(h, 0));
    note(s.design_remove(h, 0));
    note(s.points(h).map(drop));
    note(s.outer_products(h, h).map(drop));
    note(s.points_sq_norms(h).map(drop));
    note(s.nearest(h, Metric::Euclidean).map(drop));
    note(s.nearest_add(h, &[0]));
    note(s.nearest_add_points(h, h));
    note(s.nearest_farthest(h, Some(h)).map(drop));
    note(s.nearest_draw(h, h, Some(h)).map(drop));
    note(s.nearest_values(h).map(drop));
    note(s.kmeans(h, Some(h), OPTIONS, h).map(drop));
    note(s.clustering_sizes(h).map(drop));
    note(s.clustering_read(h, 0, 1).map(drop));
    note(s.clustering_centres(h).map(drop));
    note(s.clustering_inertia(h).map(drop));
    note(s.clustering_representatives(h, Some(h)).map(drop));
    note(s.matrix_stack(h, h).map(drop));
    note(s.average_linkage(h, Metric::SqEuclidean).map(drop));
    note(s.facility(h, h, Some(h), SIMILARITY).map(drop));
    note(s.facility_add(h, &[0]));
    note(s.facility_add_others(h, h));
    note(s.facility_best(h, Some(h)).map(drop));
    codes
}

/// Number of calls in [`call_all`].
const CALLS: usize = 50;

#[test]
fn dead_handles_and_handles_of_another_kind_are_refused() {
    let s = session(1);
    assert_eq!(call_all(&s, 0), vec![FaultCode::BadHandle; CALLS]);
    assert_eq!(call_all(&s, u32::MAX), vec![FaultCode::BadHandle; CALLS]);
    let released = s.mask(3).unwrap();
    s.release(released);
    s.release(released);
    s.release(u32::MAX);
    assert_eq!(call_all(&s, released), vec![FaultCode::BadHandle; CALLS]);
    let matrix = s.matrix(3, 2, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let points = s.points(matrix).unwrap();
    let engine = s.nearest(points, Metric::Euclidean).unwrap();
    s.nearest_add(engine, &[0]).unwrap();
    let stream = s.stream("a", StreamScope::Run).unwrap();
    let objects = [
        (s.mask(3).unwrap(), 2),
        (s.vector(&[1.0, 2.0, 3.0]).unwrap(), 2),
        (stream, 2),
        (points, 2),
        (engine, 2),
        (s.neighbours_within(matrix, 1.0, Metric::Euclidean).unwrap(), 2),
        (s.kmeans(matrix, None, OPTIONS, stream).unwrap(), 4),
        (s.facility(matrix, matrix, None, SIMILARITY).unwrap(), 1),
    ];
    for (handle, fitting) in objects {
        let codes = call_all(&s, handle);
        assert_eq!(codes.len(), CALLS - fitting, "handle {handle}");
        assert!(codes.iter().all(|&code| code == FaultCode::BadHandle), "handle {handle}: {codes:?}");
    }
}

#[test]
fn arguments_without_meaning_are_refused() {
    use FaultCode::*;
    let s = session(1);
    let matrix = s.matrix(3, 2, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let narrow = s.matrix(3, 1, &[0.0, 1.0, 2.0]).unwrap();
    let empty = s.matrix(0, 2, &[]).unwrap();
    let no_columns = s.matrix(3, 0, &[]).unwrap();
    let (vector, mask) = (s.vector(&[1.0, 2.0, 3.0]).unwrap(), s.mask(2).unwrap());
    let stream = s.stream("a", StreamScope::Run).unwrap();
    let (points, factored) = (s.points(matrix).unwrap(), s.outer_products(matrix, narrow).unwrap());
    let engine = s.nearest(points, Metric::Euclidean).unwrap();

    refused(s.ids(9, 2), BadIndex);
    refused(s.ids(u32::MAX, u32::MAX), BadIndex);
    refused(s.vector_read(vector, 2, 2), BadIndex);
    refused(s.vector_read(vector, u32::MAX, u32::MAX), BadIndex);
    refused(s.vector(&[f64::NAN]), NonFinite);
    refused(s.vector_draw(s.vector(&[-1.0]).unwrap(), stream, None), BadArgument);
    refused(s.vector_draw(s.vector(&[f64::INFINITY]).unwrap(), stream, None), NonFinite);
    refused(s.vector_draw(s.vector(&[f64::MAX, f64::MAX]).unwrap(), stream, None), NonFinite);
    refused(s.vector_top(vector, Some(s.vector(&[1.0]).unwrap()), 1, None), BadShape);
    refused(s.vector_top(vector, None, 1, Some(mask)), BadShape);
    refused(s.mask_exclude(mask, &[0, 2]), BadIndex);
    assert_eq!(s.mask_count(mask).unwrap(), 0, "a refused call changes nothing");
    refused(s.stream(&"x".repeat(257), StreamScope::Run), BadArgument);
    refused(s.stream_by_row(stream, 1 << 31), BadArgument);
    refused(s.matrix(2, 2, &[0.0]), BadShape);
    refused(s.matrix(u32::MAX, u32::MAX, &[]), Quota);
    refused(s.matrix(1, 1, &[f32::NAN]), NonFinite);
    refused(s.matrix_read(matrix, 1, 3), BadIndex);
    refused(s.matrix_gather(matrix, &[0, 3]), BadIndex);
    refused(s.matrix_stack(matrix, narrow), BadShape);
    refused(s.labelled_ids(0, 1), BadIndex);
    refused(s.matrix_mean(empty), BadShape);
    refused(s.matrix_product(matrix, narrow, true), BadShape);
    refused(s.matrix_product(matrix, narrow, false), BadShape);
    let huge = s.matrix(1, 1, &[f32::MAX]).unwrap();
    refused(s.matrix_product(huge, huge, true), NonFinite);
    refused(s.uncertainty(narrow, Uncertainty::Entropy), BadShape);
    refused(s.softmax(no_columns), BadShape);
    refused(s.distance_reduce(matrix, narrow, Metric::Euclidean, Reduction::Sum), BadShape);
    refused(s.distance_reduce(matrix, empty, Metric::Euclidean, Reduction::Min), BadArgument);
    refused(s.distance_reduce(matrix, matrix, Metric::Euclidean, Reduction::CountWithin(f64::NAN)), BadArgument);
    for neighbours in [0, 3, u32::MAX] {
        refused(s.neighbour_distance(matrix, neighbours, Metric::Cosine), BadArgument);
    }
    for radius in [0.0, -1.0, f64::NAN] {
        refused(s.neighbours_within(matrix, radius, Metric::Cosine), BadArgument);
    }
    let graph = s.neighbours_within(matrix, f64::INFINITY, Metric::Cosine).unwrap();
    refused(s.graph_neighbours(graph, 3), BadIndex);
    refused(s.outer_products(matrix, empty), BadShape);
    refused(s.nearest(factored, Metric::Cosine), BadArgument);
    refused(s.nearest_farthest(engine, None), BadArgument);
    refused(s.nearest_draw(engine, stream, None), BadArgument);
    refused(s.nearest_values(engine), BadArgument);
    refused(s.nearest_add(engine, &[3]), BadIndex);
    refused(s.nearest_add_points(engine, factored), BadShape);
    refused(s.nearest_add_points(engine, s.points(narrow).unwrap()), BadShape);
    s.nearest_add(engine, &[0]).unwrap();
    refused(s.nearest_farthest(engine, Some(mask)), BadShape);
    let kmeans = |options| s.kmeans(matrix, None, options, stream);
    refused(kmeans(KmeansOptions { clusters: 0, ..OPTIONS }), BadArgument);
    refused(kmeans(KmeansOptions { clusters: 4, ..OPTIONS }), BadArgument);
    refused(kmeans(KmeansOptions { restarts: 0, ..OPTIONS }), BadArgument);
    refused(kmeans(KmeansOptions { max_iterations: 0, ..OPTIONS }), BadArgument);
    refused(kmeans(KmeansOptions { tolerance: f64::NAN, ..OPTIONS }), BadArgument);
    refused(kmeans(KmeansOptions { tolerance: -1.0, ..OPTIONS }), BadArgument);
    let negative = s.vector(&[1.0, -1.0, 1.0]).unwrap();
    refused(s.kmeans(matrix, Some(negative), OPTIONS, stream), BadArgument);
    let ended = s.kmeans(matrix, None, KmeansOptions { max_iterations: u32::MAX, ..OPTIONS }, stream).unwrap();
    refused(s.clustering_read(ended, 1, 3), BadIndex);
    refused(s.clustering_representatives(ended, Some(mask)), BadShape);
    refused(s.average_linkage(matrix, Metric::Cosine), BadArgument);
    refused(s.facility(matrix, narrow, None, SIMILARITY), BadShape);
    refused(s.facility(matrix, empty, None, SIMILARITY), BadArgument);
    refused(s.facility(matrix, matrix, Some(negative), SIMILARITY), BadArgument);
    refused(s.facility(matrix, matrix, Some(s.vector(&[1.0]).unwrap()), SIMILARITY), BadShape);
    for width in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused(s.facility(matrix, matrix, None, Similarity { width, ..SIMILARITY }), BadArgument);
    }
    let facility = s.facility(matrix, matrix, None, SIMILARITY).unwrap();
    refused(s.facility_add(facility, &[3]), BadIndex);
    refused(s.facility_add_others(facility, narrow), BadShape);
    refused(s.facility_best(facility, Some(mask)), BadShape);
}

#[test]
fn shapes_without_rows_or_columns_work() {
    let s = session(2);
    for (rows, columns) in [(0, 0), (0, 3), (4, 0)] {
        let x = s.matrix(rows, columns, &vec![0.0; (rows * columns) as usize]).unwrap();
        for metric in [Metric::SqEuclidean, Metric::Euclidean, Metric::Cosine] {
            let sum = s.distance_reduce(x, x, metric, Reduction::Sum).unwrap();
            assert_eq!(read(&s, sum), vec![0.0; rows as usize]);
            let graph = s.neighbours_within(x, 1.0, metric).unwrap();
            assert_eq!(read(&s, s.graph_degrees(graph).unwrap()), vec![f64::from(rows); rows as usize]);
        }
        assert_eq!(s.matrix_shape(s.matrix_normalise(x).unwrap()).unwrap(), (rows, columns));
        assert_eq!(s.matrix_shape(s.matrix_product(x, x, true).unwrap()).unwrap(), (rows, rows));
        assert_eq!(s.matrix_shape(s.matrix_gather(x, &[]).unwrap()).unwrap(), (0, columns));
        let engine = s.nearest(s.points(x).unwrap(), Metric::Euclidean).unwrap();
        if rows > 0 {
            s.nearest_add(engine, &[1]).unwrap();
            assert_eq!(s.nearest_farthest(engine, None).unwrap(), Some((0, 0.0)));
            let stream = s.stream("a", StreamScope::Run).unwrap();
            assert_eq!(s.nearest_draw(engine, stream, None).unwrap(), None);
            assert!(s.kmeans(x, None, OPTIONS, stream).is_ok());
        }
        let (first, second) = s.uncertainty(s.matrix(0, 2, &[]).unwrap(), Uncertainty::Margin).unwrap();
        assert_eq!(s.vector_top(first, Some(second), 5, None).unwrap(), Vec::<u32>::new());
    }
}

fn limited(limits: Limits, deadline: Option<Instant>) -> Session {
    Session::new(shared(10, Compute::threads(1), Arc::new(Control::new(limits, deadline))))
}

#[test]
fn limits_on_memory_handles_and_log_hold() {
    let s = limited(Limits { memory: 10_000, handles: 3, log_bytes: 200 }, None);
    refused(s.mask(u32::MAX), FaultCode::Quota);
    refused(s.stream_uniforms(0, u32::MAX), FaultCode::Quota);
    let vector = s.vector(&[0.0; 1000]).unwrap();
    assert_eq!(s.control().memory(), 8000);
    refused(s.vector(&[0.0; 1000]), FaultCode::Quota);
    refused(s.vector_read(vector, 0, 1000), FaultCode::Quota);
    assert_eq!(s.control().memory(), 8000, "what was refused is given back");
    s.release(vector);
    assert_eq!((s.control().memory(), s.control().peak_memory()), (0, 8000));
    let small = || s.mask(1);
    let handles = [small().unwrap(), small().unwrap(), small().unwrap()];
    refused(small(), FaultCode::Quota);
    s.release(handles[1]);
    assert_eq!(small().unwrap(), handles[1]);
    assert_eq!(s.handles(), 3);

    s.log(LogLevel::Info, "a line").unwrap();
    refused(s.log(LogLevel::Info, &"x".repeat(200)), FaultCode::Quota);
    assert_eq!(s.control().take_log().len(), 1);
    let refused_at = (0..100).find(|_| s.log(LogLevel::Debug, "").is_err());
    assert!(refused_at.is_some(), "empty lines are not free");
    s.panicked(&"é".repeat(10_000));
    s.panicked("later");
    let text = s.control().panic_text().unwrap();
    assert!(text.len() <= 8192 && text.starts_with('é'));
}

#[test]
fn everything_given_back_leaves_an_empty_account() {
    let s = session(2);
    let x = data(Kind::Random, 300, 9, 1).handle(&s);
    let stream = s.stream("a", StreamScope::Run).unwrap();
    let points = s.points(x).unwrap();
    let engine = s.nearest(points, Metric::Euclidean).unwrap();
    s.nearest_add(engine, &[1, 2, 3]).unwrap();
    s.nearest_add_points(engine, points).unwrap();
    s.nearest_farthest(engine, None).unwrap();
    s.nearest_draw(engine, stream, None).unwrap();
    s.kmeans(x, None, OPTIONS, stream).unwrap();
    s.neighbours_within(x, 0.5, Metric::Euclidean).unwrap();
    s.neighbour_distance(x, 5, Metric::Euclidean).unwrap();
    let facility = s.facility(x, x, None, SIMILARITY).unwrap();
    s.facility_add(facility, &[1]).unwrap();
    s.facility_add_others(facility, x).unwrap();
    s.facility_best(facility, None).unwrap();
    s.average_linkage(x, Metric::SqEuclidean).unwrap();
    s.average_linkage(x, Metric::Euclidean).unwrap();
    s.uncertainty(x, Uncertainty::Entropy).unwrap();
    s.residual(x).unwrap();
    s.matrix_product(x, x, true).unwrap();
    assert!(s.control().memory() > 0);
    let handles = querist_protocol::Kind::ALL.iter().flat_map(|kind| (0..100).map(|place| kind.handle(place)));
    handles.for_each(|handle| s.release(handle));
    assert_eq!((s.control().memory(), s.handles()), (0, 0));
    // Dropping a session gives back what it still holds.
    let control = Arc::clone(s.control());
    s.mask(100).unwrap();
    drop(s);
    assert_eq!(control.memory(), 0);
}

#[test]
fn kernels_stop_when_told_or_when_time_is_up() {
    let roomy = Limits { memory: 1 << 30, ..Limits::default() };
    let x = data(Kind::Random, 3000, 8, 1);
    let stopped = limited(roomy, None);
    let matrix = x.handle(&stopped);
    let engine = stopped.nearest(stopped.points(matrix).unwrap(), Metric::Euclidean).unwrap();
    stopped.nearest_add(engine, &[0]).unwrap();
    let facility = stopped.facility(matrix, matrix, None, SIMILARITY).unwrap();
    stopped.control().cancel();
    refused(stopped.facility_best(facility, None), FaultCode::Cancelled);
    refused(stopped.facility_add(facility, &[0]), FaultCode::Cancelled);
    refused(stopped.nearest_farthest(engine, None), FaultCode::Cancelled);
    refused(stopped.nearest_values(engine), FaultCode::Cancelled);
    for (s, code) in [(stopped, FaultCode::Cancelled), (limited(roomy, Some(Instant::now())), FaultCode::Deadline)] {
        let matrix = x.handle(&s);
        let stream = s.stream("a", StreamScope::Run).unwrap();
        refused(s.distance_reduce(matrix, matrix, Metric::Euclidean, Reduction::Sum), code);
        refused(s.neighbours_within(matrix, 1.0, Metric::Euclidean), code);
        refused(s.kmeans(matrix, None, OPTIONS, stream), code);
        refused(s.facility(matrix, matrix, None, SIMILARITY), code);
        refused(s.average_linkage(matrix, Metric::SqEuclidean), code);
        refused(s.average_linkage(matrix, Metric::Euclidean), code);
        refused(s.uncertainty(matrix, Uncertainty::Margin), code);
        refused(s.progress(1, 2), code);
    }
}

#[test]
fn a_running_kernel_notices_cancellation() {
    let s = limited(Limits { memory: 1 << 30, ..Limits::default() }, None);
    let x = data(Kind::Random, 20_000, 64, 1).handle(&s);
    let control = Arc::clone(s.control());
    let canceller = std::thread::spawn(move || {
        // The kernel would run for a minute or more.
        std::thread::sleep(Duration::from_millis(200));
        control.cancel();
    });
    refused(s.distance_reduce(x, x, Metric::Cosine, Reduction::Sum), FaultCode::Cancelled);
    canceller.join().unwrap();
}

#[test]
fn only_declared_inputs_are_seen_and_tiles_see_their_rows() {
    let ids: Vec<u64> = (0..6).collect();
    let named = BTreeMap::from([
        ("logits".to_owned(), Array::f32(vec![6, 2], (0..12).map(|x| x as f32).collect::<Vec<_>>()).unwrap()),
        ("embeddings".to_owned(), Array::f32(vec![6, 1], vec![0.0; 6]).unwrap()),
        ("mc_log_probs".to_owned(), Array::f32(vec![6, 3, 2], vec![0.5; 36]).unwrap()),
        ("labelled.labels".to_owned(), Array::labels(vec![1, 0])),
        ("labelled.embeddings".to_owned(), Array::f32(vec![2, 1], vec![5.0; 2]).unwrap()),
    ]);
    let needs = ["logits", "mc_log_probs(T=3)", "labelled.labels", "labelled.embeddings", "grad_norm"];
    let needs: Vec<Need> = needs.iter().map(|need| need.parse().unwrap()).collect();
    let arrays = Arrays::new(ids, vec![10, 11], 2, named).unwrap();
    let setup = Setup {
        arrays: Granted::new(&arrays, &needs, &[]).unwrap(),
        batch: 2,
        round: Round(1),
        streams: Seeds::new(0).strategy("s"),
        compute: Compute::threads(1),
    };
    let shared = Arc::new(Shared::new(setup, control()).unwrap());
    let whole = Session::new(Arc::clone(&shared));
    refused(whole.input("embeddings"), FaultCode::NotDeclared);
    refused(whole.input("grad_norm"), FaultCode::NotDeclared);
    refused(whole.input("labelled.labels"), FaultCode::BadArgument);
    refused(whole.labels("logits", 0, 1), FaultCode::BadArgument);
    refused(whole.labels("labelled.labels", 1, 2), FaultCode::BadIndex);
    assert_eq!(whole.labels("labelled.labels", 1, 1).unwrap(), [0]);
    assert_eq!(whole.matrix_shape(whole.input("mc_log_probs").unwrap()).unwrap(), (6, 6));
    assert_eq!(whole.control().memory(), 0, "inputs are not copied");
    let tile = Session::tile(Arc::clone(&shared), 2..5).unwrap();
    assert_eq!((tile.info().rows, tile.info().first_row, tile.info().labelled_rows), (3, 2, 2));
    assert_eq!(tile.ids(0, 3).unwrap(), [2, 3, 4]);
    assert_eq!(read_matrix(&tile, tile.input("logits").unwrap()), (4..10).map(|x| x as f32).collect::<Vec<_>>());
    assert_eq!(read_matrix(&tile, tile.input("labelled.embeddings").unwrap()), [5.0, 5.0]);
    refused(tile.ids(2, 2), FaultCode::BadIndex);
    assert!(Session::tile(shared, 2..7).is_err());
}

/// A session over a pool of six rows, with the head of 3 classes and 2 columns.
fn with_head(needs: &[&str], head: Arc<dyn Head>, memory: u64, tile: bool) -> (Session, Arc<Control>) {
    let logits = Array::f32(vec![6, 3], vec![0.0; 18]).unwrap();
    let named = BTreeMap::from([("logits".to_owned(), logits)]);
    let arrays = Arrays::new((0..6).collect::<Vec<u64>>(), Vec::new(), 3, named).unwrap().with_head(head);
    let needs: Vec<Need> = needs.iter().map(|need| need.parse().unwrap()).collect();
    let setup = Setup {
        arrays: Granted::new(&arrays, &needs, &[]).unwrap(),
        batch: 1,
        round: Round(0),
        streams: Seeds::new(1).strategy("test"),
        compute: Compute::threads(2),
    };
    let control = Arc::new(Control::new(Limits { memory, ..Limits::default() }, None));
    let shared = Arc::new(Shared::new(setup, Arc::clone(&control)).unwrap());
    (if tile { Session::tile(shared, 0..6).unwrap() } else { Session::new(shared) }, control)
}

fn linear_head() -> Arc<dyn Head> {
    let array = |shape: &[usize], values: &[f32]| Array::f32(shape.to_vec(), values.to_vec()).unwrap();
    let weights = array(&[3, 2], &[1.0, 0.0, 0.0, 1.0, -1.0, -1.0]);
    Arc::new(LinearHead::new(&weights, &array(&[3], &[0.0, 0.5, 0.0])).unwrap())
}

#[test]
fn a_head_answers_who_declared_it_and_refuses_the_rest() {
    let (s, control) = with_head(&["logits", "head.w(or=head)"], linear_head(), 1 << 20, false);
    let rows = 1300;
    let values: Vec<f32> = (0..2 * rows).map(|at| (at % 7) as f32 - 3.0).collect();
    let embeddings = s.matrix(rows, 2, &values).unwrap();
    // More than two blocks, of which the last is short, and none of it rows of the pool.
    let logits = read_matrix(&s, s.head_logits(embeddings).unwrap());
    let classes: Vec<u32> = (0..rows).map(|row| row % 3).collect();
    let gradients = read_matrix(&s, s.head_gradients(embeddings, &classes).unwrap());
    for (row, z) in values.chunks(2).enumerate() {
        let expected = [z[0], z[1] + 0.5, -z[0] - z[1]];
        assert_eq!(&logits[3 * row..][..3], expected, "row {row}");
        let shares = expected.map(|logit| f64::from(logit).exp());
        let p = |class: usize| shares[class] / shares.iter().sum::<f64>() - f64::from(u8::from(class == row % 3));
        for (found, expected) in gradients[2 * row..][..2].iter().zip([p(0) - p(2), p(1) - p(2)]) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "row {row}: {found} {expected}");
        }
    }
    assert_eq!((s.has("logits"), s.has("head"), s.has("head.w")), (Ok(true), Ok(true), Ok(false)));
    let none = s.matrix(0, 2, &[]).unwrap();
    assert_eq!(s.matrix_shape(s.head_logits(none).unwrap()), Ok((0, 3)));
    assert_eq!(s.matrix_shape(s.head_gradients(none, &[]).unwrap()), Ok((0, 2)));

    refused(s.has("embeddings"), FaultCode::NotDeclared);
    refused(s.input("head.w"), FaultCode::NotDeclared);
    refused(s.input("head"), FaultCode::NotDeclared);
    let wide = s.matrix(2, 3, &[0.0; 6]).unwrap();
    refused(s.head_logits(wide), FaultCode::BadShape);
    refused(s.head_gradients(wide, &[0, 0]), FaultCode::BadShape);
    refused(s.head_gradients(embeddings, &classes[1..]), FaultCode::BadShape);
    refused(s.head_gradients(none, &[0]), FaultCode::BadShape);
    refused(s.head_gradients(embeddings, &vec![3; rows as usize]), FaultCode::BadIndex);
    refused(s.head_gradients(embeddings, &vec![u32::MAX; rows as usize]), FaultCode::BadIndex);
    let large = s.matrix(1, 2, &[3e38, 3e38]).unwrap();
    refused(s.head_logits(large), FaultCode::NonFinite);
    for handle in [u32::MAX, s.mask(3).unwrap()] {
        refused(s.head_logits(handle), FaultCode::BadHandle);
        refused(s.head_gradients(handle, &[]), FaultCode::BadHandle);
    }
    // Room for what is asked, and none for its answer.
    let mut held = vec![s.matrix(20_000, 2, &vec![0.0; 40_000]).unwrap()];
    while let Ok(logits) = s.head_logits(held[0]) {
        held.push(logits);
    }
    assert!(held.len() > 1);
    refused(s.head_logits(held[0]), FaultCode::Quota);
    let before = control.memory();
    s.release(held.pop().unwrap());
    assert_eq!(before - control.memory(), 20_000 * 3 * 4);
    control.cancel();
    refused(s.head_logits(embeddings), FaultCode::Cancelled);
    refused(s.head_gradients(embeddings, &classes), FaultCode::Cancelled);

    let (undeclared, _) = with_head(&["logits", "head.w"], linear_head(), 1 << 20, false);
    let embeddings = undeclared.matrix(1, 2, &[0.0; 2]).unwrap();
    refused(undeclared.head_logits(embeddings), FaultCode::NotDeclared);
    refused(undeclared.has("head"), FaultCode::NotDeclared);
    let (tile, _) = with_head(&["head"], linear_head(), 1 << 20, true);
    let embeddings = tile.matrix(1, 2, &[0.0; 2]).unwrap();
    refused(tile.head_logits(embeddings), FaultCode::BadArgument);
}

/// A head whose second block never comes: it cancels the query, or fails.
#[derive(Debug)]
struct Stuck(std::sync::OnceLock<Arc<Control>>, std::sync::atomic::AtomicUsize);

impl Head for Stuck {
    fn width(&self) -> usize {
        2
    }

    fn classes(&self) -> usize {
        3
    }

    fn logits(&self, _: &[f32], _: &mut [f32]) -> Result<(), ServiceError> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.get().unwrap().cancel();
        Ok(())
    }

    fn gradients(&self, _: &[f32], _: &[u32], _: &mut [f32]) -> Result<(), ServiceError> {
        Err(ServiceError("the device is gone".to_owned()))
    }
}

#[test]
fn a_head_is_stopped_between_blocks_and_its_failure_is_told() {
    let head = Arc::new(Stuck(std::sync::OnceLock::new(), std::sync::atomic::AtomicUsize::new(0)));
    let (s, control) = with_head(&["head"], Arc::clone(&head) as Arc<dyn Head>, 1 << 24, false);
    head.0.set(control).unwrap();
    let embeddings = s.matrix(100_000, 2, &vec![0.0; 200_000]).unwrap();
    let fault = s.head_gradients(embeddings, &vec![0; 100_000]).unwrap_err();
    assert!(fault.message.contains("the device is gone"), "{fault}");
    let handles = s.handles();
    refused(s.head_logits(embeddings), FaultCode::Cancelled);
    assert_eq!((s.handles(), head.1.load(std::sync::atomic::Ordering::Relaxed)), (handles, 1));
}
