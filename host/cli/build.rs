//! Lets what is built here find libtorch.

include!("../torchx/rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=../torchx/rpath.rs");
    if std::env::var_os("CARGO_FEATURE_TRAIN").is_some() {
        find_libtorch_at_run_time();
    }
}
