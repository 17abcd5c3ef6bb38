//! Everything that looks for pairs of rows, so that devices can be compared.

use querist_kernels::Compute;
use querist_protocol::{HostCalls, Init, KmeansOptions, Metric, Reduction, Similarity, SimilarityKind, StreamScope};

use super::*;

/// Bits of what every kernel that uses a device makes of so many rows of one kind.
pub fn all_pairs(compute: Compute, rows: usize, kind: Kind) -> Vec<(&'static str, Vec<u64>)> {
    let s = session_on(compute);
    let x = data(kind, rows, 24, 1);
    let (x, y) = (x.handle(&s), data(kind, 60, 24, 2).handle(&s));
    let mut all = Vec::new();
    for metric in [Metric::SqEuclidean, Metric::Euclidean, Metric::Cosine] {
        let mut keep = |what, vector| all.push((what, bits(&read(&s, vector))));
        let distances = s.distance_reduce(x, y, metric, Reduction::Min).unwrap();
        let radius = read(&s, distances)[3].max(1e-300);
        keep("nearest distances", distances);
        keep("nearest centres", s.distance_reduce(x, y, metric, Reduction::Argmin).unwrap());
        keep("counts", s.distance_reduce(x, y, metric, Reduction::CountWithin(radius)).unwrap());
        keep("all counts", s.distance_reduce(x, y, metric, Reduction::CountWithin(f64::INFINITY)).unwrap());
        keep("near rows", s.neighbour_distance(x, 4, metric).unwrap());
        let graph = s.neighbours_within(x, radius, metric).unwrap();
        let of_row = |row| s.graph_neighbours(graph, row).unwrap().into_iter().map(u64::from);
        all.push(("graph", (0..rows as u32).flat_map(of_row).collect()));
        s.release(graph);
    }
    let (left, right) = (data(kind, rows, 3, 3), data(kind, rows, 11, 4));
    let factored = s.outer_products(left.handle(&s), right.handle(&s)).unwrap();
    for points in [s.points(x).unwrap(), factored] {
        let engine = s.nearest(points, Metric::SqEuclidean).unwrap();
        s.nearest_add_points(engine, points).unwrap();
        all.push(("nearest points", bits(&read(&s, s.nearest_values(engine).unwrap()))));
    }
    let other = s.points(y).unwrap();
    let engine = s.nearest(s.points(x).unwrap(), Metric::Euclidean).unwrap();
    s.nearest_add_points(engine, other).unwrap();
    all.push(("nearest of others", bits(&read(&s, s.nearest_values(engine).unwrap()))));
    let similarity = Similarity { kind: SimilarityKind::Rbf, width: 1.5 };
    let facility = s.facility(x, y, None, similarity).unwrap();
    s.facility_add_others(facility, x).unwrap();
    let clustered = s.facility(x, x, None, similarity).unwrap();
    s.facility_add_others(clustered, y).unwrap();
    let weights = s.vector(&(0..60).map(|i| f64::from(i % 4)).collect::<Vec<_>>()).unwrap();
    let mut engines = vec![facility, clustered];
    // With nothing covered every gain is bounded.
    for kind in FORMS {
        engines.push(s.facility(x, y, Some(weights), Similarity { kind, width: 4.0 }).unwrap());
    }
    for engine in engines {
        for _ in 0..5 {
            let (row, gain) = s.facility_best(engine, None).unwrap().unwrap();
            s.facility_add(engine, &[row]).unwrap();
            all.push(("cover", vec![u64::from(row), gain.to_bits()]));
        }
    }
    let stream = s.stream("k", StreamScope::Run).unwrap();
    for init in [Init::KmeansPlusPlus, Init::RandomPoints] {
        let options = KmeansOptions { clusters: 40, restarts: 1, max_iterations: 6, tolerance: 0.0, init };
        let clustering = s.kmeans(x, None, options, stream).unwrap();
        all.push(("inertia", vec![s.clustering_inertia(clustering).unwrap().to_bits()]));
        let clusters = s.clustering_read(clustering, 0, rows as u32).unwrap();
        all.push(("clusters", clusters.into_iter().map(u64::from).collect()));
    }
    all
}

/// Every kind of data, on the CPU alone and on `compute`.
pub fn same_as_the_cpu(compute: &Compute, rows: usize) {
    for kind in KINDS {
        let expected = all_pairs(Compute::threads(1), rows, kind);
        let found = all_pairs(compute.clone(), rows, kind);
        assert_eq!(found.len(), expected.len());
        for ((what, found), (_, expected)) in found.iter().zip(&expected) {
            assert!(found == expected, "{what} of {kind:?}");
        }
    }
}
