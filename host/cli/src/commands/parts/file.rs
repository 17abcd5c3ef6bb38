//! The file of one part: which question it answers, for which rows, and what was found of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use querist_core::{Given, StrategyIdentity, Values};
use querist_data::arrays::{Column, Columns, Texts, read_columns, write_columns};
use querist_files::shown;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::tally::{Measure, Scores};
use crate::exit::Usage;

/// The form of these files.
const FORM: u32 = 1;
/// Rows of each array by which pools are told from one another.
const LOOKED_AT: usize = 64;

/// What all parts of a question share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Who was asked.
    pub strategy: StrategyIdentity,
    /// With which parameters.
    pub params: Value,
    /// Root of its random streams.
    pub seed: u64,
    /// Round of its random streams.
    pub round: u32,
    /// Rows that are wanted of the whole.
    pub budget: usize,
    /// Classes of the task.
    pub classes: usize,
    /// Number of parts.
    pub parts: usize,
    /// Rows of the whole pool.
    pub rows: usize,
    /// Shape of a row of each array over the pool.
    pub arrays: BTreeMap<String, Vec<usize>>,
    /// Digest of the pool's shapes, and of some of its rows.
    pub pool: String,
    /// Whether ids are texts.
    pub texts: bool,
    /// Whether rows were scored; else single numbers were found of them, from which the strategy picks.
    pub scored: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    form: u32,
    part: usize,
    asked: Asked,
}

/// What was found of some rows.
#[derive(Debug)]
pub struct Part {
    /// The question.
    pub asked: Asked,
    /// Number of the part, from 1 on.
    pub number: usize,
    /// Rows of the whole pool, as they were given.
    pub rows: Vec<u64>,
    /// Their ids.
    pub ids: Vec<u64>,
    /// Their ids, where these are texts.
    pub texts: Option<Texts>,
    /// Scores of the best rows.
    pub scores: Scores,
    /// Numbers of all rows.
    pub measures: BTreeMap<Measure, (Vec<f64>, Vec<f64>)>,
}

impl Part {
    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let header = Header { form: FORM, part: self.number, asked: self.asked.clone() };
        let mut columns = Columns::new();
        columns.insert("rows".to_owned(), Column::U64(self.rows.clone()));
        columns.insert("ids".to_owned(), Column::U64(self.ids.clone()));
        if let Some(texts) = &self.texts {
            let all: Vec<&str> = (0..texts.len()).filter_map(|at| texts.get(at)).collect();
            columns.insert("texts".to_owned(), Column::Bytes(serde_json::to_vec(&all)?));
        }
        if self.asked.scored {
            columns.insert("scores".to_owned(), Column::F64(self.scores.0.clone()));
            if let Some(second) = &self.scores.1 {
                columns.insert("second".to_owned(), Column::F64(second.clone()));
            }
        }
        for ((array, measure), (first, second)) in &self.measures {
            columns.insert(format!("first/{array}/{measure}"), Column::F64(first.clone()));
            columns.insert(format!("second/{array}/{measure}"), Column::F64(second.clone()));
        }
        Ok(write_columns(path, &serde_json::to_string(&header)?, &columns)?)
    }

    /// Reads a file that [`Part::write`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |what: &str| Usage(format!("{}: {what}; score this part anew", shown(path)));
        let (header, mut columns) = read_columns(path)?;
        let form = serde_json::from_str::<Value>(&header).ok().and_then(|header| header.get("form")?.as_u64());
        if form != Some(u64::from(FORM)) {
            bail!(bad("written by another version of this program"));
        }
        let Header { part, asked, .. } = serde_json::from_str(&header).map_err(|error| bad(&error.to_string()))?;
        let (Some(Column::U64(rows)), Some(Column::U64(ids))) = (columns.remove("rows"), columns.remove("ids")) else {
            bail!(bad("it says no rows"));
        };
        let texts = match columns.remove("texts") {
            Some(Column::Bytes(bytes)) => {
                let all: Vec<String> = serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))?;
                let mut texts = Texts::default();
                all.iter().for_each(|text| texts.push(text));
                Some(texts)
            }
            _ => None,
        };
        let floats = |column| if let Column::F64(values) = column { values } else { Vec::new() };
        let scores = columns.remove("scores").map(floats).unwrap_or_default();
        let second = columns.remove("second").map(floats);
        let mut measures = BTreeMap::new();
        for (name, column) in &columns {
            let Some((array, measure)) = name.strip_prefix("first/").and_then(|name| name.split_once('/')) else {
                continue;
            };
            let beside = columns.get(&format!("second/{array}/{measure}")).cloned().map(floats);
            let pair = (floats(column.clone()), beside.unwrap_or_default());
            measures.insert((array.to_owned(), measure.to_owned()), pair);
        }
        let part = Self { asked, number: part, rows, ids, texts, scores: (scores, second), measures };
        if part.is_whole() { Ok(part) } else { Err(bad("its columns do not fit each other").into()) }
    }

    fn is_whole(&self) -> bool {
        let count = self.rows.len();
        let fits = |values: &Vec<f64>| values.len() == count;
        let texts = self.texts.as_ref().map(Texts::len);
        self.ids.len() == count
            && texts == self.asked.texts.then_some(count)
            && (!self.asked.scored || fits(&self.scores.0) && self.scores.1.as_ref().is_none_or(fits))
            && self.measures.values().all(|(first, second)| fits(first) && fits(second))
            && (1..=self.asked.parts).contains(&self.number)
    }
}

/// The first row of a part, of which there are so many.
pub fn first_row(rows: usize, part: usize, parts: usize) -> usize {
    (rows as u128 * (part - 1) as u128 / parts as u128) as usize
}

/// All parts of one question, in order.
pub fn read_all(files: &[PathBuf]) -> Result<Vec<Part>> {
    let mut parts: Vec<(Part, &Path)> = Vec::with_capacity(files.len());
    for file in files {
        let part = Part::read(file)?;
        if let Some((first, of)) = parts.first()
            && let Some((key, here, there)) = difference(&part.asked, &first.asked)?
        {
            let (file, of) = (shown(file), shown(of));
            bail!(Usage(format!(
                "{file}: a part of another question: `{key}` is {here}, but {there} in {of}; merge parts of one \
                 question"
            )));
        }
        if let Some((_, same)) = parts.iter().find(|(other, _)| other.number == part.number) {
            let (file, same, number) = (shown(file), shown(same), part.number);
            bail!(Usage(format!("{file} and {same} are both part {number}; give each part once")));
        }
        parts.push((part, file));
    }
    parts.sort_by_key(|(part, _)| part.number);
    let Some((first, _)) = parts.first() else { bail!(Usage("no part is given".to_owned())) };
    let of = first.asked.parts;
    let there: Vec<usize> = parts.iter().map(|(part, _)| part.number).collect();
    let missing: Vec<String> = (1..=of).filter(|number| !there.contains(number)).map(|n| format!("{n}/{of}")).collect();
    if !missing.is_empty() {
        let some = missing.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
        bail!(Usage(format!(
            "{} of {of} parts are missing: {some}; write them with `querist score --shard`",
            missing.len()
        )));
    }
    Ok(parts.into_iter().map(|(part, _)| part).collect())
}

/// The first thing that two questions do not share, with what both say.
fn difference(here: &Asked, there: &Asked) -> Result<Option<(String, String, String)>> {
    if here == there {
        return Ok(None);
    }
    let (Value::Object(here), Value::Object(there)) = (serde_json::to_value(here)?, serde_json::to_value(there)?)
    else {
        return Ok(None);
    };
    let differs = here.into_iter().find(|(key, value)| there.get(key) != Some(value));
    Ok(differs.map(|(key, value)| {
        let other = there.get(&key).map(Value::to_string).unwrap_or_default();
        (key, value.to_string(), other)
    }))
}

/// A digest by which pools are told from one another: shapes, ids, and rows from everywhere in them.
pub fn digest(given: &Given) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, array) in given.arrays() {
        hash.update(name.as_bytes());
        hash.update(format!("{:?}", array.shape()).as_bytes());
        let (rows, width) = (array.rows(), array.row_len());
        for at in (0..rows).step_by(rows.div_ceil(LOOKED_AT).max(1)) {
            match array.values() {
                Values::F32(values) => hash.update(bytemuck::cast_slice(&values[at * width..(at + 1) * width])),
                Values::U32(values) => hash.update(bytemuck::cast_slice(&values[at * width..(at + 1) * width])),
                Values::U64(values) => hash.update(bytemuck::cast_slice(&values[at * width..(at + 1) * width])),
                Values::Far(source) => {
                    let mut row = vec![0.0f32; width];
                    source.read(at, &mut row).map_err(Usage)?;
                    hash.update(bytemuck::cast_slice(&row));
                }
            }
        }
    }
    if let Some(ids) = &given.ids {
        hash.update(bytemuck::cast_slice(ids));
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
