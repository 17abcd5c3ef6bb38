//! `plugin.toml`: what a package says of itself, in its folder.

use std::path::Path;

use querist_core::StrategyKind;
use querist_protocol::{Capability, Description, Shown, StrategyDescription};
use serde::{Deserialize, Serialize};

use super::file::{inside, read_text};
use super::refused::RefusedPackage;

/// Name of the manifest in a package folder.
pub const FILE: &str = "plugin.toml";

/// `plugin.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub manifest: u32,
    /// Package name in kebab-case.
    pub package: String,
    /// Package version, semver.
    pub version: String,
    /// How the artifact is run.
    pub kind: StrategyKind,
    /// Version of the boundary that it was built for.
    pub api: String,
    /// The artifact's file name, in the same folder.
    pub artifact: String,
    /// The strategies.
    #[serde(rename = "strategy")]
    pub strategies: Vec<ManifestStrategy>,
}

/// One strategy in `plugin.toml`; its schema is a file of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestStrategy {
    /// Id in kebab-case.
    pub id: String,
    /// One line that says what it asks for.
    pub summary: String,
    /// The paper it follows.
    pub paper: String,
    /// Time and memory beyond the inputs, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cost: String,
    /// Whether it scores rows one by one.
    pub scorer: bool,
    /// Other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Needs under the default parameters.
    pub needs: Vec<String>,
    /// What other parameters may make it need beside those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_need: Vec<String>,
    /// Declared powers beyond arrays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// File name of the schema, in the same folder.
    pub schema: String,
}

impl Manifest {
    /// The manifest of a described package with its schema files' contents.
    pub fn of(description: &Description, kind: StrategyKind, artifact: &str) -> Self {
        let strategy = |s: &StrategyDescription| ManifestStrategy {
            id: s.id.clone(),
            summary: s.summary.clone(),
            paper: s.paper.clone(),
            cost: s.cost.clone(),
            scorer: s.scorer,
            aliases: s.aliases.clone(),
            needs: s.needs.clone(),
            may_need: s.may_need.clone(),
            capabilities: s.capabilities.clone(),
            schema: format!("{}.schema.json", s.id),
        };
        Self {
            manifest: 1,
            package: description.package.clone(),
            version: description.version.clone(),
            kind,
            api: description.api.clone(),
            artifact: artifact.to_owned(),
            strategies: description.strategies.iter().map(strategy).collect(),
        }
    }
}

impl Manifest {
    /// What manifest and schema files say of the package.
    pub(super) fn description(&self, folder: &Path) -> Result<Description, RefusedPackage> {
        let strategy = |s: &ManifestStrategy| {
            let text = read_text(&inside(folder, &s.schema)?)?;
            let schema = serde_json::from_str(&text)
                .map_err(|error| RefusedPackage::new(format!("{}: {error}", Shown::name(&s.schema))))?;
            Ok(StrategyDescription {
                id: s.id.clone(),
                summary: s.summary.clone(),
                paper: s.paper.clone(),
                cost: s.cost.clone(),
                scorer: s.scorer,
                aliases: s.aliases.clone(),
                needs: s.needs.clone(),
                may_need: s.may_need.clone(),
                capabilities: s.capabilities.clone(),
                schema,
            })
        };
        Ok(Description {
            package: self.package.clone(),
            version: self.version.clone(),
            api: self.api.clone(),
            strategies: self.strategies.iter().map(strategy).collect::<Result<_, _>>()?,
        })
    }
}
