//! Uncertainty, ranking and drawing.

mod common;

use common::*;
use querist_core::{Failure, QueryErrorKind};
use querist_kernels::{Compute, Tile, score_tiles};
use querist_protocol::{HostCalls, Selection, StreamScope, Uncertainty};

const MEASURES: [Uncertainty; 4] =
    [Uncertainty::LeastConfidence, Uncertainty::Margin, Uncertainty::Ratio, Uncertainty::Entropy];

fn scores(session: &querist_kernels::Session, x: &Data, measure: Uncertainty) -> (Vec<f64>, Vec<f64>) {
    let (first, second) = session.uncertainty(x.handle(session), measure).unwrap();
    (read(session, first), read(session, second))
}

#[test]
fn uncertainty_is_its_definition() {
    let session = session(2);
    for kind in [Kind::Random, Kind::Duplicates, Kind::Constant, Kind::Grid, Kind::Mixed, Kind::Huge] {
        for (rows, classes) in [(0, 2), (1, 2), (17, 3), (1100, 10), (40, 1000)] {
            let mut x = data(kind, rows, classes, 3);
            for size in [1.0, 80.0] {
                x.values.iter_mut().for_each(|value| *value *= size);
                for measure in MEASURES {
                    let (first, second) = scores(&session, &x, measure);
                    let expected: Vec<_> = (0..rows).map(|row| uncertainty(x.row(row), measure)).collect();
                    let context = (kind, rows, classes, measure);
                    same_bits(&first, &expected.iter().map(|pair| pair.0).collect::<Vec<_>>(), context);
                    same_bits(&second, &expected.iter().map(|pair| pair.1).collect::<Vec<_>>(), context);
                    assert!(first.iter().chain(&second).all(|score| score.is_finite()));
                }
            }
        }
    }
}

#[test]
fn softmax_and_residual_are_close_to_the_textbook() {
    let session = session(1);
    let x = data(Kind::Random, 37, 5, 8);
    let handle = x.handle(&session);
    let p = read_matrix(&session, session.softmax(handle).unwrap());
    let r = read_matrix(&session, session.residual(handle).unwrap());
    for row in 0..37 {
        let exps: Vec<f64> = x.row(row).iter().map(|&logit| f64::from(logit).exp()).collect();
        let total: f64 = exps.iter().sum();
        let leader = querist_protocol::math::argmax(x.row(row));
        for class in 0..5 {
            let expected = exps[class] / total;
            assert!((f64::from(p[row * 5 + class]) - expected).abs() < 1e-7);
            let expected = expected - f64::from(u8::from(class == leader));
            assert!((f64::from(r[row * 5 + class]) - expected).abs() < 1e-7);
        }
    }
    // A saturated row keeps the size of its residual where 1 - softmax in f32 would be 0.
    let saturated = session.matrix(1, 3, &[40.0, 0.0, 0.0]).unwrap();
    let r = read_matrix(&session, session.residual(saturated).unwrap());
    assert!((f64::from(r[0]) / (-2.0 * (-40f64).exp()) - 1.0).abs() < 1e-6, "{r:?}");
}

#[test]
fn worked_examples_come_out() {
    let session = session(1);
    let rows: [[f64; 3]; 4] = [[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.9, 0.05, 0.05], [1.0 / 3.0; 3]];
    let values = rows.iter().flatten().map(|p| p.ln() as f32).collect();
    let x = Data { rows: 4, columns: 3, values };
    let near = |found: Vec<f64>, expected: [f64; 4]| {
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{found:?} {expected:?}");
        }
    };
    near(scores(&session, &x, Uncertainty::LeastConfidence).0, [0.5, 0.6, 0.1, 2.0 / 3.0]);
    near(scores(&session, &x, Uncertainty::Margin).0, [-0.2, 0.0, -0.85, 0.0]);
    near(scores(&session, &x, Uncertainty::Ratio).0, [0.6, 1.0, 0.05 / 0.9, 1.0]);
    near(scores(&session, &x, Uncertainty::Entropy).0, [1.029_653_0, 1.054_920_2, 0.394_397_7, 1.098_612_3]);
}

#[test]
fn saturated_rows_still_rank() {
    let session = session(1);
    let x = Data { rows: 3, columns: 3, values: vec![60.0, 0.0, 0.0, 40.0, 0.0, 0.0, 80.0, -80.0, -80.0] };
    for measure in [Uncertainty::LeastConfidence, Uncertainty::Margin, Uncertainty::Ratio, Uncertainty::Entropy] {
        let (first, second) = session.uncertainty(x.handle(&session), measure).unwrap();
        assert_eq!(session.vector_top(first, Some(second), 3, None).unwrap(), [1, 0, 2], "{measure:?}");
    }
}

/// Leads for which every share of the others is 0 in f64, in turn with some for which it is not.
#[test]
fn any_lead_ranks_before_a_larger_one() {
    let session = session(1);
    let leads = [900.0f32, 800.0, 1e30, 2.0, 700.0, 3e38, 746.0, 40.0, 670.0, 660.0, 1000.0, 0.0];
    for classes in [2, 3, 10] {
        let row = |lead: f32| (0..classes).map(move |class| if class == 1 { 0.0 } else { -lead });
        let x =
            Data { rows: leads.len(), columns: classes, values: leads.iter().flat_map(|&lead| row(lead)).collect() };
        let mut expected: Vec<u32> = (0..leads.len() as u32).collect();
        expected.sort_by(|&a, &b| leads[a as usize].total_cmp(&leads[b as usize]));
        for measure in MEASURES {
            let (first, second) = session.uncertainty(x.handle(&session), measure).unwrap();
            let found = session.vector_top(first, Some(second), leads.len() as u32, None).unwrap();
            assert_eq!(found, expected, "{measure:?} of {classes} classes");
        }
    }
    // Two runners-up at the same distance are more than one.
    let x = Data { rows: 2, columns: 3, values: vec![0.0, -900.0, -1e9, -900.0, 0.0, -900.0] };
    for measure in [Uncertainty::LeastConfidence, Uncertainty::Margin, Uncertainty::Entropy] {
        let (first, second) = session.uncertainty(x.handle(&session), measure).unwrap();
        assert_eq!(session.vector_top(first, Some(second), 2, None).unwrap(), [1, 0], "{measure:?}");
    }
}

#[test]
fn two_classes_rank_alike_under_every_measure() {
    let session = session(1);
    let x = data(Kind::Random, 200, 2, 9);
    let order = |measure| {
        let (first, second) = session.uncertainty(x.handle(&session), measure).unwrap();
        session.vector_top(first, Some(second), 200, None).unwrap()
    };
    for measure in MEASURES {
        assert_eq!(order(measure), order(Uncertainty::LeastConfidence), "{measure:?}");
    }
}

#[test]
fn the_largest_come_first_with_ties_by_the_second_key_and_the_row() {
    let session = session(1);
    for rows in [0, 1, 7, 500] {
        let values: Vec<f64> = data(Kind::Grid, rows, 1, 1).values.iter().map(|&x| f64::from(x)).collect();
        let second: Vec<f64> = data(Kind::Grid, rows, 1, 2).values.iter().map(|&x| f64::from(x)).collect();
        let (a, b) = (session.vector(&values).unwrap(), session.vector(&second).unwrap());
        let mask = session.mask(rows as u32).unwrap();
        let excluded: Vec<u32> = (0..rows as u32).filter(|row| row % 3 == 1).collect();
        session.mask_exclude(mask, &excluded).unwrap();
        session.mask_exclude(mask, &excluded).unwrap();
        assert_eq!(session.mask_count(mask).unwrap() as usize, excluded.len());
        for (tie, keep) in [(None, None), (Some(b), None), (Some(b), Some(mask))] {
            let mut expected: Vec<u32> = (0..rows as u32).filter(|row| keep.is_none() || row % 3 != 1).collect();
            // A stable sort keeps the lower row first.
            if tie.is_some() {
                expected.sort_by(|&i, &j| second[j as usize].partial_cmp(&second[i as usize]).unwrap());
            }
            expected.sort_by(|&i, &j| values[j as usize].partial_cmp(&values[i as usize]).unwrap());
            for count in [0, 1, rows / 3, rows, rows + 5] {
                let found = session.vector_top(a, tie, count as u32, keep).unwrap();
                assert_eq!(found, expected[..count.min(expected.len())]);
            }
        }
    }
}

#[test]
fn rows_are_drawn_by_their_cumulative_weight() {
    let session = session(1);
    let random: Vec<f64> = data(Kind::Random, 3000, 1, 1).values.iter().map(|&x| f64::from(x.max(0.0))).collect();
    let mut lone = vec![0.0; 2050];
    lone[2049] = 1e-300;
    for weights in [random, lone, vec![0.0; 5], Vec::new()] {
        let vector = session.vector(&weights).unwrap();
        let (stream, again) =
            (session.stream("a", StreamScope::Run).unwrap(), session.stream("a", StreamScope::Run).unwrap());
        for u in session.stream_uniforms(again, 300).unwrap() {
            assert_eq!(session.vector_draw(vector, stream, None).unwrap(), draw(&weights, u));
        }
    }
}

#[test]
fn a_stream_is_named_by_tag_and_scope() {
    let session = session(1);
    let first = |tag: &str, scope| {
        let stream = session.stream(tag, scope).unwrap();
        session.stream_uniforms(stream, 1).unwrap()[0]
    };
    assert_eq!(first("a", StreamScope::Round), first("a", StreamScope::Round));
    assert_ne!(first("a", StreamScope::Round), first("b", StreamScope::Round));
    assert_ne!(first("a", StreamScope::Round), first("a", StreamScope::Run));
    let stream = session.stream("a", StreamScope::Run).unwrap();
    let whole = read(&session, session.stream_by_row(stream, 0).unwrap());
    let tile = querist_kernels::Session::tile(shared(10, Compute::threads(1), control()), 4..7).unwrap();
    let part = read(&tile, tile.stream_by_row(tile.stream("a", StreamScope::Run).unwrap(), 0).unwrap());
    assert_eq!(part, whole[4..7], "values belong to samples, not to places in a tile");
}

/// A scorer whose scores repeat, so that ties matter: with tie-breakers, or without.
fn scored(rows: u64, tile: usize, workers: usize, has_second: bool) -> Selection {
    let shared = shared(rows, Compute::threads(1), control());
    let score = |tile: &mut Tile<'_>| {
        let primary: Vec<f64> = tile.rows().map(|row| (row * 7 % 5) as f64).collect();
        let second: Vec<f64> = tile.rows().map(|row| (row * 3 % 4) as f64).collect();
        tile.fill(&primary, has_second.then_some(&second[..]))
    };
    score_tiles(&shared, tile, workers, score).unwrap().selection
}

#[test]
fn neither_tiles_nor_threads_change_what_a_scorer_picks() {
    for has_second in [false, true] {
        let whole = scored(97, 97, 1, has_second);
        assert_eq!(whole.rows.len(), 5);
        for (tile, workers) in [(1, 1), (10, 3), (96, 2), (1000, 8)] {
            assert_eq!(scored(97, tile, workers, has_second), whole, "{tile} rows, {workers} threads");
        }
    }
    assert_ne!(scored(97, 10, 2, true).rows, scored(97, 10, 2, false).rows, "tie-breakers decide");
    assert_eq!(scored(0, 10, 2, true), Selection::default());
}

#[test]
fn scores_that_are_not_one_finite_number_a_row_are_refused() {
    let shared = shared(20, Compute::threads(1), control());
    let refused = |score: &(dyn Fn(&mut Tile<'_>) -> Result<(), Failure> + Sync)| {
        let failure = score_tiles(&shared, 5, 2, score).unwrap_err();
        assert_eq!(failure.kind, QueryErrorKind::Contract);
        failure.message.into_string()
    };
    assert_eq!(refused(&|tile| tile.fill(&[1.0], None)), "gave 1 scores for a tile of 5 rows");
    assert_eq!(refused(&|tile| tile.fill(&[1.0; 5], Some(&[]))), "gave 0 scores for a tile of 5 rows");
    let infinite = [0.0, 1.0, f64::INFINITY, 2.0, 3.0];
    assert_eq!(refused(&|tile| tile.fill(&infinite, None)), "row 2 of a tile scored inf; scores must be finite");
    assert_eq!(refused(&|_| Ok(())), "a tile was given no scores");
    let some = |tile: &mut Tile<'_>| {
        let second = (tile.rows().start > 0).then_some(&[0.0; 5][..]);
        tile.fill(&[1.0; 5], second)
    };
    assert_eq!(refused(&some), "some tiles have tie-breakers and some have none");
}
