//! k-means against plain Lloyd, and its promises.

mod common;

use common::*;
use querist_kernels::{Control, Limits, Session};
use querist_protocol::philox::Stream;
use querist_protocol::{HostCalls, Init, KmeansOptions, Metric, StreamScope};

fn options(clusters: u32, init: Init) -> KmeansOptions {
    KmeansOptions { clusters, restarts: 2, max_iterations: 15, tolerance: 1e-4, init }
}

struct Plain {
    centres: Vec<Vec<f32>>,
    clusters: Vec<u32>,
    distances: Vec<f64>,
    inertia: f64,
}

fn assign(x: &Data, weights: &[f64], centres: Vec<Vec<f32>>) -> Plain {
    let (mut clusters, mut distances) = (Vec::new(), Vec::new());
    for row in 0..x.rows {
        let all: Vec<f64> = centres.iter().map(|centre| distance(Metric::SqEuclidean, x.row(row), centre)).collect();
        let best = (0..all.len()).reduce(|a, b| if all[b] < all[a] { b } else { a }).unwrap();
        clusters.push(best as u32);
        distances.push(all[best]);
    }
    let terms: Vec<f64> = weights.iter().zip(&distances).map(|(w, d)| w * d).collect();
    let inertia = terms.chunks(1024).map(|block| block.iter().fold(0.0, |a, b| a + b)).fold(0.0, |a, b| a + b);
    Plain { centres, clusters, distances, inertia }
}

fn update(x: &Data, weights: &[f64], now: &Plain) -> (Vec<Vec<f32>>, usize) {
    let mut centres = now.centres.clone();
    let mut sizes = vec![0; centres.len()];
    for (cluster, centre) in centres.iter_mut().enumerate() {
        let (mut sums, mut total) = (vec![0.0; x.columns], 0.0);
        for row in (0..x.rows).filter(|&row| now.clusters[row] as usize == cluster) {
            sizes[cluster] += 1;
            total += weights[row];
            x.row(row).iter().zip(&mut sums).for_each(|(&x, sum)| *sum += weights[row] * f64::from(x));
        }
        if total > 0.0 {
            centre.iter_mut().zip(sums).for_each(|(centre, sum)| *centre = (sum / total) as f32);
        }
    }
    let mut far: Vec<usize> = (0..x.rows).filter(|&row| now.distances[row] > 0.0).collect();
    far.sort_by(|&a, &b| now.distances[b].total_cmp(&now.distances[a]));
    let (mut moved, mut next) = (0, 0);
    for cluster in 0..centres.len() {
        if sizes[cluster] > 0 {
            continue;
        }
        while next < far.len() && sizes[now.clusters[far[next]] as usize] < 2 {
            next += 1;
        }
        if next == far.len() {
            break;
        }
        sizes[now.clusters[far[next]] as usize] -= 1;
        sizes[cluster] = 1;
        centres[cluster] = x.row(far[next]).to_vec();
        moved += 1;
        next += 1;
    }
    (centres, moved)
}

fn first_rows(x: &Data, weights: Option<&[f64]>, options: KmeansOptions, stream: &mut Stream) -> Vec<usize> {
    if options.init == Init::RandomPoints {
        let mut rows: Vec<usize> = (0..x.rows).collect();
        for i in 0..options.clusters as usize {
            rows.swap(i, i + stream.next_below((x.rows - i) as u64) as usize);
        }
        return rows[..options.clusters as usize].to_vec();
    }
    let mut rows: Vec<usize> = Vec::new();
    for step in 0..options.clusters {
        let u = stream.next_uniform();
        let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let to_set = |row: usize| {
            rows.iter().map(|&r| distance(Metric::SqEuclidean, x.row(row), x.row(r))).fold(f64::INFINITY, f64::min)
        };
        let drawn = match (step, weights) {
            (0, None) => Some((u * x.rows as f64) as u32),
            (0, Some(weights)) => draw(weights, u),
            _ => {
                let mass = |row| if rows.contains(&row) { 0.0 } else { weight(row) * to_set(row) };
                draw(&(0..x.rows).map(mass).collect::<Vec<_>>(), u)
            }
        };
        rows.push(drawn.map_or_else(|| (0..x.rows).find(|row| !rows.contains(row)).unwrap(), |row| row as usize));
    }
    rows
}

fn plain(x: &Data, weights: Option<&[f64]>, options: KmeansOptions, stream: &mut Stream) -> Plain {
    let all = weights.map_or_else(|| vec![1.0; x.rows], <[f64]>::to_vec);
    let restart = |stream: &mut Stream| {
        let first = first_rows(x, weights, options, stream).into_iter().map(|row| x.row(row).to_vec()).collect();
        let mut now = assign(x, &all, first);
        for _ in 0..options.max_iterations {
            let (centres, moved) = update(x, &all, &now);
            let next = assign(x, &all, centres);
            let done = now.inertia - next.inertia <= options.tolerance * now.inertia && moved == 0;
            now = next;
            if done {
                break;
            }
        }
        now
    };
    let mut best = restart(stream);
    for _ in 1..options.restarts {
        let next = restart(stream);
        if next.inertia < best.inertia {
            best = next;
        }
    }
    best
}

#[test]
fn kmeans_is_plain_lloyd() {
    for threads in [1, 2] {
        let session = session(threads);
        for kind in KINDS {
            for (rows, columns, clusters) in [(1, 2, 1), (9, 3, 4), (60, 5, 20), (300, 17, 33), (25, 2, 25)] {
                for init in [Init::KmeansPlusPlus, Init::RandomPoints] {
                    for weighted in [false, true] {
                        let x = data(kind, rows, columns, 11);
                        let weights: Vec<f64> = (0..rows).map(|row| (row % 4) as f64 * 0.5).collect();
                        let weights = weighted.then_some(weights);
                        let handle = weights.as_ref().map(|weights| session.vector(weights).unwrap());
                        let stream = session.stream("k", StreamScope::Round).unwrap();
                        let matrix = x.handle(&session);
                        let clustering = session.kmeans(matrix, handle, options(clusters, init), stream).unwrap();
                        let key = querist_core::Seeds::new(7).strategy("test").key("k");
                        let expected = plain(&x, weights.as_deref(), options(clusters, init), &mut Stream::new(key, 2));
                        let context = (kind, rows, clusters, init, weighted);
                        let found = session.clustering_read(clustering, 0, rows as u32).unwrap();
                        assert_eq!(found, expected.clusters, "{context:?}");
                        let inertia = session.clustering_inertia(clustering).unwrap();
                        same_bits(&[inertia], &[expected.inertia], context);
                        let centres = session.clustering_centres(clustering).unwrap();
                        assert_eq!(read_matrix(&session, centres), expected.centres.concat(), "{context:?}");
                        let representatives = session.clustering_representatives(clustering, None).unwrap();
                        for (cluster, found) in representatives.into_iter().enumerate() {
                            let members = (0..rows).filter(|&row| expected.clusters[row] as usize == cluster);
                            let nearer = |a, b| if expected.distances[b] < expected.distances[a] { b } else { a };
                            assert_eq!(found, members.reduce(nearer).map(|row| row as u32), "{context:?}");
                        }
                        [matrix, clustering, centres, stream]
                            .into_iter()
                            .chain(handle)
                            .for_each(|h| session.release(h));
                    }
                }
            }
        }
        assert_eq!(session.control().memory(), 0, "everything was released");
    }
}

#[test]
fn bounds_kept_between_iterations_lose_nothing() {
    let (rows, clusters) = (1500, 60);
    // In many columns centres are about equally far, so that most rows look at all that moved.
    for (kind, columns, init) in [
        (Kind::Random, 5, Init::RandomPoints),
        (Kind::Random, 40, Init::KmeansPlusPlus),
        (Kind::Clustered, 5, Init::RandomPoints),
        (Kind::Mixed, 5, Init::KmeansPlusPlus),
    ] {
        let x = data(kind, rows, columns, 3);
        let options = KmeansOptions { clusters, restarts: 2, max_iterations: 9, tolerance: 0.0, init };
        let key = querist_core::Seeds::new(7).strategy("test").key("k");
        let expected = plain(&x, None, options, &mut Stream::new(key, 2));
        // With little memory several centres share a bound, else each has its own.
        for memory in [(430 + columns as u64 * 9) << 10, 1 << 30] {
            let control = std::sync::Arc::new(Control::new(Limits { memory, ..Limits::default() }, None));
            let session = Session::new(shared(10, querist_kernels::Compute::threads(2), control));
            let matrix = x.handle(&session);
            let stream = session.stream("k", StreamScope::Round).unwrap();
            let clustering = session.kmeans(matrix, None, options, stream).unwrap();
            let found = session.clustering_read(clustering, 0, rows as u32).unwrap();
            assert_eq!(found, expected.clusters, "{kind:?}, {init:?}, {memory} bytes");
            let centres = read_matrix(&session, session.clustering_centres(clustering).unwrap());
            assert_eq!(centres, expected.centres.concat(), "{kind:?}, {init:?}, {memory} bytes");
            same_bits(&[session.clustering_inertia(clustering).unwrap()], &[expected.inertia], (kind, init, memory));
        }
    }
}

#[test]
fn as_many_clusters_as_rows_return_every_row() {
    let session = session(1);
    let x = data(Kind::Random, 40, 3, 1).handle(&session);
    let stream = session.stream("k", StreamScope::Round).unwrap();
    let clustering = session.kmeans(x, None, options(40, Init::KmeansPlusPlus), stream).unwrap();
    let mut rows: Vec<u32> =
        session.clustering_representatives(clustering, None).unwrap().into_iter().flatten().collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..40).collect::<Vec<_>>());
    assert_eq!(session.clustering_inertia(clustering).unwrap(), 0.0);
}

#[test]
fn more_iterations_never_cost_inertia() {
    let session = session(1);
    for seed in 0..10 {
        let x = data(Kind::Random, 400, 6, seed).handle(&session);
        let inertia = |max_iterations| {
            let options =
                KmeansOptions { clusters: 12, restarts: 1, max_iterations, tolerance: 0.0, init: Init::RandomPoints };
            let stream = session.stream("k", StreamScope::Round).unwrap();
            let clustering = session.kmeans(x, None, options, stream).unwrap();
            session.clustering_inertia(clustering).unwrap()
        };
        let falls: Vec<f64> = (1..12).map(inertia).collect();
        assert!(falls.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-12)), "{falls:?}");
        assert!(falls[10] < falls[0]);
    }
}

#[test]
fn distant_groups_are_found_and_masks_are_heeded() {
    let session = session(1);
    let x = data(Kind::Clustered, 50, 4, 2).handle(&session);
    let stream = session.stream("k", StreamScope::Round).unwrap();
    let clustering = session.kmeans(x, None, options(5, Init::KmeansPlusPlus), stream).unwrap();
    let rows: Vec<u32> = session.clustering_representatives(clustering, None).unwrap().into_iter().flatten().collect();
    let mut groups: Vec<u32> = rows.iter().map(|row| row % 5).collect();
    groups.sort_unstable();
    assert_eq!(groups, [0, 1, 2, 3, 4]);
    let mask = session.mask(50).unwrap();
    let group: Vec<u32> = (0..50).filter(|row| row % 5 == 3).collect();
    session.mask_exclude(mask, &group).unwrap();
    session.mask_exclude(mask, &[rows[0]]).unwrap();
    let left = session.clustering_representatives(clustering, Some(mask)).unwrap();
    assert_eq!(left.iter().filter(|row| row.is_none()).count(), 1);
    assert!(!left.contains(&Some(rows[0])));
}
