//! Tells the SDK its compiler and target, which native plugins state in their identity.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let compiler = env::var("RUSTC").ok().and_then(|rustc| Command::new(rustc).arg("--version").output().ok());
    let compiler = compiler.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo:rustc-env=QUERIST_COMPILER={}", compiler.trim());
    println!("cargo:rustc-env=QUERIST_TARGET={}", env::var("TARGET").unwrap_or_default());
}
