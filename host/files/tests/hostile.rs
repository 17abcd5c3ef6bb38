//! What can lie behind a name, and what becomes of it. A hang is a test that does not end.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use querist_files::{Links, Reason, length, open, open_or_create, read, read_text, sync_folder};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn pipe(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a string that ends with zero and outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

/// What each reader says of a path, with the folder left out; all say the same.
fn refused(path: &Path, links: Links) -> String {
    let folder = format!("{}/", path.parent().unwrap().display());
    let text = |error: querist_files::FileError| error.to_string().replace(&folder, "");
    let said = text(open(path, links).unwrap_err());
    assert_eq!(text(read(path, links, MIB).unwrap_err()), said);
    assert_eq!(text(read_text(path, links, MIB).unwrap_err()), said);
    assert_eq!(text(length(path, links).unwrap_err()), said);
    said
}

#[test]
fn only_regular_files_are_opened_and_nothing_hangs() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    pipe(&at("pipe"));
    fs::create_dir(at("folder")).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    for (name, what) in [("pipe", "a named pipe"), ("folder", "a folder"), ("socket", "a socket")] {
        for links in [Links::Follow, Links::Refuse] {
            assert_eq!(refused(&at(name), links), format!("{name}: {what}, expected a regular file"));
        }
        let text = open_or_create(&at(name)).unwrap_err().to_string();
        assert!(text.ends_with(&format!("{name}: {what}, expected a regular file")), "{text}");
        let link = at(&format!("to-{name}"));
        symlink(at(name), &link).unwrap();
        assert_eq!(refused(&link, Links::Follow), format!("to-{name}: {what}, expected a regular file"));
        assert_eq!(refused(&link, Links::Refuse), format!("to-{name}: a link, expected a regular file"));
    }
    symlink("/dev/zero", at("zero")).unwrap();
    assert_eq!(refused(&at("zero"), Links::Follow), "zero: a character device, expected a regular file");
    assert_eq!(refused(&at("zero"), Links::Refuse), "zero: a link, expected a regular file");
    assert!(open(Path::new("/dev/tty"), Links::Follow).is_err());
}

#[test]
fn links_are_followed_or_refused_and_lead_somewhere() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "text").unwrap();
    symlink("file", at("link")).unwrap();
    symlink("nothing", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    assert_eq!(read_text(&at("link"), Links::Follow, 4).unwrap(), "text");
    assert_eq!(length(&at("link"), Links::Follow).unwrap(), 4);
    for name in ["link", "dangling", "loop"] {
        assert_eq!(refused(&at(name), Links::Refuse), format!("{name}: a link, expected a regular file"));
        assert!(open_or_create(&at(name)).unwrap_err().to_string().ends_with("a link, expected a regular file"));
    }
    assert!(!at("nothing").exists(), "nothing was made behind a link");
    assert_eq!(refused(&at("loop"), Links::Follow), "loop: links that lead in a circle, expected a regular file");
    for name in ["dangling", "nothing", "file/below"] {
        let error = open(&at(name), Links::Follow).unwrap_err();
        assert!(error.is_not_found() && error.to_string().ends_with(&format!("{name}: no such file")), "{error}");
    }
}

#[test]
fn no_more_is_read_than_may_be() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, [b'x'; 100]).unwrap();
    assert_eq!(read(&path, Links::Refuse, 100).unwrap(), [b'x'; 100]);
    let error = read(&path, Links::Refuse, 99).unwrap_err();
    assert!(matches!(error.reason, Reason::TooLarge { bytes: 100, most: 99 }), "{error:?}");
    assert!(error.to_string().ends_with("file: 100 bytes or more, expected at most 99"), "{error}");
    // A sparse file of a tebibyte costs its maker nothing, and us neither.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(read(&path, Links::Follow, MIB).unwrap_err().reason, Reason::TooLarge { .. }));
    assert_eq!(length(&path, Links::Follow).unwrap(), 1 << 40);
    fs::write(&path, b"ab\xffc").unwrap();
    let error = read_text(&path, Links::Follow, MIB).unwrap_err();
    assert!(error.to_string().ends_with("file: no UTF-8 at byte 2, expected text"), "{error}");
}

#[test]
fn a_file_that_is_longer_than_it_says_is_bounded_too() {
    // The kernel gives these files no length and as many bytes as it likes: what a growing file looks like.
    let endless = PathBuf::from("/proc/self/smaps");
    assert_eq!(length(&endless, Links::Follow).unwrap(), 0);
    let error = read(&endless, Links::Follow, 1000).unwrap_err();
    assert!(matches!(error.reason, Reason::TooLarge { bytes: 1001, most: 1000 }), "{error:?}");
    assert!(!read(&endless, Links::Follow, 64 * MIB).unwrap().is_empty());
}

#[test]
fn our_own_files_are_made_and_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("lock");
    std::io::Write::write_all(&mut open_or_create(&path).unwrap(), b"mine").unwrap();
    open_or_create(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    sync_folder(folder.path()).unwrap();
    let beside = folder.path().join("pipe");
    pipe(&beside);
    assert!(sync_folder(&path).is_err() && sync_folder(&beside).is_err());
}

#[test]
fn names_do_not_steer_a_terminal() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a\u{1b}[2J\u{202e}b\n");
    let text = open(&path, Links::Follow).unwrap_err().to_string();
    assert!(text.ends_with("/a�[2J�b : no such file"), "{text}");
    let long = folder.path().join("x".repeat(70_000));
    assert!(open(&long, Links::Follow).unwrap_err().to_string().len() < 1200);
}
