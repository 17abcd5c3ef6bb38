//! Variants of a pool, with the datasets that they name.

use querist_core::config::{DatasetConfig, ForeignConfig, VariantConfig};
use querist_core::variant::VariantFacts;
use querist_core::{Dataset, Seeds, Split};

use crate::error::DataError;
use crate::load::load;
use crate::search::Search;

/// The dataset and the split as `dataset.variant` changes them; nothing where there is no variant.
///
/// # Errors
/// If the variant cannot be made, or a dataset that it names cannot be read.
pub fn vary(
    dataset: &Dataset,
    split: &Split,
    config: &DatasetConfig,
    search: &Search,
    seeds: &Seeds,
) -> Result<Option<(Dataset, Split, VariantFacts)>, DataError> {
    let Some(variant) = &config.variant else { return Ok(None) };
    let foreign = foreign(dataset, variant, search)?;
    Ok(Some(dataset.varied(split, variant, foreign.as_ref(), seeds)?))
}

/// The other dataset, resized like the first.
fn foreign(dataset: &Dataset, variant: &VariantConfig, search: &Search) -> Result<Option<Dataset>, DataError> {
    let Some(foreign) = &variant.foreign else { return Ok(None) };
    let ForeignConfig { name, path, list, columns, .. } = foreign;
    let mut config = DatasetConfig::named(name);
    (config.path, config.list, config.columns) = (path.clone(), list.clone(), columns.clone());
    let images = dataset.images();
    if images.height == images.width {
        config.size = u32::try_from(images.height).ok().filter(|side| (4..=1024).contains(side));
    }
    Ok(Some(load(&config, search)?))
}
