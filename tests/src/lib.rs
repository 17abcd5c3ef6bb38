//! What the tests of the whole house share: the built plugins, as components and as native twins.
//!
//! The components are those that `cargo xtask build` packed; a test that finds none says so and fails.

pub mod browser;
pub mod cli;
pub mod components;
pub mod disk;
pub mod labelling;
pub mod native;
pub mod python;
pub mod server;
pub mod serving;
pub mod waiting;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use querist_core::Strategy;
use querist_kernels::Compute;
use querist_loader::{Cache, Compiler, Limits, Listing, Sandbox, Source, WasmStrategy};
use querist_protocol::StrategyDescription;
use querist_sdk::Package;
use querist_testkit::{Make, NativeMaker};
use serde_json::Value;

/// Every package with a native twin here: what this crate's manifest depends on.
pub fn packages() -> Vec<&'static Package> {
    include!(concat!(env!("OUT_DIR"), "/packages.rs")).to_vec()
}

/// Every strategy with its package.
pub fn strategies() -> Vec<(&'static Package, String)> {
    let of = |package: &'static Package| package.describe().strategies.into_iter().map(move |s| (package, s.id));
    packages().into_iter().flat_map(of).collect()
}

/// Makers of a strategy with the name of their route: the component and its native twin.
///
/// # Panics
/// If no package has the strategy.
pub fn both(id: &str) -> [(Box<dyn Make>, &'static str); 2] {
    let owner = strategies().into_iter().find(|(_, known)| known == id);
    let (package, _) = owner.unwrap_or_else(|| panic!("no package has the strategy `{id}`"));
    [(Box::new(WasmMaker(id.to_owned())), "component"), (Box::new(NativeMaker::new(package, id)), "native")]
}

/// The workspace.
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Folder of what cargo built.
pub fn target() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().find(|dir| dir.join("plugins").is_dir()).map(PathBuf::from))
        .unwrap_or_else(|| workspace().join("target/debug"))
}

/// The packed plugins.
pub static BUILT_IN: LazyLock<Listing> = LazyLock::new(|| {
    let folder = target().join("plugins");
    let listing = Listing::search(&[(Source::PluginDir, folder.clone())])
        .unwrap_or_else(|error| panic!("{error}: run `cargo xtask build` first"));
    assert!(!listing.found.is_empty(), "{} holds no packages: run `cargo xtask build` first", folder.display());
    listing
});

/// A sandbox with a cache that all tests share.
pub static SANDBOX: LazyLock<Arc<Sandbox>> = LazyLock::new(|| {
    let cache = Cache::open(&target().join("test-cache")).expect("the test cache is ours");
    Arc::new(Sandbox::new(cache, Compiler::InProcess).expect("the engine runs here"))
});

/// Makes sandboxed strategies for the conformance tests.
pub struct WasmMaker(pub String);

impl Make for WasmMaker {
    fn description(&self) -> StrategyDescription {
        BUILT_IN.resolve(&self.0).expect("the strategy is packed").strategy.clone()
    }

    fn make(&self, params: &Value, threads: usize, tile_bytes: usize) -> Result<Box<dyn Strategy>, String> {
        let resolved = BUILT_IN.resolve(&self.0).map_err(|error| error.to_string())?;
        // The strategy's own refusal counts as well as that of its schema.
        let params = querist_core::schema::settled(resolved.strategy, params).unwrap_or_else(|_| params.clone());
        let strategy =
            WasmStrategy::load(SANDBOX.clone(), resolved, &params, Limits::default(), Compute::threads(threads))
                .map_err(|error| error.to_string())?;
        Ok(Box::new(strategy.with_tile_bytes(tile_bytes)))
    }
}
