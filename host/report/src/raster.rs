//! Charts as pixels.

use std::io::Cursor;
use std::sync::{Arc, LazyLock};

use image::{ImageFormat, RgbaImage};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Family, Query};
use resvg::usvg::{Options, Tree};

use crate::report::ReportError;

/// Pixels for each unit of the SVG: paper and large screens show more than one.
const SCALE: f32 = 2.0;
/// Fonts that the text is set in, the first that there is.
const FONTS: [&str; 8] =
    ["DejaVu Sans", "Noto Sans", "Liberation Sans", "Open Sans", "Roboto", "Cantarell", "FreeSans", "Arial"];

/// A chart of [`svg_figures`](crate::svg_figures) as a PNG file, twice as large.
///
/// # Errors
/// If no font is installed, or it is no SVG.
pub fn png(svg: &str) -> Result<Vec<u8>, ReportError> {
    static FOUND: LazyLock<Option<Arc<Database>>> = LazyLock::new(fonts);
    let fontdb = FOUND.clone().ok_or(ReportError::NoFont)?;
    let write = |error: &dyn std::fmt::Display| ReportError::Write(error.to_string());
    let tree = Tree::from_str(svg, &Options { fontdb, ..Options::default() }).map_err(|error| write(&error))?;
    let size = tree.size().to_int_size().scale_by(SCALE);
    let size = size.ok_or_else(|| write(&"a chart has no size"))?;
    let mut pixels = Pixmap::new(size.width(), size.height()).ok_or_else(|| write(&"a chart has no size"))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    // The ground is opaque, so nothing is multiplied by a transparency.
    let image = RgbaImage::from_raw(size.width(), size.height(), pixels.take());
    let mut bytes = Cursor::new(Vec::new());
    let image = image.ok_or_else(|| write(&"a chart has another size than its pixels"))?;
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|error| write(&error))?;
    Ok(bytes.into_inner())
}

/// The fonts of the system, one of which stands for "sans-serif"; `None` where there are none.
fn fonts() -> Option<Arc<Database>> {
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    let is_there = |name: &&str| fonts.query(&Query { families: &[Family::Name(name)], ..Query::default() }).is_some();
    let first = || fonts.faces().next().and_then(|face| Some(face.families.first()?.0.clone()));
    let name = FONTS.into_iter().find(is_there).map(str::to_owned).or_else(first)?;
    fonts.set_sans_serif_family(name);
    Some(Arc::new(fonts))
}
