//! Codes of failures: the one table from which come what is printed, `querist explain` and docs/errors.md.

use std::error::Error;

use querist_core::{LearnError, OwnFaultKind, QueryErrorKind, RunError};
use querist_data::DataError;
use querist_loader::pack::PackError;
use querist_loader::package::refused::Refusal;
use querist_loader::package::trust::TrustError;
use querist_loader::package::write::WriteError;
use querist_loader::{LoadError, RefusedPackage, ResolveError, SandboxError};

use crate::config_file::Problems;

/// What there is to know about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The code, in kebab-case. It never changes its meaning.
    pub code: &'static str,
    /// What it means.
    pub means: &'static str,
    /// What usually leads to it.
    pub cause: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// A group of codes, as pages show them.
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// The codes.
    pub entries: Vec<Entry>,
}

macro_rules! codes {
    ($($name:ident $code:literal: $means:literal; $cause:literal; $advice:literal;)*) => {
        /// The kinds of failures that have a code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $(#[doc = $means] $name),* }

        impl Code {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What there is to know about it.
            pub fn entry(self) -> Entry {
                match self {
                    $(Self::$name => Entry { code: $code, means: $means, cause: $cause, advice: $advice }),*
                }
            }
        }
    };
}

codes! {
    ConfigInvalid "config-invalid":
        "A run or study file has keys or values that are not allowed.";
        "A misspelt key, a value of another type, or one outside its range.";
        "Every problem is shown at its line. `querist schema run` has all keys; `#:schema` in the file makes editors \
         complete and check them.";
    StrategyUnknown "strategy-unknown":
        "No package that was found has a strategy of this id.";
        "A misspelt id, a plugin folder that is not searched, or a package that is refused.";
        "`querist plugin list` shows every strategy and every refused package with its reason; `--plugin-dir DIR` adds \
         a folder.";
    StrategyAmbiguous "strategy-ambiguous":
        "Packages of different names have a strategy of this id.";
        "Two packages in the plugin folders offer the same id.";
        "Write `package/id`.";
    PluginFolder "plugin-folder":
        "A folder of `--plugin-dir` cannot be read.";
        "It is not there, is no folder, or may not be read.";
        "Name a folder that holds packages, not a package itself.";
    ParamsInvalid "params-invalid":
        "The strategy refuses its parameters.";
        "A parameter that contradicts another one, which no schema can say.";
        "`querist plugin show ID` lists the parameters with their meaning.";
    StrategyFailed "strategy-failed":
        "The strategy answered with an error of its own.";
        "It met a case that it cannot answer, which its message names.";
        "Read the message; for a built-in strategy or a host that failed, report it.";
    StrategyPanic "strategy-panic":
        "The strategy's code panicked.";
        "A bug of the plugin: an index out of range, an unwrap of nothing, an overflow.";
        "Tell its author the text and the call. Authors: `querist plugin check` finds most of these.";
    StrategyTrap "strategy-trap":
        "The strategy's code crashed in the sandbox.";
        "A bug of the plugin: memory out of bounds, a stack that overflowed, an abort.";
        "Tell its author. A build without `panic = \"abort\"` or with a panic hook says more.";
    LimitTime "limit-time":
        "The query ran past its wall-clock limit.";
        "A pool that is too large for the strategy, or a loop without an end.";
        "Raise `limits.seconds` or `--seconds`; docs/cost.md says how costs grow.";
    LimitMemory "limit-memory":
        "The strategy, or what the host made for it, ran past the memory limit or the number of handles.";
        "Arrays of its own over the whole pool, or a handle kept for every pick.";
        "Raise `limits.memory` or `--memory`. Authors: use kernels, and drop handles.";
    LimitFuel "limit-fuel":
        "The strategy used up its fuel.";
        "`limits.fuel` is set, and its own code needs more.";
        "Raise `limits.fuel`, or leave it out: the clock bounds a query as well.";
    AnswerMalformed "answer-malformed":
        "The strategy's answer or log cannot be taken.";
        "It is larger than its bound, or is no UTF-8.";
        "Tell its author; docs/plugin-authors.md has the bounds.";
    AnswerContract "answer-contract":
        "The strategy picked other rows than it was asked for.";
        "Too few or too many rows, a row twice, a row outside the pool, or scores that are no numbers.";
        "Tell its author; `querist plugin check` shows the smallest case. The host never fills up a short answer.";
    PackageDishonest "package-dishonest":
        "The package does something else than it says of itself.";
        "Its code describes itself otherwise than its manifest, or asks for arrays that are not declared.";
        "Do not use it before its author has packed it again.";
    Cancelled "cancelled":
        "The user stopped the work.";
        "Ctrl-C, SIGTERM or SIGHUP.";
        "Finished rounds are safe; the message has the command that goes on.";
    PackageFile "package-file":
        "A file of the package cannot be read.";
        "It is missing, too large, a link, no regular file, or lies outside the package's folder.";
        "Unpack the package again; links are not followed in folders of others.";
    PackageChanged "package-changed":
        "A file of the package changed between its check and its use.";
        "Somebody writes into the plugin folder while a query starts.";
        "Start again; if it happens once more, look who writes there.";
    PackageForm "package-form":
        "The package or its manifest is malformed.";
        "It was written by hand, is damaged, or is of a newer form than this program reads.";
        "Make it with `querist plugin pack`; nobody writes a manifest by hand.";
    PackageNotPacked "package-not-packed":
        "What a compiler made is no package yet.";
        "A core module, a component without a manifest, or a bare library lies in a plugin folder.";
        "`querist plugin pack FILE --out DIR`.";
    PackageDisagrees "package-disagrees":
        "The manifest or a schema beside the artifact says something else than the artifact.";
        "A file was edited after packing, or files of two versions were mixed.";
        "Pack the artifact again, or get the whole package anew.";
    PackageBoundary "package-boundary":
        "The package was built for another version of the boundary between host and plugins.";
        "The plugin is newer or much older than this program.";
        "Use a release of the plugin for this version, or the program that the message names; authors build again.";
    PackageImports "package-imports":
        "The component imports what a sandboxed strategy may not have.";
        "It was built with WASI, so it asks for files, clocks or sockets.";
        "Build for `wasm32-unknown-unknown`; with componentize-py give `--stub-wasi`, with ComponentizeJS disable all \
         features.";
    PackageSchema "package-schema":
        "What the package says of a strategy breaks a rule: its schema, its needs or its texts.";
        "A schema without bounds, with a remote reference or a costly one; a need that does not exist; hidden letters.";
        "Tell its author; the message names the place. docs/plugin-authors.md has the rules.";
    PackageName "package-name":
        "The package has a name that cannot be used.";
        "Other letters than a-z, 0-9 and `-`, or the name of a built-in package.";
        "Give it another name.";
    PackageLibrary "package-library":
        "A native library cannot be loaded by this host.";
        "It is for another processor, has no identity, or was built against another ABI.";
        "Build it on this machine with the SDK of this release.";
    NativeUntrusted "native-code":
        "The package is native code, which nobody allowed to run.";
        "Native packages run only if their very artifact is locked and `--allow-native` is given.";
        "If you trust it: `querist plugin lock PACKAGE` and `--allow-native`. If not: `--isolate`.";
    IsolationImpossible "isolation-impossible":
        "The package cannot run in a worker process.";
        "It shares libtorch with the host, or asks the model's head while it picks.";
        "If you trust it, lock it and use `--allow-native`; if not, do without it.";
    NotLocked "not-locked":
        "`--locked` is given, and the package is not in querist.lock.";
        "The package is new to the project.";
        "`querist plugin lock PACKAGE`, after a look at it with `querist plugin inspect`.";
    LockDrift "lock-drift":
        "The package is not the one that querist.lock names.";
        "It was updated, rebuilt or exchanged.";
        "If you meant to change it, lock it again; if not, find out who did.";
    LockFile "lock-file":
        "querist.lock cannot be used.";
        "It was edited, damaged, or written by a newer program.";
        "Restore it from version control, or write it anew with `querist plugin lock`.";
    SandboxEngine "sandbox-engine":
        "The WebAssembly engine cannot run on this machine.";
        "Too little address space (`ulimit -v`), or a processor without the needed instructions.";
        "Raise the limit of address space; the sandbox reserves much of it and uses little.";
    SandboxCompile "sandbox-compile":
        "A component cannot be compiled.";
        "It is no valid component, is not of this boundary, or takes longer than its size allows.";
        "Build it again; a component of a megabyte takes a second.";
    CacheUnusable "cache-unusable":
        "The cache of compiled components cannot be used.";
        "Its folder belongs to somebody else, is open to others, or the disk is full.";
        "`querist doctor` names the folder; set QUERIST_CACHE to another one.";
    LoadFailed "load-failed":
        "A package was read but its code cannot be made ready.";
        "The message of its route says why: another libtorch, a worker that does not start, a member that is missing.";
        "Read the causes below the first line.";
    NeedUnmet "need-unmet":
        "The strategy needs an array that this model or data cannot give.";
        "No dropout for draws, no ensemble for members, a head of several layers.";
        "The message names the key that would help; else choose another strategy.";
    TrainingDiverged "training-diverged":
        "Training ended in a loss that is no number.";
        "A learning rate that is too high, or half precision without need.";
        "Lower `recipe.lr`, raise `recipe.warmup`, or set `recipe.clip`.";
    TrainingFailed "training-failed":
        "The tensor library failed.";
        "No memory on the device, a driver that does not fit, a file that is damaged.";
        "`querist doctor` says what is there; smaller minibatches need less.";
    LearnerEnded "learner-ended":
        "A learner of your own ended, or was ended, before its answer.";
        "An error of its own, no memory, a command or an interpreter that is not there.";
        "Its last lines are in the message, all of them in `learner.log` of the run folder; `--resume` goes on.";
    LearnerTime "learner-time":
        "A learner of your own took longer than it may.";
        "It hangs, it waits for input, or the work takes longer than expected.";
        "Raise `learner.limits`, or look where it hangs: `querist learner check`.";
    LearnerAnswer "learner-answer":
        "What a learner of your own wrote is no answer, or its arrays are not what was asked for.";
        "It prints to standard output, has rows in another order or number, or values that are no numbers.";
        "docs/external-learners.md has messages and shapes; `querist learner check` tries each.";
    LearnerRefused "learner-refused":
        "A learner of your own said that it failed.";
        "What its message says.";
        "Look into `learner.log` of the run folder; `--resume` goes on.";
    SettingsUnfit "settings-unfit":
        "Settings do not fit the data, the model or the machine.";
        "A device that is not there, images of another size, weights of another network.";
        "The message names the key.";
    DataUnknown "data-unknown":
        "No dataset has this name.";
        "A misspelt name.";
        "`querist data list` has all; for your own pictures see docs/data.md.";
    DataMissing "data-missing":
        "Files of the dataset are not where they should be.";
        "It was not fetched, or `dataset.path` names another folder.";
        "`querist data fetch NAME`, or set `dataset.path`.";
    DataUnfit "data-unfit":
        "The dataset cannot give what the configuration asks for.";
        "No test set of its own, a split larger than the data, an unknown column.";
        "The message names the key; `querist data check` shows what is there.";
    DataMalformed "data-malformed":
        "A file of the dataset is not what its format says.";
        "A download that was cut, a file of another format under this name.";
        "`querist data check NAME` verifies every file; fetch what differs again.";
    DataFetch "data-fetch":
        "A dataset could not be downloaded, or another process is at it.";
        "No network, a server that is down, a mirror that lacks the file.";
        "Start again: it goes on where it stopped. `--mirror URL` takes another server.";
    DataMemory "data-memory":
        "There is not enough memory for the dataset.";
        "Large pictures, all in memory.";
        "Lower `dataset.size` or `dataset.in_memory`.";
    RunUnsaved "run-unsaved":
        "A round could not be written.";
        "The disk is full, or the folder may not be written.";
        "Make room; finished rounds are safe, and `--resume` goes on.";
}

impl Code {
    /// The code of an error: that of the deepest cause that has one.
    pub fn of(error: &anyhow::Error) -> Option<Self> {
        error.chain().filter_map(of_cause).last()
    }
}

fn of_cause(cause: &(dyn Error + 'static)) -> Option<Code> {
    if cause.is::<Problems>() {
        return Some(Code::ConfigInvalid);
    }
    let query = cause.downcast_ref::<querist_core::QueryError>().map(|error| of_query(error.kind));
    let package = cause.downcast_ref::<RefusedPackage>().map(|refused| of_package(refused.kind));
    query
        .or(package)
        .or_else(|| cause.downcast_ref().map(of_resolving))
        .or_else(|| cause.downcast_ref().map(of_trust))
        .or_else(|| cause.downcast_ref().map(of_sandbox))
        .or_else(|| cause.downcast_ref().and_then(of_packing))
        .or_else(|| cause.downcast_ref().map(of_loading))
        .or_else(|| cause.downcast_ref().map(of_learner))
        .or_else(|| cause.downcast_ref().and_then(of_run))
        .or_else(|| cause.downcast_ref().and_then(of_data))
}

fn of_query(kind: QueryErrorKind) -> Code {
    match kind {
        QueryErrorKind::InvalidParams => Code::ParamsInvalid,
        QueryErrorKind::Failed => Code::StrategyFailed,
        QueryErrorKind::Panic => Code::StrategyPanic,
        QueryErrorKind::Trap => Code::StrategyTrap,
        QueryErrorKind::Timeout => Code::LimitTime,
        QueryErrorKind::Memory => Code::LimitMemory,
        QueryErrorKind::Fuel => Code::LimitFuel,
        QueryErrorKind::Output => Code::AnswerMalformed,
        QueryErrorKind::Contract => Code::AnswerContract,
        QueryErrorKind::Dishonest => Code::PackageDishonest,
        QueryErrorKind::Cancelled => Code::Cancelled,
    }
}

/// The code of a package that is refused.
pub fn of_package(kind: Refusal) -> Code {
    match kind {
        Refusal::File => Code::PackageFile,
        Refusal::Changed => Code::PackageChanged,
        Refusal::Form => Code::PackageForm,
        Refusal::NotPacked => Code::PackageNotPacked,
        Refusal::Disagrees => Code::PackageDisagrees,
        Refusal::Boundary => Code::PackageBoundary,
        Refusal::Imports => Code::PackageImports,
        Refusal::Schema => Code::PackageSchema,
        Refusal::Name => Code::PackageName,
        Refusal::Library => Code::PackageLibrary,
    }
}

fn of_resolving(error: &ResolveError) -> Code {
    match error {
        ResolveError::Unknown { .. } | ResolveError::Digest { .. } | ResolveError::NoDigest { .. } => {
            Code::StrategyUnknown
        }
        ResolveError::Ambiguous { .. } => Code::StrategyAmbiguous,
        ResolveError::Folder { .. } => Code::PluginFolder,
    }
}

fn of_trust(error: &TrustError) -> Code {
    match error {
        TrustError::LockFile { .. } => Code::LockFile,
        TrustError::NotLocked { .. } => Code::NotLocked,
        TrustError::Drift { .. } => Code::LockDrift,
        TrustError::Native { .. } => Code::NativeUntrusted,
        TrustError::Refused(refused) => of_package(refused.kind),
    }
}

fn of_sandbox(error: &SandboxError) -> Code {
    match error {
        SandboxError::Engine(_) => Code::SandboxEngine,
        SandboxError::Refused(refused) => of_package(refused.kind),
        SandboxError::Cache(_) => Code::CacheUnusable,
        _ => Code::SandboxCompile,
    }
}

fn of_packing(error: &PackError) -> Option<Code> {
    match error {
        PackError::Refused(refused) | PackError::Write(WriteError::Refused(refused)) => Some(of_package(refused.kind)),
        PackError::Sandbox(error) => Some(of_sandbox(error)),
        PackError::Native(_) | PackError::Describe(_) | PackError::Composite(_) => Some(Code::LoadFailed),
        PackError::Encode(_) => Some(Code::PackageForm),
        PackError::Write(_) => None,
    }
}

fn of_loading(error: &LoadError) -> Code {
    match error {
        LoadError::Query(error) => of_query(error.kind),
        LoadError::Isolation { .. } => Code::IsolationImpossible,
        _ => Code::LoadFailed,
    }
}

fn of_own(kind: OwnFaultKind) -> Code {
    match kind {
        OwnFaultKind::Ended => Code::LearnerEnded,
        OwnFaultKind::Time => Code::LearnerTime,
        OwnFaultKind::Answer => Code::LearnerAnswer,
        OwnFaultKind::Refused => Code::LearnerRefused,
        OwnFaultKind::Disk => Code::RunUnsaved,
    }
}

fn of_learner(error: &LearnError) -> Code {
    match error {
        LearnError::Need { .. } => Code::NeedUnmet,
        LearnError::Diverged { .. } => Code::TrainingDiverged,
        LearnError::Config(_) => Code::SettingsUnfit,
        LearnError::Own(fault) => of_own(fault.kind),
        LearnError::Strategy(error) => of_query(error.kind),
        LearnError::Cancelled(_) => Code::Cancelled,
        _ => Code::TrainingFailed,
    }
}

fn of_run(error: &RunError) -> Option<Code> {
    match error {
        RunError::Learn(error) => Some(of_learner(error)),
        RunError::Query(error) => Some(of_query(error.kind)),
        RunError::Contract { .. } | RunError::Synthetic { .. } => Some(Code::AnswerContract),
        RunError::Fixed(_) | RunError::Arrays(_) | RunError::Subset { .. } => Some(Code::SettingsUnfit),
        RunError::Observer(_) => Some(Code::RunUnsaved),
        _ => None,
    }
}

fn of_data(error: &DataError) -> Option<Code> {
    match error {
        DataError::UnknownDataset { .. } => Some(Code::DataUnknown),
        DataError::Missing { .. } | DataError::MissingPictures { .. } => Some(Code::DataMissing),
        DataError::Config { .. } | DataError::Dataset(_) => Some(Code::DataUnfit),
        DataError::Malformed { .. } => Some(Code::DataMalformed),
        DataError::Fetch { .. } | DataError::Busy { .. } => Some(Code::DataFetch),
        DataError::Memory { .. } => Some(Code::DataMemory),
        DataError::Cancelled => Some(Code::Cancelled),
        _ => None,
    }
}
