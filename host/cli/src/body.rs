//! The files that the body of a model comes from: weights, or a whole network with its sidecar.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use querist_core::config::{DatasetConfig, Experiment, Fit, ModelConfig, Normalise, ResizeFilter, Sidecar, schemas};
use querist_core::digest::sha256;
use querist_files::Links;

use crate::config_file::ConfigFile;
use crate::exit::Usage;

/// Bytes of a model's file at most.
pub const MAX_MODEL: u64 = 8 << 30;

/// What the body of a run starts from, or is.
pub struct Body {
    /// The bytes of `model.weights` or `model.file`.
    pub bytes: Vec<u8>,
    /// What stands beside the network of `model.file`.
    pub sidecar: Option<Sidecar>,
    /// SHA-256 of the file of weights, in hex.
    pub weights: Option<String>,
    /// SHA-256 of the network and of its sidecar, in hex, by their keys.
    pub network: BTreeMap<String, String>,
}

impl Body {
    /// What tells its files from all others.
    pub fn digests(&self) -> String {
        let network = self.network.iter().map(|(key, digest)| format!("{key} {digest}"));
        let weights = self.weights.iter().map(|digest| format!("model.weights {digest}"));
        network.chain(weights).collect::<Vec<_>>().join(", ")
    }
}

/// Reads the files that `model` names, where it names any.
pub fn read(model: &ModelConfig) -> Result<Option<Body>> {
    let file = |key: &str, file: &str| {
        let said = || format!("model.{key} = {file}");
        querist_files::read(Path::new(file), Links::Follow, MAX_MODEL).with_context(said)
    };
    if let Some((path, beside)) = network(model)? {
        let (bytes, (sidecar, digest)) = (file("file", path)?, sidecar(path, &beside)?);
        let digests = [("model.file", sha256(&bytes)), ("model.sidecar", digest)];
        let network = digests.map(|(key, digest)| (key.to_owned(), digest)).into();
        return Ok(Some(Body { bytes, sidecar: Some(sidecar), weights: None, network }));
    }
    let Some(weights) = &model.weights else { return Ok(None) };
    let bytes = file("weights", weights.file())?;
    let weights = Some(sha256(&bytes));
    Ok(Some(Body { bytes, sidecar: None, weights, network: BTreeMap::new() }))
}

/// The network's file and its sidecar's, where the model is such a network.
fn network(model: &ModelConfig) -> Result<Option<(&str, PathBuf)>> {
    match (&model.file, model.name.is_in_file()) {
        (None, false) if model.sidecar.is_none() => Ok(None),
        (Some(file), true) => {
            let beside = model.sidecar.as_ref().map_or_else(|| Path::new(file).with_extension("toml"), PathBuf::from);
            Ok(Some((file, beside)))
        }
        (None, true) => {
            Err(Usage("model.name is `onnx` or `torchscript`, which needs `model.file`, the network".to_owned()).into())
        }
        _ => {
            let message = "model.file and model.sidecar are for model.name = \"onnx\" or \"torchscript\"; for weights \
                           of this program's networks there is `model.weights`";
            Err(Usage(message.to_owned()).into())
        }
    }
}

/// Reads what stands beside a network, with the SHA-256 of the file.
fn sidecar(network: &str, path: &Path) -> Result<(Sidecar, String)> {
    if !path.exists() {
        let (network, path) = (querist_protocol::Shown::name(network), querist_files::shown(path));
        let message = format!(
            "model.file = {network} needs {path} beside it, which says what images the network takes: write it \
             (docs/models.md says how), or name another with `model.sidecar`"
        );
        return Err(Usage(message).into());
    }
    let file = ConfigFile::read(path, &[])?;
    let sidecar: Sidecar = file.check(&schemas()["sidecar"])?;
    sidecar.check().map_err(|message| Usage(format!("{}: {message}", querist_files::shown(path))))?;
    Ok((sidecar, sha256(file.text().as_bytes())))
}

/// Puts into the experiment what the sidecar of its network says of images, so that it need not be said twice.
///
/// # Errors
/// If the sidecar cannot be read, or the experiment says otherwise.
pub fn settle(experiment: &mut Experiment) -> Result<()> {
    let Some((file, beside)) = network(&experiment.model)? else { return Ok(()) };
    let (sidecar, _) = sidecar(file, &beside)?;
    let said = querist_files::shown(&beside);
    images_of(&mut experiment.dataset, &sidecar).map_err(|message| Usage(format!("{message} ({said})")).into())
}

fn images_of(dataset: &mut DatasetConfig, sidecar: &Sidecar) -> Result<(), String> {
    let Sidecar { size, resize, fit, filter, .. } = *sidecar;
    let is_plain = (dataset.resize, dataset.fit, dataset.filter) == (None, Fit::Cut, ResizeFilter::Triangle);
    match dataset.size {
        Some(said) if said != size => {
            return Err(format!(
                "dataset.size is {said}, but the network takes images of {size}x{size} pixels: leave it out, and the \
                 sidecar's `size`, `resize`, `fit` and `filter` hold"
            ));
        }
        Some(_) => {}
        None if is_plain => {
            let resize = resize.filter(|&resize| resize != size);
            (dataset.size, dataset.resize, dataset.fit, dataset.filter) = (Some(size), resize, fit, filter);
        }
        None => {
            return Err(format!(
                "dataset.resize, dataset.fit and dataset.filter without dataset.size: set `dataset.size = {size}` \
                 beside them, or leave them out, and the sidecar's hold"
            ));
        }
    }
    if dataset.statistics.is_some() || !matches!(dataset.normalise, None | Some(Normalise::None)) {
        return Err("dataset.normalise and dataset.statistics: the network's sidecar has mean and std; leave them \
                    out"
        .to_owned());
    }
    dataset.normalise = Some(Normalise::None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use querist_core::config::ModelName;

    use super::*;

    fn sidecar_of(text: &str) -> Sidecar {
        let text =
            format!("version = 1\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n{text}[outputs]\nembedding = 0\n");
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn the_sidecar_says_what_the_run_file_leaves_out() {
        let sidecar = sidecar_of("size = 224\nresize = 256\nfilter = \"cubic\"\n");
        let mut dataset = DatasetConfig::named("folder");
        images_of(&mut dataset, &sidecar).unwrap();
        let settled = dataset.clone();
        assert_eq!((dataset.size, dataset.resize, dataset.filter), (Some(224), Some(256), ResizeFilter::Cubic));
        assert_eq!(dataset.normalise, Some(Normalise::None));
        // What was written out says the same again.
        images_of(&mut dataset, &sidecar).unwrap();
        assert_eq!(dataset, settled);
        let own = DatasetConfig { size: Some(224), resize: Some(232), ..DatasetConfig::named("folder") };
        let mut dataset = own.clone();
        images_of(&mut dataset, &sidecar).unwrap();
        assert_eq!((dataset.resize, dataset.filter), (Some(232), ResizeFilter::Triangle));
        for (dataset, part) in [
            (
                DatasetConfig { size: Some(32), ..own.clone() },
                "dataset.size is 32, but the network takes images of 224x224",
            ),
            (DatasetConfig { size: None, ..own.clone() }, "set `dataset.size = 224`"),
            (DatasetConfig { normalise: Some(Normalise::Imagenet), ..own.clone() }, "mean and std"),
        ] {
            let error = images_of(&mut dataset.clone(), &sidecar).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_network_needs_its_file_and_its_sidecar() {
        let model = |name, file: Option<&str>, sidecar: Option<&str>| {
            let [file, sidecar] = [file, sidecar].map(|path| path.map(str::to_owned));
            ModelConfig { file, sidecar, ..ModelConfig::of(name) }
        };
        let error = |model: &ModelConfig| format!("{:#}", read(model).err().unwrap());
        assert!(read(&model(ModelName::Cnn, None, None)).unwrap().is_none());
        assert!(error(&model(ModelName::Onnx, None, None)).contains("needs `model.file`"));
        assert!(error(&model(ModelName::Cnn, Some("a.onnx"), None)).contains("model.weights"));
        assert!(error(&model(ModelName::Cnn, None, Some("a.toml"))).contains("model.weights"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.onnx");
        let network = model(ModelName::Onnx, path.to_str(), None);
        assert!(error(&network).contains("a.onnx"), "{}", error(&network));
        std::fs::write(&path, "no network").unwrap();
        assert!(error(&network).contains("a.toml beside it"), "{}", error(&network));
        let beside = folder.path().join("a.toml");
        std::fs::write(&beside, "version = 1\nsize = 2\n").unwrap();
        let missing = error(&network);
        assert!(missing.contains("a.toml: 4 problems"), "{missing}");
        let text = "version = 1\nsize = 32\nmean = [0.5]\nstd = [0.5]\n[outputs]\nembedding = 0\n";
        std::fs::write(&beside, text).unwrap();
        assert!(error(&network).contains("mean has 1 values"), "{}", error(&network));
        std::fs::write(&beside, text.replace("size", "channels = 1\nsize")).unwrap();
        let body = read(&network).unwrap().unwrap();
        assert_eq!(body.network.keys().collect::<Vec<_>>(), ["model.file", "model.sidecar"]);
        assert_eq!((body.bytes.as_slice(), body.weights), (&b"no network"[..], None));
    }
}
