//! Composites that cannot be made.

use super::members::MemberError;

/// Why a composite cannot be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum CompositeError {
    #[error("the composite's text: {0}")]
    Source(String),
    #[error("the composite's parameters: {0}")]
    Params(String),
    #[error("member `{member}`: {source}")]
    Member { member: String, source: MemberError },
}
