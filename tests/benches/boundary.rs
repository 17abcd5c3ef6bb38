//! What the sandbox costs: each strategy as a component and as its native twin, in turns, and the largest scorers
//! against kernels called directly. Prints medians, ratios and peak memory.
//!
//! `cargo bench -p querist-tests --profile dev -- [runs] [threads] [strategy]`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use querist_core::{Answer, Array, Arrays, Granted, Question, Round, Seeds, Strategy};
use querist_kernels::{Compute, Control, Limits, Session, Setup, Shared};
use querist_protocol::philox::Stream;
use querist_protocol::{HostCalls, Need, TILE_BYTES, Uncertainty};
use querist_tests::both;
use serde_json::{Value, json};

const CLASSES: usize = 10;
const WIDTH: usize = 512;
const ROWS: usize = 50_000;
const LABELLED: usize = 1_000;
const BATCH: usize = 1_000;
const MANY_ROWS: usize = 1_000_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let number = |at: usize, default| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let (runs, threads) = (number(0, 5), number(1, 2));
    let chosen = |id: &str| args.get(2).is_none_or(|only| only == id);
    println!("{ROWS} rows, width {WIDTH}, {CLASSES} classes, {LABELLED} labelled, batch {BATCH}, {threads} threads");
    let arrays = pool();
    for (id, params) in [
        ("random", json!({})),
        ("least-confidence", json!({})),
        ("margin", json!({})),
        ("bvsb", json!({})),
        ("entropy", json!({})),
        ("k-center-greedy", json!({})),
        ("kmeans", json!({"n_init": 1, "max_iter": 5})),
        ("badge", json!({})),
    ] {
        if chosen(id) {
            twins(id, &params, &arrays, runs, threads);
        }
    }
    println!("{MANY_ROWS} rows of {CLASSES} logits, against the kernel over the whole array and one ranking");
    for (id, measure) in [("margin", Uncertainty::Margin), ("entropy", Uncertainty::Entropy)] {
        if chosen(id) {
            whole_array(id, measure, runs, threads);
        }
    }
}

/// Made-up trained-like features: positive, sparse, grouped by class, with confident logits for most rows.
fn pool() -> Arrays {
    let mut noise = Noise(Stream::new(1, 0));
    let centres: Vec<f64> = (0..CLASSES * WIDTH).map(|_| noise.normal().max(0.0)).collect();
    let mut embeddings = |rows: usize| {
        let values: Vec<f32> = (0..rows)
            .flat_map(|row| (0..WIDTH).map(move |column| row % CLASSES * WIDTH + column))
            .map(|at| (centres[at] + 0.35 * noise.normal()).max(0.0) as f32)
            .collect();
        Array::f32(vec![rows, WIDTH], values).expect("sizes fit")
    };
    let of_pool = embeddings(ROWS);
    let named = BTreeMap::from([
        ("penultimate".to_owned(), of_pool.clone()),
        ("embeddings".to_owned(), of_pool),
        ("labelled.embeddings".to_owned(), embeddings(LABELLED)),
        ("logits".to_owned(), logits(ROWS)),
    ]);
    Arrays::new(ids(0, ROWS), ids(ROWS, LABELLED), CLASSES, named).expect("arrays fit")
}

fn logits(rows: usize) -> Array {
    let mut noise = Noise(Stream::new(2, 0));
    let values: Vec<f32> = (0..rows * CLASSES)
        .map(|at| {
            let lead = if at % CLASSES == at / CLASSES % CLASSES { 6.0 } else { 0.0 };
            (lead + 2.0 * noise.normal()) as f32
        })
        .collect();
    Array::f32(vec![rows, CLASSES], values).expect("sizes fit")
}

fn ids(first: usize, count: usize) -> Vec<u64> {
    (first as u64..(first + count) as u64).collect()
}

/// Numbers that are nearly normal.
struct Noise(Stream);

impl Noise {
    fn normal(&mut self) -> f64 {
        (0..4).map(|_| self.0.next_uniform() - 0.5).sum::<f64>() * 1.73
    }
}

/// What some work took.
#[derive(Clone, Copy)]
struct Taken {
    /// Seconds on the clock.
    wall: f64,
    /// Seconds of processor time of all threads: steadier where other programs run.
    cpu: f64,
}

fn timed<R>(work: impl FnOnce() -> R) -> (Taken, R) {
    let (clock, before) = (Instant::now(), cpu_seconds());
    let result = work();
    (Taken { wall: clock.elapsed().as_secs_f64(), cpu: cpu_seconds() - before }, result)
}

fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "the processor clock can be read");
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn ask(strategy: &mut dyn Strategy, arrays: &Arrays) -> (Taken, Answer) {
    timed(|| strategy.answer(&Question::new(arrays, BATCH)).expect("an answer"))
}

fn median(taken: &[Taken]) -> Taken {
    let middle = |part: fn(&Taken) -> f64| {
        let mut seconds: Vec<f64> = taken.iter().map(part).collect();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    Taken { wall: middle(|taken| taken.wall), cpu: middle(|taken| taken.cpu) }
}

/// Runs two ways to the same picks in turns and prints their medians.
fn in_turns(
    (id, other): (&str, &str),
    runs: usize,
    mut component: impl FnMut() -> (Taken, Vec<u32>),
    mut native: impl FnMut() -> (Taken, Vec<u32>),
) {
    // The first turn warms caches up. Short queries vary more, and long ones cost more.
    let (first, _) = (native(), component());
    let runs = match first.0.wall {
        seconds if seconds > 2.0 => runs.min(3),
        seconds if seconds < 0.1 => 20 * runs,
        _ => runs,
    };
    let (mut sandboxed, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let ((a, left), (b, right)) = (component(), native());
        assert!(left == right, "{id}: the two sides disagree");
        sandboxed.push(a);
        plain.push(b);
    }
    let (a, b) = (median(&sandboxed), median(&plain));
    println!(
        "  {id:<17} component {:8.4} s ({:8.4} CPU)   {other} {:8.4} s ({:8.4} CPU)   ratio {:5.3} ({:5.3})",
        a.wall,
        a.cpu,
        b.wall,
        b.cpu,
        a.wall / b.wall,
        a.cpu / b.cpu,
    );
}

fn twins(id: &str, params: &Value, arrays: &Arrays, runs: usize, threads: usize) {
    let [mut component, mut native] =
        both(id).map(|(maker, _)| maker.make(params, threads, TILE_BYTES).expect("packed plugins load"));
    let mut peak = 0;
    in_turns(
        (id, "native"),
        runs,
        || {
            let (taken, answer) = ask(&mut *component, arrays);
            peak = answer.usage.peak_memory;
            (taken, answer.selection.rows)
        },
        || {
            let (taken, answer) = ask(&mut *native, arrays);
            (taken, answer.selection.rows)
        },
    );
    println!("  {:<17} peak memory beyond inputs {:.1} MiB", "", peak as f64 / f64::from(1 << 20));
}

/// The component against one kernel call over the whole array.
fn whole_array(id: &str, measure: Uncertainty, runs: usize, threads: usize) {
    let named = BTreeMap::from([("logits".to_owned(), logits(MANY_ROWS))]);
    let arrays = Arrays::new(ids(0, MANY_ROWS), Vec::new(), CLASSES, named).expect("arrays fit");
    let [(component, _), _] = both(id);
    let mut component = component.make(&json!({}), threads, TILE_BYTES).expect("packed plugins load");
    in_turns(
        (id, "kernel"),
        runs,
        || {
            let (taken, answer) = ask(&mut *component, &arrays);
            (taken, answer.selection.rows)
        },
        || timed(|| best_rows(measure, &arrays, threads)),
    );
}

fn best_rows(measure: Uncertainty, arrays: &Arrays, threads: usize) -> Vec<u32> {
    let setup = Setup {
        arrays: Granted::new(arrays, &[Need::new("logits")], &[]).expect("nothing is secret"),
        batch: BATCH,
        round: Round(0),
        streams: Seeds::new(0).strategy("kernel"),
        compute: Compute::threads(threads),
    };
    let control = Arc::new(Control::new(Limits::default(), None));
    let session = Session::new(Arc::new(Shared::new(setup, control).expect("threads start")));
    let input = session.input("logits").expect("declared");
    let (first, second) = session.uncertainty(input, measure).expect("logits");
    session.vector_top(first, Some(second), BATCH as u32, None).expect("scores")
}
