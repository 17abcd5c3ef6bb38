//! Text of somebody else, made safe to show.

use std::fmt;

/// Text that came from a plugin, a package or a file of somebody else, fit to be shown: of bounded length, and without
/// characters that steer a terminal, turn the direction of reading or break a line.
///
/// There is no other way to make one than to clean a text, so whatever takes a `Shown` needs no care of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shown(String);

impl Shown {
    /// Bytes of a name at most: a strategy, an array, a class, a file.
    pub const NAME: usize = 120;
    /// Bytes of a sentence at most: an error, a summary.
    pub const SENTENCE: usize = 1000;

    /// `text` on one line, cut to `most` bytes; what was cut is said.
    ///
    /// White space of any kind becomes a blank. Control characters, marks of direction and invisible characters become
    /// U+FFFD, so that one sees that something was there.
    pub fn new(text: &str, most: usize) -> Self {
        Self::clean(text, most, safe)
    }

    /// A name, cut to [`Shown::NAME`] bytes.
    pub fn name(text: &str) -> Self {
        Self::new(text, Self::NAME)
    }

    /// A sentence, cut to [`Shown::SENTENCE`] bytes.
    pub fn sentence(text: &str) -> Self {
        Self::new(text, Self::SENTENCE)
    }

    /// The same for text of several lines, whose line feeds stay.
    pub fn lines(text: &str, most: usize) -> Self {
        Self::clean(text, most, |c| if c == '\n' { c } else { safe(c) })
    }

    fn clean(text: &str, most: usize, safe: impl Fn(char) -> char) -> Self {
        // Only what can be kept is looked at, whatever the length of the rest.
        let kept = &text[..text.floor_char_boundary(most)];
        let mut shown = String::with_capacity(kept.len());
        let mut is_cut = kept.len() < text.len();
        for c in kept.chars().map(safe) {
            if shown.len() + c.len_utf8() > most {
                is_cut = true;
                break;
            }
            shown.push(c);
        }
        if is_cut {
            shown += &format!("... ({} bytes)", text.len());
        }
        Self(shown)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Shown {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<Shown> for String {
    fn from(shown: Shown) -> Self {
        shown.0
    }
}

/// Whether a text can be shown as it is.
pub fn is_showable(text: &str) -> bool {
    text.chars().all(|c| c == safe(c))
}

/// What stands for a character on a line.
fn safe(c: char) -> char {
    match c {
        _ if c.is_whitespace() => ' ',
        _ if c.is_control() => char::REPLACEMENT_CHARACTER,
        // Invisible: soft hyphen, fillers, zero widths, joiners, marks and overrides of direction, annotations, tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal_or_the_eye() {
        let hostile = "a\u{1b}[31mred\r\nb\u{202e}evil\u{2028}c\u{85}d\u{9b}2J\u{200f}\u{feff}\u{e0041}\0\u{7f}";
        let shown = Shown::sentence(hostile);
        assert_eq!(shown.as_str(), "a�[31mred  b�evil c d�2J�����");
        assert!(is_showable(shown.as_str()) && !is_showable(hostile));
        assert_eq!(Shown::lines("a\n\tb\u{1b}", 100).as_str(), "a\n b�");
        assert_eq!(Shown::name("straße 犬 é").as_str(), "straße 犬 é");
    }

    #[test]
    fn whatever_comes_is_short_and_fits_a_column() {
        let long = "x".repeat(70_000);
        let shown = Shown::name(&long);
        assert_eq!(shown.as_str(), format!("{}... (70000 bytes)", "x".repeat(Shown::NAME)));
        // What grows when it is cleaned is cut, too.
        assert_eq!(Shown::new(&"\0".repeat(100), 7).as_str(), "��... (100 bytes)");
        assert_eq!(Shown::new("ééé", 3).as_str(), "é... (6 bytes)");
        assert_eq!(format!("[{:<6}]", Shown::name("ab")), "[ab    ]");
    }
}
