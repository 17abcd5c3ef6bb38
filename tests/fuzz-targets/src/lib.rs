//! What fuzzers and tests feed with bytes of somebody else: one function a boundary, each on the real code.
//!
//! `fuzz/` calls them from libFuzzer, `tests/` with the checked-in corpus and changes of it. A function panics where
//! something is wrong; that it ends, and in which memory, is watched from outside.
#![deny(missing_docs)]

mod answers;
mod arrays;
mod datasets;
mod description;
mod pictures;
mod runs;

use querist_core::Schema;
use querist_loader::isolate::{Bounds, hear_anything};
use querist_protocol::{Need, is_showable};
use serde_json::Value;

pub use answers::answers;
pub use arrays::arrays;
pub use datasets::{matlab, pickles, shards, tables};
pub use description::{artifact, description};
pub use pictures::{archives, pictures};
pub use runs::{run_folder, unchanged_run};

/// A boundary that bytes of somebody else cross.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Takes bytes in.
    pub feed: fn(&[u8]),
}

/// Every boundary.
pub const TARGETS: [Target; 15] = [
    Target { name: "answers", feed: answers },
    Target { name: "artifact", feed: artifact },
    Target { name: "arrays", feed: arrays },
    Target { name: "archives", feed: archives },
    Target { name: "description", feed: description },
    Target { name: "matlab", feed: matlab },
    Target { name: "needs", feed: needs },
    Target { name: "offer", feed: offer },
    Target { name: "pickles", feed: pickles },
    Target { name: "pictures", feed: pictures },
    Target { name: "run_folder", feed: run_folder },
    Target { name: "schema", feed: schema },
    Target { name: "shards", feed: shards },
    Target { name: "tables", feed: tables },
    Target { name: "worker", feed: worker },
];

/// A need, as a plugin spells it: what is read is written the same and read again.
pub fn needs(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match text.parse::<Need>() {
        Ok(need) => {
            let written = need.to_string();
            assert_eq!(written.parse().as_ref(), Ok(&need), "`{text}` becomes `{written}`");
            assert!(need.names().all(|name| text.contains(name)), "`{text}` has other names");
            let _ = (need.split_labelled(), need.arg("T"), need.has_flag("log"));
            let first = need.first_choice();
            assert!(first.second_choice().is_none(), "the first choice of `{text}` has a second");
            assert_eq!(first.to_string().parse(), Ok(first));
        }
        Err(error) => bounded(&error.to_string()),
    }
}

/// A schema and, after a zero byte, a value: problems and defaults stay in bounds.
pub fn schema(data: &[u8]) {
    let (schema, value) = data.split_at(data.iter().position(|&byte| byte == 0).unwrap_or(data.len()));
    let Ok(source) = serde_json::from_slice::<Value>(schema) else { return };
    let value = serde_json::from_slice(value.get(1..).unwrap_or_default()).unwrap_or(Value::Null);
    let Ok(schema) = Schema::new(source) else { return };
    let _ = schema.problems(&value);
    filled(&schema, &value);
}

/// What comes on the pipe of a worker in which foreign code runs; two bytes choose how many rows there are.
pub fn worker(data: &[u8]) {
    let Some((&rows, said)) = data.split_first_chunk() else { return };
    hear_anything(said, Bounds { rows: usize::from(u16::from_le_bytes(rows)), state: 1 << 16 });
}

/// What is installed, or a server answers, after a byte that says what it is: messages are short and steer nothing.
pub fn offer(data: &[u8]) {
    let Some((&form, rest)) = data.split_first() else { return };
    if let Err(message) = querist_store::fuzzing::take(form, rest) {
        bounded(&message);
    }
}

/// Bytes of a value with every default at most.
const MOST_FILLED: usize = 4 << 20;

fn filled(schema: &Schema, value: &Value) {
    let filled = schema.with_defaults(value);
    let bytes = filled.to_string().len();
    assert!(bytes <= MOST_FILLED, "{bytes} bytes with every default");
}

/// A message about somebody else's bytes is short and steers nothing.
fn bounded(message: &str) {
    assert!(message.len() <= 8000, "a message of {} bytes", message.len());
    assert!(message.lines().all(is_showable), "a message that steers a terminal: {message:?}");
}
