//! Arrays that no model gives: what a user has of each sample, and rows that a user points at.

use querist_sdk::prelude::*;
use querist_testkit::question::{Question, arrays, matrix};
use querist_testkit::{NativeMaker, conforms};

/// Asks for sharp samples like those that the user points at.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Like {}

impl Strategy for Like {
    const ID: &'static str = "like";
    const SUMMARY: &'static str = "Sharp samples whose embeddings are near those that a user points at";
    const PAPER: &'static str = "Example; no paper";

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::EMBEDDINGS), Need::new("extra.blur"), Need::new("query.like")]
    }
}

impl Scorer for Like {
    fn score(&self, tile: &Query) -> Result<Scores> {
        let (points, like) = (tile.matrix(names::EMBEDDINGS)?, tile.matrix("query.like")?);
        let apart = points.distance_reduce(&like, Metric::Euclidean, Reduction::Min)?.to_vec()?;
        let blur = tile.matrix("extra.blur")?;
        let blur =
            blur.read(0, blur.shape()?.0)?.chunks(blur.shape()?.1 as usize).map(|row| row[0]).collect::<Vec<_>>();
        let scores: Vec<f64> = apart.iter().zip(&blur).map(|(apart, &blur)| -apart - f64::from(blur)).collect();
        Ok(tile.vector(&scores)?.into())
    }
}

package!(scorers: [Like], selectors: []);

#[test]
fn what_users_bring_is_seen() {
    let line = matrix(1, &[vec![0.0], vec![1.0], vec![2.0], vec![3.0]]);
    let ask = |blur: [f32; 4], like: &[f32]| {
        let blur = matrix(1, &blur.map(|blur| vec![blur]));
        let like = matrix(1, &like.iter().map(|&at| vec![at]).collect::<Vec<_>>());
        let named = [("embeddings", line.clone()), ("extra.blur", blur), ("query.like", like)];
        Question::new(&PACKAGE, "like", 2).ask(&arrays(4, 0, 2, named)).rows
    };
    assert_eq!(ask([0.0; 4], &[0.0, 2.9]), [0, 3]);
    assert_eq!(ask([0.0; 4], &[1.9]), [2, 1]);
    assert_eq!(ask([0.0, 5.0, 0.0, 0.0], &[1.9]), [2, 3], "the blurred one comes later");
}

#[test]
fn a_strategy_with_them_keeps_every_rule() {
    conforms(&NativeMaker::new(&PACKAGE, "like"));
}

#[test]
fn without_them_there_is_no_answer() {
    let line = matrix(1, &[vec![0.0], vec![1.0]]);
    let without = arrays(2, 0, 2, [("embeddings", line.clone()), ("extra.blur", line)]);
    let error = Question::new(&PACKAGE, "like", 1).try_ask(&without).unwrap_err();
    assert!(error.contains("`query.like`"), "{error}");
}
