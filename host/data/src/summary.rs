//! What was read of a dataset whose files are no folders of pictures.

use std::fmt;

use crate::layout::Part;
use crate::load::Loaded;
use crate::order::tells_classes;

/// Classes that are shown one by one.
const MOST_CLASSES: usize = 100;
/// Samples that are shown of each part.
const MOST_NAMED: usize = 2;

/// What was read of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Each class by its name: images to train on, to validate with, to test on.
    pub classes: Vec<(String, [usize; 3])>,
    /// Height, width and channels of each image.
    pub shape: [usize; 3],
    /// Values of a row, where there are embeddings in the place of images.
    pub embedding: Option<usize>,
    /// The first names of samples of each part.
    pub named: [Vec<String>; 3],
    /// Whether neighbouring numbers tell classes.
    pub order_tells_classes: bool,
}

impl Summary {
    /// Of what was read.
    pub(crate) fn of(loaded: &Loaded) -> Self {
        let mut classes: Vec<(String, [usize; 3])> =
            loaded.class_names.iter().map(|name| (name.clone(), [0; 3])).collect();
        let tests_from = loaded.labels.len() - loaded.official_test;
        let part = |sample: usize| match sample {
            sample if sample >= tests_from => 2,
            sample if sample >= tests_from - loaded.official_validation => 1,
            _ => 0,
        };
        let mut named: [Vec<String>; 3] = Default::default();
        for (sample, &label) in loaded.labels.iter().enumerate() {
            let part = part(sample);
            if let Some((_, counts)) = classes.get_mut(label as usize) {
                counts[part] += 1;
            }
            if named[part].len() < MOST_NAMED {
                named[part].extend(loaded.files.get(sample).cloned());
            }
        }
        Self { classes, shape: loaded.shape, embedding: None, named, order_tells_classes: tells_classes(loaded) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |part: usize| self.classes.iter().map(|(_, counts)| counts[part]).sum::<usize>();
        let parts: Vec<usize> = (0..3).filter(|&part| part == 0 || sum(part) > 0).collect();
        let shown = || self.classes.iter().take(MOST_CLASSES);
        let width = shown().map(|(name, _)| name.chars().count()).chain([5]).max().unwrap_or(5);
        let row = |f: &mut fmt::Formatter<'_>, name: &str, cell: &dyn Fn(usize) -> String| {
            write!(f, "{name:<width$}")?;
            parts.iter().try_for_each(|&part| write!(f, "  {:>10}", cell(part)))?;
            writeln!(f)
        };
        row(f, "CLASS", &|part| Part::ALL[part].name().to_uppercase())?;
        shown().try_for_each(|(name, counts)| row(f, name, &|part| counts[part].to_string()))?;
        if self.classes.len() > MOST_CLASSES {
            writeln!(f, "... and {} classes more", self.classes.len() - MOST_CLASSES)?;
        }
        row(f, "all", &|part| sum(part).to_string())?;
        if let Some(width) = self.embedding {
            writeln!(f, "embeddings: {width} values")?;
            if self.order_tells_classes {
                writeln!(f, "order: neighbouring numbers tell classes; shuffle the rows")?;
            }
            return Ok(());
        }
        let [height, width, channels] = self.shape;
        let colours = if channels == 1 { "grey" } else { "colour" };
        match height {
            0 => writeln!(f, "no images: ids alone")?,
            _ => writeln!(f, "images: {height}x{width} (height x width), {colours}")?,
        }
        for names in self.named.iter().filter(|names| !names.is_empty()) {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            writeln!(f, "samples: {}, ...", names.join(", "))?;
        }
        if self.order_tells_classes {
            writeln!(f, "order: neighbouring numbers tell classes; `dataset.order = \"content\"` hides them")?;
        }
        Ok(())
    }
}
