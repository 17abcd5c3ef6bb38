//! Lets what is built here find libtorch.

include!("../torchx/rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=../torchx/rpath.rs");
    find_libtorch_at_run_time();
}
