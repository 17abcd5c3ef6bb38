//! Making a package ready before it is used.

use querist_core::StrategyKind;

use super::instance::describe;
use super::sandbox::Sandbox;
use crate::package::read::CheckedPackage;
use crate::run::answer::check_described;
use crate::run::error::LoadError;
use crate::run::limits::Limits;

/// Compiles a sandboxed package ahead of its use, and checks that it is a strategy of this boundary which says of
/// itself what its manifest says. Of packages of other kinds nothing can be made ready, and no code of theirs runs.
///
/// # Errors
/// If it cannot be compiled within bounds, exports something else, or describes itself otherwise.
pub fn make_ready(package: &CheckedPackage, sandbox: &Sandbox) -> Result<(), LoadError> {
    if package.kind != StrategyKind::Wasm {
        return Ok(());
    }
    let name = &package.description.package;
    let component =
        sandbox.load(&package.artifact, &package.digest).map_err(|source| LoadError::artifact(name, source))?;
    let described = describe(sandbox, &component, &Limits::default());
    let first = package.description.strategies.first().map_or("", |strategy| strategy.id.as_str());
    Ok(check_described(described, &package.description).map_err(|failure| failure.of(&package.identity(first)))?)
}
