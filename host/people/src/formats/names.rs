//! Which picture a file means: by sample, by the picture's own name, or by the name it was written under.
//!
//! Tools sort by name, so pictures are written as `RANK-SAMPLE-NAME`. The sample in it finds the picture again, and the
//! rest must be its name, so that a file that belongs to another run is not taken for this one's.

use std::collections::HashMap;

use querist_protocol::Shown;

use super::Which;
use crate::{Batch, Picture};

/// Bytes that are kept of a picture's name: with rank and sample it fits every file system.
const MOST_STEM: usize = 120;
const MOST_ENDING: usize = 16;

/// The name that a picture is written under.
pub(super) fn ranked(rank: usize, digits: usize, picture: &Picture) -> String {
    format!("{rank:0digits$}-{}-{}", picture.id, base(&picture.name))
}

/// The last part of a name, without what some systems allow in no name, and not too long.
fn base(name: &str) -> String {
    let (stem, ending) = split(last(name));
    let mut base = cleaned(stem, MOST_STEM);
    if let Some(ending) = ending {
        base.push('.');
        base += &cleaned(ending, MOST_ENDING);
    }
    base
}

fn cleaned(text: &str, most: usize) -> String {
    let safe = |c: char| {
        let is_bad = c.is_control() || "\\/:*?\"<>|\u{fffe}\u{ffff}".contains(c);
        if is_bad { '_' } else { c }
    };
    text[..text.floor_char_boundary(most)].chars().map(safe).collect()
}

fn last(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// A name without its ending, and the ending.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && ending.len() <= MOST_ENDING => (stem, Some(ending)),
        _ => (name, None),
    }
}

/// Sample and rest of a name that may be a ranked one.
fn parse(name: &str) -> Option<(u64, &str)> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (rank, rest) = last(name).split_once('-')?;
    let (id, rest) = rest.split_once('-')?;
    (is_number(rank) && is_number(id)).then_some(())?;
    Some((id.parse().ok()?, rest))
}

/// Finds pictures of a batch.
pub(super) struct Places<'a> {
    batch: &'a Batch,
    ids: HashMap<u64, usize>,
    names: HashMap<&'a str, usize>,
    /// By the last part of the name, and by both without the ending; nothing where several have it. A name in another
    /// folder is no such part: it may be another picture.
    parts: HashMap<&'a str, Option<usize>>,
}

impl<'a> Places<'a> {
    pub fn of(batch: &'a Batch) -> Self {
        let (mut ids, mut names, mut parts) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (place, picture) in batch.pictures.iter().enumerate() {
            ids.insert(picture.id, place);
            names.insert(picture.name.as_str(), place);
            let (whole, part) = (picture.name.as_str(), last(&picture.name));
            for part in [part, split(part).0, split(whole).0] {
                let of_this_only = |known: &mut Option<usize>| *known = known.filter(|known| *known == place);
                parts.entry(part).and_modify(of_this_only).or_insert(Some(place));
            }
        }
        Self { batch, ids, names, parts }
    }

    /// The place of a picture in the batch, or why it has none.
    pub fn find(&self, which: &Which) -> Result<usize, String> {
        match which {
            Which::Id(id, name) => self.by_id(*id, name.as_deref()),
            Which::Name(name) => self.by_name(name),
        }
    }

    fn by_id(&self, id: u64, name: Option<&str>) -> Result<usize, String> {
        let Some(&place) = self.ids.get(&id) else {
            return Err(format!("sample {id} is not asked for by {}", self.batch.stage));
        };
        let own = &self.batch.pictures[place].name;
        match name {
            Some(name) if name != own => {
                let (name, own) = (Shown::name(name), Shown::name(own));
                Err(format!("sample {id} is `{own}`, but the file calls it `{name}`: it may belong to another run"))
            }
            _ => Ok(place),
        }
    }

    fn by_name(&self, name: &str) -> Result<usize, String> {
        let own = self.names.get(name).copied();
        match (own, self.by_ranked(name)) {
            (Some(own), Some(ranked)) if own != ranked => {
                let [own, ranked] = [own, ranked].map(|place| self.batch.pictures[place].id);
                let name = Shown::name(name);
                Err(format!("`{name}` is the name of sample {own}, and what sample {ranked} was written under"))
            }
            (Some(place), _) | (None, Some(place)) => Ok(place),
            (None, None) => self.by_part(name),
        }
    }

    fn by_ranked(&self, name: &str) -> Option<usize> {
        let (id, rest) = parse(name)?;
        let place = *self.ids.get(&id)?;
        let base = base(&self.batch.pictures[place].name);
        (rest == base || rest == split(&base).0).then_some(place)
    }

    fn by_part(&self, name: &str) -> Result<usize, String> {
        let shown = Shown::name(name);
        match self.parts.get(name) {
            Some(Some(place)) => Ok(*place),
            Some(None) => Err(format!("several pictures that are asked for are called `{shown}`")),
            None => Err(format!("`{shown}` is no picture that {} asks for", self.batch.stage)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{Looks, Stage};

    fn batch(pictures: &[(u64, &str)]) -> Batch {
        let picture = |&(id, name): &(u64, &str)| Picture { id, name: name.to_owned(), score: None, guess: None };
        Batch {
            version: 1,
            stage: Stage::Round(2),
            strategy: "margin".to_owned(),
            classes: vec!["a".to_owned(), "b".to_owned()],
            folder: PathBuf::from("/pictures"),
            looks: Looks::One,
            pictures: pictures.iter().map(picture).collect(),
        }
    }

    fn named(batch: &Batch, name: &str) -> Result<u64, String> {
        Places::of(batch).find(&Which::Name(name.to_owned())).map(|place| batch.pictures[place].id)
    }

    #[test]
    fn a_picture_is_found_under_each_of_its_names() {
        let batch = batch(&[(7, "in/a.jpg"), (9, "out/a.jpg"), (12, "b: c.tar.png"), (13, "plain")]);
        let written: Vec<String> =
            batch.pictures.iter().enumerate().map(|(place, picture)| ranked(place + 1, 4, picture)).collect();
        assert_eq!(written, ["0001-7-a.jpg", "0002-9-a.jpg", "0003-12-b_ c.tar.png", "0004-13-plain"]);
        for (name, picture) in written.iter().zip(&batch.pictures) {
            assert_eq!(named(&batch, name), Ok(picture.id));
            assert_eq!(named(&batch, &format!("images/{name}")), Ok(picture.id));
            assert_eq!(named(&batch, split(name).0), Ok(picture.id), "without its ending");
            assert_eq!(named(&batch, &picture.name), Ok(picture.id));
        }
        assert_eq!(named(&batch, "b: c.tar"), Ok(12));
        // The rank is for sorting only; what follows the sample is not.
        assert_eq!(named(&batch, "9999-7-a.jpg"), Ok(7));
        let wrong = ["0001-7-b.jpg", "0001-8-a.jpg", "0001-7-", "-7-a.jpg", "0001-7-a.jpg.jpg", "../a.png", ""];
        for wrong in wrong.into_iter().chain(["else/plain", "else/b: c.tar.png"]) {
            assert!(named(&batch, wrong).is_err(), "{wrong}");
        }
        assert_eq!(named(&batch, "in/a"), Ok(7));
        assert!(named(&batch, "a.jpg").unwrap_err().starts_with("several pictures"));
    }

    #[test]
    fn a_name_that_means_two_pictures_is_refused() {
        let batch = batch(&[(5, "x.jpg"), (6, "0001-5-x.jpg")]);
        let error = named(&batch, "0001-5-x.jpg").unwrap_err();
        assert!(error.contains("the name of sample 6") && error.contains("sample 5 was written under"), "{error}");
        assert_eq!(named(&batch, "0002-6-0001-5-x.jpg"), Ok(6));
    }

    #[test]
    fn a_sample_under_another_name_is_of_another_run() {
        let batch = batch(&[(5, "x.jpg")]);
        let find = |id, name: Option<&str>| Places::of(&batch).find(&Which::Id(id, name.map(str::to_owned)));
        assert_eq!((find(5, None), find(5, Some("x.jpg"))), (Ok(0), Ok(0)));
        assert!(find(5, Some("y.jpg")).unwrap_err().contains("another run"));
        assert_eq!(find(6, None).unwrap_err(), "sample 6 is not asked for by round-2");
    }

    #[test]
    fn names_stay_short_and_whole() {
        let long = format!("{}é.jpeg", "ü".repeat(300));
        let picture = Picture { id: u64::MAX, name: long, score: None, guess: None };
        let name = ranked(1_000_000, 7, &picture);
        assert!(name.len() <= 255 && name.ends_with("ü.jpeg"), "{name}");
    }
}
