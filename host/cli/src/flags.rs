//! Flags that several verbs have: each is explained in one wording.

use clap::Args;
use querist_core::schema::Schema;
use serde_json::{Map, Value};

use crate::exit::Usage;

/// `--set`, for verbs that read a run or study file.
pub const SET: &str = "Replace a value of the file, such as budget.batch=100";
/// `--device`.
pub const DEVICE: &str = "Device of networks and kernels [default: the file's, or cpu]";
/// `--strategy`, for verbs that ask one.
pub const STRATEGY: &str = "Id of the strategy, or package/strategy";
/// `--strategy`, for verbs whose file names one.
pub const STRATEGY_OF_FILE: &str = "Id of the strategy, instead of the file's";
/// `--seed`.
pub const SEED: &str = "Root of every random stream [default: the file's, or 0]";

/// Parameters of a strategy.
#[derive(Debug, Clone, Default, Args)]
pub struct ParamArgs {
    /// Parameters of the strategy as one JSON object.
    #[arg(long, value_name = "JSON")]
    pub params: Option<String>,
    /// One parameter of the strategy; its value is JSON, or plain text.
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub param: Vec<String>,
}

impl ParamArgs {
    /// Whether the call gives none.
    pub fn is_empty(&self) -> bool {
        self.params.is_none() && self.param.is_empty()
    }

    /// The parameters that the call gives, to a strategy with this schema.
    ///
    /// # Errors
    /// If they are no JSON object, or one stands there twice.
    pub fn given(&self, schema: &Value) -> Result<Map<String, Value>, Usage> {
        let mut params: Map<String, Value> = match &self.params {
            None => Map::new(),
            Some(text) => {
                serde_json::from_str(text).map_err(|error| Usage(format!("`--params` is no JSON object: {error}")))?
            }
        };
        let schema = Schema::new(schema.clone()).map_err(|error| Usage(error.to_string()))?;
        for assignment in &self.param {
            let (key, text) =
                assignment.split_once('=').ok_or_else(|| Usage(format!("`--param {assignment}`: write key=value")))?;
            if params.insert(key.to_owned(), value_of(key, text, &schema)).is_some() {
                return Err(Usage(format!("parameter `{key}` is given twice")));
            }
        }
        Ok(params)
    }
}

/// The value of one parameter: JSON, or the text itself, also where what looks like a number is wanted as text.
fn value_of(key: &str, text: &str, schema: &Schema) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::String(text)) => Value::String(text),
        Ok(value) if !schema.wants_text(&format!("/{key}")) => value,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wanted_as_text_stays_text() {
        let properties = json!({
            "folder": {"type": "string"},
            "maybe": {"type": ["string", "null"]},
            "count": {"type": "integer"},
            "any": {},
        });
        let schema = Schema::new(json!({"type": "object", "properties": properties})).unwrap();
        let of = |key: &str, text: &str| value_of(key, text, &schema);
        assert_eq!((of("folder", "2024"), of("maybe", "true")), (json!("2024"), json!("true")));
        assert_eq!((of("count", "2024"), of("any", "[1]"), of("other", "1")), (json!(2024), json!([1]), json!(1)));
        assert_eq!((of("folder", "\"quoted\""), of("count", "few")), (json!("quoted"), json!("few")));
    }
}
