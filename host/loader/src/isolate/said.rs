//! What comes back from a worker.
//!
//! Lines of JSON; an answer is a line with its sizes, then its numbers as they lie in memory. Once a plugin is loaded
//! nothing here is to be believed: every size is checked against what can be right before there is room made for it.

use std::io::{self, BufRead, Read};

use querist_core::QueryErrorKind;
use querist_protocol::{Selection, Shown};
use serde::{Deserialize, Serialize};

/// Bytes of a line at most. Figures, and a failure's sentence, are the longest.
const LINE: usize = 64 << 10;

/// One line from a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    Progress {
        done: u64,
        total: u64,
    },
    Log {
        level: u8,
        message: String,
    },
    Needs {
        needs: Vec<String>,
    },
    Answer(Sizes),
    Failed {
        kind: QueryErrorKind,
        message: String,
    },
    /// A system call that is not allowed, by number.
    Forbidden {
        call: i64,
    },
}

/// An answer's sizes and its figures, whose values cross as bits, so that none is rounded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sizes {
    rows: usize,
    scores: usize,
    state: Option<usize>,
    figures: Vec<(String, u64)>,
}

/// What an answer may have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Rows of the pool.
    pub rows: usize,
    /// Bytes of state.
    pub state: usize,
}

/// What a worker said last.
#[derive(Debug)]
pub(super) enum Last {
    Needs(Vec<String>),
    Answer(Selection),
    Failed(QueryErrorKind, String),
    Forbidden(i64),
    /// No message of a worker, or one that cannot be right.
    Nonsense(String),
    /// Nothing: the pipe ended.
    End,
}

/// What a worker says meanwhile, as often as it likes.
pub(super) trait Hears {
    fn progress(&self, done: u64, total: u64);
    fn log(&self, level: u8, message: &str);
}

/// The bytes that say this selection.
pub(super) fn answer(selection: &Selection) -> io::Result<Vec<u8>> {
    let Selection { rows, scores, diagnostics, state } = selection;
    let sizes = Sizes {
        rows: rows.len(),
        scores: scores.len(),
        state: state.as_ref().map(Vec::len),
        figures: diagnostics.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect(),
    };
    let mut bytes = line(&Said::Answer(sizes))?;
    bytes.extend_from_slice(bytemuck::cast_slice(rows));
    bytes.extend_from_slice(bytemuck::cast_slice(scores));
    bytes.extend_from_slice(state.as_deref().unwrap_or_default());
    Ok(bytes)
}

/// The bytes of one line.
pub(super) fn line(said: &Said) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(said).map_err(io::Error::other)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads until a worker has said its last. Never holds more than a line, or an answer within `bounds`.
pub(super) fn hear(pipe: &mut impl BufRead, bounds: Bounds, hears: &impl Hears) -> Last {
    let mut line = Vec::new();
    loop {
        match read_line(pipe, &mut line) {
            Ok(true) => {}
            Ok(false) => return Last::End,
            Err(why) => return Last::Nonsense(why),
        }
        if line.is_empty() {
            continue;
        }
        let Ok(said) = serde_json::from_slice(&line) else {
            let text = String::from_utf8_lossy(&line[..line.len().min(Shown::NAME)]);
            return Last::Nonsense(format!("`{}`", Shown::name(&text)));
        };
        return match said {
            Said::Progress { done, total } => {
                hears.progress(done, total);
                continue;
            }
            Said::Log { level, message } => {
                hears.log(level, &message);
                continue;
            }
            Said::Needs { needs } => Last::Needs(needs),
            Said::Failed { kind, message } => Last::Failed(kind, message),
            Said::Forbidden { call } => Last::Forbidden(call),
            Said::Answer(sizes) => selection(pipe, sizes, bounds),
        };
    }
}

/// Reads a line without its end; whether there was a whole one.
fn read_line(pipe: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, String> {
    line.clear();
    // What cannot be read any more has ended.
    let read = pipe.by_ref().take(LINE as u64 + 1).read_until(b'\n', line).unwrap_or(0);
    if line.pop_if(|last| *last == b'\n').is_some() {
        return Ok(true);
    }
    if read > LINE { Err(format!("a line of more than {LINE} bytes")) } else { Ok(false) }
}

fn selection(pipe: &mut impl Read, sizes: Sizes, bounds: Bounds) -> Last {
    let Sizes { rows, scores, state, figures } = sizes;
    let wrong = if rows > bounds.rows {
        format!("{rows} rows of a pool of {}", bounds.rows)
    } else if scores > rows {
        format!("{scores} scores for {rows} rows")
    } else if state.is_some_and(|state| state > bounds.state) {
        format!("a state of {} bytes, the limit is {}", state.unwrap_or_default(), bounds.state)
    } else {
        let read = || -> io::Result<Selection> {
            Ok(Selection {
                rows: values(pipe, rows)?,
                scores: values(pipe, scores)?,
                state: state.map(|state| values(pipe, state)).transpose()?,
                diagnostics: figures.into_iter().map(|(name, bits)| (name, f64::from_bits(bits))).collect(),
            })
        };
        return { read }().map_or(Last::End, Last::Answer);
    };
    Last::Nonsense(format!("an answer with {wrong}"))
}

fn values<T: bytemuck::Pod>(pipe: &mut impl Read, count: usize) -> io::Result<Vec<T>> {
    let mut values = vec![T::zeroed(); count];
    pipe.read_exact(bytemuck::cast_slice_mut(&mut values))?;
    Ok(values)
}

/// Reads what a worker may have said from `bytes` and forgets it: for tests that throw anything at it.
#[doc(hidden)]
pub fn hear_anything(mut bytes: &[u8], bounds: Bounds) {
    struct Nobody;
    impl Hears for Nobody {
        fn progress(&self, _: u64, _: u64) {}
        fn log(&self, _: u8, _: &str) {}
    }
    hear(&mut bytes, bounds, &Nobody);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;
    impl Hears for Nobody {
        fn progress(&self, _: u64, _: u64) {}
        fn log(&self, _: u8, _: &str) {}
    }

    const BOUNDS: Bounds = Bounds { rows: 10, state: 100 };

    fn heard(mut bytes: &[u8]) -> Last {
        hear(&mut bytes, BOUNDS, &Nobody)
    }

    #[test]
    fn an_answer_crosses_to_the_last_bit() {
        let selection = Selection {
            rows: vec![3, 1],
            scores: vec![f64::MIN_POSITIVE / 3.0, -0.0],
            diagnostics: vec![("gap".to_owned(), 0.1 + 0.2)],
            state: Some(b"{\"\n".to_vec()),
        };
        let mut bytes = line(&Said::Progress { done: 1, total: 2 }).unwrap();
        bytes.extend(answer(&selection).unwrap());
        let Last::Answer(read) = heard(&bytes) else { panic!("no answer") };
        assert_eq!(read, selection);
        assert!(read.scores[1].is_sign_negative());
        // Half of it is no answer.
        assert!(matches!(heard(&bytes[..bytes.len() - 1]), Last::End));
    }

    #[test]
    fn what_cannot_be_right_is_not_made_room_for() {
        let answer = |rows: usize, scores: usize, state: usize| {
            format!("{{\"Answer\":{{\"rows\":{rows},\"scores\":{scores},\"state\":{state},\"figures\":[]}}}}\n")
        };
        for said in [
            answer(usize::MAX, 0, 0),
            answer(1, usize::MAX, 0),
            answer(1, 1, usize::MAX),
            answer(11, 0, 0),
            "x".repeat(LINE + 1),
            "hello\n".to_owned(),
            "\u{1b}[2J\n".to_owned(),
        ] {
            let Last::Nonsense(why) = heard(said.as_bytes()) else { panic!("{said} was believed") };
            assert!(why.len() < 400 && querist_protocol::is_showable(&why), "{why}");
        }
        assert!(matches!(heard(b""), Last::End));
        assert!(matches!(heard(b"\n\n{\"Forbidden\":{\"call\":   41}}\n"), Last::Forbidden(41)));
    }
}
