//! What stands beside a network in a file: which images it takes, and what it gives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Fit, ResizeFilter};

/// What a network in an ONNX or TorchScript file expects and gives: the file `NAME.toml` beside `NAME.onnx` or
/// `NAME.pt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// Version of this file format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Side in pixels of the square images that the network takes.
    #[schemars(range(min = 4, max = 1024))]
    pub size: u32,
    /// Channels of these images: 1 or 3. A network of three takes grey images, too, with three equal channels.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 3))]
    pub channels: u32,
    /// Length in pixels of the shorter side before the middle is cut out; `size` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 2048))]
    pub resize: Option<u32>,
    /// How a picture that is no square becomes one.
    #[serde(default)]
    pub fit: Fit,
    /// The filter of resizing.
    #[serde(default)]
    pub filter: ResizeFilter,
    /// Mean of each channel, on the scale 0 to 1, which is subtracted.
    #[schemars(length(min = 1, max = 3))]
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, above 0, by which it is divided.
    #[schemars(length(min = 1, max = 3))]
    pub std: Vec<f64>,
    /// Images of one pass, of ONNX files alone: 64 where it is left out, or what the file says, where it takes so many
    /// and no other number. A last pass of fewer is filled up, and what was filled in is thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub batch: Option<u32>,
    /// Which outputs are what.
    pub outputs: SidecarOutputs,
}

/// Outputs of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SidecarOutputs {
    /// What a head is put on: `[images, width]`, or with further dimensions of 1.
    pub embedding: OutputName,
    /// Class scores of the network's own head. It must be there where it is named, and is not used: a head for the
    /// classes at hand is trained in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logits: Option<OutputName>,
}

/// An output, by name or by its place from 0 on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OutputName {
    /// Its name: of an ONNX output, or of an entry of the dictionary that a TorchScript module gives.
    Name(#[schemars(length(min = 1, max = 200))] String),
    /// Its place among the outputs, or in the tuple that a TorchScript module gives; 0 for the only one.
    Place(#[schemars(range(max = 1000))] u32),
}

fn three() -> u32 {
    3
}

impl Sidecar {
    /// What the schema cannot say.
    ///
    /// # Errors
    /// A sentence about keys that do not fit each other.
    pub fn check(&self) -> Result<(), String> {
        let Self { size, channels, resize, fit, mean, std, .. } = self;
        if ![1, 3].contains(channels) {
            return Err(format!("channels is {channels}, expected 1 or 3"));
        }
        if let Some(resize) = resize.filter(|resize| resize < size) {
            return Err(format!("resize is {resize}, expected size, {size}, or more"));
        }
        if *fit == Fit::Stretch && resize.is_some_and(|resize| resize != *size) {
            return Err("fit = \"stretch\" cuts nothing out; leave `resize` out".to_owned());
        }
        for (key, values) in [("mean", mean), ("std", std)] {
            if values.len() != *channels as usize {
                let found = values.len();
                return Err(format!("{key} has {found} values, expected one for each of {channels} channels"));
            }
        }
        if let Some(mean) = mean.iter().find(|mean| !(-1e6..=1e6).contains(*mean)) {
            return Err(format!("mean has {mean}, expected a number on the scale 0 to 1"));
        }
        match std.iter().find(|std| !(1e-6..=1e6).contains(*std)) {
            Some(std) => Err(format!("std has {std}, expected a number above 0, on the scale 0 to 1")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: &str) -> Result<Sidecar, String> {
        let mut file = serde_json::json!({
            "version": 1, "size": 224, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
            "outputs": { "embedding": "embedding" },
        });
        let change: serde_json::Value = serde_json::from_str(change).unwrap();
        file.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let sidecar: Sidecar = serde_json::from_value(file).map_err(|error| error.to_string())?;
        sidecar.check().map(|()| sidecar)
    }

    #[test]
    fn outputs_are_names_or_places() {
        assert_eq!(read("{}").unwrap().channels, 3);
        let both = read(r#"{"outputs": {"embedding": 1, "logits": "scores"}}"#).unwrap().outputs;
        assert_eq!(both.embedding, OutputName::Place(1));
        assert_eq!(both.logits, Some(OutputName::Name("scores".to_owned())));
        assert!(read(r#"{"outputs": {}}"#).is_err() && read(r#"{"outputs": {"embedding": -1}}"#).is_err());
    }

    #[test]
    fn keys_that_do_not_fit_are_told() {
        for (change, part) in [
            (r#"{"channels": 2}"#, "channels is 2"),
            (r#"{"channels": 1}"#, "mean has 3 values"),
            (r#"{"resize": 200}"#, "resize is 200, expected size, 224"),
            (r#"{"resize": 256, "fit": "stretch"}"#, "cuts nothing"),
            (r#"{"std": [0.5, 0.0, 0.5]}"#, "std has 0,"),
            (r#"{"std": [0.5]}"#, "std has 1 values"),
            (r#"{"means": [0.5]}"#, "unknown field"),
        ] {
            let error = read(change).unwrap_err();
            assert!(error.contains(part), "{change}: {error}");
        }
    }
}
