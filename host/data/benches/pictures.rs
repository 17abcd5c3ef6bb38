//! Reading a folder of pictures on one thread: the first time, and again from the cache.
//!
//! Run with `cargo bench -p querist-data --profile dev --bench pictures -- FOLDER SIZE [RUNS]`, in turns with
//! `python3 host/data/benches/peer_pictures.py FOLDER SIZE [RUNS]`. Processor milliseconds a picture, the fewest of
//! several runs; a size of 0 keeps the pictures as they are. Everything is counted that a run does: the walk, headers,
//! hashes of contents, decoding, the dataset and its digest.

use std::path::PathBuf;

use querist_core::config::DatasetConfig;
use querist_data::{Search, load};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [folder, size, runs @ ..] = &given[..] else { return Err("FOLDER SIZE [RUNS]".into()) };
    let runs: usize = runs.first().map_or(Ok(5), |runs| runs.parse())?;
    let size = Some(size.parse()?).filter(|&size| size > 0);
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let config = DatasetConfig { path: Some(folder.clone()), size, ..DatasetConfig::named("folder") };
    let cache = tempfile::tempdir()?;
    let kept = Search::at(PathBuf::new()).keeping_pictures_in(cache.path());
    let first = fewest(runs, &config, &Search::at(PathBuf::new()))?;
    load(&config, &kept)?;
    let again = fewest(runs, &config, &kept)?;
    println!("{folder} at {size:?}: {first:.2} ms a picture, {again:.2} from the cache; {}", peak());
    Ok(())
}

/// Processor milliseconds a picture.
fn fewest(runs: usize, config: &DatasetConfig, search: &Search) -> Result<f64, Box<dyn std::error::Error>> {
    let mut fewest = f64::INFINITY;
    for _ in 0..runs {
        let start = processor_ms();
        let dataset = load(config, search)?;
        fewest = fewest.min((processor_ms() - start) / dataset.len() as f64);
    }
    Ok(fewest)
}

fn processor_ms() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// Most memory that the process ever had.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("no peak known");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
