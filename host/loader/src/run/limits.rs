//! What a query may use, and what it used.

use std::time::Duration;

use querist_core::config::LimitsConfig;

/// What one query of a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes of linear memory of all its instances together; as many again for host objects made for the plugin.
    pub memory: u64,
    /// Wall-clock time.
    pub time: Duration,
    /// WebAssembly fuel, if it is limited.
    pub fuel: Option<u64>,
    /// Objects of the host at once.
    pub handles: u32,
    /// Bytes of log.
    pub log: usize,
}

impl From<&LimitsConfig> for Limits {
    fn from(config: &LimitsConfig) -> Self {
        Self {
            memory: config.memory.0,
            time: Duration::from_secs_f64(config.seconds),
            fuel: config.fuel,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 512 << 20, time: Duration::from_secs(3600), fuel: None, handles: 1024, log: 64 << 10 }
    }
}

/// What plugin code used, beside time.
#[derive(Debug, Default, Clone, Copy)]
pub struct Cost {
    /// WebAssembly fuel; `None` for native code.
    pub fuel: Option<u64>,
    /// The most bytes that it held, objects of the host not counted.
    pub memory: u64,
}
