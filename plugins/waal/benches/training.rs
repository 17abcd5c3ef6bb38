//! Minibatches a processor second of training with WAAL on one CPU thread, to compare with `peer.py`.
//!
//! Run with `cargo bench -p strategy-waal --profile dev --bench training`, in turns with the other side. A fit is timed
//! whole; the best of the repeats is the figure.

use querist_torch_testkit::{InProcess, print_fits};
use serde_json::json;
use strategy_waal::PACKAGE;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    print_fits("waal", filter.as_deref(), true, |_| {
        Ok(InProcess::new(&PACKAGE, "waal", &json!({ "epoch_length": "labelled" }))?)
    })
}
