//! What happens, for programs: with `--log json` each line of standard error is one JSON object.
//!
//! Every object has `event` and `time`, seconds since 1970. docs/studies.md lists the events with their fields.

use std::ffi::OsStr;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::output;

/// How what happens is told on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Log {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether events are told as JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Looks for `--log json` before anything is parsed, so that wrong arguments are told in the same form.
pub fn choose(args: impl IntoIterator<Item = impl AsRef<OsStr>>) {
    let args: Vec<_> = args.into_iter().collect();
    let is = |at: usize, word: &str| args.get(at).is_some_and(|arg: &_| arg.as_ref() == word);
    let wanted = (0..args.len()).any(|at| is(at, "--log=json") || (is(at, "--log") && is(at + 1, "json")));
    JSON.store(wanted, Ordering::Relaxed);
    if wanted {
        std::panic::set_hook(Box::new(|panic| {
            tell("error", json!({ "message": output::shown(&panic.to_string()).as_str(), "code": 101 }));
        }));
    }
}

/// Whether events are told as JSON.
pub fn are_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Tells an event, where events are told. Work never ends because nobody listens.
pub fn tell(event: &str, fields: Value) {
    if !are_json() {
        return;
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let mut line = json!({ "event": event, "time": (time * 1e3).round() / 1e3 });
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields);
    }
    // In one piece, so that lines of several processes do not run together.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Tells a line for people as an event: its level is its first word.
pub fn note(text: &str) {
    let (level, message) = match text.split_once(": ") {
        Some(("warning", rest)) => ("warning", rest),
        Some(("note", rest)) => ("info", rest),
        _ => ("info", text),
    };
    tell("note", json!({ "level": level, "message": output::shown(message).as_str() }));
}
