//! The settings of the WebAssembly engine.

use querist_protocol::Shown;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::error::SandboxError;
use super::memory::{MAX_MEMORIES, MAX_PARTS, MAX_TABLE};

/// Instances at once.
pub(super) const MAX_INSTANCES: usize = 64;
/// Bytes of a memory that are cleared by hand, not given back to the system, when an instance ends.
const KEPT_RESIDENT: usize = 2 << 20;

/// An engine that runs components.
pub(super) fn running() -> Result<Engine, SandboxError> {
    new(settings().allocation_strategy(pool()))
}

/// An engine that only compiles: without the pool, whose addresses would not fit where memory is limited; it makes no
/// difference to compiled code.
pub(super) fn compiling() -> Result<Engine, SandboxError> {
    new(&settings())
}

/// What compiled code depends on.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(true);
    config
}

/// Room for instances that is kept from one to the next: a scorer needs a fresh one for each tile, and mapping and
/// unmapping its memory each time took as long as a fifth of the tile's work. Addresses are reserved for all, memory is
/// used by those that run.
fn pool() -> InstanceAllocationStrategy {
    let instances = MAX_INSTANCES as u32;
    let parts = MAX_PARTS as u32;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * parts)
        .max_core_instances_per_component(parts)
        .total_tables(instances * parts)
        .max_tables_per_component(parts)
        .table_elements(MAX_TABLE)
        .table_keep_resident(KEPT_RESIDENT)
        .total_memories(2 * instances)
        .max_memories_per_component(MAX_MEMORIES as u32)
        .linear_memory_keep_resident(KEPT_RESIDENT);
    InstanceAllocationStrategy::Pooling(pool)
}

fn new(config: &Config) -> Result<Engine, SandboxError> {
    Engine::new(config).map_err(|error| SandboxError::Engine(Shown::sentence(&format!("{error:#}"))))
}
