//! What registries show of a component: who made it, what it does, under which licence, from which source.
//!
//! These are custom sections under the names that `wkg` and the other tools of WebAssembly read.

use querist_protocol::{Shown, is_showable};
use wasm_encoder::{CustomSection, Encode, Section};

use super::refused::{RefusedPackage, refuse};

/// Bytes of one text at most.
const MAX_TEXT: usize = 1000;

/// What registries show of a component; what is not known is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Who made it.
    pub authors: Option<String>,
    /// One sentence that says what it does.
    pub description: Option<String>,
    /// The licence, an SPDX expression.
    pub licenses: Option<String>,
    /// Address of the source.
    pub source: Option<String>,
    /// Address of a page about it.
    pub homepage: Option<String>,
    /// The commit of the source that it was built from.
    pub revision: Option<String>,
    /// Version of the package.
    pub version: Option<String>,
}

impl Metadata {
    /// The texts with the names of their sections.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("authors", &self.authors),
            ("description", &self.description),
            ("licenses", &self.licenses),
            ("source", &self.source),
            ("homepage", &self.homepage),
            ("revision", &self.revision),
            ("version", &self.version),
        ];
        all.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }

    /// These texts, and where there are none those of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            authors: self.authors.or(other.authors),
            description: self.description.or(other.description),
            licenses: self.licenses.or(other.licenses),
            source: self.source.or(other.source),
            homepage: self.homepage.or(other.homepage),
            revision: self.revision.or(other.revision),
            version: self.version.or(other.version),
        }
    }

    /// Checks that every tool can read the texts.
    ///
    /// # Errors
    /// If one is too long or cannot be shown, a licence is no SPDX expression, or an address none of the web.
    pub fn check(&self) -> Result<(), RefusedPackage> {
        for (name, text) in self.texts() {
            let shown = Shown::name(text);
            if text.is_empty() || text.len() > MAX_TEXT || !is_showable(text) {
                return refuse(format!("{name} `{shown}`: 1 to {MAX_TEXT} bytes on one line are expected"));
            }
            let is_address = text.starts_with("https://") && !text.contains(' ');
            if ["source", "homepage"].contains(&name) && !is_address {
                return refuse(format!("{name} `{shown}`: an address that begins with https:// is expected"));
            }
        }
        match self.licenses.as_deref().map(spdx::Expression::parse) {
            Some(Err(error)) => refuse(format!(
                "licence `{}` is no SPDX expression, such as `MIT OR Apache-2.0`: {}",
                self.licenses.as_deref().unwrap_or_default(),
                error.reason
            )),
            _ => Ok(()),
        }
    }

    /// Writes the texts behind a component, but for those that it has already.
    pub(crate) fn append(&self, component: &mut Vec<u8>) -> Result<(), RefusedPackage> {
        self.check()?;
        let there = sections(component)?;
        for (name, text) in self.texts().filter(|(name, _)| !there.iter().any(|there| there == name)) {
            let section = CustomSection { name: name.into(), data: text.as_bytes().into() };
            component.push(section.id());
            section.encode(component);
        }
        Ok(())
    }
}

/// Names of the custom sections of the outermost component.
fn sections(component: &[u8]) -> Result<Vec<String>, RefusedPackage> {
    use wasmparser::{Parser, Payload};
    let mut depth = 0usize;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| RefusedPackage::new(format!("not a WebAssembly component: {error}")))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(custom) if depth == 0 => names.push(custom.name().to_owned()),
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_other_tools_could_not_read_are_refused() {
        let some = |text: &str| Some(text.to_owned());
        let good = Metadata {
            authors: some("Ada <ada@lab.org>"),
            licenses: some("MIT OR Apache-2.0"),
            source: some("https://lab.org/apart"),
            ..Metadata::default()
        };
        good.check().unwrap();
        for (bad, words) in [
            (Metadata { licenses: some("MIT/Apache"), ..good.clone() }, "SPDX"),
            (Metadata { licenses: some("free for all"), ..good.clone() }, "SPDX"),
            (Metadata { source: some("git@lab.org:apart"), ..good.clone() }, "https://"),
            (Metadata { homepage: some("https://a b"), ..good.clone() }, "https://"),
            (Metadata { authors: some("a\u{1b}[31m"), ..good.clone() }, "on one line"),
            (Metadata { description: some(&"x".repeat(2000)), ..good.clone() }, "1 to 1000"),
        ] {
            let refused = bad.check().unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn what_a_component_says_itself_stays() {
        let mut component = wasm_encoder::Component::HEADER.to_vec();
        let with = |authors: &str| Metadata { authors: Some(authors.to_owned()), ..Metadata::default() };
        with("first").append(&mut component).unwrap();
        let once = component.clone();
        with("second").append(&mut component).unwrap();
        assert_eq!(component, once);
        assert_eq!(sections(&component).unwrap(), ["authors"]);
    }
}
