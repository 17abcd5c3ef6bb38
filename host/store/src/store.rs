//! The user's own packages: each version in a folder that is called by the digest of its artifact.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use querist_files::{Links, make_cache_folder};
use querist_loader::package::file::{MAX_ARTIFACT_BYTES, parsed_toml, read_checked, write_whole};
use querist_loader::package::read::{CheckedPackage, read_package};
use querist_loader::package::refused::RefusedPackage;
use querist_loader::package::write::{WriteError, write_package};
use querist_loader::{Found, Listing, LoadError, Sandbox, Source, make_ready};
use querist_protocol::Shown;
use serde::{Deserialize, Serialize};

use crate::archive::ArchiveError;
use crate::digest::Digest;
use crate::fetch::{Client, FetchError};
use crate::keys::Keys;
use crate::oci::OciError;
use crate::offer::{self, Offer};
use crate::origin::Origin;
use crate::signature::{Files, MINISIGN, SIGSTORE, Signature, beside};

/// Name of the file that says where an installed package came from.
const RECORD: &str = "installed.toml";
/// Bytes of that file at most.
const MAX_RECORD: u64 = 64 << 10;
/// How the folder of a package that is being installed or removed begins.
const STAGING: &str = ".staging-";
/// Age of what a process that was killed left behind.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A folder of installed packages.
pub struct Store {
    folder: PathBuf,
}

/// What is to be installed, and whose word counts.
pub struct Install<'a> {
    /// Where it comes from.
    pub origin: &'a Origin,
    /// Its digest, where the user states one.
    pub digest: Option<&'a Digest>,
    /// Whether a signature that cannot be verified is left out of account.
    pub ignore_signature: bool,
    /// Whom the user trusts.
    pub keys: &'a Keys,
    /// Folders of the built-in packages.
    pub built_in: &'a [PathBuf],
}

/// A package that is installed.
#[derive(Debug)]
pub struct Installed {
    /// Its folder.
    pub folder: PathBuf,
    /// The package.
    pub package: CheckedPackage,
    /// What is known of who made it.
    pub signature: Signature,
    /// Whether it was there before.
    pub was_there: bool,
}

/// Where an installed package came from, as its folder says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    version: u32,
    /// The origin that the user named.
    pub from: String,
    /// The word for its signature at that time.
    pub signature: String,
}

impl Record {
    /// What the folder of an installed package says of its coming; `None` where it says nothing that can be read.
    pub fn of(folder: &Path) -> Option<Self> {
        let text = querist_files::read_text(&folder.join(RECORD), Links::Refuse, MAX_RECORD).ok()?;
        parsed_toml(&text).ok().filter(|record: &Self| record.version == 1)
    }
}

impl Store {
    /// The store in a folder, which is made when something is installed.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Installs a package: takes it, compares digest and signature, checks what it is and says of itself, compiles it
    /// ahead, and puts it in its place in one step.
    ///
    /// # Errors
    /// If any of that fails; then nothing is installed.
    pub fn install(&self, what: &Install<'_>, client: &Client, sandbox: &Sandbox) -> Result<Installed, StoreError> {
        what.check_it_can_be_believed()?;
        let mut offer = offer::take(what.origin, what.digest, client)?;
        self.keep_signatures(&mut offer, what.keys);
        let signature = what.believed(&offer)?;
        self.check_name(&offer, what.built_in)?;
        self.make()?;
        let staged = self.stage(&offer, what.origin, &signature)?;
        let package = read_package(&staged.path().join(&offer.description.package))?;
        make_ready(&package, sandbox)?;
        self.put(staged, &offer, signature)
    }

    /// Every installed version of every package, or of one, with its signature as it is now.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn verify(&self, name: Option<&str>, keys: &Keys) -> Result<Vec<Verified>, StoreError> {
        let wanted = |found: &Found| name.is_none_or(|name| package_name(found).is_some_and(|is| is == name));
        let found = self.versions()?.into_iter().filter(wanted);
        Ok(found.map(|found| Verified::look(&found, keys)).collect())
    }

    /// Removes the installed versions of a package, or those whose digest begins so. Gives their folders.
    ///
    /// # Errors
    /// If there is none, or it cannot be removed.
    pub fn remove(&self, name: &str, digest: &str) -> Result<Vec<PathBuf>, StoreError> {
        let has = |found: &Found| found.installed.as_ref().is_some_and(|installed| installed.starts_with(digest));
        let named = |found: &Found| package_name(found).is_some_and(|is| is == name);
        let doomed: Vec<Found> = self.versions()?.into_iter().filter(|found| named(found) && has(found)).collect();
        if doomed.is_empty() {
            return Err(StoreError::NotInstalled { name: Shown::name(name) });
        }
        let mut removed = Vec::new();
        for found in doomed {
            let bin = self.staging()?;
            fs::rename(&found.path, bin.path().join("old")).map_err(StoreError::writing(&found.path))?;
            if let Some(of_package) = found.path.parent() {
                // It stays where there are other versions.
                let _ = fs::remove_dir(of_package);
            }
            bin.close().map_err(StoreError::writing(&found.path))?;
            removed.push(found.path);
        }
        Ok(removed)
    }

    /// An offer without a signature, such as an image, takes none away from the same bytes.
    fn keep_signatures(&self, offer: &mut Offer, keys: &Keys) {
        let place = self.folder.join(&offer.description.package).join(offer.digest());
        let known = read_package(&place).ok().and_then(|package| Files::beside(&package.artifact).ok());
        if let Some(known) = known
            && offer.signatures.are_none()
            && matches!(known.of(&offer.artifact, keys), Signature::Verified { .. })
        {
            offer.signatures = known;
        }
    }

    fn versions(&self) -> Result<Vec<Found>, StoreError> {
        let listing = Listing::search(&[(Source::User, self.folder.clone())])
            .map_err(|error| StoreError::Folder { folder: self.folder.clone(), reason: error.to_string() })?;
        Ok(listing.found.into_iter().filter(|found| found.installed.is_some()).collect())
    }

    /// Makes the folder, which nobody else may write to, and removes what killed processes left there.
    fn make(&self) -> Result<(), StoreError> {
        make_cache_folder(&self.folder)
            .map_err(|why| StoreError::Folder { folder: self.folder.clone(), reason: crate::reason_of(why) })?;
        let entries = fs::read_dir(&self.folder).map_err(StoreError::writing(&self.folder))?.filter_map(Result::ok);
        let left = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(STAGING));
        for entry in left {
            let age = entry.metadata().and_then(|found| found.modified());
            let age = age.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
            if age.is_some_and(|age| age > STALE) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }

    fn staging(&self) -> Result<tempfile::TempDir, StoreError> {
        let made = tempfile::Builder::new().prefix(STAGING).tempdir_in(&self.folder);
        made.map_err(StoreError::writing(&self.folder))
    }

    /// No package is called as a built-in one, but for that very one.
    fn check_name(&self, offer: &Offer, built_in: &[PathBuf]) -> Result<(), StoreError> {
        let name = &offer.description.package;
        let package = built_in.iter().map(|folder| folder.join(name)).find(|package| package.is_dir());
        match package.map(|package| read_package(&package)) {
            None => Ok(()),
            Some(Ok(package)) if package.digest == offer.digest() => Err(StoreError::IsBuiltIn { name: name.clone() }),
            Some(_) => Err(StoreError::BuiltIn { name: name.clone() }),
        }
    }

    /// Writes a package of nothing but what it is made of, where nobody looks for it yet.
    fn stage(&self, offer: &Offer, origin: &Origin, signature: &Signature) -> Result<tempfile::TempDir, StoreError> {
        let staged = self.staging()?;
        let folder = write_package(staged.path(), &offer.description, offer.kind, &offer.artifact)?;
        let package = read_package(&folder)?;
        let signatures = [(MINISIGN, &offer.signatures.minisign), (SIGSTORE, &offer.signatures.sigstore)];
        for (ending, contents) in signatures {
            if let Some(contents) = contents {
                let path = beside(&package.artifact, ending);
                write_whole(&path, contents, 0o666).map_err(StoreError::writing(&path))?;
            }
        }
        let from = match origin {
            Origin::Path(path) => {
                std::path::absolute(path).map_or_else(|_| origin.to_string(), |path| path.display().to_string())
            }
            _ => origin.to_string(),
        };
        let record =
            Record { version: 1, from: Shown::sentence(&from).into_string(), signature: signature.word().to_owned() };
        let path = folder.join(RECORD);
        let text = toml::to_string(&record)
            .map_err(|error| StoreError::Folder { folder: path.clone(), reason: error.to_string() })?;
        write_whole(&path, text.as_bytes(), 0o666).map_err(StoreError::writing(&path))?;
        querist_files::sync_folder(&folder)?;
        Ok(staged)
    }

    /// Gives a staged package its place.
    fn put(&self, staged: tempfile::TempDir, offer: &Offer, signature: Signature) -> Result<Installed, StoreError> {
        let name = &offer.description.package;
        let of_package = self.folder.join(name);
        if of_package.join(querist_loader::package::manifest::FILE).exists() {
            return Err(StoreError::ByHand { folder: of_package });
        }
        fs::create_dir_all(&of_package).map_err(StoreError::writing(&of_package))?;
        let place = of_package.join(offer.digest());
        let was_there = place.exists();
        if was_there {
            // Whatever became of it, it is now what was just verified.
            let bin = staged.path().join("old");
            fs::rename(&place, &bin).map_err(StoreError::writing(&place))?;
        }
        fs::rename(staged.path().join(name), &place).map_err(StoreError::writing(&place))?;
        querist_files::sync_folder(&of_package)?;
        Ok(Installed { package: read_package(&place)?, folder: place, signature, was_there })
    }
}

impl Install<'_> {
    /// Over a network anybody may answer: it needs a digest, or a key that signed.
    fn check_it_can_be_believed(&self) -> Result<(), StoreError> {
        let counts_no_signature = self.ignore_signature || self.keys.is_empty();
        match self.origin {
            Origin::Web(_) if self.digest.is_none() && counts_no_signature => {
                Err(StoreError::Unpinned { origin: self.origin.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The signature of what was offered, where it may be installed with that.
    fn believed(&self, offer: &Offer) -> Result<Signature, StoreError> {
        let signature = offer.signatures.of(&offer.artifact, self.keys);
        if let (Signature::Failed { reason }, false) = (&signature, self.ignore_signature) {
            return Err(StoreError::Signature { reason: reason.clone() });
        }
        let is_pinned = self.digest.is_some() || !matches!(self.origin, Origin::Web(_));
        if !is_pinned && !matches!(signature, Signature::Verified { .. }) {
            return Err(StoreError::Unpinned { origin: self.origin.to_string() });
        }
        Ok(signature)
    }
}

/// What an installed package is now.
#[derive(Debug)]
pub struct Verified {
    /// Its folder.
    pub folder: PathBuf,
    /// Name of the package.
    pub name: String,
    /// The digest under which it was installed.
    pub digest: String,
    /// The package, or why it cannot be used.
    pub package: Result<CheckedPackage, RefusedPackage>,
    /// What is known of who made it.
    pub signature: Signature,
}

impl Verified {
    fn look(found: &Found, keys: &Keys) -> Self {
        let package = found.package().cloned().map_err(Clone::clone);
        let signature = match &package {
            Ok(package) => signature_of(package, keys),
            Err(refused) => Signature::failed(&refused.reason),
        };
        let name = package_name(found).unwrap_or_default();
        let digest = found.installed.clone().unwrap_or_default();
        Self { folder: found.path.clone(), name, digest, package, signature }
    }
}

/// The signature beside the artifact of a package.
pub fn signature_of(package: &CheckedPackage, keys: &Keys) -> Signature {
    let read = || -> Result<_, StoreError> {
        let bytes = read_checked(&package.artifact, MAX_ARTIFACT_BYTES, &package.digest)?;
        Ok(Files::beside(&package.artifact)?.of(&bytes, keys))
    };
    read().unwrap_or_else(|error| Signature::failed(error.to_string()))
}

/// Name of the package that an installed version is one of.
fn package_name(found: &Found) -> Option<String> {
    found.path.parent()?.file_name()?.to_str().map(str::to_owned)
}

/// Why a package is not installed, or not removed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum StoreError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Oci(#[from] OciError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    File(#[from] querist_files::FileError),
    #[error(transparent)]
    Refused(RefusedPackage),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Package(#[from] WriteError),
    #[error("{}: {reason}", querist_files::shown(folder))]
    Folder { folder: PathBuf, reason: String },
    #[error("it has the digest {found}, expected {expected}: it is not what you asked for")]
    Digest { found: Digest, expected: Digest },
    #[error(
        "whoever answers for {origin} could give anything: state its digest, which its author publishes, with \
         `--digest sha256:..`, or trust the key that signed it with `querist plugin trust KEY`"
    )]
    Unpinned { origin: String },
    #[error(
        "verification failed: {reason}. If you know its author's key, trust it with `querist plugin trust KEY`; \
         `--ignore-signature` installs it as one that is not signed"
    )]
    Signature { reason: Shown },
    #[error("a built-in package is called `{name}`: its author must give this one another name")]
    BuiltIn { name: String },
    #[error("`{name}` is built in, and this is the very same: there is nothing to install")]
    IsBuiltIn { name: String },
    #[error("{} was put there by hand: move it away first", querist_files::shown(folder))]
    ByHand { folder: PathBuf },
    #[error("a bare library: a native package is a folder made by `querist plugin pack`, or an archive of one")]
    BareLibrary,
    #[error("the component has more than {MAX_ARTIFACT_BYTES} bytes")]
    TooLarge,
    #[error("no installed package is called `{name}`; `querist plugin list` shows what is installed")]
    NotInstalled { name: Shown },
}

impl StoreError {
    pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let folder = path.to_owned();
        move |error| Self::Folder { folder, reason: error.to_string() }
    }
}
