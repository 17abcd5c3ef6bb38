//! Lets the tests find libtorch.

include!("../../host/torchx/rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=../../host/torchx/rpath.rs");
    find_libtorch_at_run_time();
}
