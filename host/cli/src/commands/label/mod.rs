//! `querist label`: people answer what a run asks.

mod address;
mod backend;
mod desk;
mod examples;
mod export;
mod files;
mod import;
mod picture;
mod said;
mod serve;
mod site;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use desk::Desk;
use querist_files::shown;
use querist_people::Batch;
use site::Page;

use crate::exit::{Hinted, Usage};
use crate::stored_run::StoredRun;
use crate::{output, progress};

/// Answer what a run asks: a page on this machine, for one person or for several.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  querist label runs/birds\n  querist label runs/birds --annotator anna --port 8000"
)]
pub struct LabelArgs {
    /// Folder of a run that waits for people.
    #[arg(value_name = "RUN", required = true)]
    pub run: Option<PathBuf>,
    /// Port of the page [default: the same one for the same run, else a free one].
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Who answers; the page asks where it is not said.
    #[arg(long, value_name = "NAME")]
    pub annotator: Option<String>,
    /// Print the address, and open no browser.
    #[arg(long)]
    pub no_browser: bool,
    #[command(subcommand)]
    pub by_other_tools: Option<OtherTools>,
}

/// Answers by way of other tools.
#[derive(Debug, Subcommand)]
pub enum OtherTools {
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Serve(serve::ServeArgs),
}

/// Runs the verb.
pub fn main(args: &LabelArgs) -> Result<()> {
    match &args.by_other_tools {
        Some(OtherTools::Export(args)) => export::main(args),
        Some(OtherTools::Import(args)) => import::main(args),
        Some(OtherTools::Serve(args)) => serve::main(args),
        None => serve_page(args),
    }
}

/// Serves the page until the user wants to stop.
fn serve_page(args: &LabelArgs) -> Result<()> {
    let run = args.run.as_deref().context("no run folder was named")?;
    progress::stop_on_interrupt()?;
    if let Some(name) = &args.annotator {
        said::check_annotator(name).map_err(Usage)?;
    }
    let batch = waiting(run)?;
    let earlier = examples::of_rounds(run, &batch);
    let desk = Desk::open(run, batch)?.with_examples(earlier);
    let run = run.canonicalize().unwrap_or_else(|_| run.to_owned());
    let (server, opens) = address::listen(&run, args.port)?;
    let address = server.address();
    server.answer(Arc::new(Page::new(&run, args.annotator.clone(), desk)))?;
    output::line(&address)?;
    let opened = !args.no_browser && std::io::stdout().is_terminal() && open_browser(opens.path());
    output::note(if opened {
        "the page opens in a browser; if it does not, open this address on this machine; Ctrl-C ends it"
    } else {
        "open this address in a browser on this machine; Ctrl-C ends it"
    });
    while !progress::stopped() {
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// What a run asks people now.
fn waiting(run: &Path) -> Result<Batch> {
    if let Some(batch) = Batch::read(run)? {
        return Ok(batch);
    }
    if !StoredRun::is_run(run) {
        return Err(Usage(format!("{} is no run", shown(run))).into());
    }
    let message = format!("{} waits for nobody: nothing is asked now", shown(run));
    let hint =
        "a run asks when its `oracle` is \"people\" and its labels are used up; go on with `querist run --resume`";
    Err(Hinted::say(message, hint.to_owned()))
}

/// Has the system open a file in the user's browser; whether there is a program for it.
fn open_browser(file: &Path) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok()
}
