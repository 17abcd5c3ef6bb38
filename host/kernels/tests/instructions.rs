//! Every instruction set and number of threads gives the same bits.

mod common;

use common::*;
use querist_kernels::limit_instructions;
use querist_protocol::{
    DesignOptions, HostCalls, Init, KmeansOptions, Metric, Reduction, Similarity, SimilarityKind, StreamScope,
    Uncertainty,
};

/// Bits of something from every kernel.
fn everything(threads: usize) -> Vec<u64> {
    let s = session(threads);
    let x = data(Kind::Random, 1500, 37, 1).handle(&s);
    let y = data(Kind::Mixed, 70, 37, 2).handle(&s);
    let mut all = Vec::new();
    let mut keep = |vector| all.extend(bits(&read(&s, vector)));
    for measure in [Uncertainty::LeastConfidence, Uncertainty::Margin, Uncertainty::Ratio, Uncertainty::Entropy] {
        let (first, second) = s.uncertainty(x, measure).unwrap();
        keep(first);
        keep(second);
    }
    for metric in [Metric::SqEuclidean, Metric::Euclidean, Metric::Cosine] {
        keep(s.distance_reduce(x, y, metric, Reduction::Min).unwrap());
        keep(s.distance_reduce(x, y, metric, Reduction::Sum).unwrap());
        keep(s.neighbour_distance(x, 4, metric).unwrap());
    }
    // As many and as wide as the shortlist by codes needs, which only one instruction set has.
    let wide = data(Kind::Random, 1100, 70, 3).handle(&s);
    keep(s.neighbour_distance(wide, 4, Metric::Euclidean).unwrap());
    keep(s.matrix_sq_norms(x).unwrap());
    let draws = s.matrix(700, 6, &log_probs(700, 3, 2, 5)).unwrap();
    let weights = s.vector(&(0..3 * 70).map(|i| f64::from(i % 7) / 9.0).collect::<Vec<_>>()).unwrap();
    let shares = s.vector(&[0.3; 70]).unwrap();
    keep(s.mixture_entropy(draws, weights, shares).unwrap());
    let (factors, wide) = (data(Kind::Random, 90, 6, 6).handle(&s), data(Kind::Random, 90, 23, 7).handle(&s));
    let options = DesignOptions { rank: 2, ridge: 0.5, labelled_weight: 0.1, added_weight: 0.3 };
    let design = s.design(factors, wide, factors, wide, options).unwrap();
    for _ in 0..8 {
        let (row, gain) = s.design_best(design).unwrap().unwrap();
        s.design_add(design, row).unwrap();
        all.push(gain.to_bits());
    }
    for _ in 0..4 {
        let (row, loss) = s.design_least(design).unwrap().unwrap();
        s.design_remove(design, row).unwrap();
        all.push(loss.to_bits());
    }
    let mut keep = |vector| all.extend(bits(&read(&s, vector)));
    let points = s.outer_products(x, s.softmax(x).unwrap()).unwrap();
    let engine = s.nearest(points, Metric::SqEuclidean).unwrap();
    s.nearest_add(engine, &[0]).unwrap();
    let stream = s.stream("a", StreamScope::Run).unwrap();
    for _ in 0..20 {
        let row = s.nearest_draw(engine, stream, None).unwrap().unwrap();
        s.nearest_add(engine, &[row]).unwrap();
    }
    keep(s.nearest_values(engine).unwrap());
    let facility = s.facility(x, y, None, Similarity { kind: SimilarityKind::Rbf, width: 3.0 }).unwrap();
    for _ in 0..20 {
        let (row, gain) = s.facility_best(facility, None).unwrap().unwrap();
        s.facility_add(facility, &[row]).unwrap();
        all.extend([u64::from(row), gain.to_bits()]);
    }
    for metric in [Metric::SqEuclidean, Metric::Euclidean] {
        let merges = s.average_linkage(x, metric).unwrap();
        all.extend(merges.iter().flat_map(|m| [u64::from(m.left), u64::from(m.right), m.height.to_bits()]));
    }
    let options =
        KmeansOptions { clusters: 20, restarts: 1, max_iterations: 5, tolerance: 0.0, init: Init::KmeansPlusPlus };
    let clustering = s.kmeans(x, None, options, stream).unwrap();
    all.push(s.clustering_inertia(clustering).unwrap().to_bits());
    all.extend(s.matrix_mean(s.residual(x).unwrap()).unwrap().iter().map(|mean| mean.to_bits()));
    all.extend(read_matrix(&s, s.matrix_product(x, y, true).unwrap()).iter().map(|x| u64::from(x.to_bits())));
    all
}

#[test]
fn the_bits_do_not_depend_on_the_machine() {
    let widest = everything(1);
    for threads in [2, 3] {
        assert!(everything(threads) == widest, "{threads} threads");
    }
    for level in [0, 1, 2] {
        limit_instructions(level);
        assert!(everything(1) == widest, "instruction set {level}");
    }
}
