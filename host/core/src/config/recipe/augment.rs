//! Random changes of training images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Random changes of training images, drawn anew in every epoch. Crop and flip come first and together, the others
/// follow in the order of the list, mixup comes last. What a change uncovers is black.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Pad by an eighth of the side (4 of 32) with zeros and cut out the original size anywhere.
    Crop,
    /// Mirror left and right with probability 1/2.
    Flip,
    /// Turn by up to so many degrees to either side, such as `{ rotate = 15 }`; the nearest pixel is taken.
    Rotate(#[schemars(range(min = 0.0, max = 180.0))] f64),
    /// Cut out a part of random size and shape and bring it to the size of the image (torchvision's
    /// `RandomResizedCrop`).
    ResizedCrop(ResizedCrop),
    /// Change the colours (torchvision's `ColorJitter`).
    Jitter(Jitter),
    /// Some changes out of a list of fourteen (torchvision's `RandAugment`).
    RandAugment(RandAugment),
    /// Blacken a square of so many pixels a side around a random place (DeVries and Taylor, 2017).
    Cutout(#[schemars(range(min = 1, max = 1024))] u32),
    /// Train on mixtures of two images and of their labels (Zhang and others, 2018). The share is drawn from
    /// Beta(alpha, alpha).
    Mixup(#[schemars(range(min = 0.05, max = 4.0))] f64),
}

/// Parts that are cut out and resized.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCrop {
    /// Least and largest share of the image's area.
    #[schemars(inner(range(min = 0.001, max = 1.0)))]
    pub scale: [f64; 2],
    /// Least and largest ratio of width to height.
    #[schemars(inner(range(min = 0.05, max = 20.0)))]
    pub ratio: [f64; 2],
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }
}

/// How much colours change, in this order: brightness, contrast, saturation, hue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Jitter {
    /// The brightness is multiplied by up to so much more or less than 1.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub brightness: f64,
    /// The distance from the mean grey, likewise.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub contrast: f64,
    /// The distance of each pixel from its grey, likewise. Nothing happens to grey images.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub saturation: f64,
    /// The hue moves by up to this share of the circle to either side. Nothing happens to grey images.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub hue: f64,
}

/// Changes out of torchvision's list: identity, shears, translations, rotation, brightness, colour, contrast,
/// sharpness, posterise, solarise, auto-contrast and equalise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// Changes of each image, one after the other.
    #[schemars(range(min = 1, max = 8))]
    pub changes: u32,
    /// How strong they are, of 30.
    #[schemars(range(min = 0, max = 30))]
    pub magnitude: u32,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self { changes: 2, magnitude: 9 }
    }
}

impl Augmentation {
    /// The name in run files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Flip => "flip",
            Self::Rotate(_) => "rotate",
            Self::ResizedCrop(_) => "resized-crop",
            Self::Jitter(_) => "jitter",
            Self::RandAugment(_) => "rand-augment",
            Self::Cutout(_) => "cutout",
            Self::Mixup(_) => "mixup",
        }
    }

    /// What is wrong with its numbers; the schema bounds each alone.
    pub fn problem(&self) -> Option<String> {
        let ascends = |name: &str, [low, high]: [f64; 2], least: f64, most: f64| {
            let fine = least <= low && low <= high && high <= most;
            (!fine).then(|| format!("`{name}` is [{low}, {high}], expected two ascending numbers in {least} to {most}"))
        };
        let within = |name: &str, value: f64, least: f64, most: f64| {
            let fine = (least..=most).contains(&value);
            (!fine).then(|| format!("`{name}` is {value}, expected {least} to {most}"))
        };
        match *self {
            Self::Crop | Self::Flip => None,
            Self::Rotate(degrees) => within("rotate", degrees, 0.0, 180.0),
            Self::ResizedCrop(ResizedCrop { scale, ratio }) => {
                ascends("scale", scale, 0.001, 1.0).or_else(|| ascends("ratio", ratio, 0.05, 20.0))
            }
            Self::Jitter(Jitter { brightness, contrast, saturation, hue }) => {
                within("brightness", brightness, 0.0, 10.0)
                    .or_else(|| within("contrast", contrast, 0.0, 10.0))
                    .or_else(|| within("saturation", saturation, 0.0, 10.0))
                    .or_else(|| within("hue", hue, 0.0, 0.5))
            }
            Self::RandAugment(RandAugment { changes, magnitude }) => {
                within("changes", changes.into(), 1.0, 8.0).or_else(|| within("magnitude", magnitude.into(), 0.0, 30.0))
            }
            Self::Cutout(side) => within("cutout", side.into(), 1.0, 1024.0),
            Self::Mixup(alpha) => within("mixup", alpha, 0.05, 4.0),
        }
    }
}
