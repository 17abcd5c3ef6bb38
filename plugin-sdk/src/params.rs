//! Parameters with their defaults.

/// Declares the parameters of a strategy: fields with documentation, ranges and default values. What is left out takes
/// its default, and a name that is not known is an error.
///
/// ```
/// use querist_sdk::prelude::*;
///
/// params! {
///     /// Parameters of a strategy over clusters.
///     pub struct Clusters {
///         /// Restarts of k-means, of which the best is kept.
///         #[schemars(range(min = 1, max = 100))]
///         pub n_init: u32 = 5,
///         /// Whether embeddings are scaled to norm 1.
///         pub scaled: bool = false,
///     }
/// }
///
/// assert_eq!(Clusters::default().n_init, 5);
/// ```
#[macro_export]
macro_rules! params {
    (
        $(#[$meta:meta])*
        $visible:vis struct $name:ident {
            $($(#[$of_field:meta])* $field_visible:vis $field:ident: $type:ty = $default:expr),* $(,)?
        }
    ) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        $(#[$meta])*
        #[serde(deny_unknown_fields, default)]
        $visible struct $name {
            $($(#[$of_field])* $field_visible $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}
