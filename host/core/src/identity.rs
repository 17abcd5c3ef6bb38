//! Which implementation of a strategy it is.

use serde::{Deserialize, Serialize};

use crate::config::UPPER;

/// How a strategy is packaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyKind {
    /// A sandboxed WebAssembly component.
    Wasm,
    /// A native library behind a C table.
    Native,
    /// A native library that shares libtorch with the host.
    NativeTorch,
    /// Made of other strategies.
    Composite,
    /// A class in the process of a user's Python program: no package, and in no sandbox.
    Python,
}

impl std::fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wasm => "wasm",
            Self::Native => "native",
            Self::NativeTorch => "native-torch",
            Self::Composite => "composite",
            Self::Python => "python",
        })
    }
}

/// Which implementation answered: enough to find the very same one again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyIdentity {
    /// Id as users write it.
    pub id: String,
    /// Package it came in.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// How it is packaged.
    pub kind: StrategyKind,
    /// SHA-256 of the artifact, in hex.
    pub digest: String,
}

impl StrategyIdentity {
    /// Whether this is no strategy but the host's upper baseline; no strategy's id has a `/`.
    pub fn is_upper(&self) -> bool {
        self.id == UPPER
    }
}

impl std::fmt::Display for StrategyIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "strategy `{}` ({} {})", self.id, self.package, self.version)
    }
}
