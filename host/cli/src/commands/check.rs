//! `querist plugin check`: whether a plugin does what every strategy must do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use querist_conformance::{Broken, Make, Rule, Verdict, digest, least_params, measurements, rules};
use querist_core::config::{Bytes, LimitsConfig};
use querist_core::{Schema, Strategy, StrategyKind};
use querist_kernels::Compute;
use querist_loader::package::trust::Mode;
use querist_loader::{IsolatedStrategy, Limits, LoadError, NativeStrategy, Resolved, Sandbox, WasmStrategy, pack};
use querist_protocol::{Shown, StrategyDescription};
use serde_json::{Value, json};

use crate::commands::candidate::{listing, packed, wanted};
use crate::commands::plugin::ListFormat;
use crate::commands::watch;
use crate::flags::ParamArgs;
use crate::plugins::{self, Means, PluginArgs};
use crate::rules::TRIAL;
use crate::trainer::Trainer;
use crate::{output, program, trial};

/// Flags of `querist plugin check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A package's folder, a folder of packages, or what a compiler made; with `--watch` also a project.
    pub path: PathBuf,
    /// Only this strategy.
    #[arg(long, value_name = "ID")]
    strategy: Option<String>,
    #[command(flatten)]
    params: ParamArgs,
    /// Check again whenever the path changes; a project (Cargo.toml, build.sh) is built first.
    #[arg(long, conflicts_with = "format")]
    watch: bool,
    /// Leave out the rules that take a clock.
    #[arg(long)]
    quick: bool,
    /// Memory of the plugin, and again as much for host objects made for it.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    memory: Bytes,
    /// Wall-clock seconds of one query at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600.0, value_parser = plugins::seconds)]
    seconds: f64,
    #[command(flatten)]
    plugins: PluginArgs,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
    /// Print the digest of one strategy's answers and no more.
    #[arg(long, hide = true, conflicts_with = "watch")]
    digest: bool,
}

impl CheckArgs {
    /// Whether something there shares libtorch, or may: only the executable with libtorch can check that.
    pub fn needs_libtorch(&self) -> bool {
        // Each check of `--watch` is a process of its own.
        !self.watch
            && (pack::shares_torch(&self.path)
                || listing(&self.path).is_ok_and(|listing| {
                    listing.usable().any(|(_, package)| package.kind == StrategyKind::NativeTorch)
                }))
    }

    fn limits(&self) -> LimitsConfig {
        LimitsConfig { memory: self.memory, seconds: self.seconds, fuel: None }
    }

    /// The parameters of the call; `None` is the schema's first example, or none.
    fn params(&self, schema: &Value) -> Result<Option<Value>> {
        if self.params.is_empty() { Ok(None) } else { Ok(Some(Value::Object(self.params.given(schema)?))) }
    }
}

/// What came of one rule.
struct Finding {
    rule: &'static str,
    says: &'static str,
    outcome: Result<Verdict, Broken>,
}

/// Runs the verb.
pub fn main(args: &CheckArgs, trainer: Option<&dyn Trainer>) -> Result<()> {
    if args.watch {
        return watch::main(&args.path);
    }
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let path = packed(&args.path, args.plugins.allow_native, folder.path(), trainer)?;
    let listing = listing(&path)?;
    let checked = Checked { args, path: &path, sandbox: plugins::sandbox()?, trainer };
    let mut broken = 0;
    let mut rows = Vec::new();
    for resolved in wanted(&listing, args.strategy.as_deref(), &args.path)? {
        let make = checked.maker(resolved)?;
        if args.digest {
            return output::line(&digest(&make).map_err(|broken| anyhow::anyhow!("{broken}"))?);
        }
        let findings = checked.findings(&make)?;
        broken += findings.iter().filter(|finding| finding.outcome.is_err()).count();
        match args.format {
            ListFormat::Table => output::text(&table(resolved, &findings))?,
            ListFormat::Json => rows.extend(findings.iter().map(|finding| row(resolved, finding))),
        }
    }
    if args.format == ListFormat::Json {
        output::line(&serde_json::to_string_pretty(&rows)?)?;
    }
    match broken {
        0 => Ok(()),
        1 => bail!("1 rule is broken"),
        _ => bail!("{broken} rules are broken"),
    }
}

/// One call of the verb.
struct Checked<'a> {
    args: &'a CheckArgs,
    path: &'a Path,
    sandbox: Arc<Sandbox>,
    trainer: Option<&'a dyn Trainer>,
}

impl Checked<'_> {
    fn maker<'a>(&'a self, resolved: Resolved<'a>) -> Result<Maker<'a>> {
        // Whoever has native code packed and checked in one go has said that it may run.
        let fresh = self.path != self.args.path.canonicalize().unwrap_or_default();
        let mode = match resolved.package.kind {
            StrategyKind::Wasm => Mode::Sandboxed,
            StrategyKind::Composite => Mode::Composed,
            _ if fresh && !self.args.plugins.isolate => Mode::InProcess,
            _ => self.args.plugins.policy()?.mode(&resolved)?,
        };
        let params = self.args.params(&resolved.strategy.schema)?;
        let made = Maker { checked: self, resolved, mode, params };
        made.is_possible()?;
        Ok(made)
    }

    fn findings(&self, make: &Maker<'_>) -> Result<Vec<Finding>> {
        let trains = make.resolved.package.kind == StrategyKind::NativeTorch;
        let clocked = if self.args.quick { &[][..] } else { measurements() };
        let all = rules().iter().chain(clocked);
        let applicable = |rule: &&Rule| !trains || rule.name == "description";
        let mut findings: Vec<Finding> = all
            .filter(applicable)
            .map(|rule| Finding { rule: rule.name, says: rule.says, outcome: rule.check(make) })
            .collect();
        if trains {
            let trainer = self.trainer.context("this strategy shares libtorch, and this program has none")?;
            findings.push(Finding { rule: TRIAL.0, says: TRIAL.1, outcome: trial::repeats(make, trainer) });
        }
        Ok(findings)
    }
}

/// Makes the strategy under check, the way that a run would.
struct Maker<'a> {
    checked: &'a Checked<'a>,
    resolved: Resolved<'a>,
    mode: Mode,
    params: Option<Value>,
}

impl Maker<'_> {
    /// Says so where a strategy can never run in this mode: that is no broken rule.
    fn is_possible(&self) -> Result<()> {
        if self.mode != Mode::Isolated {
            return Ok(());
        }
        let Ok(params) = least_params(self) else { return Ok(()) };
        let started = IsolatedStrategy::start(
            plugins::worker()?,
            self.resolved,
            &Schema::new(self.resolved.strategy.schema.clone())?.with_defaults(&params),
            Limits::from(&self.checked.args.limits()),
            1,
            &|| !crate::progress::stopped(),
        );
        match started {
            Err(error @ LoadError::Isolation { .. }) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Make for Maker<'_> {
    fn description(&self) -> StrategyDescription {
        self.resolved.strategy.clone()
    }

    fn params(&self) -> Option<Value> {
        self.params.clone()
    }

    fn make(&self, params: &Value, threads: usize, tile_bytes: usize) -> Result<Box<dyn Strategy>, String> {
        let schema = Schema::new(self.resolved.strategy.schema.clone()).map_err(|error| error.to_string())?;
        // The host checks before it asks; here the strategy's own refusal counts as well.
        let params = schema.settled(params).unwrap_or_else(|_| params.clone());
        let limits = Limits::from(&self.checked.args.limits());
        let text = |error: LoadError| error.to_string();
        Ok(match self.mode {
            Mode::Sandboxed => {
                let made = WasmStrategy::load(
                    self.checked.sandbox.clone(),
                    self.resolved,
                    &params,
                    limits,
                    Compute::threads(threads),
                );
                Box::new(made.map_err(text)?.with_tile_bytes(tile_bytes))
            }
            Mode::InProcess => {
                let torch = self.checked.trainer.and_then(Trainer::torch);
                let made =
                    NativeStrategy::load(self.resolved, &params, limits, Compute::threads(threads), torch.as_ref());
                Box::new(made.map_err(text)?.with_tile_bytes(tile_bytes))
            }
            Mode::Composed => {
                let limits = self.checked.args.limits();
                let means = Means { limits: &limits, threads, accelerator: None, torch: None };
                let mut flags = self.checked.args.plugins.clone();
                // Members may lie beside it.
                flags.plugin_dir.extend(self.checked.path.parent().map(Path::to_owned));
                let made = plugins::compose(self.resolved, &params, means, &flags);
                Box::new(made.map_err(|error| format!("{error:#}"))?)
            }
            // Tiles of a worker are its own.
            Mode::Isolated => {
                let worker = plugins::worker().map_err(|error| error.to_string())?;
                let is_wanted = || !crate::progress::stopped();
                let started = IsolatedStrategy::start(worker, self.resolved, &params, limits, threads, &is_wanted);
                Box::new(started.map_err(text)?)
            }
        })
    }

    fn digest_elsewhere(&self) -> Option<Result<String, String>> {
        let mut command = program::command().ok()?;
        command.args(["plugin", "check", "--digest", "--strategy", &self.resolved.strategy.id]);
        let CheckArgs { memory, seconds, .. } = self.checked.args;
        command.args(["--memory", &memory.to_string(), "--seconds", &seconds.to_string()]);
        command.args(self.params.iter().flat_map(|params| ["--params".to_owned(), params.to_string()]));
        let mut flags = self.checked.args.plugins.clone();
        flags.allow_native |= self.mode == Mode::InProcess;
        let Ok(flags) = flags.to_args() else { return None };
        // What was packed for this check is not locked; the file itself is packed again.
        let output = command.args(flags).arg(&self.checked.args.path).output();
        Some(match output {
            Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("this program cannot be started again: {error}")),
        })
    }
}

fn words(outcome: &Result<Verdict, Broken>) -> (&'static str, String) {
    match outcome {
        Ok(Verdict::Holds) => ("holds", String::new()),
        Ok(Verdict::Note(note)) => ("holds", note.clone()),
        Ok(Verdict::NotApplicable(why)) => ("not-applicable", (*why).to_owned()),
        Err(broken) => ("broken", broken.to_string()),
    }
}

fn row(resolved: Resolved<'_>, finding: &Finding) -> Value {
    let (outcome, message) = words(&finding.outcome);
    json!({
        "package": resolved.package.description.package, "strategy": resolved.strategy.id, "rule": finding.rule,
        "says": finding.says, "outcome": outcome, "message": message,
    })
}

fn table(resolved: Resolved<'_>, findings: &[Finding]) -> String {
    let package = &resolved.package.description;
    let mut text =
        format!("{} ({} {}, {})\n", resolved.strategy.id, package.package, package.version, resolved.package.kind);
    let width = findings.iter().map(|finding| finding.rule.len()).max().unwrap_or(0);
    for finding in findings {
        let (outcome, message) = words(&finding.outcome);
        let mark = match outcome {
            "holds" => "ok    ",
            "broken" => "BROKEN",
            _ => "-     ",
        };
        let says = if outcome == "broken" { format!("{}: {message}", finding.says) } else { message };
        text += format!("  {mark}  {:<width$}  {}", finding.rule, Shown::sentence(&says)).trim_end();
        text.push('\n');
    }
    text
}
