//! The learner's process: one request at a time and one answer to each, both a line of JSON.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use querist_core::progress::Cancelled;
use querist_core::{LearnError, OwnFault, OwnFaultKind};
use querist_protocol::Shown;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::said::Said;

/// Bytes of a line at most.
const MOST_LINE: u64 = 1 << 20;
/// Bytes of all lines of one answer at most: reports of progress are many.
const MOST_ANSWER: usize = 64 << 20;
/// How often it is asked whether to go on.
const TICK: Duration = Duration::from_millis(50);
/// How long a learner may take to end once it is told to.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long the exit status of one is waited for that has closed its output.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// A learner at work.
pub struct Process {
    /// The command, for messages.
    name: String,
    child: Child,
    /// Whether nobody has waited for it yet.
    is_there: bool,
    requests: Option<Sender<Vec<u8>>>,
    heard: Receiver<Heard>,
    said: Said,
    number: u64,
}

/// What comes from standard output.
enum Heard {
    Line(Vec<u8>),
    TooLong,
    End,
}

/// A line of the learner's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    id: u64,
    #[serde(default)]
    ok: Option<Map<String, Value>>,
    #[serde(default)]
    error: Option<String>,
    /// Steps that are done, and how many there are.
    #[serde(default)]
    progress: Option<(u64, u64)>,
}

/// What is asked of a learner.
pub struct Asked<'a> {
    /// The request, without its number.
    pub request: Map<String, Value>,
    /// What the learner is doing meanwhile, for messages: `training for round 3`.
    pub doing: &'a str,
    /// How long it may take.
    pub limit: Duration,
    /// The key of the run file that says so.
    pub limit_key: &'static str,
}

/// Takes how far the learner is, and says whether to go on.
pub type Tick<'a> = &'a mut dyn FnMut(u64, u64) -> Result<(), Cancelled>;

impl Process {
    /// Starts the learner in a process group of its own, so that a terminal's Ctrl-C is for this program alone.
    /// `starter` are words before those of the command, for a program that starts it.
    pub fn start(starter: &[OsString], command: &[String]) -> Result<Self, LearnError> {
        let name = shown_command(command);
        let words: Vec<OsString> = starter.iter().cloned().chain(command.iter().map(OsString::from)).collect();
        let cannot = |reason: String| LearnError::Config(format!("learner.command: cannot start `{name}`: {reason}"));
        let Some((program, arguments)) = words.split_first() else { return Err(cannot("it is empty".to_owned())) };
        let spawned = Command::new(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|error| cannot(error.to_string()))?;
        let said = Said::default();
        let (requests, to_write) = channel();
        // A flood waits in the pipe, not in memory.
        let (to_hear, heard) = sync_channel(16);
        if let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        {
            let kept = said.clone();
            thread::spawn(move || kept.take(stderr));
            thread::spawn(move || listen(stdout, &to_hear));
            thread::spawn(move || write(stdin, &to_write));
        }
        Ok(Self { name, child, is_there: true, requests: Some(requests), heard, said, number: 0 })
    }

    /// What it writes to standard error.
    pub fn said(&self) -> &Said {
        &self.said
    }

    /// The number of the request before.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Puts a question and waits for its answer. A learner that fails is ended.
    pub fn ask(&mut self, asked: Asked<'_>, tick: Tick<'_>) -> Result<Map<String, Value>, LearnError> {
        self.number += 1;
        let mut request = Map::from_iter([("id".to_owned(), Value::from(self.number))]);
        request.extend(asked.request.clone());
        let mut line = Value::Object(request).to_string().into_bytes();
        line.push(b'\n');
        if let Some(requests) = &self.requests {
            // One that has ended is met below, with its status.
            let _ = requests.send(line);
        }
        let answered = self.answer(&asked, tick);
        if answered.is_err() {
            self.kill();
        }
        answered
    }

    fn answer(&mut self, asked: &Asked<'_>, tick: Tick<'_>) -> Result<Map<String, Value>, LearnError> {
        let clock = Instant::now();
        let (mut at, mut bytes, mut is_gone) = ((0, 0), 0, false);
        loop {
            tick(at.0, at.1)?;
            let Some(left) = asked.limit.checked_sub(clock.elapsed()) else { return Err(self.late(asked)) };
            let line = match self.heard.recv_timeout(left.min(TICK)) {
                Ok(Heard::Line(line)) => line,
                Ok(Heard::TooLong) => {
                    let found = format!("it wrote a line of more than {MOST_LINE} bytes");
                    return Err(self.no_answer(asked, &found));
                }
                // What it has started may hold its output open.
                Err(RecvTimeoutError::Timeout) if is_gone => return Err(self.ended(asked)),
                Err(RecvTimeoutError::Timeout) => {
                    is_gone = self.has_ended();
                    continue;
                }
                Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => return Err(self.ended(asked)),
            };
            bytes += line.len();
            if bytes > MOST_ANSWER {
                return Err(self.no_answer(asked, &format!("it wrote more than {MOST_ANSWER} bytes without an answer")));
            }
            match self.read(&line).map_err(|found| self.no_answer(asked, &found))? {
                Message { ok: Some(ok), .. } => return Ok(ok),
                Message { error: Some(error), .. } => {
                    let message = format!("said that it failed: {}", Shown::sentence(&error));
                    return Err(self.fault(OwnFaultKind::Refused, asked.doing, &message));
                }
                Message { progress, .. } => at = progress.unwrap_or(at),
            }
        }
    }

    /// A line as a message, which says one thing about the request that is open.
    fn read(&self, line: &[u8]) -> Result<Message, String> {
        let text = String::from_utf8_lossy(line);
        let shown = || Shown::new(text.trim_end(), 200);
        let message: Message = serde_json::from_slice(line).map_err(|error| {
            let why = Shown::sentence(&error.to_string());
            format!(
                "it wrote `{}` to standard output, which is no message ({why}); standard output is for messages alone, \
                 print to standard error",
                shown()
            )
        })?;
        let says = [message.ok.is_some(), message.error.is_some(), message.progress.is_some()];
        if says.iter().filter(|&&says| says).count() != 1 {
            return Err(format!("it wrote `{}`, expected one of `ok`, `error` and `progress`", shown()));
        }
        match message.id == self.number {
            true => Ok(message),
            false => Err(format!("it answered request {}, expected an answer to {}", message.id, self.number)),
        }
    }

    fn late(&self, asked: &Asked<'_>) -> LearnError {
        let message = format!(
            "took longer than the {} seconds of `{}`; raise it if the work takes so long",
            asked.limit.as_secs_f64(),
            asked.limit_key
        );
        self.fault(OwnFaultKind::Time, asked.doing, &message)
    }

    fn no_answer(&self, asked: &Asked<'_>, found: &str) -> LearnError {
        self.fault(OwnFaultKind::Answer, asked.doing, &format!("broke the protocol: {found}"))
    }

    fn ended(&mut self, asked: &Asked<'_>) -> LearnError {
        let how = match self.ends_within(LAST_BREATH).then(|| self.kill()).flatten() {
            Some(status) => format!("ended ({status})"),
            None => "closed its standard output".to_owned(),
        };
        self.fault(OwnFaultKind::Ended, asked.doing, &how)
    }

    /// What went wrong, with what the learner said last.
    pub fn fault(&self, kind: OwnFaultKind, doing: &str, message: &str) -> LearnError {
        let last = self.said.last_lines();
        let last = if last.is_empty() { last } else { format!("; its last lines on standard error:{last}") };
        OwnFault { kind, message: format!("the learner `{}`, {doing}, {message}{last}", self.name) }.into()
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Whether it has ended. Nobody else gets its number before [`Self::kill`] has waited for it.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.pid().is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    fn ends_within(&self, time: Duration) -> bool {
        let clock = Instant::now();
        while !self.has_ended() {
            if clock.elapsed() >= time {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Ends it and whatever it has started; gives how it ended.
    fn kill(&mut self) -> Option<ExitStatus> {
        if !self.is_there {
            return None;
        }
        self.is_there = false;
        if let Some(group) = self.pid() {
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_there {
            if let Some(requests) = self.requests.take() {
                let _ = requests.send(format!("{{\"id\": {}, \"do\": \"end\"}}\n", self.number + 1).into_bytes());
            }
            // Its standard input is closed now.
            self.ends_within(FAREWELL);
        }
        self.kill();
    }
}

/// Hands on line after line; a last one that nobody ended is the end.
fn listen(stdout: impl Read, to: &SyncSender<Heard>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut line);
        let heard = match read {
            Ok(_) if line.ends_with(b"\n") => Heard::Line(line),
            Ok(read) if read as u64 == MOST_LINE => Heard::TooLong,
            _ => Heard::End,
        };
        let is_last = !matches!(heard, Heard::Line(_));
        if to.send(heard).is_err() || is_last {
            return;
        }
    }
}

/// Writes requests, in a thread of its own: a learner that reads none must not stop this program.
fn write(mut stdin: ChildStdin, requests: &Receiver<Vec<u8>>) {
    while let Ok(request) = requests.recv() {
        if stdin.write_all(&request).is_err() {
            return;
        }
    }
}

/// A command as it can be shown.
pub fn shown_command(command: &[String]) -> String {
    Shown::new(&command.join(" "), 200).into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a shell script once.
    fn ask(script: &str, seconds: f64) -> Result<Map<String, Value>, String> {
        let command = ["sh", "-c", script].map(str::to_owned);
        let mut process = Process::start(&[], &command).unwrap();
        let asked = Asked {
            request: Map::from_iter([("do".to_owned(), "fit".into())]),
            doing: "training",
            limit: Duration::from_secs_f64(seconds),
            limit_key: "learner.limits.fit",
        };
        process.ask(asked, &mut |_, _| Ok(())).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_comes_after_reports_of_progress() {
        let script = "read line; echo '{\"id\":1,\"progress\":[1,2]}'; echo \"{\\\"id\\\":1,\\\"ok\\\":$line}\"";
        let answer = ask(script, 60.0).unwrap();
        assert_eq!(Value::Object(answer), serde_json::json!({"id": 1, "do": "fit"}));
    }

    #[test]
    fn whatever_else_comes_is_named() {
        for (script, part) in [
            ("echo loading; sleep 60", "it wrote `loading` to standard output, which is no message"),
            ("echo '{\"id\":2,\"ok\":{}}'", "it answered request 2, expected an answer to 1"),
            ("echo '{\"id\":1}'", "expected one of `ok`, `error` and `progress`"),
            ("echo '{\"id\":1,\"ok\":{},\"error\":\"\"}'", "expected one of"),
            ("echo '{\"id\":1,\"ok\":{},\"more\":1}'", "unknown field `more`"),
            ("echo '{\"id\":1,\"error\":\"no GPU\"}'", "said that it failed: no GPU"),
            (
                "echo broken >&2; exit 3",
                "training, ended (exit status: 3); its last lines on standard error:\n  | broken",
            ),
            ("printf '{\"id\":1,\"ok'; kill -9 $$", "ended (signal: 9"),
            ("yes | tr -d '\\n'", "a line of more than 1048576 bytes"),
            (
                "while :; do echo '{\"id\":1,\"progress\":[0,9]}'; done | cat",
                "took longer than the 0.2 seconds of `learn",
            ),
            ("sleep 60", "took longer than the 0.2 seconds of `learner.limits.fit`"),
            ("exec >&-; sleep 60", "closed its standard output"),
            ("sleep 60 & exit 4", "training, ended (exit status: 4)"),
        ] {
            let seconds = if part.contains("0.2") { 0.2 } else { 60.0 };
            let error = ask(script, seconds).unwrap_err();
            assert!(error.contains(part), "{script}: {error}");
        }
        let flood = "yes \"$(printf '{\"id\":1,%100000s\"progress\":[0,9]}' '')\"";
        let error = ask(flood, 60.0).unwrap_err();
        assert!(error.contains("more than 67108864 bytes without an answer"), "{error}");
        let missing = Process::start(&[], &["/nowhere/python".to_owned()]).err().unwrap().to_string();
        assert!(missing.contains("learner.command: cannot start `/nowhere/python`"), "{missing}");
    }

    #[test]
    fn one_that_is_stopped_takes_its_children_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("child");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let command = ["sh".to_owned(), "-c".to_owned(), script];
        let mut process = Process::start(&[], &command).unwrap();
        let clock = Instant::now();
        let is_there = || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'));
        while !is_there() {
            assert!(clock.elapsed() < Duration::from_secs(60), "the child was never started");
            thread::sleep(Duration::from_millis(5));
        }
        let child: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let limit = Duration::from_secs(60);
        let asked = Asked { request: Map::new(), doing: "training", limit, limit_key: "learner.limits.fit" };
        let stopped = process.ask(asked, &mut |_, _| Err(Cancelled));
        assert!(matches!(stopped, Err(LearnError::Cancelled(_))));
        let is_alive = || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            !state.is_empty() && !state.contains(") Z ")
        };
        while is_alive() {
            assert!(clock.elapsed() < Duration::from_secs(60), "the child lives on");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
