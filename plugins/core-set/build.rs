//! Where the solver lies that becomes part of the plugin.

use std::path::PathBuf;

fn main() {
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
}
