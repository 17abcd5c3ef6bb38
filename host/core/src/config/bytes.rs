//! Numbers of bytes as people write them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number of bytes, written as `"512MiB"` or `"8GiB"`; without a unit it counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A number of bytes, such as \"512MiB\" or \"8GiB\".",
            "pattern": "^[0-9]{1,15}(B|KiB|MiB|GiB|TiB)?$",
        })
    }
}

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&(_, shift): &(&str, u32)| self.0.is_multiple_of(1 << shift) && self.0 >= 1 << shift;
        let (unit, shift) = UNITS.into_iter().find(fits).unwrap_or(("B", 0));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(text: &str) -> Result<Self, BytesError> {
        let fail = || BytesError(text.chars().take(40).collect());
        let (digits, shift) = UNITS
            .iter()
            .find_map(|&(unit, shift)| text.strip_suffix(unit).map(|digits| (digits, shift)))
            .unwrap_or((text, 0));
        let number: u64 = digits.trim().parse().map_err(|_| fail())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(fail)
    }
}

impl TryFrom<String> for Bytes {
    type Error = BytesError;

    fn try_from(text: String) -> Result<Self, BytesError> {
        text.parse()
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

/// Text that is no number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size; write a whole number with B, KiB, MiB, GiB or TiB, such as \"512MiB\"")]
pub struct BytesError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_survive_their_text_form() {
        for (text, bytes) in [("512MiB", 512 << 20), ("8GiB", 8 << 30), ("1000B", 1000)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!("1000".parse(), Ok(Bytes(1000)));
        for text in ["", "MiB", "1.5GiB", "-1B", "99999999TiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
