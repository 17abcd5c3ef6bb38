//! `querist plugin check`: whether a plugin does what every strategy must do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use querist_conformance::{Broken, Make, Rule, Verdict, digest, measurements, rules};
use querist_core::config::{Bytes, LimitsConfig};
use querist_core::{Schema, Strategy, StrategyKind};
use querist_kernels::Compute;
use querist_loader::package::metadata::Metadata;
use querist_loader::package::trust::Mode;
use querist_loader::{
    IsolatedStrategy, Limits, Listing, NativeStrategy, Resolved, Sandbox, Source, WasmStrategy, pack,
};
use querist_protocol::{Shown, StrategyDescription};
use serde_json::{Value, json};

use crate::commands::plugin::ListFormat;
use crate::exit::Usage;
use crate::plugins::{self, Means, PluginArgs};
use crate::trainer::Trainer;
use crate::{output, trial};

/// Flags of `querist plugin check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A package's folder, a folder of packages, or what a compiler made.
    pub path: PathBuf,
    /// Only this strategy.
    #[arg(long, value_name = "ID")]
    strategy: Option<String>,
    /// Parameters to check under, as a JSON object [default: the schema's first example, or none].
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
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
    #[arg(long, hide = true)]
    digest: bool,
}

impl CheckArgs {
    /// Whether something there shares libtorch, or may: only the executable with libtorch can check that.
    pub fn needs_libtorch(&self) -> bool {
        pack::shares_torch(&self.path)
            || listing(&self.path)
                .is_ok_and(|listing| listing.usable().any(|(_, package)| package.kind == StrategyKind::NativeTorch))
    }

    fn limits(&self) -> LimitsConfig {
        LimitsConfig { memory: self.memory, seconds: self.seconds, fuel: None }
    }

    fn params(&self) -> Result<Option<Value>> {
        let Some(text) = &self.params else { return Ok(None) };
        let value: Value = serde_json::from_str(text).map_err(|e| Usage(format!("`--params` is no JSON: {e}")))?;
        Ok(Some(value))
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
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let path = packed(args, folder.path(), trainer)?;
    let listing = listing(&path)?;
    let checked = Checked { args, path: &path, sandbox: plugins::sandbox()?, trainer };
    let mut broken = 0;
    let mut rows = Vec::new();
    for resolved in wanted(&listing, args)? {
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

/// The packages of a path: it may be a package itself or hold some.
fn listing(path: &Path) -> Result<Listing> {
    let is_package = path.is_file() || path.join(querist_loader::package::manifest::FILE).exists();
    let packages = path.parent().filter(|_| is_package).unwrap_or(path);
    // What is installed with this program is trusted by it, as everywhere.
    let installed = plugins::built_in().and_then(|dir| dir.canonicalize().ok()) == packages.canonicalize().ok();
    let source = if installed { Source::BuiltIn } else { Source::PluginDir };
    if is_package {
        return Ok(Listing::only(path.to_owned(), source));
    }
    Ok(Listing::search(&[(source, packages.to_owned())])?)
}

/// A path with packages in it: what a compiler made is packed first.
fn packed(args: &CheckArgs, folder: &Path, trainer: Option<&dyn Trainer>) -> Result<PathBuf> {
    let path = args.path.canonicalize().map_err(|error| Usage(format!("{}: {error}", args.path.display())))?;
    if path.is_dir() || pack::is_packed(&path) {
        return Ok(path);
    }
    let made = if pack::is_native(&path) {
        if !args.plugins.allow_native {
            let message = format!("{} is native code: add `--allow-native` if you trust it", path.display());
            return Err(Usage(message).into());
        }
        pack::pack_native(&path, folder, trainer.map(Trainer::torch).as_ref())
    } else {
        pack::pack(&path, folder, &Metadata::default(), &*plugins::sandbox()?)
    };
    made.map_err(|error| anyhow::Error::new(error).context(format!("cannot pack {}", path.display())))?;
    Ok(folder.to_owned())
}

fn wanted<'a>(listing: &'a Listing, args: &CheckArgs) -> Result<Vec<Resolved<'a>>> {
    if let Some(refused) = listing.found.iter().find_map(|found| found.package().err().map(|e| (found, e))) {
        bail!("{} is refused: {}", Shown::sentence(&refused.0.path.to_string_lossy()), refused.1.reason);
    }
    let wanted: Vec<Resolved<'a>> = listing
        .usable()
        .flat_map(|(found, package)| {
            let of = |strategy| Resolved { package, source: found.source, strategy, alias: false, hidden: None };
            package.description.strategies.iter().map(of)
        })
        .filter(|resolved| args.strategy.as_ref().is_none_or(|id| *id == resolved.strategy.id))
        .collect();
    if wanted.is_empty() {
        let what = args.strategy.as_ref().map_or("package".to_owned(), |id| format!("strategy `{id}`"));
        return Err(Usage(format!("there is no {what} in {}", args.path.display())).into());
    }
    Ok(wanted)
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
            _ => self.args.plugins.policy()?.mode(&resolved).map_err(|error| Usage(error.to_string()))?,
        };
        Ok(Maker { checked: self, resolved, mode, params: self.args.params()? })
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
            findings.push(Finding {
                rule: "trial",
                says: "two small runs with it on the built-in digits end alike",
                outcome: trial::repeats(make, trainer),
            });
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
        let text = |error: querist_loader::LoadError| error.to_string();
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
                let torch = self.checked.trainer.map(Trainer::torch);
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
        let program = std::env::current_exe().ok()?;
        let mut command = Command::new(program);
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
