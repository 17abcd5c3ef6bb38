//! Where the solver lies that becomes part of the plugin.

use std::error::Error;
use std::path::PathBuf;

use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, FileHeader};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=HIGHS_LIBRARY");
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.highs/lib/libhighs.so.1");
    let file = std::env::var_os("HIGHS_LIBRARY").map_or_else(own, PathBuf::from);
    println!("cargo:rerun-if-changed={}", file.display());
    assert!(
        file.is_file(),
        "{} is missing: run `cargo xtask setup`, or export HIGHS_LIBRARY with the libhighs.so of HiGHS 1.15",
        file.display()
    );
    println!("cargo:rustc-env=HIGHS_LIBRARY={}", file.display());
    // A worker loads what a plugin links before it closes the system's libraries, so what the solver links, the plugin
    // does.
    println!("cargo:rustc-link-arg-cdylib=-Wl,--no-as-needed");
    for name in needed(&std::fs::read(&file)?)? {
        println!("cargo:rustc-link-arg-cdylib=-l:{name}");
    }
    Ok(())
}

/// Libraries that a library asks the system for.
fn needed(bytes: &[u8]) -> Result<Vec<String>, Box<dyn Error>> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let (entries, strings) = sections.dynamic(endian, bytes)?.ok_or("the solver is no shared library")?;
    let strings = sections.strings(endian, bytes, strings)?;
    let is_needed = |entry: &&object::elf::Dyn64<Endianness>| entry.tag32(endian).map(i64::from) == Some(DT_NEEDED);
    let name = |entry: &object::elf::Dyn64<Endianness>| Ok(String::from_utf8(entry.string(endian, strings)?.to_vec())?);
    entries.iter().filter(is_needed).map(name).collect()
}
