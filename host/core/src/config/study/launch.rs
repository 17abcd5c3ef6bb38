//! How the runs of a study are started.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What starts runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Launcher {
    /// Processes on this machine.
    #[default]
    Local,
    /// Tasks of a Slurm job array, through `sbatch`.
    Slurm,
    /// A command of your own that starts one cell.
    Command,
}

/// How runs are started; nothing here changes a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LaunchConfig {
    /// What starts them.
    pub launcher: Launcher,
    /// Runs at a time.
    #[schemars(range(min = 1, max = 10000))]
    pub jobs: usize,
    /// Minutes after which a run is stopped at its next safe point, and ended a minute later; no limit where it is left
    /// out. The next call goes on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 1000000.0))]
    pub minutes: Option<f64>,
    /// Main memory of a run, asked for from Slurm, such as `16G`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}[KMGT]?$"))]
    pub memory: Option<String>,
    /// Devices that local runs share, one run at a time each, such as `["cuda:0", "cuda:1"]`, in place of
    /// `compute.device`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(regex(pattern = r"^(cpu|cuda:[0-9]{1,3})$")))]
    pub devices: Vec<String>,
    /// Whether each local run keeps to cores of its own, where there are enough.
    pub pin: bool,
    /// File with lines for the head of Slurm's job script: partition, account, modules, environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub template: Option<String>,
    /// The command that starts one cell, for `command`: a list of words in which `{cell}` becomes the words that do the
    /// cell, `{line}` the same as one line for a shell, `{name}` a name for the job, `{index}` its number from 0. It
    /// may end before the cell does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 65536)))]
    pub command: Vec<String>,
}

impl Default for LaunchConfig {
    fn default() -> Self {
        Self {
            launcher: Launcher::Local,
            jobs: 1,
            minutes: None,
            memory: None,
            devices: Vec::new(),
            pin: true,
            template: None,
            command: Vec::new(),
        }
    }
}
