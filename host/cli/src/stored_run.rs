//! A run folder as it is found, whoever made it: nothing in it is believed that was not checked.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, bail, ensure};
use querist_core::config::{Plan, RunConfig, Task, schemas};
use querist_core::ids::{Round, SampleId};
use querist_core::metric::Metrics;
use querist_core::schema::Schema;
use querist_core::{Outcome, Position, RoundRecord, Split, Synthetic};
use querist_files::{Links, shown};
use querist_protocol::{Shown, is_showable};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::Value;

use crate::api::session;
use crate::outcome_file;
use crate::round_files::{
    Length, MODEL, MOST_TEXT, OPTIMISER, PICKS, RECORD, RoundFiles, STATE, SYNTHETIC, parse_json, read_json,
};
use crate::run_folder::{Header, INITIAL, LAYOUT, OLDEST_READABLE, goes_on_from_models, round_name};

/// Bytes of `run.toml` at most, as of any run file.
const MOST_CONFIG: u64 = 4 << 20;
/// Bytes of `header.json` at most.
const MOST_HEADER: u64 = 16 << 20;
/// Bytes at most of a name in the header that everything has: an id, a version, a device.
const MOST_NAME: usize = 512;
/// Seconds at most that a part of a round can have taken.
const MOST_SECONDS: f64 = 1e12;
/// Arrays of a run that are not the task model's, at most.
const MOST_ARRAYS: usize = 101;
/// Entries of the folder of rounds at most: every round of the longest plan, and some beside.
const MOST_ENTRIES: usize = 110_000;

/// One finished round, read back.
#[derive(Debug, Clone)]
pub struct StoredRound {
    /// Its files.
    pub files: RoundFiles,
    /// Its record.
    pub record: RoundRecord,
    /// What was asked for at its end, and what that turned out to be.
    pub outcomes: Vec<(SampleId, Outcome)>,
}

/// A run folder, read.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// The folder.
    pub folder: PathBuf,
    /// The config with every default.
    pub config: RunConfig,
    /// The header.
    pub header: Header,
    /// Finished rounds, from 0 on.
    pub rounds: Vec<StoredRound>,
    /// Whether people have yet to label the initial set.
    pub awaits_initial: bool,
    plan: Plan,
}

impl StoredRun {
    /// Whether a folder holds a run, or what is called as if it did.
    pub fn is_run(folder: &Path) -> bool {
        fs::symlink_metadata(folder.join("header.json")).is_ok()
    }

    /// Reads a run folder; checks that every finished round is as it was written and fits those before.
    pub fn read(folder: &Path) -> Result<Self> {
        let header = read_header(folder)?;
        let config = read_config(folder)?;
        let classes = header.dataset.classes.len();
        let budget = &config.experiment.budget;
        let of_people = config.oracle.people().is_some();
        // People label an initial set that is drawn; whatever else it is, it is there from the beginning.
        let awaits_initial = of_people && !budget.is_listed() && fs::symlink_metadata(folder.join(INITIAL)).is_err();
        let initial = match (of_people || budget.is_listed()) && !awaits_initial {
            true => Some(read_initial(folder, classes)?),
            false => None,
        };
        let listed = initial.as_ref().filter(|_| budget.is_listed()).map(Vec::len);
        let plan = config.experiment.budget.plan(Task { pool: header.dataset.pool, classes, listed });
        let plan = plan.with_context(|| shown(&folder.join("run.toml")).into_string())?;
        let start = initial.map_or_else(|| Known::labels(plan.initial()), |initial| Known::default().with(&initial));
        let rounds = read_rounds(folder, &header, &plan, start)?;
        ensure!(!awaits_initial || rounds.is_empty(), "{} is missing", shown(&folder.join(INITIAL)));
        Ok(Self { folder: folder.to_owned(), config, header, rounds, awaits_initial, plan })
    }

    /// Number of rounds that were planned, the last included, which only evaluates.
    pub fn planned(&self) -> usize {
        self.plan.rounds() + 1
    }

    /// Whether the last round of the plan is done.
    pub fn is_finished(&self) -> bool {
        let exhausted = self.rounds.last().is_some_and(|last| last.record.acquired.is_empty());
        exhausted || self.rounds.len() == self.planned()
    }

    /// The position after the last finished round, rebuilt by replaying all of them.
    pub fn position(&self) -> Result<Position> {
        let replayed = |error| anyhow!("{}: the rounds do not fit each other: {error}", shown(&self.folder));
        let mut at = Position::start(&self.split()?.pool, &self.initial()?).map_err(replayed)?;
        for stored in &self.rounds {
            at.advance(&stored.outcomes, self.plan.replaces()).map_err(replayed)?;
        }
        let state = match self.rounds.last() {
            Some(last) => last.files.bytes(STATE)?,
            None => None,
        };
        let mut synthetic = Vec::new();
        for stored in &self.rounds {
            let (found, said) = (synthetic.len(), stored.record.synthetic);
            let folder = shown(stored.files.folder());
            ensure!(
                found == said,
                "{folder}: the record counts {said} images that strategies made before, not {found}"
            );
            synthetic.extend(stored.synthetic()?);
        }
        let validated = self.rounds.iter().filter_map(|stored| Some(stored.record.validation.as_ref()?.accuracy));
        Ok(Position { state, synthetic, validated: validated.collect(), ..at })
    }

    /// The model of the last finished round, where strategy or recipe may go on from it.
    pub fn model_to_go_on_with(&self) -> Result<Option<Vec<u8>>> {
        let goes_on = goes_on_from_models(&self.header, &self.config);
        let Some(last) = self.rounds.last().filter(|_| goes_on) else { return Ok(None) };
        let needed = || {
            let path = last.files.folder().join(MODEL);
            format!("{}: the next round may train from this model, so the run cannot go on without it", shown(&path))
        };
        last.files
            .bytes(MODEL)
            .and_then(|found| found.context("the round has kept none"))
            .with_context(needed)
            .map(Some)
    }

    /// Where the optimiser stands that goes on in the next round.
    pub fn optimiser_to_go_on_with(&self) -> Result<Option<Vec<u8>>> {
        let goes_on = self.config.experiment.recipe.keep_optimiser;
        let Some(last) = self.rounds.last().filter(|_| goes_on) else { return Ok(None) };
        last.files.bytes(OPTIMISER)
    }

    /// The split that the run was started with.
    pub fn split(&self) -> Result<Split> {
        let path = self.folder.join("split.json");
        let split: Split = read_json(&path, MOST_TEXT)?;
        let facts = &self.header.dataset;
        let parts = [
            ("pool", &split.pool, facts.pool),
            ("validation", &split.validation, facts.validation),
            ("test", &split.test, facts.test),
            ("reserve", &split.reserve, facts.reserve.unwrap_or(0)),
        ];
        let path = shown(&path);
        for (part, samples, count) in parts {
            let found = samples.len();
            ensure!(found == count, "{path}: {found} samples in `{part}`, but header.json counts {count}");
            ensure!(samples.is_sorted_by(|a, b| a < b), "{path}: the samples of `{part}` do not ascend");
        }
        let mut all: Vec<SampleId> = [&split.pool[..], &split.validation, &split.test, &split.reserve].concat();
        all.sort_unstable();
        let twice = all.windows(2).find(|pair| pair[0] == pair[1]);
        ensure!(twice.is_none(), "{path}: sample {} stands in two parts", twice.map_or(0, |pair| pair[0].0));
        Ok(split)
    }

    /// Samples that are asked for in a round.
    pub fn batch(&self, round: Round) -> Option<usize> {
        self.plan.batch(round)
    }

    /// What the set before round 0 turned out to be.
    pub fn initial(&self) -> Result<Vec<(SampleId, Outcome)>> {
        let initial = read_initial(&self.folder, self.header.dataset.classes.len())?;
        let (found, asked) = (initial.len(), self.plan.initial());
        let path = self.folder.join(INITIAL);
        ensure!(found == asked, "{}: {found} samples, but run.toml asks for {asked}", shown(&path));
        Ok(initial)
    }
}

fn read_initial(folder: &Path, classes: usize) -> Result<Vec<(SampleId, Outcome)>> {
    let path = folder.join(INITIAL);
    let bytes = querist_files::read(&path, Links::Refuse, MOST_TEXT)?;
    outcome_file::parse(&path, &bytes, classes)
}

/// How many samples are known of which kind.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// Those that models are trained on.
    labelled: usize,
    held_out: usize,
    /// All that left the pool.
    all: usize,
}

impl Known {
    fn labels(labelled: usize) -> Self {
        Self { labelled, held_out: 0, all: labelled }
    }

    fn with(self, outcomes: &[(SampleId, Outcome)]) -> Self {
        let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| is(outcome)).count();
        Self {
            labelled: self.labelled + count(|outcome| outcome.label().is_some()),
            held_out: self.held_out + count(|outcome| matches!(outcome, Outcome::HeldOut(_))),
            all: self.all + outcomes.len(),
        }
    }
}

impl StoredRound {
    /// The images that the strategy made in it, with the labels of its picks.
    fn synthetic(&self) -> Result<Vec<Synthetic>> {
        let Some(bytes) = self.files.bytes(SYNTHETIC)? else { return Ok(Vec::new()) };
        let path = shown(&self.files.folder().join(SYNTHETIC));
        let (ids, width, values) = images(&bytes)
            .with_context(|| format!("{path}: expected `ids` as u64 [n] and `images` as f32 [n, values]"))?;
        let known = |id: SampleId| self.outcomes.iter().find(|&&(sample, _)| sample == id);
        let label = |id| known(id).and_then(|(_, outcome)| outcome.label());
        let image = |(sample, values): (SampleId, &[f32])| match label(sample) {
            Some(label) => Ok(Synthetic { sample, label, values: values.into() }),
            None => bail!("{path}: an image of sample {sample}, which round {} did not pick", self.record.round),
        };
        ids.into_iter().zip(values.chunks(width)).map(image).collect()
    }
}

/// Samples, values of an image, and the images one after the other; `None` of anything else.
fn images(bytes: &[u8]) -> Option<(Vec<SampleId>, usize, Vec<f32>)> {
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let (ids, images) = (tensors.tensor("ids").ok()?, tensors.tensor("images").ok()?);
    let (&[count], &[rows, width]) = (ids.shape(), images.shape()) else { return None };
    let fits = count == rows && width > 0 && ids.dtype() == Dtype::U64 && images.dtype() == Dtype::F32;
    let words = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    let floats = |bytes: &[u8]| bytes.try_into().map(f32::from_le_bytes).unwrap_or(f32::NAN);
    let values: Vec<f32> = images.data().chunks(4).map(floats).collect();
    let ids = ids.data().chunks(8).map(words).map(SampleId).collect();
    (fits && values.iter().all(|value| value.is_finite())).then_some((ids, width, values))
}

/// Reads the header: its layout first, because another layout may have other fields.
pub fn read_header(folder: &Path) -> Result<Header> {
    #[derive(Deserialize)]
    struct Made {
        layout: u32,
        querist: String,
    }
    let path = folder.join("header.json");
    let bytes = querist_files::read(&path, Links::Refuse, MOST_HEADER)?;
    let Made { layout, querist } = parse_json(&path, &bytes)?;
    ensure!(
        (OLDEST_READABLE..=LAYOUT).contains(&layout),
        "{}: made by querist {} with layout {layout}; this program reads layouts {OLDEST_READABLE} to {LAYOUT}\nhint: \
         read it with the program that made it",
        shown(folder),
        Shown::name(&querist)
    );
    let header = parse_json(&path, &bytes)?;
    check_header(&header).with_context(|| shown(&path).into_string())?;
    Ok(header)
}

/// What everything else relies on: counts that can be, and names that can be shown.
fn check_header(header: &Header) -> Result<()> {
    let Header { dataset, strategy, .. } = header;
    let counts = [("pool", dataset.pool), ("validation", dataset.validation), ("test", dataset.test)];
    for (what, count) in counts.into_iter().chain([("reserve", dataset.reserve.unwrap_or(0))]) {
        ensure!(u32::try_from(count).is_ok(), "`dataset.{what}` is {count}, expected at most {}", u32::MAX);
    }
    ensure!(dataset.classes.len() > 1, "`dataset.classes` has {} names, expected 2 or more", dataset.classes.len());
    let names = [
        ("querist", &header.querist),
        ("dataset.name", &dataset.name),
        ("dataset.digest", &dataset.digest),
        ("strategy.id", &strategy.id),
        ("strategy.package", &strategy.package),
        ("strategy.version", &strategy.version),
        ("strategy.digest", &strategy.digest),
        ("backend", &header.backend),
    ];
    header.learner.as_ref().map_or(Ok(()), |learner| learner.check())?;
    let needs = header.needs.iter().map(|need| ("needs", need));
    ensure!(
        header.arrays.len() <= MOST_ARRAYS,
        "`arrays` has {} entries, expected {MOST_ARRAYS} at most",
        header.arrays.len()
    );
    let weights = header.weights.iter().map(|digest| ("weights", digest));
    let arrays = header.arrays.iter().flat_map(|(name, digest)| [name, digest]).map(|text| ("arrays", text));
    for (what, name) in names.into_iter().chain(needs).chain(arrays).chain(weights) {
        check_shown(what, name)?;
    }
    Ok(())
}

fn check_shown(what: &str, name: &str) -> Result<()> {
    ensure!(
        is_showable(name) && name.len() <= MOST_NAME,
        "`{what}` is `{}`, expected at most {MOST_NAME} bytes of characters that can be seen",
        Shown::name(name)
    );
    Ok(())
}

/// Reads the config, which may ask for no more than a run file may.
pub fn read_config(folder: &Path) -> Result<RunConfig> {
    static SCHEMA: LazyLock<Option<Schema>> = LazyLock::new(|| Schema::new(schemas().remove("run")?).ok());
    let path = folder.join("run.toml");
    let text = querist_files::read_text(&path, Links::Refuse, MOST_CONFIG)?;
    let path = shown(&path);
    let said = |error: toml::de::Error| anyhow!("{path}: {}", Shown::sentence(error.message()));
    let value: Value = toml::from_str(&text).map_err(said)?;
    let schema = SCHEMA.as_ref().context("the schema of run files is broken")?;
    if let Some(problem) = schema.problems(&value).first() {
        bail!("{path}: {}: {}", Shown::name(&problem.pointer), Shown::sentence(&problem.message));
    }
    toml::from_str(&text).map_err(said)
}

fn read_rounds(folder: &Path, header: &Header, plan: &Plan, start: Known) -> Result<Vec<StoredRound>> {
    let folder = folder.join("rounds");
    let count = count_rounds(&folder)?;
    let planned = plan.rounds() + 1;
    ensure!(count <= planned, "{}: {count} rounds, but run.toml plans {planned}", shown(&folder));
    let mut length = Length::default();
    let mut known = start;
    let mut rounds: Vec<StoredRound> = Vec::new();
    for number in 0..count as u32 {
        let path = folder.join(round_name(Round(number)));
        let round = read_round(&path, header, &mut length)?;
        check_record(&round, Round(number), (known, start), header, plan)
            .with_context(|| format!("{}: no run wrote this", shown(&path.join(RECORD))))?;
        known = if plan.replaces() { start } else { known }.with(&round.outcomes);
        rounds.push(round);
    }
    Ok(rounds)
}

/// How many rounds lie in the folder of rounds; none may be missing between them.
fn count_rounds(folder: &Path) -> Result<usize> {
    refuse_linked(folder)?;
    let mut numbers = BTreeSet::new();
    let entries = fs::read_dir(folder).with_context(|| shown(folder).into_string())?;
    for (seen, entry) in entries.enumerate() {
        ensure!(seen < MOST_ENTRIES, "{} holds more than {MOST_ENTRIES} entries", shown(folder));
        let name = entry.with_context(|| shown(folder).into_string())?.file_name();
        let name = name.to_string_lossy();
        if let Ok(number) = name.parse()
            && round_name(Round(number)) == name
        {
            refuse_linked(&folder.join(&*name))?;
            numbers.insert(number);
        }
    }
    let gap = (0..).zip(&numbers).find(|(expected, number)| expected != *number);
    match gap {
        None => Ok(numbers.len()),
        Some((missing, _)) => bail!("{} is missing", shown(&folder.join(round_name(Round(missing))))),
    }
}

/// Refuses what is no folder of this very run: a link would have us read and write elsewhere.
pub fn refuse_linked(folder: &Path) -> Result<()> {
    let found = fs::symlink_metadata(folder).with_context(|| shown(folder).into_string())?;
    ensure!(found.is_dir(), "{} is a link or no folder, expected a folder", shown(folder));
    Ok(())
}

fn read_round(folder: &Path, header: &Header, length: &mut Length) -> Result<StoredRound> {
    let files = RoundFiles::open(folder)?;
    let record = files.bytes(RECORD)?.context("every round has a record")?;
    let record: RoundRecord = parse_json(&folder.join(RECORD), &record)?;
    let outcomes = match files.bytes(PICKS)? {
        Some(bytes) => outcome_file::parse(&folder.join(PICKS), &bytes, header.dataset.classes.len())?,
        None => Vec::new(),
    };
    files.check_others(&[RECORD, PICKS], length)?;
    let ids = outcomes.iter().map(|&(sample, _)| sample);
    ensure!(ids.eq(record.acquired.iter().copied()), "{}: picks.csv and record.json disagree", shown(folder));
    for (name, parts) in &record.terms {
        let (name, acquired) = (Shown::name(name), record.acquired.len());
        let at = || format!("{}: `terms` has {} values of `{name}`", shown(&folder.join(RECORD)), parts.len());
        ensure!(parts.len() == acquired, "{}, expected one for each of {acquired} picks", at());
    }
    Ok(StoredRound { files, record, outcomes })
}

/// Whether a round says what the loop says after what is known, of which `start` was known at the start.
fn check_record(
    round: &StoredRound,
    number: Round,
    (known, start): (Known, Known),
    header: &Header,
    plan: &Plan,
) -> Result<()> {
    let StoredRound { record, outcomes, files } = round;
    let facts = &header.dataset;
    let equal = |what: &str, found: usize, expected: usize| -> Result<()> {
        ensure!(found == expected, "`{what}` is {found}, expected {expected}");
        Ok(())
    };
    equal("round", record.round.index(), number.index())?;
    equal("labelled", record.labelled, known.labelled)?;
    equal("held_out", record.held_out, if facts.test > 0 { 0 } else { known.held_out })?;
    let taken = if plan.replaces() { start.all } else { known.all };
    let pool = facts.pool.checked_sub(taken).context("more samples are labelled than there are")?;
    equal("pool", record.pool, pool)?;
    let ended = record.out_of_patience && plan.patience().is_some();
    let batch = if ended { 0 } else { plan.batch(number).unwrap_or(0).min(pool) };
    ensure!(outcomes.len() == batch, "{} samples were picked, expected {batch}", outcomes.len());
    let mut counted = record.clone();
    counted.count(outcomes, if files.names(PICKS) { facts.classes.len() } else { 0 });
    let counts = |record: &RoundRecord| (record.query_class_histogram.clone(), record.rejected, record.unsure);
    ensure!(
        counts(record) == counts(&counted),
        "`query_class_histogram`, `rejected` and `unsure` do not count what stands in picks.csv"
    );
    // A session's accuracy is what its user says, who may have tested on what nobody here knows of.
    let is_tested = header.tested(record) > 0 || header.dataset.name == session::DATASET;
    check_metrics("metrics", &record.metrics, is_tested, facts.classes.len())?;
    if let Some(metrics) = &record.validation {
        check_metrics("validation", metrics, true, facts.classes.len())?;
    }
    let seconds = record.seconds;
    for seconds in [seconds.fit, seconds.evaluate, seconds.features, seconds.query] {
        ensure!((0.0..=MOST_SECONDS).contains(&seconds), "`seconds` holds {seconds}, expected 0 to {MOST_SECONDS}");
    }
    check_shown("backend", &record.backend)
}

/// Figures of samples, or where there were none to test on, none.
fn check_metrics(what: &str, metrics: &Metrics, tested: bool, classes: usize) -> Result<()> {
    let Metrics { accuracy, ece, per_class, loss: _ } = metrics;
    ensure!(tested || accuracy.is_nan(), "`{what}` has an accuracy of no samples");
    // What nobody knows is no number.
    let accuracy = Some(accuracy).filter(|_| tested);
    let known = Some(ece).filter(|ece| !ece.is_nan());
    for share in accuracy.into_iter().chain(known).chain(per_class.iter().flatten()) {
        ensure!((0.0..=1.0).contains(share), "`{what}` holds {share}, expected a share from 0 to 1");
    }
    ensure!(per_class.len() == classes, "`{what}.per_class` has {} shares of {classes} classes", per_class.len());
    Ok(())
}
