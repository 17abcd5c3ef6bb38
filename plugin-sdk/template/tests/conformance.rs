//! The rules that every strategy keeps, on the native build of this one.

use querist_testkit::{NativeMaker, conforms};
use strategy_margin_apart::PACKAGE;

#[test]
fn margin_apart_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "margin-apart"));
}
