//! Distance kernels against their definitions, bit for bit.

mod common;

use common::*;
use querist_protocol::{HostCalls, Metric, Reduction};

const METRICS: [Metric; 3] = [Metric::SqEuclidean, Metric::Euclidean, Metric::Cosine];

/// (rows, centres, columns): none, one, around a block, more than a tile.
const SIZES: [(usize, usize, usize); 8] =
    [(0, 3, 4), (1, 1, 1), (5, 11, 3), (7, 12, 17), (130, 40, 16), (129, 530, 33), (40, 20, 0), (3, 100, 300)];

fn reduced(x: &Data, y: &Data, metric: Metric, reduction: Reduction) -> Vec<f64> {
    let one = |row: usize| {
        let distances: Vec<f64> = (0..y.rows).map(|centre| distance(metric, x.row(row), y.row(centre))).collect();
        let nearest = (0..y.rows).reduce(|a, b| if distances[b] < distances[a] { b } else { a });
        match reduction {
            Reduction::Min => distances[nearest.unwrap()],
            Reduction::Argmin => nearest.unwrap() as f64,
            Reduction::Sum => (0..y.rows).fold(0.0, |sum, centre| sum + summand(metric, x.row(row), y.row(centre))),
            Reduction::CountWithin(radius) => distances.iter().filter(|&&d| d < radius).count() as f64,
        }
    };
    (0..x.rows).map(one).collect()
}

#[test]
fn reductions_are_their_definitions() {
    for threads in [1, 2] {
        let session = session(threads);
        for kind in KINDS {
            for (seed, (rows, centres, columns)) in SIZES.into_iter().enumerate() {
                let all = data(kind, rows + centres, columns, seed as u64);
                let x = Data { rows, columns, values: all.values[..rows * columns].to_vec() };
                let y = Data { rows: centres, columns, values: all.values[rows * columns..].to_vec() };
                let (a, b) = (x.handle(&session), y.handle(&session));
                for metric in METRICS {
                    // A radius that is the distance of a pair tests that the comparison is strict.
                    let on_a_pair = if rows > 0 { distance(metric, x.row(0), y.row(centres / 2)) } else { 1.0 };
                    let reductions = [
                        Reduction::Min,
                        Reduction::Argmin,
                        Reduction::Sum,
                        Reduction::CountWithin(on_a_pair),
                        Reduction::CountWithin(f64::INFINITY),
                    ];
                    for reduction in reductions {
                        let vector = session.distance_reduce(a, b, metric, reduction).unwrap();
                        let found = read(&session, vector);
                        let context = (kind, rows, centres, columns, metric, reduction, threads);
                        same_bits(&found, &reduced(&x, &y, metric, reduction), context);
                        session.release(vector);
                    }
                }
                session.release(a);
                session.release(b);
            }
        }
    }
}

#[test]
fn neighbours_are_their_definitions() {
    let session = session(2);
    for kind in KINDS {
        for (rows, columns) in [(2, 3), (13, 5), (140, 20), (530, 4)] {
            let x = data(kind, rows, columns, rows as u64);
            let handle = x.handle(&session);
            for metric in METRICS {
                let all: Vec<f64> =
                    (0..rows * rows).map(|pair| distance(metric, x.row(pair / rows), x.row(pair % rows))).collect();
                let d = |i: usize, j: usize| all[i * rows + j];
                let sorted = |i: usize| {
                    let mut others: Vec<f64> = (0..rows).filter(|&j| j != i).map(|j| d(i, j)).collect();
                    others.sort_by(f64::total_cmp);
                    others
                };
                let sorted: Vec<Vec<f64>> = (0..rows).map(sorted).collect();
                for neighbours in [1, 7, rows - 1].into_iter().filter(|&count| count < rows) {
                    let vector = session.neighbour_distance(handle, neighbours as u32, metric).unwrap();
                    let mean =
                        |others: &Vec<f64>| others[..neighbours].iter().fold(0.0, |a, b| a + b) / neighbours as f64;
                    let expected: Vec<f64> = sorted.iter().map(mean).collect();
                    same_bits(&read(&session, vector), &expected, (kind, rows, metric, neighbours));
                    session.release(vector);
                }
                let radius = d(0, rows / 2).max(1e-300);
                let graph = session.neighbours_within(handle, radius, metric).unwrap();
                let degrees = read(&session, session.graph_degrees(graph).unwrap());
                for (i, &degree) in degrees.iter().enumerate() {
                    let expected: Vec<u32> = (0..rows).filter(|&j| d(i, j) < radius).map(|j| j as u32).collect();
                    assert!(expected.contains(&(i as u32)), "every row is its own neighbour");
                    assert_eq!(session.graph_neighbours(graph, i as u32).unwrap(), expected, "{kind:?} {metric:?} {i}");
                    assert_eq!(degree, expected.len() as f64);
                }
                session.release(graph);
            }
        }
    }
}

#[test]
fn nearest_rows_are_the_first_of_all_sorted_ones() {
    for threads in [1, 2] {
        let session = session(threads);
        for kind in KINDS {
            for (rows, others, columns) in SIZES {
                let (x, y) = (data(kind, rows, columns, 1), data(kind, others, columns, 2));
                let (a, b) = (x.handle(&session), y.handle(&session));
                for metric in METRICS {
                    for neighbours in [1, 4, others].into_iter().filter(|&count| count <= others) {
                        let mut expected = (Vec::new(), Vec::new());
                        for row in 0..rows {
                            let mut all: Vec<(f64, usize)> =
                                (0..others).map(|other| (distance(metric, x.row(row), y.row(other)), other)).collect();
                            // Stable: the lower row first among equals.
                            all.sort_by(|left, right| left.0.total_cmp(&right.0));
                            expected.0.extend(all[..neighbours].iter().map(|near| near.1 as f64));
                            expected.1.extend(all[..neighbours].iter().map(|near| near.0));
                        }
                        let found = session.nearest_rows(a, b, neighbours as u32, metric).unwrap();
                        let case = (kind, rows, others, metric, neighbours);
                        same_bits(&read(&session, found.0), &expected.0, case);
                        same_bits(&read(&session, found.1), &expected.1, case);
                        session.release(found.0);
                        session.release(found.1);
                    }
                }
                session.release(a);
                session.release(b);
            }
        }
    }
}

#[test]
fn matrix_kernels_are_their_definitions() {
    let session = session(2);
    for (rows, columns) in [(0, 3), (1, 1), (9, 16), (1030, 7), (70, 37)] {
        let x = data(Kind::Mixed, rows, columns, 5);
        let y = data(Kind::Random, columns, 11, 6);
        let (a, b) = (x.handle(&session), y.handle(&session));
        let norms = read(&session, session.matrix_sq_norms(a).unwrap());
        same_bits(&norms, &(0..rows).map(|i| dot(x.row(i), x.row(i))).collect::<Vec<_>>(), "norms");
        let unit = read_matrix(&session, session.matrix_normalise(a).unwrap());
        for i in 0..rows {
            for j in 0..columns {
                let expected = (f64::from(x.row(i)[j]) / norms[i].sqrt()) as f32;
                assert_eq!(unit[i * columns + j].to_bits(), expected.to_bits());
            }
        }
        let below = data(Kind::Grid, 5, columns, 7);
        let stacked = session.matrix_stack(a, below.handle(&session)).unwrap();
        assert_eq!(session.matrix_shape(stacked).unwrap(), (rows as u32 + 5, columns as u32));
        assert_eq!(read_matrix(&session, stacked), [x.values.clone(), below.values].concat());
        let product = read_matrix(&session, session.matrix_product(a, b, false).unwrap());
        for i in 0..rows {
            for j in 0..11 {
                let column: Vec<f32> = (0..columns).map(|k| y.row(k)[j]).collect();
                assert_eq!(product[i * 11 + j].to_bits(), (dot(x.row(i), &column) as f32).to_bits());
            }
        }
        if rows == 0 {
            assert!(session.matrix_mean(a).is_err(), "no rows have no mean");
            continue;
        }
        let mean = session.matrix_mean(a).unwrap();
        for (j, mean) in mean.iter().enumerate() {
            let column: Vec<f64> = (0..rows).map(|i| f64::from(x.row(i)[j])).collect();
            let blocks = column.chunks(1024).map(|block| block.iter().fold(0.0, |a, b| a + b));
            assert_eq!(mean.to_bits(), (blocks.fold(0.0, |a, b| a + b) / rows as f64).to_bits());
        }
    }
}

#[test]
fn rows_are_normalised_in_place_where_nobody_else_holds_them() {
    let session = session(2);
    let x = data(Kind::Mixed, 300, 40, 1);
    let matrix = x.handle(&session);
    let size = 4 * x.values.len() as u64;
    let (shared, before) = (session.matrix_normalise(matrix).unwrap(), session.control().memory());
    let expected = read_matrix(&session, shared);
    assert_eq!(session.control().memory(), before + size, "a copy, because the rows themselves are still held");
    assert_eq!(read_matrix(&session, matrix), x.values);
    assert_ne!(expected, x.values);

    let session = common::session(2);
    let matrix = x.handle(&session);
    let own = session.matrix_normalise(matrix).unwrap();
    session.release(matrix);
    let before = session.control().peak_memory();
    session.matrix_sq_norms(own).unwrap();
    let more = session.control().peak_memory() - before;
    assert!(more < size, "no copy of {size} bytes was made beside the rows, but {more} bytes");
    assert_eq!(read_matrix(&session, own), expected);
}
