//! A package of strategies, called by id with parameters as JSON.

use querist_protocol::layers::write_layers;
use querist_protocol::{API_VERSION, Description, Need, Selection, StrategyDescription, StrategyError};

use serde_json::Value;

use crate::host::Host;
use crate::query::{Query, Scores};
use crate::strategy::{Result, Scorer, Selector, Strategy};

/// The strategies of one package. [`crate::package!`] makes it.
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
    describe: fn() -> StrategyDescription,
    needs: fn(&str) -> Result<Vec<Need>>,
    answer: AnswerFn,
}

#[derive(Clone, Copy)]
enum AnswerFn {
    Score(fn(&str, &Query) -> Result<Scores>),
    Select(fn(&str, &Query) -> Result<Selection>),
}

impl Entry {
    /// The entry of a strategy that scores rows.
    pub const fn scorer<S: Scorer>() -> Self {
        Self {
            id: S::ID,
            describe: || describe::<S>(true),
            needs: |params| Ok(parse::<S>(params)?.needs()),
            answer: AnswerFn::Score(|params, tile| parse::<S>(params)?.score(tile)),
        }
    }

    /// The entry of a strategy that selects from the whole pool.
    pub const fn selector<S: Selector>() -> Self {
        Self {
            id: S::ID,
            describe: || describe::<S>(false),
            needs: |params| Ok(parse::<S>(params)?.needs()),
            answer: AnswerFn::Select(|params, query| {
                let strategy = parse::<S>(params)?;
                nothing_to_choose::<S>(query).map_or_else(|| strategy.select(query), Ok)
            }),
        }
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

    /// The arrays that a strategy wants under `params`, a JSON object.
    ///
    /// # Errors
    /// If there is no such strategy or the parameters do not fit.
    pub fn needs(&self, id: &str, params: &str) -> Result<Vec<Need>> {
        (self.entry(id)?.needs)(params)
    }

    /// Scores the rows that `host` shows.
    ///
    /// # Errors
    /// As the strategy's own, and if it is no scorer.
    pub fn score(&self, id: &str, params: &str, host: Host) -> Result<Scores> {
        match self.entry(id)?.answer {
            AnswerFn::Score(score) => score(params, &Query::new(host, None)),
            AnswerFn::Select(_) => Err(StrategyError::Unknown(format!("`{id}` selects; it does not score"))),
        }
    }

    /// Selects from the rows that `host` shows.
    ///
    /// # Errors
    /// As the strategy's own, and if it is a scorer.
    pub fn select(&self, id: &str, params: &str, state: Option<Vec<u8>>, host: Host) -> Result<Selection> {
        match self.entry(id)?.answer {
            AnswerFn::Select(select) => select(params, &Query::new(host, state)),
            AnswerFn::Score(_) => Err(StrategyError::Unknown(format!("`{id}` scores; it does not select"))),
        }
    }

    fn entry(&self, id: &str) -> Result<&Entry> {
        self.entries.iter().find(|entry| entry.id == id).ok_or_else(|| StrategyError::Unknown(id.to_owned()))
    }
}

/// The whole pool in order, where all of it is wanted and the strategy has no order of its own.
#[doc(hidden)]
pub fn nothing_to_choose<S: Strategy>(query: &Query) -> Option<Selection> {
    let all = || Selection { rows: (0..query.rows()).collect(), ..Selection::default() };
    (!S::RANKS_ALL && query.wanted() == query.rows()).then(all)
}

/// What a strategy says of itself.
#[doc(hidden)]
pub fn describe<S: Strategy>(scorer: bool) -> StrategyDescription {
    StrategyDescription {
        id: S::ID.to_owned(),
        summary: S::SUMMARY.to_owned(),
        cost: S::COST.to_owned(),
        paper: S::PAPER.to_owned(),
        scorer,
        aliases: S::ALIASES.iter().map(|&alias| alias.to_owned()).collect(),
        needs: S::default().needs().iter().map(Need::to_string).collect(),
        may_need: S::may_need().iter().map(Need::to_string).collect(),
        capabilities: S::CAPABILITIES.to_vec(),
        schema: schema::<S>(),
    }
}

/// The schema of a strategy's parameters, with their layers of defaults.
fn schema<S: Strategy>() -> Value {
    let mut schema = unfolded(schemars::schema_for!(S).to_value());
    write_layers(&mut schema, &S::layers());
    schema
}

/// A schema whose root is no reference, as it is for parameters that are another type's.
fn unfolded(mut schema: Value) -> Value {
    let target =
        schema.get("$ref").and_then(Value::as_str).and_then(|path| schema.pointer(path.trim_start_matches('#')));
    if let (Some(Value::Object(target)), Some(root)) = (target.cloned(), schema.as_object_mut()) {
        root.remove("$ref");
        for (key, value) in target {
            root.entry(key).or_insert(value);
        }
    }
    schema
}

/// Reads and checks parameters, a JSON object.
#[doc(hidden)]
pub fn parse<S: Strategy>(params: &str) -> Result<S> {
    let strategy: S =
        serde_json::from_str(params).map_err(|error| StrategyError::InvalidParams(format!("{}: {error}", S::ID)))?;
    strategy.check().map_err(StrategyError::InvalidParams)?;
    Ok(strategy)
}

/// Exports strategies as a package named and versioned like the crate.
///
/// ```ignore
/// package!(scorers: [Margin, Entropy], selectors: [Badge]);
/// package!(selectors: [Badge]);
/// ```
#[macro_export]
macro_rules! package {
    (scorers: [$($scorer:ty),* $(,)?]) => {
        $crate::package!(scorers: [$($scorer),*], selectors: []);
    };
    (selectors: [$($selector:ty),* $(,)?]) => {
        $crate::package!(scorers: [], selectors: [$($selector),*]);
    };
    (scorers: [$($scorer:ty),* $(,)?], selectors: [$($selector:ty),* $(,)?]) => {
        /// The strategies of this package.
        pub static PACKAGE: $crate::Package = $crate::Package {
            // Crates are called `strategy-NAME`, packages `NAME`.
            name: $crate::package_name(env!("CARGO_PKG_NAME")),
            version: env!("CARGO_PKG_VERSION"),
            entries: &[
                $($crate::Entry::scorer::<$scorer>(),)*
                $($crate::Entry::selector::<$selector>(),)*
            ],
        };

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;
            impl $crate::wasm::Exports for Component {
                fn package() -> &'static $crate::Package {
                    &PACKAGE
                }
            }
            $crate::wasm::export!(Component with_types_in $crate::wasm::bindings);
        };
    };
}

/// The name of the package that a crate makes: its own, without the prefix `strategy-`.
#[doc(hidden)]
pub const fn package_name(krate: &'static str) -> &'static str {
    let (bytes, prefix) = (krate.as_bytes(), b"strategy-");
    let mut i = 0;
    while i < prefix.len() {
        if i >= bytes.len() || bytes[i] != prefix[i] {
            return krate;
        }
        i += 1;
    }
    krate.split_at(prefix.len()).1
}
