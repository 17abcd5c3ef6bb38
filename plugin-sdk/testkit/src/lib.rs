//! Conformance tests for plugins: what every strategy must do, whoever wrote it.
//!
//! [`conforms`] takes any strategy behind [`Make`]: a sandboxed one, or with [`Native`] the same source built natively.
#![deny(missing_docs)]

mod native;
pub mod question;

pub use querist_conformance::{Make, cases, conforms};

pub use native::{Native, NativeMaker, ask, settled};
pub use question::Question;
