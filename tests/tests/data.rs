//! `querist data` on pictures of one's own, and folders that the surroundings name.

use std::fs;
use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use querist_tests::cli::{Place, steers};

fn picture(number: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(8, 8, Rgb([number, 0, 0]))
        .write_to(&mut bytes, ImageFormat::Png)
        .expect("memory can be written");
    bytes.into_inner()
}

/// Pictures of two classes in each of these folders.
fn with(folders: &[&str], each: u8) -> Place {
    let place = Place::new();
    for (at, folder) in folders.iter().enumerate() {
        for number in 0..each {
            for (class, shift) in [("cat", 0), ("dog", 128)] {
                let path = format!("photos/{folder}/{class}/{number}.png");
                place.write(&path, picture(number + shift + 32 * at as u8));
            }
        }
    }
    place
}

const RUN: &str = r#"version = 1
dataset = { name = "folder", path = "photos" }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 2 }
budget = { initial = 2, per_class = true, batch = 2, rounds = 1 }
strategy = { id = "random" }
compute = { threads = 1 }
"#;

#[test]
fn check_shows_splits_and_a_run_uses_them() {
    let place = with(&["train", "valid", "test"], 5);
    place.write("photos/README.roboflow.txt", "exported");
    let said = place.good(&["data", "check", "folder", "--path", "photos"]);
    for line in [
        "folders read as splits:\n  train       photos/train\n  validation  photos/valid\n  test        photos/test\n",
        "CLASS       TRAIN  VALIDATION        TEST\ncat             5           5           5\n",
        "sizes: all 8x8 (height x width)\nmodes: 30 colour\n",
        "skipped: 1 beside the pictures (`README.roboflow.txt`)\nfolder  readable, digest ",
    ] {
        assert!(said.contains(line), "{said}\n  lacks: {line}");
    }
    place.write("run.toml", RUN);
    place.good(&["run", "run.toml", "--out", "r"]);
    let header = fs::read_to_string(place.at("r/header.json")).expect("a header");
    let header: serde_json::Value = serde_json::from_str(&header).expect("JSON");
    let counts = ["pool", "validation", "test"].map(|part| header["dataset"][part].as_u64());
    assert_eq!(counts, [Some(10); 3]);
    let record = fs::read_to_string(place.at("r/rounds.jsonl")).expect("records");
    assert!(record.lines().all(|line| line.contains("\"validation\":")), "{record}");
    place
        .call(&["run", "run.toml", "--out", "x", "--set", "dataset.validation=4"])
        .fails(2, &["a validation set of its own of 10 samples: remove `dataset.validation`"]);
}

#[test]
fn a_validation_folder_is_the_test_set_on_demand_only() {
    let place = with(&["Training", "Validation"], 5);
    place.write("run.toml", RUN);
    place.call(&["run", "run.toml", "--out", "x"]).fails(
        2,
        &["`dataset.test`, or test on its 10 validation samples with `dataset.layout = \"validation-is-test\"`"],
    );
    place.good(&["run", "run.toml", "--out", "r", "--set", "dataset.layout=validation-is-test"]);
    place.good(&["run", "run.toml", "--out", "drawn", "--set", "dataset.test=4"]);
    let said = place.good(&["data", "check", "folder", "--path", "photos", "--layout", "validation-is-test"]);
    assert!(said.contains("  test        photos/Validation\n"), "{said}");
}

#[test]
fn two_readings_are_refused_and_chosen() {
    let place = Place::new();
    for (number, class) in ["train", "bus", "car"].into_iter().enumerate() {
        place.write(&format!("photos/{class}/1.png"), picture(number as u8));
    }
    let said = place.call(&["data", "check", "folder", "--path", "photos"]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{}", said.err);
    assert!(said.err.contains("with `dataset.layout = \"classes\"` all of them are classes"), "{}", said.err);
    let said = place.good(&["data", "files", "folder", "--path", "photos", "--layout", "classes"]);
    assert!(said.contains(",train/train/1.png\n"), "{said}");
}

#[test]
fn sizes_are_shown_beside_the_error() {
    let place = with(&["."], 2);
    let mut wide = Cursor::new(Vec::new());
    RgbImage::new(20, 10).write_to(&mut wide, ImageFormat::Png).expect("memory can be written");
    place.write("photos/dog/wide.png", wide.into_inner());
    let said = place.call(&["data", "check", "folder", "--path", "photos"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.out.contains("sizes: 2 different, from 8x8 to 10x20 (height x width)\n"), "{}", said.out);
    assert!(said.err.contains("set `dataset.size` to resize all"), "{}", said.err);
}

#[test]
fn names_with_control_characters_are_never_printed() {
    let place = with(&["."], 2);
    fs::rename(place.at("photos"), place.at("a\u{1b}[31mb")).expect("the folder is ours");
    let odd = place.at("a\u{1b}[31mb");
    let path = odd.to_str().expect("UTF-8");
    // A set that is there is listed with its folder.
    fs::create_dir(odd.join("mnist")).expect("the folder is ours");
    for file in ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"] {
        fs::write(odd.join(format!("mnist/{file}-ubyte.gz")), "x").expect("the folder is ours");
    }
    let listed = place.command(&["data", "list"]).env("QUERIST_DATA", path).output().expect("it starts");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("[31mb/mnist"), "the folder is shown");
    for args in [
        &["data", "check", "mnist", "--path", path][..],
        &["data", "check", "folder", "--path", path],
        &["data", "files", "folder", "--path", path],
        &["data", "list"],
        &["doctor"],
    ] {
        let output =
            place.command(args).env("QUERIST_DATA", path).env("QUERIST_CACHE", path).output().expect("it starts");
        let said = place.said(&output);
        assert!(!said.out.lines().chain(said.err.lines()).any(steers), "{args:?}: {said:?}");
    }
}

#[test]
fn empty_variables_make_no_folder_where_one_works() {
    let place = Place::new();
    let empty = |args: &[&str]| {
        let mut command = place.command(args);
        for name in ["QUERIST_CACHE", "QUERIST_DATA", "QUERIST_PLUGIN_PATH", "XDG_CACHE_HOME", "XDG_DATA_HOME", "HOME"]
        {
            command.env(name, "");
        }
        // What is left of the surroundings is this folder's.
        command.env("TMPDIR", place.at("tmp"));
        place.said(&command.output().expect("the program can be started"))
    };
    for args in [&["doctor"][..], &["data", "list"], &["plugin", "list"], &["plugin", "show", "badge"]] {
        empty(args);
        let left: Vec<_> = fs::read_dir(place.path()).expect("the folder").flatten().map(|e| e.file_name()).collect();
        assert!(left.iter().all(|name| name == "tmp"), "{args:?} left {left:?}");
    }
    let doctor = empty(&["doctor"]);
    assert!(doctor.out.contains("cache        DIR/tmp/querist/compiled"), "{}", doctor.out);
}
