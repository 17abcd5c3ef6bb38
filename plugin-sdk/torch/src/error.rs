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
            Self::Torch(error) => StrategyError::Failed(told(&error.to_string(), "batch_size")),
        }
    }

    /// The same, and where it is one of libtorch with what to do about it: `memory` is the parameter that most lowers
    /// what the strategy takes of it.
    fn told(self, memory: &str) -> Self {
        match self {
            Self::Torch(error) => Self::failed(told(&error.to_string(), memory)),
            // A service of the host that found the device full.
            Self::Strategy(StrategyError::Fault(fault)) if is_full(&fault.message) => {
                Self::failed(told(&fault.message, memory))
            }
            other => other,
        }
    }
}

/// libtorch's message without its own call stack, and with what to do where that is known.
fn told(message: &str, memory: &str) -> String {
    let message = message.split("\nException raised from").next().unwrap_or_default().trim_end();
    match is_full(message) {
        true => format!("libtorch: {message}: lower the strategy's `{memory}`, or run on a device with more memory"),
        false => format!("libtorch: {message}"),
    }
}

fn is_full(message: &str) -> bool {
    message.contains("out of memory") || message.contains("not enough memory")
}

/// Runs plugin code in which methods of tch that panic where libtorch fails count as errors of libtorch; other panics
/// go on. `memory` is the parameter to lower where a device is full.
pub(crate) fn torch_panics_are_errors<T>(memory: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // A strategy whose hook failed is not called again, so what a panic left half done is seen by nobody.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.told(memory)),
        Err(payload) => match torch_message(&*payload) {
            Some(message) => Err(Error::failed(told(&message, memory))),
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
    use querist_protocol::FaultCode;
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn a_panic_of_tch_is_an_error_of_libtorch() {
        let error = torch_panics_are_errors("batch_size", || {
            let wide = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
            Ok(wide.matmul(&wide))
        });
        let text = error.unwrap_err().into_strategy().to_string();
        assert!(text.starts_with("libtorch: ") && text.contains("cannot be multiplied (2x3 and 2x3)"), "{text}");
        assert!(!text.contains("Exception raised from"), "{text}");
    }

    #[test]
    fn other_panics_go_on() {
        let caught = catch_unwind(|| torch_panics_are_errors("batch_size", || -> Result<()> { panic!("on purpose") }));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    }

    #[test]
    fn a_full_device_is_told_with_a_remedy() {
        let message = "CUDA out of memory. Tried to allocate 2 GiB\nException raised from malloc at x.cpp:3";
        let fault = Fault::new(FaultCode::BadArgument, message);
        for error in [Error::Torch(TchError::Torch(message.to_owned())), fault.into()] {
            let text = torch_panics_are_errors("subset_size", || Err::<(), _>(error)).unwrap_err().to_string();
            assert!(text.ends_with("with more memory") && text.contains("`subset_size`"), "{text}");
            assert!(text.contains("allocate 2 GiB") && !text.contains("x.cpp"), "{text}");
        }
    }
}
