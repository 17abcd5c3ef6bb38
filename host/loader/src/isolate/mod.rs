//! Native packages in a worker process that can reach nothing.
//!
//! The worker gets one read-only memory file with the job: the artifact, the parameters and the arrays that its needs
//! settle on, and no more. Before any plugin code is loaded it closes what it inherited, and gives up files (landlock), all
//! system calls but those of arithmetic and threads (seccomp) and large memory (limits of the system). It answers on one
//! pipe.
//!
//! From then on the host believes nothing that comes from there. Rights and needs are those of the package's description,
//! which was written when it was packed; memory, threads and time are measured from outside; what is said is bounded before
//! it is read, and cleaned before it is shown.

mod birth;
mod cage;
mod job;
mod listen;
mod said;
mod trap;
mod watch;
mod worker;

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use querist_core::observer::{Cancelled, Phase, Progress};
use querist_core::strategy::{Limit, QueryError, QueryErrorKind};
use querist_core::{Answer, Query, Strategy, StrategyIdentity, StrategyKind, Usage};
use querist_protocol::{Capability, Need, Selection, Shown, StrategyDescription, names};
use serde_json::Value;

use crate::asking::{Failure, check_rights, check_selection, parse_needs, state_limit};
use crate::discover::Resolved;
use crate::manifest;
use crate::native::NativeError;
use crate::native::library;
use crate::sandbox::Limits;
use crate::wasm::LoadError;
use job::{Ask, Job};
use listen::{Asking, Heard, Why};

#[doc(hidden)]
pub use said::{Bounds, hear_anything};
pub use worker::main as worker_main;

/// Time that a worker has for loading and naming its needs.
const START_TIME: Duration = Duration::from_secs(20);
/// Time beyond the limit of a query, for a worker's start: it keeps the limit itself while it is honest.
const SPARE_TIME: Duration = Duration::from_secs(5);

/// A strategy of a native package, run in a fresh worker process for each question.
pub struct IsolatedStrategy {
    worker: Vec<OsString>,
    artifact: Vec<u8>,
    identity: StrategyIdentity,
    /// What its package says of it.
    stated: StrategyDescription,
    params: String,
    /// What it declares, word by word: the worker compares.
    declared: Vec<Need>,
    /// The same without what a worker cannot be given.
    needs: Vec<Need>,
    limits: Limits,
    threads: usize,
}

/// What a worker is asked for.
enum Question<'a> {
    Needs,
    Query(&'a Query<'a>),
}

/// What comes of a question.
struct Outcome {
    said: Answered,
    peak_memory: u64,
}

/// An answer, which the one who asked has still to look at.
enum Answered {
    Needs(Vec<String>),
    Selection(Selection),
}

/// Goes on while somebody wants it.
struct While<'a>(&'a (dyn Fn() -> bool + Sync));

impl Progress for While<'_> {
    fn report(&self, _: Phase, _: u64, _: u64) -> Result<(), Cancelled> {
        if (self.0)() { Ok(()) } else { Err(Cancelled) }
    }
}

impl IsolatedStrategy {
    /// Checks a strategy in a worker. `worker` is the program with its first arguments that calls [`worker_main`];
    /// `is_wanted` is asked again and again whether to go on.
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
        let name = &package.description.package;
        let refuse = |reason: String| LoadError::Native { package: name.clone(), source: NativeError { reason } };
        if package.kind == StrategyKind::NativeTorch {
            return Err(refuse(
                "it shares libtorch with the host and takes part in its work, so it cannot be isolated; if you trust \
                 it, lock it and use `--allow-native`"
                    .to_owned(),
            ));
        }
        let artifact = library::read(&package.artifact).map_err(|error| refuse(error.reason))?;
        if manifest::hex_sha256(&artifact) != package.digest {
            return Err(refuse(format!("{}: the file changed since it was checked", package.artifact.display())));
        }
        let mut strategy = Self {
            worker,
            artifact,
            identity: package.identity(&resolved.strategy.id),
            stated: resolved.strategy.clone(),
            params: params.to_string(),
            declared: Vec::new(),
            needs: Vec::new(),
            limits,
            threads,
        };
        let asked = strategy.ask(&Question::Needs, START_TIME.min(limits.time), &While(is_wanted));
        let declared = asked.and_then(|outcome| match outcome.said {
            Answered::Needs(needs) => within(&needs, &strategy.stated),
            Answered::Selection(_) => Err(another_answer()),
        });
        strategy.declared = declared.map_err(|failure| failure.of(&strategy.identity))?;
        if strategy.declared.iter().any(|need| need.name() == names::HEAD) {
            return Err(refuse(
                "it asks the model's head while it picks (`head`), which a worker cannot reach; if you trust it, lock \
                 it and use `--allow-native`"
                    .to_owned(),
            ));
        }
        strategy.needs = strategy.declared.iter().map(without_head).collect();
        Ok(strategy)
    }

    fn job(&self, ask: Ask) -> Job {
        let mut job = Job::default();
        job.ask = ask;
        job.package.clone_from(&self.identity.package);
        job.version.clone_from(&self.identity.version);
        job.strategy = Some(self.stated.clone());
        job.params.clone_from(&self.params);
        job.needs = self.declared.iter().map(ToString::to_string).collect();
        job.threads = self.threads;
        (job.memory, job.seconds) = (self.limits.memory, self.limits.time.as_secs_f64());
        (job.handles, job.log) = (self.limits.handles, self.limits.log);
        job
    }

    /// A worker at its work.
    fn spawn(&self, job: File) -> std::io::Result<std::process::Child> {
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
    fn ask(&self, question: &Question<'_>, time: Duration, progress: &dyn Progress) -> Result<Outcome, Failure> {
        let failed =
            |what: &str, error: std::io::Error| Failure::new(QueryErrorKind::Failed, format!("{what}: {error}"));
        let (ask, query) = match question {
            Question::Needs => (Ask::Needs, None),
            Question::Query(query) => (Ask::Query, Some(*query)),
        };
        let job = self.job(ask).write(&self.artifact, &self.needs, query);
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
            room: watch::Room::new(self.limits.memory, self.threads, given),
            log: self.limits.log,
            deadline: clock + time,
            progress,
        };
        let heard = listen::listen(&mut child, &asking);
        // Whatever happened, nothing of the worker stays behind.
        let _ = child.kill();
        let status = child.wait().map_err(|error| failed("the worker is lost", error))?;
        let is_late = clock.elapsed() >= self.limits.time;
        let heard = heard.map_err(|error| failed("the worker cannot be watched", error))?;
        Told { limits: &self.limits, time, status, has_ended: heard.has_ended, is_late }.outcome(heard)
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

/// What is known of a worker that is gone.
struct Told<'a> {
    limits: &'a Limits,
    /// Time that it had.
    time: Duration,
    status: ExitStatus,
    /// Whether it ended before it was killed.
    has_ended: bool,
    /// Whether the time of the query was over, by the host's clock.
    is_late: bool,
}

impl Told<'_> {
    fn outcome(&self, heard: Heard) -> Result<Outcome, Failure> {
        let Heard { why, printed, peak_memory, .. } = heard;
        let said = match why {
            Why::Needs(needs) => Ok(Answered::Needs(needs)),
            Why::Answer(selection) => Ok(Answered::Selection(selection)),
            Why::Failed(kind, message) => Err(self.claimed(kind, &message)),
            Why::Forbidden(call) => Err(forbidden(Some(call))),
            Why::Cancelled => Err(Failure::new(QueryErrorKind::Cancelled, "cancelled")),
            Why::TimeOut => Err(self.time_out()),
            Why::Memory(bytes) => Err(Failure::new(
                QueryErrorKind::Memory,
                format!(
                    "it held {} MiB of memory, more than it may with a limit of {} MiB, and was stopped",
                    bytes >> 20,
                    self.limits.memory >> 20
                ),
            )
            .hint(Limit::Memory)),
            Why::Threads(threads) => Err(Failure::new(
                QueryErrorKind::Memory,
                format!("it ran {threads} threads at once, which is too many, and was stopped"),
            )
            .hint("a strategy needs no more threads than there are cores; kernels have threads of their own")),
            Why::Printed(bytes) => Err(Failure::new(
                QueryErrorKind::Output,
                format!("it printed more than {} MiB, and was stopped{printed}", bytes >> 20),
            )
            .hint("a strategy says what is worth saying by its log")),
            Why::Nonsense(_) | Why::End if self.status.signal() == Some(libc::SIGSYS) => Err(forbidden(None)),
            Why::Nonsense(what) => Err(Failure::new(
                QueryErrorKind::Output,
                format!(
                    "it wrote to the pipe that its answer goes over, where no plugin has to write, and was stopped: \
                     {what}{printed}"
                ),
            )),
            Why::End => Err(self.ended(&printed)),
        };
        said.map(|said| Outcome { said, peak_memory })
    }

    fn time_out(&self) -> Failure {
        let seconds = self.time.min(self.limits.time).as_secs_f64();
        let message = format!("its worker ran past its time limit of {seconds:.0} s and was killed");
        Failure::new(QueryErrorKind::Timeout, message).hint(Limit::Seconds)
    }

    /// A failure as the worker tells it. Only what a plugin may know of itself is taken from it, and no advice: what the
    /// host measures or decides, the host says.
    fn claimed(&self, kind: QueryErrorKind, message: &str) -> Failure {
        let message = Shown::sentence(message);
        match kind {
            QueryErrorKind::Timeout if self.is_late => self.time_out(),
            QueryErrorKind::Memory => Failure::new(kind, message).hint(Limit::Memory),
            QueryErrorKind::InvalidParams
            | QueryErrorKind::Panic
            | QueryErrorKind::Output
            | QueryErrorKind::Contract
            | QueryErrorKind::Dishonest => Failure::new(kind, message),
            QueryErrorKind::Failed
            | QueryErrorKind::Trap
            | QueryErrorKind::Timeout
            | QueryErrorKind::Fuel
            | QueryErrorKind::Cancelled => Failure::new(QueryErrorKind::Failed, message),
        }
    }

    /// A worker that ended without an answer.
    fn ended(&self, printed: &Printed) -> Failure {
        if !self.has_ended {
            let message = format!("it closed the pipe that its answer goes over, and was stopped{printed}");
            return Failure::new(QueryErrorKind::Failed, message);
        }
        let Some(signal) = self.status.signal() else {
            let message = format!("its worker ended without an answer ({}){printed}", self.status);
            return Failure::new(QueryErrorKind::Failed, message);
        };
        // What Rust's allocator prints before it gives up.
        let out_of_memory = printed.0.as_str().contains("memory allocation of");
        let kind = if out_of_memory { QueryErrorKind::Memory } else { QueryErrorKind::Trap };
        let message = format!("it crashed its worker ({}){printed}", cage::signal_name(signal));
        let failure = Failure::new(kind, message);
        if out_of_memory { failure.hint(Limit::Memory) } else { failure }
    }
}

/// The beginning of what a worker printed.
struct Printed(Shown);

impl std::fmt::Display for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.as_str().trim().is_empty() { Ok(()) } else { write!(f, "; it printed: {}", self.0.as_str().trim()) }
    }
}

fn forbidden(call: Option<i64>) -> Failure {
    let what = match call.map(|call| (call, cage::name_of(call))) {
        Some((_, Some(what))) => what.to_owned(),
        Some((call, None)) => format!("made system call {call}"),
        None => "made a forbidden system call".to_owned(),
    };
    let message = format!("it {what}, which isolated plugins may not, and was stopped");
    Failure::new(QueryErrorKind::Trap, message)
        .hint("a strategy needs only the host's arrays and kernels; if you trust it, use `--allow-native` instead")
}

impl Strategy for IsolatedStrategy {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &self.stated.capabilities
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        if query.arrays.reveals().is_some() {
            let message = "asks for labels one by one, which are written down as it asks; a worker has no files";
            let failure = Failure::new(QueryErrorKind::Failed, message).hint("run it without `--isolate`");
            return Err(failure.of(&self.identity));
        }
        let clock = Instant::now();
        let time = self.limits.time + SPARE_TIME;
        let asked = self.ask(&Question::Query(query), time, query.progress);
        let checked = asked.and_then(|Outcome { said, peak_memory }| {
            let Answered::Selection(selection) = said else { return Err(another_answer()) };
            check_selection(&selection, state_limit(query.arrays))?;
            let usage = Usage { seconds: clock.elapsed().as_secs_f64(), fuel: None, peak_memory };
            Ok(Answer { selection, usage })
        });
        checked.map_err(|failure| failure.of(&self.identity))
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

    #[test]
    fn a_worker_says_nothing_that_the_host_decides() {
        let limits = Limits::default();
        let told = |is_late| Told {
            limits: &limits,
            time: limits.time,
            status: ExitStatus::from_raw(libc::SIGKILL),
            has_ended: false,
            is_late,
        };
        let claimed = |kind, is_late| told(is_late).claimed(kind, "so it \u{1b}says").kind;
        for kind in [QueryErrorKind::Cancelled, QueryErrorKind::Timeout, QueryErrorKind::Fuel, QueryErrorKind::Trap] {
            assert_eq!(claimed(kind, false), QueryErrorKind::Failed, "{kind:?}");
        }
        assert_eq!(claimed(QueryErrorKind::Timeout, true), QueryErrorKind::Timeout);
        assert_eq!(claimed(QueryErrorKind::Cancelled, true), QueryErrorKind::Failed);
        assert_eq!(claimed(QueryErrorKind::Contract, false), QueryErrorKind::Contract);
        assert!(querist_protocol::is_showable(told(false).claimed(QueryErrorKind::Panic, "\u{1b}").message.as_str()));
    }
}
