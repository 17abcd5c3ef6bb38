//! Tells the SDK the libtorch whose headers it is built with, which plugins state in their identity.

use std::fs;

include!("../../host/torchx/rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=../../host/torchx/rpath.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let folder = find_libtorch_at_run_time();
    let header = folder.parent().expect("lib/ lies beside include/").join("include/torch/headeronly/version.h");
    println!("cargo:rerun-if-changed={}", header.display());
    let text = fs::read_to_string(&header).unwrap_or_else(|error| panic!("{}: {error}", header.display()));
    println!("cargo:rustc-env=QUERIST_LIBTORCH={}", version(&text));
    // The rule by which the bindings' own glue is compiled.
    let cxx11 = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    println!("cargo:rustc-env=QUERIST_LIBTORCH_CXX11={cxx11}");
}

/// `2.11.0` of lines like `#define TORCH_VERSION_MAJOR 2`.
fn version(header: &str) -> String {
    let part = |name: &str| {
        let line = header.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("libtorch's version.h defines no {name}")).trim().to_owned()
    };
    ["TORCH_VERSION_MAJOR", "TORCH_VERSION_MINOR", "TORCH_VERSION_PATCH"].map(part).join(".")
}
