//! What a strategy is asked, and what about: the same for all verbs that ask one about arrays of the user's.

use anyhow::Result;
use clap::Args;
use querist_core::schema::Schema;
use serde_json::{Map, Value};

use crate::exit::Usage;
use crate::plugins::QueryArgs;

/// The question, but for the strategy and how many rows are wanted.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// Root of every random stream.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// An array by name: .npy, .npz (FILE#MEMBER) or .safetensors (FILE#TENSOR), or shards of it.
    ///
    /// Shards are a pattern with `*`, or a list with commas, of .npy, .safetensors or .parquet (FILE#COLUMN) files,
    /// whose rows stand behind one another. They are read in blocks, and never all in memory.
    ///
    /// `probs`, `mc_probs` and `member_probs` are probabilities in place of `logits`, `mc_log_probs` and
    /// `member_log_probs`; `extra.NAME` is whatever you have of each sample, `query.NAME` rows that you point at, where
    /// a strategy needs them.
    #[arg(long = "input", value_name = "NAME=FILE", required_unless_present = "ids")]
    pub inputs: Vec<String>,
    /// Parameters as a JSON object.
    #[arg(long, value_name = "JSON")]
    pub params: Option<String>,
    /// One parameter; its value is JSON or plain text.
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub param: Vec<String>,
    /// Global ids of the pool rows, a file or shards: integers, or texts as lines of .txt [default: 0, 1, 2, ...].
    #[arg(long, value_name = "FILE")]
    pub ids: Option<String>,
    /// Number of classes [default: as the arrays say].
    #[arg(long, value_name = "C")]
    pub classes: Option<usize>,
    /// Round that enters the random streams.
    #[arg(long, value_name = "R", default_value_t = 0)]
    pub round: u32,
    #[command(flatten)]
    pub query: QueryArgs,
}

/// The parameters that a call gives.
pub fn params(args: &AskArgs, schema: &Value) -> Result<Map<String, Value>> {
    params_of(args.params.as_deref(), &args.param, schema)
}

/// The parameters of a JSON object, and of assignments beside it.
pub fn params_of(object: Option<&str>, assignments: &[String], schema: &Value) -> Result<Map<String, Value>> {
    let usage = |message: String| anyhow::Error::new(Usage(message));
    let mut params = match object {
        None => Map::new(),
        Some(text) => {
            serde_json::from_str(text).map_err(|error| usage(format!("`--params` is no JSON object: {error}")))?
        }
    };
    let schema = Schema::new(schema.clone())?;
    for assignment in assignments {
        let (key, text) =
            assignment.split_once('=').ok_or_else(|| usage(format!("`--param {assignment}`: write key=value")))?;
        let value = value_of(key, text, &schema);
        if params.insert(key.to_owned(), value).is_some() {
            return Err(usage(format!("parameter `{key}` is given twice")));
        }
    }
    Ok(params)
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
