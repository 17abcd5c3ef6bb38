//! Run, study and sidecar files in an editor: `taplo`, which editors of TOML are built on, checks them by our schemas.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use querist_tests::cli::{Place, RUN};

const TAPLO: &str = "taplo==0.9.3";

/// The program, from PyPI, in an environment of its own.
fn taplo(place: &Place) -> PathBuf {
    let done = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let environment = place.at("environment");
    done(Command::new("python3").args(["-m", "venv"]).arg(&environment));
    done(Command::new(environment.join("bin/pip")).args(["install", "--quiet", TAPLO]));
    environment.join("bin/taplo")
}

/// Whether a file passes, and what is said of it.
fn check(taplo: &Path, file: &Path) -> (bool, String) {
    let output = Command::new(taplo).arg("check").arg(file).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
#[ignore = "fetches 6 MB from PyPI"]
fn editors_check_files_by_their_schemas() {
    let place = Place::new();
    let taplo = taplo(&place);
    for name in ["run", "study", "sidecar"] {
        place.write(&format!("{name}.schema.json"), place.good(&["schema", name]));
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for folder in [examples.clone(), examples.join("suites")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "toml") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            // What is probed needs no strategy, and is no run.
            if text.contains("querist probe") {
                continue;
            }
            let kind = match text.contains("strategies") {
                true => "study",
                false if text.contains("outputs") => "sidecar",
                false => "run",
            };
            let file = path.file_name().unwrap().to_str().unwrap();
            place.write(file, format!("\"$schema\" = \"./{kind}.schema.json\"\n{text}"));
            let (passes, said) = check(&taplo, &place.at(file));
            assert!(passes, "{file}: {said}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} examples");

    let wrong = RUN.replace("batch", "batches");
    assert_ne!(wrong, RUN);
    for (name, first) in [("key", "\"$schema\" = \"./run.schema.json\""), ("comment", "#:schema ./run.schema.json")] {
        let file = format!("{name}.toml");
        place.write(&file, format!("{first}\n{RUN}"));
        assert!(check(&taplo, &place.at(&file)).0, "{name}");
        // The program reads the file all the same.
        place.good(&["run", &file, "--stop-after", "initialize", "--out", name]);
        place.write(&file, format!("{first}\n{wrong}"));
        let (passes, said) = check(&taplo, &place.at(&file));
        assert!(!passes && said.contains("batch"), "{name}: {said}");
    }
    let run = fs::read_to_string(place.at("key/run.toml")).unwrap();
    assert!(!run.contains("$schema"), "what editors read is nothing of a run: {run}");
}
