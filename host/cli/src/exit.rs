//! How the program ends.

use std::process::ExitCode;

use querist_protocol::Shown;

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
}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// Prints an error with its causes and hints, and gives the exit code that it stands for.
pub fn report(error: &anyhow::Error) -> ExitCode {
    use std::io::{ErrorKind, Write};
    let broken_pipe = |e: &std::io::Error| e.kind() == ErrorKind::BrokenPipe;
    if error.chain().any(|cause| cause.downcast_ref().is_some_and(broken_pipe)) {
        // Whoever reads our output has seen enough.
        return ExitCode::SUCCESS;
    }
    let mut stderr = std::io::stderr().lock();
    if let Some(problems) = error.downcast_ref::<crate::config_file::Problems>() {
        let mut text = String::new();
        let _ = miette::GraphicalReportHandler::new().render_report(&mut text, problems);
        let _ = write!(stderr, "{text}");
        return ExitCode::from(2);
    }
    let mut said = error.to_string();
    let _ = writeln!(stderr, "error: {}", clean(&said));
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !said.contains(&text) {
            let _ = writeln!(stderr, "  caused by: {}", clean(&text));
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
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "hint: {}", clean(&hint));
    }
    if let Some(hinted) = error.downcast_ref::<Hinted>() {
        let _ = writeln!(stderr, "hint: {}", clean(&hinted.hint));
    }
    let usage = error.chain().any(|cause| cause.is::<Usage>() || is_wrong_config(cause));
    ExitCode::from(if usage { 2 } else { 1 })
}

/// Bytes of one message at most.
const MESSAGE_BYTES: usize = 16 << 10;

/// Names and texts of others stand in errors of every kind, system libraries' too; none reaches a terminal unseen.
fn clean(message: &str) -> Shown {
    Shown::lines(message, MESSAGE_BYTES)
}

/// Whether a dataset was asked for something that it never could give.
fn is_wrong_config(cause: &(dyn std::error::Error + 'static)) -> bool {
    use querist_data::DataError;
    matches!(cause.downcast_ref(), Some(DataError::UnknownDataset { .. } | DataError::Config { .. }))
}
