//! A strategy of a native package, run in a fresh worker process for each question.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use querist_core::progress::{Cancelled, Phase, Progress};
use querist_core::{Failure, Query, QueryErrorKind, StrategyKind};
use querist_kernels::Compute;
use querist_protocol::{Need, Selection, Shown, StrategyDescription, names};
use serde_json::Value;

use super::job::{Ask, Job};
use super::listen::{Asking, listen};
use super::outcome::{Answered, Outcome, Told};
use super::said::Bounds;
use super::{birth, watch};
use crate::native::error::NativeError;
use crate::package::discover::Resolved;
use crate::package::file::{MAX_ARTIFACT_BYTES, read_checked};
use crate::run::answer::{check_rights, parse_needs, state_limit};
use crate::run::error::LoadError;
use crate::run::limits::{Cost, Limits};
use crate::run::route::{Asked, Route, Routed, Spec, Watch};

/// Time that a worker has for loading and naming its needs.
const START_TIME: Duration = Duration::from_secs(20);
/// Time beyond the limit of a query, for a worker's start: it keeps the limit itself while it is honest.
const SPARE_TIME: Duration = Duration::from_secs(5);

/// A strategy of a native package, run in a fresh worker process for each question.
pub type IsolatedStrategy = Routed<Isolated>;

/// The route through a worker.
pub struct Isolated {
    worker: Vec<OsString>,
    artifact: Vec<u8>,
    /// What the strategy declares, word by word: the worker compares.
    declared: Vec<Need>,
    /// The same without what a worker cannot be given.
    needs: Vec<Need>,
}

/// What a worker is asked for.
enum Question<'a> {
    Needs,
    Query(&'a Query<'a>),
}

/// Goes on while somebody wants it.
struct While<'a>(&'a (dyn Fn() -> bool + Sync));

impl Progress for While<'_> {
    fn report(&self, _: Phase, _: u64, _: u64) -> Result<(), Cancelled> {
        if (self.0)() { Ok(()) } else { Err(Cancelled) }
    }
}

impl Routed<Isolated> {
    /// Checks a strategy in a worker. `worker` is the program with its first arguments that calls
    /// [`worker_main`](super::worker_main); `is_wanted` is asked again and again whether to go on.
    ///
    /// # Errors
    /// If the package cannot be isolated or loaded, asks for more than it states, or refuses the parameters.
    pub fn start(
        worker: Vec<OsString>,
        resolved: Resolved<'_>,
        params: &Value,
        limits: Limits,
        threads: usize,
        is_wanted: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, LoadError> {
        let package = resolved.package;
        let native = |source: NativeError| LoadError::artifact(&package.description.package, source);
        let refuse = |reason| LoadError::Isolation { package: package.description.package.clone(), reason };
        if package.kind == StrategyKind::NativeTorch {
            return Err(refuse(
                "it shares libtorch with the host and takes part in its work, so it cannot be isolated; if you trust \
                 it, lock it and use `--allow-native`",
            ));
        }
        let artifact = read_checked(&package.artifact, MAX_ARTIFACT_BYTES, &package.digest)
            .map_err(|refused| native(refused.into()))?;
        let spec = Spec::new(resolved, params, limits, Compute::threads(threads));
        let failed = |failure: Failure| LoadError::from(failure.of(&package.identity(&resolved.strategy.id)));
        let mut route = Isolated { worker, artifact, declared: Vec::new(), needs: Vec::new() };
        route.declared = route.ask_needs(&spec, is_wanted).map_err(failed)?;
        if route.declared.iter().any(|need| need.name() == names::HEAD) {
            return Err(refuse(
                "it asks the model's head while it picks (`head`), which a worker cannot reach; if you trust it, lock \
                 it and use `--allow-native`",
            ));
        }
        route.needs = route.declared.iter().map(without_head).collect();
        let needs = route.needs.clone();
        Self::new(route, spec, needs).map_err(failed)
    }
}

impl Isolated {
    fn ask_needs(&self, spec: &Spec, is_wanted: &(dyn Fn() -> bool + Sync)) -> Result<Vec<Need>, Failure> {
        let time = START_TIME.min(spec.limits.time);
        match self.ask(spec, &Question::Needs, time, &While(is_wanted))?.said {
            Answered::Needs(needs) => within(&needs, &spec.description),
            Answered::Selection(_) => Err(another_answer()),
        }
    }

    fn job(&self, spec: &Spec, ask: Ask) -> Job {
        let mut job = Job::default();
        job.ask = ask;
        job.package.clone_from(&spec.identity.package);
        job.version.clone_from(&spec.identity.version);
        job.strategy = Some(spec.description.clone());
        job.params.clone_from(&spec.params);
        job.needs = self.declared.iter().map(ToString::to_string).collect();
        job.threads = spec.compute.threads;
        (job.memory, job.seconds) = (spec.limits.memory, spec.limits.time.as_secs_f64());
        (job.handles, job.log) = (spec.limits.handles, spec.limits.log);
        job
    }

    /// A worker at its work.
    fn spawn(&self, job: File) -> std::io::Result<Child> {
        let (program, args) =
            self.worker.split_first().ok_or_else(|| std::io::Error::other("no program for workers"))?;
        Command::new(program)
            .args(args)
            .env_clear()
            .env(birth::HOST, std::process::id().to_string())
            .current_dir("/")
            // What is typed at the terminal is for the host, which then ends the worker.
            .process_group(0)
            .stdin(job)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Starts a worker on one question and waits for what it says.
    fn ask(
        &self,
        spec: &Spec,
        question: &Question<'_>,
        time: Duration,
        progress: &dyn Progress,
    ) -> Result<Outcome, Failure> {
        let failed =
            |what: &str, error: std::io::Error| Failure::new(QueryErrorKind::Failed, format!("{what}: {error}"));
        let (ask, query) = match question {
            Question::Needs => (Ask::Needs, None),
            Question::Query(query) => (Ask::Query, Some(*query)),
        };
        let job = self.job(spec, ask).write(&self.artifact, &self.needs, query);
        let (job, given) = job
            .and_then(|file| {
                // The job, the plugin's library, and room for one that it brings with it.
                let given = file.metadata()?.len() + 2 * self.artifact.len() as u64;
                Ok((file, given))
            })
            .map_err(|error| failed("the worker's memory file", error))?;
        let clock = Instant::now();
        let mut child = self.spawn(job).map_err(|error| failed("the worker cannot be started", error))?;
        let asking = Asking {
            bounds: query.map_or_else(Bounds::default, |query| Bounds {
                rows: query.arrays.ids().len(),
                state: state_limit(query.arrays),
            }),
            room: watch::Room::new(spec.limits.memory, spec.compute.threads, given),
            log: spec.limits.log,
            deadline: clock + time,
            progress,
        };
        let heard = listen(&mut child, &asking);
        // Whatever happened, nothing of the worker stays behind.
        let _ = child.kill();
        let status = child.wait().map_err(|error| failed("the worker is lost", error))?;
        let is_late = clock.elapsed() >= spec.limits.time;
        let heard = heard.map_err(|error| failed("the worker cannot be watched", error))?;
        Told { limits: &spec.limits, time, status, has_ended: heard.has_ended, is_late }.outcome(heard)
    }
}

impl Route for Isolated {
    /// The worker does the whole of it.
    fn is_scorer(&self, _: &Spec) -> bool {
        false
    }

    fn watch(&self) -> Watch {
        Watch::Route
    }

    fn select(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure> {
        let query = asked.query;
        if query.arrays.reveals().is_some() {
            let message = "asks for labels one by one, which are written down as it asks; a worker has no files";
            return Err(Failure::new(QueryErrorKind::Failed, message).hint("run it without `--isolate`"));
        }
        let time = asked.spec.limits.time + SPARE_TIME;
        let Outcome { said, peak_memory } = self.ask(asked.spec, &Question::Query(query), time, query.progress)?;
        let Answered::Selection(selection) = said else { return Err(another_answer()) };
        Ok((selection, Cost { fuel: None, memory: peak_memory }))
    }

    fn score(&mut self, asked: &Asked<'_, '_>) -> Result<(Selection, Cost), Failure> {
        self.select(asked)
    }
}

fn another_answer() -> Failure {
    Failure::new(QueryErrorKind::Dishonest, "its worker answered another question")
}

/// The needs that a worker named, if its package states each of them. What it says can only narrow what was stated.
fn within(needs: &[String], stated: &StrategyDescription) -> Result<Vec<Need>, Failure> {
    let needs = parse_needs(needs)?;
    let all: Vec<&String> = stated.needs.iter().chain(&stated.may_need).collect();
    let allowed = parse_needs(&all.into_iter().cloned().collect::<Vec<_>>())?;
    let is_stated = |name: &str| allowed.iter().any(|need| need.names().any(|other| other == name));
    if let Some(name) = needs.iter().flat_map(Need::names).find(|name| !is_stated(name)) {
        let message = format!(
            "its code asks for `{}`, which its package does not state: `plugin.toml` has {} under `needs` and {} under \
             `may_need`. Its author names there what other parameters make it need, and packs it again; a package of \
             somebody that you do not know may want to see what it should not",
            Shown::name(name),
            list(&stated.needs),
            list(&stated.may_need)
        );
        return Err(Failure::new(QueryErrorKind::Dishonest, message));
    }
    check_rights(&needs, &stated.capabilities)?;
    Ok(needs)
}

fn list(needs: &[String]) -> String {
    let needs: Vec<String> = needs.iter().map(|need| format!("`{}`", Shown::name(need))).collect();
    if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") }
}

/// A need whose second choice is none that a worker cannot be given.
fn without_head(need: &Need) -> Need {
    match need.second_choice() {
        Some(other) if other.name() == names::HEAD => need.first_choice(),
        _ => need.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated() -> StrategyDescription {
        StrategyDescription {
            id: "one".to_owned(),
            summary: String::new(),
            paper: String::new(),
            cost: String::new(),
            scorer: false,
            aliases: Vec::new(),
            needs: vec!["logits".to_owned(), "head.w(or=head)".to_owned()],
            may_need: vec!["mc_log_probs(T=10)".to_owned()],
            capabilities: Vec::new(),
            schema: Value::Null,
        }
    }

    #[test]
    fn a_worker_can_only_narrow_what_its_package_states() {
        let kind_of = |needs: &[&str]| {
            let needs: Vec<String> = needs.iter().map(|&need| need.to_owned()).collect();
            within(&needs, &stated()).map_err(|failure| failure.kind)
        };
        for good in [&[][..], &["logits"], &["head"], &["head.w(or=head)", "mc_log_probs(T=99, coherent)"]] {
            assert_eq!(kind_of(good).map(|needs| needs.len()), Ok(good.len()), "{good:?}");
        }
        let dishonest = Err(QueryErrorKind::Dishonest);
        for more in ["oracle.labels", "logits(or=oracle.labels)", "labelled.logits", "no such array"] {
            assert_eq!(kind_of(&["logits", more]), dishonest, "{more}");
        }
        // Hidden labels take the capability as well.
        let mut open = stated();
        open.needs.push("oracle.labels".to_owned());
        let oracle = || within(&["oracle.labels".to_owned()], &open).map_err(|failure| failure.kind);
        assert_eq!(oracle(), dishonest);
    }
}
