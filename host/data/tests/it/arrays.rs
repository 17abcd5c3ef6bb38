//! `.npy`, `.npz` and `.safetensors`. The bytes of small files are written out by hand, as numpy writes them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use querist_core::array::{Array, Values};
use querist_data::arrays::{write_npy, write_safetensors};
use querist_data::{Kind, read_array};
use tempfile::TempDir;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::{message, put};

pub fn npy(descr: &str, fortran: bool, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    raw_npy(&format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"), bytes)
}

fn raw_npy(header: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{header:<117}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), bytes].concat()
}

fn floats(array: &Array) -> Vec<f32> {
    array.as_f32().unwrap().to_vec()
}

#[test]
fn every_type_and_order_of_npy() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let le = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let cases: [(&str, bool, Vec<u8>); 12] = [
        ("<f4", false, le(&[0., 1., 2., 3., 4., 5.])),
        ("<f4", true, le(&[0., 3., 1., 4., 2., 5.])),
        (">f4", false, [0f32, 1., 2., 3., 4., 5.].iter().flat_map(|v| v.to_be_bytes()).collect()),
        ("<f8", false, [0f64, 1., 2., 3., 4., 5.].iter().flat_map(|v| v.to_le_bytes()).collect()),
        (">f8", true, [0f64, 3., 1., 4., 2., 5.].iter().flat_map(|v| v.to_be_bytes()).collect()),
        // Half floats: 1 is 3c00, 2 is 4000, 3 is 4200, 4 is 4400, 5 is 4500.
        ("<f2", false, [0u16, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("<i8", false, (0..6i64).flat_map(i64::to_le_bytes).collect()),
        ("<u8", false, (0..6u64).flat_map(u64::to_le_bytes).collect()),
        (">i4", false, (0..6i32).flat_map(i32::to_be_bytes).collect()),
        ("<u4", false, (0..6u32).flat_map(u32::to_le_bytes).collect()),
        ("|u1", false, (0..6).collect()),
        ("|u1", true, vec![0, 3, 1, 4, 2, 5]),
    ];
    for (descr, fortran, bytes) in cases {
        put(&path, npy(descr, fortran, "(2, 3)", &bytes));
        let array = read_array(&path, None, Kind::F32).unwrap();
        assert_eq!((array.shape(), floats(&array)), (&[2, 3][..], vec![0., 1., 2., 3., 4., 5.]), "{descr} {fortran}");
        if !descr.contains('f') {
            let Values::U32(labels) = read_array(&path, None, Kind::U32).unwrap().values().clone() else { panic!() };
            let Values::U64(ids) = read_array(&path, None, Kind::U64).unwrap().values().clone() else { panic!() };
            assert_eq!((labels.to_vec(), ids.to_vec()), (vec![0, 1, 2, 3, 4, 5], vec![0, 1, 2, 3, 4, 5]), "{descr}");
        }
    }
    // Three dimensions by column: value (i, j, k) lies at i + 2 j + 6 k.
    put(&path, npy("|u1", true, "(2, 3, 2)", &(0..12).collect::<Vec<u8>>()));
    let turned = floats(&read_array(&path, None, Kind::F32).unwrap());
    assert_eq!(turned, [0., 6., 2., 8., 4., 10., 1., 7., 3., 9., 5., 11.]);
    put(&path, npy("<f4", false, "()", &le(&[7.])));
    assert_eq!(read_array(&path, None, Kind::F32).unwrap().shape().len(), 0);
}

#[test]
fn values_that_do_not_fit_are_named_by_row() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let text = |descr: &str, fortran, bytes: Vec<u8>, want| {
        put(&path, npy(descr, fortran, "(2, 2)", &bytes));
        message(read_array(&path, None, want), folder.path())
    };
    let f8 = |values: [f64; 4]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let i8 = |values: [i64; 4]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(
        text("<f8", false, f8([0., 1., 1e39, -1e39]), Kind::F32),
        format!("a.npy, row 1: the value 1{}; expected a number that 32-bit floats can hold", "0".repeat(39))
    );
    assert!(text("<f8", true, f8([0., 1e39, 0., 0.]), Kind::F32).contains("row 1"));
    assert!(
        text("<i8", false, i8([0, 1, 2, -3]), Kind::U32)
            .contains("row 1: the value -3; expected class numbers, 0 to 4294967295, of an integer type")
    );
    assert!(text("<i8", false, i8([1 << 32, 1, 2, 3]), Kind::U32).contains("row 0: the value 4294967296"));
    assert!(text("<i8", false, i8([0, 0, 16_777_217, 3]), Kind::F32).contains("row 1: the value 16777217"));
    assert!(text("<f8", false, f8([0.; 4]), Kind::U32).contains("; expected class numbers, 0 to 4294967295, of"));
    // Infinities and NaN are floats like any other here; the contract of arrays judges them.
    put(&path, npy("<f8", false, "(2,)", &[f64::NAN, f64::INFINITY].map(f64::to_le_bytes).concat()));
    assert!(floats(&read_array(&path, None, Kind::F32).unwrap())[0].is_nan());
}

#[test]
fn damaged_and_hostile_npy_files() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let good = npy("<f4", false, "(2, 3)", &[0; 24]);
    let nested = format!("{{'descr': {}", "(".repeat(9000));
    let cases: [(Vec<u8>, &str); 12] = [
        (b"\x93NUMPX".to_vec(), "byte 0: no NUMPY magic; expected a .npy file"),
        (vec![0; 1], "byte 0: no NUMPY magic"),
        (good[..8].to_vec(), "byte 6: version Some(1); expected version 1, 2 or 3 and a header"),
        (good[..100].to_vec(), "byte 10: no 118 bytes of text; expected the whole header"),
        (good[..140].to_vec(), "byte 128: 12 bytes of values for shape [2, 3] of <f4; expected 24"),
        ([&good[..], &[0]].concat(), "25 bytes of values for shape [2, 3] of <f4; expected 24"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "byte 8: a header of 4294967295 bytes; expected at most 10000"),
        (npy("<f4", false, "(9999999999, 9999999999)", &[]), "expected a shape that fits in memory"),
        (npy("|O", false, "(2,)", &[0; 16]), "values of type `|O`; expected floats of 16, 32 or 64 bits"),
        (npy("<f4", false, "(-1, 3)", &[0; 24]), "byte 10: the header {'descr': '<f4'"),
        (raw_npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", &[0; 8]), "with one plain type"),
        (raw_npy(&nested, &[]), "with one plain type"),
    ];
    for (bytes, expected) in cases {
        put(&path, bytes);
        let text = message(read_array(&path, None, Kind::F32), folder.path());
        assert!(text.starts_with("a.npy, byte ") && text.contains(expected), "{text}\n  lacks: {expected}");
    }
    put(&path, b"");
    assert!(read_array(&path, None, Kind::F32).is_err());
    let text = message(read_array(&folder.path().join("a.txt"), None, Kind::F32), folder.path());
    assert!(text.starts_with("a.txt: no array file by its ending; expected `file.npy`"), "{text}");
}

#[test]
fn shapes_of_python_2_and_endings_in_capitals() {
    let folder = TempDir::new().unwrap();
    for (shape, expected) in [("(2L, 3L)", &[2, 3][..]), ("(6L,)", &[6]), ("(1, 6L)", &[1, 6])] {
        let path = folder.path().join("UPPER.NPY");
        put(&path, npy("|u1", false, shape, &[0, 1, 2, 3, 4, 5]));
        assert_eq!(read_array(&path, None, Kind::F32).unwrap().shape(), expected);
    }
    for shape in ["(L,)", "(6LL,)", "(L6,)", "(6l,)", "(6 L,)"] {
        put(folder.path().join("a.npy"), npy("|u1", false, shape, &[0; 6]));
        let text = message(read_array(&folder.path().join("a.npy"), None, Kind::F32), folder.path());
        assert!(text.contains("the header {'descr'"), "{shape}: {text}");
    }
    npz(&folder.path().join("A.Npz"), &[("x.npy", npy("|u1", false, "(1,)", &[7]), CompressionMethod::Stored)]);
    let header = r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    put(folder.path().join("A.SafeTensors"), safetensors(header, &[7]));
    for name in ["A.Npz", "A.Npz#x", "A.SafeTensors", "A.SafeTensors#x"] {
        assert_eq!(floats(&read_array(&folder.path().join(name), None, Kind::F32).unwrap()), [7.0], "{name}");
    }
}

#[test]
fn names_that_stand_twice_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    let x = |end: usize| format!(r#"{{"dtype":"U8","shape":[1],"data_offsets":[{},{end}]}}"#, end - 1);
    let text = |wish| message(read_array(&path, wish, Kind::F32), folder.path());
    // The second pair covers the whole file, so the general reader has nothing to say of it.
    for (twice, second, bytes) in [("x", x(2), &[1, 2][..]), ("x", x(1), &[1]), (r"\u0078", x(1), &[1])] {
        put(&path, safetensors(&format!(r#"{{"x":{},"{twice}":{second}}}"#, x(1)), bytes));
        assert_eq!(text(None), "a.safetensors: two arrays `x`; expected each name once");
    }
    put(&path, safetensors(&format!(r#"{{"x":{},"y":{},"y":{}}}"#, x(1), x(2), x(2)), &[1, 2]));
    assert_eq!(text(Some("x")), "a.safetensors: two arrays `y`; expected each name once");

    // The crate that makes archives refuses this, so one of its names is changed afterwards.
    let path = folder.path().join("a.npz");
    let one = || npy("|u1", false, "(1,)", &[7]);
    let stored = CompressionMethod::Stored;
    npz(&path, &[("x.npy", one(), stored), ("y.npy", one(), stored), ("z.npy", one(), stored)]);
    let mut bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() - 5 {
        if &bytes[at..at + 5] == b"z.npy" {
            bytes[at] = b'y';
        }
    }
    put(&path, bytes);
    for wish in [None, Some("x"), Some("y")] {
        let text = message(read_array(&path, wish, Kind::F32), folder.path());
        assert_eq!(text, "a.npz: two members of the name `y.npy`; expected each name once", "{wish:?}");
    }
}

fn npz(path: &Path, members: &[(&str, Vec<u8>, CompressionMethod)]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes, method) in members {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(*method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn members_of_npz() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("f.npz");
    let one = npy("|u1", false, "(3,)", &[1, 2, 3]);
    npz(&path, &[("x.npy", one.clone(), CompressionMethod::Deflated)]);
    // The only member needs no name, whatever the array is called.
    assert_eq!(floats(&read_array(&path, Some("embeddings"), Kind::F32).unwrap()), [1., 2., 3.]);
    let two = npy("|u1", false, "(2,)", &[4, 5]);
    npz(&path, &[("x.npy", one, CompressionMethod::Stored), ("y.npy", two, CompressionMethod::Deflated)]);
    assert_eq!(floats(&read_array(&path, Some("y"), Kind::F32).unwrap()), [4., 5.]);
    assert_eq!(floats(&read_array(&folder.path().join("f.npz#x"), Some("y"), Kind::F32).unwrap()), [1., 2., 3.]);
    let text = |name: &str, wish| message(read_array(&folder.path().join(name), wish, Kind::F32), folder.path());
    assert_eq!(text("f.npz", None), "f.npz: 2 arrays; expected one of `x`, `y`; write `f.npz#name`");
    assert_eq!(text("f.npz#z", Some("x")), "f.npz: no array `z`; expected one of `x`, `y`; write `f.npz#name`");

    let whole = fs::read(&path).unwrap();
    put(&path, &whole[..whole.len() - 30]);
    assert!(text("f.npz", None).contains("f.npz: no readable zip archive"), "{}", text("f.npz", None));
    // One flipped byte of the stored values.
    let mut flipped = whole.clone();
    let at = flipped.windows(3).position(|three| three == [1, 2, 3]).unwrap();
    flipped[at] = 9;
    put(&path, flipped);
    assert!(text("f.npz#x", None).contains("checksum"), "{}", text("f.npz#x", None));
    // A central directory that claims 4 GB of three bytes.
    let mut claims = whole;
    let entry = claims.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    claims[entry + 24..entry + 28].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    put(&path, claims);
    assert!(text("f.npz#x", None).contains("which cannot be"), "{}", text("f.npz#x", None));
}

#[test]
fn what_is_written_comes_back_the_same_bits_and_unmoved() {
    let folder = TempDir::new().unwrap();
    let values = [0.0f32, -0.0, 1e-45, f32::MAX, 0.1, -7.5];
    let path = folder.path().join("a.npy");
    write_npy(&path, &[2, 3], &values).unwrap();
    let file = fs::read(&path).unwrap();
    assert_eq!((&file[..10], file.len()), (&b"\x93NUMPY\x01\x00\x76\x00"[..], 128 + 24));
    assert_eq!(&file[10..80], b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, ), }         ");
    let back = read_array(&path, None, Kind::F32).unwrap();
    assert_eq!(floats(&back).map_bits(), values.to_vec().map_bits());
    write_npy(&path, &[2], &[0.5f64, -1.0]).unwrap();
    assert_eq!(floats(&read_array(&path, None, Kind::F32).unwrap()), [0.5, -1.0]);
    write_npy(&path, &[1], &[u64::MAX]).unwrap();
    let Values::U64(ids) = read_array(&path, None, Kind::U64).unwrap().values().clone() else { panic!() };
    assert_eq!(ids.to_vec(), [u64::MAX]);
    assert!(message(write_npy(&path, &[2], &[1u32]), folder.path()).contains("1 values for shape [2]"));

    let path = folder.path().join("a.safetensors");
    let arrays = BTreeMap::from([
        ("embeddings".to_owned(), Array::f32(vec![2, 3], values.to_vec()).unwrap()),
        ("labelled.labels".to_owned(), Array::labels(vec![3, 1])),
    ]);
    write_safetensors(&path, &arrays).unwrap();
    let back = read_array(&path, Some("embeddings"), Kind::F32).unwrap();
    assert_eq!(floats(&back).map_bits(), values.to_vec().map_bits());
    let labels = read_array(&folder.path().join("a.safetensors#labelled.labels"), None, Kind::U32).unwrap();
    assert_eq!(labels.as_u32().unwrap().to_vec(), [3, 1]);
    // The mapping outlives the name of the file.
    fs::remove_file(&path).unwrap();
    assert_eq!(floats(&back).map_bits(), values.to_vec().map_bits());
}

trait MapBits {
    fn map_bits(self) -> Vec<u32>;
}

impl MapBits for Vec<f32> {
    fn map_bits(self) -> Vec<u32> {
        self.into_iter().map(f32::to_bits).collect()
    }
}

pub fn safetensors(header: &str, bytes: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), bytes].concat()
}

#[test]
fn safetensors_of_every_float_and_damaged_ones() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.safetensors");
    let header =
        |dtype: &str, end: usize| format!(r#"{{"x":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,{end}]}}}}"#);
    // 1 and -2: half 3c00 and c000, brain 3f80 and c000.
    for (dtype, bytes) in [
        ("F16", vec![0x00, 0x3c, 0x00, 0xc0]),
        ("BF16", vec![0x80, 0x3f, 0x00, 0xc0]),
        ("F32", [1f32, -2.0].map(f32::to_le_bytes).concat()),
        ("F64", [1f64, -2.0].map(f64::to_le_bytes).concat()),
        ("I64", [1i64, -2].map(i64::to_le_bytes).concat()),
    ] {
        put(&path, safetensors(&header(dtype, bytes.len()), &bytes));
        assert_eq!(floats(&read_array(&path, None, Kind::F32).unwrap()), [1.0, -2.0], "{dtype}");
    }
    // Values at an odd address cannot be mapped as they are and are copied instead.
    put(&path, safetensors(&format!("{} ", header("F32", 8)), &[1f32, -2.0].map(f32::to_le_bytes).concat()));
    assert_eq!(floats(&read_array(&path, None, Kind::F32).unwrap()), [1.0, -2.0]);
    for bytes in [
        vec![],
        vec![255; 8],
        safetensors(&header("F32", 8), &[0; 7]),
        safetensors(&header("F32", 8), &[0; 9]),
        safetensors(&header("F32", 4), &[0; 4]),
        safetensors(&"[".repeat(100_000), &[]),
    ] {
        put(&path, bytes);
        let text = message(read_array(&path, None, Kind::F32), folder.path());
        assert!(text.starts_with("a.safetensors: "), "{text}");
    }
    put(&path, safetensors(&header("BOOL", 2), &[0; 2]));
    let text = message(read_array(&path, None, Kind::F32), folder.path());
    assert!(text.starts_with("a.safetensors#x: values of type BOOL; expected floats"), "{text}");
}
