// Part of the build scripts of every package with a binary, a test or a library of its own that uses libtorch: link
// arguments do not pass from a library to the packages that depend on it. Such a package depends on `torch-sys`
// directly, without which cargo does not hand over the folder.

/// Writes the folder of libtorch into what is linked here, and returns it.
///
/// It becomes a RUNPATH: an exported LD_LIBRARY_PATH still wins, so that the result also runs on another libtorch.
fn find_libtorch_at_run_time() -> std::path::PathBuf {
    let folder = std::env::var_os("DEP_TCH_LIBTORCH_LIB").expect("a direct dependency on torch-sys");
    let library = std::path::Path::new(&folder).join("libtorch_cpu.so");
    // The real folder: libtorch's own libraries look for each other beside themselves.
    let library = library.canonicalize().unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask setup` puts libtorch there", library.display());
    });
    let folder = library.parent().expect("a file lies in a folder").to_path_buf();
    println!("cargo:rerun-if-changed={}", library.display());
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    folder
}
