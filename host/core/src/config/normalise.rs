//! Mean and standard deviation of pixels, by name or in numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dataset::Normalisation;

/// How pixels are normalised: the right values, none, or those that a published experiment used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// The set's own, as they were published and are right; a set without any is refused.
    Published,
    /// Those of the pool, measured.
    Measured,
    /// 0.5 and 0.5: pixels from -1 to 1.
    Half,
    /// Pixels from 0 to 1 as they are.
    None,
    /// Of ImageNet: 0.485 0.456 0.406 and 0.229 0.224 0.225.
    Imagenet,
    /// Of MNIST: 0.1307 and 0.3081, which others use for Fashion-MNIST and EMNIST, too.
    Mnist,
    /// Of SVHN: 0.4377 0.4438 0.4728 and 0.1980 0.2010 0.1970.
    Svhn,
    /// Of CIFAR-10: 0.4914 0.4822 0.4465 and 0.2470 0.2435 0.2616.
    Cifar10,
    /// Of CIFAR-10, with the mean of the standard deviations of single images, a widespread slip: 0.2023 0.1994 0.2010.
    #[serde(rename = "cifar10-image-std")]
    Cifar10ImageStd,
    /// Of CIFAR-10, as bytes: 125.3 123.0 113.9 and 63.0 62.1 66.7, all over 255; used for CIFAR-100 as well.
    CifarBytes,
    /// Of CIFAR-100: 0.5071 0.4867 0.4408 and 0.2675 0.2565 0.2761.
    Cifar100,
    /// Of CIFAR-100 in other digits: 0.5071 0.4865 0.4409 and 0.2673 0.2564 0.2762.
    #[serde(rename = "cifar100-four-digits")]
    Cifar100FourDigits,
    /// Of CIFAR-100 resized to 224: 0.5071 0.4865 0.4409 and 0.2623 0.2513 0.2714.
    #[serde(rename = "cifar100-224")]
    Cifar100At224,
    /// Of GTSRB: 0.3337 0.3064 0.3171 and 0.2672 0.2564 0.2629.
    Gtsrb,
    /// Of Caltech-256: 0.5511 0.5335 0.5052 and 0.3151 0.3116 0.3257.
    Caltech256,
}

impl Normalise {
    /// The numbers that the name stands for; nothing where they depend on the dataset.
    pub fn numbers(self, channels: usize) -> Option<Normalisation> {
        let all = |mean: f32, std: f32| Normalisation { mean: vec![mean; channels], std: vec![std; channels] };
        let of = |mean: [f32; 3], std: [f32; 3]| Normalisation { mean: mean.to_vec(), std: std.to_vec() };
        Some(match self {
            Self::Published | Self::Measured => return None,
            Self::Half => all(0.5, 0.5),
            Self::None => all(0.0, 1.0),
            Self::Mnist => Normalisation { mean: vec![0.1307], std: vec![0.3081] },
            Self::Imagenet => of([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            Self::Svhn => of([0.4377, 0.4438, 0.4728], [0.1980, 0.2010, 0.1970]),
            Self::Cifar10 => of([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
            Self::Cifar10ImageStd => of([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),
            Self::CifarBytes => {
                of([125.3, 123.0, 113.9].map(|value| value / 255.0), [63.0, 62.1, 66.7].map(|value| value / 255.0))
            }
            Self::Cifar100 => of([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]),
            Self::Cifar100FourDigits => of([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
            Self::Cifar100At224 => of([0.5071, 0.4865, 0.4409], [0.2623, 0.2513, 0.2714]),
            Self::Gtsrb => of([0.3337, 0.3064, 0.3171], [0.2672, 0.2564, 0.2629]),
            Self::Caltech256 => of([0.5511, 0.5335, 0.5052], [0.3151, 0.3116, 0.3257]),
        })
    }

    /// The name as users write it.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// Mean and standard deviation of each channel, on the scale 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelStatistics {
    /// Mean of each channel.
    #[schemars(length(min = 1, max = 3))]
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, above 0.
    #[schemars(length(min = 1, max = 3))]
    pub std: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_users_write() {
        let read = |name: &str| serde_json::from_value::<Normalise>(name.into());
        for (name, std) in [("cifar10-image-std", 0.2023), ("cifar100-224", 0.2623), ("cifar-bytes", 63.0 / 255.0)] {
            let normalise = read(name).unwrap();
            assert_eq!(normalise.name(), name);
            assert_eq!(normalise.numbers(3).unwrap().std[0], std);
        }
        assert_eq!(read("half").unwrap().numbers(1).unwrap().mean, [0.5]);
        assert!(read("measured").unwrap().numbers(3).is_none() && read("imagnet").is_err());
    }
}
