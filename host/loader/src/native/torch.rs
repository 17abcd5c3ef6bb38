//! Which plugins this process can load, by the libtorch that they share with it.

use super::error::{NativeError, fail};
use crate::package::library::ReadIdentity;

/// The libtorch of this process, which plugins that share it must have been built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchBuild {
    /// Version, such as `2.11.0`.
    pub version: String,
    /// Whether its strings are those of C++11.
    pub cxx11: bool,
}

/// Whether a plugin fits this process.
pub(super) fn check(identity: &ReadIdentity, torch: Option<&TorchBuild>) -> Result<(), NativeError> {
    if identity.aborts {
        return fail(
            "built with `panic = \"abort\"`, so a panic would end the host: build it with `panic = \"unwind\"`",
        );
    }
    if !identity.torch {
        return Ok(());
    }
    let Some(torch) = torch else {
        return fail("it shares libtorch with the host, and this program has none: start it by `querist run`");
    };
    let (version, cxx11) = &identity.libtorch;
    if *version != torch.version || *cxx11 != torch.cxx11 {
        let flavour = |cxx11| if cxx11 { "C++11" } else { "old" };
        return fail(format!(
            "built for libtorch {version} ({} strings), this host runs {} ({} strings): rebuild it against the \
             libtorch that `querist doctor` names",
            flavour(*cxx11),
            torch.version,
            flavour(torch.cxx11)
        ));
    }
    Ok(())
}
