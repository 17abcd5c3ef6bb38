//! One strategy for the first rounds, another one for the rest.

use querist_core::strategy::{QueryError, QueryErrorKind};
use querist_core::{Answer, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CompositeStrategy, Member};

/// Asks `first` in the first rounds and `then` in all others.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Switch {
    /// The strategy of the first rounds.
    first: Member,
    /// The strategy of all other rounds.
    then: Member,
    /// Rounds in which the first one is asked.
    #[schemars(range(min = 0))]
    switch_round: u32,
}

/// What each of the two keeps.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    first: Option<Vec<u8>>,
    then: Option<Vec<u8>>,
}

impl Switch {
    pub(super) fn members(&self) -> Vec<Member> {
        vec![self.first.clone(), self.then.clone()]
    }

    pub(super) fn query(&self, composite: &mut CompositeStrategy, query: &Query<'_>) -> Result<Answer, QueryError> {
        let is_first = query.round.0 < self.switch_round;
        let member = usize::from(!is_first);
        let failed = |composite: &CompositeStrategy, message: String| {
            QueryError::new(&composite.identity, QueryErrorKind::Failed, message)
        };
        let mut kept: Kept = match query.state {
            None => Kept::default(),
            Some(state) => serde_json::from_slice(state)
                .map_err(|error| failed(composite, format!("its state is not one that it kept: {error}")))?,
        };
        let arrays = composite.granted(member, query, None)?;
        let slot = if is_first { &mut kept.first } else { &mut kept.then };
        let mut answer = composite.ask(member, &Query { arrays: &arrays, state: slot.as_deref(), ..*query })?;
        *slot = answer.selection.state.take();
        if kept.first.is_some() || kept.then.is_some() {
            let state = serde_json::to_vec(&kept).map_err(|error| failed(composite, error.to_string()))?;
            answer.selection.state = Some(state);
        }
        answer.selection.diagnostics.push(("switch.member".to_owned(), member as f64));
        Ok(answer)
    }
}
