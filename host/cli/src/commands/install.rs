//! `querist plugin install` and `remove`: packages from elsewhere.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use querist_store::store::StoreError;
use querist_store::{Client, Digest, Install, Installed, Keys, Origin, Registry};
use serde_json::json;

use crate::commands::plugin::ListFormat;
use crate::exit::Usage;
use crate::{output, plugins};

/// Install a package for all your projects: checked, compiled ahead, and kept under its digest.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  querist plugin install their-plugin.wasm\n  querist plugin install \
                  https://lab.org/apart.wasm --digest sha256:17e6..\n  querist plugin install \
                  oci://ghcr.io/lab/apart@sha256:17e6..\n  querist plugin install apart --registry their-registry")]
pub struct InstallArgs {
    /// A component, an archive of a package, a folder, https://.., oci://REGISTRY/NAME@sha256:.., oci:DIR, or a name.
    #[arg(value_name = "FILE|DIR|URL|NAME")]
    origin: String,
    /// SHA-256 of the file, or of the artifact of a folder or image; what has another one is refused.
    #[arg(long, value_name = "sha256:DIGEST")]
    digest: Option<Digest>,
    /// Take the plugin NAME, or NAME@VERSION, from a registry: a folder or an address.
    #[arg(long, value_name = "DIR|URL", conflicts_with = "digest")]
    registry: Option<String>,
    /// Install although a signature cannot be verified, as if there were none.
    #[arg(long)]
    ignore_signature: bool,
    /// Let the server lead to this host.
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

/// Remove what was installed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist plugin remove apart")]
pub struct RemoveArgs {
    /// Name of the package, or one version as NAME@DIGEST, with the first digits of its digest.
    #[arg(value_name = "PACKAGE")]
    package: String,
}

/// Runs `install`.
pub fn install(args: &InstallArgs) -> Result<()> {
    let client = Client::new(&args.allow_host);
    let (origin, digest) = match &args.registry {
        Some(place) => from_registry(args, place, &client)?,
        None => (Origin::parse(&args.origin).map_err(|error| Usage(error.to_string()))?, args.digest.clone()),
    };
    let built_in = crate::program::built_in();
    let keys = Keys::read(&plugins::keys_file()?)?;
    let what = Install {
        origin: &origin,
        digest: digest.as_ref(),
        ignore_signature: args.ignore_signature,
        keys: &keys,
        built_in: &built_in,
    };
    let sandbox = plugins::sandbox()?;
    let installed = plugins::store()?.install(&what, &client, &sandbox).map_err(|error| {
        let is_usage = matches!(error, StoreError::Unpinned { .. });
        let error = anyhow::Error::new(error).context(format!("cannot install {origin}"));
        if is_usage { Usage(format!("{error:#}")).into() } else { error }
    })?;
    tell(&installed, args.format)
}

fn from_registry(args: &InstallArgs, place: &str, client: &Client) -> Result<(Origin, Option<Digest>)> {
    let registry = Registry::open(place, client)?;
    let (name, version) = args.origin.split_once('@').map_or((&*args.origin, None), |(name, one)| (name, Some(one)));
    let entry = registry.entry(name)?;
    let choice = entry.chosen(version)?;
    for (release, reason) in &choice.passed_over {
        output::note(&format!("note: {} {} is passed over: {reason}", entry.name, release.version));
    }
    let release = choice.release.context("a version was chosen")?;
    let (origin, digest) = registry.origin(release)?;
    Ok((origin, Some(digest)))
}

fn tell(installed: &Installed, format: ListFormat) -> Result<()> {
    let (package, signature) = (&installed.package, &installed.signature);
    let d = &package.description;
    let ids: Vec<&str> = d.strategies.iter().map(|strategy| strategy.id.as_str()).collect();
    if format == ListFormat::Json {
        let value = json!({
            "package": d.package, "version": d.version, "kind": package.kind, "digest": package.digest,
            "folder": output::shown(&installed.folder.to_string_lossy()).as_str(), "signature": signature.word(),
            "strategies": ids,
            "was_installed": installed.was_there,
        });
        return output::line(&serde_json::to_string_pretty(&value)?);
    }
    let again = if installed.was_there { "was installed already, and is again what it was" } else { "is installed" };
    output::note(&format!("{} {} ({}) {again}; {signature}", d.package, d.version, package.kind));
    if package.is_native() {
        output::note(
            "note: it is native code: it runs with `--isolate`, or locked and with `--allow-native` if you trust it",
        );
    }
    output::line(&format!("strategies  {}\ndigest      sha256:{}", ids.join(", "), package.digest))?;
    output::line(output::shown(&format!("folder      {}", installed.folder.display())).as_str())
}

/// Runs `remove`.
pub fn remove(args: &RemoveArgs) -> Result<()> {
    let (name, digest) = args.package.split_once('@').unwrap_or((&args.package, ""));
    let removed: Vec<PathBuf> =
        plugins::store()?.remove(name, digest.trim_start_matches("sha256:")).map_err(|error| match error {
            StoreError::NotInstalled { .. } => Usage(error.to_string()).into(),
            other => anyhow::Error::new(other),
        })?;
    removed.iter().try_for_each(|folder| output::line(output::shown(&folder.to_string_lossy()).as_str()))
}
