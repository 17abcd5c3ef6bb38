//! The answer of a strategy in every form that a user may want.

use std::path::Path;

use anyhow::Result;
use querist_core::{Answer, Beside, StrategyIdentity, Usage as Used};
use querist_data::arrays::write_npy;
use serde_json::{Map, Value, json};

use super::SelectFormat;
use crate::exit::Usage;
use crate::output;

/// What was picked for one budget.
pub struct Picked {
    /// Rows that were wanted.
    pub budget: usize,
    /// Rows as the user gave them, in the order of picks.
    pub rows: Vec<u64>,
    /// Ids of these rows.
    pub ids: Vec<u64>,
    /// Their scores, if they have some.
    pub scores: Vec<f64>,
    /// What the strategy notes.
    pub diagnostics: Vec<(String, f64)>,
    /// What it cost, where that was measured.
    pub used: Option<Used>,
    /// Whether constraints left fewer rows than were wanted, and what terms added to each pick.
    pub beside: Beside,
}

impl Picked {
    /// From an answer; `given` is the user's row of each row of the question.
    pub fn new(budget: usize, answer: Answer, ids: Vec<u64>, given: impl Fn(u32) -> u64) -> Self {
        let Answer { selection, usage, beside } = answer;
        let rows = selection.rows.iter().map(|&row| given(row)).collect();
        let diagnostics = selection.diagnostics.into_iter().collect();
        Self { budget, rows, ids, scores: selection.scores, diagnostics, used: Some(usage), beside }
    }
}

/// How answers are written, and what of.
pub struct Form<'a> {
    /// The form.
    pub format: SelectFormat,
    /// The file, else standard output.
    pub out: Option<&'a Path>,
    /// Who picked.
    pub identity: &'a StrategyIdentity,
    /// Root of its random streams.
    pub seed: u64,
    /// Rows that it chose from, where these were not all.
    pub subset_size: Option<usize>,
    /// Rows of the pool.
    pub pool: usize,
    /// The id of each of the user's rows, where ids are texts.
    pub names: Option<&'a dyn Fn(u64) -> String>,
}

/// Writes answers.
pub fn write(form: &Form<'_>, answers: &[Picked]) -> Result<()> {
    match form.format {
        SelectFormat::Ids => {
            let ids = answers.iter().flat_map(|picked| form.ids(picked));
            let lines: String = ids.map(|id| format!("{}\n", plain(&id))).collect();
            output::bytes(lines.as_bytes(), form.out)
        }
        SelectFormat::Npy => form.write_npy(answers),
        SelectFormat::Csv => {
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.write_record(["budget", "rank", "row", "id", "score"])?;
            for picked in answers {
                for (rank, (row, id)) in picked.rows.iter().zip(form.ids(picked)).enumerate() {
                    let score = picked.scores.get(rank).map(|score| output::shortest(*score)).unwrap_or_default();
                    csv.serialize((picked.budget, rank, row, plain(&id), score))?;
                }
            }
            output::bytes(&csv.into_inner()?, form.out)
        }
        SelectFormat::Json => {
            let value = match answers {
                [one] => form.object(one),
                several => several.iter().map(|picked| form.object(picked)).collect(),
            };
            output::bytes(format!("{}\n", serde_json::to_string_pretty(&value)?).as_bytes(), form.out)
        }
    }
}

/// An id without the marks of JSON.
fn plain(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

impl Form<'_> {
    fn ids(&self, picked: &Picked) -> Vec<Value> {
        match self.names {
            Some(name) => picked.rows.iter().map(|&row| json!(name(row))).collect(),
            None => picked.ids.iter().map(|&id| json!(id)).collect(),
        }
    }

    fn write_npy(&self, answers: &[Picked]) -> Result<()> {
        if self.names.is_some() {
            return Err(Usage("`--format npy` is for ids that are numbers; these are texts".to_owned()).into());
        }
        let ids: Vec<u64> = answers.iter().flat_map(|picked| picked.ids.iter().copied()).collect();
        match self.out {
            // A link stays one, and leads to the new file.
            Some(path) if path.is_symlink() => Ok(write_npy(&path.canonicalize()?, &[ids.len()], &ids)?),
            Some(path) => Ok(write_npy(path, &[ids.len()], &ids)?),
            None => Err(Usage("`--format npy` needs `--out FILE`".to_owned()).into()),
        }
    }

    fn object(&self, picked: &Picked) -> Value {
        let diagnostics: Map<String, Value> =
            picked.diagnostics.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let mut object = json!({
            "strategy": self.identity.id,
            "package": self.identity.package,
            "version": self.identity.version,
            "digest": self.identity.digest,
            "kind": self.identity.kind,
            "budget": picked.budget,
            "seed": self.seed,
            "subset_size": self.subset_size,
            "short": picked.budget >= self.pool || picked.beside.is_short,
            "rows": picked.rows,
            "ids": self.ids(picked),
            "scores": if picked.scores.is_empty() { Value::Null } else { json!(picked.scores) },
            "diagnostics": diagnostics,
            "seconds": picked.used.as_ref().map(|used| used.seconds),
            "fuel": picked.used.as_ref().map(|used| used.fuel),
            "peak_memory": picked.used.as_ref().map(|used| used.peak_memory),
        });
        if !picked.beside.terms.is_empty() {
            let terms = picked.beside.terms.iter().map(|(name, parts)| json!({ "term": name, "parts": parts }));
            object["terms"] = terms.collect();
        }
        object
    }
}
