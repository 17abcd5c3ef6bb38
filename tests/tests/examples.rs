//! Worked examples and guarantees of the methods, through whole plugins.

use std::collections::BTreeMap;

use querist_core::{Array, Arrays, Question, Seeds};
use querist_protocol::philox::Stream;
use querist_protocol::{Selection, TILE_BYTES};
use querist_testkit::Make;
use querist_tests::both;
use serde_json::{Value, json};

fn matrix<const C: usize>(rows: &[[f32; C]]) -> Array {
    Array::f32(vec![rows.len(), C], rows.concat()).unwrap()
}

fn arrays<const K: usize>(rows: usize, labelled: usize, classes: usize, named: [(&str, Array); K]) -> Arrays {
    let named: BTreeMap<String, Array> = named.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
    let ids: Vec<u64> = (0..rows as u64).collect();
    let labelled_ids: Vec<u64> = (0..labelled as u64).map(|row| row + 1000).collect();
    Arrays::new(ids, labelled_ids, classes, named).unwrap()
}

fn ask(maker: &dyn Make, params: &Value, arrays: &Arrays, batch: usize, seed: u64) -> Selection {
    let mut strategy = maker.make(params, 1, TILE_BYTES).unwrap();
    strategy.answer(&Question::new(arrays, batch).with_seeds(Seeds::new(seed))).unwrap().selection
}

/// Logits whose softmax is `p`, as near as `f32` allows.
fn logits<const C: usize>(rows: &[[f64; C]]) -> Array {
    matrix(&rows.iter().map(|row| row.map(|p| p.ln() as f32)).collect::<Vec<_>>())
}

#[test]
fn scores_of_four_distributions() {
    let third = 1.0 / 3.0;
    let p = [[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.9, 0.05, 0.05], [third, third, third]];
    let arrays = arrays(4, 0, 3, [("logits", logits(&p))]);
    for (id, expected) in [
        ("least-confidence", [0.5, 0.6, 0.1, 2.0 * third]),
        ("margin", [-0.2, 0.0, -0.85, 0.0]),
        ("bvsb", [0.6, 1.0, 0.05 / 0.9, 1.0]),
        ("entropy", [1.029_653_0, 1.054_920_2, 0.394_397_7, 1.098_612_3]),
    ] {
        for (maker, route) in both(id) {
            let answer = ask(&*maker, &json!({}), &arrays, 4, 0);
            for (&row, score) in answer.rows.iter().zip(&answer.scores) {
                let expected = expected[row as usize];
                assert!((score - expected).abs() < 2e-7, "{id} ({route}), row {row}: {score}, expected {expected}");
            }
            assert_eq!(answer.rows[3], 2, "{id} ({route}): the surest row comes last");
        }
    }
}

#[test]
fn saturated_rows_are_told_apart() {
    let arrays = arrays(2, 0, 3, [("logits", matrix(&[[60.0, 0.0, 0.0], [40.0, 0.0, 0.0]]))]);
    for (maker, route) in both("least-confidence") {
        let answer = ask(&*maker, &json!({}), &arrays, 2, 0);
        assert_eq!(answer.rows, [1, 0], "{route}");
        assert!(answer.scores[0] > answer.scores[1] && answer.scores[1] > 0.0, "{route}: {:?}", answer.scores);
    }
}

#[test]
fn difference_and_ratio_disagree() {
    let tiny = 1e-9;
    let a = [0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1];
    let b = [0.6, 0.4 - 7.0 * tiny, tiny, tiny, tiny, tiny, tiny, tiny, tiny];
    let arrays = arrays(2, 0, 9, [("logits", logits(&[a, b]))]);
    for (id, first) in [("margin", 0), ("bvsb", 1)] {
        for (maker, route) in both(id) {
            assert_eq!(ask(&*maker, &json!({}), &arrays, 1, 0).rows, [first], "{id} ({route})");
        }
    }
}

#[test]
fn two_classes_have_one_order() {
    let noise = Stream::new(5, 0);
    let rows: Vec<[f32; 2]> = (0..200).map(|row| [0, 1].map(|c| noise.item_uniform(row, c) as f32 * 8.0)).collect();
    let arrays = arrays(rows.len(), 0, 2, [("logits", matrix(&rows))]);
    let orders = ["least-confidence", "margin", "bvsb", "entropy"]
        .into_iter()
        .flat_map(both)
        .map(|(maker, _)| ask(&*maker, &json!({}), &arrays, 200, 0).rows);
    let orders: Vec<_> = orders.collect();
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn k_center_greedy_covers_a_line() {
    let pool = matrix(&[[1.0], [2.0], [10.0]]);
    let arrays = arrays(3, 1, 2, [("embeddings", pool), ("labelled.embeddings", matrix(&[[0.0]]))]);
    for (maker, route) in both("k-center-greedy") {
        let answer = ask(&*maker, &json!({}), &arrays, 2, 0);
        assert_eq!((answer.rows, answer.scores), (vec![2, 1], vec![10.0, 2.0]), "{route}");
    }
}

/// Distance of the worst-served point to its nearest centre.
fn covering_radius(points: &[[f32; 2]], centres: &[u32]) -> f64 {
    let distance = |a: [f32; 2], b: [f32; 2]| f64::from(a[0] - b[0]).hypot(f64::from(a[1] - b[1]));
    let nearest = |&point| centres.iter().map(|&c| distance(point, points[c as usize])).fold(f64::INFINITY, f64::min);
    points.iter().map(nearest).fold(0.0, f64::max)
}

#[test]
fn k_center_greedy_is_within_twice_the_optimum() {
    const POINTS: u32 = 9;
    for seed in 0..40 {
        let noise = Stream::new(seed, 0);
        let points: Vec<[f32; 2]> =
            (0..u64::from(POINTS)).map(|row| [0, 1].map(|axis| noise.item_uniform(row, axis) as f32)).collect();
        let none = Array::f32(vec![0, 2], Vec::new()).unwrap();
        let arrays = arrays(points.len(), 0, 2, [("embeddings", matrix(&points)), ("labelled.embeddings", none)]);
        for batch in [2, 3] {
            let subsets = (0u32..1 << POINTS).filter(|subset| subset.count_ones() == batch);
            let members = |subset: u32| (0..POINTS).filter(|row| subset >> row & 1 == 1).collect::<Vec<_>>();
            let optimum =
                subsets.map(|subset| covering_radius(&points, &members(subset))).fold(f64::INFINITY, f64::min);
            for (maker, route) in both("k-center-greedy") {
                let picks = ask(&*maker, &json!({}), &arrays, batch as usize, seed).rows;
                let radius = covering_radius(&points, &picks);
                assert!(radius <= 2.0 * optimum * (1.0 + 1e-9), "{route}, seed {seed}: {radius} > 2 x {optimum}");
            }
        }
    }
}

/// Three samples of class 0 whose squared gradient distances are .58 (rows 0, 1), .34 (0, 2) and .40 (1, 2).
fn three_gradients() -> Arrays {
    let p = [[0.5, 0.5], [0.9, 0.1], [0.6, 0.4]];
    let embeddings = matrix(&[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]);
    arrays(3, 0, 2, [("logits", logits(&p)), ("penultimate", embeddings)])
}

#[test]
fn badge_begins_with_the_largest_gradient() {
    for (maker, route) in both("badge") {
        assert_eq!(ask(&*maker, &json!({}), &three_gradients(), 1, 0).rows, [2], "{route}");
    }
}

#[test]
fn badge_draws_by_squared_distance() {
    const DRAWS: u32 = 20_000;
    let (maker, _) = both("badge").into_iter().find(|(_, route)| *route == "native").unwrap();
    let arrays = three_gradients();
    let mut pairs = BTreeMap::new();
    for seed in 0..DRAWS {
        let rows = ask(&*maker, &json!({"first": "uniform"}), &arrays, 2, u64::from(seed)).rows;
        *pairs.entry((rows[0], rows[1])).or_insert(0u32) += 1;
    }
    let distance = [[0.0, 0.58, 0.34], [0.58, 0.0, 0.40], [0.34, 0.40, 0.0f64]];
    let mut chi_square = 0.0;
    for (first, row) in distance.iter().enumerate() {
        for (second, mass) in row.iter().enumerate().filter(|&(second, _)| second != first) {
            let expected = f64::from(DRAWS) / 3.0 * mass / row.iter().sum::<f64>();
            let found = f64::from(*pairs.get(&(first as u32, second as u32)).unwrap_or(&0));
            chi_square += (found - expected).powi(2) / expected;
        }
    }
    assert!(pairs.keys().all(|(first, second)| first != second), "{pairs:?}");
    // Five degrees of freedom: 25.7 is the 1e-4 quantile.
    assert!(chi_square < 25.7, "{chi_square}: {pairs:?}");
}
