//! A query strategy as the loop sees it.

use querist_protocol::{Capability, Need, Selection, Shown, names};
use serde::{Deserialize, Serialize};

use crate::array::Arrays;
use crate::ids::Round;
use crate::observer::Progress;
use crate::rights::Granted;
use crate::seed::Seeds;
use crate::training::{HostServices, TrainingHooks};

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
}

impl std::fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wasm => "wasm",
            Self::Native => "native",
            Self::NativeTorch => "native-torch",
            Self::Composite => "composite",
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

impl std::fmt::Display for StrategyIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "strategy `{}` ({} {})", self.id, self.package, self.version)
    }
}

/// One question to a strategy.
pub struct Query<'a> {
    /// The arrays that it may see, and the ids.
    pub arrays: &'a Granted,
    /// Samples to ask for; more than the pool means the whole pool.
    pub batch: usize,
    /// The round.
    pub round: Round,
    /// Source of its random streams; its own code never sees a seed, only streams.
    pub seeds: Seeds,
    /// What it kept in the last round.
    pub state: Option<&'a [u8]>,
    /// What may be asked about images and model, where the learner has such services.
    pub services: Option<&'a dyn HostServices>,
    /// Where progress and log lines go.
    pub progress: &'a dyn Progress,
}

/// A strategy's answer with what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The picks, not yet checked.
    pub selection: Selection,
    /// What it cost.
    pub usage: Usage,
}

/// Cost of one query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// WebAssembly fuel that the plugin's own code used; `None` for native code.
    pub fuel: Option<u64>,
    /// The most bytes that the plugin and the host objects made for it held at once, inputs not counted.
    pub peak_memory: u64,
}

/// Chooses rows of the pool.
pub trait Strategy {
    /// Which implementation this is.
    fn identity(&self) -> &StrategyIdentity;

    /// The arrays it wants, under the parameters it was made with.
    fn needs(&self) -> &[Need];

    /// The powers beyond arrays that its package declares.
    fn capabilities(&self) -> &[Capability];

    /// The strategy's part in training; `None` for one that only answers queries.
    fn hooks(&mut self) -> Option<&mut dyn TrainingHooks> {
        None
    }

    /// Whether the whole contract of [`crate::Acquisition::check`] holds is for the caller to check.
    ///
    /// # Errors
    /// If the strategy gives no answer.
    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError>;
}

/// Rows of a tile: as many as keep its inputs within `bytes`.
pub fn tile_rows(needs: &[Need], arrays: &Arrays, bytes: usize) -> usize {
    let row_bytes: usize = needs
        .iter()
        .flat_map(Need::names)
        .filter(|name| names::per_sample(name).is_some())
        .filter_map(|name| arrays.get(name))
        .map(|array| array.row_len() * 4)
        .sum();
    // Rows without inputs still have an id and a score.
    (bytes / row_bytes.max(16)).max(1)
}

/// What kind of failure a query ended in; stable names for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryErrorKind {
    /// The parameters do not fit.
    InvalidParams,
    /// The plugin answered with an error of its own.
    Failed,
    /// The plugin's code panicked.
    Panic,
    /// The plugin's code crashed (out of bounds, unreachable, stack overflow).
    Trap,
    /// It ran past its time limit.
    Timeout,
    /// It ran past its memory limit, or the limit on objects of the host.
    Memory,
    /// It ran out of fuel.
    Fuel,
    /// Its answer or its log is too large or malformed.
    Output,
    /// Its answer breaks the contract.
    Contract,
    /// It does not do what its package says.
    Dishonest,
    /// The user stopped it.
    Cancelled,
}

/// A limit that a query may have come up against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Wall-clock seconds.
    Seconds,
    /// Memory of the plugin.
    Memory,
    /// WebAssembly fuel.
    Fuel,
}

/// What to do about a query without an answer.
///
/// A limit is kept apart from the words, because its name depends on where the user gives it: a key of a file, or a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The limit to raise.
    pub raise: Option<Limit>,
    /// What else would help, or does where nothing is to be raised.
    pub advice: Option<String>,
}

impl Hint {
    /// To raise a limit, or to do something else.
    pub fn raise_or(limit: Limit, advice: impl Into<String>) -> Self {
        Self { raise: Some(limit), advice: Some(advice.into()) }
    }

    /// The advice in words, with limits called as `name` says.
    pub fn in_words(&self, name: impl Fn(Limit) -> &'static str) -> String {
        let raise = self.raise.map(|limit| format!("raise `{}`", name(limit)));
        raise.into_iter().chain(self.advice.clone()).collect::<Vec<_>>().join(", or ")
    }
}

impl From<Limit> for Hint {
    fn from(limit: Limit) -> Self {
        Self { raise: Some(limit), advice: None }
    }
}

impl From<&str> for Hint {
    fn from(advice: &str) -> Self {
        Self { raise: None, advice: Some(advice.to_owned()) }
    }
}

/// A query without an answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{identity}: {message}")]
pub struct QueryError {
    /// Which strategy, with package and version.
    pub identity: Box<StrategyIdentity>,
    /// The kind of failure.
    pub kind: QueryErrorKind,
    /// What happened, against what limit. May hold text of the plugin.
    pub message: Shown,
    /// What to do about it, in the host's words.
    pub hint: Option<Hint>,
}

impl QueryError {
    /// Bytes of a message at most: some lines of a panic.
    const MESSAGE_BYTES: usize = 4000;

    /// An error of a strategy.
    pub fn new(identity: &StrategyIdentity, kind: QueryErrorKind, message: impl AsRef<str>) -> Self {
        let message = Self::shown(message.as_ref());
        Self { identity: Box::new(identity.clone()), kind, message, hint: None }
    }

    /// What is said of an error, as it can be shown.
    pub fn shown(message: &str) -> Shown {
        Shown::lines(message, Self::MESSAGE_BYTES)
    }

    /// The same with advice.
    #[must_use]
    pub fn with_hint(self, hint: Option<Hint>) -> Self {
        Self { hint, ..self }
    }
}
