//! Where it is computed, what a plugin may use, and what is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Bytes;

/// Where it is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComputeConfig {
    /// `cpu` or `cuda:N`, of training, arrays and the bounds of kernels; `--device` replaces it. Several GPUs in a list
    /// share training and arrays, and the first has the bounds.
    pub device: Devices,
    /// Numbers in which the body of a model computes. Weights, updates, the head and the loss are single precision with
    /// all, and each gives the same numbers every time; part of a result's identity.
    pub precision: Precision,
    /// Threads of training and kernels; part of a result's identity, so a run that is gone on with keeps what it began
    /// with. Left out: all cores that affinity and control group leave to the program, which the runs of a study share,
    /// `cores / jobs` each. More threads than cores are a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Main memory that the arrays of a query may take. What is beyond lies in files of the run folder that have no
    /// name and go with the round.
    pub memory: Bytes,
}

/// A device, or several that share the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Devices {
    /// One.
    One(String),
    /// At least one.
    Several(Vec<String>),
}

impl Devices {
    /// Their names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }

    /// The name of the first, and those of the others; the schema asks for one.
    pub fn split(&self) -> (&str, &[String]) {
        self.names().split_first().map_or(("cpu", &[]), |(first, others)| (first.as_str(), others))
    }
}

impl JsonSchema for Devices {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Devices".into()
    }

    // Each word looks at what it is for: what is wrong with a name is said of the name.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        const NAME: &str = r"^(cpu|cuda:[0-9]{1,3})$";
        schemars::json_schema!({
            "type": ["string", "array"],
            "description": "A device, or several that share the work, such as [\"cuda:0\", \"cuda:1\"].",
            "pattern": NAME,
            "items": { "type": "string", "pattern": NAME },
            "minItems": 1,
            "maxItems": 64,
        })
    }
}

/// Numbers in which the body of a model computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision throughout: 24 bits a number.
    #[default]
    Float32,
    /// Convolutions on a GPU round their factors to 11 bits. It is PyTorch's own default, and several times as fast on
    /// cards with units for it.
    Tf32,
    /// Convolutions and products of 8 bits a number, in half the memory.
    Bf16,
}

impl ComputeConfig {
    /// Threads of training and kernels.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }
}

/// Cores that this process may use, as its affinity and control group say.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Default for ComputeConfig {
    fn default() -> Self {
        Self {
            device: Devices::One("cpu".to_owned()),
            precision: Precision::Float32,
            threads: None,
            memory: Bytes(8 << 30),
        }
    }
}

/// What a sandboxed plugin may use in one query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Linear memory of the plugin, and again as much for host objects made for it.
    pub memory: Bytes,
    /// Wall-clock seconds.
    #[schemars(range(min = 0.01, max = 1e7))]
    pub seconds: f64,
    /// WebAssembly fuel; no limit where it is left out. It is counted and recorded in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub fuel: Option<u64>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { memory: Bytes(512 << 20), seconds: 3600.0, fuel: None }
    }
}

/// Which rounds keep something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeepRounds {
    /// No round.
    None,
    /// Only the newest.
    Last,
    /// Every round.
    All,
}

/// What is kept beyond the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepConfig {
    /// Rounds whose fitted models are kept, as safetensors. For a strategy that takes part in training `none` means
    /// `last`: a run goes on from it.
    pub model: KeepRounds,
    /// Rounds whose arrays, as the strategy saw them, are kept as safetensors.
    pub features: KeepRounds,
    /// Whether training curves are kept.
    pub epochs: bool,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self { model: KeepRounds::Last, features: KeepRounds::None, epochs: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_stays_a_word() {
        let read = |text: &str| serde_json::from_str::<ComputeConfig>(text).unwrap();
        let one = read(r#"{"device": "cuda:3"}"#);
        assert_eq!(one.device.split(), ("cuda:3", &[][..]));
        assert_eq!(serde_json::to_value(&one).unwrap()["device"], "cuda:3");
        let two = read(r#"{"device": ["cuda:0", "cuda:1"]}"#);
        assert_eq!(two.device.split(), ("cuda:0", &["cuda:1".to_owned()][..]));
        assert_eq!(read("{}").device.split(), ("cpu", &[][..]));
    }
}
