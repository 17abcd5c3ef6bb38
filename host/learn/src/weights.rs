//! Weights from files: whose names they have, what fits, and what does not.

mod source;

use std::fmt;

use querist_core::LearnError;
use querist_protocol::Shown;
use tch::{TchError, Tensor};

use crate::fault::{Doing, config};
use crate::model::{Architecture, Model};
use crate::parameters::{is_head, shape};
use source::Source;

const DOING: &str = "reading weights";

/// Names in a report at most.
const MOST_NAMES: usize = 8;

/// Names that the tensors of an architecture have in files of one kind.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Whose names they are.
    pub(crate) name: &'static str,
    /// What names may start with.
    pub(crate) prefixes: &'static [&'static str],
    /// The layer in the place of the head.
    pub(crate) head: &'static str,
    /// Names here and there, the first that fits; where there are none, they are alike. In a name of ours `#` stands
    /// for a number and `*` at the end for any rest; in one of theirs `=` is the next of these numbers, `-` that less 1
    /// and `*` the rest. Parts joined by `|` are put one below the other.
    pub(crate) names: &'static [(&'static str, &'static str)],
    /// What is used instead of `names`.
    pub(crate) rename: Option<fn(&str) -> Option<String>>,
}

/// Prefixes that tools put before all names: wrappers of PyTorch, and the encoder of MoCo-v2.
const PREFIXES: [&str; 8] =
    ["", "module.", "module.encoder_q.", "encoder_q.", "backbone.", "module.backbone.", "model.", "_orig_mod."];

/// The names of this program's own files.
const OWN: Layout = Layout::head("Querist", "head");

impl Layout {
    /// Names as here, but for the head.
    pub(crate) const fn head(name: &'static str, head: &'static str) -> Self {
        Self { name, prefixes: &[], head, names: &[], rename: None }
    }

    /// What names of its head start with; some tools leave the prefix out there.
    fn heads(&self, prefix: &str) -> [String; 2] {
        [prefix, ""].map(|prefix| format!("{prefix}{}.", self.head))
    }

    /// The tensors in the file that make ours, one below the other; none where this layout has no name for it.
    fn theirs(&self, ours: &str) -> Vec<String> {
        if let Some(rename) = self.rename {
            return rename(ours).into_iter().collect();
        }
        if self.names.is_empty() {
            return vec![ours.to_owned()];
        }
        let (layer, part) = ours.rsplit_once('.').unwrap_or((ours, ""));
        for (pattern, theirs) in self.names {
            let (found, end) = match matched(pattern, ours) {
                Some(found) => (found, String::new()),
                None => match matched(pattern, layer) {
                    Some(found) if !part.is_empty() => (found, format!(".{part}")),
                    _ => continue,
                },
            };
            return theirs.split('|').map(|name| found.filled(name) + &end).collect();
        }
        Vec::new()
    }
}

/// What stood for the signs of a pattern.
struct Matched<'a> {
    numbers: Vec<usize>,
    rest: &'a str,
}

fn matched<'a>(pattern: &str, name: &'a str) -> Option<Matched<'a>> {
    let (mut numbers, mut name) = (Vec::new(), name);
    for sign in pattern.chars() {
        match sign {
            '#' => {
                let end = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
                numbers.push(name[..end].parse().ok()?);
                name = &name[end..];
            }
            '*' => return Some(Matched { numbers, rest: name }),
            _ => name = name.strip_prefix(sign)?,
        }
    }
    name.is_empty().then_some(Matched { numbers, rest: "" })
}

impl Matched<'_> {
    fn filled(&self, theirs: &str) -> String {
        let mut numbers = self.numbers.iter();
        let mut name = String::with_capacity(theirs.len());
        for sign in theirs.chars() {
            match sign {
                '=' => name.extend(numbers.next().map(usize::to_string)),
                '-' => name.extend(numbers.next().map(|n| n.saturating_sub(1).to_string())),
                '*' => name.push_str(self.rest),
                _ => name.push(sign),
            }
        }
        name
    }
}

/// How the names of a file are read: what stands before them, and whose they are.
#[derive(Clone, Copy)]
struct Reading<'a> {
    prefix: &'a str,
    layout: &'a Layout,
}

impl Reading<'_> {
    /// The tensors that make ours, if they are all there.
    fn sources(&self, file: &Source<'_>, ours: &str) -> Option<Vec<String>> {
        let names = self.layout.theirs(ours).into_iter().map(|name| format!("{}{name}", self.prefix));
        let names: Vec<String> = names.collect();
        (!names.is_empty() && names.iter().all(|name| file.has(name))).then_some(names)
    }
}

/// What became of the tensors of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// How the names were read.
    pub(crate) reading: String,
    /// Tensors of the body that were loaded.
    pub(crate) loaded: usize,
    /// Those that were not, each with the reason.
    pub(crate) missing: Vec<String>,
    /// Tensors of a head in the file, which nothing here takes.
    pub(crate) head: usize,
    /// Other tensors in the file.
    pub(crate) unexpected: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reading, loaded, missing, head, unexpected } = self;
        write!(f, "{loaded} of {} tensors of the body loaded, read as {reading}", loaded + missing.len())?;
        if !missing.is_empty() {
            write!(f, "; missing: {}", listed(missing))?;
        }
        if *head > 0 {
            write!(f, "; {head} of its head left out")?;
        }
        if !unexpected.is_empty() {
            write!(f, "; {} more in the file that the body does not have: {}", unexpected.len(), listed(unexpected))?;
        }
        Ok(())
    }
}

fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
    let more = names.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// Reads the body of `model`, which is of `architecture`, from the bytes of a file. `prefix` is what the names start
/// with, where the user says so.
///
/// # Errors
/// If the file cannot be read, or lacks a tensor of the body; the model then holds some of it.
pub(crate) fn read_body(
    model: &Model,
    architecture: &Architecture,
    bytes: &[u8],
    prefix: Option<&str>,
) -> Result<Report, LearnError> {
    let file = Source::read(bytes)?;
    let body: Vec<(&str, &Tensor)> = model.parameters().named().filter(|(name, _)| !is_head(name)).collect();
    let reading = best(&file, architecture.spec().layouts, &body, prefix);
    let mut used = Vec::new();
    let (mut loaded, mut missing) = (0, Vec::new());
    for &(name, tensor) in &body {
        match fill(&file, reading, architecture, name, tensor)? {
            Ok(sources) => {
                loaded += 1;
                used.extend(sources);
            }
            Err(why) => missing.push(format!("{name} ({why})")),
        }
    }
    let report = Report { loaded, missing, ..others(&file, reading, &used) };
    if !report.missing.is_empty() {
        return config(format!(
            "{report}: it is of another model than model.name = {}. Choose the architecture, stem and image size that \
             the file was made for, or say with `prefix` where its names start",
            architecture.label()
        ));
    }
    if !model.parameters().are_finite().doing(DOING)? {
        return config("a value of its tensors is not finite");
    }
    Ok(report)
}

/// Reads the head of `model`, where it is one linear layer, from a file whose body was read.
#[cfg(test)]
pub(crate) fn read_head(model: &Model, architecture: &Architecture, bytes: &[u8]) -> Result<(), LearnError> {
    let file = Source::read(bytes)?;
    let body: Vec<(&str, &Tensor)> = model.parameters().named().filter(|(name, _)| !is_head(name)).collect();
    let Reading { prefix, layout } = best(&file, architecture.spec().layouts, &body, None);
    let _no_grad = tch::no_grad_guard();
    for (name, tensor) in model.parameters().named().filter(|(name, _)| is_head(name)) {
        let end = name.strip_prefix("head").unwrap_or(name);
        let names = [prefix, ""].map(|prefix| format!("{prefix}{}{end}", layout.head));
        let Some(theirs) = names.iter().find(|name| file.has(name)) else {
            return config(format!("no tensor {} for the head", names[0]));
        };
        let values = file.tensor(theirs)?.f_reshape(tensor.size().as_slice());
        values.and_then(|values| tensor.shallow_clone().f_copy_(&values)).doing(DOING)?;
    }
    Ok(())
}

/// The reading that finds most tensors of the body; the first of equals.
fn best<'a>(
    file: &Source<'_>,
    layouts: &'a [Layout],
    body: &[(&str, &Tensor)],
    prefix: Option<&'a str>,
) -> Reading<'a> {
    let names = file.names();
    let mut best = (0, Reading { prefix: prefix.unwrap_or_default(), layout: layouts.first().unwrap_or(&OWN) });
    for layout in [&OWN].into_iter().chain(layouts) {
        let prefixes = match prefix {
            Some(prefix) => vec![prefix],
            None => PREFIXES.iter().chain(layout.prefixes).copied().collect(),
        };
        for prefix in prefixes {
            let reading = Reading { prefix, layout };
            let found = body.iter().filter(|(name, _)| reading.sources(file, name).is_some()).count();
            // Names like our own are those of others, too, and only the layout knows their head.
            let heads = layout.heads(prefix);
            let has_head = names.iter().any(|name| heads.iter().any(|head| name.starts_with(head)));
            let rank = 2 * found + usize::from(has_head);
            if found > 0 && rank > best.0 {
                best = (rank, reading);
            }
        }
    }
    best.1
}

/// Copies a tensor of the file into ours; the inner error says why it is not there.
fn fill(
    file: &Source<'_>,
    reading: Reading<'_>,
    architecture: &Architecture,
    name: &str,
    tensor: &Tensor,
) -> Result<Result<Vec<String>, String>, LearnError> {
    let Some(sources) = reading.sources(file, name) else {
        let theirs = reading.layout.theirs(name);
        let wanted = theirs.first().map_or(name, String::as_str);
        return Ok(Err(format!("no {}{wanted} in the file", reading.prefix)));
    };
    let mut parts = Vec::with_capacity(sources.len());
    for source in &sources {
        parts.push(file.tensor(source)?);
    }
    let _no_grad = tch::no_grad_guard();
    let whole = if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::f_cat(&parts, 0).doing(DOING)? };
    let fitted = if name == "pos_embed" { positions(&whole, architecture).doing(DOING)? } else { whole };
    if fitted.size() != tensor.size() {
        let [found, expected] = [shape(&fitted), shape(tensor)];
        return Ok(Err(format!("{found:?} in the file, expected {expected:?}")));
    }
    tensor.shallow_clone().f_copy_(&fitted).doing(DOING)?;
    Ok(Ok(sources))
}

/// Positions `[1, 1 + side * side, width]` for the patches of these images, interpolated as timm does it; as they are
/// where they fit or are no square.
fn positions(found: &Tensor, architecture: &Architecture) -> Result<Tensor, TchError> {
    let (images, patch) = (architecture.images(), architecture.spec().side_step);
    let (rows, columns) = (images.height / patch, images.width / patch);
    let Ok((1, tokens, width)) = found.size3() else { return Ok(found.shallow_clone()) };
    let side = ((tokens - 1) as f64).sqrt().round() as i64;
    if tokens == 1 + rows * columns && rows == columns || side < 1 || 1 + side * side != tokens {
        return Ok(found.shallow_clone());
    }
    let grid = found.f_narrow(1, 1, side * side)?.f_view([1, side, side, width])?.f_permute([0, 3, 1, 2])?;
    let grid = grid.f_internal_upsample_bicubic2d_aa([rows, columns], false, None, None)?;
    let grid = grid.f_permute([0, 2, 3, 1])?.f_reshape([1, rows * columns, width])?;
    Tensor::f_cat(&[found.f_narrow(1, 0, 1)?, grid], 1)
}

/// A report of what was not used.
fn others(file: &Source<'_>, reading: Reading<'_>, used: &[String]) -> Report {
    let Reading { prefix, layout } = reading;
    let heads = layout.heads(prefix);
    let (mut head, mut unexpected) = (0, Vec::new());
    for name in file.names() {
        // Batch-norm counts its minibatches, which changes nothing.
        if used.contains(&name) || name.ends_with(".num_batches_tracked") {
            continue;
        }
        match heads.iter().any(|head| name.starts_with(head.as_str())) {
            true => head += 1,
            false => unexpected.push(Shown::name(&name).to_string()),
        }
    }
    let behind = if prefix.is_empty() { String::new() } else { format!(" behind `{}`", Shown::name(prefix)) };
    Report { reading: format!("names of {}{behind}", layout.name), loaded: 0, missing: Vec::new(), head, unexpected }
}

#[cfg(test)]
#[path = "weights/compared/tests.rs"]
mod compared;
#[cfg(test)]
mod tests;
