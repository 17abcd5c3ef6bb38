//! What is understood of pictures in folders and archives, from names and headers alone.
//!
//! Nothing is decoded, so that a place can be shown whose pictures differ in size or are damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use querist_core::config::DatasetLayout;
use querist_files::Links;
use querist_protocol::Shown;
use rayon::prelude::*;

use crate::archive::Archive;
use crate::error::DataError;
use crate::ignored::is_ignored;
use crate::layout::{Context, Part, Place, Reading};
use crate::picture::Header;
use crate::picture_files::check_length;
use crate::places::Pictures;
use crate::tape::Kind;
use crate::walk::{MAX_OTHERS, Walked, is_picture, shown_names, too_many_others, walk};

/// Names that are shown of each kind of file.
const MOST_NAMED: usize = 3;

/// What was understood of pictures in folders or archives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Understood {
    /// Folders and archives that hold everything, or one split, and which split that is: `train`, `validation`, `test`.
    pub holders: Vec<(String, &'static str)>,
    /// Whether folders were read as splits; otherwise they are classes.
    pub has_splits: bool,
    /// Pictures of each class: to train on, to validate with, to test on.
    pub classes: BTreeMap<String, [usize; 3]>,
    /// Height and width of the pictures, each once, by their area.
    pub sizes: Vec<[usize; 2]>,
    /// Pictures of each mode, such as `colour` or `grey, 16 bits`.
    pub modes: BTreeMap<String, usize>,
    /// Pictures whose headers cannot be read.
    pub unreadable: Few,
    /// Hidden files and folders, and what file managers and servers leave.
    pub ignored: Few,
    /// Files and folders without pictures that lie beside splits and classes.
    pub beside: Few,
    /// Files in class folders that are no pictures by their names; these are refused.
    pub strangers: Few,
}

/// How many there are, and the names of the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Few {
    /// How many.
    pub count: usize,
    /// The first names.
    pub names: Vec<Shown>,
}

impl Few {
    fn add(&mut self, name: &str) {
        self.count += 1;
        if self.names.len() < MOST_NAMED {
            self.names.push(Shown::name(name));
        }
    }
}

impl Understood {
    /// Pictures to train on, to validate with, to test on.
    pub fn counts(&self) -> [usize; 3] {
        self.classes.values().fold([0; 3], |sum, counts| std::array::from_fn(|part| sum[part] + counts[part]))
    }

    /// Looks at what lies at `place`.
    pub(crate) fn of(place: &Path, layout: Option<DatasetLayout>) -> Result<Self, DataError> {
        let mut understood = Self::default();
        match Pictures::find(place, layout)? {
            Pictures::Folder(folder) => {
                let seen = understood.look_in_folder(&folder)?;
                let context = Context { place: &folder, known: None, layout, is_archive: false };
                understood.place(seen, context)?;
            }
            Pictures::Archives(archives) => {
                for (archive, known) in archives {
                    let seen = understood.look_in_archive(&archive)?;
                    let context = Context { place: &archive, known, layout, is_archive: true };
                    understood.place(seen, context)?;
                }
            }
        }
        Ok(understood)
    }

    fn look_in_folder(&mut self, folder: &Path) -> Result<Vec<Seen>, DataError> {
        let (mut seen, mut files) = (Vec::new(), Vec::new());
        for entry in walk(folder, &mut |name| self.ignored.add(name)) {
            let Walked { names, at: _, path, is_folder } = entry?;
            match is_folder || !is_picture(&names) {
                true => keep(&mut seen, Seen { names, is_folder, look: None }, folder)?,
                false => files.push((names, path)),
            }
        }
        let look = |(names, path): (Vec<String>, PathBuf)| {
            let file = querist_files::open(&path, Links::Follow)?;
            Ok(Seen { names, is_folder: false, look: Some(Header::read(file).ok()) })
        };
        let pictures: Vec<Seen> = files.into_par_iter().map(look).collect::<Result<_, DataError>>()?;
        seen.extend(pictures);
        Ok(seen)
    }

    fn look_in_archive(&mut self, path: &Path) -> Result<Vec<Seen>, DataError> {
        let mut archive = Archive::open(path)?;
        let (mut seen, mut others) = (Vec::new(), Vec::new());
        while let Some(member) = archive.next()? {
            let at = format!("{}#{}", archive.file(), member.path.display());
            let names = shown_names(&member.path, &at)?;
            let is_folder = member.kind == Kind::Folder;
            match names.iter().position(|name| is_ignored(name)) {
                // What lies in an ignored folder is not counted beside it.
                Some(ignored) if ignored + 1 == names.len() => self.ignored.add(&names[ignored]),
                Some(_) => {}
                None if names.is_empty() => {}
                None if is_folder || !is_picture(&names) => {
                    keep(&mut others, Seen { names, is_folder, look: None }, path)?;
                }
                None => {
                    check_length(member.size, &at)?;
                    let bytes = archive.content(&member, &at)?;
                    seen.push(Seen { names, is_folder, look: Some(Header::read(Cursor::new(bytes)).ok()) });
                }
            }
        }
        seen.append(&mut others);
        Ok(seen)
    }

    fn place(&mut self, seen: Vec<Seen>, context: Context<'_>) -> Result<(), DataError> {
        let pictures = seen.iter().filter(|seen| seen.look.is_some()).map(|seen| &seen.names[..]);
        let reading = Reading::of(pictures, context)?;
        self.hold(&reading, context);
        let mut sizes: BTreeSet<[usize; 2]> = self.sizes.drain(..).collect();
        for Seen { names, is_folder, look } in seen {
            let path = names.join("/");
            match (look, reading.place(names)) {
                (Some(look), Place::InClass { part, class, names }) if !names.is_empty() => {
                    self.classes.entry(class).or_default()[part as usize] += 1;
                    match look {
                        None => self.unreadable.add(&path),
                        Some(header) => {
                            let [height, width, _] = header.shape();
                            sizes.insert([height, width]);
                            *self.modes.entry(mode(&header)).or_default() += 1;
                        }
                    }
                }
                (Some(_), _) => return Err(reading.outside(context.place.join(path).display().to_string())),
                (None, Place::InClass { names, .. }) if !names.is_empty() && !is_folder => self.strangers.add(&path),
                (None, Place::Beside) => self.beside.add(&path),
                (None, Place::InSplit) if !is_folder => self.beside.add(&path),
                (None, Place::InClass { names, .. }) if names.is_empty() && !is_folder => self.beside.add(&path),
                (None, _) => {}
            }
        }
        self.sizes = sizes.into_iter().collect();
        self.sizes.sort_by_key(|&[height, width]| (height.saturating_mul(width), height));
        Ok(())
    }

    /// Notes where the parts of the dataset come from.
    fn hold(&mut self, reading: &Reading, context: Context<'_>) {
        let place = [context.place.display().to_string()];
        let path = |split: Option<&String>| {
            let names: Vec<&str> = place.iter().chain(&reading.wrappers).chain(split).map(String::as_str).collect();
            names.join("/")
        };
        self.has_splits |= !reading.splits.is_empty() || context.known.is_some();
        match reading.splits.is_empty() {
            true => self.holders.push((path(None), reading.part.name())),
            false => {
                let mut splits: Vec<_> = reading.splits.iter().map(|(top, (part, _))| (part, top)).collect();
                splits.sort_unstable();
                self.holders.extend(splits.into_iter().map(|(part, top)| (path(Some(top)), part.name())));
            }
        }
    }
}

/// Something in a folder or an archive; a picture has a look, which is empty where its header cannot be read.
struct Seen {
    names: Vec<String>,
    is_folder: bool,
    look: Option<Option<Header>>,
}

fn keep(others: &mut Vec<Seen>, seen: Seen, place: &Path) -> Result<(), DataError> {
    if others.len() == MAX_OTHERS {
        return Err(too_many_others(place));
    }
    others.push(seen);
    Ok(())
}

/// What a header says of colours.
fn mode(header: &Header) -> String {
    let mut mode = if header.grey { "grey" } else { "colour" }.to_owned();
    if header.inks {
        mode += " in inks (CMYK)";
    }
    if header.clear {
        mode += " with transparency";
    }
    if header.bits > 8 {
        mode += &format!(", {} bits", header.bits);
    }
    mode
}

impl fmt::Display for Understood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        let kind = if self.has_splits { "splits" } else { "classes" };
        writeln!(f, "folders read as {kind}:")?;
        for (holder, part) in &self.holders {
            writeln!(f, "  {part:<10}  {}", Shown::sentence(holder))?;
        }
        let width = self.classes.keys().map(|class| class.chars().count()).chain([5]).max().unwrap_or(5);
        let parts: Vec<usize> = (0..3).filter(|&part| part == 0 || counts[part] > 0).collect();
        let row = |f: &mut fmt::Formatter<'_>, name: &str, cells: &dyn Fn(usize) -> String| {
            write!(f, "{name:<width$}")?;
            parts.iter().try_for_each(|&part| write!(f, "  {:>10}", cells(part)))?;
            writeln!(f)
        };
        row(f, "CLASS", &|part| Part::ALL[part].name().to_uppercase())?;
        for (class, counts) in &self.classes {
            row(f, class, &|part| counts[part].to_string())?;
        }
        row(f, "all", &|part| counts[part].to_string())?;
        match self.sizes.as_slice() {
            [] => {}
            [[height, width]] => writeln!(f, "sizes: all {height}x{width} (height x width)")?,
            [[h, w], .., [height, width]] => {
                let distinct = self.sizes.len();
                writeln!(f, "sizes: {distinct} different, from {h}x{w} to {height}x{width} (height x width)")?;
            }
        }
        if !self.modes.is_empty() {
            let modes: Vec<String> = self.modes.iter().map(|(mode, count)| format!("{count} {mode}")).collect();
            writeln!(f, "modes: {}", modes.join("; "))?;
        }
        let kinds = [
            ("skipped", &self.ignored, "hidden or left by a file manager"),
            ("skipped", &self.beside, "beside the pictures"),
            ("refused", &self.strangers, "in class folders and no pictures"),
            ("refused", &self.unreadable, "without a readable header"),
        ];
        for (said, few, what) in kinds.into_iter().filter(|(_, few, _)| few.count > 0) {
            let names: Vec<String> = few.names.iter().map(|name| format!("`{name}`")).collect();
            let more = if few.count > names.len() { ", ..." } else { "" };
            writeln!(f, "{said}: {} {what} ({}{more})", few.count, names.join(", "))?;
        }
        Ok(())
    }
}
