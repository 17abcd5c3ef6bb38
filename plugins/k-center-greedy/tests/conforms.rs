//! The rules that every strategy keeps, on the native build.

use querist_testkit::{NativeMaker, conforms};
use strategy_k_center_greedy::PACKAGE;

#[test]
fn every_strategy_conforms() {
    for strategy in PACKAGE.describe().strategies {
        conforms(&NativeMaker::new(&PACKAGE, &strategy.id));
    }
}
