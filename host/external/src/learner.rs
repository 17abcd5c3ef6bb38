//! The trait [`Learner`] over a process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use querist_core::config::LearnerConfig;
use querist_core::progress::{Phase, Progress};
use querist_core::{
    Array, Dataset, FeatureTask, FitTask, Fitted, Label, LearnError, Learner, OwnFaultKind, Round, SampleId, Seeds,
};
use querist_protocol::{Need, Rows, Shown, TrainOverrides, names};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::PROTOCOL;
use crate::exchange::{Exchange, Expected};
use crate::offer::{Input, Offer, Wanted};
use crate::process::{Asked, Process};

/// Bytes of the options that a learner is told.
const MOST_OPTIONS: usize = 32 << 10;
/// Figures of a training that a learner may hand over, and bytes of a name.
const MOST_FIGURES: usize = 64;
const MOST_FIGURE_NAME: usize = 64;
/// What names of its figures begin with in records.
const FIGURES: &str = "learner.";
/// The file of the run folder that has what the learner wrote to standard error.
const LOG: &str = "learner.log";

/// What a learner of the user's own needs beside the data.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// The command, its options and limits.
    pub config: &'a LearnerConfig,
    /// Words that start the command, before its own; none where it is started as it is.
    pub starter: Vec<OsString>,
    /// Seeds of the run.
    pub seeds: Seeds,
    /// Threads that it should use.
    pub threads: usize,
    /// Folder of the run, which need not exist before the first training.
    pub folder: PathBuf,
}

/// A learner that is a program of the user's own.
pub struct External<'a> {
    // Before the folder: it ends first.
    process: Process,
    exchange: Option<Exchange>,
    offer: Offer,
    dataset: &'a Dataset,
    settings: Settings<'a>,
    /// The round of the training before.
    fitted: Option<Round>,
}

/// What a learner says of a training.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FitAnswer {
    figures: BTreeMap<String, f64>,
}

impl<'a> External<'a> {
    /// Starts the program and asks what it can do.
    ///
    /// # Errors
    /// If it cannot be started, or says nothing that can be used.
    pub fn start(dataset: &'a Dataset, settings: Settings<'a>, progress: &dyn Progress) -> Result<Self, LearnError> {
        let options = Value::Object(settings.config.options.clone());
        let length = options.to_string().len();
        if length > MOST_OPTIONS {
            let message = format!("learner.options are {length} bytes as JSON, expected at most {MOST_OPTIONS}");
            return Err(LearnError::Config(message));
        }
        let mut process = Process::start(&settings.starter, &settings.config.command)?;
        let doing = "asked what it can do";
        let hello = object(json!({
            "do": "hello", "protocol": PROTOCOL, "querist": env!("CARGO_PKG_VERSION"), "options": options,
        }));
        let asked = Asked {
            request: hello,
            doing,
            limit: Duration::from_secs_f64(settings.config.limits.start),
            limit_key: "learner.limits.start",
        };
        let answer = process.ask(asked, &mut |done, of| progress.report(Phase::Fit, done, of.max(1)))?;
        let offer = Offer::read(answer).map_err(|found| answer_fault(&process, doing, &found))?;
        check_data(&offer, dataset)?;
        Ok(Self { process, exchange: None, offer, dataset, settings, fitted: None })
    }

    /// What it says of itself.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Hands the data over, before the first training.
    fn begin(&mut self, progress: &dyn Progress) -> Result<(), LearnError> {
        if self.exchange.is_some() {
            return Ok(());
        }
        let doing = "taking over the data";
        let log = self.log(&self.settings.folder).map_err(|error| self.disk(doing, &error))?;
        self.process.said().write_to(log);
        let exchange = Exchange::new(&self.settings.folder).map_err(|error| self.disk(doing, &error))?;
        let files = exchange.give_data(self.dataset, &self.offer.reads);
        let mut request = object(json!({
            "do": "start", "folder": exchange.path().to_string_lossy(), "threads": self.settings.threads,
            "classes": self.dataset.class_names(), "samples": self.dataset.len(),
        }));
        request.extend(files.map_err(|error| self.disk(doing, &error))?);
        self.exchange = Some(exchange);
        let limits = &self.settings.config.limits;
        let limit = (limits.start, "learner.limits.start");
        let answer = self.ask(request, doing, limit, (Phase::Fit, progress))?;
        self.no_more(answer, doing)
    }

    /// Where its standard error goes: to the end of the file, where the run goes on.
    fn log(&self, folder: &Path) -> Result<std::fs::File, String> {
        let mut file = querist_files::open_or_create(&folder.join(LOG)).map_err(|error| error.to_string())?;
        file.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
        Ok(file)
    }

    fn ask(
        &mut self,
        request: Map<String, Value>,
        doing: &str,
        (seconds, limit_key): (f64, &'static str),
        (phase, progress): (Phase, &dyn Progress),
    ) -> Result<Map<String, Value>, LearnError> {
        let asked = Asked { request, doing, limit: Duration::from_secs_f64(seconds), limit_key };
        self.process.ask(asked, &mut |done, of| progress.report(phase, done.min(of), of.max(1)))
    }

    /// Asks for arrays over some samples, or over classes alone.
    fn predict(
        &mut self,
        samples: &[SampleId],
        wanted: &[Wanted],
        (phase, progress): (Phase, &dyn Progress),
    ) -> Result<Vec<Array>, LearnError> {
        let Some(round) = self.fitted else {
            return Err(LearnError::Config("the learner was asked before it was trained".to_owned()));
        };
        let doing = format!("computing {} in round {round}", names_of(wanted));
        let number = self.process.number() + 1;
        let sample_file = format!("{number}-samples.npy");
        let exchange = self.exchange()?;
        exchange.give_numbers(&sample_file, numbers(samples)).map_err(|error| self.disk(&doing, &error))?;
        let files: Vec<String> = (0..wanted.len()).map(|at| format!("{number}-{at}-{}.npy", wanted[at].name)).collect();
        let rows: Vec<usize> = wanted.iter().map(|array| self.rows_of(array, samples)).collect();
        let array = |((array, file), &rows): ((&Wanted, &String), &usize)| {
            let mut message = array.message();
            let shape: Vec<Option<usize>> = std::iter::once(Some(rows)).chain(array.row.iter().copied()).collect();
            message.extend([("file".to_owned(), json!(file)), ("shape".to_owned(), json!(shape))]);
            message
        };
        let arrays: Vec<_> = wanted.iter().zip(&files).zip(&rows).map(array).collect();
        let request = object(json!({
            "do": "predict", "round": round.0, "seed": self.seed("predict", round), "samples": sample_file,
            "arrays": arrays,
        }));
        let limit = (self.settings.config.limits.predict, "learner.limits.predict");
        let answer = self.ask(request, &doing, limit, (phase, progress))?;
        self.no_more(answer, &doing)?;
        let exchange = self.exchange()?;
        exchange.done_with(&sample_file);
        let taken = wanted
            .iter()
            .zip(&files)
            .zip(&rows)
            .map(|((array, file), &rows)| exchange.take(Expected { file, rows, row: &array.row }));
        taken.collect::<Result<_, String>>().map_err(|found| answer_fault(&self.process, &doing, &found))
    }

    fn rows_of(&self, array: &Wanted, samples: &[SampleId]) -> usize {
        if array.rows == Rows::Classes { self.dataset.classes() } else { samples.len() }
    }

    fn exchange(&self) -> Result<&Exchange, LearnError> {
        self.exchange.as_ref().ok_or_else(|| LearnError::Config("the learner has not begun".to_owned()))
    }

    /// A seed for the learner's own generators, small enough for any of them.
    fn seed(&self, tag: &str, round: Round) -> u64 {
        self.settings.seeds.model_stream(&format!("learner {tag}"), round).item_bits(0, 0) >> 32
    }

    /// An answer that says no more than that it is done.
    fn no_more(&self, answer: Map<String, Value>, doing: &str) -> Result<(), LearnError> {
        match answer.keys().next() {
            None => Ok(()),
            Some(key) => {
                let found = format!("its answer has `{}`, expected `\"ok\": {{}}`", Shown::name(key));
                Err(answer_fault(&self.process, doing, &found))
            }
        }
    }

    fn disk(&self, doing: &str, error: &str) -> LearnError {
        self.process.fault(OwnFaultKind::Disk, doing, &format!("could not be handed its data: {error}"))
    }

    fn figures(&self, answer: Map<String, Value>, doing: &str) -> Result<BTreeMap<String, f64>, LearnError> {
        let fault = |found: &str| answer_fault(&self.process, doing, found);
        let answer: FitAnswer = serde_json::from_value(Value::Object(answer))
            .map_err(|error| fault(&format!("its answer: {}", Shown::sentence(&error.to_string()))))?;
        if answer.figures.len() > MOST_FIGURES {
            return Err(fault(&format!("{} figures, expected {MOST_FIGURES} at most", answer.figures.len())));
        }
        let fits = |name: &str| {
            let is_fitting = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            (1..=MOST_FIGURE_NAME).contains(&name.len()) && name.chars().all(is_fitting)
        };
        match answer.figures.iter().find(|(name, value)| !fits(name) || !value.is_finite()) {
            None => {}
            Some((name, value)) => {
                let name = Shown::name(name);
                return Err(fault(&format!(
                    "the figure `{name}` of {value}; expected finite numbers, and 1 to {MOST_FIGURE_NAME} letters, \
                     digits, `_`, `-` and `.` in a name"
                )));
            }
        }
        Ok(answer.figures.into_iter().map(|(name, value)| (format!("{FIGURES}{name}"), value)).collect())
    }
}

impl Learner for External<'_> {
    fn check_needs(&self, needs: &[Need]) -> Result<(), LearnError> {
        self.offer.check(needs, self.dataset.classes())
    }

    fn check_untrained(&self, _needs: &[Need]) -> Result<(), LearnError> {
        if self.offer.untrained {
            return Ok(());
        }
        Err(LearnError::Config(format!(
            "budget.initial is 0, and the learner `{}` does not say that it can be asked before anything is labelled \
             (`untrained`); label some samples first",
            Shown::name(&self.offer.name)
        )))
    }

    fn fit(&mut self, task: FitTask<'_>, progress: &dyn Progress) -> Result<Fitted, LearnError> {
        if task.hooks.is_some() || !task.synthetic.is_empty() {
            let message = "the strategy takes part in training, which a learner of your own does by itself; choose \
                           another strategy, or a model of this program";
            return Err(LearnError::Config(message.to_owned()));
        }
        self.begin(progress)?;
        let round = task.scope.round;
        let doing = format!("training for round {round}");
        let number = self.process.number() + 1;
        let mut files = Vec::new();
        let mut give = |what: &str, labels: &[(SampleId, Label)]| -> Result<Value, LearnError> {
            let exchange = self.exchange()?;
            let names = ["samples", "labels"].map(|part| format!("{number}-{what}-{part}.npy"));
            let (samples, labels): (Vec<SampleId>, Vec<Label>) = labels.iter().copied().unzip();
            exchange
                .give_numbers(&names[0], numbers(&samples))
                .and_then(|()| exchange.give_numbers(&names[1], labels.iter().map(|label| i64::from(label.0))))
                .map_err(|error| self.disk(&doing, &error))?;
            files.extend(names.clone());
            Ok(json!({ "samples": names[0], "labels": names[1] }))
        };
        let mut request = object(json!({ "do": "fit", "round": round.0, "seed": self.seed("fit", round) }));
        request.extend(object(give("fit", task.scope.labelled)?));
        let validation = if self.offer.validation { task.validation } else { &[] };
        if !validation.is_empty() {
            request.insert("validation".to_owned(), give("validation", validation)?);
        }
        let arrays = task.needs.iter().filter_map(|need| self.offer.wanted(need, self.dataset.classes()).ok());
        let arrays: Vec<_> = arrays.map(|array| array.message()).collect();
        request.insert("arrays".to_owned(), json!(arrays));
        self.fitted = None;
        let limit = (self.settings.config.limits.fit, "learner.limits.fit");
        let answer = self.ask(request, &doing, limit, (Phase::Fit, progress))?;
        let metrics = self.figures(answer, &doing)?;
        self.fitted = Some(round);
        files.iter().try_for_each(|file| self.exchange().map(|exchange| exchange.done_with(file)))?;
        Ok(Fitted { metrics, validation_labels: validation.len(), ..Fitted::default() })
    }

    fn restore(&mut self, _model: &[u8], _overrides: &TrainOverrides) -> Result<(), LearnError> {
        Err(LearnError::Config("a learner of your own trains from the start in each round".to_owned()))
    }

    fn logits(&mut self, samples: &[SampleId], progress: &dyn Progress) -> Result<Vec<f32>, LearnError> {
        let logits = self.offer.wanted(&Need::new(names::LOGITS), self.dataset.classes())?;
        let arrays = self.predict(samples, &[logits], (Phase::Evaluate, progress))?;
        Ok(arrays.iter().filter_map(Array::as_f32).flat_map(|values| values.iter().copied()).collect())
    }

    fn features(
        &mut self,
        task: FeatureTask<'_>,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Array>, LearnError> {
        let mut named = BTreeMap::new();
        let mut left: Vec<&Need> = task.needs.iter().collect();
        // What is of the same samples is asked for at once, so that pictures are gone through once.
        while let Some(&first) = left.first() {
            let samples = task.samples(first);
            let (now, later): (Vec<&Need>, Vec<&Need>) =
                left.into_iter().partition(|need| std::ptr::eq(task.samples(need), samples));
            let wanted = now.iter().map(|need| self.offer.wanted(need, self.dataset.classes()));
            let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
            let arrays = self.predict(samples, &wanted, (Phase::Features, progress))?;
            named.extend(now.iter().map(|need| need.name().to_owned()).zip(arrays));
            left = later;
        }
        Ok(named)
    }

    fn model(&self) -> Result<Vec<u8>, LearnError> {
        Err(LearnError::Config("the models of a learner of your own stay with it".to_owned()))
    }

    fn backend(&self) -> String {
        format!("{} {}", self.offer.name, self.offer.version)
    }

    fn take_peak_memory(&mut self) -> Option<u64> {
        None
    }
}

/// Whether the dataset has what the learner reads.
fn check_data(offer: &Offer, dataset: &Dataset) -> Result<(), LearnError> {
    let has = |input: &Input| match input {
        Input::Ids => true,
        Input::Images => dataset.images().image_len() > 0,
        Input::Embeddings => dataset.embeddings().is_some(),
    };
    match offer.reads.iter().find(|input| !has(input)) {
        None => Ok(()),
        Some(input) => {
            let what = if *input == Input::Images { "images" } else { "embeddings" };
            let (learner, dataset) = (Shown::name(&offer.name), dataset.name());
            Err(LearnError::Config(format!(
                "the learner `{learner}` reads {what}, and the dataset `{dataset}` has none; choose another dataset"
            )))
        }
    }
}

fn answer_fault(process: &Process, doing: &str, found: &str) -> LearnError {
    process.fault(OwnFaultKind::Answer, doing, &format!("broke the protocol: {found}"))
}

fn numbers(samples: &[SampleId]) -> impl Iterator<Item = i64> {
    samples.iter().map(|sample| sample.0 as i64)
}

fn names_of(wanted: &[Wanted]) -> String {
    wanted.iter().map(|array| format!("`{}`", array.name)).collect::<Vec<_>>().join(", ")
}

/// The object that a literal is.
fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}
