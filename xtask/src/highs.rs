//! Makes `.highs` exist: the solver that becomes part of the plugin `core-set`.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::setup::step;
use crate::wheels::{self, Wheel};

const VERSION: &str = "1.15.1";

/// Where the library lies in the folder.
const LIBRARY: &str = "lib/libhighs.so.1";

const WHEELS: [Wheel; 1] = [Wheel {
    requirement: "highspy==1.15.1",
    sha256: "9730647160a6481426729f46d9989a0507d05f3cf96f9fb180f4ab9891bea67b",
    libraries: &["highspy/libhighs.so.1"],
    headers: None,
}];

/// Makes `.highs` exist; does nothing where it does.
///
/// # Errors
/// If it cannot be fetched.
pub fn setup(root: &Path) -> Result<()> {
    let target = root.join(".highs");
    if !target.join(LIBRARY).is_file() {
        step(&format!("downloading HiGHS {VERSION}, 5 MB, once"));
        wheels::fetch(&WHEELS, &target, |new| {
            ensure!(new.join(LIBRARY).is_file(), "the wheel of HiGHS {VERSION} did not hold what was expected");
            Ok(())
        })?;
    }
    step(&format!("HiGHS {VERSION} is in {}", target.display()));
    Ok(())
}
