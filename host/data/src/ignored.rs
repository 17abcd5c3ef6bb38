//! What file managers, servers and editors leave in folders of pictures.

/// Names that are ignored wherever they are, in any case.
const NAMES: [&str; 8] = [
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
    "lost+found",
    "$recycle.bin",
    "system volume information",
];

/// Whether a file or a folder with this name is left out with all that is in it: hidden ones, too, which are the file
/// manager's or an editor's (`.DS_Store`, `._1.png`, `.#1.png`), not the user's.
pub(crate) fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || NAMES.iter().any(|ignored| ignored.eq_ignore_ascii_case(name))
}
