//! Lists the plugins that have a native twin here: the strategies among this package's dependencies.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=Cargo.toml");
    println!("cargo:rerun-if-changed=build.rs");
    let manifest = fs::read_to_string("Cargo.toml").expect("a build script runs beside its manifest");
    let crates =
        manifest.lines().filter(|line| line.starts_with("strategy-")).filter_map(|line| line.split(' ').next());
    let list: String = crates.map(|name| format!("&{}::PACKAGE, ", name.replace('-', "_"))).collect();
    let folder = env::var_os("OUT_DIR").expect("cargo names a folder");
    fs::write(Path::new(&folder).join("packages.rs"), format!("[{list}]")).expect("cargo's folder can be written");
}
