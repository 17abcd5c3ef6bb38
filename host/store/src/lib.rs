//! Packages from elsewhere: how they are fetched, whose word is believed, and where they are kept.
//!
//! Whoever made a package, serves it or answers in a server's name may be an enemy. So whatever comes is bounded while
//! it is read, compared with the digest that was stated, taken apart by what a package is made of and nothing else,
//! compared with the signature beside it, and made ready (imports, compilation, what it says of itself) before it gets
//! its place.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod archive;
pub mod cosign;
pub mod digest;
pub mod fetch;
#[doc(hidden)]
pub mod fuzzing;
pub mod keys;
mod oci;
mod offer;
pub mod origin;
pub mod registry;
pub mod signature;
pub mod store;

pub use digest::Digest;
pub use fetch::Client;
pub use keys::Keys;
pub use origin::Origin;
pub use registry::Registry;
pub use signature::Signature;
pub use store::{Install, Installed, Store, StoreError};

/// Why a folder of the user's own cannot be used.
fn reason_of(why: querist_files::CacheFolderError) -> String {
    use querist_files::CacheFolderError as Why;
    match why {
        Why::NotMade(error) => format!("its folder cannot be made: {error}"),
        Why::Io(error) => format!("its folder: {error}"),
        Why::NoFolder => "what should be its folder is none".to_owned(),
        Why::Foreign => "its folder belongs to another user".to_owned(),
        Why::Open => "others can write into its folder: close it with `chmod go-w`".to_owned(),
    }
}
