//! Data for standard output.

use std::io::Write;

use anyhow::Result;

/// Writes text to standard output.
pub fn text(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes a line to standard output.
pub fn line(line: &str) -> Result<()> {
    text(&format!("{line}\n"))
}

/// Writes bytes to a file, or to standard output.
pub fn bytes(bytes: &[u8], file: Option<&std::path::Path>) -> Result<()> {
    match file {
        Some(path) => std::fs::write(path, bytes).map_err(|e| anyhow::anyhow!("cannot write {}: {e}", path.display())),
        None => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(bytes)?;
            Ok(stdout.flush()?)
        }
    }
}
