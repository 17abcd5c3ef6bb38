//! The page for authors says of arrays what the table says.

use std::fs;
use std::path::Path;

use querist_protocol::{ARRAYS, ArrayKind, Dimension, Element, Giver, Rows, names};

const BEGIN: &str =
    "<!-- arrays: written by `UPDATE_EXPECT=1 cargo nextest run -p querist-core`, from the table in code -->\n";
const END: &str = "<!-- end of arrays -->\n";

fn shape(kind: &ArrayKind) -> String {
    let rows = match kind.rows {
        Rows::Samples | Rows::Pool | Rows::Pointed => "rows",
        Rows::Labelled => "labelled",
        Rows::Targets => "targets",
        Rows::Calibration => "calibration",
        Rows::Classes => "classes",
    };
    let dimension = |dimension: &Dimension| match dimension {
        Dimension::Classes => "classes",
        Dimension::Draws => "draws",
        Dimension::Members => "members",
        Dimension::Width(_) | Dimension::Columns => "width",
    };
    let all: Vec<&str> = [rows].into_iter().chain(kind.dimensions.iter().map(dimension)).collect();
    let of_type = if kind.element == Element::Label { "u32 " } else { "" };
    format!("{of_type}[{}]", all.join(", "))
}

fn line(kind: &ArrayKind) -> String {
    let name = match kind.rows {
        Rows::Samples => format!("`{}`, `{}{}`", kind.name, names::LABELLED, kind.name),
        _ => format!("`{}`", kind.name),
    };
    let giver = match kind.giver {
        Giver::Model | Giver::Loop => "yes",
        Giver::User => "no",
    };
    let other = kind.stand_in.map(|other| format!("yes, or `{}`", other.name)).unwrap_or_else(|| "yes".to_owned());
    let probabilities = kind.probabilities.map(|name| format!(", or `{name}`")).unwrap_or_default();
    format!("| {name} | {} | {} | {giver} | {other}{probabilities} |\n", shape(kind), kind.says)
}

#[test]
fn the_page_has_the_table() {
    let mut table =
        "| name | shape | what it is | from `run` | through `select` |\n| --- | --- | --- | --- | --- |\n".to_owned();
    table.extend(ARRAYS.iter().map(line));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/plugin-authors.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the table begins");
    let (found, after) = rest.split_once(END).expect("the page says where the table ends");
    if found != table && std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(found, table, "{BEGIN}");
}
