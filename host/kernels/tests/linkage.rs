//! Average linkage against the dense definition.

mod common;

use common::*;
use querist_protocol::{HostCalls, Merge, Metric};

fn distance(x: &Data, a: usize, b: usize, metric: Metric) -> f64 {
    let sum: f64 = x.row(a).iter().zip(x.row(b)).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    if metric == Metric::Euclidean { sum.sqrt() } else { sum }
}

/// Merges the two nearest clusters again and again, averaging every pair of rows: heights in order.
fn dense(x: &Data, metric: Metric) -> Vec<f64> {
    let mut clusters: Vec<Vec<usize>> = (0..x.rows).map(|row| vec![row]).collect();
    let mut heights = Vec::new();
    while clusters.len() > 1 {
        let mut best = (f64::INFINITY, 0, 0);
        for a in 0..clusters.len() {
            for b in 0..a {
                let pairs = clusters[a].iter().flat_map(|&i| clusters[b].iter().map(move |&j| (i, j)));
                let sum: f64 = pairs.map(|(i, j)| distance(x, i, j, metric)).sum();
                let mean = sum / (clusters[a].len() * clusters[b].len()) as f64;
                if mean < best.0 {
                    best = (mean, a, b);
                }
            }
        }
        let from = clusters.remove(best.1);
        clusters[best.2].extend(from);
        heights.push(best.0);
    }
    heights
}

/// Checks that merges name live clusters by their lowest rows, and that each height is the average over all pairs.
fn check(x: &Data, merges: &[Merge], metric: Metric, context: &str) {
    let mut clusters: Vec<Vec<usize>> = (0..x.rows).map(|row| vec![row]).collect();
    assert_eq!(merges.len() + 1, x.rows.max(1), "{context}");
    let largest = merges.iter().map(|m| m.height).fold(0.0, f64::max);
    for merge in merges {
        let (left, right) = (merge.left as usize, merge.right as usize);
        assert!(left < right && clusters[left][0] == left && clusters[right][0] == right, "{context}: {merge:?}");
        let pairs = clusters[left].iter().flat_map(|&i| clusters[right].iter().map(move |&j| (i, j)));
        let mean = pairs.map(|(i, j)| distance(x, i, j, metric)).sum::<f64>()
            / (clusters[left].len() * clusters[right].len()) as f64;
        assert!((merge.height - mean).abs() <= 3e-6 * largest.max(mean), "{context}: {merge:?}, average {mean}");
        let from = std::mem::replace(&mut clusters[right], vec![usize::MAX]);
        clusters[left].extend(from);
    }
}

#[test]
fn heights_are_those_of_the_dense_definition() {
    let session = session(2);
    for kind in [Kind::Random, Kind::Clustered, Kind::Mixed] {
        for metric in [Metric::SqEuclidean, Metric::Euclidean] {
            let x = data(kind, 25, 4, 3);
            let merges = session.average_linkage(x.handle(&session), metric).unwrap();
            check(&x, &merges, metric, &format!("{kind:?} {metric:?}"));
            let mut heights: Vec<f64> = merges.iter().map(|merge| merge.height).collect();
            heights.sort_by(f64::total_cmp);
            for (found, expected) in heights.iter().zip(dense(&x, metric)) {
                assert!((found - expected).abs() <= 3e-6 * heights[23], "{kind:?} {metric:?}: {found}, {expected}");
            }
        }
    }
}

#[test]
fn every_kind_of_data_ends_in_one_cluster() {
    for kind in KINDS.into_iter().filter(|&kind| kind != Kind::Huge) {
        for metric in [Metric::SqEuclidean, Metric::Euclidean] {
            for rows in [0, 1, 2, 3, 400] {
                let x = data(kind, rows, 5, 3);
                let merges = |threads: usize| {
                    let session = session(threads);
                    session.average_linkage(x.handle(&session), metric).unwrap()
                };
                let one = merges(1);
                check(&x, &one, metric, &format!("{kind:?} {metric:?} {rows}"));
                assert_eq!(one, merges(3), "{kind:?} {metric:?} {rows}");
            }
        }
    }
}

#[test]
fn remembered_neighbours_are_the_nearest() {
    // More rows than are looked at together, so that most of the work is done from memory.
    let session = session(2);
    for kind in [Kind::Random, Kind::Clustered, Kind::Duplicates, Kind::Grid] {
        let x = data(kind, 1500, 6, 9);
        let handle = x.handle(&session);
        let mut merges = session.average_linkage(handle, Metric::SqEuclidean).unwrap();
        check(&x, &merges, Metric::SqEuclidean, &format!("{kind:?}"));
        // Average linkage has no inversions: a merge is never lower than those of its parts.
        let largest = merges.iter().map(|m| m.height).fold(0.0, f64::max);
        let mut heights = vec![0.0f64; 1500];
        for merge in &merges {
            let parts = heights[merge.left as usize].max(heights[merge.right as usize]);
            assert!(merge.height >= parts - 1e-6 * largest, "{kind:?}: {merge:?} above {parts}");
            heights[merge.left as usize] = merge.height;
        }
        merges.sort_by(|a, b| a.height.total_cmp(&b.height));
        assert_eq!(merges.len(), 1499);
    }
}
