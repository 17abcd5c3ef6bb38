//! TypiClust against its definition.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_typiclust::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "typiclust"));
}

/// A point on the unit circle, so that normalising changes nothing.
fn at(angle: f64) -> Vec<f32> {
    vec![angle.cos() as f32, angle.sin() as f32]
}

fn ask(pool: &[Vec<f32>], labelled: &[Vec<f32>], batch: usize, params: Value) -> Selection {
    let named = [("fixed_embeddings", matrix(2, pool)), ("labelled.fixed_embeddings", matrix(2, labelled))];
    let arrays = arrays(pool.len(), labelled.len(), 2, named);
    Question::new(&PACKAGE, "typiclust", batch).with(params).ask(&arrays)
}

#[test]
fn the_densest_place_of_a_cluster_is_asked() {
    // On a line 0, .1, .2, 1 the mean distances to the two nearest are .15, .1, .15, .85.
    let pool = [0.0, 0.1, 0.2, 1.0].map(at).to_vec();
    let one = json!({"max_clusters": 1, "k_nn": 2, "min_cluster_size": 0});
    assert_eq!(ask(&pool, &[], 1, one).rows, [1]);
}

#[test]
fn squares_and_halved_clusters_are_the_authors() {
    // Mean distance to the three others: 0, 1 and 4 of angles 0, .5, .6, 1.4 give the third place; nearest only, a tie
    // between the middle two, of which the lower row wins.
    let pool = [0.0, 0.5, 0.6, 1.4].map(at).to_vec();
    let params = |extra: Value| {
        let mut all = json!({"max_clusters": 1, "min_cluster_size": 0});
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        all
    };
    let chord = |a: f64, b: f64| 2.0 * ((a - b).abs() / 2.0).sin();
    let angles = [0.0, 0.5, 0.6, 1.4];
    for (extra, neighbours, power) in [
        (json!({}), 3, 1),
        (json!({"distance": "sq"}), 3, 2),
        (json!({"neighbours": "half"}), 2, 1),
        (json!({"preset": "authors-code"}), 2, 2),
        (json!({"k_nn": 1}), 1, 1),
    ] {
        let spread = |i: usize| -> f64 {
            let others = (0..4).filter(|&j| j != i);
            let mut distances: Vec<f64> = others.map(|j| chord(angles[i], angles[j]).powi(power)).collect();
            distances.sort_by(f64::total_cmp);
            distances[..neighbours].iter().sum::<f64>()
        };
        let mut order: Vec<u32> = (0..4).collect();
        order.sort_by(|&a, &b| spread(a as usize).total_cmp(&spread(b as usize)));
        let picked = ask(&pool, &[], 1, params(extra.clone())).rows[0];
        let gap = spread(order[1] as usize) - spread(order[0] as usize);
        assert!(picked == order[0] || gap < 1e-6 && picked == order[0].min(order[1]), "{extra}: {picked}, {order:?}");
    }
}

/// Groups of a circle that k-means cannot miss: (angle, unlabelled, labelled) each.
fn groups(groups: &[(f64, usize, usize)]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let points = |of: fn(&(f64, usize, usize)) -> usize| -> Vec<Vec<f32>> {
        groups.iter().flat_map(|group| (0..of(group)).map(|i| at(group.0 + 1e-3 * i as f64))).collect()
    };
    (points(|group| group.1), points(|group| group.2))
}

#[test]
fn uncovered_clusters_come_first_and_small_ones_last() {
    // Group sizes 7, 9, 8 (one of them labelled) and 3, the last too small to count.
    let (pool, labelled) = groups(&[(0.0, 7, 0), (1.5, 9, 0), (3.0, 7, 1), (4.5, 3, 0)]);
    let group_of = |row: u32| [7, 16, 23, 26].iter().position(|&end| row < end).unwrap();
    let params = json!({"max_clusters": 4, "n_init": 30});
    let groups_of = |batch: usize| -> Vec<usize> {
        ask(&pool, &labelled, batch, params.clone()).rows.into_iter().map(group_of).collect()
    };
    assert_eq!(groups_of(3), [1, 0, 2], "fewest labels, then size");
    assert_eq!(groups_of(7), [1, 0, 2, 1, 0, 2, 1], "round and round");
    let all_but_one = ask(&pool, &labelled, 25, params.clone());
    assert_eq!(figure(&all_but_one, "fallback_count"), 2.0);
    assert!(all_but_one.rows[..23].iter().all(|&row| group_of(row) < 3), "{all_but_one:?}");
}

#[test]
fn no_cluster_is_asked_twice_while_another_waits() {
    let pool = noise(300, 2, 1.0, 4);
    let labelled = noise(5, 2, 1.0, 5);
    // As many clusters as labels: every pick is of another one, so no pick is the neighbour of an earlier one's
    // cluster.
    let answer = ask(&pool, &labelled, 10, json!({"min_cluster_size": 0}));
    assert_eq!(figure(&answer, "fallback_count"), 0.0);
    let angle = |row: u32| f64::from(pool[row as usize][1]).atan2(f64::from(pool[row as usize][0]));
    let mut angles: Vec<f64> = answer.rows.iter().map(|&row| angle(row)).collect();
    angles.sort_by(f64::total_cmp);
    // Fifteen clusters of 305 points on a circle: neighbouring picks are no closer than a fraction of an even spread.
    assert!(angles.windows(2).all(|pair| pair[1] - pair[0] > 0.1 * std::f64::consts::TAU / 15.0), "{angles:?}");
}

#[test]
fn parameters_of_zero_are_refused() {
    for name in ["max_clusters", "k_nn", "n_init"] {
        let question = Question::new(&PACKAGE, "typiclust", 1).with(json!({ name: 0 }));
        let arrays =
            arrays(0, 0, 2, [("fixed_embeddings", matrix(2, &[])), ("labelled.fixed_embeddings", matrix(2, &[]))]);
        assert!(question.try_ask(&arrays).unwrap_err().contains(name), "{name}");
    }
}
