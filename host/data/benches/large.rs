//! Memory of reading a folder of pictures once, held in memory or in a file of the cache.
//!
//! Run with `cargo bench -p querist-data --profile dev --bench large -- FOLDER SIZE IN_MEMORY`, for example `0 64MiB`;
//! a size of 0 keeps the pictures as they are. Memory of its own is what the system cannot take back; pages of mapped
//! files are counted apart.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use querist_core::config::DatasetConfig;
use querist_data::{Search, load};

static OWN: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicBool = AtomicBool::new(false);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [folder, size, in_memory] = &given[..] else { return Err("FOLDER SIZE IN_MEMORY".into()) };
    let size = Some(size.parse()?).filter(|&size| size > 0);
    let in_memory = in_memory.parse()?;
    let config = DatasetConfig { path: Some(folder.clone()), size, in_memory, ..DatasetConfig::named("folder") };
    let cache = tempfile::tempdir_in(".")?;
    let search = Search::at(PathBuf::new()).keeping_pictures_in(cache.path().join("cache"));
    let watch = std::thread::spawn(|| {
        while !DONE.load(Ordering::Relaxed) {
            OWN.fetch_max(kib("RssAnon:"), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let clock = Instant::now();
    let dataset = load(&config, &search)?;
    let seconds = clock.elapsed().as_secs_f64();
    DONE.store(true, Ordering::Relaxed);
    watch.join().map_err(|_| "the watch stopped")?;
    println!(
        "{} pictures, {} MiB decoded, {seconds:.1} s: at most {} MiB of its own, {} MiB with mapped pages; {}",
        dataset.len(),
        dataset.images().bytes.len() >> 20,
        OWN.load(Ordering::Relaxed) >> 10,
        kib("VmHWM:") >> 10,
        dataset.digest()
    );
    Ok(())
}

/// A figure of this process.
fn kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}
