//! Processor seconds of plain products, of distances that are summed up, and of the ten nearest rows.
//!
//! `cargo bench -p querist-kernels --profile dev --bench products -- [rows] [width] [centres] [runs] [threads]
//! [level]`, where the level is that of `limit_instructions`. A build of another commit can be run in turns with this
//! one: the sums of bits that both print must agree where results should.

use std::collections::BTreeMap;
use std::sync::Arc;

use querist_core::{Arrays, Granted, Round, Seeds};
use querist_kernels::{Compute, Control, Limits, Session, Setup, Shared, limit_instructions};
use querist_protocol::philox::Stream;
use querist_protocol::{Handle, HostCalls, Metric, Reduction};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let (rows, width, centres) = (number(0, 50_000), number(1, 512), number(2, 5000));
    let (runs, threads) = (number(3, 3).max(1), number(4, 1));
    if let Some(&level) = numbers.get(5) {
        limit_instructions(level as u8);
    }
    println!("{rows} x {width} by {centres} x {width}, {threads} threads, medians of {runs}");
    let s = session(threads);
    let (x, y) = (matrix(&s, rows, width, 1), matrix(&s, centres, width, 2));
    let across = matrix(&s, width, centres, 3);
    report("product, second transposed", runs, || product(&s, x, y, true));
    report("product", runs, || product(&s, x, across, false));
    for (metric, name) in [
        (Metric::SqEuclidean, "sum of squared distances"),
        (Metric::Euclidean, "sum of distances"),
        (Metric::Cosine, "sum of cosine distances"),
    ] {
        report(name, runs, || {
            let sums = s.distance_reduce(x, y, metric, Reduction::Sum).expect("both have values");
            let bits =
                s.vector_read(sums, 0, rows as u32).expect("a vector").iter().map(|sum| sum.to_bits()).fold(0, mix);
            s.release(sums);
            bits
        });
    }
    // Beside numpy in `peer_nearest_rows.py`.
    report("ten nearest rows", runs, || {
        let (numbers, distances) = s.nearest_rows(x, y, 10, Metric::Euclidean).expect("there are ten");
        let bits = [numbers, distances].map(|vector| {
            let values = s.vector_read(vector, 0, 10 * rows as u32).expect("a vector");
            s.release(vector);
            values.iter().map(|value| value.to_bits()).fold(0, mix)
        });
        mix(bits[0], bits[1])
    });
}

fn product(s: &Session, left: Handle, right: Handle, transposed: bool) -> u64 {
    let product = s.matrix_product(left, right, transposed).expect("both have values");
    let (rows, _) = s.matrix_shape(product).expect("a matrix");
    let some = (0..rows).step_by(1024).flat_map(|row| s.matrix_read(product, row, 1).expect("a row"));
    let bits = some.map(|value| u64::from(value.to_bits())).fold(0, mix);
    s.release(product);
    bits
}

fn mix(sum: u64, bits: u64) -> u64 {
    (sum.rotate_left(7) ^ bits).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn matrix(s: &Session, rows: usize, columns: usize, seed: u64) -> Handle {
    let mut stream = Stream::new(seed, 0);
    let values: Vec<f32> = (0..rows * columns).map(|_| (stream.next_uniform() - 0.5) as f32).collect();
    s.matrix(rows as u32, columns as u32, &values).expect("a matrix")
}

fn session(threads: usize) -> Session {
    let arrays = Arrays::new(vec![0, 1], Vec::new(), 2, BTreeMap::new()).expect("arrays fit");
    let setup = Setup {
        arrays: Granted::new(&arrays, &[], &[]).expect("nothing is secret"),
        batch: 1,
        round: Round(0),
        streams: Seeds::new(0).strategy("bench"),
        compute: Compute::threads(threads),
    };
    let limits = Limits { memory: 4 << 30, ..Limits::default() };
    Session::new(Arc::new(Shared::new(setup, Arc::new(Control::new(limits, None))).expect("threads start")))
}

fn report(name: &str, runs: usize, mut f: impl FnMut() -> u64) {
    let mut seconds = Vec::new();
    let mut bits = 0;
    for _ in 0..runs {
        let before = processor_seconds();
        bits = f();
        seconds.push(processor_seconds() - before);
    }
    seconds.sort_by(f64::total_cmp);
    println!("  {name:<28} {:>9.3} CPU s   bits {bits:016x}", seconds[seconds.len() / 2]);
}

/// Processor seconds of all threads so far.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
