//! Whatever can be wrong with a file that comes back.

use std::fs;

use querist_people::formats::{Format, read};
use serde_json::{Value, json};

use super::Run;

#[test]
fn everything_wrong_with_a_table_is_told_at_once() {
    let run = Run::new();
    let rows = [
        ("99,,cat,,", "line 2: sample 99 is not asked for by round-2"),
        ("7,b.jpg,cat,,", "line 3: sample 7 is `a.jpg`, but the file calls it `b.jpg`"),
        ("40,,cart,,", "line 4: class `cart`, expected a class of the run (`cat`, "),
        ("40,,  ,ann,", "line 5: an empty answer"),
        ("40,,,,2.5", "line 6: an empty answer"),
        ("x,,cat,,", "line 7: `x` is no number of a sample"),
        (",,cat,,", "line 8: neither an id nor a name"),
        ("3,,cat,,soon", "line 9: `soon` is no time"),
        ("3,,cat,,-1", "line 10: an answer's time is -1 s"),
        ("19,,cat,ann,", ""),
        ("19,,__none__,ann,", "line 12: `__none__` for `in, or out/a.jpg`, which line 11 says is `cat`"),
        (",../a.jpg,cat,,", "line 13: `../a.jpg` is no picture"),
        ("-1,,cat,,", "line 14: `-1` is no number"),
        ("99999999999999999999,,cat,,", "line 15: `99999999999999999999` is no number"),
        ("12,,\u{1b}[2J\u{202e},,", "line 16: class `\u{fffd}[2J\u{fffd}`"),
        ("8,,straße,,", ""),
    ];
    let table = rows.iter().fold("id,name,label,annotator,seconds\n".to_owned(), |table, (row, _)| table + row + "\n");
    fs::write(run.at("t.csv"), table).unwrap();
    let plan = run.plan(Format::Csv, &run.at("t.csv"));
    let told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    let expected: Vec<&str> = rows.iter().map(|(_, part)| *part).filter(|part| !part.is_empty()).collect();
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, part) in told.iter().zip(expected) {
        assert!(told.starts_with(part), "{told}, expected {part}");
    }
    // Of two answers to one question neither counts.
    assert_eq!(plan.new.iter().map(|new| new.id).collect::<Vec<_>>(), [8]);
}

#[test]
fn files_that_are_none_are_refused() {
    let run = Run::new();
    let deep = "[".repeat(1 << 20);
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]>\
                <annotations>&c;</annotations>";
    let nested = "<annotations>".repeat(200_000);
    let huge = format!("id,label\n1,{}", "x".repeat(3 << 20));
    for (format, text, part) in [
        (Format::Csv, "", "expected `label`"),
        (Format::Csv, "label\ncat\n", "`id` or `name`"),
        (Format::Csv, "id,label,ID\n1,cat,1\n", "column `id` twice"),
        (Format::Csv, "id,label\n1,cat,3\n", "found record with 3 fields"),
        (Format::Coco, "{}", "missing field `images`"),
        (Format::Coco, &deep, "expected `images`"),
        (Format::LabelStudio, &deep, "expected a list of tasks"),
        (Format::LabelStudio, "{}", "expected a list of tasks"),
        (Format::FiftyOne, "{\"labels\": []}", "an object with a target"),
        (Format::FiftyOne, &deep, "expected `labels`"),
        (Format::Cvat, bomb, "DTD"),
        (Format::Cvat, &nested, "expected XML"),
        (Format::Cvat, "<html/>", "<html>, expected <annotations>"),
        (Format::Parquet, "PAR1", "no readable Parquet"),
        (Format::Parquet, &huge, "no readable Parquet"),
        (
            Format::Coco,
            r#"{"images":[{"id":1,"file_name":"a"},{"id":1,"file_name":"b"}],"categories":[],"annotations":[]}"#,
            "image 1 twice",
        ),
    ] {
        fs::write(run.at("f"), text).unwrap();
        let error = read(format, &run.at("f")).unwrap_err();
        let told = error.to_string();
        assert!(told.contains(part) && told.len() < 2000 && error.is_usage(), "{format}: {told}");
    }
    // A table with one long cell is one; what is in it is told in short.
    fs::write(run.at("f"), huge).unwrap();
    let told = run.plan(Format::Csv, &run.at("f")).wrong[0].to_string();
    assert!(told.len() < 1200, "{} bytes", told.len());
    fs::write(run.at("f"), [0xff, 0xfe]).unwrap();
    for format in [Format::Csv, Format::Cvat, Format::Coco] {
        assert!(read(format, &run.at("f")).unwrap_err().is_usage());
    }
    for format in Format::ALL {
        assert!(read(format, &run.at("nothing")).unwrap_err().is_usage(), "{format}");
    }
    let pipe = run.at("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for format in Format::ALL {
        assert!(read(format, &pipe).unwrap_err().is_usage(), "{format} does not wait for a pipe");
    }
}

#[test]
fn what_other_tools_get_wrong_is_named_at_its_place() {
    let run = Run::new();
    let region = |labels: &[&str]| json!({ "type": "choices", "value": { "choices": labels } });
    let task =
        |id: u64, annotations: Value| json!({ "id": 1, "data": { "querist_id": id }, "annotations": annotations });
    let by = |result: Value| json!({ "id": 9, "completed_by": { "id": 4, "email": "a@b.example" }, "result": result });
    let tasks = json!([
        task(40, json!([by(json!([]))])),
        task(7, json!([by(json!([region(&["cat", "straße"])]))])),
        task(19, json!([by(json!([region(&["cat"]), region(&["cat"])]))])),
        task(3, json!([by(json!([region(&["cat"])])), by(json!([region(&["straße"])]))])),
        json!({ "id": 2, "data": { "image": "x" }, "annotations": [by(json!([region(&["cat"])]))] }),
        json!({ "id": 3, "querist_id": "12", "label": "cat", "annotator": 1, "lead_time": 2.0 }),
        json!({ "id": 4, "querist_id": 8, "annotator": 1 }),
    ]);
    fs::write(run.at("t"), tasks.to_string()).unwrap();
    let plan = run.plan(Format::LabelStudio, &run.at("t"));
    let told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    let parts = [
        "task 1, annotation 9: an empty answer",
        "task 1, annotation 9: several choices",
        "task 1, annotation 9: 2 answers",
        "task 1, annotation 9: `straße` for",
        "task 2, annotation 9: a task without `querist_id`",
        "task 4: an empty answer",
    ];
    assert_eq!(told.len(), parts.len(), "{told:#?}");
    assert!(told.iter().zip(parts).all(|(told, part)| told.starts_with(part)), "{told:#?}");
    assert_eq!((plan.new.len(), plan.new[0].annotator.as_str(), plan.new[0].id), (1, "label-studio 1", 12));

    let xml = "<annotations><image name=\"0001-40-é _40_.png\"><tag label=\"cat\"/><tag label=\"straße\"/></image>\
               <image id=\"4\"/><image name=\"0002-7-a.jpg\"><tag/></image>\
               <image name=\"x\"><box label=\"cat\"/></image>\
               </annotations>";
    fs::write(run.at("t"), xml).unwrap();
    let plan = run.plan(Format::Cvat, &run.at("t"));
    let told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    assert!(told[1].starts_with("image 1: an image without a name"), "{told:?}");
    assert!(told[2].starts_with("image 2 (`0002-7-a.jpg`): a tag without a label"), "{told:?}");
    assert!(told[0].contains("`straße` for") && plan.new.is_empty() && plan.unanswered == 1, "{told:?}");

    // An object that has a name twice has two answers.
    let labels = r#"{"classes":["cat"],"labels":{"0002-7-a":0,"0002-7-a":"straße","0001-40-é _40_":5,"0003-19-a":[0,0],
                    "in, or out/a":{"label":0,"confidence":0.5},"0009-5-x":null}}"#;
    fs::write(run.at("t"), labels).unwrap();
    let plan = run.plan(Format::FiftyOne, &run.at("t"));
    let told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    assert!(told[1].contains("class number 5") && told[2].contains("2 answers"), "{told:?}");
    assert!(told[0].contains("`straße` for `a.jpg`") && told.len() == 3, "{told:?}");
    assert_eq!(plan.new.iter().map(|new| new.id).collect::<Vec<_>>(), [19]);

    let coco = r#"{"images":[{"id":1,"file_name":"a.jpg"}],"categories":[{"id":1,"name":"cat"}],"annotations":[
        {"id":5,"image_id":2,"category_id":1},{"image_id":1},{"id":7,"image_id":1,"category_id":3}]}"#;
    fs::write(run.at("t"), coco).unwrap();
    let told: Vec<String> = run.plan(Format::Coco, &run.at("t")).wrong.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("annotation 5: image 2, which is none"), "{told:?}");
    assert!(told[1].starts_with("annotations[1]: an empty answer"), "{told:?}");
    assert!(told[2].starts_with("annotation 7: category 3, which is none"), "{told:?}");
}

#[test]
fn a_folder_is_read_as_it_lies_and_no_link_is_followed() {
    let run = Run::new();
    let out = run.export(Format::Folder, "out");
    let elsewhere = run.at("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("0002-7-a.jpg"), "x").unwrap();
    std::os::unix::fs::symlink(&elsewhere, out.join("linked")).unwrap();
    std::os::unix::fs::symlink("../0002-7-a.jpg", out.join("cat/0002-7-a.jpg")).unwrap();
    fs::create_dir_all(out.join("cat/deeper/deepest")).unwrap();
    fs::create_dir(out.join("birds")).unwrap();
    fs::rename(out.join("0002-7-a.jpg"), out.join("birds/0002-7-a.jpg")).unwrap();
    fs::write(out.join("cat/note.txt"), "x").unwrap();
    fs::copy(out.join("0003-19-a.jpg"), out.join("cat/0003-19-a.jpg")).unwrap();
    let plan = run.plan(Format::Folder, &out);
    let mut told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    told.sort();
    let parts = [
        "birds/0002-7-a.jpg: class `birds`",
        "cat/0002-7-a.jpg: a link",
        "cat/deeper: a folder",
        "cat/note.txt: `note.txt` is no picture",
        "linked: a link",
    ];
    assert_eq!(told.len(), parts.len(), "{told:#?}");
    assert!(told.iter().zip(parts).all(|(told, part)| told.starts_with(part)), "{told:#?}");
    assert_eq!(plan.new.iter().map(|new| new.id).collect::<Vec<_>>(), [19], "a copy counts as a move");
}
