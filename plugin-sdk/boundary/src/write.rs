//! Writing Rust.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

const WIDTH: usize = 120;

/// What stands on top of a generated file.
pub(crate) fn header(what: &str) -> String {
    format!("//! {what}\n//!\n//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.\n\n")
}

/// A text as documentation, indented by `indent` spaces; its paragraph `Errors: ...` as a section.
pub(crate) fn docs(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let pad = " ".repeat(indent);
    for (at, paragraph) in text.split("\n\n").enumerate() {
        if at > 0 {
            out += &format!("{pad}///\n");
        }
        let paragraph = match paragraph.strip_prefix("Errors: ") {
            None => paragraph.to_owned(),
            Some(errors) => {
                out += &format!("{pad}/// # Errors\n");
                format!("If {errors}")
            }
        };
        wrap(&paragraph, &format!("{pad}///"), &mut out);
    }
    out
}

fn wrap(paragraph: &str, prefix: &str, out: &mut String) {
    let mut line = prefix.to_owned();
    for word in paragraph.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            *out += &format!("{line}\n");
            prefix.clone_into(&mut line);
        }
        line = format!("{line} {word}");
    }
    *out += &format!("{line}\n");
}

/// The text as `rustfmt` writes it.
pub(crate) fn formatted(workspace: &Path, text: &str) -> Result<String> {
    let mut command = Command::new("rustfmt");
    command.args(["--edition", "2024", "--config-path"]).arg(workspace);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start rustfmt")?;
    let mut stdin = child.stdin.take().context("rustfmt takes no text")?;
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().context("rustfmt did not end")?;
    writer.join().map_err(|_| anyhow::anyhow!("rustfmt was not given its text"))??;
    ensure!(output.status.success(), "rustfmt refused a generated file");
    Ok(String::from_utf8(output.stdout)?)
}
