//! What a package is: the files it consists of, what it says of itself, and whom the user trusts. No code of a package
//! runs here.

pub mod combine;
pub mod component;
pub mod composite_text;
pub mod description;
pub mod discover;
pub mod file;
pub mod imports;
pub mod inspect;
pub(crate) mod library;
pub mod manifest;
pub mod metadata;
pub mod read;
pub mod refused;
pub mod trust;
pub mod write;
