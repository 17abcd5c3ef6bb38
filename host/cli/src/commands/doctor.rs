//! `querist doctor`: what the program found on this machine.

use anyhow::Result;
use querist_loader::Cache;
use querist_protocol::Shown;

use crate::{output, plugins, trainer};

/// Bytes that are shown at most.
const MOST_BYTES: usize = 64 << 10;

/// Runs the verb.
pub fn main() -> Result<()> {
    let mut lines = vec![format!("querist      {}", env!("CARGO_PKG_VERSION"))];
    lines.push(match trainer::describe() {
        Ok(text) => text.trim_end().to_owned(),
        Err(error) => format!("libtorch     PROBLEM: {error:#}"),
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    lines.push(format!("cores        {cores}"));
    let cache = Cache::default_folder();
    lines.push(match Cache::open(&cache) {
        Ok(_) => format!("cache        {}", cache.display()),
        Err(error) => format!("cache        PROBLEM: {error}"),
    });
    let search = querist_data::Search::from_env();
    lines.push(match search.cache() {
        Some(folder) => format!("datasets     {}", folder.display()),
        None => "datasets     PROBLEM: no folder is known; set QUERIST_DATA".to_owned(),
    });
    let listing = plugins::listing(&[])?;
    let strategies: usize = listing.usable().map(|(_, package)| package.description.strategies.len()).sum();
    let refused = listing.found.iter().filter(|found| found.package().is_err()).count();
    lines.push(format!("plugins      {strategies} strategies in {} packages", listing.usable().count()));
    if strategies == 0 {
        lines.push("             PROBLEM: none found; `cargo xtask build` builds those of this repository".to_owned());
    }
    if refused > 0 {
        lines.push(format!("             {refused} packages cannot be used: `querist plugin list` says why"));
    }
    for (source, folder) in plugins::folders(&[]) {
        let state = if folder.is_dir() { "" } else { " (not there)" };
        lines.push(format!("             {source:?}: {}{state}", folder.display()));
    }
    // Names of folders come from the surroundings, and errors from libraries.
    let text = Shown::lines(&lines.join("\n"), MOST_BYTES);
    output::text(&format!("{text}\n"))
}
