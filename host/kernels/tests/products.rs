//! Products and sums of distances against plain scalar code, bit for bit, by every instruction set and on any number of
//! threads.

mod common;

use common::*;
use querist_kernels::{Session, limit_instructions};
use querist_protocol::{HostCalls, Metric, Reduction};

/// (rows, columns, others): about the sides of vectors, tiles, blocks and steps.
fn sizes() -> Vec<(usize, usize, usize)> {
    const ABOUT: [usize; 7] = [1, 7, 8, 9, 63, 64, 65];
    let mut sizes: Vec<_> =
        ABOUT.iter().flat_map(|&a| ABOUT.iter().flat_map(move |&b| [(a, b, 9), (a, 17, b), (5, a, b)])).collect();
    sizes.extend([(0, 5, 3), (3, 5, 0), (4, 0, 6), (1, 1, 1)]);
    sizes.extend([(193, 16, 97), (2400, 3, 13), (13, 511, 7), (13, 512, 7), (13, 513, 7), (98, 1040, 100)]);
    sizes
}

/// Rows and others, with a few rows in common.
fn pair(kind: Kind, (rows, columns, others): (usize, usize, usize)) -> (Data, Data) {
    let x = data(kind, rows, columns, 1);
    let mut y = data(kind, others, columns, 2);
    let common = (rows.min(others) / 3) * columns;
    y.values[..common].copy_from_slice(&x.values[..common]);
    (x, y)
}

fn transposed(x: &Data) -> Data {
    let values = (0..x.columns).flat_map(|column| (0..x.rows).map(move |row| x.row(row)[column])).collect();
    Data { rows: x.columns, columns: x.rows, values }
}

/// What the session gives: the product both ways, and the sums by each metric.
fn found(s: &Session, x: &Data, y: &Data, across: &Data) -> (Vec<Vec<f32>>, Vec<Vec<f64>>) {
    let (x, y, across) = (x.handle(s), y.handle(s), across.handle(s));
    let products = [s.matrix_product(x, y, true), s.matrix_product(x, across, false)].map(Result::unwrap);
    let sums = METRICS.map(|metric| s.distance_reduce(x, y, metric, Reduction::Sum).unwrap());
    let read = (products.map(|product| read_matrix(s, product)).to_vec(), sums.map(|sum| read(s, sum)).to_vec());
    [x, y, across].into_iter().chain(products).chain(sums).for_each(|handle| s.release(handle));
    read
}

const METRICS: [Metric; 3] = [Metric::SqEuclidean, Metric::Euclidean, Metric::Cosine];

#[test]
fn products_and_sums_are_their_definitions() {
    for threads in [1, 2, 3] {
        let s = session(threads);
        for kind in [Kind::Random, Kind::Mixed, Kind::Clustered, Kind::Tiny] {
            for size in sizes() {
                let (x, y) = pair(kind, size);
                let across = transposed(&y);
                let pairs = || (0..x.rows).flat_map(|i| (0..y.rows).map(move |j| (i, j)));
                let products: Vec<f64> = pairs().map(|(i, j)| f64::from(dot(x.row(i), y.row(j)) as f32)).collect();
                let sums = METRICS.map(|metric| {
                    let sum = |i| (0..y.rows).fold(0.0, |sum, j| sum + summand(metric, x.row(i), y.row(j)));
                    (0..x.rows).map(sum).collect::<Vec<f64>>()
                });
                for level in [0, 1, 2] {
                    limit_instructions(level);
                    let context = (kind, size, level, threads);
                    let (found_products, found_sums) = found(&s, &x, &y, &across);
                    for found in found_products {
                        same_bits(&found.into_iter().map(f64::from).collect::<Vec<_>>(), &products, context);
                    }
                    for (found, sums) in found_sums.iter().zip(&sums) {
                        same_bits(found, sums, context);
                    }
                }
            }
        }
    }
}

/// Sums are also near the sums of the distances that other kernels give.
#[test]
fn sums_are_near_the_sums_of_distances() {
    let s = session(1);
    for (kind, others) in KINDS.into_iter().flat_map(|kind| [(kind, 1), (kind, 70)]) {
        let (x, y) = pair(kind, (60, 130, others));
        let (a, b) = (x.handle(&s), y.handle(&s));
        for metric in METRICS {
            let found = read(&s, s.distance_reduce(a, b, metric, Reduction::Sum).unwrap());
            for (i, found) in found.into_iter().enumerate() {
                let sum: f64 = (0..y.rows).map(|j| distance(metric, x.row(i), y.row(j))).sum();
                assert!((found - sum).abs() <= 1e-11 * sum, "{kind:?} {metric:?} row {i}: {found:e} for {sum:e}");
            }
        }
    }
}

#[test]
fn an_overflow_is_told_with_its_place() {
    let s = session(2);
    let mut x = data(Kind::Random, 300, 4, 1);
    let mut y = data(Kind::Random, 110, 4, 2);
    x.values[4 * 250] = 1e30;
    y.values[4 * 100] = 1e30;
    for transpose in [true, false] {
        let right = if transpose { y.handle(&s) } else { transposed(&y).handle(&s) };
        let fault = s.matrix_product(x.handle(&s), right, transpose).unwrap_err();
        assert!(fault.message.contains("row 250, column 100"), "{}", fault.message);
    }
}
