//! Bundles of sigstore, which `cosign` verifies where it is installed.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use querist_protocol::Shown;

use crate::keys::{Identity, Keys};
use crate::signature::Signature;

/// The program.
const COSIGN: &str = "cosign";
/// Time for one call of it, which may ask sigstore for its keys.
const CALL_TIME: Duration = Duration::from_secs(120);

/// Whether an identity that the user trusts signed these bytes.
pub(crate) fn verified(bytes: &[u8], bundle: &[u8], keys: &Keys) -> Signature {
    match call(&mut Command::new(COSIGN), &["version"]) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let why = "a bundle of sigstore lies beside it, and `cosign`, which verifies those, is not installed";
            return Signature::NotLookedAt { why: Shown::sentence(why) };
        }
        _ if keys.identities.is_empty() => {
            return Signature::failed("signed by way of sigstore, where you trust nobody");
        }
        _ => {}
    }
    let tried = || -> std::io::Result<Option<&Identity>> {
        // Only what was read is verified, whatever becomes of the files.
        let (file, bundle) = (kept(bytes)?, kept(bundle)?);
        for identity in &keys.identities {
            if verify(identity, file.path(), bundle.path())?.success() {
                return Ok(Some(identity));
            }
        }
        Ok(None)
    };
    match tried() {
        Ok(Some(who)) => {
            Signature::Verified { by: Shown::sentence(&format!("{} by way of {}", who.identity, who.issuer)) }
        }
        Ok(None) => Signature::failed("`cosign` finds in its bundle no signature of an identity that you trust"),
        Err(error) => Signature::failed(format!("`cosign` cannot be called: {error}")),
    }
}

fn verify(who: &Identity, file: &Path, bundle: &Path) -> std::io::Result<ExitStatus> {
    let mut command = Command::new(COSIGN);
    command.args(["verify-blob", "--certificate-identity", &who.identity]);
    command.args(["--certificate-oidc-issuer", &who.issuer, "--bundle"]).arg(bundle).arg(file);
    call(&mut command, &[])
}

/// Calls a program and waits for it, but not for ever.
fn call(command: &mut Command, args: &[&str]) -> std::io::Result<ExitStatus> {
    let quiet = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn()?;
    let deadline = Instant::now() + CALL_TIME;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            return child.wait();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn kept(bytes: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytes)?;
    Ok(file)
}
