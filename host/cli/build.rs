//! Lets what is built here find libtorch.

include!("../torchx/rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=../torchx/rpath.rs");
    // First the folder that an installation puts beside the executable.
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/libtorch/lib");
    if std::env::var_os("CARGO_FEATURE_TRAIN").is_some() {
        find_libtorch_at_run_time();
    }
}
