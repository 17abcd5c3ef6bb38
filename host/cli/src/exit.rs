//! How the program ends.

use querist_core::Limit;
use querist_protocol::Shown;

use crate::codes::Code;
use crate::{events, output};

/// Wrong usage or a wrong config: exit code 2 instead of 1.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error with advice of its own, which is told below it.
#[derive(Debug)]
pub struct Hinted {
    message: String,
    hint: String,
}

impl Hinted {
    /// `error` with advice.
    pub fn wrap(error: impl std::error::Error + Send + Sync + 'static, hint: String) -> anyhow::Error {
        let message = error.to_string();
        anyhow::Error::new(error).context(Self { message, hint })
    }

    /// An error of its own with advice.
    pub fn say(message: String, hint: String) -> anyhow::Error {
        anyhow::Error::new(Self { message, hint })
    }
}

impl std::error::Error for Hinted {}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// How the user of a verb gives limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitNames {
    /// Keys of a run file.
    Keys,
    /// Flags of the call.
    Flags,
    /// Arguments of a function.
    Arguments,
}

impl LimitNames {
    fn of(self, limit: Limit) -> &'static str {
        match (self, limit) {
            (Self::Keys, Limit::Seconds) => "limits.seconds",
            (Self::Keys, Limit::Memory) => "limits.memory",
            // No flag limits fuel.
            (_, Limit::Fuel) => "limits.fuel",
            (Self::Flags, Limit::Seconds) => "--seconds",
            (Self::Flags, Limit::Memory) => "--memory",
            (Self::Arguments, Limit::Seconds) => "seconds=",
            (Self::Arguments, Limit::Memory) => "memory=",
        }
    }
}

/// An error as it is told: to people, to programs, and to the language that a user calls from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What went wrong.
    pub message: String,
    /// Why, from the outside in.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hints: Vec<String>,
    /// What `querist explain` knows of it.
    pub kind: Option<&'static str>,
    /// Whether the call is at fault, so that the same call can never succeed.
    pub usage: bool,
}

impl Said {
    /// What is told of an error; `limits` is how the user gives limits.
    pub fn of(error: &anyhow::Error, limits: LimitNames) -> Self {
        if let Some(problems) = error.downcast_ref::<crate::config_file::Problems>() {
            let (message, causes) = (problems.to_string(), problems.messages());
            return Self { message, causes, hints: Vec::new(), kind: None, usage: true };
        }
        let (first, mut causes) = (error.to_string(), Vec::new());
        let mut said = first.clone();
        for cause in error.chain().skip(1) {
            let text = cause.to_string();
            if !said.contains(&text) {
                causes.push(clean(&text).into_string());
                said = text;
            }
        }
        let hint = error.chain().find_map(|cause| {
            let of_query = cause.downcast_ref::<querist_core::QueryError>().and_then(|error| error.hint.clone());
            let of_load = || match cause.downcast_ref::<querist_loader::LoadError>()? {
                querist_loader::LoadError::Query(error) => error.hint.clone(),
                _ => None,
            };
            of_query.or_else(of_load).or_else(|| match cause.downcast_ref::<querist_core::RunError>()? {
                querist_core::RunError::Query(error) => error.hint.clone(),
                _ => None,
            })
        });
        let hint = hint.map(|hint| hint.in_words(|limit| limits.of(limit)).to_string());
        let own = error.downcast_ref::<Hinted>().map(|hinted| hinted.hint.clone());
        let hints = hint.into_iter().chain(own).map(|hint| clean(&hint).into_string()).collect();
        let kind = Code::of(error).map(|kind| kind.entry().code);
        let usage = error.chain().any(|cause| cause.is::<Usage>() || is_wrong_config(cause));
        Self { message: clean(&first).into_string(), causes, hints, kind, usage }
    }

    /// The exit code that it stands for.
    fn code(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }
}

/// Prints an error with its causes and hints, and gives the exit code that it stands for.
///
/// `limits` is how the user gives limits.
pub fn report(error: &anyhow::Error, limits: LimitNames) -> u8 {
    if error.is::<output::Closed>() {
        return 0;
    }
    if let Some(problems) = error.downcast_ref::<crate::config_file::Problems>() {
        if events::are_json() {
            tell(&problems.to_string(), problems.messages(), Vec::new(), None, 2);
            return 2;
        }
        let mut text = String::new();
        let _ = miette::GraphicalReportHandler::new().render_report(&mut text, problems);
        say(&text);
        return 2;
    }
    let said = Said::of(error, limits);
    let code = said.code();
    tell(&said.message, said.causes, said.hints, said.kind, code);
    code
}

/// Tells an error with its causes and hints, as text or as an event. `kind` is what `querist explain` knows of it.
pub fn tell(message: &str, causes: Vec<String>, hints: Vec<String>, kind: Option<&'static str>, code: u8) {
    if events::are_json() {
        let shown = |texts: &[String]| texts.iter().map(|text| clean(text).into_string()).collect::<Vec<_>>();
        let fields = serde_json::json!({
            "message": clean(message).as_str(), "causes": shown(&causes), "hints": shown(&hints), "code": code,
            "kind": kind,
        });
        return events::tell("error", fields);
    }
    let causes: String = causes.iter().map(|cause| format!("  caused by: {}\n", clean(cause))).collect();
    let hints: String = hints.iter().map(|hint| format!("hint: {}\n", clean(hint))).collect();
    let kind = kind.map(|kind| format!("code: {kind} (`querist explain {kind}`)\n")).unwrap_or_default();
    say(&format!("error: {}\n{causes}{kind}{hints}", clean(message)));
}

fn say(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Bytes of one message at most.
const MESSAGE_BYTES: usize = 16 << 10;

/// Names and texts of others stand in errors of every kind, system libraries' too; none reaches a terminal unseen.
fn clean(message: &str) -> Shown {
    Shown::lines(message, MESSAGE_BYTES)
}

/// Whether the call, its files or its arrays are at fault, so that the same call can never succeed: datasets and arrays
/// that are not what they should be, and settings that do not fit them. What fails at work is none of these.
fn is_wrong_config(cause: &(dyn std::error::Error + 'static)) -> bool {
    use querist_core::LearnError;
    use querist_data::DataError;
    use querist_files::Reason;
    use querist_loader::package::trust::TrustError;
    use querist_loader::{LoadError, ResolveError};
    let of_data = cause.downcast_ref().is_some_and(|error| match error {
        DataError::File(error) => !matches!(error.reason, Reason::Io(_)),
        DataError::Io { .. } | DataError::Fetch { .. } | DataError::Busy { .. } => false,
        DataError::Cancelled | DataError::Memory { .. } => false,
        _ => true,
    });
    of_data
        || cause.is::<querist_core::FixedError>()
        || cause.is::<TrustError>()
        || matches!(cause.downcast_ref(), Some(LoadError::Isolation { .. }))
        || matches!(cause.downcast_ref::<ResolveError>(), Some(error) if !matches!(error, ResolveError::Folder { .. }))
        || matches!(cause.downcast_ref(), Some(LearnError::Config(_) | LearnError::Need { .. }))
}
