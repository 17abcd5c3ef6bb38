//! Finished runs in MLflow, by the REST interface of its tracking server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use querist_core::digest::sha256;
use querist_files::{Links, shown};
use querist_protocol::Shown;
use serde_json::{Value, json};

use super::figures;
use crate::round_files::MOST_TEXT;
use crate::stored_run::StoredRun;

/// What a run is found by again.
const TAG: &str = "querist.run";
/// Metrics in one request, as the server allows.
const METRICS: usize = 1000;
/// Parameters in one request, as the server allows.
const PARAMS: usize = 100;
/// Characters of a parameter at most, as every server allows.
const PARAM_LENGTH: usize = 500;
/// Bytes of an answer at most.
const MOST_ANSWER: u64 = 16 << 20;

/// A tracking server.
pub struct Server {
    agent: ureq::Agent,
    address: String,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is there now.
    New,
    /// It was there already.
    Before,
}

impl Server {
    /// The server at an address such as `http://127.0.0.1:5000`.
    pub fn at(address: &str) -> Self {
        let config = querist_web::client().timeout_global(Some(Duration::from_secs(300))).build();
        Self { agent: config.into(), address: address.trim_end_matches('/').to_owned() }
    }

    /// The number of the experiment of this name, which is made where there is none.
    pub fn experiment(&self, name: &str) -> Result<String> {
        let found = self.post("experiments/search", &json!({ "max_results": 1, "filter": filter("name", name)? }))?;
        let id = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(id) = found.pointer("/experiments/0/experiment_id").and_then(id) {
            return Ok(id);
        }
        let made = self.post("experiments/create", &json!({ "name": name }))?;
        made.get("experiment_id").and_then(id).context("the tracking server names no experiment")
    }

    /// Sends a finished run, unless it is there.
    pub fn send(&self, experiment: &str, run: &StoredRun) -> Result<Sent> {
        let text = |name: &str| querist_files::read(&run.folder.join(name), Links::Refuse, MOST_TEXT);
        let begun = std::fs::symlink_metadata(run.folder.join("header.json")).and_then(|found| found.modified());
        let begun =
            begun.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |t| t.as_millis() as u64);
        let records = run.rounds.iter().map(|round| &round.record);
        let lines = serde_json::to_vec(&records.clone().collect::<Vec<_>>())?;
        let digest = sha256(&[text("header.json")?, text("run.toml")?, lines].concat());
        let of_tag = json!({
            "experiment_ids": [experiment], "max_results": 1, "filter": filter(&format!("tags.`{TAG}`"), &digest)?,
        });
        if self.post("runs/search", &of_tag)?.pointer("/runs/0").is_some() {
            return Ok(Sent::Before);
        }
        let (label, seed) = (run.config.strategy.label(), run.config.seeds.root);
        let made = self.post(
            "runs/create",
            &json!({ "experiment_id": experiment, "run_name": format!("{label}-s{seed}"), "start_time": begun }),
        )?;
        let id = made.pointer("/run/info/run_id").and_then(Value::as_str);
        let id = id.context("the tracking server names no run")?.to_owned();
        let params: Vec<Value> =
            params(run)?.into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        for params in params.chunks(PARAMS) {
            self.post("runs/log-batch", &json!({ "run_id": id, "params": params }))?;
        }
        let (mut time, mut metrics) = (begun, Vec::new());
        for record in records {
            let seconds = record.seconds;
            time += ((seconds.fit + seconds.evaluate + seconds.features + seconds.query) * 1e3) as u64;
            metrics.extend(figures(record).into_iter().map(|(name, value)| {
                json!({ "key": key(&name), "value": value, "timestamp": time, "step": record.labelled })
            }));
        }
        for metrics in metrics.chunks(METRICS) {
            self.post("runs/log-batch", &json!({ "run_id": id, "metrics": metrics }))?;
        }
        self.post("runs/update", &json!({ "run_id": id, "status": "FINISHED", "end_time": time }))?;
        // Last, so that a run which was broken off is sent again.
        self.post("runs/set-tag", &json!({ "run_id": id, "key": TAG, "value": digest }))?;
        Ok(Sent::New)
    }

    fn post(&self, call: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/api/2.0/mlflow/{call}", self.address);
        let said = || format!("the tracking server {} did not answer `{call}`", Shown::name(&self.address));
        let request = self.agent.post(&url).header("Content-Type", "application/json");
        let mut response = request.send(body.to_string()).with_context(said)?;
        let text = response.body_mut().with_config().limit(MOST_ANSWER).read_to_string().with_context(said)?;
        let status = response.status();
        if !status.is_success() {
            let reason = serde_json::from_str::<Value>(&text).ok();
            let reason = reason.as_ref().and_then(|value| value.get("message")).and_then(Value::as_str);
            let reason = Shown::sentence(reason.unwrap_or(&text));
            bail!("the tracking server {} refused `{call}` ({status}): {reason}", Shown::name(&self.address));
        }
        serde_json::from_str(&text).with_context(|| {
            format!("{} answers `{call}` with no JSON; is it an MLflow tracking server?", Shown::name(&self.address))
        })
    }
}

/// A condition of a search.
fn filter(key: &str, value: &str) -> Result<String> {
    ensure!(!value.contains('\''), "`{}` has a quotation mark, which a search cannot hold", Shown::name(value));
    Ok(format!("{key} = '{value}'"))
}

/// Every key of the run file with its value.
fn params(run: &StoredRun) -> Result<BTreeMap<String, String>> {
    let mut params = BTreeMap::new();
    flatten("", &serde_json::to_value(&run.config)?, &mut params);
    params.insert("dataset.sha256".to_owned(), run.header.dataset.digest.clone());
    params.insert("strategy.sha256".to_owned(), run.header.strategy.digest.clone());
    Ok(params)
}

fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, into);
            }
            return;
        }
        Value::Null => return,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut short: String = text.chars().take(PARAM_LENGTH).collect();
    if short.len() < text.len() {
        short = text.chars().take(PARAM_LENGTH - 3).collect::<String>() + "...";
    }
    into.insert(key(name), short);
}

/// A name with nothing in it that the server refuses.
fn key(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "_-. /".contains(c) { c } else { '_' }).collect()
}

/// Sends the runs of some folders; tells how many were there already.
pub fn send_all(address: &str, experiment: &str, folders: &[impl AsRef<Path>]) -> Result<(usize, usize)> {
    let server = Server::at(address);
    let id = server.experiment(experiment)?;
    let (mut new, mut before) = (0, 0);
    for folder in folders {
        let run = StoredRun::read(folder.as_ref())?;
        match server.send(&id, &run).with_context(|| shown(folder.as_ref()).into_string())? {
            Sent::New => new += 1,
            Sent::Before => before += 1,
        }
    }
    Ok((new, before))
}
