//! From libtorch's errors to the learner's.

use std::fmt::Display;

use querist_core::LearnError;

/// Says what was being done when the tensor library failed.
pub(crate) trait Doing<T> {
    /// The value, or [`LearnError::Backend`].
    fn doing(self, doing: &'static str) -> Result<T, LearnError>;
}

impl<T, E: Display> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str) -> Result<T, LearnError> {
        self.map_err(|error| LearnError::Backend { doing, reason: reason(&error) })
    }
}

/// What libtorch says, without the frames of its own code.
pub(crate) fn reason(error: &impl Display) -> String {
    let said = error.to_string();
    said.split("\nException raised from").next().unwrap_or_default().trim_end().to_owned()
}

/// A setting that does not fit the data or the machine.
pub(crate) fn config<T>(message: impl Into<String>) -> Result<T, LearnError> {
    Err(LearnError::Config(message.into()))
}
