//! Questions that leave a strategy nothing to choose, and picks in the making.

use querist_core::{Question as Asked, Strategy as _};
use querist_sdk::prelude::*;
use querist_testkit::question::{Question, arrays, figure, matrix};
use querist_testkit::{Native, NativeMaker, conforms};
use serde_json::json;

params! {
    /// Parameters of the sample with the largest value, where there is something to choose.
    pub struct Choosy {
        /// How many are picked by value; the others are random.
        #[schemars(range(min = 1, max = 5))]
        pub by_value: u32 = 2,
    }
}

impl Strategy for Choosy {
    const ID: &'static str = "choosy";
    const SUMMARY: &'static str = "Samples of large first coordinates, and never all";
    const PAPER: &'static str = "Example; no paper";
    const RANKS_ALL: bool = false;

    fn needs(&self) -> Vec<Need> {
        Need::all([names::EMBEDDINGS])
    }
}

impl Selector for Choosy {
    fn select(&self, query: &Query) -> Result<Selection> {
        assert!(query.wanted() > 0 && query.wanted() < query.rows(), "there is nothing to choose");
        let mut first = Vec::new();
        query.matrix(names::EMBEDDINGS)?.for_each_row(|_, row| {
            first.push(f64::from(row[0]));
            Ok(())
        })?;
        let mut picks = query.picks()?;
        for row in query.vector(&first)?.top(None, self.by_value.min(query.wanted()), None)? {
            picks.take(row, first[row as usize])?;
        }
        picks.note("picked", picks.len());
        picks.fill_at_random()
    }
}

/// Parameters of all rows, the last first: none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Backwards {}

impl Strategy for Backwards {
    const ID: &'static str = "backwards";
    const SUMMARY: &'static str = "The last rows first";
    const PAPER: &'static str = "Example; no paper";

    fn needs(&self) -> Vec<Need> {
        vec![]
    }
}

impl Selector for Backwards {
    fn select(&self, query: &Query) -> Result<Selection> {
        assert!(query.wanted() > 0, "nothing is wanted");
        let mut picks = query.picks()?;
        picks.take_all((0..query.rows()).rev().take(query.wanted() as usize))?;
        picks.keep(Some(vec![1, 2]));
        Ok(picks.done())
    }
}

package!(selectors: [Choosy, Backwards]);

#[test]
fn strategies_are_queried_only_where_there_is_something_to_choose() {
    let values = matrix(1, &[vec![0.5], vec![0.9], vec![0.1], vec![0.7]]);
    let some = arrays(4, 0, 2, [("embeddings", values.clone())]);
    let none = arrays(0, 0, 2, [("embeddings", matrix(1, &[]))]);
    let all: Vec<u32> = (0..4).collect();
    for batch in [4, 9] {
        let answer = Question::new(&PACKAGE, "choosy", batch).ask(&some);
        assert_eq!((answer.rows, answer.scores, answer.diagnostics), (all.clone(), vec![], vec![]));
        assert_eq!(Question::new(&PACKAGE, "backwards", batch).ask(&some).rows, [3, 2, 1, 0], "its order counts");
    }
    for id in ["choosy", "backwards"] {
        assert_eq!(Question::new(&PACKAGE, id, 0).ask(&some), Selection::default());
        assert_eq!(Question::new(&PACKAGE, id, 3).ask(&none), Selection::default());
    }
}

#[test]
fn a_state_outlives_a_round_without_picks() {
    let some = arrays(4, 0, 2, []);
    let mut strategy = Native::new(&PACKAGE, "backwards", &json!({}), 1).unwrap();
    let answer = strategy.answer(&Asked::new(&some, 0).with_state(Some(b"kept"))).unwrap();
    assert_eq!(answer.selection, Selection { state: Some(b"kept".to_vec()), ..Selection::default() });
}

#[test]
fn picks_are_filled_and_counted() {
    let values = matrix(1, &(0..9).map(|row| vec![row as f32]).collect::<Vec<_>>());
    let arrays = arrays(9, 0, 2, [("embeddings", values)]);
    let answer = Question::new(&PACKAGE, "choosy", 5).ask(&arrays);
    assert_eq!((&answer.rows[..2], &answer.scores), (&[8, 7][..], &vec![8.0, 7.0, 0.0, 0.0, 0.0]));
    assert_eq!((figure(&answer, "picked"), figure(&answer, "fallback_count")), (2.0, 3.0));
    let full = Question::new(&PACKAGE, "choosy", 1).ask(&arrays);
    assert_eq!(
        (full.rows, figure(&Question::new(&PACKAGE, "choosy", 1).ask(&arrays), "fallback_count")),
        (vec![8], 0.0)
    );
}

#[test]
fn they_keep_every_rule() {
    for id in ["choosy", "backwards"] {
        conforms(&NativeMaker::new(&PACKAGE, id));
    }
}
