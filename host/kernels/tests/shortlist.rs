//! The nearest of many rows, at the sizes from which codes of eight bits make a shortlist, against all pairs.

mod common;

use common::*;
use querist_protocol::philox::Stream;
use querist_protocol::{HostCalls, Metric};

/// Groups away from the origin whose rows are near each other, every tenth row the same as another one.
fn grouped(rows: usize, columns: usize, spread: f64, seed: u64) -> Data {
    let mut stream = Stream::new(seed, 0);
    let mut uniform = move || stream.next_uniform() - 0.5;
    let mut values = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let middle = ((row % 60 * 7 + column * 5) % 13) as f64 / 13.0 + (row % 60) as f64 / 30.0;
            values.push((2.0 + middle + spread * uniform()) as f32);
        }
        if row % 10 == 9 {
            values.copy_within((row - 9) * columns..(row - 8) * columns, row * columns);
        }
    }
    Data { rows, columns, values }
}

/// One column that is far larger in some rows, so that their codes say little.
fn with_outliers(mut data: Data) -> Data {
    for row in (0..data.rows).step_by(37) {
        data.values[row * data.columns] += 50.0;
    }
    data
}

fn nearest(metric: Metric, x: &[f32], others: &Data, own: Option<usize>, count: usize) -> Vec<(f64, usize)> {
    let pairs = (0..others.rows).filter(|&other| own != Some(other));
    let mut all: Vec<(f64, usize)> = pairs.map(|other| (distance(metric, x, others.row(other)), other)).collect();
    // Stable: the lower row first among equals.
    all.sort_by(|left, right| left.0.total_cmp(&right.0));
    all.truncate(count);
    all
}

/// Sizes are no multiples of a block, a tile, a panel or four columns; the last has more others than tiles at once.
#[test]
fn nearest_rows_through_codes_are_the_first_of_all_sorted_ones() {
    for (threads, others, columns, outliers) in [(1, 600, 70, false), (2, 1100, 65, true), (2, 4200, 66, false)] {
        let session = session(threads);
        let (mut x, mut y) = (grouped(1030, columns, 0.2, 1), grouped(others, columns, 0.2, 2));
        if outliers {
            (x, y) = (with_outliers(x), with_outliers(y));
        }
        // Some rows are others as well, at distance 0.
        x.values[..5 * columns].copy_from_slice(&y.values[others / 2 * columns..][..5 * columns]);
        let (a, b) = (x.handle(&session), y.handle(&session));
        for metric in [Metric::SqEuclidean, Metric::Euclidean] {
            for count in [1, 7, others / 40] {
                let expected: Vec<_> = (0..x.rows).flat_map(|i| nearest(metric, x.row(i), &y, None, count)).collect();
                let found = session.nearest_rows(a, b, count as u32, metric).unwrap();
                let case = (others, metric, count);
                let (distances, numbers): (Vec<f64>, Vec<f64>) =
                    expected.into_iter().map(|(distance, other)| (distance, other as f64)).unzip();
                same_bits(&read(&session, found.0), &numbers, case);
                same_bits(&read(&session, found.1), &distances, case);
                session.release(found.0);
                session.release(found.1);
            }
        }
    }
}

#[test]
fn a_row_is_no_neighbour_of_itself_through_codes_either() {
    let (session, mut x) = (session(2), grouped(1100, 68, 2e-3, 3));
    // Codes so rough that rows which differ have the same ones.
    for row in 0..x.rows {
        x.values[row * x.columns] += if row % 2 == 0 { 40.0 } else { -40.0 };
    }
    let handle = x.handle(&session);
    for (metric, count) in [(Metric::Euclidean, 1), (Metric::SqEuclidean, 5)] {
        let mean = |i: usize| {
            let near = nearest(metric, x.row(i), &x, Some(i), count);
            near.iter().fold(0.0, |sum, near| sum + near.0) / count as f64
        };
        let found = session.neighbour_distance(handle, count as u32, metric).unwrap();
        same_bits(&read(&session, found), &(0..x.rows).map(mean).collect::<Vec<_>>(), (metric, count));
    }
}
