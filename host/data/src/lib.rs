//! Files to datasets and arrays, all checked.
//!
//! [`load`] turns a dataset's configuration into a [`querist_core::Dataset`]; [`fetch`] downloads the public sets it
//! knows (see [`catalogue`]); [`check`] verifies what lies on disk; [`arrays`] reads and writes `.npy`, `.npz` and
//! `.safetensors`. Nothing here trusts a file: every one is opened through `querist-files`, every size is checked
//! against the bytes that are there before memory is asked for, and archives are only ever read, never unpacked.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod archive;
pub mod arrays;
pub mod catalogue;
mod check;
mod cifar;
mod digits;
pub mod embeddings;
mod error;
mod fetch;
mod idx;
mod ignored;
mod labelled;
mod layout;
mod load;
mod matlab;
mod memory;
mod mini_imagenet;
mod order;
mod pickle;
mod picture;
mod picture_cache;
mod picture_files;
mod pictures;
mod places;
mod samples;
mod search;
mod shards;
mod source;
mod summary;
mod survey;
mod svhn;
mod tape;
mod vary;
mod walk;
mod zipped;

pub use arrays::{Kind, read_array};
pub use check::{CheckReport, FileReport, FileState, Listing, check, list};
pub use error::DataError;
pub use fetch::{FetchOptions, FetchProgress, Fetched, fetch};
pub use labelled::unknown::pictures_root;
pub use load::{load, load_unlabelled};
pub use search::Search;
pub use summary::Summary;
pub use survey::{Few, Understood};
pub use vary::vary;
