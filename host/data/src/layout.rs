//! How names of folders become splits and classes.
//!
//! One rule. Folders that hold all pictures and say nothing (`flowers/` around everything) are passed. Where every
//! folder on the first level that tells pictures apart is named like a split, the folders are splits and the folders in
//! them are classes; where none is, they are classes. Names count in any case, with their usual synonyms; a folder of
//! validation pictures is the validation set and nothing else. Whatever can be read in two ways is refused with both,
//! and `dataset.layout` chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use querist_core::config::DatasetLayout;

use crate::error::DataError;

/// Names that a message lists at most.
const MOST_NAMED: usize = 5;

/// Part of a dataset, in the order of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    Train,
    Validation,
    Test,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// The name of the part, and of its folder where samples are named.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// What its pictures are called.
    pub fn adjective(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// The part that a folder with this name holds where folders are splits: `train`, `Training`, `test_set`, `VALID`.
    pub fn of(folder: &str) -> Option<Self> {
        let letters: String = folder.chars().filter(|c| !"_- .".contains(*c)).flat_map(char::to_lowercase).collect();
        let stem = SUFFIXES.iter().find_map(|suffix| letters.strip_suffix(suffix)).unwrap_or(&letters);
        Self::of_word(&letters).or_else(|| Self::of_word(stem))
    }

    fn of_word(word: &str) -> Option<Self> {
        match word {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validate" | "validation" | "dev" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }

    /// The one part that a word of a longer name tells (`seg_train`, `val2017`), and what is left of the name.
    pub fn within(name: &str) -> Option<(Self, String)> {
        let name = name.to_lowercase();
        let words = || name.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        let found: Vec<&str> = words().filter(|word| Self::of(word).is_some()).collect();
        let [word] = found[..] else { return None };
        Some((Self::of(word)?, name.replacen(word, "", 1)))
    }
}

/// What may follow the word of a split in one name.
const SUFFIXES: [&str; 6] = ["dataset", "images", "split", "data", "imgs", "set"];

/// What is known of a place before its names are read.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub place: &'a Path,
    /// The part that the name of an archive tells.
    pub known: Option<Part>,
    pub layout: Option<DatasetLayout>,
    /// Whether the names are those of an archive, which customarily holds one folder with everything.
    pub is_archive: bool,
}

impl Context<'_> {
    /// The part that pictures of a part are used as.
    fn as_used(&self, part: Part) -> Part {
        match (part, self.layout) {
            (Part::Validation, Some(DatasetLayout::ValidationIsTest)) => Part::Test,
            (part, _) => part,
        }
    }

    /// The part of everything, where folders are classes.
    fn part(&self) -> Part {
        self.as_used(self.known.unwrap_or(Part::Train))
    }
}

/// How the folders of a place are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Folders around everything.
    pub wrappers: Vec<String>,
    /// Folders that are splits, with the part of each and how often its name is repeated inside; none where folders are
    /// classes.
    pub splits: BTreeMap<String, (Part, usize)>,
    /// The part of everything, where folders are classes.
    pub part: Part,
}

/// Where a path belongs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Beside all splits or classes.
    Beside,
    /// The folder of a split.
    Split(Part),
    /// In a split, or in the dataset, and in no class.
    InSplit,
    /// The folder of a class, or what lies in it (`names` is not empty then).
    InClass { part: Part, class: String, names: Vec<String> },
}

impl Reading {
    /// Reads the paths of all pictures of one place.
    pub fn of<'p>(
        pictures: impl Iterator<Item = &'p [String]> + Clone,
        context: Context<'_>,
    ) -> Result<Self, DataError> {
        let mut depth = 0;
        loop {
            let level = Level::of(pictures.clone(), depth);
            let names_a_split = level.tops.iter().any(|top| Part::of(top).is_some());
            let wraps = level.tops.len() == 1 && level.least >= depth + 3;
            let classes_only = context.layout == Some(DatasetLayout::Classes);
            if wraps && (classes_only || !names_a_split) {
                depth += 1;
                continue;
            }
            let first = pictures.clone().next();
            let wrappers = first.map(|names| names[..depth].to_vec()).unwrap_or_default();
            return level.read(wrappers, pictures, context);
        }
    }

    /// What is wrong with a picture outside all class folders.
    pub fn outside(&self, at: String) -> DataError {
        let expected = match self.splits.keys().next() {
            None => "`<class>/<picture>`".to_owned(),
            Some(split) => format!(
                "`{split}/<class>/<picture>`; where {} are classes, set `dataset.layout = \"classes\"`",
                list(self.splits.keys())
            ),
        };
        DataError::malformed(at, "", "a picture outside any class folder", expected)
    }

    /// Where a path belongs that has these names.
    pub fn place(&self, mut names: Vec<String>) -> Place {
        if names.len() <= self.wrappers.len() || !names.starts_with(&self.wrappers) {
            return if self.wrappers.starts_with(&names) { Place::InSplit } else { Place::Beside };
        }
        names.drain(..self.wrappers.len());
        let mut part = self.part;
        if !self.splits.is_empty() {
            let (own, repeated) = match (self.splits.get(&names[0]), Part::of(&names[0])) {
                (Some(&known), _) => known,
                // A split without pictures.
                (None, Some(part)) => (part, 0),
                (None, None) => return Place::Beside,
            };
            part = own;
            let outer = (1 + repeated).min(names.len());
            let is_split = names.len() == 1;
            names.drain(..outer);
            if is_split {
                return Place::Split(part);
            }
        }
        match names.len() {
            0 => Place::InSplit,
            _ => Place::InClass { part, class: names.remove(0), names },
        }
    }
}

/// The folders of one level.
struct Level {
    depth: usize,
    /// Names at this depth.
    tops: BTreeSet<String>,
    /// Names of the shortest path.
    least: usize,
}

impl Level {
    fn of<'p>(pictures: impl Iterator<Item = &'p [String]>, depth: usize) -> Self {
        let mut level = Self { depth, tops: BTreeSet::new(), least: usize::MAX };
        for names in pictures {
            level.least = level.least.min(names.len());
            // A picture outside all folders is refused when it is placed.
            if names.len() > depth + 1 && !level.tops.contains(&names[depth]) {
                level.tops.insert(names[depth].clone());
            }
        }
        level
    }

    fn read<'p>(
        self,
        wrappers: Vec<String>,
        pictures: impl Iterator<Item = &'p [String]> + Clone,
        context: Context<'_>,
    ) -> Result<Reading, DataError> {
        let pure: BTreeMap<&String, Part> = self.tops.iter().filter_map(|top| Some((top, Part::of(top)?))).collect();
        let parts = match context.layout {
            Some(DatasetLayout::Classes) => BTreeMap::new(),
            Some(DatasetLayout::Splits | DatasetLayout::ValidationIsTest) => self.forced(context)?,
            None if pure.is_empty() => self.unless_alike(context).map(|()| BTreeMap::new())?,
            None if pure.len() < self.tops.len() => return Err(self.mixed(&pure, context)),
            None => pure,
        };
        if parts.is_empty() {
            self.check_wrappers(&wrappers, context)?;
            return Ok(Reading { wrappers, splits: BTreeMap::new(), part: context.part() });
        }
        self.check_splits(&parts, context)?;
        let splits = parts.iter().map(|(&top, &part)| {
            let inside = pictures.clone().filter(|names| names.get(self.depth) == Some(top));
            (top.clone(), (context.as_used(part), repeated(inside, self.depth + 1, (top, part))))
        });
        Ok(Reading { wrappers, splits: splits.collect(), part: context.part() })
    }

    /// The splits where the user says that there are some: a word in a name will do.
    fn forced(&self, context: Context<'_>) -> Result<BTreeMap<&String, Part>, DataError> {
        let part = |top: &String| Part::of(top).or_else(|| Part::within(top).map(|(part, _)| part));
        let odd: Vec<&String> = self.tops.iter().filter(|top| part(top).is_none()).collect();
        // An archive whose name tells its part may hold classes only.
        if odd.len() == self.tops.len() && context.known.is_some() {
            return Ok(BTreeMap::new());
        }
        if !odd.is_empty() {
            let found = format!("{} not named like splits, with `dataset.layout` set to read splits", list(odd));
            let expected = "folders such as `train`, `validation` and `test`; move the others away or rename them";
            return Err(DataError::malformed(context.place.display(), "", found, expected));
        }
        Ok(self.tops.iter().filter_map(|top| Some((top, part(top)?))).collect())
    }

    /// Refuses folders whose names are the same but for the word of a split: `seg_train`, `seg_test`.
    fn unless_alike(&self, context: Context<'_>) -> Result<(), DataError> {
        let mut rests: BTreeMap<String, BTreeMap<Part, &String>> = BTreeMap::new();
        for top in &self.tops {
            if let Some((part, rest)) = Part::within(top) {
                rests.entry(rest).or_default().insert(part, top);
            }
        }
        let Some(alike) = rests.values().find(|alike| alike.len() > 1) else { return Ok(()) };
        let found = format!("{}, which can be splits or classes by their names", list(alike.values()));
        let expected = "one meaning: `dataset.layout = \"splits\"`, or `dataset.layout = \"classes\"`";
        Err(DataError::malformed(context.place.display(), "", found, expected))
    }

    fn mixed(&self, pure: &BTreeMap<&String, Part>, context: Context<'_>) -> DataError {
        let others: Vec<&String> = self.tops.iter().filter(|top| !pure.contains_key(top)).collect();
        let found = format!("{} named like splits beside {}", list(pure.keys()), list(&others));
        let expected = format!(
            "one meaning: with `dataset.layout = \"classes\"` all of them are classes; for splits, move {} away",
            list(&others)
        );
        DataError::malformed(context.place.display(), "", found, expected)
    }

    /// Refuses one folder around what would be the classes: it can be a class itself.
    fn check_wrappers(&self, wrappers: &[String], context: Context<'_>) -> Result<(), DataError> {
        let Some(last) = wrappers.last() else { return Ok(()) };
        if context.layout == Some(DatasetLayout::Classes) || (context.is_archive && self.tops.len() > 1) {
            return Ok(());
        }
        let wrapper = wrappers.join("/");
        let found = format!("every picture in `{wrapper}`, in which lie {}", list(&self.tops));
        let inner = match context.is_archive {
            true => String::new(),
            false => format!(" or `dataset.path = \"{}\"`", context.place.join(&wrapper).display()),
        };
        let expected = format!(
            "two classes or more: either `{last}` is one of them and others are missing, or the folders in it are the \
             classes; then set `dataset.layout = \"classes\"`{inner}"
        );
        Err(DataError::malformed(context.place.display(), "", found, expected))
    }

    /// Each part once, and of those that can be here.
    fn check_splits(&self, parts: &BTreeMap<&String, Part>, context: Context<'_>) -> Result<(), DataError> {
        let bad = |found: String, expected: &str| {
            Err(DataError::malformed(context.place.display(), "", found, expected.to_owned()))
        };
        let of = |part: Part| parts.iter().filter(move |(_, own)| **own == part).map(|(top, _)| *top);
        for part in Part::ALL {
            if of(part).count() > 1 {
                let found = format!("{}, all folders of {} pictures by their names", list(of(part)), part.adjective());
                return bad(found, "one folder a split; join them, or set `dataset.layout = \"classes\"`");
            }
        }
        let both = of(Part::Validation).chain(of(Part::Test));
        let tests_on_validation = context.layout == Some(DatasetLayout::ValidationIsTest);
        if tests_on_validation && context.known.is_none() && both.count() != 1 {
            let found = format!("`dataset.layout = \"validation-is-test\"` with {}", list(parts.keys()));
            return bad(found, "a validation folder and no test folder; `dataset.layout = \"splits\"` reads both");
        }
        if let Some(known) = context.known {
            // The name of an archive tells a part, and so do folders in it.
            let strangers: Vec<&String> = parts.iter().filter(|(_, own)| **own != known).map(|(top, _)| *top).collect();
            if !strangers.is_empty() {
                let found = format!("{} in an archive of {} pictures", list(strangers), known.adjective());
                return bad(found, "folders of that part; rename the archive, or name it with `dataset.path`");
            }
        }
        Ok(())
    }
}

/// How often the name of a split is repeated in it around everything (`training_set/training_set/cats/...`).
fn repeated<'p>(
    pictures: impl Iterator<Item = &'p [String]> + Clone,
    depth: usize,
    (top, part): (&str, Part),
) -> usize {
    let same = |name: &String| name.eq_ignore_ascii_case(top) || Part::of(name) == Some(part);
    let repeats = |at: &usize| {
        let mut inside = pictures.clone().map(|names| names.get(*at).filter(|_| names.len() >= at + 3));
        inside.all(|name| name.is_some_and(same))
    };
    (depth..).take_while(repeats).count()
}

/// Names for a message, the first few of them.
pub(crate) fn list(names: impl IntoIterator<Item: AsRef<str>>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let shown: Vec<String> = names.iter().map(AsRef::as_ref).take(MOST_NAMED).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "none".to_owned(),
        1..=MOST_NAMED => shown.join(", "),
        more => format!("{} and {} more", shown.join(", "), more - MOST_NAMED),
    }
}
