//! Greedy facility location against computing every gain at every step.

mod common;

use common::*;
use querist_protocol::{HostCalls, Metric, Similarity, SimilarityKind};

/// The plain engine.
struct Plain<'a> {
    rows: &'a Data,
    references: &'a Data,
    weights: Option<&'a [f64]>,
    similarity: Similarity,
    cover: Vec<f64>,
}

impl Plain<'_> {
    fn similarity(&self, row: &[f32], reference: usize) -> f64 {
        similarity(self.similarity, sq_distance(row, self.references.row(reference)))
    }

    fn add(&mut self, row: &[f32]) {
        for reference in 0..self.references.rows {
            self.cover[reference] = self.cover[reference].max(self.similarity(row, reference));
        }
    }

    fn gain(&self, row: usize) -> f64 {
        let terms: Vec<f64> = (0..self.references.rows)
            .map(|j| {
                let gain = (self.similarity(self.rows.row(row), j) - self.cover[j]).max(0.0);
                self.weights.map_or(gain, |weights| weights[j] * gain)
            })
            .collect();
        let blocks = terms.chunks(1024).map(|block| block.iter().fold(0.0, |sum, term| sum + term));
        blocks.fold(0.0, |sum, block| sum + block) / self.references.rows as f64
    }

    fn best(&self, excluded: &[u32]) -> Option<(u32, f64)> {
        let open = (0..self.rows.rows as u32).filter(|row| !excluded.contains(row));
        let mut best: Option<(u32, f64)> = None;
        for row in open {
            let gain = self.gain(row as usize);
            if best.is_none_or(|(_, best)| gain > best) {
                best = Some((row, gain));
            }
        }
        best
    }
}

fn sq_distance(x: &[f32], y: &[f32]) -> f64 {
    lane_sum(x, y, |a, b| (a - b) * (a - b))
}

/// Adds others, then picks; every pick and gain must be that of the plain engine.
fn history(
    rows: &Data,
    references: &Data,
    others: &Data,
    weights: Option<&[f64]>,
    similarity: Similarity,
    steps: usize,
) {
    for threads in [1, 3] {
        let session = session(threads);
        let vector = weights.map(|weights| session.vector(weights).unwrap());
        let (a, b) = (rows.handle(&session), references.handle(&session));
        let engine = session.facility(a, b, vector, similarity).unwrap();
        let cover = vec![0.0; references.rows];
        let mut plain = Plain { rows, references, weights, similarity, cover };
        session.facility_add_others(engine, others.handle(&session)).unwrap();
        (0..others.rows).for_each(|row| plain.add(others.row(row)));
        let mask = session.mask(rows.rows as u32).unwrap();
        // Some rows are never eligible; one of them joins the set all the same.
        let mut excluded: Vec<u32> = (0..rows.rows as u32).step_by(7).collect();
        session.mask_exclude(mask, &excluded).unwrap();
        for step in 0..steps {
            let found = session.facility_best(engine, Some(mask)).unwrap();
            let expected = plain.best(&excluded);
            let bits = |best: Option<(u32, f64)>| best.map(|(row, gain)| (row, gain.to_bits()));
            assert_eq!(bits(found), bits(expected), "step {step}, {similarity:?}, {threads} threads");
            let Some((row, _)) = found else { break };
            session.mask_exclude(mask, &[row]).unwrap();
            session.facility_add(engine, &[row, 0]).unwrap();
            excluded.push(row);
            plain.add(rows.row(row as usize));
            plain.add(rows.row(0));
        }
    }
}

#[test]
fn picks_and_gains_are_those_of_computing_every_gain() {
    for kind in KINDS {
        for form in FORMS {
            let rows = data(kind, 60, 9, 1);
            let references = data(kind, 45, 9, 2);
            let weights: Vec<f64> = (0..45).map(|j| f64::from(j % 4) / 3.0).collect();
            for (width, weights, others) in
                [(1.0, None, 0), (0.3, Some(&*weights), 3), (5.0, None, 3), (1e-6, Some(&*weights), 0)]
            {
                let others = data(kind, others, 9, 3);
                history(&rows, &references, &others, weights, Similarity { kind: form, width }, 60);
            }
        }
    }
}

#[test]
fn many_rows_and_references_agree_too() {
    for kind in [Kind::Random, Kind::Clustered, Kind::Duplicates] {
        let rows = data(kind, 900, 20, 4);
        let references = data(kind, 2100, 20, 5);
        let others = data(kind, 60, 20, 6);
        history(&rows, &references, &others, None, Similarity { kind: SimilarityKind::Rbf, width: 2.0 }, 6);
    }
}

#[test]
fn normalised_rows_are_never_needed_whole() {
    // More rows than one part of the pairs has.
    let (rows, columns) = (9000, 6);
    let session = session(2);
    let raw = data(Kind::Random, rows, columns, 7);
    let values = read_matrix(&session, session.matrix_normalise(raw.handle(&session)).unwrap());
    let norms: Vec<f64> = (0..rows).map(|row| dot(raw.row(row), raw.row(row)).sqrt()).collect();
    let expected: Vec<f32> =
        raw.values.iter().enumerate().map(|(i, &value)| (f64::from(value) / norms[i / columns]) as f32).collect();
    assert_eq!(values, expected);
    let unit = Data { rows, columns, values };
    let places: Vec<u32> = (0..rows as u32).step_by(150).collect();
    let references = Data {
        rows: places.len(),
        columns,
        values: places.iter().flat_map(|&row| unit.row(row as usize).to_vec()).collect(),
    };
    let normalised = session.matrix_normalise(raw.handle(&session)).unwrap();
    let gathered = session.matrix_gather(normalised, &places).unwrap();
    assert_eq!(read_matrix(&session, gathered), references.values);
    let similarity = Similarity { kind: SimilarityKind::Rbf, width: 0.7 };
    let before = session.control().memory();
    let engine = session.facility(normalised, gathered, None, similarity).unwrap();
    let cover = vec![0.0; references.rows];
    let mut plain = Plain { rows: &unit, references: &references, weights: None, similarity, cover };
    for step in 0..12 {
        let (row, gain) = session.facility_best(engine, None).unwrap().unwrap();
        let expected = plain.best(&[]).unwrap();
        assert_eq!((row, gain.to_bits()), (expected.0, expected.1.to_bits()), "step {step}");
        session.facility_add(engine, &[row]).unwrap();
        plain.add(unit.row(row as usize));
    }
    session.release(engine);
    assert_eq!(session.control().memory(), before, "no normalised copy was made");
}

#[test]
fn the_worked_example() {
    let session = session(1);
    let points = session.matrix(5, 1, &[0.0, 0.1, 0.2, 5.0, 5.1]).unwrap();
    let similarity = Similarity { kind: SimilarityKind::Rbf, width: 1.0 };
    let engine = session.facility(points, points, None, similarity).unwrap();
    for (row, gain) in [(1, 0.59602), (3, 0.39801), (0, 0.00199)] {
        let (found, found_gain) = session.facility_best(engine, None).unwrap().unwrap();
        assert_eq!(found, row);
        assert!((found_gain - gain).abs() < 5e-6, "{found_gain}");
        session.facility_add(engine, &[row]).unwrap();
    }
}

#[test]
fn a_top_hat_counts_the_neighbours_within_its_width() {
    let session = session(2);
    let x = data(Kind::Grid, 300, 3, 8);
    let points = x.handle(&session);
    let width = 1.5;
    let engine = session.facility(points, points, None, Similarity { kind: SimilarityKind::TopHat, width }).unwrap();
    let graph = session.neighbours_within(points, width, Metric::Euclidean).unwrap();
    let degrees = read(&session, session.graph_degrees(graph).unwrap());
    let largest = degrees.iter().copied().fold(0.0, f64::max);
    let (row, gain) = session.facility_best(engine, None).unwrap().unwrap();
    assert_eq!(gain, largest / 300.0);
    assert_eq!(Some(row as usize), degrees.iter().position(|&degree| degree == largest));
}
