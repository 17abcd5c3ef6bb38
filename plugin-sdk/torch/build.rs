//! Tells the SDK the libtorch whose headers it is built with, which plugins state in their identity.

use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let folder = libtorch();
    // Tests and examples of this crate find it as those of plugins do.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    let header = folder.parent().expect("lib/ lies beside include/").join("include/torch/headeronly/version.h");
    println!("cargo:rerun-if-changed={}", header.display());
    let text = fs::read_to_string(&header).unwrap_or_else(|error| panic!("{}: {error}", header.display()));
    println!("cargo:rustc-env=QUERIST_LIBTORCH={}", version(&text));
    // The rule by which the bindings' own glue is compiled.
    let cxx11 = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    println!("cargo:rustc-env=QUERIST_LIBTORCH_CXX11={cxx11}");
}

/// The folder of libtorch's libraries, which torch-sys found.
fn libtorch() -> PathBuf {
    let folder = std::env::var_os("DEP_TCH_LIBTORCH_LIB").expect("a direct dependency on torch-sys");
    let library = PathBuf::from(&folder).join("libtorch_cpu.so");
    println!("cargo:rerun-if-changed={}", library.display());
    // The real folder: libtorch's own libraries look for each other beside themselves.
    let library = library.canonicalize().unwrap_or_else(|error| panic!("{}: {error}; set LIBTORCH", library.display()));
    library.parent().expect("a file lies in a folder").to_path_buf()
}

/// `2.11.0` of lines like `#define TORCH_VERSION_MAJOR 2`.
fn version(header: &str) -> String {
    let part = |name: &str| {
        let line = header.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("libtorch's version.h defines no {name}")).trim().to_owned()
    };
    ["TORCH_VERSION_MAJOR", "TORCH_VERSION_MINOR", "TORCH_VERSION_PATCH"].map(part).join(".")
}
