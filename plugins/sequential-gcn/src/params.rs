//! Parameters that both strategies have.

/// Makes a struct of parameters of the network and of one strategy's own.
macro_rules! gcn_params {
    (
        $(#[doc = $doc:literal])* $name:ident,
        $($(#[$meta:meta])* $field:ident: $type:ty = $default:expr,)*
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$meta])* pub $field: $type,)*
            /// How many rows of the pool are nodes, drawn at random; all where it has no more.
            #[schemars(range(min = 1))]
            pub subset_size: Option<u32>,
            /// Weight of unlabelled nodes in the loss.
            #[schemars(range(min = 0.0, max = 1e6))]
            pub lambda_loss: f64,
            /// Units of the hidden layer.
            #[schemars(range(min = 1, max = 65_536))]
            pub hidden_units: u32,
            /// Share of hidden values dropped in training, below 1.
            #[schemars(range(min = 0.0, max = 1.0))]
            pub dropout_rate: f64,
            /// Learning rate of the network's Adam.
            #[schemars(range(min = 0.0))]
            pub lr_gcn: f64,
            /// Weight decay of the network's Adam.
            #[schemars(range(min = 0.0))]
            pub weight_decay: f64,
            /// Steps of training, each on all nodes.
            #[schemars(range(min = 1, max = 1_000_000))]
            pub epochs: u32,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    subset_size: Some(10_000),
                    lambda_loss: 1.2,
                    hidden_units: 128,
                    dropout_rate: 0.3,
                    lr_gcn: 1e-3,
                    weight_decay: 5e-4,
                    epochs: 200,
                }
            }
        }

        impl $name {
            /// Sizes and training of the network.
            pub fn settings(&self) -> $crate::Settings {
                $crate::Settings {
                    hidden: i64::from(self.hidden_units),
                    dropout: self.dropout_rate,
                    lambda: self.lambda_loss,
                    lr: self.lr_gcn,
                    weight_decay: self.weight_decay,
                }
            }

            fn check_settings(&self) -> Result<(), String> {
                match self.dropout_rate < 1.0 {
                    true => Ok(()),
                    false => Err(format!("dropout_rate is {}, expected 0 or more and below 1", self.dropout_rate)),
                }
            }
        }
    };
}

pub(crate) use gcn_params;
