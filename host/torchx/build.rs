//! Builds the shim against the headers of the libtorch that the bindings were built against.

include!("rpath.rs");

fn main() {
    let libraries = find_libtorch_at_run_time();
    let headers = libraries.parent().expect("lib/ lies beside include/").join("include");
    for file in ["rpath.rs", "shim/guarded.h", "shim/script.cpp", "shim/shim.cpp", "shim/shim.h"] {
        println!("cargo:rerun-if-changed={file}");
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .opt_level(1)
        .flag("-isystem")
        .flag(headers.as_os_str())
        .warnings(true)
        .files(["shim/shim.cpp", "shim/script.cpp"])
        .compile("querist_torchx");
    println!("cargo:rustc-link-search=native={}", libraries.display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
}
