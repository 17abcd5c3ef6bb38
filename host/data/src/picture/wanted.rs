//! What pictures are to become.

use querist_core::config::{DatasetConfig, Fit, ResizeFilter};

use crate::error::DataError;

/// Sides that can be asked for, and lengths of the shorter side before the middle is cut out.
const SIDES: std::ops::RangeInclusive<u32> = 4..=1024;
const SHORT: u32 = 2048;

/// What pictures are to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The square that they are resized to.
    pub square: Option<Square>,
    /// Whether they are turned as their Exif data says.
    pub upright: bool,
}

/// A square, and how a picture becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Square {
    /// Its side.
    pub side: u32,
    /// Length of the shorter side of the picture before the middle is cut out.
    pub short: u32,
    /// How a picture that is none becomes one.
    pub fit: Fit,
    /// The filter.
    pub filter: ResizeFilter,
}

impl Square {
    /// The square that there was before there were others: cut from the middle, by a triangle filter.
    #[cfg(test)]
    pub fn plain(side: u32) -> Self {
        Self { side, short: side, fit: Fit::Cut, filter: ResizeFilter::Triangle }
    }
}

impl Wanted {
    /// What a configuration asks for.
    pub fn of(config: &DatasetConfig) -> Result<Self, DataError> {
        let error = |message: String| Err(DataError::Config { dataset: config.name.clone(), message });
        let &DatasetConfig { size, resize, fit, filter, upright, .. } = config;
        let Some(side) = size else {
            return match (resize, fit, filter) {
                (None, Fit::Cut, ResizeFilter::Triangle) => Ok(Self { square: None, upright }),
                (Some(_), ..) => error("`dataset.resize` needs `dataset.size`, the side of what is cut out".to_owned()),
                _ => error("`dataset.fit` and `dataset.filter` need `dataset.size`".to_owned()),
            };
        };
        if !SIDES.contains(&side) {
            return error(format!("`dataset.size` is {side}; expected 4 to 1024 pixels"));
        }
        let short = resize.unwrap_or(side);
        if !(side..=SHORT).contains(&short) {
            return error(format!("`dataset.resize` is {short}; expected `dataset.size`, {side}, to {SHORT} pixels"));
        }
        if fit == Fit::Stretch && short != side {
            return error("`dataset.fit = \"stretch\"` cuts nothing; remove `dataset.resize`".to_owned());
        }
        Ok(Self { square: Some(Square { side, short, fit, filter }), upright })
    }

    /// Side of the square, where one is wanted.
    pub fn side(self) -> Option<usize> {
        self.square.map(|square| square.side as usize)
    }

    /// What tells these pixels from others of the same files.
    pub fn options(self) -> String {
        let size = self.square.map(|square| square.side);
        match self {
            // Caches that were made when nothing else could be asked for stay good.
            Self {
                square: None | Some(Square { fit: Fit::Cut, filter: ResizeFilter::Triangle, .. }),
                upright: true,
            } if self.square.is_none_or(|square| square.short == square.side) => {
                format!("{size:?}\0")
            }
            other => format!("{size:?}\0{other:?}\0"),
        }
    }
}
