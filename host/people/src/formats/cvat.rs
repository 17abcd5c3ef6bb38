//! "CVAT for images 1.1": images with tags, in XML.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use querist_files::Links;
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::json;

use super::{Export, FormatError, Found, Line, MOST_BYTES, Which, Words, to_json};

/// The file, beside a folder of pictures and the labels that a task of CVAT is made with.
pub(super) const FILE: &str = "annotations.xml";
const IMAGES: &str = "images";
const LABELS: &str = "labels.json";

/// Nodes of a file at most.
const MOST_NODES: u32 = 20_000_000;

pub(super) fn write(export: &Export<'_>, words: &Words<'_>, out: &Path) -> Result<(), FormatError> {
    export.put_all(&out.join(IMAGES))?;
    let label = |word: &str| json!({ "name": word, "type": "tag", "attributes": [] });
    to_json(&out.join(LABELS), &words.all().map(label).collect())?;
    let mut xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>\n".to_owned();
    xml += "  <meta>\n    <task>\n      <labels>\n";
    for word in words.all() {
        let word = escaped(word);
        xml += &format!("        <label><name>{word}</name><type>tag</type><attributes></attributes></label>\n");
    }
    xml += "      </labels>\n    </task>\n  </meta>\n";
    for (number, row) in export.rows.iter().enumerate() {
        xml += &format!("  <image id=\"{number}\" name=\"{}\">\n", escaped(&export.ranked(row)));
        if let Some(word) = words.spell_outcome(row.outcome) {
            xml += &format!("    <tag label=\"{}\" source=\"manual\"></tag>\n", escaped(word));
        }
        xml += "  </image>\n";
    }
    xml += "</annotations>\n";
    let path = out.join(FILE);
    fs::write(&path, xml).map_err(|error| FormatError::write(&path, error))
}

/// Text inside XML, in quotes or not. Characters that XML has no place for are in no name of a class or a file here.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // Strings take everything.
    let _ = maud::Escaper::new(&mut escaped).write_str(text);
    escaped
}

pub(super) fn read(path: &Path) -> Result<Found, FormatError> {
    let text = querist_files::read_text(path, Links::Follow, MOST_BYTES)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let wrong = |message: String| FormatError::malformed(path, message);
    let file = Document::parse_with_options(&text, options)
        .map_err(|error| wrong(format!("{error}; expected XML of \"CVAT for images 1.1\"")))?;
    if !file.root_element().has_tag_name("annotations") {
        let name = file.root_element().tag_name().name();
        return Err(wrong(format!("<{name}>, expected <annotations> of \"CVAT for images 1.1\"")));
    }
    let mut found = Found::default();
    let images = file.root_element().children().filter(|node| node.has_tag_name("image"));
    for (number, image) in images.enumerate() {
        read_image(&image, number, &mut found);
    }
    Ok(found)
}

fn read_image(image: &Node<'_, '_>, number: usize, found: &mut Found) {
    let Some(name) = image.attribute("name") else {
        return found.wrong(format!("image {number}"), "an image without a name");
    };
    let place = format!("image {number} (`{name}`)");
    let mut tags = image.children().filter(|node| node.has_tag_name("tag")).peekable();
    if tags.peek().is_none() {
        found.unanswered += 1;
    }
    for tag in tags {
        let Some(label) = tag.attribute("label") else {
            found.wrong(place.as_str(), "a tag without a label");
            continue;
        };
        found.line(Line {
            place: place.clone(),
            which: Which::Name(name.to_owned()),
            label: label.to_owned(),
            annotator: None,
            seconds: None,
            guess_shown: false,
        });
    }
}
