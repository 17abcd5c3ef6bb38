//! A registry of plugins: a folder of one text a plugin, read where it lies or from a server.
//!
//! It needs no program that answers: a git repository, or any copy of it, is one. `docs/installing-plugins.md` has the
//! format.

use std::path::{Component, Path, PathBuf};

use querist_core::StrategyKind;
use querist_files::Links;
use querist_loader::package::description::{check_name, speaks};
use querist_loader::package::file::parsed_toml;
use querist_protocol::{API_VERSION, Shown};
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::digest::{Digest, NoDigest};
use crate::fetch::{Address, Client, FetchError};
use crate::origin::{Origin, OriginError};

/// Name of the list of plugins, in the folder of a registry.
const LIST: &str = "registry.toml";
/// Folder of the plugins' texts.
const PLUGINS: &str = "plugins";
/// Bytes of a text at most.
const MAX_TEXT: u64 = 256 << 10;
/// Plugins of a registry at most, and versions of one.
const MOST: usize = 2000;
/// Versions that are named where none fits, the newest first.
const MOST_REASONS: usize = 5;
/// The version of this host.
const HOST: &str = env!("CARGO_PKG_VERSION");

/// A registry.
pub struct Registry<'a> {
    root: Root,
    client: &'a Client,
}

enum Root {
    Folder(PathBuf),
    Web(Address),
}

/// `registry.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    registry: u32,
    plugins: Vec<String>,
}

/// One plugin of a registry: `plugins/NAME.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the package.
    pub name: String,
    /// One line that says what its strategies do.
    pub summary: String,
    /// Where its source is kept.
    pub source: String,
    /// Under which licence.
    #[serde(default)]
    pub license: String,
    /// What was published.
    #[serde(default, rename = "version")]
    pub releases: Vec<Release>,
}

/// One published version.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its number, semver.
    pub version: String,
    /// The commit of the source that it was built from.
    pub commit: String,
    /// Where it lies: https://.., oci://.., or a path in the registry.
    pub file: String,
    /// SHA-256 of the file, or of the component of an image.
    pub digest: String,
    /// Version of the boundary that it was built for.
    pub api: String,
    /// How it is run.
    #[serde(default = "sandboxed")]
    pub kind: StrategyKind,
    /// Which versions of this host it needs, as Cargo writes requirements.
    #[serde(default)]
    pub querist: Option<String>,
    /// Why nobody should use it any more.
    #[serde(default)]
    pub withdrawn: Option<String>,
}

fn sandboxed() -> StrategyKind {
    StrategyKind::Wasm
}

/// The version of a plugin that this host can use, and why it cannot use newer ones.
#[derive(Debug)]
pub struct Choice<'a> {
    /// The newest that fits, if one does.
    pub release: Option<&'a Release>,
    /// Those that are newer, and why they do not fit.
    pub passed_over: Vec<(&'a Release, Shown)>,
}

/// Why a registry cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum RegistryError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    File(#[from] querist_files::FileError),
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error(transparent)]
    Digest(#[from] NoDigest),
    #[error("{text} of the registry: {reason}")]
    Text { text: Shown, reason: Shown },
    #[error("the registry has no plugin `{name}`{}", hint(near.as_deref()))]
    Unknown { name: Shown, near: Option<String> },
    #[error("no version of `{name}` fits this host:{}", reasons(passed_over))]
    NoneFits { name: String, passed_over: Vec<(String, Shown)> },
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

fn reasons(passed_over: &[(String, Shown)]) -> String {
    passed_over.iter().map(|(version, reason)| format!("\n  {version}: {reason}")).collect()
}

impl<'a> Registry<'a> {
    /// The registry in a folder or at an address.
    ///
    /// # Errors
    /// If it is an address that cannot be asked.
    pub fn open(place: &str, client: &'a Client) -> Result<Self, RegistryError> {
        let root = if place.contains("://") { Root::Web(Address::parse(place)?) } else { Root::Folder(place.into()) };
        Ok(Self { root, client })
    }

    /// Names of its plugins.
    ///
    /// # Errors
    /// If its list cannot be read.
    pub fn names(&self) -> Result<Vec<String>, RegistryError> {
        let list: List = parsed(LIST, &self.text(LIST)?)?;
        if list.registry != 1 {
            return Err(wrong(LIST, format!("format {}, this host reads format 1", list.registry)));
        }
        if list.plugins.len() > MOST {
            return Err(wrong(LIST, format!("{} plugins, the limit is {MOST}", list.plugins.len())));
        }
        for name in &list.plugins {
            check_name("plugin", name).map_err(|refused| wrong(LIST, refused.to_string()))?;
        }
        Ok(list.plugins)
    }

    /// One of its plugins.
    ///
    /// # Errors
    /// If there is none of that name, or its text cannot be read.
    pub fn entry(&self, name: &str) -> Result<Entry, RegistryError> {
        let names = self.names()?;
        if !names.iter().any(|known| known == name) {
            let near = querist_core::schema::suggest(&name.to_lowercase(), &names).map(str::to_owned);
            return Err(RegistryError::Unknown { name: Shown::name(name), near });
        }
        let file = format!("{PLUGINS}/{name}.toml");
        let entry: Entry = parsed(&file, &self.text(&file)?)?;
        if entry.name != name {
            return Err(wrong(&file, format!("it is about `{}`", Shown::name(&entry.name))));
        }
        if entry.releases.len() > MOST {
            return Err(wrong(&file, format!("{} versions, the limit is {MOST}", entry.releases.len())));
        }
        Ok(entry)
    }

    /// Where a version lies, with the digest that it has.
    ///
    /// # Errors
    /// If that names no place, or one outside the registry.
    pub fn origin(&self, release: &Release) -> Result<(Origin, Digest), RegistryError> {
        let digest = release.digest.parse()?;
        if release.file.contains("://") {
            return Ok((Origin::parse(&release.file)?, digest));
        }
        let path = Path::new(&release.file);
        if release.file.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(wrong(&release.file, "a path of the registry stays inside it".to_owned()));
        }
        Ok(match &self.root {
            Root::Folder(folder) => (Origin::Path(folder.join(path)), digest),
            Root::Web(address) => (Origin::Web(address.with(&format!("/{}", release.file))?), digest),
        })
    }

    fn text(&self, name: &str) -> Result<String, RegistryError> {
        match &self.root {
            Root::Folder(folder) => Ok(querist_files::read_text(&folder.join(name), Links::Refuse, MAX_TEXT)?),
            Root::Web(address) => {
                let bytes = self.client.get(&address.with(&format!("/{name}"))?, MAX_TEXT)?;
                String::from_utf8(bytes).map_err(|_| wrong(name, "it is no UTF-8".to_owned()))
            }
        }
    }
}

impl Entry {
    /// Whether a word stands in its name or summary.
    pub fn matches(&self, term: &str) -> bool {
        let term = term.to_lowercase();
        self.name.contains(&term) || self.summary.to_lowercase().contains(&term)
    }

    /// The newest version that this host can use.
    pub fn newest(&self) -> Choice<'_> {
        let mut releases: Vec<&Release> = self.releases.iter().collect();
        releases.sort_by_key(|release| std::cmp::Reverse(Version::parse(&release.version).ok()));
        let mut passed_over = Vec::new();
        for release in releases {
            match release.unfit() {
                None => return Choice { release: Some(release), passed_over },
                Some(reason) => passed_over.push((release, Shown::sentence(&reason))),
            }
        }
        Choice { release: None, passed_over }
    }

    /// The newest version that this host can use, or the very one that is wanted.
    ///
    /// # Errors
    /// If there is none, with the reason for each.
    pub fn chosen(&self, version: Option<&str>) -> Result<Choice<'_>, RegistryError> {
        let mut choice = self.newest();
        if let Some(wanted) = version {
            let release = self.releases.iter().find(|release| release.version == wanted);
            let unfit = match release {
                Some(release) => release.unfit(),
                None => Some("it was never published".to_owned()),
            };
            choice = match unfit {
                None => Choice { release, passed_over: Vec::new() },
                Some(reason) => return Err(self.none_fits(vec![(wanted.to_owned(), Shown::sentence(&reason))])),
            };
        }
        if choice.release.is_some() {
            return Ok(choice);
        }
        let passed_over = choice.passed_over.into_iter();
        Err(self.none_fits(passed_over.map(|(release, reason)| (release.version.clone(), reason)).collect()))
    }

    fn none_fits(&self, mut passed_over: Vec<(String, Shown)>) -> RegistryError {
        if passed_over.is_empty() {
            passed_over.push(("none".to_owned(), Shown::sentence("nothing was published")));
        }
        let shown = |(version, reason): (String, Shown)| (Shown::name(&version).into_string(), reason);
        let passed_over = passed_over.into_iter().take(MOST_REASONS).map(shown).collect();
        RegistryError::NoneFits { name: Shown::name(&self.name).into_string(), passed_over }
    }
}

impl Release {
    /// Why this host cannot use it.
    fn unfit(&self) -> Option<String> {
        if let Some(why) = &self.withdrawn {
            return Some(format!("withdrawn: {why}"));
        }
        if Version::parse(&self.version).is_err() {
            return Some("its number is no version".to_owned());
        }
        if !speaks(&self.api) {
            return Some(format!(
                "needs a host that speaks version {} of the boundary, this one speaks {API_VERSION}",
                self.api
            ));
        }
        let wanted = self.querist.as_ref()?;
        let host = Version::parse(HOST).ok()?;
        match VersionReq::parse(wanted) {
            Ok(range) if range.matches(&host) => None,
            Ok(range) => Some(format!("needs querist {range}, this is {host}")),
            Err(_) => Some(format!("needs querist `{wanted}`, which is no range of versions")),
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, RegistryError> {
    parsed_toml(text).map_err(|reason| wrong(file, reason))
}

fn wrong(file: &str, reason: String) -> RegistryError {
    RegistryError::Text { text: Shown::name(file), reason: Shown::sentence(&reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(versions: &[(&str, &str, &str, &str)]) -> Entry {
        let release = |(version, api, querist, withdrawn): &(&str, &str, &str, &str)| {
            let mut text =
                format!("version = {version:?}\ncommit = \"c\"\nfile = \"f\"\ndigest = \"d\"\napi = {api:?}\n");
            text += &[("querist", querist), ("withdrawn", withdrawn)]
                .map(|(key, value)| if value.is_empty() { String::new() } else { format!("{key} = {value:?}\n") })
                .concat();
            toml::from_str(&text).unwrap()
        };
        let releases = versions.iter().map(release).collect();
        Entry {
            name: "a".into(),
            summary: "Of Margins".into(),
            source: String::new(),
            license: String::new(),
            releases,
        }
    }

    #[test]
    fn the_newest_that_fits_is_chosen_and_newer_ones_say_why_not() {
        let plugin = entry(&[
            ("0.9.0", API_VERSION, "", ""),
            ("0.10.0", API_VERSION, ">=0.1", ""),
            ("0.11.0", API_VERSION, ">=90", ""),
            ("0.12.0", "77.0", "", ""),
            ("0.13.0", API_VERSION, "", "it picked twice"),
            ("newest", API_VERSION, "", ""),
        ]);
        let choice = plugin.newest();
        assert_eq!(choice.release.unwrap().version, "0.10.0", "by number, not by letter");
        let why: Vec<_> = choice.passed_over.iter().map(|(one, why)| (one.version.as_str(), why.as_str())).collect();
        assert_eq!(why.len(), 3, "{why:?}");
        assert!(why[0] == ("0.13.0", "withdrawn: it picked twice"), "{why:?}");
        assert!(why[1].0 == "0.12.0" && why[1].1.contains("speaks version 77.0"), "{why:?}");
        assert!(why[2].0 == "0.11.0" && why[2].1.contains("needs querist >=90"), "{why:?}");
        assert!(plugin.chosen(Some("0.9.0")).unwrap().release.is_some());
        for wrong in ["0.12.0", "7.0.0", "newest"] {
            assert!(plugin.chosen(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(entry(&[]).chosen(None).is_err());
        assert!(plugin.matches("margins") && !plugin.matches("entropy"));
    }
}
