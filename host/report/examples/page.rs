//! Writes a page of made-up runs, to look at: `cargo run -p querist-report --example page -- page.html`.

use querist_core::metric::{Confusion, Metrics};
use querist_core::{Round, RoundRecord, SampleId, StrategyIdentity, StrategyKind};
use querist_protocol::Shown;
use querist_report::{PageOptions, Picture, Report, RunState, RunSummary, Thumbnail, html, table};

const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: page FILE.html")?;
    let strategies = [
        ("random", 0.0),
        ("entropy", 0.012),
        ("margin", 0.021),
        ("k-center-greedy", 0.014),
        ("badge", 0.034),
        ("bald-T10", 0.018),
        ("typiclust", 0.026),
        ("probcover", 0.022),
    ];
    let mut runs = Vec::new();
    for (at, (label, lift)) in strategies.into_iter().enumerate() {
        runs.extend((0..5).map(|seed| run(label, lift, at as u64, seed)));
    }
    runs[17].state = RunState::Incomplete { done: 12, planned: 20 };
    let report = Report::new(runs, &[])?;
    let options = PageOptions { title: "CIFAR-10, low budget".to_owned(), ..PageOptions::default() };
    std::fs::write(path, html(&report, &options)?)?;
    print!("{}", table(&report));
    Ok(())
}

/// A saturating curve with a little noise that depends on the seed.
fn run(label: &str, lift: f64, strategy: u64, seed: u64) -> RunSummary {
    let noise = |n: u64| ((n.wrapping_mul(2_654_435_761) >> 8) % 1000) as f64 / 1000.0 - 0.5;
    let rounds = (0..12).map(|round| {
        let labelled = 100 + 100 * round as usize;
        let rise = 1.0 - (-(labelled as f64) / 450.0).exp();
        let gain = if round == 0 { 0.0 } else { lift };
        let accuracy =
            0.25 + 0.55 * rise + gain + 0.012 * noise(seed * 31 + round) + 0.006 * noise(strategy * 7 + seed);
        let metrics = Metrics {
            accuracy,
            loss: 1.0,
            ece: 0.05,
            per_class: (0..10).map(|class| Some(accuracy - 0.01 * class as f64)).collect(),
        };
        let mut record =
            RoundRecord::new(Round(round as u32), labelled, 50_000 - labelled, metrics, "cpu, 2 threads".into());
        record.seconds.fit = 30.0 + round as f64;
        record.seconds.features = 2.0;
        record.seconds.query = 0.02 * (strategy + 1) as f64;
        record.peak_memory.query = Some(3_000_000 * (strategy + 1));
        record.acquired = if round < 11 { (0..100).map(SampleId).collect() } else { Vec::new() };
        record
    });
    let thumbnails =
        (0..11).map(|round| (0..30).map(|rank| thumbnail(seed * 1000 + round * 30 + rank, rank as usize)).collect());
    RunSummary {
        label: Shown::name(label),
        strategy: StrategyIdentity {
            id: label.to_owned(),
            package: label.to_owned(),
            version: "0.1.0".to_owned(),
            kind: StrategyKind::Wasm,
            digest: format!("{strategy:02x}").repeat(32),
        },
        layout: 2,
        seed,
        dataset: Shown::name("cifar10"),
        dataset_digest: Shown::name(&"c4".repeat(32)),
        model: Shown::name("resnet18"),
        point: std::collections::BTreeMap::new(),
        config: serde_json::json!({ "version": 1, "budget": { "initial": 100, "batch": 100, "rounds": 11 } }),
        rounds: rounds.collect(),
        start: Shown::name(&"ee".repeat(32)),
        classes: CLASSES.map(Shown::name).to_vec(),
        epochs: Vec::new(),
        confusion: Some(confusion(strategy, seed)),
        thumbnails: if seed == 0 { thumbnails.collect() } else { Vec::new() },
        state: RunState::Finished,
    }
}

/// Every class is taken for its neighbours now and then.
fn confusion(strategy: u64, seed: u64) -> Confusion {
    let count = |class: usize, other: usize| match class.abs_diff(other) {
        0 => 800,
        1 => 60 + (strategy + seed) as usize * class,
        _ => 0,
    };
    let all = (0..10).flat_map(|class| (0..10).map(move |other| ((class, other), count(class, other))));
    Confusion(all.filter(|(_, count)| *count > 0).collect())
}

fn thumbnail(n: u64, rank: usize) -> Thumbnail {
    let pixel = move |at: usize| {
        let (x, y, c) = ((at / 3 % 32) as u64, (at / 96) as u64, (at % 3) as u64);
        (((x / 4) * (n % 7 + 1) + (y / 4) * (n % 5 + 2) + c * 40 * (n % 3)) * 9 % 256) as u8
    };
    let pixels = (0..32 * 32 * 3).map(pixel).collect();
    let picture = Picture::Raw { height: 32, width: 32, channels: 3, pixels };
    Thumbnail { rank, class: Shown::name(CLASSES[(n % 10) as usize]), picture }
}
