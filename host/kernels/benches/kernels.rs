//! Times kernels against straightforward native loops, interleaved, and prints medians and ratios.
//!
//! `cargo bench -p querist-kernels --profile dev -- [rows] [width] [batch] [runs] [threads]`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use querist_core::{Array, Arrays, Granted, Round, Seeds};
use querist_kernels::{Compute, Control, Limits, Session, Setup, Shared};
use querist_protocol::philox::Stream;
use querist_protocol::{HostCalls, Init, KmeansOptions, Metric, Need, Reduction, StreamScope, Uncertainty};

const CLASSES: usize = 10;

struct Sizes {
    rows: usize,
    width: usize,
    batch: usize,
    runs: usize,
    threads: usize,
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let sizes = Sizes {
        rows: number(0, 50_000),
        width: number(1, 512),
        batch: number(2, 1000),
        runs: number(3, 3),
        threads: number(4, 2),
    };
    let Sizes { rows, width, batch, threads, .. } = sizes;
    println!("{rows} rows, width {width}, {CLASSES} classes, batch {batch}, {threads} threads");
    uncertainty(&sizes);
    for clustered in [false, true].into_iter().take(numbers.get(5).copied().unwrap_or(2)) {
        println!("{} features", if clustered { "trained-like" } else { "random" });
        let (embeddings, logits) = features(rows, width, clustered);
        k_center(&sizes, &embeddings);
        badge(&sizes, &embeddings, &logits);
        distances(&sizes, &embeddings);
        kmeans(&sizes, &embeddings);
    }
}

/// Seconds that `f` takes, and what it gives.
fn timed<R>(f: impl FnOnce() -> R) -> (f64, R) {
    let clock = Instant::now();
    let result = f();
    (clock.elapsed().as_secs_f64(), result)
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Runs both in turn and prints their medians.
fn compare<R: PartialEq>(name: &str, runs: usize, mut plain: impl FnMut() -> R, mut kernel: impl FnMut() -> R) {
    let (mut plains, mut kernels) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (seconds, expected) = timed(&mut plain);
        plains.push(seconds);
        let (seconds, found) = timed(&mut kernel);
        kernels.push(seconds);
        assert!(found == expected, "{name}: the kernel disagrees with the plain loop");
    }
    let (plain, kernel) = (median(plains), median(kernels));
    println!("  {name:<28} plain {plain:8.3} s   kernel {kernel:8.3} s   plain/kernel {:6.2}", plain / kernel);
}

fn report(name: &str, f: impl FnOnce()) {
    println!("  {name:<28} {:>33.3} s", timed(f).0);
}

/// Embeddings and logits. Trained-like: positive, sparse, grouped by class, most rows confident.
fn features(rows: usize, width: usize, clustered: bool) -> (Vec<f32>, Vec<f32>) {
    let mut stream = Stream::new(1, 0);
    let mut normal = move || (0..4).map(|_| stream.next_uniform() - 0.5).sum::<f64>() * 1.73;
    let centres: Vec<f64> = (0..CLASSES * width).map(|_| normal().max(0.0)).collect();
    let (mut embeddings, mut logits) = (Vec::with_capacity(rows * width), Vec::with_capacity(rows * CLASSES));
    for row in 0..rows {
        let (class, other) = (row % CLASSES, (row * 7 + 3) % CLASSES);
        // A few rows lie between two classes.
        let blend = if clustered { (normal() * 0.4).abs().powi(3).min(0.6) } else { 0.0 };
        let spread = 0.2 + 0.3 * normal().abs();
        for column in 0..width {
            let at = |class: usize| centres[class * width + column];
            let centre = (1.0 - blend) * at(class) + blend * at(other);
            let value = if clustered { (centre + spread * normal()).max(0.0) } else { normal() };
            embeddings.push(value as f32);
        }
        for c in 0..CLASSES {
            let lead = f64::from(u8::from(c == class)) * (1.0 - blend) + f64::from(u8::from(c == other)) * blend;
            let value = if clustered { 12.0 * lead + normal() } else { 2.0 * normal() };
            logits.push(value as f32);
        }
    }
    (embeddings, logits)
}

fn session(sizes: &Sizes, named: Vec<(&str, Vec<f32>)>) -> Session {
    let needs: Vec<Need> = named.iter().map(|(name, _)| Need::new(*name)).collect();
    let arrays = named.into_iter().map(|(name, values)| {
        let rows = if name == "logits" { values.len() / CLASSES } else { sizes.rows };
        (name.to_owned(), Array::f32(vec![rows, values.len() / rows], values).expect("shapes fit"))
    });
    let arrays: BTreeMap<String, Array> = arrays.collect();
    let rows = arrays.values().next().map_or(0, Array::rows) as u64;
    let arrays = Arrays::new((0..rows).collect::<Vec<u64>>(), Vec::new(), CLASSES, arrays).expect("arrays fit");
    let setup = Setup {
        arrays: Granted::new(&arrays, &needs, &[]).expect("nothing is secret"),
        batch: sizes.batch,
        round: Round(0),
        streams: Seeds::new(0).strategy("bench"),
        compute: Compute::threads(sizes.threads),
    };
    let control = Arc::new(Control::new(Limits::default(), None));
    Session::new(Arc::new(Shared::new(setup, control).expect("threads start")))
}

/// Margin of a million rows; the native loop is the textbook's, in f32.
fn uncertainty(sizes: &Sizes) {
    const ROWS: usize = 1_000_000;
    let (_, logits) = features(ROWS, 1, true);
    let one = Sizes { threads: 1, ..*sizes };
    for (measure, name) in [
        (Uncertainty::Margin, "margin 1M x 10, 1 thread"),
        (Uncertainty::Entropy, "entropy 1M x 10, 1 thread"),
        (Uncertainty::LeastConfidence, "least conf. 1M x 10, 1 thr."),
    ] {
        let s = session(&one, vec![("logits", logits.clone())]);
        let input = s.input("logits").expect("declared");
        let native = || {
            let mut scores = vec![0.0f32; ROWS];
            for (row, score) in logits.chunks_exact(CLASSES).zip(&mut scores) {
                let top = row.iter().copied().fold(f32::MIN, f32::max);
                let mut p = [0.0f32; CLASSES];
                p.iter_mut().zip(row).for_each(|(p, logit)| *p = (logit - top).exp());
                let total: f32 = p.iter().sum();
                p.iter_mut().for_each(|p| *p /= total);
                *score = match measure {
                    Uncertainty::Entropy => -p.iter().map(|p| if *p > 0.0 { p * p.ln() } else { 0.0 }).sum::<f32>(),
                    _ => {
                        let (mut first, mut second) = (0.0f32, 0.0f32);
                        for &p in &p {
                            if p > first {
                                (first, second) = (p, first);
                            } else if p > second {
                                second = p;
                            }
                        }
                        if measure == Uncertainty::Margin { second - first } else { 1.0 - first }
                    }
                };
            }
            std::hint::black_box(scores).len()
        };
        let kernel = || {
            let (first, second) = s.uncertainty(input, measure).expect("two classes");
            s.release(first);
            s.release(second);
            ROWS
        };
        compare(name, sizes.runs.max(5), native, kernel);
    }
}

/// Squared distance as the definition has it, written so that it vectorises.
fn sq_distance(x: &[f32], y: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 16];
    for (a, b) in x.chunks_exact(16).zip(y.chunks_exact(16)) {
        for lane in 0..16 {
            let difference = f64::from(a[lane]) - f64::from(b[lane]);
            lanes[lane] += difference * difference;
        }
    }
    let mut width = 16;
    while width > 1 {
        width /= 2;
        (0..width).for_each(|lane| lanes[lane] += lanes[lane + width]);
    }
    lanes[0]
}

fn k_center(sizes: &Sizes, embeddings: &[f32]) {
    let (width, batch) = (sizes.width, sizes.batch);
    let plain = || {
        let mut best = vec![f64::INFINITY; sizes.rows];
        let mut picks = vec![0u32];
        while picks.len() < batch {
            let last = picks[picks.len() - 1] as usize;
            let centre = &embeddings[last * width..][..width];
            for (best, row) in best.iter_mut().zip(embeddings.chunks_exact(width)) {
                *best = best.min(sq_distance(row, centre));
            }
            let far = (0..best.len()).fold(0, |a, b| if best[b] > best[a] { b } else { a });
            picks.push(far as u32);
        }
        picks
    };
    let s = session(sizes, vec![("embeddings", embeddings.to_vec())]);
    let kernel = || {
        let input = s.input("embeddings").expect("declared");
        let points = s.points(input).expect("a matrix");
        let engine = s.nearest(points, Metric::SqEuclidean).expect("points");
        let mut picks = vec![0u32];
        while picks.len() < batch {
            s.nearest_add(engine, &picks[picks.len() - 1..]).expect("a row");
            picks.extend(s.nearest_farthest(engine, None).expect("a set").map(|(row, _)| row));
        }
        [input, points, engine].into_iter().for_each(|handle| s.release(handle));
        picks
    };
    compare("k-center greedy", sizes.runs.min(1), plain, kernel);
    println!("  {:<28} {:>33} KiB", "its working memory", s.control().peak_memory() / 1024);
}

fn badge(sizes: &Sizes, embeddings: &[f32], logits: &[f32]) {
    let s = session(sizes, vec![("embeddings", embeddings.to_vec()), ("logits", logits.to_vec())]);
    let draws = |factored: bool| {
        let h = s.input("embeddings").expect("declared");
        let points = if factored {
            let a = s.residual(s.input("logits").expect("declared")).expect("logits");
            s.outer_products(a, h).expect("as many rows")
        } else {
            s.points(h).expect("a matrix")
        };
        let engine = s.nearest(points, Metric::SqEuclidean).expect("points");
        let stream = s.stream("draws", StreamScope::Round).expect("a tag");
        s.nearest_add(engine, &[0]).expect("a row");
        for _ in 1..sizes.batch {
            let row = s.nearest_draw(engine, stream, None).expect("a set").expect("mass is left");
            s.nearest_add(engine, &[row]).expect("a row");
        }
        s.release(engine);
    };
    report("draws, factored points", || draws(true));
    report("draws, plain points", || draws(false));
    println!("  {:<28} {:>33} KiB", "their working memory", s.control().peak_memory() / 1024);
}

fn distances(sizes: &Sizes, embeddings: &[f32]) {
    let s = session(sizes, vec![("embeddings", embeddings.to_vec())]);
    let rows = s.input("embeddings").expect("declared");
    let some: Vec<u32> = (0..sizes.rows as u32).step_by(10).collect();
    let centres = s.matrix_gather(rows, &some).expect("rows");
    let operations = 2.0 * sizes.rows as f64 * some.len() as f64 * sizes.width as f64;
    let (seconds, _) = timed(|| s.distance_reduce(rows, centres, Metric::Euclidean, Reduction::CountWithin(1e-3)));
    println!("  {:<28} {:>33.1} Gflop/s", "products, rows / 10 centres", operations / seconds / 1e9);
    report("argmin, rows / 10 centres", || {
        s.distance_reduce(rows, centres, Metric::Euclidean, Reduction::Argmin).expect("centres");
    });
}

fn kmeans(sizes: &Sizes, embeddings: &[f32]) {
    let s = session(sizes, vec![("embeddings", embeddings.to_vec())]);
    let rows = s.input("embeddings").expect("declared");
    let stream = s.stream("k", StreamScope::Round).expect("a tag");
    let options = KmeansOptions {
        clusters: sizes.batch as u32,
        restarts: 1,
        max_iterations: 20,
        tolerance: 1e-4,
        init: Init::RandomPoints,
    };
    report("k-means, 20 iterations", || {
        s.kmeans(rows, None, options, stream).expect("fewer clusters than rows");
    });
    println!("  {:<28} {:>33} KiB", "its working memory", s.control().peak_memory() / 1024);
}
