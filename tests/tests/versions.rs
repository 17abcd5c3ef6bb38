//! Plugins that were built for another version of the boundary than the host's.

use std::fs;

use querist_data::arrays::write_npy;
use querist_tests::cli::Place;
use querist_tests::workspace;
use serde_json::Value;

/// The package `older`: k-center greedy, built against boundary 1.0. It lies under `tests/golden` as it was built.
fn older() -> Vec<u8> {
    fs::read(workspace().join("tests/golden/boundary-1.0/older.wasm")).unwrap()
}

/// The same with other words in the place of some as long.
fn with(bytes: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (from, to) in changes {
        assert_eq!(from.len(), to.len());
        let places: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from.as_bytes())).collect();
        assert!(!places.is_empty(), "`{from}` is nowhere");
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}

#[test]
fn a_component_of_an_older_minor_version_picks_beside_one_of_the_newest() {
    let place = Place::new();
    fs::create_dir(place.at("theirs")).unwrap();
    fs::write(place.at("theirs/older.wasm"), older()).unwrap();
    let embeddings: Vec<f32> = (0..600).map(|i| ((i * 37) % 101) as f32 / 10.0).collect();
    write_npy(&place.at("embeddings.npy"), &[200, 3], &embeddings).unwrap();
    let asked = |strategy: &str| -> Value {
        let out = place.good(&[
            "select",
            "--strategy",
            strategy,
            "--budget",
            "20",
            "--seed",
            "5",
            "--input",
            "embeddings=embeddings.npy",
            "--plugin-dir",
            "theirs",
            "--format",
            "json",
        ]);
        serde_json::from_str(&out).unwrap()
    };
    let (old, new) = (asked("older/k-center-greedy"), asked("k-center-greedy/k-center-greedy"));
    assert_eq!(old["ids"].as_array().unwrap().len(), 20);
    assert_eq!((&old["ids"], &old["scores"]), (&new["ids"], &new["scores"]));
    let list = place.good(&["plugin", "check", "theirs/older.wasm"]);
    assert!(list.contains("k-center-greedy"), "{list}");
}

#[test]
fn a_component_of_a_newer_version_says_which_host_it_needs() {
    let place = Place::new();
    fs::create_dir(place.at("theirs")).unwrap();
    for (api, wit, need) in [
        ("1.9", "@1.9.0", "it needs a querist that speaks 1.9"),
        ("2.0", "@2.0.0", "it needs a querist that speaks 2.0"),
        ("0.2", "@0.2.0", "rebuild it with the SDK of this release"),
    ] {
        let changes = [("\"api\":\"1.0\"", format!("\"api\":\"{api}\"")), ("@1.0.0", wit.to_owned())];
        let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
        fs::write(place.at("theirs/older.wasm"), with(&older(), &changes)).unwrap();
        let list = place.good(&["plugin", "list", "--plugin-dir", "theirs"]);
        let wanted = format!("built for boundary version {api}, this host speaks 1.1: {need}");
        assert!(list.contains(&wanted), "`{wanted}` is missing in {list}");
    }
}
