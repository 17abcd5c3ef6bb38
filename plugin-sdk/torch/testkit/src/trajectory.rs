//! Trainings that start otherwise, and the figures that they end in.
//!
//! Where a training ends hangs on its seed, and on the threads and instructions that libtorch computes with. A test
//! whose outcome hangs on that says its figure through [`at_least`] or [`at_most`]; `docs/benchmarks/spread.py` runs
//! such tests from other seeds and in other settings, and prints how far their figures spread.

use querist_torchx::{random, runtime};

/// What is added to every seed of a test, and to that of the images: `$QUERIST_TEST_SEED`, else 0.
///
/// # Panics
/// If the variable holds no number.
pub fn shift() -> u64 {
    number("QUERIST_TEST_SEED", 0)
}

/// Threads that a test trains on: `$QUERIST_TEST_THREADS`, else 1.
///
/// # Panics
/// If the variable holds no number.
pub fn threads() -> usize {
    usize::try_from(number("QUERIST_TEST_THREADS", 1)).expect("so many threads have a number")
}

/// Device that a test trains on: `$QUERIST_TEST_DEVICE`, else `cpu`.
pub fn device() -> String {
    std::env::var("QUERIST_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned())
}

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, expected a whole number; leave it unset for {default}"))
}

/// Sets libtorch's threads and its generator, for networks that a test trains by itself.
///
/// # Panics
/// If libtorch refuses.
pub fn seeded(seed: u64) {
    runtime::set_threads(threads()).expect("libtorch takes the threads");
    random::seed(seed + shift()).expect("libtorch takes the seed");
}

/// Asserts that a figure of a training is `least` or more, and prints it.
///
/// # Panics
/// If it is less, or NaN.
#[track_caller]
pub fn at_least(name: &str, found: f64, least: f64) {
    say(name, found, ">=", least);
    assert!(found >= least, "{name} is {found}, expected {least} or more");
}

/// Asserts that a figure of a training is `most` or less, and prints it.
///
/// # Panics
/// If it is more, or NaN.
#[track_caller]
pub fn at_most(name: &str, found: f64, most: f64) {
    say(name, found, "<=", most);
    assert!(found <= most, "{name} is {found}, expected {most} or less");
}

fn say(name: &str, found: f64, relation: &str, bound: f64) {
    let thread = std::thread::current();
    println!("\nfigure|{}|{name}|{found}|{relation}|{bound}", thread.name().unwrap_or("?"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_beyond_their_bound_and_none_at_all_fail() {
        at_least("figure", 1.0, 1.0);
        at_most("figure", 1.0, 1.0);
        for found in [0.9, f64::NAN] {
            assert!(std::panic::catch_unwind(|| at_least("figure", found, 1.0)).is_err());
        }
        for found in [1.1, f64::NAN] {
            assert!(std::panic::catch_unwind(|| at_most("figure", found, 1.0)).is_err());
        }
    }
}
