//! `querist label serve`: a run as the model behind a project of Label Studio.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::backend::Backend;
use crate::exit::Usage;
use crate::loopback::Server;
use crate::{output, program, progress};

/// Time between two looks at what is complete.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Have Label Studio on this machine label for a run: it asks here what comes next, and tells here what people said.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist label serve runs/birds --label-studio --port 9090")]
pub struct ServeArgs {
    /// Run folder.
    pub run: PathBuf,
    /// Speak with Label Studio, as one of its machine learning backends.
    #[arg(long, required = true)]
    pub label_studio: bool,
    /// Port of this machine to listen on [default: a free one].
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Show what the model takes each picture for; people who see it agree with it more often.
    #[arg(long)]
    pub guesses: bool,
    /// Only record answers: somebody else goes on with the run.
    #[arg(long)]
    pub no_train: bool,
    /// More arguments of `querist run`, which goes on with the run once a batch is complete.
    #[arg(last = true, value_name = "ARG")]
    pub more: Vec<OsString>,
}

/// Runs the verb.
pub fn main(args: &ServeArgs) -> Result<()> {
    if !args.run.join("run.toml").is_file() {
        return Err(Usage(format!("{} is no run folder", querist_files::shown(&args.run))).into());
    }
    progress::stop_on_interrupt()?;
    let backend = Arc::new(Backend::new(&args.run, args.guesses)?);
    let server = Server::listen(args.port)?;
    let address = server.address();
    server.answer(Arc::<Backend>::clone(&backend))?;
    output::line(&address)?;
    output::note("add this address to a project of Label Studio as a model, and with `webhook` behind it as a webhook");
    let mut training = Training { is_wanted: !args.no_train, child: None, given_up: None };
    while !progress::stopped() {
        training.look(&backend, || round_command(&args.run, &args.more))?;
        sleep(LOOK_EVERY);
    }
    training.end();
    Ok(())
}

/// What goes on with a run whose batch is complete.
fn round_command(run: &Path, more: &[OsString]) -> Result<Command> {
    let mut command = program::command()?;
    command.arg("run").arg(run.join("run.toml")).arg("--out").arg(run).arg("--resume");
    command.args(["--with-parent", &std::process::id().to_string()]).args(more);
    // A terminal's Ctrl-C is for this process, which passes it on once.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// The process that goes on with the run, one at a time.
struct Training {
    is_wanted: bool,
    child: Option<Child>,
    /// The stage whose labels are there and could not be trained with.
    given_up: Option<Option<String>>,
}

impl Training {
    /// Starts it where a batch is complete, and says what became of it.
    fn look(&mut self, backend: &Backend, command: impl Fn() -> Result<Command>) -> Result<()> {
        if let Some(child) = &mut self.child {
            let Some(status) = child.try_wait().context("cannot wait for the run")? else { return Ok(()) };
            self.child = None;
            let stage = backend.stage()?;
            if status.success() {
                let next = stage.map_or("the run is finished".to_owned(), |stage| format!("{stage} waits for labels"));
                output::note(&format!("trained: {next}"));
                return Ok(());
            }
            output::note(&format!("warning: `querist run --resume` ended with {status}; start it by hand to see why"));
            self.given_up = Some(stage);
            return Ok(());
        }
        if !self.is_wanted || backend.open()? != Some(0) {
            return Ok(());
        }
        let stage = backend.stage()?;
        if self.given_up.as_ref() == Some(&stage) {
            return Ok(());
        }
        output::note("every picture has an outcome: the run goes on");
        self.child = Some(command()?.spawn().context("cannot start `querist run`")?);
        Ok(())
    }

    /// Has it end at a whole round; `--resume` goes on with it another time.
    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
            }
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use querist_people::{Answer, Batch, Journal, Looks, NewAnswer, Picture, Stage, WAITING};

    use super::*;

    #[test]
    fn the_command_goes_on_with_the_run_as_a_user_would() {
        let command = round_command(Path::new("runs/a b"), &["--device".into(), "cpu".into()]).unwrap();
        let args: Vec<_> = command.get_args().map(|arg| arg.to_str().unwrap()).collect();
        let this = std::process::id().to_string();
        let own = ["run", "runs/a b/run.toml", "--out", "runs/a b", "--resume", "--with-parent", &this];
        assert_eq!(args, [&own[..], &["--device", "cpu"]].concat());
    }

    fn wait(run: &Path, stage: Stage) {
        let picture = Picture { id: 3, name: "a.png".to_owned(), score: None, guess: None };
        let batch = Batch {
            version: 1,
            stage,
            strategy: "random".to_owned(),
            classes: vec!["cat".to_owned(), "dog".to_owned()],
            folder: run.to_owned(),
            looks: Looks::One,
            pictures: vec![picture],
        };
        fs::create_dir_all(run.join(WAITING)).unwrap();
        batch.write(&run.join(WAITING)).unwrap();
    }

    fn answer(run: &Path) {
        let mut journal = Journal::open(run, Batch::read(run).unwrap().unwrap()).unwrap();
        let key = format!("key of {}", journal.batch().stage);
        let new = NewAnswer {
            key,
            id: 3,
            annotator: "ann".to_owned(),
            answer: Answer::Class(0),
            seconds: None,
            guess_shown: false,
            third_look: false,
            source: "page".to_owned(),
            seen: None,
        };
        journal.record(vec![new]).unwrap();
    }

    #[test]
    fn a_complete_batch_starts_one_round_and_a_failed_one_is_not_started_again() {
        let run = tempfile::tempdir().unwrap();
        wait(run.path(), Stage::Initial);
        let backend = Backend::new(run.path(), false).unwrap();
        let mut training = Training { is_wanted: true, child: None, given_up: None };
        let log = run.path().join("log");
        let shell = |text: String| {
            move || {
                let mut command = Command::new("sh");
                command.args(["-c", &text]);
                Ok(command)
            }
        };
        let count = || fs::read_to_string(&log).unwrap_or_default().lines().count();
        let settle = |training: &mut Training, text: &str| {
            training.look(&backend, shell(text.to_owned())).unwrap();
            while training.child.is_some() {
                training.look(&backend, shell("exit 9".to_owned())).unwrap();
                sleep(Duration::from_millis(5));
            }
        };
        let fails = format!("echo x >> '{}'; exit 1", log.display());
        settle(&mut training, &fails);
        assert_eq!(count(), 0, "a picture is open");
        answer(run.path());
        settle(&mut training, &fails);
        settle(&mut training, &fails);
        assert_eq!(count(), 1, "it failed, and would again");
        // Another batch is another matter.
        wait(run.path(), Stage::Round(1));
        answer(run.path());
        let waiting = run.path().join(WAITING);
        let works = format!("echo x >> '{}'; rm -r '{}'", log.display(), waiting.display());
        settle(&mut training, &works);
        settle(&mut training, &works);
        assert_eq!(count(), 2, "it worked, and nothing waits any more");
    }
}
