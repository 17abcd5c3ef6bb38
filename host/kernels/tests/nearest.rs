//! The engine against the plain incremental algorithm: same picks, same bits.

mod common;

use common::*;
use querist_protocol::philox::Stream;
use querist_protocol::{HostCalls, Metric, StreamScope};

/// Points for the reference: plain, or outer products.
enum Reference {
    Plain(Data),
    Factored(Data, Data),
}

impl Reference {
    fn rows(&self) -> usize {
        match self {
            Self::Plain(data) | Self::Factored(data, _) => data.rows,
        }
    }

    fn distance(&self, metric: Metric, i: usize, other: &Self, j: usize) -> f64 {
        match (self, other) {
            (Self::Plain(x), Self::Plain(y)) => distance(metric, x.row(i), y.row(j)),
            (Self::Factored(a, h), Self::Factored(b, k)) => {
                factored_distance(metric, (a.row(i), h.row(i)), (b.row(j), k.row(j)))
            }
            _ => unreachable!("the tests keep geometries apart"),
        }
    }

    fn points(&self, session: &querist_kernels::Session) -> u32 {
        let (points, used) = match self {
            Self::Plain(data) => {
                let matrix = data.handle(session);
                (session.points(matrix).unwrap(), vec![matrix])
            }
            Self::Factored(left, right) => {
                let (left, right) = (left.handle(session), right.handle(session));
                (session.outer_products(left, right).unwrap(), vec![left, right])
            }
        };
        used.into_iter().for_each(|handle| session.release(handle));
        points
    }
}

/// One step of a random history: what the engine and the plain algorithm are both asked.
fn history(points: &Reference, extra: &Reference, metric: Metric, steps: usize, threads: usize, seed: u64) {
    let session = session(threads);
    let rows = points.rows();
    let handle = points.points(&session);
    let other = extra.points(&session);
    let engine = session.nearest(handle, metric).unwrap();
    let mask = session.mask(rows as u32).unwrap();
    let stream = session.stream("draws", StreamScope::Round).unwrap();
    // What the session's stream gives, from a second reading of it.
    let mut uniforms = {
        let again = session.stream("draws", StreamScope::Round).unwrap();
        session.stream_uniforms(again, steps as u32).unwrap().into_iter()
    };
    let mut best = vec![f64::INFINITY; rows];
    let mut excluded = vec![false; rows];
    let mut choices = Stream::new(seed, 0);
    let see = |best: &mut Vec<f64>, from: &Reference, centre: usize| {
        for (row, best) in best.iter_mut().enumerate() {
            *best = best.min(points.distance(metric, row, from, centre));
        }
    };
    let add = |best: &mut Vec<f64>, row: usize| {
        see(best, points, row);
        best[row] = 0.0;
        session.nearest_add(engine, &[row as u32]).unwrap();
    };
    add(&mut best, choices.next_below(rows as u64) as usize);
    for step in 0..steps {
        let with_mask = choices.next_below(2) == 0;
        let weight = |row: usize| if with_mask && excluded[row] { 0.0 } else { best[row] };
        let asked = with_mask.then_some(mask);
        let picked = match choices.next_below(6) {
            0 | 1 => {
                let weights: Vec<f64> = (0..rows).map(weight).collect();
                let expected = draw(&weights, uniforms.next().unwrap());
                assert_eq!(session.nearest_draw(engine, stream, asked).unwrap(), expected, "draw in step {step}");
                expected
            }
            2 => {
                let vector = session.nearest_values(engine).unwrap();
                same_bits(&read(&session, vector), &best, ("values", step));
                session.release(vector);
                None
            }
            3 if step % 7 == 0 => {
                (0..extra.rows()).for_each(|centre| see(&mut best, extra, centre));
                session.nearest_add_points(engine, other).unwrap();
                None
            }
            _ => {
                let open = (0..rows).filter(|&row| !(with_mask && excluded[row]));
                let expected = open.reduce(|a, b| if best[b] > best[a] { b } else { a });
                let found = session.nearest_farthest(engine, asked).unwrap();
                assert_eq!(
                    found.map(|(row, d)| (row, d.to_bits())),
                    expected.map(|row| (row as u32, best[row].to_bits()))
                );
                expected.map(|row| row as u32)
            }
        };
        if let Some(row) = picked {
            add(&mut best, row as usize);
            session.mask_exclude(mask, &[row]).unwrap();
            excluded[row as usize] = true;
        }
    }
    let vector = session.nearest_values(engine).unwrap();
    same_bits(&read(&session, vector), &best, "at the end");
    [handle, other, engine, mask, stream, vector].into_iter().for_each(|handle| session.release(handle));
    assert!(session.control().peak_memory() > 0);
}

fn reference(kind: Kind, rows: usize, factored: bool, seed: u64) -> Reference {
    if factored {
        Reference::Factored(data(kind, rows, 3, seed), data(kind, rows, 13, seed + 1))
    } else {
        Reference::Plain(data(kind, rows, 9, seed))
    }
}

#[test]
fn any_history_gives_what_looking_at_every_pair_gives() {
    for seed in 0..40 {
        for kind in KINDS {
            for metric in [Metric::SqEuclidean, Metric::Euclidean, Metric::Cosine] {
                for factored in [false, true] {
                    if factored && metric == Metric::Cosine {
                        continue;
                    }
                    let rows = [1, 2, 5, 30, 61][seed as usize % 5];
                    let points = reference(kind, rows, factored, seed);
                    let extra = reference(kind, [3, 60][seed as usize % 2], factored, seed + 100);
                    history(&points, &extra, metric, 12, 1, seed);
                }
            }
        }
    }
}

#[test]
fn long_histories_over_many_blocks_agree_too() {
    for (seed, kind) in [Kind::Random, Kind::Clustered, Kind::Mixed, Kind::Grid].into_iter().enumerate() {
        for factored in [false, true] {
            let points = reference(kind, 2500, factored, seed as u64);
            let extra = reference(kind, 70, factored, 50);
            history(&points, &extra, Metric::SqEuclidean, 120, 2, seed as u64);
            history(&points, &extra, Metric::Euclidean, 60, 2, seed as u64);
        }
        let points = reference(kind, 2500, false, seed as u64);
        history(&points, &reference(kind, 70, false, 50), Metric::Cosine, 120, 2, seed as u64);
    }
}

#[test]
fn histories_in_which_many_points_wait_agree_too() {
    for (seed, kind) in [Kind::Random, Kind::Clustered, Kind::Mixed, Kind::Grid].into_iter().enumerate() {
        for (metric, factored) in [
            (Metric::SqEuclidean, false),
            (Metric::SqEuclidean, true),
            (Metric::Euclidean, false),
            (Metric::Cosine, false),
        ] {
            // More points than groups of rows have members, and more centres than rows look at straight away.
            let points = reference(kind, 1300, factored, seed as u64);
            let extra = reference(kind, 1100, factored, 60 + seed as u64);
            history(&points, &extra, metric, 40, 2, seed as u64);
        }
    }
}

#[test]
fn points_that_wait_are_seen_before_a_row_is_called_the_farthest() {
    for (metric, factored) in [(Metric::Euclidean, false), (Metric::Cosine, false), (Metric::SqEuclidean, true)] {
        let points = reference(Kind::Random, 1600, factored, 1);
        // Those that every row looks at straight away lie far off; only the ones that wait are near anything.
        let mut extra = reference(Kind::Random, 1100, factored, 2);
        let (Reference::Plain(data) | Reference::Factored(data, _)) = &mut extra;
        let columns = data.columns;
        data.values[..600 * columns].iter_mut().for_each(|value| *value = 50.0 + 0.01 * *value);
        let session = session(2);
        let (handle, other) = (points.points(&session), extra.points(&session));
        let engine = session.nearest(handle, metric).unwrap();
        session.nearest_add_points(engine, other).unwrap();
        let of_row = |row: usize| {
            (0..extra.rows()).map(|centre| points.distance(metric, row, &extra, centre)).fold(f64::INFINITY, f64::min)
        };
        let mut best: Vec<f64> = (0..points.rows()).map(of_row).collect();
        for step in 0..25 {
            let expected = (0..best.len()).fold(0, |a, b| if best[b] > best[a] { b } else { a });
            let (found, distance) = session.nearest_farthest(engine, None).unwrap().unwrap();
            let context = (step, metric, factored);
            assert_eq!((found as usize, distance.to_bits()), (expected, best[expected].to_bits()), "{context:?}");
            session.nearest_add(engine, &[found]).unwrap();
            for (row, best) in best.iter_mut().enumerate() {
                *best = best.min(points.distance(metric, row, &points, expected));
            }
            best[expected] = 0.0;
        }
        // Values end the waiting for all rows.
        same_bits(&read(&session, session.nearest_values(engine).unwrap()), &best, (metric, factored));
    }
}

#[test]
fn furthest_first_on_a_line() {
    let session = session(1);
    let matrix = session.matrix(4, 1, &[0.0, 1.0, 2.0, 10.0]).unwrap();
    let engine = session.nearest(session.points(matrix).unwrap(), Metric::Euclidean).unwrap();
    session.nearest_add(engine, &[0]).unwrap();
    assert_eq!(session.nearest_farthest(engine, None).unwrap(), Some((3, 10.0)));
    session.nearest_add(engine, &[3]).unwrap();
    assert_eq!(session.nearest_farthest(engine, None).unwrap(), Some((2, 2.0)));
}

#[test]
fn gradient_embeddings_of_the_worked_example() {
    // p = (.5,.5), (.9,.1), (.6,.4) and h = (1,0), (0,2), (1,1), all predicted class 0.
    let session = session(1);
    let left = session.matrix(3, 2, &[-0.5, 0.5, -0.1, 0.1, -0.4, 0.4]).unwrap();
    let right = session.matrix(3, 2, &[1.0, 0.0, 0.0, 2.0, 1.0, 1.0]).unwrap();
    let points = session.outer_products(left, right).unwrap();
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    let norms = read(&session, session.points_sq_norms(points).unwrap());
    [0.5, 0.08, 0.64].into_iter().zip(norms).for_each(|(expected, found)| near(found, expected));
    let values = |row: u32| {
        let engine = session.nearest(points, Metric::SqEuclidean).unwrap();
        session.nearest_add(engine, &[row]).unwrap();
        read(&session, session.nearest_values(engine).unwrap())
    };
    near(values(0)[1], 0.58);
    near(values(0)[2], 0.34);
    near(values(1)[2], 0.40);
}

#[test]
fn factored_distances_are_those_of_the_outer_products() {
    let session = session(1);
    let (left, right) = (data(Kind::Random, 40, 5, 1), data(Kind::Random, 40, 7, 2));
    let points = session.outer_products(left.handle(&session), right.handle(&session)).unwrap();
    let engine = session.nearest(points, Metric::SqEuclidean).unwrap();
    session.nearest_add(engine, &[3]).unwrap();
    let found = read(&session, session.nearest_values(engine).unwrap());
    for (row, found) in found.into_iter().enumerate() {
        let mut expected = 0.0;
        for c in 0..5 {
            for d in 0..7 {
                let g = |i: usize| f64::from(left.row(i)[c]) * f64::from(right.row(i)[d]);
                expected += (g(row) - g(3)).powi(2);
            }
        }
        assert!((found - expected).abs() <= 1e-12 * (1.0 + expected), "row {row}: {found} {expected}");
    }
}

#[test]
fn furthest_first_is_within_twice_the_best_radius() {
    let session = session(1);
    for seed in 0..50 {
        let x = data(Kind::Random, 9, 2, seed);
        let radius = |set: &[usize]| {
            let to_set =
                |i: usize| set.iter().map(|&j| distance(Metric::Euclidean, x.row(i), x.row(j))).fold(9.0, f64::min);
            (0..9).map(to_set).fold(0.0, f64::max)
        };
        let mut best = f64::INFINITY;
        for a in 0..9 {
            for b in 0..a {
                for c in 0..b {
                    best = best.min(radius(&[a, b, c]));
                }
            }
        }
        let engine = session.nearest(session.points(x.handle(&session)).unwrap(), Metric::Euclidean).unwrap();
        let mut set = vec![0];
        session.nearest_add(engine, &[0]).unwrap();
        while set.len() < 3 {
            let (row, _) = session.nearest_farthest(engine, None).unwrap().unwrap();
            session.nearest_add(engine, &[row]).unwrap();
            set.push(row as usize);
        }
        assert!(radius(&set) <= 2.0 * best, "{set:?}: {} against {best}", radius(&set));
    }
}

#[test]
fn rows_are_drawn_as_often_as_their_distances_say() {
    let session = session(1);
    let x = data(Kind::Random, 8, 3, 4);
    let engine = session.nearest(session.points(x.handle(&session)).unwrap(), Metric::SqEuclidean).unwrap();
    session.nearest_add(engine, &[2]).unwrap();
    let weights = read(&session, session.nearest_values(engine).unwrap());
    let stream = session.stream("draws", StreamScope::Run).unwrap();
    let mut counts = [0u32; 8];
    const DRAWS: u32 = 100_000;
    for _ in 0..DRAWS {
        counts[session.nearest_draw(engine, stream, None).unwrap().unwrap() as usize] += 1;
    }
    assert_eq!(counts[2], 0, "a chosen row has no weight");
    let total: f64 = weights.iter().sum();
    let expected = |row: usize| weights[row] / total * f64::from(DRAWS);
    let terms =
        (0..8).filter(|&row| row != 2).map(|row| (f64::from(counts[row]) - expected(row)).powi(2) / expected(row));
    // Six degrees of freedom: 27.9 is the 1e-4 quantile.
    assert!(terms.sum::<f64>() < 27.9, "{counts:?}");
}
