//! `querist plugin trust` and `verify`: whose signatures count, and what became of what was installed.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use querist_files::Links;
use querist_loader::Listing;
use querist_loader::Source;
use querist_protocol::Shown;
use querist_store::keys::{Identity, Key};
use querist_store::store::signature_of;
use querist_store::{Keys, Signature};
use serde_json::{Value, json};

use crate::commands::plugin::ListFormat;
use crate::exit::Usage;
use crate::{output, plugins};

/// Bytes of a file with a public key at most.
const MAX_KEY_BYTES: u64 = 4096;

/// Trust a key that signs packages; without a key, list those that you trust.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  querist plugin trust their.pub --name \"The lab\"\n  querist plugin trust \
                        --identity me@lab.org --issuer https://github.com/login/oauth\n  querist plugin trust")]
pub struct TrustArgs {
    /// A public key of minisign (RW..), or the file that it is in.
    #[arg(value_name = "KEY|FILE")]
    key: Option<String>,
    /// Whose it is.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "key")]
    name: String,
    /// Trust it no more: a key, its id, or an identity.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["key", "identity"])]
    remove: Option<String>,
    /// Somebody who signs by way of sigstore: an address of mail or of a workflow.
    #[arg(long, value_name = "WHO", requires = "issuer", conflicts_with = "key")]
    identity: Option<String>,
    /// Who vouches for that identity.
    #[arg(long, value_name = "URL", requires = "identity")]
    issuer: Option<String>,
    /// Form of the list.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

/// Look again at what was installed, or at a file: whether it is what it was, and who signed it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  querist plugin verify\n  querist plugin verify their-plugin.wasm")]
pub struct VerifyArgs {
    /// A package that is installed, or the path of one that is not [default: all that are installed].
    #[arg(value_name = "PACKAGE|PATH")]
    package: Option<String>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

/// Runs `trust`.
pub fn trust(args: &TrustArgs) -> Result<()> {
    let file = plugins::keys_file()?;
    let mut keys = Keys::read(&file)?;
    if let Some(key) = &args.key {
        let key = Key::parse(&key_text(key)?, &args.name).map_err(|error| Usage(error.to_string()))?;
        let said = format!("{}  {}", key.id, key.name);
        keys.add(key);
        keys.write(&file)?;
        return output::line(&said);
    }
    if let Some(key) = &args.remove {
        if !keys.remove(key) {
            return Err(Usage(format!("`{}` is no key that you trust", Shown::name(key))).into());
        }
        return Ok(keys.write(&file)?);
    }
    if let (Some(identity), Some(issuer)) = (&args.identity, &args.issuer) {
        let new = Identity { identity: identity.clone(), issuer: issuer.clone() };
        keys.identities.retain(|old| *old != new);
        keys.identities.push(new);
        return Ok(keys.write(&file)?);
    }
    list(&keys, args.format)
}

fn list(keys: &Keys, format: ListFormat) -> Result<()> {
    if format == ListFormat::Json {
        let minisign = keys.minisign.iter().map(|key| json!({ "id": key.id, "key": key.text, "name": key.name }));
        let value = json!({ "minisign": minisign.collect::<Vec<_>>(), "sigstore": keys.identities });
        return output::line(&serde_json::to_string_pretty(&value)?);
    }
    for key in &keys.minisign {
        output::line(&format!("{}  {}  {}", key.id, key.text, Shown::name(&key.name)))?;
    }
    for who in &keys.identities {
        output::line(&format!("{}  by way of {}", Shown::sentence(&who.identity), Shown::sentence(&who.issuer)))?;
    }
    if keys.is_empty() {
        output::note("you trust no key; `querist plugin trust KEY` adds one");
    }
    Ok(())
}

/// A key as it was given, or the text of the file that was named.
fn key_text(given: &str) -> Result<String> {
    let path = Path::new(given);
    match path.is_file() {
        true => Ok(querist_files::read_text(path, Links::Follow, MAX_KEY_BYTES)?),
        false => Ok(given.to_owned()),
    }
}

/// One line of what was looked at.
struct Looked {
    name: String,
    version: String,
    digest: String,
    signature: Signature,
}

/// Runs `verify`.
pub fn verify(args: &VerifyArgs) -> Result<()> {
    let keys = Keys::read(&plugins::keys_file()?)?;
    let looked = match &args.package {
        Some(path) if Path::new(path).exists() => at(Path::new(path), &keys)?,
        name => installed(name.as_deref(), &keys)?,
    };
    let is_failed = |one: &&Looked| matches!(one.signature, Signature::Failed { .. });
    let failed = looked.iter().filter(is_failed).count();
    if args.format == ListFormat::Json {
        let row = |one: &Looked| -> Value {
            json!({ "package": one.name, "version": one.version, "digest": one.digest,
                    "signature": one.signature.word(), "message": one.signature.to_string() })
        };
        output::line(&serde_json::to_string_pretty(&looked.iter().map(row).collect::<Vec<_>>())?)?;
    } else {
        for Looked { name, version, digest, signature } in &looked {
            let short = digest.get(..12).unwrap_or(digest);
            output::line(output::shown(&format!("{name} {version}  {short}  {signature}")).as_str())?;
        }
    }
    match failed {
        0 => Ok(()),
        1 => bail!("verification failed of 1 package"),
        _ => bail!("verification failed of {failed} packages"),
    }
}

fn installed(name: Option<&str>, keys: &Keys) -> Result<Vec<Looked>> {
    let verified = plugins::store()?.verify(name, keys)?;
    if let (Some(name), true) = (name, verified.is_empty()) {
        let message = format!("no installed package is called `{}`, and there is no such file", Shown::name(name));
        return Err(Usage(message).into());
    }
    let looked = verified.into_iter().map(|one| Looked {
        name: one.name,
        version: one.package.map_or_else(|_| "?".to_owned(), |package| package.description.version),
        digest: one.digest,
        signature: one.signature,
    });
    Ok(looked.collect())
}

/// A package that is not installed.
fn at(path: &Path, keys: &Keys) -> Result<Vec<Looked>> {
    let listing = Listing::only(path.to_owned(), Source::PluginDir);
    let packages = listing.found.iter().map(|found| found.package().map_err(Clone::clone));
    let look = |package: &querist_loader::package::read::CheckedPackage| Looked {
        name: package.description.package.clone(),
        version: package.description.version.clone(),
        digest: package.digest.clone(),
        signature: signature_of(package, keys),
    };
    Ok(packages.map(|package| package.map(look)).collect::<Result<_, _>>()?)
}
