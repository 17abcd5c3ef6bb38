//! Arrays in shards: the same rows however many files they are in, and what is said of those that do not fit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FixedLenByteArrayType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use querist_core::RowSource;
use querist_data::DataError;
use querist_data::arrays::{Ids, far_array, is_several, read_ids, shard_files};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

use crate::{message, put};

const ROWS: usize = 50;
const WIDTH: usize = 6;

fn values(rows: std::ops::Range<usize>) -> Vec<f16> {
    (rows.start * WIDTH..rows.end * WIDTH).map(|at| f16::from_f32(at as f32 / 8.0 - 20.0)).collect()
}

fn npy(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(118u16.to_le_bytes());
    file.extend(format!("{text:<117}\n").bytes());
    file.extend(bytes);
    file
}

fn bytes_of(values: &[f16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn half_npy(rows: std::ops::Range<usize>) -> Vec<u8> {
    npy("<f2", &format!("({}, {WIDTH})", rows.len()), &bytes_of(&values(rows)))
}

/// Writes a table of lists of a type, with ids.
fn table<T: DataType>(path: &Path, element: &str, rows: &[Vec<T::T>], ids: &[&str]) {
    let schema = format!(
        "message rows {{ REQUIRED GROUP vectors (LIST) {{ REPEATED GROUP list {{ REQUIRED {element} element; }} }} \
         REQUIRED BYTE_ARRAY id (UTF8); REQUIRED INT64 number (INTEGER(64,false)); }}"
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(fs::File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for (rows, ids) in rows.chunks(20).zip(ids.chunks(20)) {
        let mut group = writer.next_row_group().unwrap();
        let flat: Vec<T::T> = rows.iter().flatten().cloned().collect();
        let starts: Vec<i16> = rows.iter().flat_map(|row| (0..row.len()).map(|at| i16::from(at > 0))).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(&flat, Some(&vec![1; flat.len()]), Some(&starts)).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts: Vec<ByteArray> = ids.iter().map(|id| ByteArray::from(*id)).collect();
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let numbers: Vec<i64> = (0..ids.len() as i64).map(|at| at - 1).collect();
        column.typed::<Int64Type>().write_batch(&numbers, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Shape, values and source of an array in shards.
type Read = (Vec<usize>, Vec<f32>, Arc<dyn RowSource>);

fn read(list: &str) -> Result<Read, DataError> {
    let array = far_array(&shard_files(list, "embeddings")?, "embeddings")?;
    let source = Arc::clone(array.as_far().unwrap());
    let mut values = vec![0.0; source.rows() * source.width()];
    // Blocks that begin and end anywhere.
    for (at, block) in values.chunks_mut(7 * source.width()).enumerate() {
        source.read(at * 7, block).unwrap();
    }
    Ok((array.shape().to_vec(), values, source))
}

fn expected() -> Vec<f32> {
    values(0..ROWS).into_iter().map(f16::to_f32).collect()
}

fn in_folder(folder: &TempDir, names: &[&str]) -> String {
    let paths: Vec<String> = names.iter().map(|name| folder.path().join(name).display().to_string()).collect();
    paths.join(",")
}

#[test]
fn rows_are_the_same_in_any_number_of_files_of_any_form() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    put(at("one.npy"), half_npy(0..ROWS));
    for (number, rows) in [(8, 0..3), (9, 3..3), (10, 3..30), (11, 30..ROWS)] {
        put(at(&format!("many-{number}.npy")), half_npy(rows));
    }
    let halves = bytes_of(&values(0..20));
    let views = |bytes| [("embeddings", TensorView::new(Dtype::F16, vec![20, WIDTH], bytes).unwrap())];
    safetensors::serialize_to_file(views(&halves), None, &at("a.safetensors")).unwrap();
    put(at("b.npy"), half_npy(20..ROWS));
    let rows: Vec<Vec<_>> = values(0..ROWS)
        .chunks(WIDTH)
        .map(|row| row.iter().map(|v| v.to_le_bytes().to_vec()).map(ByteArray::from).map(Into::into).collect())
        .collect();
    let ids: Vec<String> = (0..ROWS).map(|row| format!("p/{row}.jpg")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    table::<FixedLenByteArrayType>(&at("halves.parquet"), "FIXED_LEN_BYTE_ARRAY(2)", &rows, &ids);
    let rows: Vec<Vec<f32>> = expected().chunks(WIDTH).map(<[f32]>::to_vec).collect();
    table::<FloatType>(&at("floats.parquet"), "FLOAT", &rows, &ids);
    for list in [
        in_folder(&folder, &["one.npy"]),
        in_folder(&folder, &["many-*.npy"]),
        in_folder(&folder, &["a.safetensors", "b.npy"]),
        in_folder(&folder, &["a.safetensors#embeddings", "b.npy"]),
        in_folder(&folder, &["halves.parquet"]),
        in_folder(&folder, &["floats.parquet#vectors"]),
    ] {
        let (shape, found, source) = read(&list).unwrap_or_else(|error| panic!("{list}: {error}"));
        assert_eq!((shape, found), (vec![ROWS, WIDTH], expected()), "{list}");
        assert!(source.read(ROWS - 1, &mut [0.0; 2 * WIDTH]).is_err(), "{list}");
    }
    let (.., many) = read(&in_folder(&folder, &["many-*.npy"])).unwrap();
    assert!(many.place(29).ends_with("many-10.npy, row 26"), "{}", many.place(29));
    assert!(is_several(&in_folder(&folder, &["many-*.npy"])) && is_several("a.npy,b.npy") && is_several("x.parquet#v"));
    assert!(!is_several("one.npy") && !is_several("one.safetensors#x"));
}

#[test]
fn every_type_is_read_as_it_is() {
    let folder = TempDir::new().unwrap();
    let numbers = [-1.5f32, 0.0, 65504.0, 3.0, -0.25, 1024.0];
    let path = folder.path().join("x-1.npy");
    let list = path.display().to_string();
    let check = |descr: &str, bytes: Vec<u8>, expected: &[f32]| {
        put(&path, npy(descr, "(2, 3)", &bytes));
        assert_eq!(read(&list).unwrap().1, expected, "{descr}");
    };
    check(">f2", numbers.iter().flat_map(|v| f16::from_f32(*v).to_be_bytes()).collect(), &numbers);
    check("<f4", numbers.iter().flat_map(|v| v.to_le_bytes()).collect(), &numbers);
    check(">f4", numbers.iter().flat_map(|v| v.to_be_bytes()).collect(), &numbers);
    check("<f8", numbers.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(), &numbers);
    check("|u1", vec![1, 2, 3, 4, 5, 255], &[1.0, 2.0, 3.0, 4.0, 5.0, 255.0]);
    let bytes: Vec<u8> = numbers.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
    let views = [("x", TensorView::new(Dtype::BF16, vec![2, 3], &bytes).unwrap())];
    let path = folder.path().join("x.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    let expected: Vec<f32> = numbers.iter().map(|v| bf16::from_f32(*v).to_f32()).collect();
    assert_eq!(read(&path.display().to_string()).unwrap().1, expected);
}

#[test]
fn shards_that_do_not_fit_are_named() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (number, rows) in [(1, 0..10), (2, 10..20), (3, 20..ROWS)] {
        put(at(&format!("e-{number}-of-3.npy")), half_npy(rows));
    }
    let of = |names: &[&str]| message(read(&in_folder(&folder, names)), folder.path());
    assert_eq!(
        of(&["x-*.npy"]),
        "x-*.npy: no file has a name like this; expected shards of `embeddings`; correct their names"
    );
    assert_eq!(
        of(&["e-1-of-3.npy", "x.npy"]),
        "x.npy: no such file; expected shards of `embeddings`; correct their names"
    );
    assert_eq!(
        of(&["e-*.npy", "e-2-of-3.npy"]),
        "e-2-of-3.npy: the same file as `e-2-of-3.npy`, which is among the shards of `embeddings`; expected each shard \
         once"
    );
    std::os::unix::fs::symlink(at("e-1-of-3.npy"), at("other.npy")).unwrap();
    assert!(of(&["e-1-of-3.npy", "other.npy"]).starts_with("other.npy: the same file as `e-1-of-3.npy`"));
    fs::remove_file(at("other.npy")).unwrap();

    put(at("wide.npy"), npy("<f2", "(2, 7)", &[0; 28]));
    assert_eq!(
        of(&["e-1-of-3.npy", "wide.npy"]),
        "wide.npy: rows of shape [7]; expected rows of shape [6], as in `e-1-of-3.npy`"
    );
    put(at("single.npy"), npy("<f4", "(2, 6)", &[0; 48]));
    assert_eq!(
        of(&["e-1-of-3.npy", "single.npy"]),
        "single.npy: values of type float32; expected float16, as in `e-1-of-3.npy`"
    );
    put(at("text.csv"), "1,2");
    assert!(of(&["text.csv"]).starts_with("text.csv: no shard by its ending; expected `.npy`, `.safetensors`"));
    let cut = half_npy(10..20);
    put(at("e-2-of-3.npy"), &cut[..cut.len() - 5]);
    let text = of(&["e-*.npy"]);
    assert!(
        text.starts_with("e-2-of-3.npy, byte 128: 115 bytes of values for shape [10, 6] of <f2; expected 120"),
        "{text}"
    );
    fs::remove_file(at("e-2-of-3.npy")).unwrap();
    let text = of(&["e-*.npy"]);
    assert!(text.contains("e-2-of-3.npy: missing, with 2 of 3 shards there"), "{text}");

    // Cut while it is read.
    put(at("late.npy"), half_npy(0..ROWS));
    let source = read(&in_folder(&folder, &["late.npy"])).unwrap().2;
    fs::OpenOptions::new().write(true).open(at("late.npy")).unwrap().set_len(400).unwrap();
    let error = source.read(40, &mut [0.0; WIDTH]).unwrap_err();
    assert!(error.ends_with("late.npy, row 40: it ends before this row: it was cut while it was read"), "{error}");
}

#[test]
fn tables_that_do_not_fit_are_named() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let of = |name: &str| message(read(&in_folder(&folder, &[name])), folder.path());
    table::<FloatType>(&at("ragged.parquet"), "FLOAT", &[vec![1.0, 2.0], vec![3.0]], &["a", "b"]);
    assert_eq!(of("ragged.parquet"), "ragged.parquet: row 1 of 1 values; expected 2, as in row 0");
    let text = of("ragged.parquet#logits");
    assert!(text.contains("no column `logits` of such values; expected one of `vectors`"), "{text}");
    let whole = fs::read(at("ragged.parquet")).unwrap();
    put(at("cut.parquet"), &whole[..whole.len() / 2]);
    assert!(of("cut.parquet").starts_with("cut.parquet: no readable Parquet"), "{}", of("cut.parquet"));
}

#[test]
fn ids_are_numbers_or_texts() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let ids = |names: &[&str]| {
        let files: Vec<PathBuf> = names.iter().map(|name| at(name)).collect();
        read_ids(&files, "ids")
    };
    put(at("a.txt"), "cat/1.png\ncat 2.png\n");
    put(at("b.txt"), "ö\n");
    let Ok(Ids::Texts(texts)) = ids(&["a.txt", "b.txt"]) else { panic!("texts are texts") };
    assert_eq!((texts.len(), texts.get(1), texts.get(2), texts.get(3)), (3, Some("cat 2.png"), Some("ö"), None));
    assert_eq!(texts.twice(), None);
    let Ok(Ids::Texts(texts)) = ids(&["a.txt", "b.txt", "a.txt"]) else { panic!("texts are texts") };
    assert_eq!(texts.twice(), Some((1, 4)));
    put(at("n.npy"), npy("<u8", "(2,)", &[u64::MAX.to_le_bytes(), 3u64.to_le_bytes()].concat()));
    let Ok(Ids::Numbers(numbers)) = ids(&["n.npy", "n.npy"]) else { panic!("numbers are numbers") };
    assert_eq!(numbers, [u64::MAX, 3, u64::MAX, 3]);
    table::<FloatType>(&at("t.parquet"), "FLOAT", &[vec![1.0], vec![3.0]], &["a", "b"]);
    let Ok(Ids::Texts(texts)) = ids(&["t.parquet#id"]) else { panic!("texts are texts") };
    assert_eq!((texts.get(0), texts.get(1)), (Some("a"), Some("b")));
    let Ok(Ids::Numbers(numbers)) = ids(&["t.parquet#number"]) else { panic!("numbers are numbers") };
    assert_eq!(numbers, [u64::MAX, 0], "numbers of 64 bits are unsigned");
    let text = message(ids(&["n.npy", "a.txt"]), folder.path());
    assert_eq!(text, "a.txt: ids that are texts; expected numbers, as in the files before");
    put(at("empty.txt"), "a\n\n");
    assert!(message(ids(&["empty.txt"]), folder.path()).contains("row 1: an id of 0 bytes"));
}
