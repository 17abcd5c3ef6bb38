//! What people are asked.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use querist_files::{Links, read};
use querist_protocol::Shown;
use serde::{Deserialize, Serialize};

use crate::PeopleError;

/// Folder of a run in which a batch waits.
pub const WAITING: &str = "waiting";
/// The file in it that says what is asked.
pub const BATCH: &str = "batch.json";

/// Version of that file.
const VERSION: u32 = 1;
/// Bytes of it at most: room for a million pictures.
const MOST_BYTES: u64 = 256 << 20;
/// Classes at most.
const MOST_CLASSES: usize = 10_000;
/// Bytes of the name of a class or a picture at most.
const MOST_NAME: usize = 4096;

/// Samples that a run asked for and waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Version of the file, 1.
    pub version: u32,
    /// What it is asked for.
    pub stage: Stage,
    /// Who chose it.
    pub strategy: String,
    /// Names of the classes, by number; at least two, all different.
    pub classes: Vec<String>,
    /// The folder that names of pictures start from, absolute.
    pub folder: PathBuf,
    /// How many people look at each picture.
    pub looks: Looks,
    /// What is asked, in the order in which it was chosen; at least one, none twice.
    pub pictures: Vec<Picture>,
}

/// Tells the file of one batch from that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp([i64; 4]);

/// One picture that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// The sample.
    pub id: u64,
    /// Its file, below [`Batch::folder`].
    pub name: String,
    /// The strategy's score, where it gave one; higher was chosen earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// What the model takes it for, where one was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guess: Option<Guess>,
}

/// What a model takes a picture for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guess {
    /// Number of the class.
    pub class: u32,
    /// How likely the model finds it, 0 to 1.
    pub probability: f64,
}

/// What labels are asked for: the set that a run starts from, or a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Stage {
    /// The labelled set before round 0.
    Initial,
    /// The batch that this round asked for.
    Round(u32),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initial => f.write_str("initial"),
            Self::Round(round) => write!(f, "round-{round}"),
        }
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let round = || text.strip_prefix("round-")?.parse().ok().map(Self::Round);
        match text {
            "initial" => Ok(Self::Initial),
            _ => round().ok_or_else(|| format!("`{}`, expected `initial` or `round-N`", Shown::name(text))),
        }
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> Self {
        stage.to_string()
    }
}

impl TryFrom<String> for Stage {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// How many people look at each picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Looks {
    /// One: several people share the pictures out among them.
    #[default]
    One,
    /// Two different ones, and a third look where they disagree.
    Two,
}

impl Looks {
    /// The number.
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

impl From<Looks> for u8 {
    fn from(looks: Looks) -> Self {
        looks.count() as Self
    }
}

impl TryFrom<u8> for Looks {
    type Error = String;

    fn try_from(count: u8) -> Result<Self, String> {
        match count {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            _ => Err(format!("{count} looks a picture, expected 1 or 2")),
        }
    }
}

impl Batch {
    /// The batch that waits in a run folder, checked; `None` where nothing waits.
    ///
    /// # Errors
    /// If the file cannot be read, or says what no run asks.
    pub fn read(run: &Path) -> Result<Option<Self>, PeopleError> {
        let path = run.join(WAITING).join(BATCH);
        let bytes = match read(&path, Links::Refuse, MOST_BYTES) {
            Err(error) if error.is_not_found() => return Ok(None),
            bytes => bytes?,
        };
        let batch: Self =
            serde_json::from_slice(&bytes).map_err(|error| PeopleError::batch(&path, error.to_string()))?;
        batch.check().map_err(|message| PeopleError::batch(&path, message))?;
        Ok(Some(batch))
    }

    /// What tells the file of the batch that waits from every other one; `None` where nothing waits.
    pub fn stamp(run: &Path) -> Option<Stamp> {
        let found = std::fs::symlink_metadata(run.join(WAITING).join(BATCH)).ok()?;
        Some(Stamp([found.ino() as i64, found.len() as i64, found.mtime(), found.mtime_nsec()]))
    }

    /// Writes the batch into a folder and makes it durable there.
    ///
    /// # Errors
    /// If it is none that can be asked, or the disk refuses.
    pub fn write(&self, folder: &Path) -> Result<(), PeopleError> {
        let path = folder.join(BATCH);
        self.check().map_err(|message| PeopleError::batch(&path, message))?;
        let text = serde_json::to_vec(self).map_err(|error| PeopleError::batch(&path, error.to_string()))?;
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(&text)?;
            file.sync_all()
        };
        write().map_err(|error| PeopleError::write(&path, error))
    }

    /// Where the file of a picture lies.
    pub fn path(&self, picture: &Picture) -> PathBuf {
        self.folder.join(&picture.name)
    }

    /// Where a file of this name lies; `None` of a name that leads out of the folder.
    pub fn inside(&self, name: &str) -> Option<PathBuf> {
        (!name.is_empty() && stays_inside(name)).then(|| self.folder.join(name))
    }

    /// Number of a class by its name.
    pub fn class(&self, name: &str) -> Option<u32> {
        self.classes.iter().position(|class| class == name).map(|class| class as u32)
    }

    fn check(&self) -> Result<(), String> {
        let Self { version, classes, folder, pictures, .. } = self;
        if *version != VERSION {
            return Err(format!("version {version}, expected {VERSION}"));
        }
        if !(2..=MOST_CLASSES).contains(&classes.len()) {
            return Err(format!("{} classes, expected 2 to {MOST_CLASSES}", classes.len()));
        }
        let mut names = HashSet::new();
        for class in classes {
            check_name("class", class)?;
            if !names.insert(class) {
                return Err(format!("class `{}` twice", Shown::name(class)));
            }
        }
        if !folder.is_absolute() {
            return Err(format!("folder `{}`, expected an absolute path", querist_files::shown(folder)));
        }
        if pictures.is_empty() {
            return Err("no pictures, expected one or more".to_owned());
        }
        let mut ids = HashSet::with_capacity(pictures.len());
        for picture in pictures {
            picture.check(classes.len())?;
            if !ids.insert(picture.id) {
                return Err(format!("sample {} twice", picture.id));
            }
        }
        Ok(())
    }
}

impl Picture {
    fn check(&self, classes: usize) -> Result<(), String> {
        check_name("picture", &self.name)?;
        if !stays_inside(&self.name) {
            let name = Shown::name(&self.name);
            return Err(format!("picture `{name}` leads out of its folder, expected a path below it"));
        }
        if self.score.is_some_and(|score| !score.is_finite()) {
            return Err(format!("the score of sample {} is no number", self.id));
        }
        match self.guess {
            Some(guess) if guess.class as usize >= classes || !(0.0..=1.0).contains(&guess.probability) => {
                Err(format!("the guess for sample {} is {guess:?}, expected one of {classes} classes", self.id))
            }
            _ => Ok(()),
        }
    }
}

fn stays_inside(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MOST_NAME || name.chars().any(char::is_control) {
        let name = Shown::name(name);
        return Err(format!("{what} `{name}`, expected 1 to {MOST_NAME} bytes without control characters"));
    }
    Ok(())
}
