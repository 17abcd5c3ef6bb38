//! Strategies that break the rules on purpose. Each must end in its own error, and harm nothing.

use querist_sdk::prelude::*;

/// The ways to misbehave.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Behaves.
    #[default]
    Well,
    /// Never ends.
    Loop,
    /// Never ends inside calls of the host.
    LoopInCalls,
    /// Asks for all memory.
    Memory,
    /// Fills the host's memory with objects.
    HostMemory,
    /// Opens handles without end.
    Handles,
    /// Calls itself without end.
    Recursion,
    /// Panics.
    Panic,
    /// Picks a row twice.
    Duplicate,
    /// Picks a row that is not in the pool, as labelled ones are not.
    Labelled,
    /// Picks too few rows.
    Short,
    /// Picks too many rows.
    Long,
    /// Scores NaN.
    Nan,
    /// Gives more scores than rows.
    Scores,
    /// Keeps too much state.
    State,
    /// Floods the log.
    Log,
    /// Gives too many diagnostics.
    Diagnostics,
    /// Reads an array that it did not declare.
    Undeclared,
    /// Reads outside an array.
    Outside,
    /// Fails with a message.
    Fail,
    /// Ends without a word.
    Trap,
    /// Logs what is no UTF-8.
    BadText,
    /// Behaves, and needs the weights of a linear head.
    Weights,
    /// Behaves, and needs a head whose logits it looks at.
    Head,
    /// Behaves, and picks by what only users have.
    OwnArrays,
    /// Asks a head that it did not declare.
    HeadUndeclared,
    /// Asks the head about embeddings of another width.
    HeadShape,
    /// Asks the head for gradients of a class that does not exist.
    HeadClass,
    /// Needs hidden labels as a second choice, and picks by them.
    SecretChoice,
    /// Names a figure with characters that steer a terminal.
    Figure,
    /// Names one figure twice.
    FigureTwice,
    /// Fails with a message that steers a terminal, of a mebibyte.
    Steer,
}

/// Parameters: the way.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Misbehaving {
    /// The way to misbehave.
    pub way: Way,
}

impl Strategy for Misbehaving {
    const ID: &'static str = "misbehaving";
    const SUMMARY: &'static str = "Breaks a rule on purpose";
    const PAPER: &'static str = "None";

    fn needs(&self) -> Vec<Need> {
        let more = match self.way {
            Way::Weights => Some(names::HEAD_W),
            Way::Head | Way::HeadShape | Way::HeadClass => Some(names::HEAD),
            Way::OwnArrays => return ["extra.blur", "query.like"].map(Need::new).to_vec(),
            Way::SecretChoice => {
                return vec![Need::new(names::MC_LOG_PROBS).with("T", 1).or(names::ORACLE_LABELS)];
            }
            _ => None,
        };
        [names::LOGITS].into_iter().chain(more).map(Need::new).collect()
    }
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn recurse(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + room[0]
}

impl Selector for Misbehaving {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let mut selection = Selection { rows: (0..wanted).collect(), ..Selection::default() };
        match self.way {
            Way::Well => {}
            Way::Loop => loop {
                std::hint::black_box(wanted);
            },
            Way::LoopInCalls => loop {
                // Whatever the host says, go on.
                let _ = query.matrix(names::LOGITS)?.sq_norms();
            },
            Way::Memory => {
                let mut hoard: Vec<Vec<u8>> = Vec::new();
                loop {
                    hoard.push(vec![1; 1 << 20]);
                    std::hint::black_box(&hoard);
                }
            }
            Way::HostMemory => {
                let logits = query.matrix(names::LOGITS)?;
                let mut hoard = Vec::new();
                loop {
                    hoard.push(logits.gather(&vec![0; 1 << 20])?);
                }
            }
            Way::Handles => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(query.mask(1)?);
                }
            }
            Way::Recursion => {
                selection.rows[0] = recurse(0) as u32;
            }
            Way::Panic => panic!("on purpose, at row {}", query.rows()),
            Way::Duplicate if wanted > 1 => selection.rows[1] = selection.rows[0],
            Way::Labelled if wanted > 0 => selection.rows[0] = query.rows() + 3,
            Way::Duplicate | Way::Labelled => {}
            Way::Short => selection.rows.truncate(1),
            Way::Long => selection.rows.push(wanted),
            Way::Nan => selection.scores = vec![f64::NAN; wanted as usize],
            Way::Scores => selection.scores = vec![0.0; wanted as usize + 1],
            Way::State => selection.state = Some(vec![0; 4 << 20]),
            Way::Log => loop {
                query.log(LogLevel::Info, "again and again")?;
            },
            Way::Diagnostics => {
                selection.diagnostics = (0..1000).map(|i| (format!("figure {i}"), 0.0)).collect();
            }
            Way::Weights => drop(query.matrix(names::HEAD_W)?.read(0, 1)?),
            Way::Head => {
                // The first class's own mean, as an embedding: enough to see that somebody answers.
                let width = 3;
                let logits = query.new_matrix(1, width, &vec![0.5; width as usize])?.head_logits()?;
                selection.diagnostics.push(("first".to_owned(), f64::from(logits.read(0, 1)?[0])));
            }
            Way::OwnArrays => {
                let like = query.matrix("query.like")?;
                let apart = query.matrix("extra.blur")?.distance_reduce(&like, Metric::Euclidean, Reduction::Min)?;
                let apart = apart.to_vec()?;
                selection.rows = (0..query.rows()).collect();
                selection.rows.sort_by(|&a, &b| apart[a as usize].total_cmp(&apart[b as usize]));
                selection.rows.truncate(wanted as usize);
            }
            Way::HeadUndeclared => drop(query.matrix(names::LOGITS)?.head_logits()?),
            Way::HeadShape => drop(query.new_matrix(1, 7, &[0.0; 7])?.head_logits()?),
            Way::HeadClass => {
                let embeddings = query.new_matrix(1, 128, &[0.0; 128])?;
                drop(embeddings.head_gradients(&[query.classes()])?);
            }
            Way::Undeclared => drop(query.matrix(names::EMBEDDINGS)?),
            Way::Outside => drop(query.matrix(names::LOGITS)?.read(u32::MAX, u32::MAX)?),
            Way::Trap => std::process::abort(),
            Way::BadText => {
                let bytes = vec![b'a', 0xff, 0xfe];
                // SAFETY: none; that the host finds out is the point.
                let text = unsafe { String::from_utf8_unchecked(bytes) };
                query.log(LogLevel::Info, &text)?;
            }
            Way::SecretChoice => {
                let labels = query.oracle_labels()?;
                selection.rows =
                    (0..query.rows()).filter(|&row| labels[row as usize] == 0).take(wanted as usize).collect();
            }
            Way::Figure => selection.diagnostics.push(("\u{1b}[31mred".to_owned(), 0.0)),
            Way::FigureTwice => selection.diagnostics = vec![("a".to_owned(), 0.0), ("a".to_owned(), 1.0)],
            Way::Steer => {
                let text = "\u{1b}[2J\u{202e}evil\u{2028}".repeat(1 << 16);
                return Err(StrategyError::Failed(text));
            }
            Way::Fail => return Err(StrategyError::Failed("not today".to_owned())),
        }
        Ok(selection)
    }
}

/// Parameters: memory of each tile.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Hoarder {
    /// Mebibytes that are taken for each tile.
    pub mib: usize,
}

impl Default for Hoarder {
    fn default() -> Self {
        Self { mib: 1 }
    }
}

impl Strategy for Hoarder {
    const ID: &'static str = "hoarder";
    const SUMMARY: &'static str = "Takes memory for each tile, and scores by row";
    const PAPER: &'static str = "None";

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LOGITS)]
    }
}

impl Scorer for Hoarder {
    fn score(&self, tile: &Query) -> Result<Scores> {
        let mut hoard = vec![1u8; self.mib << 20];
        // Time in which other tiles are scored.
        for turn in 0..200 {
            for byte in hoard.iter_mut().step_by(4096) {
                *byte = byte.wrapping_add(turn);
            }
        }
        let first = f64::from(std::hint::black_box(&hoard)[0] % 2);
        let rows: Vec<f64> = (0..tile.rows()).map(|row| f64::from(tile.first_row() + row) + 0.0 * first).collect();
        Ok(tile.vector(&rows)?.into())
    }
}

package!(scorers: [Hoarder], selectors: [Misbehaving]);
