//! Files and folders made to hang, to fill memory, or to deceive. A hang is a test that does not end.

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use querist_core::config::DatasetConfig;
use querist_data::{Kind, Search, check, load, read_array};
use tempfile::TempDir;

use crate::arrays::{npy, safetensors};
use crate::pictures::{png_of, white_jpeg, wide_png};
use crate::{at, gzip, message, put};

fn pipe(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a string that ends with zero and outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

/// Puts each thing that is no file at `path`, and says what `read` must say of it.
fn each_thing(path: &Path, mut read: impl FnMut(&str)) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    pipe(path);
    read("a named pipe, expected a regular file");
    fs::remove_file(path).unwrap();
    symlink("/dev/zero", path).unwrap();
    read("a character device, expected a regular file");
    fs::remove_file(path).unwrap();
    let _socket = UnixListener::bind(path).unwrap();
    read("a socket, expected a regular file");
    fs::remove_file(path).unwrap();
}

fn search() -> Search {
    Search::at("/nowhere")
}

#[test]
fn arrays_are_regular_files() {
    let folder = TempDir::new().unwrap();
    for name in ["a.npy", "a.npz", "a.safetensors"] {
        let path = folder.path().join(name);
        each_thing(&path, |expected| {
            for kind in [Kind::F32, Kind::U64] {
                assert_eq!(message(read_array(&path, None, kind), folder.path()), format!("{name}: {expected}"));
            }
        });
        fs::create_dir(&path).unwrap();
        let text = message(read_array(&path, None, Kind::F32), folder.path());
        assert_eq!(text, format!("{name}: a folder, expected a regular file"));
    }
    // The user's own arrays may lie behind links.
    put(folder.path().join("real.npy"), npy("|u1", false, "(2,)", &[1, 2]));
    symlink("real.npy", folder.path().join("link.npy")).unwrap();
    assert_eq!(read_array(&folder.path().join("link.npy"), None, Kind::U32).unwrap().rows(), 2);
}

#[test]
fn datasets_are_of_regular_files() {
    let folder = TempDir::new().unwrap();
    let refuse = |name: &str, place: &Path, file: &Path| {
        each_thing(file, |expected| {
            let text = message(load(&at(name, place), &search()), folder.path());
            assert!(text.contains(file.file_name().unwrap().to_str().unwrap()) && text.ends_with(expected), "{text}");
            // `check` verifies files first.
            let checked = check(&at(name, place), &search()).map(|report| report.dataset);
            let text = message(checked.unwrap_or_else(Err), folder.path());
            assert!(text.ends_with(expected), "{text}");
        });
    };
    let below = |name: &str| folder.path().join(name);
    refuse("mnist", &below("mnist"), &below("mnist/train-images-idx3-ubyte.gz"));
    refuse("emnist-letters", &below("emnist"), &below("emnist/gzip.zip"));
    (1..=5).for_each(|batch| put(below(&format!("binary/data_batch_{batch}.bin")), b"a batch"));
    refuse("cifar10", &below("binary"), &below("binary/test_batch.bin"));
    refuse("cifar10", &below("packed"), &below("packed/cifar-10-binary.tar.gz"));
    refuse("folder", &below("place"), &below("place"));
    for class in ["a", "b"] {
        put(below("pictures").join(class).join("1.png"), png_of(1));
    }
    refuse("folder", &below("pictures"), &below("pictures/b/2.png"));
    put(below("archives/my-test.tar"), b"");
    refuse("folder", &below("archives"), &below("archives/my-train.tar"));
}

#[test]
fn folders_of_links() {
    let folder = TempDir::new().unwrap();
    let below = |name: &str| folder.path().join(name);
    for class in ["a", "b"] {
        put(below("real").join(format!("{class}.png")), png_of(1));
        put(below("set").join(class).join("1.png"), png_of(1));
        symlink(below("real").join(format!("{class}.png")), below("set").join(class).join("2.png")).unwrap();
    }
    let read = || load(&at("folder", &below("set")), &search());
    assert_eq!(read().unwrap().len(), 4, "people link pictures");
    symlink("..", below("set/a/up")).unwrap();
    assert_eq!(
        message(read(), folder.path()),
        "set/a/up: a link to a folder that it lies in; expected a folder without circles"
    );
    fs::remove_file(below("set/a/up")).unwrap();
    symlink("3.png", below("set/a/3.png")).unwrap();
    assert!(message(read(), folder.path()).starts_with("set/a/3.png: "), "{}", message(read(), folder.path()));
}

#[test]
fn names_that_deceive_are_refused_and_shown_cleaned() {
    for (name, expected) in [
        ("b\u{1b}[2J/1.png", "b�[2J"),
        ("b/1\u{202e}gnp.png", "b/1�gnp.png"),
        ("b\n/1.png", "b "),
        ("b/\u{200b}1.png", "b/�1.png"),
    ] {
        let folder = TempDir::new().unwrap();
        put(folder.path().join("a/1.png"), png_of(1));
        put(folder.path().join(name), png_of(2));
        let text = message(load(&at("folder", folder.path()), &search()), folder.path());
        assert_eq!(
            text,
            format!(
                "{expected}: a name with control or invisible characters; expected names that can be shown; rename it"
            )
        );
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    put(&path, npy("\u{1b}]0;x\u{7}", false, "(2,)", &[0; 8]));
    let text = message(read_array(&path, None, Kind::F32), folder.path());
    assert!(text.contains("values of type `�]0;x�`") && !text.contains('\u{1b}'), "{text}");
    let header = r#"{"\u001b[31mred":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}"#;
    let path = folder.path().join("a.safetensors");
    put(&path, safetensors(header, &[0; 2]));
    let text = message(read_array(&path, None, Kind::F32), folder.path());
    assert!(text.starts_with("a.safetensors#�[31mred: values of type BOOL"), "{text}");
    let text = message(read_array(&path, Some("x"), Kind::F32), folder.path());
    assert!(!text.contains('\u{1b}'), "{text}");
    let long = "x".repeat(60_000);
    put(&path, safetensors(&format!(r#"{{"{long}":{{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}}}"#), &[0; 2]));
    assert!(message(read_array(&path, None, Kind::F32), folder.path()).len() < 3000);
}

#[test]
fn shapes_cost_what_their_values_do() {
    let folder = TempDir::new().unwrap();
    for (shape, numbers, expected) in [
        ("(4294967296, 0)", "[4294967296,0]", "at most 4294967295 rows"),
        ("(4294967295, 0)", "[4294967295,0]", "a value in each row"),
        ("(1, 5, 0)", "[1,5,0]", "a value in each row"),
        ("(0, 4294967296)", "[0,4294967296]", "rows of at most 16777216 values where there are none"),
        ("(0, 9223372036854775807, 3)", "[0,9223372036854775807,3]", "rows that fit in memory"),
    ] {
        let refuse = |name: &str, bytes: Vec<u8>| {
            let path = folder.path().join(name);
            put(&path, bytes);
            let text = message(read_array(&path, None, Kind::F32), folder.path());
            assert!(text.starts_with(name) && text.contains("shape"), "{text}");
            // The general reader of this format refuses some itself.
            let theirs = name.ends_with("safetensors") && text.contains("a whole .safetensors file");
            assert!(text.ends_with(expected) || theirs, "{text}\n  lacks: {expected}");
        };
        refuse("a.npy", npy("<f4", false, shape, &[]));
        let header = format!(r#"{{"x":{{"dtype":"F32","shape":{numbers},"data_offsets":[0,0]}}}}"#);
        refuse("a.safetensors", safetensors(&header, &[]));
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&npy("<f4", true, shape, &[])).unwrap();
        refuse("a.npz", zip.finish().unwrap().into_inner());
    }
    // No labelled samples is no mistake.
    let path = folder.path().join("a.npy");
    put(&path, npy("<f4", false, "(0, 64)", &[]));
    assert_eq!(read_array(&path, None, Kind::F32).unwrap().shape(), [0, 64]);
}

#[test]
fn headers_and_directories_are_bounded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    let blank = " ".repeat(5 << 20);
    let header = format!(r#"{{"x":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}{blank}"#);
    put(&path, safetensors(&header, &[0; 4]));
    let text = message(read_array(&path, None, Kind::F32), folder.path());
    assert!(text.contains("a header of 5242934 bytes, at most 4194304 are read"), "{text}");

    // An archive that claims a directory of ten million members, in a file that is long enough for them.
    let path = folder.path().join("a.npz");
    let claims = |count: u64, size: u64| {
        let mut file = fs::File::create(&path).unwrap();
        file.set_len(1 << 30).unwrap();
        let record: Vec<u8> = [
            b"PK\x06\x06".as_slice(),
            &44u64.to_le_bytes(),
            &[45, 0, 45, 0],
            &[0; 8],
            &count.to_le_bytes(),
            &count.to_le_bytes(),
            &size.to_le_bytes(),
            &(500u64 << 20).to_le_bytes(),
            b"PK\x06\x07",
            &[0; 4],
            &(1u64 << 30).to_le_bytes(),
            &[1, 0, 0, 0],
            b"PK\x05\x06",
            &[0; 4],
            &[255; 12],
            &[0; 2],
        ]
        .concat();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
        file.write_all(&record).unwrap();
        message(read_array(&path, None, Kind::F32), folder.path())
    };
    let text = claims(10_000_000, 480_000_000);
    assert!(text.contains("a directory of 480000000 bytes, at most 4194304 are read"), "{text}");
    let text = claims(10_000_000, 0);
    assert!(text.contains("0 members where 10000000 are claimed"), "{text}");
    let text = claims(1, 46);
    assert!(text.contains("a damaged directory"), "{text}");
}

/// A tar header with its checksum.
fn header(kind: u8, name: &str, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn member(kind: u8, name: &str, content: &[u8]) -> Vec<u8> {
    let padding = content.len().next_multiple_of(512) - content.len();
    [&header(kind, name, content.len() as u64), content, &vec![0; padding]].concat()
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}").into_bytes()
}

#[test]
fn what_tar_headers_say_more_is_bounded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.tar.gz");
    let read = |parts: &[Vec<u8>]| {
        put(&path, gzip(&[&parts.concat()[..], &[0; 1024]].concat()));
        load(&at("folder", &path), &search())
    };
    let plain = [member(b'0', "a/1.png", &png_of(1)), member(b'0', "b/1.png", &png_of(2))].concat();
    // What archives of long names really hold.
    let long = format!("b/{}.png", "n".repeat(200));
    let set = read(&[
        plain.clone(),
        member(b'g', "pax_global_header", &record("comment", "made by hand")),
        member(b'L', "././@LongLink", format!("{long}\0").as_bytes()),
        member(b'0', "b/cut", &png_of(3)),
        member(b'x', "x", &[record("path", "b/übersetzt.png"), record("size", &png_of(4).len().to_string())].concat()),
        member(b'0', "b/other", &png_of(4)),
    ]);
    let set = set.unwrap();
    let mut files: Vec<_> = (0..4).filter_map(|sample| set.file(querist_core::SampleId(sample))).collect();
    files.sort_unstable();
    assert_eq!(files, ["train/a/1.png", "train/b/1.png", &format!("train/{long}"), "train/b/übersetzt.png"]);

    let many = vec![b'n'; 1 << 20];
    let cases: [(Vec<u8>, &str); 8] = [
        (member(b'L', "././@LongLink", &many), "a name or extended header of 1048576 bytes, at most 65536 are read"),
        (member(b'K', "././@LongLink", &many), "a name or extended header of 1048576 bytes"),
        (member(b'x', "x", &many), "a name or extended header of 1048576 bytes"),
        (member(b'g', "g", &many), "a name or extended header of 1048576 bytes"),
        (
            [member(b'x', "x", &record("size", "99999")), member(b'0', "b/2.png", &png_of(3))].concat(),
            "a size in an extended header that is another than in the header",
        ),
        (member(b'g', "g", &record("path", "b/all.png")), "one path or size for all members"),
        (member(b'S', "b/2.png", &[]), "a sparse file"),
        ([member(b'x', "x", &record("GNU.sparse.major", "1")), member(b'0', "b/2.png", &[])].concat(), "a sparse file"),
    ];
    for (more, expected) in cases {
        let text = message(read(&[plain.clone(), more]), folder.path());
        assert!(text.starts_with("x.tar.gz: ") && text.contains(expected), "{text}\n  lacks: {expected}");
    }
    // A picture that claims more than the archive holds costs what it holds.
    let text = message(read(&[plain.clone(), header(b'0', "b/2.png", 200 << 20)]), folder.path());
    assert!(text.contains("the archive ends after 1024 bytes of this file"), "{text}");
    let text = message(read(&[plain.clone(), header(b'0', "b/2.png", 1 << 40)]), folder.path());
    assert!(text.contains("a picture of 1099511627776 bytes; expected at most"), "{text}");
    let text = message(read(&[plain.clone(), member(b'0', &"d/".repeat(30), &[])]), folder.path());
    assert!(text.contains("a path through 30 folders; expected at most 16"), "{text}");
    // Half a megabyte of gzip.
    let others: Vec<u8> = member(b'5', "b/x", &[]).repeat(100_001);
    let text = message(read(&[plain, others]), folder.path());
    assert!(text.contains("more than 100000 files and folders that are no pictures"), "{text}");
}

#[test]
fn a_line_of_pixels_is_not_made_gigabytes() {
    let folder = TempDir::new().unwrap();
    put(folder.path().join("a/1.png"), wide_png(16_384, 1));
    put(folder.path().join("b/1.png"), png_of(2));
    let sized = |size| load(&DatasetConfig { size: Some(size), ..at("folder", folder.path()) }, &search());
    let text = message(sized(1024), folder.path());
    assert!(text.contains("a/1.png: the picture cannot be decoded (16384 by 1 pixels are too oblong"), "{text}");
    put(folder.path().join("a/1.png"), wide_png(160, 10));
    assert_eq!(sized(16).unwrap().images().width, 16);
    put(folder.path().join("a/1.png"), wide_png(16_385, 1));
    assert!(message(sized(16), folder.path()).contains("a/1.png: the picture cannot be decoded ("));
}

/// A decoder paints what is missing of a JPEG: a file of 600 bytes took as long as one of 500 megabytes.
#[test]
fn a_jpeg_holds_what_it_claims() {
    let folder = TempDir::new().unwrap();
    put(folder.path().join("b/1.png"), png_of(2));
    let sized = || load(&DatasetConfig { size: Some(4), ..at("folder", folder.path()) }, &search());
    let mut jpeg = white_jpeg(2000, 2000);
    put(folder.path().join("a/1.jpg"), &jpeg);
    assert_eq!(sized().unwrap().len(), 2, "nothing but white is a whole picture, in {} bytes", jpeg.len());
    jpeg.truncate(600);
    put(folder.path().join("a/1.jpg"), &jpeg);
    let text = message(sized(), folder.path());
    assert!(
        text.contains("a/1.jpg: the picture cannot be decoded (it claims 2000x2000 pixels, more than 600 bytes"),
        "{text}"
    );
}
