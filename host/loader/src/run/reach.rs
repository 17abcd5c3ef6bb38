//! What a plugin reaches: the arrays, streams and threads of what it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use querist_core::{Arrays, Failure, Granted, Query, QueryErrorKind, Round, ServiceScope, Streams};
use querist_kernels::{Compute, Control, Setup, Shared};

/// What a plugin reaches while it is asked about itself: nothing.
pub(crate) fn nothing(control: Arc<Control>) -> Result<Arc<Shared>, Failure> {
    without_arrays(0, Round(0), Streams::NONE, control)
}

/// What a plugin reaches while it takes part in training: named random numbers of the round, and no arrays.
pub(crate) fn in_training(scope: ServiceScope<'_>, control: Arc<Control>) -> Result<Arc<Shared>, Failure> {
    without_arrays(scope.batch, scope.round, scope.streams, control)
}

fn without_arrays(batch: usize, round: Round, streams: Streams, control: Arc<Control>) -> Result<Arc<Shared>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(QueryErrorKind::Failed, error.to_string());
    let none = Arrays::new(Vec::new(), Vec::new(), 1, BTreeMap::new()).map_err(|error| failed(&error))?;
    let arrays = Granted::new(&none, &[], &[]).map_err(|error| failed(&error))?;
    shared(Setup { arrays, batch, round, streams, compute: Compute::threads(1) }, control)
}

/// What a plugin reaches during `query`.
pub(crate) fn in_query(
    query: &Query<'_>,
    streams: Streams,
    compute: Compute,
    control: Arc<Control>,
) -> Result<Arc<Shared>, Failure> {
    let (arrays, batch, round) = (query.arrays.clone(), query.batch, query.round);
    shared(Setup { arrays, batch, round, streams, compute }, control)
}

fn shared(mut setup: Setup, control: Arc<Control>) -> Result<Arc<Shared>, Failure> {
    setup.batch = setup.batch.min(u32::MAX as usize);
    Ok(Arc::new(Shared::new(setup, control)?))
}
