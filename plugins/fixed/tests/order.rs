//! The list decides, and its end is an error unless chance may go on.

use querist_testkit::cases::{Pool, arrays};
use querist_testkit::{NativeMaker, ask, conforms};
use serde_json::json;
use strategy_fixed::PACKAGE;

#[test]
fn fixed_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "fixed"));
}

#[test]
fn the_list_is_followed_over_labelled_ids_and_refused_with_unknown_ones() {
    // The pool's ids are 7, 10, 13, ...; 8 and 11 are labelled, 9 and 12 exist nowhere.
    let pool = Pool { rows: 10, labelled: 2, ..Pool::default() }.arrays(&[]);
    let params = json!({"order": [8, 34, 11, 7, 13]});
    assert_eq!(ask(&PACKAGE, "fixed", &params, (&pool, 2, 0)).unwrap().rows, [9, 0]);
    let all = ask(&PACKAGE, "fixed", &params, (&pool, 3, 0)).unwrap();
    assert_eq!((all.rows.as_slice(), all.diagnostics[0].1), ([9, 0, 2].as_slice(), 0.0));
    // Chance takes no stranger's place.
    for fallback in ["error", "random"] {
        let params = json!({"order": [8, 34, 9, 11, 7, 12], "fallback": fallback});
        let error = ask(&PACKAGE, "fixed", &params, (&pool, 2, 0)).unwrap_err();
        assert!(error.contains("2 samples that are neither") && error.contains("such as 9"), "{error}");
    }
}

#[test]
fn the_end_of_the_list_is_an_error_or_chance() {
    let pool = arrays(6, 0, 2, []);
    let error = ask(&PACKAGE, "fixed", &json!({"order": [5, 1]}), (&pool, 3, 0)).unwrap_err();
    assert!(error.contains("names 2 samples") && error.contains("3 are wanted"), "{error}");
    let params = json!({"order": [5, 1], "fallback": "random"});
    let mut seen = [false; 6];
    for seed in 0..40 {
        let answer = ask(&PACKAGE, "fixed", &params, (&pool, 3, seed)).unwrap();
        assert_eq!((&answer.rows[..2], answer.diagnostics[0].1), ([5, 1].as_slice(), 1.0));
        seen[answer.rows[2] as usize] = true;
    }
    assert_eq!(seen, [true, false, true, true, true, false], "every other sample is drawn sooner or later");
}

#[test]
fn a_list_is_required_and_names_each_sample_once() {
    let pool = arrays(2, 0, 2, []);
    let refused = |params| ask(&PACKAGE, "fixed", &params, (&pool, 1, 0)).unwrap_err();
    assert!(refused(json!({})).contains("order"));
    let error = refused(json!({"order": [3, 1, 3]}));
    assert!(error.contains("sample 3 twice, at positions 0 and 2"), "{error}");
}
