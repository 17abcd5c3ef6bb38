//! One strategy for the first rounds, another one for the rest.

use querist_core::{Answer, Failure, Query, QueryError, QueryErrorKind};
use serde::{Deserialize, Serialize};

use super::members::Members;
use crate::package::composite_text::Switch;

/// What each of the two keeps.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    first: Option<Vec<u8>>,
    then: Option<Vec<u8>>,
}

/// Asks the member of this round.
pub(super) fn query(switch: &Switch, members: &mut Members, query: &Query<'_>) -> Result<Answer, QueryError> {
    let is_first = query.round.0 < switch.switch_round;
    let member = usize::from(!is_first);
    let failed =
        |members: &Members, message: String| Failure::new(QueryErrorKind::Failed, message).of(&members.identity);
    let mut kept: Kept = match query.state {
        None => Kept::default(),
        Some(state) => serde_json::from_slice(state)
            .map_err(|error| failed(members, format!("its state is not one that it kept: {error}")))?,
    };
    let arrays = members.granted(member, query, None)?;
    let slot = if is_first { &mut kept.first } else { &mut kept.then };
    let mut answer = members.ask(member, &Query { arrays: &arrays, state: slot.as_deref(), ..*query })?;
    *slot = answer.selection.state.take();
    if kept.first.is_some() || kept.then.is_some() {
        let state = serde_json::to_vec(&kept).map_err(|error| failed(members, error.to_string()))?;
        answer.selection.state = Some(state);
    }
    answer.selection.diagnostics.push(("switch.member".to_owned(), member as f64));
    Ok(answer)
}
