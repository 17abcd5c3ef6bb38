//! `querist evaluate`: what a plugin is worth, what it costs, and what it does, on the runs of a suite.

mod behaviour;
mod candidate;
mod likeness;
mod suite;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use querist_core::config::{LimitsConfig, StrategyConfig, StudyConfig};
use querist_files::shown;
use querist_loader::{Listing, imports};
use querist_protocol::Shown;
use querist_report::{Facts, Failed, Limits, PageOptions, SuiteFacts, Verdict};
use serde_json::Value;

use self::candidate::Candidate;
use self::likeness::Yardstick;
use self::suite::Suite;
use crate::commands::report;
use crate::commands::study::{self, Asked, Beside, Worked};
use crate::events::Log;
use crate::exit::Usage;
use crate::flags::{self, ParamArgs};
use crate::plugins::{self, Means, PluginArgs};
use crate::stored_run::StoredRun;
use crate::study::folder::replace;
use crate::{again, grid, output, progress};

/// Judge a plugin: run it beside random and the built-in strategy most like it, and say what came of it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  querist evaluate mine --jobs 2\n  querist evaluate their-plugins/cal --suite quick \
                  --seeds 10\n  querist evaluate old/mine new/mine --suite our-suite.toml\n\nThe exit code is 1 where \
                  a plugin fails or breaks a rule, whatever its curves are."
)]
pub struct EvaluateArgs {
    /// Ids of strategies, `ID@sha256:DIGEST`, or folders or files of packages; several are compared side by side.
    #[arg(required = true, value_name = "PLUGIN")]
    pub plugins: Vec<String>,
    /// The strategy, where a package has several.
    #[arg(long, value_name = "ID")]
    pub strategy: Option<String>,
    /// What is run: `quick` (minutes), `standard` (hours), or a study file.
    #[arg(long, value_name = "quick|standard|FILE", default_value = "quick")]
    pub suite: String,
    /// So many seeds instead of the suite's; what was run already is not run again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub seeds: Option<u16>,
    #[command(flatten)]
    pub params: ParamArgs,
    #[arg(long = "set", value_name = "KEY=VALUE", help = flags::SET)]
    pub set: Vec<String>,
    /// Folder of the evaluation [default: runs/evaluate-PLUGIN-SUITE].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs at the same time [default: the suite's launch.jobs].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    pub flags: PluginArgs,
    #[arg(long, value_name = "cpu|cuda:N", help = flags::DEVICE)]
    pub device: Option<String>,
    /// Form of what is told on standard error while it runs.
    #[arg(long, value_enum, default_value_t = Log::Text)]
    pub log: Log,
    /// Form of the verdict on standard output.
    #[arg(long, value_enum, default_value_t = VerdictFormat::Text)]
    pub format: VerdictFormat,
}

/// Forms of the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerdictFormat {
    /// For people.
    Text,
    /// Everything, for programs: what verdict.json holds.
    Json,
}

/// Runs the verb.
pub fn main(args: &EvaluateArgs) -> Result<()> {
    let mut sets = args.set.clone();
    sets.extend(args.device.as_ref().map(|device| format!("compute.device=\"{device}\"")));
    let mut suite = Suite::read(&args.suite, &sets)?;
    if let Some(seeds) = args.seeds {
        suite.take_seeds(seeds.into());
    }
    let mut candidates = found(args)?;
    let labels: Vec<String> = suite.config.strategies.iter().map(|one| one.label().to_owned()).collect();
    candidate::tell_apart(&mut candidates, &labels)?;
    let out = args.out.clone().unwrap_or_else(|| default_folder(&candidates, &suite));
    let mut flags = args.flags.clone();
    candidate::settle_native(&candidates, &mut flags)?;
    // Before anything is written, the suite must be one with these plugins.
    let config = study_of(&suite, &candidates, &[]);
    let cells = config.cells().map_err(|problems| suite.file.report(&problems, ""))?;
    let limits = cells.first().map(|cell| cell.config.experiment.limits.clone()).unwrap_or_default();
    let mut folders = Vec::new();
    for candidate in &candidates {
        let (folder, plugins) = candidate.lay_down(&out)?;
        drop(flags.plugin_dir.splice(0..0, plugins));
        folders.push(folder);
    }
    progress::stop_on_interrupt()?;
    let listing = plugins::listing(&flags.plugin_dir)?;
    likeness::hold_to_built_in(&mut suite.config.strategies, &listing);
    let (facts, chosen) = look(&suite, &candidates, (folders.as_slice(), &listing), &limits, &flags)?;
    let taken: Vec<String> = labels.into_iter().chain(chosen.iter().map(|one| one.id.clone())).collect();
    candidate::tell_apart(&mut candidates, &taken)?;
    let asked = ask(&suite, &candidates, &chosen, &out, args.jobs, &flags)?;
    let worked = study::do_runs(&asked, Beside { plugins: &flags, threads: None, track: None, no_wait: false })?;
    if progress::stopped() {
        return Err(study::unfinished(&worked.failed, asked.cells.len(), &out));
    }
    let verdict = judge(&suite, &candidates, facts, &worked)?;
    match args.format {
        VerdictFormat::Text => output::text(&querist_report::verdict_text(&verdict))?,
        VerdictFormat::Json => output::line(&serde_json::to_string_pretty(&verdict)?)?,
    }
    output::note(&format!("verdict: {}", shown(&out.join(PAGE))));
    ended(&verdict, &candidates, &worked, &asked)
}

/// The page, the same for programs, and the report beside them.
const PAGE: &str = "verdict.html";
const JSON: &str = "verdict.json";
const REPORT: &str = "report.html";
const STUDY: &str = "study.toml";

/// What the end of the call says beside the verdict.
fn ended(verdict: &Verdict, candidates: &[Candidate], worked: &Worked, asked: &Asked) -> Result<()> {
    let is_of_plugin = |name: &String| candidates.iter().any(|one| name.starts_with(&format!("{}/", one.label)));
    let others: Vec<String> = worked.failed.iter().filter(|name| !is_of_plugin(name)).cloned().collect();
    if !others.is_empty() {
        return Err(study::unfinished(&others, asked.cells.len(), &asked.out));
    }
    let bad: Vec<String> = verdict
        .plugins
        .iter()
        .filter(|judged| !judged.verdict.works())
        .map(|judged| format!("`{}`: {}", judged.facts.label, judged.headline))
        .collect();
    if !bad.is_empty() {
        bail!("{}", bad.join("; "));
    }
    Ok(())
}

/// The plugins of the call.
fn found(args: &EvaluateArgs) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for word in &args.plugins {
        let mut candidate = Candidate::find(word, args.strategy.as_deref(), &args.flags)?;
        candidate.params = args.params.given(&candidate.strategy.schema)?;
        candidates.push(candidate);
    }
    Ok(candidates)
}

fn default_folder(candidates: &[Candidate], suite: &Suite) -> PathBuf {
    let labels: Vec<&str> = candidates.iter().map(|candidate| candidate.label.as_str()).collect();
    PathBuf::from("runs").join(format!("evaluate-{}-{}", labels.join("-"), suite.name))
}

/// The study that a suite becomes with plugins and what they are measured by.
fn study_of(suite: &Suite, candidates: &[Candidate], yardsticks: &[Yardstick]) -> StudyConfig {
    let mut config = suite.config.clone();
    let is_there = |config: &StudyConfig, label: &str| config.strategies.iter().any(|one| one.label() == label);
    for yardstick in yardsticks {
        if !is_there(&config, &yardstick.id) {
            let label = Some(yardstick.id.clone());
            let (id, params) = (yardstick.exact.clone(), serde_json::Map::new());
            config.strategies.push(StrategyConfig { id, params, label, subset_size: None, target: None });
        }
    }
    config.strategies.extend(candidates.iter().map(Candidate::config));
    config
}

/// The study, and everything that its runs would stumble over at its place in the suite. What is run stands in the
/// folder as a study file, too.
fn ask(
    suite: &Suite,
    candidates: &[Candidate],
    yardsticks: &[Yardstick],
    out: &Path,
    jobs: Option<u16>,
    flags: &PluginArgs,
) -> Result<Asked> {
    let config = study_of(suite, candidates, yardsticks);
    let cells = config.cells().map_err(|problems| suite.file.report(&problems, ""))?;
    let grid = grid::check(&config, &cells, flags)?;
    if !grid.problems.is_empty() {
        return Err(suite.file.report(&grid.problems, "").into());
    }
    let text = format!("# What `querist evaluate` ran with suite `{}`.\n{}", suite.name, toml::to_string(&config)?);
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", shown(out)))?;
    write(&out.join(STUDY), text.as_bytes())?;
    let mut launch = config.launch;
    launch.jobs = jobs.map_or(launch.jobs, usize::from);
    Ok(Asked { cells, grid, launch, out: out.to_owned() })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes).with_context(|| format!("cannot write {}", shown(path)))?;
    Ok(())
}

/// What is known of each plugin before it is run, and the yardsticks that are run beside them.
fn look(
    suite: &Suite,
    candidates: &[Candidate],
    (folders, listing): (&[PathBuf], &Listing),
    limits: &LimitsConfig,
    flags: &PluginArgs,
) -> Result<(Vec<Facts>, Vec<Yardstick>)> {
    let means = Means { limits, threads: 1, accelerator: None, torch: None };
    let all = likeness::yardsticks(suite, listing, means, flags)?;
    let mut facts = Vec::new();
    for (candidate, folder) in candidates.iter().zip(folders) {
        output::note(&format!("looking at `{}`: the rules, and what it is like", candidate.label));
        facts.push(looked_at(suite, candidate, folder, (listing, all.as_slice()), means, flags)?);
    }
    let is_chosen = |one: &Yardstick| facts.iter().flat_map(|facts| &facts.nearest).any(|like| like.label == one.id);
    let chosen = all.into_iter().filter(is_chosen).collect();
    Ok((facts, chosen))
}

fn looked_at(
    suite: &Suite,
    candidate: &Candidate,
    folder: &Path,
    (listing, yardsticks): (&Listing, &[Yardstick]),
    means: Means<'_>,
    flags: &PluginArgs,
) -> Result<Facts> {
    let resolved = plugins::resolve(listing, &candidate.exact())?;
    let mode = flags.policy()?.mode(&resolved).map_err(|error| Usage(error.to_string()))?;
    let params = Value::Object(candidate.params.clone());
    plugins::params(&resolved, &params, None)?;
    let rules = behaviour::rules(candidate, folder, (suite.wanted.rules, means.limits), flags)?;
    let own = likeness::asked(resolved, &params, means, flags).ok();
    let nearest = likeness::nearest(candidate, own.as_ref(), yardsticks, suite.wanted.nearest);
    let Candidate { package, strategy, .. } = candidate;
    let shown = |texts: &[String]| texts.iter().map(|text| Shown::name(text).into_string()).collect();
    Ok(Facts {
        label: candidate.label.clone(),
        id: strategy.id.clone(),
        summary: Shown::sentence(&strategy.summary).into_string(),
        package: package.description.package.clone(),
        version: Shown::name(&package.description.version).into_string(),
        kind: package.kind.to_string(),
        ran: behaviour::ran(mode).to_owned(),
        digest: package.digest.clone(),
        signature: behaviour::signature(package)?,
        built_in: candidate.is_built_in(),
        params: (!candidate.params.is_empty()).then(|| Shown::sentence(&params.to_string()).into_string()),
        imports: imports(package).map_err(|refused| anyhow::anyhow!("{}", refused.reason))?,
        needs: shown(&strategy.needs),
        rights: strategy.capabilities.iter().map(|right| right.name().to_owned()).collect(),
        limits: Limits { memory: means.limits.memory.0, seconds: means.limits.seconds },
        rules,
        draws: own.as_ref().map(|own| own.draws),
        moved: own.as_ref().map(|own| (own.moved, own.of)),
        nearest,
        planned: 0,
        failed: Vec::new(),
    })
}

/// What the runs say, written beside them: the report, the page, and the same for programs.
fn judge(suite: &Suite, candidates: &[Candidate], mut facts: Vec<Facts>, worked: &Worked) -> Result<Verdict> {
    let study = &worked.study;
    for (facts, candidate) in facts.iter_mut().zip(candidates) {
        facts.label.clone_from(&candidate.label);
        let own = || study.cells.iter().filter(|cell| cell.label == candidate.label);
        facts.planned = own().count();
        for cell in own().filter(|cell| worked.failed.contains(&cell.name())) {
            let reason = study.ledger(cell).ok().and_then(|ledger| ledger.reason());
            let reason = reason.unwrap_or_else(|| "nobody knows why".to_owned());
            let (run, reason) = (Shown::sentence(&cell.name()).into_string(), Shown::sentence(&reason).into_string());
            facts.failed.push(Failed { run, reason });
        }
    }
    let begun = study.cells.iter().any(|cell| StoredRun::is_run(&study.run(cell)));
    let report = if begun { Some(report::of_study(study, report::MOST_PICTURES)?) } else { None };
    let root = study.root();
    if let Some(report) = &report {
        let title = format!("Runs of {}", facts.iter().map(|one| one.label.as_str()).collect::<Vec<_>>().join(" and "));
        let page = querist_report::html(report, &PageOptions { title, ..PageOptions::default() })?;
        write(&root.join(REPORT), page.as_bytes())?;
    }
    let suite = SuiteFacts {
        name: Shown::name(&suite.name).into_string(),
        digest: suite.digest.clone(),
        worth: suite.wanted.worth,
        seeds: suite.config.seeds.len(),
        report: report.is_some().then(|| REPORT.to_owned()),
        again: again::command(&[]),
    };
    let verdict = Verdict::new(report.as_ref(), suite, facts, env!("CARGO_PKG_VERSION"));
    write(&root.join(JSON), &serde_json::to_vec_pretty(&verdict)?)?;
    write(&root.join(PAGE), querist_report::verdict_html(&verdict).as_bytes())?;
    Ok(verdict)
}
