//! Write query strategies for Querist.
