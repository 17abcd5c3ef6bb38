//! Native libraries: who one is, read from its file before any of its code is loaded.

use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, FileHeader};
use object::{Architecture, Endianness, Object, ObjectSection};
use querist_protocol::abi::{self, Identity};

use super::refused::{Refusal, RefusedPackage, refuse_as};

/// The identity section of a file, checked for what this host can load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadIdentity {
    /// Version of the native boundary, major and minor.
    pub abi: (u16, u16),
    /// Compiler.
    pub compiler: String,
    /// Target triple.
    pub target: String,
    /// Name of the package.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// Whether libtorch is shared.
    pub torch: bool,
    /// Version of libtorch that it was built with, and whether its strings are those of C++11.
    pub libtorch: (String, bool),
    /// Whether a panic ends the process.
    pub aborts: bool,
    /// SHA-256 of the description, zeros if it was not packed.
    pub description: [u8; 32],
    /// Where in the file that SHA-256 stands.
    pub description_offset: usize,
}

/// A library that this host cannot load.
fn not_loadable(reason: impl AsRef<str>) -> RefusedPackage {
    RefusedPackage::new(reason).of(Refusal::Library)
}

fn no_library<T>(reason: impl AsRef<str>) -> Result<T, RefusedPackage> {
    Err(not_loadable(reason))
}

/// Reads the identity section.
///
/// # Errors
/// If the file is no shared library for this machine, has no identity, was built for another version of the boundary,
/// or links libtorch without saying so.
pub(crate) fn read(bytes: &[u8]) -> Result<ReadIdentity, RefusedPackage> {
    let broken = |error: object::Error| not_loadable(format!("not a shared library: {error}"));
    let file = object::File::parse(bytes).map_err(broken)?;
    let ours = match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        _ => file.architecture(),
    };
    if file.architecture() != ours {
        return no_library(format!(
            "built for {:?}, this machine is {}: build it for this machine",
            file.architecture(),
            std::env::consts::ARCH
        ));
    }
    let Some(section) = file.section_by_name(abi::IDENTITY_SECTION) else {
        return no_library(format!(
            "a library without identity (no section `{}`): export it with the SDK's macro, or with QUERIST_IDENTITY \
             in C",
            abi::IDENTITY_SECTION
        ));
    };
    let data = section.data().map_err(broken)?;
    if data.len() < size_of::<Identity>() {
        return no_library(format!("its identity has {} bytes, expected {}", data.len(), size_of::<Identity>()));
    }
    // SAFETY: `Identity` is plain numbers, any bytes are one, and there are enough of them; alignment is not assumed.
    let identity: Identity = unsafe { std::ptr::read_unaligned(data.as_ptr().cast()) };
    check_layout(&identity)?;
    let text = |room: &[u8], what: &str| match abi::unpadded(room) {
        Some(text) if room.last() == Some(&0) => Ok(text.to_owned()),
        _ => Err(not_loadable(format!("its identity's {what} is not a text"))),
    };
    let torch = identity.tier == abi::TIER_TORCH;
    let links_torch = needed(bytes).map_err(broken)?.iter().any(|name| name.starts_with("libtorch"));
    if torch != links_torch {
        return no_library(match torch {
            true => "says that it shares libtorch, but does not link libtorch_cpu.so: link it",
            false => "links libtorch without saying so: export it with `torch_package!` of querist-sdk-torch",
        });
    }
    let (start, _) = section.file_range().ok_or_else(|| not_loadable("its identity is empty"))?;
    Ok(ReadIdentity {
        abi: (identity.abi_major, identity.abi_minor),
        compiler: text(&identity.compiler, "compiler")?,
        target: text(&identity.target, "target")?,
        package: text(&identity.package, "package")?,
        version: text(&identity.version, "version")?,
        torch,
        libtorch: (text(&identity.libtorch, "libtorch")?, identity.cxx11 != 0),
        aborts: identity.panic == abi::PANIC_ABORT,
        description: identity.description,
        description_offset: start as usize + std::mem::offset_of!(Identity, description),
    })
}

fn check_layout(identity: &Identity) -> Result<(), RefusedPackage> {
    if identity.magic != abi::IDENTITY_MAGIC {
        return no_library("its identity does not begin as one of Querist");
    }
    let (major, minor) = (identity.abi_major, identity.abi_minor);
    if major != abi::ABI_MAJOR || minor > abi::ABI_MINOR {
        let reason = format!(
            "built for version {major}.{minor} of the native boundary, this host speaks {}.{}: rebuild it with the SDK \
             of this release",
            abi::ABI_MAJOR,
            abi::ABI_MINOR
        );
        return refuse_as(Refusal::Boundary, reason);
    }
    if identity.size as usize != size_of::<Identity>() {
        return no_library(format!("its identity says {} bytes, expected {}", identity.size, size_of::<Identity>()));
    }
    Ok(())
}

/// Libraries that the file asks the loader for.
pub(crate) fn needed(bytes: &[u8]) -> object::Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let Some((entries, strings)) = sections.dynamic(endian, bytes)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, bytes, strings)?;
    let name = |entry: &object::elf::Dyn64<Endianness>| {
        entry.string(endian, strings).map(|name| String::from_utf8_lossy(name).into_owned())
    };
    entries.iter().filter(|entry| entry.tag32(endian).map(i64::from) == Some(DT_NEEDED)).map(name).collect()
}
