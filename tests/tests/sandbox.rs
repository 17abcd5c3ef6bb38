//! Plugins that break the rules: each ends in its own error, in bounded time and memory, and nothing else is harmed.

use std::time::Duration;

use querist_core::{Acquisition, Answer, Arrays, Question, Strategy};
use querist_core::{QueryError, QueryErrorKind};
use querist_kernels::Compute;
use querist_loader::{Limits, Listing, Source, WasmStrategy};
use querist_testkit::cases::Pool;
use querist_tests::{SANDBOX, target};
use serde_json::json;

const LIMITS: Limits =
    Limits { memory: 64 << 20, time: Duration::from_millis(1500), fuel: None, handles: 100, log: 10_000 };

fn strategy(way: &str, limits: Limits) -> WasmStrategy {
    let folder = target().join("misbehaving");
    let listing = Listing::search(&[(Source::PluginDir, folder)]).expect("run `cargo xtask build` first");
    let resolved = listing.resolve("misbehaving").unwrap();
    WasmStrategy::load(SANDBOX.clone(), resolved, &json!({ "way": way }), limits, Compute::threads(2)).unwrap()
}

fn query(strategy: &mut WasmStrategy, arrays: &Arrays) -> Result<Answer, QueryError> {
    strategy.answer(&Question::new(arrays, 5))
}

fn ask(way: &str, limits: Limits) -> (Result<Answer, QueryError>, Vec<u64>) {
    let mut strategy = strategy(way, limits);
    let arrays = Pool::default().arrays(strategy.needs());
    (query(&mut strategy, &arrays), arrays.ids().to_vec())
}

/// Asks and expects an error of `kind` that says `part`.
fn expect(way: &str, kind: QueryErrorKind, part: &str) {
    let error = ask(way, LIMITS).0.expect_err(way);
    assert_eq!(error.kind, kind, "{way}: {error}");
    assert!(error.to_string().contains(part), "{way}: `{part}` is missing in: {error}");
    assert!(error.to_string().contains("misbehaving 0.1.0"), "{way}: no name and version in: {error}");
}

#[test]
fn a_good_one_is_answered() {
    let (answer, ids) = ask("well", LIMITS);
    Acquisition::check(&answer.unwrap().selection, &ids, 5).unwrap();
}

#[test]
fn a_strategy_that_crashed_is_asked_again_as_if_it_had_not() {
    let mut strategy = strategy("panic", LIMITS);
    let arrays = Pool::default().arrays(strategy.needs());
    let errors = [(); 3].map(|()| query(&mut strategy, &arrays).unwrap_err());
    assert!(errors.iter().all(|error| error.kind == QueryErrorKind::Panic), "{errors:?}");
    assert!(errors.iter().all(|error| error.message == errors[0].message), "{errors:?}");
}

#[test]
fn endless_loops_are_stopped_by_the_clock() {
    expect("loop", QueryErrorKind::Timeout, "time limit");
    expect("loop-in-calls", QueryErrorKind::Timeout, "time limit");
}

#[test]
fn fuel_stops_a_loop_too() {
    let error = ask("loop", Limits { fuel: Some(1_000_000), ..LIMITS }).0.unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::Fuel, "{error}");
}

#[test]
fn memory_is_bounded_on_both_sides() {
    expect("memory", QueryErrorKind::Memory, "the limit is 67108864");
    expect("host-memory", QueryErrorKind::Memory, "limit");
    expect("handles", QueryErrorKind::Memory, "100");
}

/// A query to the scorer that takes memory for each tile.
fn hoard(mib: usize, threads: usize, limits: Limits) -> Result<Answer, QueryError> {
    let listing = Listing::search(&[(Source::PluginDir, target().join("misbehaving"))]).unwrap();
    let resolved = listing.resolve("hoarder").unwrap();
    let made = WasmStrategy::load(SANDBOX.clone(), resolved, &json!({ "mib": mib }), limits, Compute::threads(threads));
    // Many tiles of a few rows.
    let mut strategy = made.unwrap().with_tile_bytes(400);
    let arrays = Pool::default().arrays(strategy.needs());
    query(&mut strategy, &arrays)
}

#[test]
fn the_memory_of_a_plugin_is_one_whatever_the_threads() {
    let limits = Limits { time: Duration::from_secs(120), ..LIMITS };
    // Eight at once would take 320 MiB and more: some wait for their turn, and all are scored.
    let together = hoard(40, 8, limits).unwrap();
    let peak = together.usage.peak_memory;
    assert!((40 << 20..=limits.memory + (1 << 20)).contains(&peak), "{:?}", together.usage);
    assert_eq!(together.selection, hoard(40, 1, limits).unwrap().selection);
    // What one alone may not take, none may, and the error is the same on any number of threads.
    for threads in [1, 8] {
        let error = hoard(70, threads, limits).unwrap_err();
        assert_eq!(error.kind, QueryErrorKind::Memory, "{error}");
        assert!(error.to_string().contains("the limit is 67108864"), "{error}");
    }
}

#[test]
fn memory_is_bounded_before_the_first_query_too() {
    let listing = Listing::search(&[(Source::PluginDir, target().join("misbehaving"))]).unwrap();
    let resolved = listing.resolve("misbehaving").unwrap();
    let limits = Limits { memory: 1 << 20, ..LIMITS };
    let loaded = WasmStrategy::load(SANDBOX.clone(), resolved, &json!({}), limits, Compute::threads(1));
    let Err(error) = loaded else { panic!("its first memory is larger than the limit") };
    assert!(error.to_string().contains("the limit is 1048576"), "{error}");
}

#[test]
fn what_a_plugin_says_steers_nothing() {
    let error = ask("steer", LIMITS).0.unwrap_err();
    let message = error.to_string();
    assert!(message.len() < 5000 && message.contains("evil"), "{} bytes: {message:.200}", message.len());
    assert!(querist_protocol::is_showable(&message), "{message:?}");
    expect("figure", QueryErrorKind::Output, "diagnostic `\u{fffd}[31mred`");
    expect("figure-twice", QueryErrorKind::Output, "diagnostic `a` is there twice");
}

#[test]
fn crashes_say_what_happened() {
    expect("panic", QueryErrorKind::Panic, "on purpose, at row 300");
    expect("panic", QueryErrorKind::Panic, "misbehaving/src/lib.rs");
    expect("recursion", QueryErrorKind::Trap, "recursion");
    expect("trap", QueryErrorKind::Trap, "unreachable");
    expect("bad-text", QueryErrorKind::Trap, "utf-8");
    expect("fail", QueryErrorKind::Failed, "not today");
    expect("undeclared", QueryErrorKind::Failed, "`embeddings` is not among the declared needs (logits)");
    expect("outside", QueryErrorKind::Failed, "rows");
}

#[test]
fn answers_that_are_too_large_are_refused() {
    expect("state", QueryErrorKind::Output, "its state has 4194304 bytes");
    expect("diagnostics", QueryErrorKind::Output, "1000 diagnostics");
    expect("log", QueryErrorKind::Memory, "whole log");
}

#[test]
fn wrong_answers_break_the_contract() {
    for (way, part) in [
        ("duplicate", "was picked before"),
        ("labelled", "the pool has rows 0 to 299"),
        ("short", "selected 1 rows, expected exactly 5"),
        ("long", "selected 6 rows, expected exactly 5"),
        ("nan", "scores must be finite"),
        ("scores", "gave 6 scores for 5 rows"),
    ] {
        let (answer, ids) = ask(way, LIMITS);
        let broken = Acquisition::check(&answer.unwrap().selection, &ids, 5).unwrap_err().to_string();
        assert!(broken.contains(part), "{way}: {broken}");
    }
}
