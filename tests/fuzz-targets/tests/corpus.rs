//! The short run of every fuzz target: its corpus, and changes of it that are the same every time.

use std::fs;
use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use querist_fuzz_targets::{TARGETS, unchanged_run};
use querist_protocol::philox::Stream;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Changed inputs of each target.
const CHANGES: u64 = 2000;
/// Bytes of address space that all targets may take together: an allocation that a file asks for and cannot fill fails.
const MOST_SPACE: u64 = 8 << 30;
/// Bytes of memory at the peak.
const MOST_MEMORY: u64 = 1 << 30;
/// Tells what ends from what hangs.
const MOST_TIME: Duration = Duration::from_secs(20);

fn limit_memory() {
    static LIMITED: Once = Once::new();
    LIMITED.call_once(|| {
        setrlimit(Resource::As, Rlimit { current: Some(MOST_SPACE), maximum: Some(MOST_SPACE) }).unwrap();
    });
}

/// Bytes of memory at the peak so far.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

/// A few changes of an input, and sometimes the end of another.
fn changed(inputs: &[(String, Vec<u8>)], stream: Stream, number: u64) -> Vec<u8> {
    let draw = |step: u32, below: usize| (stream.item_bits(number, step) % below.max(1) as u64) as usize;
    let mut input = inputs[draw(0, inputs.len())].1.clone();
    for change in 0..=draw(1, 4) as u32 {
        let step = 2 + 4 * change;
        let at = draw(step, input.len() + 1);
        let value = draw(step + 1, 256) as u8;
        match draw(step + 2, 6) {
            0 => input.insert(at, value),
            1 => drop(input.drain(at..(at + draw(step + 3, 9)).min(input.len()))),
            2 => input.truncate(at),
            3 => {
                let (_, other) = &inputs[draw(step + 3, inputs.len())];
                input.extend_from_slice(&other[other.len() / 2..]);
            }
            4 => input
                .splice(
                    at..at,
                    [b"\xff\xff\xff\xff", b"9999", b"[[[[", b"\0\0\0\x80"][draw(step + 3, 4)].iter().copied(),
                )
                .for_each(drop),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = value;
                }
            }
        }
    }
    input
}

fn short_run(name: &str) {
    limit_memory();
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let inputs = corpus(name);
    assert!(inputs.len() >= 5, "the corpus of {name} holds {} files", inputs.len());
    let feed = |what: &str, input: &[u8]| {
        let clock = Instant::now();
        (target.feed)(input);
        assert!(clock.elapsed() < MOST_TIME, "{name} takes {:?} for {what}", clock.elapsed());
    };
    for (file, input) in &inputs {
        feed(file, input);
    }
    let stream = Stream::new(0x66757a7a, 0);
    for number in 0..CHANGES {
        feed(&format!("change {number}"), &changed(&inputs, stream, number));
    }
    let peak = peak();
    assert!(peak < MOST_MEMORY, "{name} took {peak} bytes of memory");
}

macro_rules! short_runs {
    ($($name:ident),*) => {
        $(#[test] fn $name() { short_run(stringify!($name)); })*

        #[test]
        fn every_target_has_its_short_run() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

short_runs!(
    answers,
    artifact,
    arrays,
    archives,
    description,
    matlab,
    needs,
    offer,
    pickles,
    pictures,
    run_folder,
    schema,
    shards,
    tables,
    worker
);

#[test]
fn what_is_changed_is_a_run_that_can_be_read() {
    unchanged_run().unwrap();
}
