//! The listing of packages, which a process keeps from one query to the next: to read what every package says of itself
//! takes some ten milliseconds, to see whether any of it has changed takes one.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use querist_loader::package::trust::LOCK_FILE;
use querist_loader::{Found, Listing, Source};
use walkdir::WalkDir;

/// Folders below a search folder in which files of packages lie: of a name, and of a version that was installed.
const DEPTH: usize = 3;
/// Files and folders that are looked at, at most. Where there are more, nothing is kept.
const MOST_ENTRIES: usize = 5_000;
/// Seconds in which a file that has changed may change again without being told apart by its times.
const RECENT: i64 = 2;

static KEPT: Mutex<Option<(State, Arc<Listing>)>> = Mutex::new(None);

/// What `search` finds in these folders; what it found before where nothing has changed since.
///
/// # Errors
/// Those of `search`.
pub fn kept(folders: &[(Source, PathBuf)], search: impl FnOnce() -> Result<Listing>) -> Result<Arc<Listing>> {
    let state = State::of(folders);
    // Nobody waits here: a process that was forked while another thread was in here would wait for ever.
    if let (Some(state), Ok(kept)) = (&state, KEPT.try_lock())
        && let Some((then, listing)) = &*kept
        && then == state
        // What could not be read may be readable now.
        && !listing.found.iter().any(Found::is_refused)
    {
        return Ok(listing.clone());
    }
    let listing = Arc::new(search()?);
    if let (Some(state), Ok(mut kept)) = (state, KEPT.try_lock()) {
        *kept = Some((state, listing.clone()));
    }
    Ok(listing)
}

/// All that a listing hangs on: the folders, and every file of packages in them.
#[derive(PartialEq, Eq)]
struct State {
    folders: Vec<(Source, PathBuf)>,
    entries: Vec<Entry>,
}

/// A file or folder as it is. Whoever writes into it, replaces it or opens it to others changes one of these.
#[derive(PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    device: u64,
    inode: u64,
    mode: u32,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    /// `None` where that cannot be told: something cannot be looked at, or has only just changed.
    fn of(folders: &[(Source, PathBuf)]) -> Option<Self> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        // The same relative folder is another one where another folder is worked in.
        let absolute = |folder: &(Source, PathBuf)| Some((folder.0, std::path::absolute(&folder.1).ok()?));
        let folders: Vec<(Source, PathBuf)> = folders.iter().map(absolute).collect::<Option<_>>()?;
        let lock = std::path::absolute(LOCK_FILE).ok()?;
        let mut entries = Vec::new();
        for place in folders.iter().map(|(_, folder)| &**folder).chain([&*lock]) {
            look(place, &mut entries)?;
        }
        let has_settled = |entry: &Entry| entry.changed.0 + RECENT < now;
        entries.iter().all(has_settled).then_some(Self { folders, entries })
    }
}

fn look(place: &Path, entries: &mut Vec<Entry>) -> Option<()> {
    if matches!(place.try_exists(), Ok(false)) {
        return Some(());
    }
    for found in WalkDir::new(place).max_depth(DEPTH).follow_links(true).sort_by_file_name() {
        let found = found.ok()?;
        let is = found.metadata().ok()?;
        entries.push(Entry {
            device: is.dev(),
            inode: is.ino(),
            mode: is.mode(),
            size: is.size(),
            modified: (is.mtime(), is.mtime_nsec()),
            changed: (is.ctime(), is.ctime_nsec()),
            path: found.into_path(),
        });
        if entries.len() > MOST_ENTRIES {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_changes_is_read_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("package/plugin.toml");
        fs::create_dir(file.parent().unwrap()).unwrap();
        fs::write(&file, "one").unwrap();
        let folders = [(Source::BuiltIn, folder.path().to_owned()), (Source::User, folder.path().join("none"))];
        let searches = Cell::new(0);
        let searched = || {
            let before = searches.get();
            let search = || {
                searches.set(before + 1);
                Ok(Listing::default())
            };
            kept(&folders, search).unwrap();
            searches.get() > before
        };
        // Too young to be sure of.
        assert!(searched() && searched());
        let settle = || std::thread::sleep(Duration::from_secs(u64::try_from(RECENT).unwrap() + 1));
        settle();
        assert!(searched() && !searched() && !searched());
        // Of the same size, and as old as before.
        let times = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "two").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
        assert!(searched());
        settle();
        assert!(searched() && !searched());
        fs::create_dir(folder.path().join("none")).unwrap();
        assert!(searched());
    }

    #[test]
    fn what_cannot_be_read_is_looked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("package")).unwrap();
        fs::write(folder.path().join("package/plugin.toml"), "no package").unwrap();
        std::thread::sleep(Duration::from_secs(u64::try_from(RECENT).unwrap() + 1));
        let folders = [(Source::PluginDir, folder.path().to_owned())];
        let mut searches = 0;
        for _ in 0..2 {
            let search = || {
                searches += 1;
                Ok(Listing::search(&folders)?)
            };
            assert!(kept(&folders, search).unwrap().found[0].is_refused());
        }
        assert_eq!(searches, 2);
    }
}
