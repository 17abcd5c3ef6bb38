//! Made-up runs that several tests report.

use std::collections::BTreeMap;

use querist_core::fitted::EpochRecord;
use querist_core::metric::Metrics;
use querist_core::{Round, RoundRecord, SampleId, StrategyIdentity, StrategyKind};
use querist_protocol::Shown;
use querist_report::{Report, RunState, RunSummary};
use serde_json::json;

pub fn record(round: usize, labelled: usize, accuracy: f64) -> RoundRecord {
    let metrics = Metrics { accuracy, loss: 0.5, ece: 0.02, per_class: vec![Some(accuracy); 2] };
    let mut record = RoundRecord::new(
        Round(round as u32),
        labelled,
        50_000_usize.saturating_sub(labelled),
        metrics,
        "cpu, 2 threads".to_owned(),
    );
    record.seconds.fit = 10.0;
    record.seconds.query = 0.25;
    record.acquired = (0..3).map(SampleId).collect();
    record
}

fn epoch_of(epoch: usize, loss: f64) -> EpochRecord {
    EpochRecord { epoch, loss, accuracy: 1.0 - loss / 4.0, extra_loss: None, validation: None, lr: 0.1, seconds: 1.0 }
}

pub fn run(label: &str, seed: u64, curve: &[(usize, f64)]) -> RunSummary {
    RunSummary {
        label: Shown::name(label),
        layout: 2,
        strategy: StrategyIdentity {
            id: label.to_owned(),
            package: label.to_owned(),
            version: "0.1.0".to_owned(),
            kind: StrategyKind::Wasm,
            digest: "ab".repeat(32),
        },
        seed,
        dataset: Shown::name("digits"),
        dataset_digest: Shown::name(&"cd".repeat(32)),
        model: Shown::name("cnn"),
        point: BTreeMap::new(),
        config: json!({ "budget": { "initial": 100 }, "seeds": { "root": seed } }),
        rounds: curve.iter().enumerate().map(|(round, &(labelled, a))| record(round, labelled, a)).collect(),
        start: Shown::name(&"ee".repeat(32)),
        classes: ["odd", "even"].map(Shown::name).to_vec(),
        epochs: [2.0, 1.0].into_iter().enumerate().map(|(epoch, loss)| epoch_of(epoch, loss)).collect(),
        confusion: None,
        thumbnails: Vec::new(),
        state: RunState::Finished,
    }
}

pub fn report_of(runs: Vec<RunSummary>) -> Report {
    Report::new(runs, &[]).unwrap()
}

/// Two strategies with three seeds each; `margin` is above by .02, .03 and .04 at every count.
#[allow(dead_code, reason = "one of the tests has no study")]
pub fn study() -> Vec<RunSummary> {
    let random =
        |seed: u64, shift: f64| run("random", seed, &[(100, 0.5 + shift), (200, 0.7 + shift), (500, 0.8 + shift)]);
    let margin =
        |seed: u64, shift: f64| run("margin", seed, &[(100, 0.5 + shift), (200, 0.7 + shift), (500, 0.8 + shift)]);
    vec![
        margin(2, 0.04 + 0.02),
        random(0, 0.0),
        margin(0, 0.02),
        random(1, 0.01),
        margin(1, 0.03 + 0.01),
        random(2, 0.02),
    ]
}
