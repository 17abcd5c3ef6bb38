//! The native fixture, packed, with arrays to ask it about.

use querist_data::arrays::write_npy;
use querist_protocol::philox::Stream;
use serde_json::Value;

use crate::cli::{Place, Said};
use crate::target;

/// Rows of the pool.
pub const ROWS: usize = 700;

/// A folder with arrays and the packed fixture.
pub struct Packed {
    /// The folder.
    pub place: Place,
}

impl Default for Packed {
    fn default() -> Self {
        Self::new()
    }
}

impl Packed {
    /// Packs the fixture in a new folder.
    pub fn new() -> Self {
        let place = Place::new();
        let mut stream = Stream::new(5, 0);
        let mut array = |name: &str, rows: usize, columns: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|_| stream.next_uniform() as f32 * 6.0 - 3.0).collect();
            write_npy(&place.at(name), &[rows, columns], &values).expect("the folder is ours");
        };
        array("logits.npy", ROWS, 10);
        array("embeddings.npy", ROWS, 16);
        array("labelled.npy", 30, 16);
        place.good(&["plugin", "pack", "--allow-native", &library("native_fixture"), "--out", "packed"]);
        Self { place }
    }

    /// Locks the fixture.
    pub fn lock(&self) {
        self.place.good(&["plugin", "lock", "native-fixture", "--plugin-dir", "packed"]);
    }

    /// Arguments of a selection.
    pub fn args<'a>(strategy: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut args =
            vec!["select", "--strategy", strategy, "--plugin-dir", "packed", "--budget", "40", "--seed", "3"];
        args.extend(["--input", "logits=logits.npy", "--format", "json"]);
        args.extend(more);
        args
    }

    /// A selection.
    pub fn select(&self, strategy: &str, more: &[&str]) -> Said {
        self.place.call(&Self::args(strategy, more))
    }

    /// A selection that fails with this code and says all of these words.
    #[track_caller]
    pub fn refused(&self, strategy: &str, more: &[&str], code: i32, words: &[&str]) -> String {
        let said = self.select(strategy, more);
        assert_eq!(said.code, Some(code), "{strategy} {more:?}: {}", said.err);
        assert_eq!(said.out, "", "{strategy} {more:?}: a failure prints no data");
        for word in words {
            assert!(said.err.contains(word), "{strategy} {more:?}: expected `{word}` in: {}", said.err);
        }
        said.err
    }

    /// Rows and scores of a selection.
    #[track_caller]
    pub fn picks(&self, strategy: &str, more: &[&str]) -> (Value, Value) {
        let said = self.select(strategy, more);
        assert_eq!(said.code, Some(0), "{strategy} {more:?}: {}", said.err);
        let answer: Value = serde_json::from_str(&said.out).expect("an answer is JSON");
        (answer["rows"].clone(), answer["scores"].clone())
    }
}

/// A built library of the workspace.
pub fn library(name: &str) -> String {
    let path = target().join(format!("lib{name}.so"));
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace` first", path.display());
    path.display().to_string()
}
