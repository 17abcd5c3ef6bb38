//! A package of strategies, called by id.

use querist_protocol::abi::EpochFigures;
use querist_protocol::{API_VERSION, Description, Need, Selection, StrategyDescription, StrategyError, TrainOverrides};
use querist_sdk::Query;

use crate::error::{Result, torch_panics_are_errors};
use crate::round::Round;
use crate::strategy::{Hooks, Loss, Minibatch, TorchStrategy};

/// The strategies of one package. [`crate::torch_package!`] makes it.
#[derive(Clone, Copy)]
pub struct Package {
    /// Name of the package.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its strategies.
    pub entries: &'static [Entry],
}

/// One strategy with its type erased.
#[derive(Clone, Copy)]
pub struct Entry {
    id: &'static str,
    hooks: Hooks,
    describe: fn() -> StrategyDescription,
    needs: fn(&str) -> Result<Vec<Need>, StrategyError>,
    create: CreateFn,
}

/// Makes a strategy from parameters as JSON, the round and the state of the round before.
type CreateFn = fn(&str, &Round, Option<&[u8]>) -> Result<Box<dyn Living>>;

impl Entry {
    /// The entry of a strategy.
    pub const fn of<S: TorchStrategy>() -> Self {
        Self {
            id: <S::Params as querist_sdk::Strategy>::ID,
            hooks: S::HOOKS,
            describe: || querist_sdk::describe::<S::Params>(false),
            needs: |params| Ok(querist_sdk::Strategy::needs(&querist_sdk::parse::<S::Params>(params)?)),
            create: |params, round, state| {
                let params = querist_sdk::parse::<S::Params>(params)?;
                torch_panics_are_errors(S::MEMORY, || Ok(Box::new(S::new(params, round, state)?) as Box<dyn Living>))
            },
        }
    }

    /// Which hooks it has.
    pub const fn hooks(&self) -> Hooks {
        self.hooks
    }

    /// What it says of itself.
    pub fn description(&self) -> StrategyDescription {
        (self.describe)()
    }

    /// The arrays that it wants under `params`, a JSON object, and what it asks of model and images.
    ///
    /// # Errors
    /// If the parameters do not fit.
    pub fn needs(&self, params: &str) -> Result<Vec<Need>, StrategyError> {
        (self.needs)(params)
    }

    /// The strategy at the start of a round.
    ///
    /// # Errors
    /// As its `new`, and if the parameters do not fit.
    pub fn create(&self, params: &str, round: &Round, state: Option<&[u8]>) -> Result<Box<dyn Living>> {
        (self.create)(params, round, state)
    }
}

impl Package {
    /// What the package says of itself.
    pub fn describe(&self) -> Description {
        Description {
            package: self.name.to_owned(),
            version: self.version.to_owned(),
            api: API_VERSION.to_owned(),
            strategies: self.entries.iter().map(|entry| (entry.describe)()).collect(),
        }
    }

    /// The strategy of this id.
    ///
    /// # Errors
    /// If there is none.
    pub fn entry(&self, id: &str) -> Result<&'static Entry, StrategyError> {
        self.entries.iter().find(|entry| entry.id == id).ok_or_else(|| StrategyError::Unknown(id.to_owned()))
    }

    /// The hooks that any of its strategies has.
    pub const fn hooks(&self) -> Hooks {
        let (mut all, mut i) = (Hooks::NONE, 0);
        while i < self.entries.len() {
            let one = self.entries[i].hooks;
            all = Hooks {
                plan_round: all.plan_round || one.plan_round,
                train_begin: all.train_begin || one.train_begin,
                epoch_begin: all.epoch_begin || one.epoch_begin,
                batch_loss: all.batch_loss || one.batch_loss,
                batch_step: all.batch_step || one.batch_step,
                epoch_end: all.epoch_end || one.epoch_end,
                train_end: all.train_end || one.train_end,
            };
            i += 1;
        }
        all
    }
}

macro_rules! living {
    ($($(#[$doc:meta])* $hook:ident($($arg:ident: $type:ty),*) -> $answer:ty = $absent:expr;)*) => {
        /// A strategy of any type in its round. Hooks that it does not have change nothing.
        #[expect(clippy::missing_errors_doc, reason = "as the methods of `TorchStrategy`")]
        pub trait Living {
            $($(#[$doc])* fn $hook(&mut self, round: &Round, $($arg: $type),*) -> Result<$answer>;)*
            /// See [`TorchStrategy::query`].
            fn query(&mut self, round: &Round, query: &Query) -> Result<Selection>;
            /// See [`TorchStrategy::save_state`].
            fn save_state(&mut self, round: &Round) -> Result<Option<Vec<u8>>>;
        }

        impl<S: TorchStrategy> Living for S {
            $(fn $hook(&mut self, round: &Round, $($arg: $type),*) -> Result<$answer> {
                if !S::HOOKS.$hook {
                    return Ok($absent);
                }
                torch_panics_are_errors(S::MEMORY, || TorchStrategy::$hook(self, round, $($arg),*))
            })*

            fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
                if let Some(all) = querist_sdk::nothing_to_choose::<S::Params>(query) {
                    return Ok(all);
                }
                torch_panics_are_errors(S::MEMORY, || TorchStrategy::query(self, round, query))
            }

            fn save_state(&mut self, round: &Round) -> Result<Option<Vec<u8>>> {
                torch_panics_are_errors(S::MEMORY, || TorchStrategy::save_state(self, round))
            }
        }
    };
}

living! {
    /// See [`TorchStrategy::plan_round`].
    plan_round() -> TrainOverrides = TrainOverrides::default();
    /// See [`TorchStrategy::train_begin`].
    train_begin() -> () = ();
    /// See [`TorchStrategy::epoch_begin`].
    epoch_begin(epoch: u32) -> () = ();
    /// See [`TorchStrategy::batch_loss`].
    batch_loss(minibatch: &Minibatch) -> Loss = Loss::none();
    /// See [`TorchStrategy::batch_step`].
    batch_step(epoch: u32, step: u32) -> () = ();
    /// See [`TorchStrategy::epoch_end`].
    epoch_end(epoch: u32, figures: &EpochFigures) -> () = ();
    /// See [`TorchStrategy::train_end`].
    train_end() -> () = ();
}

/// Exports strategies as a package named and versioned like the crate.
///
/// ```ignore
/// torch_package!(LearningLoss, Vaal);
/// ```
#[macro_export]
macro_rules! torch_package {
    ($($strategy:ty),+ $(,)?) => {
        /// The strategies of this package.
        pub static PACKAGE: $crate::Package = TORCH_PACKAGE;

        const TORCH_PACKAGE: $crate::Package = $crate::Package {
            // Crates are called `strategy-NAME`, packages `NAME`.
            name: $crate::querist_sdk::package_name(env!("CARGO_PKG_NAME")),
            version: env!("CARGO_PKG_VERSION"),
            entries: &[$($crate::Entry::of::<$strategy>()),+],
        };

        const _: () = {
            struct Library;
            impl $crate::table::Exports for Library {
                const PACKAGE: $crate::Package = TORCH_PACKAGE;
            }
            static TABLE: $crate::querist_sdk::protocol::abi::PluginApi = $crate::table::table::<Library>();

            $crate::querist_sdk::native_entry!(TABLE);
            $crate::querist_sdk::native_identity!(
                TORCH_PACKAGE.name,
                TORCH_PACKAGE.version,
                $crate::querist_sdk::protocol::abi::TIER_TORCH,
                $crate::table::CXX11,
                $crate::table::LIBTORCH
            );
        };
    };
}
