//! Why a strategy gives no answer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use querist_protocol::{Fault, StrategyError};
use tch::TchError;

/// What a strategy answers, or why it does not.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a strategy gives no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The strategy says so.
    #[error(transparent)]
    Strategy(#[from] StrategyError),
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Strategy(fault.into())
    }
}

impl Error {
    /// An error with a sentence of the strategy's own.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Strategy(StrategyError::Failed(message.into()))
    }

    /// As it crosses to the host.
    pub fn into_strategy(self) -> StrategyError {
        match self {
            Self::Strategy(error) => error,
            Self::Torch(error) => StrategyError::Failed(told(&error.to_string())),
        }
    }
}

/// libtorch's message without its own call stack, and with what to do where that is known.
fn told(message: &str) -> String {
    let message = message.split("\nException raised from").next().unwrap_or_default().trim_end();
    match message.contains("out of memory") || message.contains("not enough memory") {
        true => format!("libtorch: {message}: lower the strategy's `batch_size`, or run on a device with more memory"),
        false => format!("libtorch: {message}"),
    }
}

/// Runs plugin code in which methods of tch that panic where libtorch fails count as errors of libtorch; other panics go
/// on.
pub(crate) fn torch_panics_are_errors<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // A strategy whose hook failed is not called again, so what a panic left half done is seen by nobody.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => match torch_message(&*payload) {
            Some(message) => Err(Error::failed(told(&message))),
            None => resume_unwind(payload),
        },
    }
}

/// The message of libtorch in the panic of a `Result::unwrap` on one of tch's errors.
fn torch_message(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<String>()?;
    let (_, quoted) = text.split_once("value: Torch(\"")?;
    Some(quoted.strip_suffix("\")").unwrap_or(quoted).replace("\\n", "\n").replace("\\\"", "\""))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn a_panic_of_tch_is_an_error_of_libtorch() {
        let error = torch_panics_are_errors(|| {
            let wide = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
            Ok(wide.matmul(&wide))
        });
        let text = error.unwrap_err().into_strategy().to_string();
        assert!(text.starts_with("libtorch: ") && text.contains("cannot be multiplied (2x3 and 2x3)"), "{text}");
        assert!(!text.contains("Exception raised from"), "{text}");
    }

    #[test]
    fn other_panics_go_on() {
        let caught = catch_unwind(|| torch_panics_are_errors(|| -> Result<()> { panic!("on purpose") }));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    }

    #[test]
    fn a_full_device_is_told_with_a_remedy() {
        let text = told("CUDA out of memory. Tried to allocate 2 GiB\nException raised from malloc at x.cpp:3");
        assert!(
            text.ends_with("with more memory") && text.contains("`batch_size`") && !text.contains("x.cpp"),
            "{text}"
        );
    }
}
